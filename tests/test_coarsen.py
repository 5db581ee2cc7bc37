"""Plans made coarser for small terminals: nothing is treated less, what is treated more is counted, limits hold."""

from __future__ import annotations

import dataclasses
import itertools
import re

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.ndimage import grey_closing

from geoseg import export
from geoseg.errors import GeosegWarning, PrescriptionError
from geoseg.export.coarsen import _closed, _in_blocks, closed_gaps, fewer_rates, larger_cells, loss_between
from geoseg.export.planned import Plan
from geoseg.spray import SprayConfig
from geoseg.spray.prescription import plan
from spray_helpers import fields_of_any_shape, paint, rectangle, write_classes

WAYS = {"gaps": closed_gaps, "cells": larger_cells}


@pytest.fixture(scope="module")
def spots(tmp_path_factory):
    """Eleven spots in a field of 40 x 40 m."""
    rng = np.random.default_rng(5)
    places = rng.uniform(2, 38, (11, 2))
    pixels = paint((800, 800), 0.05, lambda x, y: np.min([np.hypot(x - a, y - b) for a, b in places], axis=0) < 0.3)
    path = write_classes(tmp_path_factory.mktemp("spots") / "classes.tif", pixels)
    return plan(path, rectangle(40, 40), SprayConfig(heading_deg=27))


def limited(name, **values):
    profile = export.read_profile(name)
    changed = {key: dataclasses.replace(profile.limits[key], value=value) for key, value in values.items()}
    return dataclasses.replace(profile, limits=profile.limits | changed)


def with_rates(found, rates):
    """A plan whose zones have other rates, in turn."""
    zones = found.zones.assign(rate_l_ha=[rates[nth % len(rates)] for nth in range(len(found.zones))])
    return Plan.of(found, zones=zones)


def treats_at_least(coarse, fine):
    """By shapely alone: ground with less than planned, and with more."""
    under = over = 0.0
    for rate, shape in zip(coarse.zones.rate_l_ha, coarse.zones.geometry, strict=True):
        for planned, other in zip(fine.zones.rate_l_ha, fine.zones.geometry, strict=True):
            area = shape.intersection(other).area if rate != planned else 0.0
            under, over = under + area * (rate < planned), over + area * (rate > planned)
    return under, over


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [1, 2, 5, 16, 200])
def test_nothing_is_treated_less_and_the_rest_is_counted(spots, way, size):
    coarse = WAYS[way](spots, size)
    under, over = treats_at_least(coarse, spots)
    assert under < 1e-6
    loss = loss_between(spots, coarse, "why", "how")
    assert loss.over_treated_m2 == pytest.approx(over, abs=1e-6)
    assert loss.over_treated_litres == pytest.approx(coarse.totals.litres - spots.totals.litres, abs=1e-6)
    assert coarse.zones.area.sum() == pytest.approx(spots.boundary.area, rel=1e-9)
    assert shapely.coverage_is_valid(coarse.zones.geometry.values)


def test_the_largest_cell_is_the_whole_field(spots):
    coarse = larger_cells(spots, 200)
    assert len(coarse.zones) == 1
    assert coarse.rates == (200.0,)
    assert coarse.totals.saved_percent == pytest.approx(0, abs=1e-6)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(field=fields_of_any_shape(), heading=st.floats(0, 180), size=st.integers(1, 30), way=st.sampled_from(list(WAYS)))
def test_in_any_field(tmp_path, field, heading, size, way):
    pixels = np.where(np.random.default_rng(size).random((100, 100)) < 0.02, 2, 0).astype(np.uint8)
    path = write_classes(tmp_path / "classes.tif", np.kron(pixels, np.ones((4, 4), np.uint8)), 0.1)
    fine = plan(path, field, SprayConfig(heading_deg=heading, section_m=1.0))
    coarse = WAYS[way](fine, size)
    assert loss_between(fine, coarse, "", "").under_treated_m2 < 1e-4
    assert coarse.zones.area.sum() == pytest.approx(field.area, rel=1e-8)


