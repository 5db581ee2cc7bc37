"""From files to cells to zones: plants, exclusions and headlands through the whole plan, and agreement with others."""

from __future__ import annotations

import dataclasses

import geopandas as gpd
import numpy as np
import pytest
import shapely
from exactextract import exact_extract

from geoseg.errors import PrescriptionError
from geoseg.spray import SprayConfig
from geoseg.spray.aggregate import aggregate
from geoseg.spray.grid import field_share, lattice
from geoseg.spray.machine import machine_text
from geoseg.spray.plants import count_plants
from geoseg.spray.prescription import plan
from geoseg.spray.rates import RateConfig
from spray_helpers import EAST, NORTH, UTM, cell_polygons, paint, rectangle, write_classes


@pytest.fixture(scope="module")
def patch(tmp_path_factory):
    """30 x 40 m of soil with one round patch of weeds, 3 m in radius, at (12, 22)."""
    pixels = paint((800, 600), 0.05, lambda x, y: np.hypot(x - 12, y - 22) < 3)
    return write_classes(tmp_path_factory.mktemp("patch") / "classes.tif", pixels)


def package(path, weed_xy, crop_xy, weed_plants_xy=None):
    """A field.gpkg with square weed patches of 4 cm and crop points."""
    weeds = [shapely.box(x - 0.02, y - 0.02, x + 0.02, y + 0.02) for x, y in weed_xy]
    layers = {"weeds": weeds, "plants": [shapely.Point(at) for at in crop_xy]}
    if weed_plants_xy is not None:
        layers["weed_plants"] = [shapely.Point(at) for at in weed_plants_xy]
    for name, shapes in layers.items():
        gpd.GeoDataFrame({"n": range(len(shapes))}, geometry=shapes, crs=UTM).to_file(path, layer=name, driver="GPKG")
    return path


@pytest.mark.parametrize("heading", [0.0, 27.0, 201.5])
def test_every_plant_of_the_field_is_in_its_cell_once(tmp_path, heading):
    rng = np.random.default_rng(4)
    weed, crop, single = (rng.uniform((EAST - 2, NORTH - 2), (EAST + 22, NORTH + 22), (n, 2)) for n in (400, 700, 90))
    field = shapely.Point(EAST + 10, NORTH + 10).buffer(9.3)
    box = lattice(field, UTM, (0.5, 0.8), heading)
    cells = cell_polygons(box).ravel()
    tree = shapely.STRtree(cells)

    def by_hand(points):
        inside = shapely.points(points)[shapely.contains_xy(field, points)]
        _, cell = tree.query(inside, predicate="within")
        return np.bincount(cell, minlength=cells.size).reshape(box.shape)

    found = count_plants(package(tmp_path / "a.gpkg", weed, crop), box, field)
    assert (found.weed == by_hand(weed)).all()
    assert (found.crop == by_hand(crop)).all()
    alone = count_plants(package(tmp_path / "b.gpkg", weed, crop, single), box, field)
    assert (alone.weed == by_hand(single)).all()
    none = count_plants(package(tmp_path / "c.gpkg", weed, crop, []), box, field)
    assert (none.weed == found.weed).all()


def test_plants_are_counted_in_pieces_of_any_size(tmp_path, monkeypatch):
    rng = np.random.default_rng(5)
    weed, crop = (rng.uniform((EAST, NORTH), (EAST + 20, NORTH + 20), (n, 2)) for n in (64, 33))
    path, field = package(tmp_path / "field.gpkg", weed, crop), rectangle(20, 20)
    box = lattice(field, UTM, (1, 1), 0)
    whole = count_plants(path, box, field)
    for at_once in (1, 16, 32, 33):
        monkeypatch.setattr("geoseg.spray.plants._AT_ONCE", at_once)
        pieces = count_plants(path, box, field)
        assert (pieces.weed == whole.weed).all()
        assert (pieces.crop == whole.crop).all()
    assert whole.weed.sum() == 64


def test_a_package_that_cannot_be_counted_is_refused(tmp_path):
    field, box = rectangle(5, 5), lattice(rectangle(5, 5), UTM, (1, 1), 0)
    with pytest.raises(PrescriptionError, match="cannot be read to count plants"):
        count_plants(tmp_path / "none.gpkg", box, field)
    gpd.GeoDataFrame(geometry=[shapely.Point(EAST, NORTH)], crs=UTM).to_file(tmp_path / "other.gpkg", layer="other")
    with pytest.raises(PrescriptionError, match="has no layer 'weeds' to count"):
        count_plants(tmp_path / "other.gpkg", box, field)


