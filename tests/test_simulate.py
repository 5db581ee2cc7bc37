from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geoseg.spray import SprayConfig
from geoseg.spray.machine import read_machine
from geoseg.spray.prescription import plan
from geoseg.spray.simulate import drive, lay_ground, sum_up
from geoseg.spray.valves import Runs, coverage, runs_of, sprayed_runs
from spray_helpers import paint, rectangle, write_classes

SPOT = read_machine("spot_24m_nozzles")
IDEAL = dataclasses.replace(SPOT, lead_m=0, lag_m=0, open_s=0, close_s=0, min_run_m=0)


def machine(**changes):
    return dataclasses.replace(IDEAL, **changes)


class Section:
    """One section, told what to do again and again, a short way at a time: no runs, no intervals, only timers."""

    def __init__(self, machine, way):
        self.machine, self.way = machine, way
        self.on_since = None
        self.told_for = self.untold_for = 0
        self.open = False

    def step(self, mapped):
        """Whether it sprays at place `nth`; `mapped` holds what the map says around this place."""
        steps = {name: round(getattr(self.machine, name) / self.way) for name in ("open_m", "close_m", "min_run_m")}
        if self.on_since is not None:
            self.on_since += 1
        held = self.on_since is not None and self.on_since < steps["min_run_m"]
        if mapped and self.on_since is None:
            self.on_since = 0
        if not mapped and not held:
            self.on_since = None
        told = self.on_since is not None
        self.told_for = self.told_for + 1 if told else 0
        self.untold_for = 0 if told else self.untold_for + 1
        if told and self.told_for > steps["open_m"]:
            self.open = True
        if told and self.open:
            self.untold_for = 0
        if not told and self.untold_for > steps["close_m"]:
            self.open = False
        return self.open


def stepped_through(mapped, machine, way):
    """The map along one track, a value for each `way`, to what is sprayed, a value for each `way`, with room around."""
    room = round(10 / way)
    lead, lag = (round(each / way) for each in (machine.lead_total_m, machine.lag_total_m))
    long = np.concatenate([np.zeros(room, bool), mapped, np.zeros(room, bool)])
    section, sprayed = Section(machine, way), np.zeros(long.size, bool)
    for nth in range(long.size):
        around = long[max(nth - lag, 0) : nth + lead + 1]
        sprayed[nth] = section.step(bool(around.any()))
    return sprayed[room : room + mapped.size]


TIMES = st.sampled_from([0.0, 0.1, 0.3, 0.9])


@given(
    seed=st.integers(0, 10_000),
    density=st.sampled_from([0.1, 0.4, 0.8]),
    lead=st.sampled_from([0.0, 0.2, 1.1]),
    lag=st.sampled_from([0.0, 0.3, 0.8]),
    opening=TIMES,
    closing=TIMES,
    shortest=st.sampled_from([0.0, 0.6, 2.5]),
)
def test_runs_are_those_of_a_section_stepped_along_the_track(seed, density, lead, lag, opening, closing, shortest):
    mapped = np.random.default_rng(seed).random(40) < density
    one = machine(
        lead_m=lead, lag_m=lag, open_s=opening, close_s=closing, min_run_m=shortest, speed_km_h=3.6, length_m=0.525
    )
    way = 0.025  # a cell is 21 of these and all else an even number, so that no two times are equal
    truth = stepped_through(np.repeat(mapped, 21), one, way)
    found = coverage(sprayed_runs(runs_of(mapped[:, None], 0.525), one), truth.size, way)[:, 0]
    near_edges = np.convolve(np.abs(np.diff(truth.astype(int), prepend=0)), [1, 1, 1], mode="same") > 0
    assert (np.abs(found - truth)[~near_edges] < 1e-3).all()
    assert abs(found.sum() - truth.sum()) <= 1.01 * np.abs(np.diff(truth.astype(int))).sum() + 1


def test_an_ideal_machine_sprays_what_the_map_says():
    mask = np.random.default_rng(0).random((30, 9)) < 0.4
    found = coverage(sprayed_runs(runs_of(mask, 0.5), IDEAL), 60, 0.25)
    assert (found == np.repeat(mask, 2, axis=0)).all()


