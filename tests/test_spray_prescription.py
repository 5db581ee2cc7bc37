from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import shapely

from geoseg.errors import PrescriptionError
from geoseg.spray import SprayConfig
from geoseg.spray.curves import map_curve
from geoseg.spray.prescription import plan
from spray_helpers import EAST, NORTH, paint, rectangle, write_classes


@pytest.fixture(scope="module")
def patch(tmp_path_factory):
    """30 x 40 m of soil with one round patch of weeds, 3 m in radius, at (12, 22)."""
    pixels = paint((800, 600), 0.05, lambda x, y: np.hypot(x - 12, y - 22) < 3)
    return write_classes(tmp_path_factory.mktemp("patch") / "classes.tif", pixels)


@pytest.mark.parametrize("heading", [0.0, 27.0, 90.0])
@pytest.mark.parametrize("buffer", [0.0, 0.5, 1.5])
def test_a_round_patch_is_treated_with_its_buffer_and_at_most_a_cell_more(patch, heading, buffer):
    cell = 0.25
    config = SprayConfig(section_m=cell, length_m=cell, heading_deg=heading, buffer_m=buffer, threshold_cover=0)
    found = plan(patch, rectangle(30, 40), config)
    treated = shapely.union_all(found.zones.geometry[found.zones.rate_l_ha > 0].values)
    centre = shapely.Point(EAST + 12, NORTH + 22)
    reach = np.hypot(cell, cell)
    assert treated.covers(centre.buffer(3 + buffer - 0.05, quad_segs=64))
    assert centre.buffer(3 + buffer + 2 * reach, quad_segs=64).covers(treated)
    assert found.totals.weed_ha == pytest.approx(np.pi * 9 / 1e4, rel=5e-3)


def test_area_and_litres_are_conserved_from_pixels_to_zones(patch):
    field = rectangle(29.3, 38.7, at=(0.4, 0.9))
    found = plan(patch, field, SprayConfig(rate_l_ha=150, heading_deg=19))
    totals, zones = found.totals, found.zones
    assert zones.area.sum() == pytest.approx(field.area, rel=1e-9)
    assert zones.area_m2.to_numpy() == pytest.approx(zones.area.to_numpy())
    assert totals.field_ha == pytest.approx(field.area / 1e4)
    cell = found.box.affine
    from_cells = float((found.share * found.decision.treated).sum(dtype=float)) * abs(cell.determinant)
    assert totals.treated_ha * 1e4 == pytest.approx(from_cells, rel=2e-3)
    assert totals.litres == pytest.approx(totals.treated_ha * 150)
    assert totals.broadcast_litres == pytest.approx(field.area / 1e4 * 150)
    assert totals.saved_percent == pytest.approx(100 * (1 - totals.treated_ha / totals.field_ha))
    assert totals.overspray_factor == pytest.approx(totals.treated_ha / totals.weed_ha)
    assert found.counts.valid.sum() * found.counts.pixel_area_m2 == pytest.approx(field.area, rel=2e-3)
    assert sorted(zones.zone) == list(range(1, len(zones) + 1)) == list(range(1, totals.zones + 1))


def test_rate_zero_is_written_over_the_rest_of_the_field(patch):
    zones = plan(patch, rectangle(30, 40), SprayConfig()).zones
    assert sorted(zones.rate_l_ha.unique()) == [0.0, 200.0]
    background = zones.geometry[zones.rate_l_ha == 0]
    assert len(background) == 1
    assert len(background.iloc[0].interiors) == 1


def test_a_clean_field_is_one_zone_of_zero(tmp_path):
    path = write_classes(tmp_path / "classes.tif", np.zeros((200, 200), np.uint8))
    found = plan(path, rectangle(10, 10), SprayConfig())
    assert found.zones.rate_l_ha.tolist() == [0.0]
    assert (found.totals.litres, found.totals.saved_percent, found.totals.overspray_factor) == (0.0, 100.0, None)


def test_a_field_of_weeds_is_one_zone_and_saves_nothing(tmp_path):
    path = write_classes(tmp_path / "classes.tif", np.full((200, 200), 2, np.uint8))
    totals = plan(path, rectangle(10, 10), SprayConfig()).totals
    assert (totals.zones, totals.saved_percent) == (1, 0.0)
    assert totals.litres == pytest.approx(totals.broadcast_litres)


def test_what_the_camera_did_not_see_is_sprayed_or_left_but_always_counted(tmp_path):
    pixels = np.zeros((400, 400), np.uint8)
    pixels[:, 300:] = 255
    path = write_classes(tmp_path / "classes.tif", pixels)
    field = rectangle(20, 25)  # five metres at the top lie beyond the raster, five at the right are nodata
    for unseen, treated in (("spray", 200), ("skip", 0)):
        totals = plan(path, field, SprayConfig(unseen=unseen, heading_deg=0)).totals
        assert totals.unseen_ha * 1e4 == pytest.approx(200, abs=1e-3)
        assert totals.treated_ha * 1e4 == pytest.approx(treated, abs=1e-3)


def test_more_buffer_sprays_more_and_a_higher_threshold_less(patch):
    field = rectangle(30, 40)
    by_buffer = [plan(patch, field, SprayConfig(buffer_m=b)).totals.litres for b in (0, 0.3, 0.6, 1.1, 2.0)]
    by_threshold = [plan(patch, field, SprayConfig(threshold_cover=t)).totals.litres for t in (0, 0.1, 0.5, 0.9, 1)]
    assert by_buffer == sorted(by_buffer)
    assert by_buffer[0] < by_buffer[-1]
    assert by_threshold == sorted(by_threshold, reverse=True)