@given(seed=st.integers(0, 999), reach=st.integers(1, 9), levels=st.integers(1, 4))
def test_closing_is_that_of_scipy_on_an_endless_lattice(seed, reach, levels):
    level = np.random.default_rng(seed).integers(1, levels + 1, (13, 17)).astype(np.uint8)
    closed = _closed(level, reach)
    wide = np.pad(level, 40, constant_values=1)
    np.testing.assert_array_equal(closed, grey_closing(wide, size=(reach + 1, reach + 1))[40:-40, 40:-40])
    assert (closed >= level).all()
    np.testing.assert_array_equal(_closed(closed, reach), closed)


def test_blocks_take_their_highest_level():
    level = np.arange(1, 36, dtype=np.uint8).reshape(5, 7)
    blocks = _in_blocks(level, 3)
    assert blocks.tolist()[0] == [17, 17, 17, 20, 20, 20, 21]
    assert blocks.tolist()[4] == [31, 31, 31, 34, 34, 34, 35]


@given(
    rates=st.lists(st.integers(1, 400), min_size=1, max_size=7, unique=True),
    areas=st.lists(st.floats(0.1, 100), min_size=8, max_size=8),
    most=st.integers(2, 6),
)
def test_fewer_rates_take_the_least_liquid_of_all_choices(spots, rates, areas, most):
    rates = [0, *sorted(rates)]
    zones = spots.zones.iloc[[0] * len(rates)].assign(rate_l_ha=np.array(rates, float), area_m2=areas[: len(rates)])
    squares = [shapely.box(nth, 0, nth + 1, area) for nth, area in enumerate(zones.area_m2)]
    fine = Plan.of(spots, zones=zones.set_geometry(squares))
    coarse = fewer_rates(fine, most)
    assert len(coarse.rates) <= most
    assert 0 in coarse.rates
    assert (coarse.zones.rate_l_ha.to_numpy() >= zones.rate_l_ha.to_numpy()).all()
    sprayed, area = np.array(rates[1:], float), zones.area_m2.to_numpy()[1:]
    count = min(most - 1, len(sprayed))
    best = min(
        float((np.array(kept)[np.searchsorted(kept, sprayed)] * area).sum())
        for kept in itertools.combinations(sprayed, count)
        if kept[-1] == sprayed[-1]
    )
    assert 1e4 * coarse.totals.litres == pytest.approx(best)


CAPS = [
    ("generic", "polygons", 4),
    ("agfusion", "polygons", 3),
    ("seedhawk", "bytes", 3000),
    ("cloud", "bytes", 1700),
    ("isoxml_zones", "bytes", 6000),
    ("kml", "bytes", 5000),
    ("gpkg", "polygons", 5),
    ("generic", "vertices", 30),
]


@pytest.mark.parametrize(("name", "limit", "most"), CAPS, ids=[f"{name}-{limit}" for name, limit, _ in CAPS])
def test_a_limit_is_met_by_a_coarser_plan_that_says_so(spots, tmp_path, name, limit, most):
    profile = export.read_profile(name)
    known = profile.limits.get(limit) or dataclasses.replace(next(iter(profile.limits.values())))
    tight = dataclasses.replace(
        profile, limits=profile.limits | {limit: dataclasses.replace(known, value=most, evidence="I", source="a test")}
    )
    with pytest.warns(GeosegWarning, match=rf"{re.escape(profile.title)} takes {most:,}"):
        written = export.write(spots, tmp_path, tight)
    report = export.check(tmp_path, written.plan, profile=tight)
    assert report.files[0].limits[limit]["found"] <= most
    assert written.loss.polygons == (len(spots.zones), len(written.plan.zones))
    assert written.loss.under_treated_m2 < 1e-6
    under, over = treats_at_least(written.plan, spots)
    assert under < 1e-6
    assert written.loss.over_treated_m2 == pytest.approx(over, abs=1e-5)
    assert over > 0
    text = (tmp_path / "README.txt").read_text()
    for part in ("COARSER THAN PLANNED", f"takes {most:,}", f"{over:.1f} m2", f"{len(spots.zones)} before"):
        assert part in text