@given(st.integers(0, 10_000), st.floats(0.01, 0.7))
def test_coverage_is_the_length_of_runs_in_each_bin(seed, step):
    rng = np.random.default_rng(seed)
    ends = np.sort(rng.uniform(-1, 12, (8, 3)), axis=0)
    runs = Runs(ends[::2], ends[1::2])
    bins = math.ceil(10 / step)
    found = coverage(runs, bins, step)
    low = np.arange(bins) * step
    for track in range(3):
        pieces = [
            np.clip(np.minimum(e, low + step) - np.maximum(s, low), 0, None)
            for s, e in zip(runs.start[:, track], runs.end[:, track], strict=True)
        ]
        assert found[:, track] == pytest.approx(sum(pieces) / step, abs=1e-5)


@pytest.fixture(scope="module")
def spots(tmp_path_factory):
    """30 x 40 m of soil with three weed spots, one of them tiny."""
    weed = paint(
        (800, 600),
        0.05,
        lambda x, y: (np.hypot(x - 8, y - 10) < 2) | (np.hypot(x - 20, y - 28) < 3) | (np.hypot(x - 25, y - 5) < 0.2),
    )
    return write_classes(tmp_path_factory.mktemp("spots") / "classes.tif", weed)


def simulated(path, field, one, config, offset=0.0):
    planned = plan(path, field, config)
    ground = lay_ground(path, planned.box, field, one, offset_m=offset)
    driven, runs = drive(planned.rate_grid(), planned.box, ground, one)
    return planned, ground, driven, sum_up(driven, runs, ground, one, config.rate_l_ha)


