"""Crop rows from plants: heading, spacing, lines and each plant's place, on fields whose rows are known."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from geoseg.errors import ConfigError
from geoseg.segment import rowphase
from geoseg.segment.rows import RowConfig, find_rows
from geoseg.segment.rowspectrum import find_peak, lattice_over, power_at
from geoseg.train.planting import plant
from geoseg.train.synthetic import FieldSpec, render


@dataclasses.dataclass
class Sown:
    """Plants with the row that each was sown in; -1 for weeds."""

    x: np.ndarray
    y: np.ndarray
    row: np.ndarray
    heading: np.ndarray


def sow(
    seed=0, size=(40.0, 30.0), heading=27.0, spacing=0.75, plants=0.25, missing=0.3, weeds=0.1, radius=math.inf,
    scatter=0.02,
) -> Sown:  # fmt: skip
    """Rows on parallel lines or concentric circles, 30 % missing plants and 10 % weeds in the rows."""
    rng = np.random.default_rng(seed)
    reach = math.hypot(*size)
    lines, places = math.ceil(reach / spacing) + 1, math.ceil(reach / plants) + 1
    row, place = (part.ravel() for part in np.mgrid[:lines, :places])
    grown = rng.random(row.size) >= missing
    row, place = row[grown], place[grown]
    right = (row - lines / 2) * spacing + rng.normal(0, scatter, row.size)
    ahead = (place - places / 2) * plants + rng.normal(0, 0.1 * plants, row.size) + (row * 0.37 % 1) * plants
    count = round(weeds * row.size)
    weed_row = rng.integers(0, lines, count)
    right = np.append(right, (weed_row - lines / 2) * spacing + rng.normal(0, 0.06 * spacing, count))
    ahead = np.append(ahead, rng.uniform(-reach / 2, reach / 2, count))
    row = np.append(row, np.full(count, -1))
    turned = np.zeros(row.size)
    if math.isfinite(radius):  # circles around a point far to the left
        turned = ahead / radius
        right, ahead = (radius + right) * np.cos(turned) - radius, (radius + right) * np.sin(turned)
    angle = math.radians(heading)
    x = right * math.cos(angle) + ahead * math.sin(angle)
    y = -right * math.sin(angle) + ahead * math.cos(angle)
    inside = (np.abs(x) < size[0] / 2) & (np.abs(y) < size[1] / 2)
    local = heading - np.degrees(turned)
    return Sown(690_000 + x[inside], 5_360_000 + y[inside], row[inside], local[inside])


def angle_between(first, second):
    """Degrees between two directions without sense."""
    return np.abs((np.asarray(first) - second + 90) % 180 - 90)


FIELDS = [
    {},
    {"heading": 0.0},
    {"heading": 90.0, "spacing": 0.5, "plants": 0.18},
    {"heading": 179.8, "spacing": 1.5, "plants": 0.4, "scatter": 0.05},
    {"heading": 133.0, "spacing": 0.15, "plants": 0.05, "size": (12.0, 9.0), "scatter": 0.008},
    {"heading": 45.0, "size": (9.0, 9.0)},
    {"heading": 71.0, "scatter": 0.06},
    {"heading": 10.0, "scatter": 0.0, "missing": 0.0, "weeds": 0.0, "spacing": 1.1},
    {"heading": 160.0, "missing": 0.6, "weeds": 0.3},
]


@pytest.mark.parametrize("field", FIELDS, ids=str)
def test_heading_and_spacing_of_straight_rows(field: dict[str, float]) -> None:
    sown = sow(**field)
    found = find_rows(sown.x, sown.y).model
    assert found.found, found.reason
    (part,) = found.parts
    heading, spacing = field.get("heading", 27.0), field.get("spacing", 0.75)
    assert angle_between(part.heading_deg, heading) < 0.1
    assert part.spacing_m == pytest.approx(spacing, rel=0.003)
    assert part.turn_deg < 1
    assert found.confident
    assert 0 <= part.heading_deg < 180


@pytest.mark.parametrize("field", FIELDS, ids=str)
def test_every_plant_has_the_row_that_it_was_sown_in(field: dict[str, float]) -> None:
    sown = sow(**field)
    found = find_rows(sown.x, sown.y, config=RowConfig(min_plants=2))
    crop = sown.row >= 0
    pairs = np.unique(np.stack([sown.row[crop], found.plants.row_id[crop]]), axis=1, return_counts=True)
    (_, given_), count = pairs
    assert count[given_ == 0].sum() <= 0.01 * crop.sum() + 2
    right = sum(count[pairs[0][0] == row].max() for row in np.unique(pairs[0][0]))
    assert right >= 0.985 * crop.sum()
    numbers = found.table.number[found.plants.row_id[crop & (found.plants.row_id > 0)] - 1]
    sown_rows = sown.row[crop & (found.plants.row_id > 0)]
    assert abs(np.corrcoef(numbers, sown_rows)[0, 1]) > 0.9999, "neighbours in the field are neighbours in number"


@pytest.mark.parametrize(("radius", "size"), [(100.0, (30.0, 30.0)), (250.0, (90.0, 60.0)), (600.0, (120.0, 60.0))])
def test_curved_rows_are_followed(radius: float, size: tuple[float, float]) -> None:
    sown = sow(radius=radius, size=size, heading=20)
    found = find_rows(sown.x, sown.y)
    assert len(found.model.parts) == 1
    part = found.model.parts[0]
    assert part.spacing_m == pytest.approx(0.75, rel=0.005)
    assert angle_between(part.heading_deg, sown.heading.mean()) < 0.5
    assert part.turn_deg == pytest.approx(np.ptp(sown.heading), rel=0.45)
    crop = (sown.row >= 0) & (found.plants.row_id > 0)
    assert crop.sum() > 0.99 * (sown.row >= 0).sum()
    # The traced lines are arcs about the known centre, each of the radius of its row.
    angle = math.radians(20)
    centre = 690_000 - radius * math.cos(angle), 5_360_000 + radius * math.sin(angle)
    lines = math.ceil(math.hypot(*size) / 0.75) + 1
    true = radius + (sown.row[crop] - lines / 2) * 0.75
    traced = np.hypot(found.plants.foot_x[crop] - centre[0], found.plants.foot_y[crop] - centre[1])
    assert np.sqrt(np.mean((traced - true) ** 2)) < 0.02
    assert np.abs(traced - true).max() < 0.15
    # The heading along the lines is the one that was sown, to half a degree.
    for line in found.table.line[found.table.length_m > 20]:
        ends = shapely.get_coordinates(line)[[0, -1]] - centre
        chord = np.degrees(np.arctan2(*(ends[1] - ends[0])))
        tangent = np.degrees(np.arctan2(*ends.sum(axis=0))) - 90
        assert angle_between(chord, tangent) < 0.5


def test_a_planter_that_wanders_is_followed() -> None:
    """One row swings by 12 cm over 20 m: its plants keep their row and the line stays on them."""
    sown = sow(heading=0, weeds=0, scatter=0.01)
    swing = np.where(sown.row % 6 == 0, 0.12 * np.sin(sown.y * 2 * np.pi / 25), 0)
    found = find_rows(sown.x + swing, sown.y)
    assert np.nanstd(found.plants.off_row_m) < 0.025
    assert (found.plants.row_id > 0).mean() > 0.995


def test_parts_with_headings_of_their_own() -> None:
    field, headland = sow(1, (80, 80), 10.0), sow(2, (80, 80), 100.0)
    keep, over = field.y < 5_360_015, headland.y > 5_360_015.6
    found = find_rows(np.append(field.x[keep], headland.x[over]), np.append(field.y[keep], headland.y[over]))
    main, other = found.model.parts[:2]
    assert angle_between(main.heading_deg, 10) < 0.1
    assert angle_between(other.heading_deg, 100) < 0.2
    assert (main.part, other.part) == (1, 2)
    assert main.plants == pytest.approx(keep.sum(), rel=0.04)
    assert other.plants == pytest.approx(over.sum(), rel=0.1)
    assert found.table.part.tolist() == sorted(found.table.part)
    assert found.model.confident


def test_two_halves_of_different_headings_give_no_confidence() -> None:
    one, two = sow(1, (60, 60), 10.0), sow(2, (60, 60), 60.0)
    west, east = one.x < 690_000, two.x > 690_000.5
    found = find_rows(np.append(one.x[west], two.x[east]), np.append(one.y[west], two.y[east])).model
    assert found.found
    assert not found.confident


@pytest.mark.parametrize("seed", range(6))
def test_plants_without_rows_have_none(seed: int) -> None:
    rng = np.random.default_rng(seed)
    strewn = find_rows(*rng.uniform(0, 30, (2, 600 * (seed + 1))))
    clumps = rng.uniform(0, 30, (40, 2))[rng.integers(0, 40, 2000)] + rng.normal(0, 0.1 + seed / 10, (2000, 2))
    for found in (strewn, find_rows(*clumps.T)):
        assert not found.model.found
        assert found.model.reason.startswith("no row structure: nowhere do plants repeat more than by chance")
        assert found.model.heading_deg is found.model.spacing_m is None
        assert not found.plants.row_id.any()
        assert len(found.table.row_id) == 0


@pytest.mark.parametrize(("rows", "words"), [(1, "stand in 1 row;"), (2, "stand in 2 rows;")])
def test_one_or_two_rows_are_no_pattern(rows: int, words: str) -> None:
    rng = np.random.default_rng(4)
    y = rng.uniform(0, 100, 400)
    x = 0.3 * y + 0.75 * rng.integers(0, rows, 400) + rng.normal(0, 0.02, 400)
    found = find_rows(x, y).model
    assert not found.found
    assert words in found.reason


def test_too_few_plants_say_so() -> None:
    assert "29 plants are too few" in find_rows(np.arange(29), np.arange(29)).model.reason
    assert "0 plants are too few" in find_rows([], []).model.reason


def test_plants_on_one_spot_have_no_rows() -> None:
    assert not find_rows(np.full(100, 5.0), np.full(100, 7.0)).model.found


def test_a_rendered_field_from_its_pixels() -> None:
    """Connected regions of the rendered labels, crop and the weeds in the rows taken for plants."""
    spec = FieldSpec(
        seed=5, height_px=1200, width_px=1400, gsd_m=0.01, heading_deg=63.0, missing_share=0.3, weeds_per_m2=3,
        in_row_weed_share=0.5,
    )  # fmt: skip
    field = render(spec)
    label, count = ndimage.label(field.labels == 1)
    rows, cols = np.array(ndimage.center_of_mass(label, label, np.arange(1, count + 1))).T
    weeds = field.plants[field.plants["class"] == 2]
    some = np.random.default_rng(1).random(len(weeds)) < 0.1 * count / len(weeds)
    x = np.append(cols, weeds["col"][some]) * spec.gsd_m
    y = -np.append(rows, weeds["row"][some]) * spec.gsd_m
    area = np.append(np.bincount(label.ravel())[1:], weeds["area_px"][some]) * spec.gsd_m**2
    found = find_rows(x, y, area).model
    assert angle_between(found.heading_deg, 63) < 0.2
    assert found.spacing_m == pytest.approx(0.75, rel=0.005)


@pytest.mark.parametrize("crop", ["potato", "beet", "maize"])
def test_planted_fields_of_every_crop(crop: str) -> None:
    spacing = {"potato": 0.9, "beet": 0.45, "maize": 0.6}[crop]
    spec = FieldSpec(
        seed=9, height_px=3000, width_px=4000, gsd_m=0.01, heading_deg=151.5, crop=crop, row_spacing_m=spacing,
        missing_share=0.3, weeds_per_m2=0.5,
    )  # fmt: skip
    planted = plant(spec)
    found = find_rows(planted["col"] * 0.01, -planted["row"] * 0.01, planted["diameter_px"] ** 2.0).model
    assert angle_between(found.heading_deg, 151.5) < 0.1
    assert found.spacing_m == pytest.approx(spacing, rel=0.003)


def test_places_in_the_row_by_hand() -> None:
    """Five rows to the north, a plant every 0.3 m; in the second row plants 4 and 5 are missing; one weed between."""
    row, place = (part.ravel() for part in np.mgrid[:5, :20])
    sown = ~((row == 1) & np.isin(place, (4, 5)))
    x, y = np.append(row[sown] * 0.7, 0.35), np.append(place[sown] * 0.3, 3.1)
    found = find_rows(x, y, config=RowConfig(max_offset=0.2))
    plants, table = found.plants, found.table
    assert plants.row_id[:-1].tolist() == (row[sown] + 1).tolist(), "rows are numbered from the west"
    assert plants.row_id[-1] == 0
    assert np.isnan([plants.position_m[-1], plants.next_m[-1], plants.off_row_m[-1]]).all()
    np.testing.assert_allclose(plants.position_m[:-1], place[sown] * 0.3, atol=1e-3)
    second = plants.next_m[plants.row_id == 2]
    np.testing.assert_allclose(second, [0.3] * 3 + [0.9] + [0.3] * 13 + [np.nan], atol=1e-3)
    np.testing.assert_allclose(plants.off_row_m[:-1], 0, atol=0.01)
    np.testing.assert_allclose(table.length_m, 5.7, atol=1e-3)
    assert table.plants.tolist() == [20, 18, 20, 20, 20]
    assert table.number.tolist() == [1, 2, 3, 4, 5]
    np.testing.assert_allclose((table.heading_deg + 90) % 360, 90, atol=0.2)


def test_plants_beside_their_row_know_how_far_and_on_which_side() -> None:
    sown = sow(heading=0, scatter=0.0, weeds=0, missing=0)
    x = sown.x.copy()
    moved = np.random.default_rng(0).random(len(x)) < 0.02
    x[moved] += 0.1
    found = find_rows(x, sown.y)
    assert np.median(found.plants.off_row_m[moved]) == pytest.approx(0.1, abs=0.01)


def test_rows_end_at_long_empty_stretches() -> None:
    sown = sow(heading=0, size=(20, 40))
    path = np.abs(sown.y - 5_360_000) > 3
    whole = find_rows(sown.x[path], sown.y[path])
    split = find_rows(sown.x[path], sown.y[path], config=RowConfig(split_m=4))
    assert len(split.table.row_id) == pytest.approx(2 * len(whole.table.row_id), abs=1)
    assert np.nanmax(split.plants.next_m) < 4 < 6 < np.nanmax(whole.plants.next_m)
    assert len(np.unique(split.table.number)) == len(np.unique(whole.table.number))
    assert split.model.parts[0].rows == whole.model.parts[0].rows


small = sow(3, (16.0, 14.0), 40.0)


@settings(max_examples=25)
@given(st.floats(0, 360))
def test_turning_the_field_turns_the_heading(turn: float) -> None:
    angle = math.radians(turn)
    x, y = small.x - 690_000, small.y - 5_360_000
    found = find_rows(x * math.cos(angle) + y * math.sin(angle), -x * math.sin(angle) + y * math.cos(angle)).model
    assert angle_between(found.heading_deg, 40 + turn) < 0.1
    assert found.spacing_m == pytest.approx(0.75, rel=0.003)


@settings(max_examples=10)
@given(st.integers(-(10**6), 10**6), st.integers(-(10**7), 10**7), st.integers(0, 99))
def test_place_and_order_of_the_plants_change_nothing(east: int, north: int, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(small.x))
    first = find_rows(small.x, small.y)
    again = find_rows(small.x[order] + east, small.y[order] + north)
    assert again.plants.row_id.tolist() == first.plants.row_id[order].tolist()
    np.testing.assert_allclose(again.plants.position_m, first.plants.position_m[order], atol=1e-4)
    assert again.model.heading_deg == pytest.approx(first.model.heading_deg, abs=1e-4)
    same = find_rows(small.x[order], small.y[order])
    assert same.model == first.model, "to the last bit"
    np.testing.assert_array_equal(same.plants.foot_x, first.plants.foot_x[order])


def test_how_many_plants_are_fitted_at_once_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    x, y = (part.ravel().astype(float) for part in np.meshgrid(np.arange(160) * 0.5, np.arange(200) * 0.25))
    x, y = (values + rng.normal(0, 0.02, values.size) for values in (x, y))
    whole = find_rows(x, y)
    monkeypatch.setattr(rowphase, "_AT_ONCE", 100)  # less than a patch holds
    parts = find_rows(x, y)
    assert whole.model.found
    assert parts.model == whole.model
    np.testing.assert_array_equal(parts.plants.row_id, whole.plants.row_id)
    np.testing.assert_array_equal(parts.plants.off_row_m, whole.plants.off_row_m)


def test_errors_are_as_large_as_they_say() -> None:
    """Over many fields the error of the heading in units of its standard error has a root mean square near 1."""
    score = []
    for seed in range(40):
        sown = sow(seed, (16, 14), heading=seed * 4.3)
        part = find_rows(sown.x, sown.y).model.parts[0]
        score.append(angle_between(part.heading_deg, seed * 4.3) / part.heading_se_deg)
    assert 0.6 < np.sqrt(np.mean(np.square(score))) < 1.7


def test_large_plants_count_more() -> None:
    """Small weeds on rows of their own, at right angles, do not turn the heading of the crop."""
    crop, weeds = sow(1, (20, 20), 30.0, weeds=0), sow(2, (20, 20), 120.0, weeds=0, plants=0.22)
    x, y = np.append(crop.x, weeds.x), np.append(crop.y, weeds.y)
    area = np.append(np.full(len(crop.x), 0.05), np.full(len(weeds.x), 0.001))
    assert angle_between(find_rows(x, y, area).model.heading_deg, 30) < 0.5
    assert angle_between(find_rows(x, y).model.heading_deg, 120) < 0.5


def test_the_power_of_chance_is_one() -> None:
    rng = np.random.default_rng(8)
    x, y = rng.uniform(0, 20, (2, 3000))
    east, north = rng.uniform(-4, 4, (2, 800)) + np.sign(rng.uniform(-1, 1, (2, 800)))
    power = power_at(x, y, rng.uniform(0.5, 2, 3000), east, north)
    assert power.mean() == pytest.approx(1, abs=0.15)
    assert np.quantile(power, 0.9) == pytest.approx(math.log(10), rel=0.2)


def test_a_peak_needs_room_for_its_spacing() -> None:
    points = np.random.default_rng(0).uniform(0, 0.5, (2, 100))
    assert find_peak(*points, np.ones(100), (1.0, 2.0), 60) is None


@given(st.integers(1, 200), st.floats(0.5, 50))
def test_patches_hold_every_plant_once(count: int, side: float) -> None:
    x, y = np.random.default_rng(count).uniform(0, 60, (2, count))
    lattice = lattice_over(x, y, side)
    assert sorted(lattice.order.tolist()) == list(range(count))
    assert lattice.counts.sum() == count
    for patch in range(len(lattice.counts)):
        assert set(lattice.plants(patch)) == set(np.flatnonzero(lattice.of == patch))


@pytest.mark.parametrize(
    "change",
    [
        {"min_spacing_m": 0.0}, {"min_spacing_m": 2.0}, {"max_spacing_m": math.nan}, {"max_offset": 0.6},
        {"min_plants": 1}, {"split_m": 0.0}, {"gap_factor": 0.5},
    ],
)  # fmt: skip
def test_config_refuses_nonsense(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="rows\\.\\w+ is .*expected"):
        RowConfig(**change)