def test_plants_per_square_metre_decide_in_a_plan(tmp_path):
    path = write_classes(tmp_path / "classes.tif", np.zeros((400, 400), np.uint8))
    weed = [(EAST + 5.1 + 0.1 * nth, NORTH + 5.25) for nth in range(3)] + [(EAST + 15.2, NORTH + 15.2)]
    config = SprayConfig(heading_deg=0, buffer_m=0, threshold_plants_m2=8.0)
    found = plan(path, rectangle(20, 20), config, package=package(tmp_path / "field.gpkg", weed, []))
    assert found.totals.treated_ha * 1e4 == pytest.approx(0.25)
    assert found.totals.weed_plants == 4
    with pytest.raises(PrescriptionError, match="none were counted"):
        plan(path, rectangle(20, 20), config)


@pytest.mark.parametrize("heading", [0.0, 27.0, 64.9])
def test_counts_in_cells_cut_by_the_boundary_and_by_nodata_agree_with_exactextract(tmp_path, heading):
    pixel, size = 0.02, 0.6
    rng = np.random.default_rng(9)
    pixels = rng.choice(3, (800, 800), p=[0.6, 0.2, 0.2]).astype(np.uint8)
    rows, cols = np.mgrid[:800, :800]
    pixels[np.hypot(rows - 300, cols - 420) < 130] = 255
    pixels[rows + 2 * cols < 300] = 255
    path = write_classes(tmp_path / "classes.tif", pixels, pixel)
    field = shapely.Polygon(
        [(EAST + 1, NORTH + 0.5), (EAST + 15, NORTH + 3), (EAST + 12, NORTH + 15.3), (EAST + 0.5, NORTH + 12)]
    )
    box = lattice(field, UTM, (size, size), heading)
    counts = aggregate(path, box, field)
    share, edge = field_share(field, box)
    parts = shapely.intersection(cell_polygons(box), field)
    wanted = shapely.area(parts) > 0
    frame = gpd.GeoDataFrame({"n": range(int(wanted.sum()))}, geometry=list(parts[wanted]), crs=UTM)
    truth = exact_extract(path, frame, ["count", "unique", "frac"], output="pandas")
    weed = np.array(
        [dict(zip(u, f, strict=True)).get(2, 0.0) for u, f in zip(truth["unique"], truth["frac"], strict=True)]
    )
    seen = truth["count"].to_numpy()
    outline = shapely.length(parts[wanted]) / pixel  # pixels that the outline runs through: each may count or not
    assert (np.abs(counts.valid[wanted] - seen) <= 0.55 * outline).all()
    assert (np.abs(counts.weed[wanted] - weed * seen) <= 0.45 * outline).all()
    assert counts.valid.sum() == pytest.approx(seen.sum(), rel=2e-3)
    assert counts.weed.sum() == pytest.approx((weed * seen).sum(), rel=5e-3)
    assert not counts.valid[~wanted].any()
    partial = (share[wanted] > 0.1) & (share[wanted] < 0.9) & (seen > 40)
    assert (edge[wanted] & partial).sum() > 40
    cover = counts.weed[wanted] / np.maximum(counts.valid[wanted], 1)
    assert np.abs(cover - weed)[partial].mean() < 0.02
    assert (share.sum(dtype=float) * size**2) == pytest.approx(field.area, rel=1e-6)


def exclusion_file(path, *shapes, crs=UTM):
    gpd.GeoDataFrame({"n": range(len(shapes))}, geometry=list(shapes), crs=crs).to_file(path)
    return str(path)


@pytest.mark.parametrize("heading", [0.0, 27.0, 133.0])
@pytest.mark.parametrize("buffer", [0.0, 1.2])
def test_no_zone_with_a_rate_touches_excluded_ground(tmp_path, patch, heading, buffer):
    pond = shapely.Point(EAST + 13, NORTH + 23).buffer(1.5)
    at_edge = shapely.LineString([(EAST + 0.02, NORTH - 3), (EAST + 0.02, NORTH + 50)]).buffer(0.05)
    far = rectangle(5, 5, at=(900, 900))
    path = exclusion_file(tmp_path / "water.gpkg", pond, at_edge, far)
    config = SprayConfig(heading_deg=heading, exclusions=path, exclusion_buffer_m=buffer, unseen="spray", headland_m=2)
    field = rectangle(30.03, 40.01)
    found = plan(patch, field, config)
    treated = shapely.union_all(found.zones.geometry[found.zones.rate_l_ha > 0].values)
    ground = shapely.union_all([pond, at_edge]).buffer(buffer * 0.999)
    assert treated.intersection(ground).area < 1e-9
    assert found.zones.area.sum() == pytest.approx(field.area, rel=1e-9)
    assert shapely.coverage_is_valid(found.zones.geometry.values)
    assert found.totals.excluded_ha > ground.intersection(field).area / 1e4
    assert found.totals.missed_weed_ha > 0
    assert treated.area > 100