def driven_through(path, field, planned, one, offset=0.0):
    """Areas by a boom that is moved over the ground in short steps: the slow way, without lattices or runs.

    Every section looks at the map at points across its width; what it sprays is painted on pixels of the class raster.
    """
    way = 0.05
    angle = math.radians(planned.heading_deg)
    ahead, right = np.array([math.sin(angle), math.cos(angle)]), np.array([math.cos(angle), -math.sin(angle)])
    box = planned.box
    width, length = planned.config.cell_m
    far_left = np.array([box.affine.c, box.affine.f])
    near_left = far_left - ahead * (box.shape[0] * length)
    rates = np.nan_to_num(planned.rate_grid())
    with rasterio.open(path) as source:
        pixels, transform = source.read(1), source.transform
    rows, cols = np.mgrid[: pixels.shape[0], : pixels.shape[1]] + 0.5
    x, y = transform.a * cols + transform.c, transform.e * rows + transform.f
    across = (x - near_left[0]) * right[0] + (y - near_left[1]) * right[1] - offset
    along = (x - near_left[0]) * ahead[0] + (y - near_left[1]) * ahead[1]
    inside = shapely.contains_xy(field, x, y)
    painted = np.zeros(pixels.shape, bool)
    steps = round(box.shape[0] * length / way)
    sections = round(box.shape[1] * width / one.section_m)
    for section in range(sections):
        points = (section + (np.arange(7) + 0.5) / 7) * one.section_m + offset
        col = np.floor(points / width).astype(int)
        col = col[(col >= 0) & (col < box.shape[1])]
        row = box.shape[0] - 1 - np.floor((np.arange(steps) + 0.5) * way / length + 1e-9).astype(int)
        mapped = (rates[row][:, col] > 0).any(axis=1) if col.size else np.zeros(steps, bool)
        forth = (section // one.sections) % 2 == 0
        sprayed = stepped_through(mapped if forth else mapped[::-1], one, way)
        sprayed = sprayed if forth else sprayed[::-1]
        mine = (across >= section * one.section_m) & (across < (section + 1) * one.section_m)
        at = np.clip(np.floor(along[mine] / way).astype(int), 0, steps - 1)
        painted[mine] = sprayed[at] & (along[mine] >= 0)
    pixel = 0.05**2 / 1e4
    weed = (pixels == 2) & inside
    return {
        "sprayed_ha": (painted & inside).sum() * pixel,
        "missed_weed_ha": (weed & ~painted).sum() * pixel,
        "weed_ha": weed.sum() * pixel,
    }


@pytest.mark.parametrize(
    ("heading", "changes", "offset"),
    [
        (0.0, {}, 0.0),
        (27.0, {"lead_m": 0.3, "lag_m": 0.5, "min_run_m": 1.0}, 0.0),
        (27.0, {"open_s": 0.4, "close_s": 0.6, "speed_km_h": 5.4}, 0.0),
        (90.0, {"open_s": 1.0, "lead_m": 1.5}, 0.0),
        (213.0, {"min_run_m": 4.0, "lag_m": 0.2}, 0.5),
    ],
)
def test_sums_are_those_of_a_boom_moved_over_the_ground(spots, heading, changes, offset):
    one = machine(section_m=0.5, length_m=0.5, width_m=6.0, **changes)
    field = rectangle(28, 37, at=(1, 1.5))
    config = SprayConfig(section_m=0.5, length_m=0.5, heading_deg=heading, buffer_m=0.3, threshold_cover=0.05)
    planned, _, _, totals = simulated(spots, field, one, config, offset)
    truth = driven_through(spots, field, planned, one, offset)
    assert totals.weed_ha == pytest.approx(truth["weed_ha"], rel=1e-9)
    assert totals.sprayed_ha == pytest.approx(truth["sprayed_ha"], rel=0.015)
    assert totals.missed_weed_ha == pytest.approx(truth["missed_weed_ha"], abs=0.01 * totals.weed_ha)


def test_an_ideal_machine_over_the_ground_does_what_was_planned(spots):
    field = rectangle(29.3, 38.7, at=(0.4, 0.9))
    config = SprayConfig(section_m=0.25, length_m=0.5, heading_deg=27)
    planned, _, _, totals = simulated(spots, field, IDEAL, config)
    assert totals.field_ha == pytest.approx(planned.totals.field_ha, rel=1e-6)
    assert totals.mapped_ha == pytest.approx(planned.totals.treated_ha, rel=2e-3)
    assert totals.sprayed_ha == pytest.approx(totals.mapped_ha, rel=1e-5)
    assert totals.missed_weed_ha == pytest.approx(planned.totals.missed_weed_ha, abs=1e-7)
    assert (totals.over_sprayed_ha, totals.not_sprayed_ha) == pytest.approx((0, 0), abs=1e-6)
    assert totals.litres == pytest.approx(200 * (totals.sprayed_ha + totals.off_field_m2 / 1e4), rel=1e-4)
    assert totals.sprayed_ha == pytest.approx(totals.mapped_ha + totals.over_sprayed_ha - totals.not_sprayed_ha)
    assert totals.clean_ha == pytest.approx(totals.sprayed_ha - totals.weed_ha + totals.missed_weed_ha)


def test_a_slow_valve_misses_weeds_and_a_lead_brings_them_back(spots):
    field = rectangle(30, 40)
    config = SprayConfig(section_m=0.25, length_m=0.5, heading_deg=0, buffer_m=0)
    slow = machine(open_s=0.5, close_s=0.5, speed_km_h=7.2)
    missed = simulated(spots, field, slow, config)[3]
    led = simulated(spots, field, dataclasses.replace(slow, lead_m=1.0), config)[3]
    assert missed.missed_weed_ha > 0.05 * missed.weed_ha
    assert led.missed_weed_ha < 0.2 * missed.missed_weed_ha
    assert led.over_sprayed_ha > 0


def test_one_spot_by_hand(tmp_path):
    pixels = np.zeros((400, 400), np.uint8)
    pixels[200:220, 100:110] = 2  # 1 m long, 0.5 m wide, in one column of cells
    path = write_classes(tmp_path / "classes.tif", pixels)
    field = rectangle(20, 20)
    config = SprayConfig(section_m=0.5, length_m=0.5, heading_deg=0, buffer_m=0)
    one = machine(section_m=0.5, width_m=5.0, lead_m=0.4, lag_m=0.3, open_s=0.2, close_s=0.5, speed_km_h=3.6)
    planned, ground, driven, totals = simulated(path, field, one, config)
    assert planned.totals.treated_ha * 1e4 == pytest.approx(0.5)
    column = np.flatnonzero(driven.cover.any(axis=0))
    assert column.tolist() == [10]
    assert (column[0] // one.sections) % 2 == 1  # the second pass comes back: it drives to the south
    assert driven.cover[:, 10].sum() * 0.5 / ground.bins == pytest.approx(1 + 0.4 - 0.2 + 0.3 + 0.5, abs=1e-4)
    assert totals.over_sprayed_ha * 1e4 == pytest.approx(0.5 * 1.0, abs=1e-3)
    first = np.flatnonzero(driven.cover[:, 10])[0] * 0.5 / ground.bins
    assert first == pytest.approx(10 - 0.4 + 0.2, abs=0.1)
    assert (totals.switchings, totals.passes, totals.missed_weed_ha) == (1, 4, pytest.approx(0, abs=1e-9))


def test_a_wide_section_sprays_what_the_narrow_cells_under_it_ask_for(spots):
    field = rectangle(30, 40)
    config = SprayConfig(section_m=0.5, length_m=0.5, heading_deg=27)
    totals = [simulated(spots, field, machine(section_m=w, width_m=24.0), config)[3] for w in (0.5, 1.5, 3.0, 12.0)]
    assert [t.sprayed_ha for t in totals] == sorted(t.sprayed_ha for t in totals)
    assert totals[0].sprayed_ha < 0.5 * totals[-1].sprayed_ha
    assert all(t.missed_weed_ha == pytest.approx(0, abs=1e-8) for t in totals)


def test_driving_beside_the_line_sprays_more(spots):
    field = rectangle(30, 40)
    config = SprayConfig(section_m=0.5, length_m=0.5, heading_deg=0, buffer_m=0)
    on_line = simulated(spots, field, machine(section_m=0.5, width_m=6.0), config)[3]
    for offset in (-0.2, 0.2):
        beside = simulated(spots, field, machine(section_m=0.5, width_m=6.0), config, offset)[3]
        assert beside.sprayed_ha > 1.02 * on_line.sprayed_ha
        assert beside.weed_ha == pytest.approx(on_line.weed_ha, rel=1e-9)
        assert beside.field_ha == pytest.approx(on_line.field_ha, rel=1e-6)


def test_a_narrow_exclusion_is_sprayed_by_a_machine_that_cannot_leave_it(spots):
    field = rectangle(30, 40)
    path = rectangle(30, 0.4, at=(0, 28.05))  # through the larger spot, across the track
    config = SprayConfig(section_m=0.5, length_m=0.5, heading_deg=0)
    planned = plan(spots, field, config)
    from geoseg.spray.ground import touched_cells

    rates = np.where(touched_cells(path, planned.box), 0, planned.rate_grid())
    for closing, sprayed in ((0.0, False), (2.0, True)):
        one = machine(section_m=0.5, width_m=6.0, close_s=closing, speed_km_h=3.6)
        ground = lay_ground(spots, planned.box, field, one, excluded=path)
        driven, runs = drive(rates, planned.box, ground, one)
        found = sum_up(driven, runs, ground, one, 200).excluded_sprayed_m2
        assert (found > 2) == sprayed
        assert sprayed or found == pytest.approx(0, abs=1e-6)


def test_a_section_that_runs_on_keeps_the_rate_of_the_nearest_cell(tmp_path):
    path = write_classes(tmp_path / "classes.tif", np.zeros((200, 200), np.uint8))
    field = rectangle(10, 10)
    planned = plan(path, field, SprayConfig(section_m=1, length_m=1, heading_deg=0))
    rates = np.zeros((10, 10), np.float32)
    rates[3, 2], rates[7, 2] = 100, 200
    one = machine(section_m=1, width_m=10.0, lead_m=0.5, lag_m=0.5)
    ground = lay_ground(path, planned.box, field, one)
    driven, runs = drive(rates, planned.box, ground, one)
    totals = sum_up(driven, runs, ground, one, 200)
    assert totals.litres == pytest.approx(2 * (100 + 200) / 1e4)
    assert totals.switchings == 2
