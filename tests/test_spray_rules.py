from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import PrescriptionError
from geoseg.spray.morphology import buffer_reach, dilate
from geoseg.spray.rules import Seen, SprayConfig, decide

PIXEL = 1e-4


def decide_on(config, weed, valid=None, share=None):
    weed = np.asarray(weed)
    valid = np.full(weed.shape, 2500) if valid is None else np.asarray(valid)
    share = np.ones(weed.shape, np.float32) if share is None else np.asarray(share, np.float32)
    return decide(config, Seen(weed, valid, share, PIXEL))


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 4), st.floats(0.1, 2), st.floats(0.1, 2))
def test_the_buffer_is_the_minkowski_sum_of_a_cell_and_a_disc(buffer, width, length):
    mask = np.zeros((61, 61), bool)
    mask[30, 30] = True
    reach = buffer_reach(buffer, width, length)
    if max(reach) > 30 or len(reach) > 31:
        return
    grown = dilate(mask, reach)
    rows, cols = np.mgrid[:61, :61] - 30
    cells = shapely.box(cols * width, rows * length, (cols + 1) * width, (rows + 1) * length)
    gap = shapely.distance(cells, shapely.box(0, 0, width, length))
    assert grown[gap < buffer - 1e-6].all()
    assert not (grown & ~mask & (gap > buffer - 1e-12)).any()
    assert grown[30, 30]


def test_a_buffer_of_zero_adds_nothing_and_the_smallest_adds_the_neighbours():
    mask = np.zeros((5, 7), bool)
    mask[2, 3] = True
    assert (dilate(mask, buffer_reach(0.0, 0.5, 0.5)) == mask).all()
    assert dilate(mask, buffer_reach(0.01, 0.5, 0.5)).sum() == 9


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 3), st.integers(1, 30), st.integers(1, 30))
def test_dilating_many_cells_is_dilating_each(seed, buffer, rows, cols):
    mask = np.random.default_rng(seed).random((rows, cols)) < 0.05
    reach = buffer_reach(buffer, 0.5, 0.7)
    expected = np.zeros_like(mask)
    for row, col in np.argwhere(mask):
        for i in range(rows):
            for j in range(cols):
                offset = abs(i - row)
                expected[i, j] |= offset < len(reach) and abs(j - col) <= reach[offset]
    assert (dilate(mask, reach) == expected).all()


def test_a_cell_triggers_from_the_threshold_on_and_of_valid_pixels_only():
    config = SprayConfig(threshold_cover=0.01, buffer_m=0)
    found = decide_on(config, [[24, 25, 13, 0]], [[2500, 2500, 1300, 2500]])
    assert found.triggered.tolist() == [[False, True, True, False]]
    assert (found.treated == found.triggered).all()


def test_a_threshold_of_zero_means_any_weed_pixel():
    assert decide_on(SprayConfig(threshold_cover=0, buffer_m=0), [[0, 1]]).treated.tolist() == [[False, True]]


def test_a_wide_section_opens_for_what_a_narrow_one_would():
    weed = np.random.default_rng(3).poisson(8, (12, 12))
    narrow = decide_on(SprayConfig(threshold_cover=0.005, buffer_m=0), weed).treated.reshape(3, 4, 3, 4).any((1, 3))
    weed = weed.reshape(3, 4, 3, 4).sum((1, 3))
    config = SprayConfig(section_m=2, threshold_cover=0.005, buffer_m=0)
    valid = np.full((3, 3), 40_000)
    assert (decide_on(config, weed, valid).treated >= narrow).all()
    whole_cell = dataclasses.replace(config, threshold_over_m2=None)
    assert not decide_on(whole_cell, np.full((3, 3), 199), valid).treated.any()
    assert decide_on(whole_cell, np.full((3, 3), 200), valid).treated.all()