def test_no_less_coarse_plan_would_do(spots, tmp_path):
    with pytest.warns(GeosegWarning):
        written = export.write(spots, tmp_path, limited("agfusion", polygons=6))
    reach = round(float(re.search(r"gaps of up to ([\d.]+) m", written.loss.detail)[1]) / 0.5)
    assert len(closed_gaps(spots, reach).zones) <= 6 < len(closed_gaps(spots, reach - 1).zones)
    assert written.plan.totals.litres <= min(
        candidate.totals.litres
        for candidate in (larger_cells(spots, size) for size in range(1, 40))
        if len(candidate.zones) <= 6
    )


def test_a_grid_with_too_many_bytes_gets_larger_cells(spots, tmp_path):
    for name in ("dji", "isoxml"):
        profile = export.read_profile(name)
        known = dataclasses.replace(profile.limits["cells"], evidence="I", source="a test", value=6000)
        tight = dataclasses.replace(profile, limits=profile.limits | {"bytes": known})
        with pytest.warns(GeosegWarning, match=r"bytes of all files together; .* takes 6,000"):
            written = export.write(spots, tmp_path / name, tight)
        assert sum(file.stat().st_size for file in written.files[:-1]) <= 6000
        assert written.loss.under_treated_m2 == 0 < written.loss.over_treated_m2
        assert "cells of the grid: 0.250 m before" in (tmp_path / name / "README.txt").read_text()


def test_too_many_rates_are_raised_to_fewer(spots, tmp_path):
    stepped = with_rates(spots, [0.0, 100.0, 110.0, 150.0, 200.0])
    with pytest.warns(GeosegWarning, match=r"5 different rates, rate 0 included; .* takes 3"):
        written = export.write(stepped, tmp_path, limited("generic", rates=3))
    assert len(written.plan.rates) == 3
    assert {0.0, 200.0} < set(written.plan.rates)
    assert treats_at_least(written.plan, stepped)[0] == 0
    assert export.check(tmp_path, written.plan).ok


def test_ground_that_is_never_sprayed_stays_so(spots):
    excluded = np.zeros(spots.box.shape, bool)
    excluded[30:50, 20:60] = True
    level_ground = np.kron(excluded, np.ones((1, 1), bool))
    fine = Plan.of(closed_gaps(Plan.of(spots, excluded=level_ground), 1), excluded=level_ground)
    for way in WAYS.values():
        coarse = way(fine, 40)
        rows, cols = np.nonzero(excluded)
        affine = spots.box.affine
        x = affine.a * (cols + 0.5) + affine.b * (rows + 0.5) + affine.c
        y = affine.d * (cols + 0.5) + affine.e * (rows + 0.5) + affine.f
        treated = coarse.zones[coarse.zones.rate_l_ha > 0].union_all()
        inside = shapely.contains_xy(spots.boundary, x, y)
        assert inside.sum() > 100
        assert not shapely.contains_xy(treated, x[inside], y[inside]).any()


def test_what_no_coarser_plan_can_mend_is_an_error(spots, tmp_path):
    for profile, message in (
        (limited("seedhawk", bytes=100), "no coarser prescription has less"),
        (limited("seedhawk", area_ha=0), "the field has 0.2 ha; .* takes 0; cut the field"),
        (limited("generic", rates=1), "a limit of 1 rates"),
    ):
        with pytest.raises(PrescriptionError, match=message):
            export.write(spots, tmp_path, profile)
    tiny = export.read_profile("dji")
    tiny = dataclasses.replace(tiny, limits=tiny.limits | {"bytes": dataclasses.replace(tiny.limits["bytes"], value=9)})
    with pytest.raises(PrescriptionError, match="holds no grid"):
        export.write(spots, tmp_path, tiny)
    assert not list(tmp_path.iterdir())
