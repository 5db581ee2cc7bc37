"""The stand: spacing indices, gaps and intervals against numbers worked out by hand."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geoseg.segment.rows import RowConfig, find_rows
from geoseg.segment.stand import count_interval, find_gaps, row_stand, spacing_indices, theoretical
from geoseg.segment.standfacts import RowTotals, count_error, stand_facts


def test_indices_by_hand() -> None:
    """Ten spacings in centimetres: 2 multiples (5, 10), 2 misses (31, 60), 6 singles; the limits belong below."""
    spacings = np.array([5, 10, 18, 19, 20, 21, 22, 30, 31, 60]) / 100
    found = spacing_indices(spacings, 0.20)
    assert (found.count, found.theoretical_m, found.theoretical_from) == (10, 0.20, "given")
    assert (found.multiples, found.misses, found.quality_of_feed) == (0.2, 0.2, 0.6)
    assert found.mean_m == pytest.approx(0.236)
    assert found.sd_m == pytest.approx(statistics.stdev(spacings.tolist()))
    assert found.cv == pytest.approx(statistics.stdev(spacings.tolist()) / 0.236)
    # Singles 18 19 20 21 22 30: mean 21.667, squares 13.44 7.11 2.78 0.44 0.11 69.44 = 93.33, over 5 = 18.67.
    assert found.precision == pytest.approx(math.sqrt(18.6667) / 20, rel=1e-4)


def test_indices_need_two_spacings() -> None:
    assert spacing_indices([]) is None
    assert spacing_indices([0.2]) is None
    assert spacing_indices([0.2, 0.9], 0.2).precision is None


@given(st.lists(st.floats(0.01, 10), min_size=2, max_size=50), st.floats(0.05, 2))
def test_shares_add_up_and_do_not_depend_on_the_unit(spacings: list[float], meant: float) -> None:
    found = spacing_indices(spacings, meant)
    assert found.multiples + found.misses + found.quality_of_feed == pytest.approx(1)
    twice = spacing_indices([2 * value for value in spacings], 2 * meant)
    assert (twice.multiples, twice.misses) == (found.multiples, found.misses)
    assert twice.cv == pytest.approx(found.cv)


@pytest.mark.parametrize("missing", [0.0, 0.2, 0.4])
def test_the_spacing_meant_is_found_among_gaps(missing: float) -> None:
    rng = np.random.default_rng(1)
    steps = np.diff((np.arange(4000) * 0.25 + rng.normal(0, 0.02, 4000))[rng.random(4000) >= missing])
    assert theoretical(steps) == pytest.approx(0.25, rel=0.02)
    assert spacing_indices(steps).theoretical_from == "estimated"
    assert spacing_indices(steps).misses == pytest.approx(missing, abs=0.03)


@pytest.fixture
def sown():
    """Five rows to the north, a plant every 0.3 m, 0.7 m apart; row 2 lacks plants 4 and 5, row 4 lacks plant 10."""
    row, place = (part.ravel() for part in np.mgrid[:5, :20])
    grown = ~((row == 1) & np.isin(place, (4, 5))) & ~((row == 3) & (place == 10))
    return find_rows(row[grown] * 0.7, place[grown] * 0.3)


def test_gaps_by_hand(sown) -> None:
    stand = row_stand(sown.plants, sown.table, 1.5)
    gaps = find_gaps(sown.plants, stand, 1.5)
    assert gaps.row_id.tolist() == [2, 4]
    np.testing.assert_allclose(gaps.length_m, [0.9, 0.6], atol=1e-3)
    assert gaps.missing.tolist() == [2, 1]
    expected = [[0.7, 0.9], [0.7, 1.8]], [[2.1, 2.7], [2.1, 3.3]]
    for line, ends in zip(gaps.line, expected, strict=True):
        np.testing.assert_allclose(shapely.get_coordinates(line), ends, atol=0.01)
    assert find_gaps(sown.plants, row_stand(sown.plants, sown.table, 2.5), 2.5).row_id.tolist() == [2]


def test_the_stand_of_each_row_by_hand(sown) -> None:
    stand = row_stand(sown.plants, sown.table, 1.5)
    # Row 2: 16 spacings of 0.3 and one of 0.9.
    steps = [0.3] * 16 + [0.9]
    assert stand.spacing_m[1] == pytest.approx(statistics.mean(steps), abs=1e-3)
    assert stand.spacing_sd_m[1] == pytest.approx(statistics.stdev(steps), abs=1e-3)
    assert stand.spacing_cv[1] == pytest.approx(statistics.stdev(steps) / statistics.mean(steps), abs=1e-3)
    np.testing.assert_allclose(stand.median_m, 0.3, atol=1e-3)
    np.testing.assert_allclose(stand.gap_m, [0, 0.9, 0, 0.6, 0], atol=1e-3)
    np.testing.assert_allclose(stand.gap_share, [0, 0.9 / 5.7, 0, 0.6 / 5.7, 0], atol=1e-3)


def test_short_rows_take_the_median_of_the_field() -> None:
    row, place = (part.ravel() for part in np.mgrid[:6, :20])
    grown = (row < 5) | np.isin(place, (0, 2, 4, 6, 8))
    found = find_rows(row[grown] * 0.7, place[grown] * 0.3, config=RowConfig(min_plants=4))
    stand = row_stand(found.plants, found.table, 1.5)
    assert stand.median_m[5] == pytest.approx(0.3, abs=1e-3)
    assert find_gaps(found.plants, stand, 1.5).row_id.tolist() == [6] * 4


def test_without_rows_there_is_nothing_to_say() -> None:
    found = find_rows([], [])
    stand = row_stand(found.plants, found.table, 1.5)
    assert len(stand.gap_m) == len(find_gaps(found.plants, stand, 1.5).row_id) == 0


def test_the_interval_of_the_count_is_that_of_poisson_plants() -> None:
    """Of n plants strewn over the field the bootstrap's interval is about n -+ 1.96 root n."""
    x, y = np.random.default_rng(2).uniform(0, 100, (2, 4000))
    low, high = count_interval(x, y)
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(4000), rel=0.15)
    assert low < 4000 < high
    assert count_interval(x, y) == (low, high)
    assert count_interval(x[:3], y[:3]) is None
    assert count_interval([], []) is None


def test_the_interval_of_a_count_is_that_of_the_widest_validation() -> None:
    one = {"count": {"plots": 10, "plot_m2": 4.0, "ratio_low": 0.9, "ratio_high": 1.3}, "miou": 0.8}
    other = {"count": {"plots": 5, "plot_m2": 2.0, "ratio_low": 0.95, "ratio_high": 1.5}}
    few = {"count": {"plots": 2, "plot_m2": 2.0, "ratio_low": None, "ratio_high": None}}
    error = count_error({"a": one, "b": other, "c": few, "d": {"miou": 0.5}})
    assert error == {"low": 0.9, "high": 1.5, "plots": 15, "plot_m2": 2.0}
    totals = RowTotals(0, 0.0, 0, 0.0, 0)
    facts = stand_facts(np.arange(200.0), np.zeros(200), 400.0, np.empty(0), totals, error=error)
    assert facts["plants_validated"] == [180.0, 300.0]
    assert "in 15 validation plots of 2.0 m² and more there were 0.90 to 1.50 times" in facts["plants_validated_from"]
    assert count_error({"c": few}) is None
    facts = stand_facts(np.arange(200.0), np.zeros(200), 400.0, np.empty(0), totals)
    assert facts["plants_validated"] is None
    assert facts["plants_validated_from"] == "the card of the model has no validation counts"