def test_more_buffer_or_less_threshold_never_sprays_less():
    weed = np.random.default_rng(0).poisson(15, (40, 40))
    treated = None
    for threshold in (0.02, 0.015, 0.01, 0.005, 0.0):
        now = decide_on(SprayConfig(threshold_cover=threshold), weed).treated
        assert treated is None or (now >= treated).all()
        treated = now
    for buffer in (0, 0.2, 0.5, 0.6, 1.2):
        now = decide_on(SprayConfig(threshold_cover=0.01, buffer_m=buffer), weed).treated
        assert treated is None or buffer == 0 or (now >= treated).all()
        treated = now


@pytest.mark.parametrize(("unseen", "sprayed"), [("spray", True), ("skip", False)])
def test_what_was_not_seen_is_counted_and_done_as_the_rule_says(unseen, sprayed):
    config = SprayConfig(unseen=unseen)
    found = decide_on(config, [[0, 0, 0]], [[2500, 0, 1000]])
    assert found.unseen.tolist() == [[False, True, True]]
    assert found.treated.tolist() == [[False, sprayed, sprayed]]


def test_a_sliver_without_a_pixel_centre_is_not_unseen():
    found = decide_on(SprayConfig(), [[0, 0]], [[0, 0]], [[0.02, 0.5]])
    assert found.unseen.tolist() == [[False, True]]


def test_weeds_in_a_hardly_seen_cell_still_trigger():
    found = decide_on(SprayConfig(buffer_m=0, unseen="skip"), [[5]], [[100]])
    assert found.treated.all()
    assert not found.unseen.any()


def test_small_spots_are_dropped_and_counted_but_unseen_cells_never():
    weed = np.zeros((9, 20), int)
    weed[2, 2] = 100
    weed[5:8, 10:16] = 100
    valid = np.full(weed.shape, 2500)
    valid[0, 19] = 0
    found = decide_on(SprayConfig(buffer_m=0, min_spot_m2=1.0), weed, valid)
    assert not found.treated[2, 2]
    assert found.treated[5:8, 10:16].all()
    assert found.treated[0, 19]
    assert (found.dropped_spots, found.dropped_weed_px) == (1, 100)


def test_a_spot_of_exactly_the_minimum_stays_and_corners_connect():
    weed = np.zeros((6, 6), int)
    weed[1, 1] = weed[2, 2] = 100
    assert decide_on(SprayConfig(buffer_m=0, min_spot_m2=0.5), weed).treated.sum() == 2


def test_cells_outside_the_field_are_never_treated():
    found = decide_on(SprayConfig(), [[100, 0, 0, 0, 0, 100]], None, [[1, 0.5, 0, 1, 1, 0]])
    assert found.treated.tolist() == [[True, True, False, False, False, False]]
    assert found.triggered.sum() == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rate_l_ha", 0.0),
        ("rate_l_ha", -1.0),
        ("rate_l_ha", float("nan")),
        ("rate_l_ha", 1e6),
        ("section_m", 0.0),
        ("section_m", -0.5),
        ("length_m", 0.0),
        ("length_m", float("inf")),
        ("heading_deg", -1.0),
        ("heading_deg", 361.0),
        ("threshold_cover", 1.01),
        ("threshold_cover", -0.01),
        ("threshold_over_m2", 0.0),
        ("buffer_m", -0.5),
        ("min_spot_m2", -1.0),
        ("min_seen", 2.0),
        ("unseen", "maybe"),
        ("holes", "maybe"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(field, value):
    with pytest.raises(PrescriptionError, match=rf"^spray\.{field} is .*; expected "):
        SprayConfig(**{field: value})


def test_cells_are_at_least_half_a_metre_long_by_default():
    assert SprayConfig(section_m=0.25).cell_m == (0.25, 0.5)
    assert SprayConfig(section_m=3).cell_m == (3, 3)
    assert SprayConfig(section_m=3, length_m=1).cell_m == (3, 1)


def test_the_parameters_cannot_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        SprayConfig().rate_l_ha = 1.0  # type: ignore[misc]