def test_the_heading_comes_from_the_boundary_or_from_the_config(patch):
    assert plan(patch, rectangle(30, 40), SprayConfig()).heading_deg == 0
    found = plan(patch, rectangle(30, 20), SprayConfig())
    assert found.heading_deg == 90
    assert found.true_heading_deg == pytest.approx(91.9, abs=0.2)
    assert plan(patch, rectangle(30, 20), SprayConfig(heading_deg=360)).heading_deg == 0


def test_cells_are_rectangles_of_the_machine_with_their_cover(patch):
    found = plan(
        patch,
        rectangle(30, 40),
        SprayConfig(section_m=0.5, length_m=1, heading_deg=27, buffer_m=0, threshold_cover=0.5),
    )
    (cells,) = found.cells()
    assert cells.area.to_numpy() == pytest.approx(0.5, rel=1e-6)
    assert set(cells.rate_l_ha) == {0.0, 200.0}
    assert cells.weed_cover.max() == 1
    assert (cells.weed_cover * cells.seen * 0.5).sum() / 1e4 == pytest.approx(found.totals.weed_ha, rel=0.02)
    everything = sum(len(part) for part in found.cells(only_seen_or_treated=False))
    assert everything == found.totals.cells
    rates = found.rate_grid()
    assert np.isnan(rates).sum() == rates.size - found.totals.cells


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (shapely.Polygon(), "an empty Polygon"),
        (shapely.Point(EAST, NORTH), "a Point"),
        (shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)]), "not valid"),
    ],
)
def test_a_boundary_that_is_no_field_is_refused(patch, field, message):
    with pytest.raises(PrescriptionError, match=message):
        plan(patch, field, SprayConfig())


def test_a_field_of_many_parts_and_height_is_taken(patch):
    field = shapely.force_3d(shapely.union_all([rectangle(8, 8), rectangle(5, 30, at=(20, 2))]), 5.0)
    found = plan(patch, field, SprayConfig(heading_deg=33))
    assert found.zones.area.sum() == pytest.approx(field.area, rel=1e-9)
    assert not shapely.has_z(found.zones.geometry.values).any()


@pytest.mark.parametrize(("section", "heading"), [(0.5, None), (0.5, 27.0), (0.25, 27.0)])
def test_the_potato_field(fields, section, heading):
    path = fields / "potato" / "labels.tif"
    field = shapely.box(690000, 5360000 - 6400 * 0.0027, 690000 + 9600 * 0.0027, 5360000)
    found = plan(path, field, SprayConfig(section_m=section, heading_deg=heading))
    assert found.totals.unseen_cells == 0
    assert shapely.coverage_is_valid(found.zones.geometry.values)
    assert found.totals.weed_ha * 1e4 == pytest.approx(4.075, abs=0.01)
    assert 0 < found.totals.saved_percent < 60


def test_weed_that_is_not_sprayed_is_told(tmp_path):
    weed = paint((400, 400), 0.05, lambda x, y: (abs(x - 2.25) < 0.2) & (abs(y - 2.25) < 0.2))  # 64 % of one cell
    weed[25, 325] = 2  # one pixel, 1 % of another
    path = write_classes(tmp_path / "classes.tif", weed)
    config = SprayConfig(heading_deg=0, buffer_m=0, threshold_cover=0.02)
    totals = plan(path, rectangle(20, 20), config).totals
    assert totals.missed_weed_ha * 1e4 == pytest.approx(0.05**2)
    assert plan(path, rectangle(20, 20), SprayConfig(heading_deg=0)).totals.missed_weed_ha == 0


def test_the_curve_says_what_plans_with_other_thresholds_would(tmp_path):
    rng = np.random.default_rng(5)
    pixels = np.where(rng.random((400, 400)) < 0.2 * np.linspace(0, 1, 400) ** 3, 2, 0).astype(np.uint8)
    path, field = write_classes(tmp_path / "classes.tif", pixels), rectangle(19.2, 18.4, at=(0.3, 0.7))
    config = SprayConfig(heading_deg=19, buffer_m=0, threshold_cover=0.03)
    found = plan(path, field, config)
    curve = map_curve(found.config, found.seen, (0.0, 0.02, 0.1))
    assert [row["threshold_cover"] for row in curve] == [0.0, 0.02, 0.03, 0.1]
    for row in curve:
        totals = plan(path, field, replace(config, threshold_cover=row["threshold_cover"])).totals
        for name in ("treated_ha", "litres", "saved_percent"):
            assert row[name] == pytest.approx(getattr(totals, name), rel=3e-3, abs=1e-6)
        assert row["missed_weed_ha"] == pytest.approx(totals.missed_weed_ha)
        assert row["weed_ha"] == pytest.approx(totals.weed_ha)
    assert curve[0]["litres"] > 1.2 * curve[-1]["litres"]


def test_a_rule_by_plants_has_no_curve_of_cover(patch):
    found = plan(patch, rectangle(30, 40), SprayConfig())
    assert map_curve(replace(found.config, threshold_plants_m2=1.0), found.seen) == []