def test_exclusions_come_in_any_crs_and_unreadable_ones_are_refused(tmp_path, patch):
    pond = gpd.GeoSeries([shapely.Point(EAST + 12, NORTH + 22).buffer(2)], crs=UTM)
    files = [
        exclusion_file(tmp_path / "utm.gpkg", *pond),
        exclusion_file(tmp_path / "deg.geojson", *pond.to_crs(4326), crs=4326),
    ]
    totals = [plan(patch, rectangle(30, 40), SprayConfig(exclusions=file)).totals for file in files]
    assert totals[0].excluded_ha == pytest.approx(totals[1].excluded_ha)
    assert totals[0].litres == pytest.approx(totals[1].litres)
    assert totals[0].litres < plan(patch, rectangle(30, 40)).totals.litres
    with pytest.raises(PrescriptionError, match=r"spray\.exclusions: none.gpkg"):
        plan(patch, rectangle(30, 40), SprayConfig(exclusions=str(tmp_path / "none.gpkg")))


def test_headlands_are_sprayed_all_around(patch):
    field = rectangle(30, 40)
    found = plan(patch, field, SprayConfig(heading_deg=0, headland_m=3.0))
    treated = shapely.union_all(found.zones.geometry[found.zones.rate_l_ha > 0].values)
    assert treated.buffer(1e-6).covers(field.difference(field.buffer(-3.0)))
    assert found.totals.treated_ha * 1e4 == pytest.approx(30 * 40 - 24 * 34 + 49, abs=8)


def test_a_plan_with_three_rates_keeps_area_and_litres(tmp_path):
    pixels = paint((600, 600), 0.05, lambda x, y: ((x * 40).astype(int) % 40) < x)
    path = write_classes(tmp_path / "classes.tif", pixels)
    rule = RateConfig(rule="zones", method="given", breaks=(0.25, 0.5), class_rates=(0.0, 120.0, 200.0),
                      over_m=2.0, min_zone_m2=5.0, allow_reduced_rates=True)  # fmt: skip
    found = plan(path, rectangle(30, 30), SprayConfig(heading_deg=27, buffer_m=0, rates=rule, dose_per_ha=1.5))
    zones = found.zones
    assert found.rates == (0, 120, 200)
    assert zones.area.sum() == pytest.approx(900)
    assert found.totals.litres == pytest.approx((zones.area * zones.rate_l_ha).sum() / 1e4)
    assert found.totals.product == pytest.approx(found.totals.litres * 1.5 / 200)
    grid = found.rate_grid()
    share = found.share
    assert (np.nan_to_num(grid) * share).sum(dtype=float) * 0.25 / 1e4 == pytest.approx(found.totals.litres, rel=3e-3)
    assert {120.0, 200.0, 0.0} == set(np.unique(grid[share > 0]).tolist())


def test_the_machine_of_a_plan_gives_cells_gaps_and_tanks(tmp_path, patch):
    machine = tmp_path / "mine.yaml"
    machine.write_text(
        machine_text("boom_36m_sections")
        .replace("tank_l: 6000", "tank_l: 10")
        .replace("residual_l: 40", "residual_l: 1")
    )
    found = plan(patch, rectangle(30, 40), SprayConfig(machine=str(machine), heading_deg=0))
    assert found.config.cell_m == (3, 1)
    assert found.machine.sections == 12
    litres = found.totals.litres
    assert found.totals.tank_fills == -(-(litres + 1) // 10)
    assert found.totals.last_fill_litres == pytest.approx(litres + 1 - 10 * (found.totals.tank_fills - 1))
    assert found.totals.triggered_ha < found.totals.treated_ha
    bare = dataclasses.replace(found.config, machine=None)
    assert plan(patch, rectangle(30, 40), bare).totals.tank_fills is None


def test_the_rows_of_the_crop_set_the_heading_unless_something_is_said(patch):
    field = rectangle(30, 40)
    rows = plan(patch, field, SprayConfig(), rows_heading_deg=12.5)
    assert (rows.heading_deg, rows.heading.source) == (12.5, "crop rows")
    said = plan(patch, field, SprayConfig(heading_deg=27), rows_heading_deg=12.5)
    assert (said.heading_deg, said.heading.others) == (27, ("crop rows 12.50°",))


def test_a_sliver_of_excluded_ground_does_not_follow_the_sprayed_cell_beside_it(tmp_path, patch):
    field = rectangle(29.004, 40)  # less than a hundredth of the last column of cells lies in the field
    path = exclusion_file(tmp_path / "path.gpkg", rectangle(1, 60, at=(29.001, -5)))
    config = SprayConfig(heading_deg=0, length_m=0.5, exclusions=path, headland_m=2)
    zones = plan(patch, field, config).zones
    treated = shapely.union_all(zones.geometry[zones.rate_l_ha > 0].values)
    assert treated.bounds[2] == pytest.approx(EAST + 29, abs=1e-6)
    assert zones.area.sum() == pytest.approx(field.area, rel=1e-9)
