from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import PrescriptionError
from geoseg.spray import SprayConfig
from geoseg.spray.breaks import distinct, natural_breaks, quantile_breaks
from geoseg.spray.rates import RateConfig, offered_rates
from geoseg.spray.rules import Seen, decide

PIXEL = 1e-4


def seen(weed, valid=None, share=None, **more):
    weed = np.asarray(weed)
    valid = np.full(weed.shape, 2500) if valid is None else np.asarray(valid)
    share = np.ones(weed.shape, np.float32) if share is None else np.asarray(share, np.float32)
    return Seen(weed, valid, share, PIXEL, **more)


def rates_of(decision):
    return np.array(decision.rates)[decision.level]


def squares(values, weights, breaks):
    """Sum of squares within the classes, the plain way."""
    nth = np.digitize(values, breaks)
    total = 0.0
    for one in range(len(breaks) + 1):
        v, w = values[nth == one], weights[nth == one]
        if not v.size:
            return np.inf
        total += (w * (v - np.average(v, weights=w)) ** 2).sum()
    return total


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, 200), min_size=5, max_size=13, unique=True),
    st.integers(2, 5),
    st.integers(0, 10_000),
)
def test_natural_breaks_are_the_best_of_all_partitions(values, classes, seed):
    values = np.sort(np.array(values, float))
    weights = np.random.default_rng(seed).integers(1, 9, values.size).astype(float)
    best = min(
        squares(values, weights, values[list(cut)])
        for cut in itertools.combinations(range(1, values.size), classes - 1)
    )
    assert squares(values, weights, natural_breaks(values, weights, classes)) == pytest.approx(best, abs=1e-6)


def test_natural_breaks_do_not_lose_digits_far_from_zero():
    values = 1e8 + np.array([0.0, 1, 2, 50, 51, 52])
    assert natural_breaks(values, np.ones(6), 2).tolist() == [1e8 + 50]


@settings(max_examples=60)
@given(st.integers(2, 9), st.integers(0, 10_000))
def test_quantile_classes_have_about_the_same_weight(classes, seed):
    rng = np.random.default_rng(seed)
    values, weights = np.sort(rng.random(400)), rng.uniform(0.5, 1.5, 400)
    breaks = quantile_breaks(values, weights, classes)
    mass = np.bincount(np.digitize(values, breaks), weights, classes) / weights.sum()
    assert np.abs(mass - 1 / classes).max() < 2 * weights.max() / weights.sum()


def test_classes_that_cannot_be_told_apart_are_refused():
    with pytest.raises(PrescriptionError, match="2 different value"):
        natural_breaks(np.array([0.0, 1.0]), np.ones(2), 3)
    with pytest.raises(PrescriptionError, match=r"90% of the field has the same value, 0"):
        quantile_breaks(np.array([0.0, 1, 2]), np.array([90.0, 5, 5]), 3)


def test_many_values_are_rounded_and_few_are_not():
    values, weights = distinct(np.array([3.0, 1.0, 3.0]), np.array([1.0, 2.0, 5.0]))
    assert (values.tolist(), weights.tolist()) == ([1.0, 3.0], [2.0, 6.0])
    many = np.random.default_rng(0).random(50_000)
    values, weights = distinct(many, np.ones(50_000))
    assert values.size <= 4097
    assert weights.sum() == pytest.approx(50_000)
    assert np.abs(np.repeat(values, weights.astype(int)) - np.sort(many)).max() < 1e-3


def stepped(**more):
    return SprayConfig(
        buffer_m=0,
        threshold_over_m2=None,
        rates=RateConfig(rule="stepped", steps=((0.01, 100.0), (0.1, 200.0)), allow_reduced_rates=True, **more),
    )


def test_a_stepped_rule_gives_the_rate_of_the_highest_step_that_is_reached():
    found = decide(stepped(), seen([[0, 24, 25, 249, 250, 2500]]))
    assert rates_of(found).tolist() == [[0, 0, 100, 100, 200, 200]]
    assert found.triggered.tolist() == [[False, False, True, True, True, True]]


def test_steps_by_plants_go_by_plants_per_seen_square_metre():
    config = SprayConfig(
        buffer_m=0,
        rates=RateConfig(rule="stepped", by="plants", steps=((4.0, 100.0), (12.0, 200.0)), allow_reduced_rates=True),
    )
    plants = np.array([[0, 1, 2, 3, 1]])
    found = decide(config, seen([[9, 9, 9, 9, 9]], [[2500, 2500, 2500, 2500, 800]], weed_plants=plants))
    assert rates_of(found).tolist() == [[0, 100, 100, 200, 200]]
    with pytest.raises(PrescriptionError, match="weed plants per m2, but none were counted"):
        decide(config, seen([[1]]))


def test_plants_trigger_beside_cover():
    config = SprayConfig(buffer_m=0, threshold_cover=0.5, threshold_plants_m2=8.0)
    found = decide(config, seen([[10, 10, 1300, 0]], weed_plants=np.array([[1, 2, 0, 0]])))
    assert found.treated.tolist() == [[False, True, True, False]]


def test_the_higher_rate_wins_in_the_buffer():
    weed = np.zeros((9, 9), int)
    weed[4, 2], weed[4, 5] = 50, 600
    found = decide(dataclasses.replace(stepped(), buffer_m=0.6), seen(weed))
    expected = np.zeros((9, 9))
    for row, col, rate in ((4, 2, 100), (4, 5, 200)):
        for i in range(9):
            for j in range(9):
                gap = np.hypot(max(abs(i - row) - 1, 0) * 0.5, max(abs(j - col) - 1, 0) * 0.5)
                if gap < 0.6:
                    expected[i, j] = max(expected[i, j], rate)
    assert (rates_of(found) == expected).all()


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ({"rule": "stepped", "steps": ((0.01, 150.0),)}, "150 l/ha is below the full rate of 200"),
        ({"rule": "stepped", "steps": ((0.01, 250.0),)}, r"250 l/ha; expected 0 to the full rate of 200"),
        ({"rule": "stepped", "steps": ((0.01, -5.0),)}, r"-5 l/ha; expected 0 to"),
        ({"rule": "stepped"}, r"steps is \[\]; expected 1 to"),
        ({"rule": "stepped", "steps": ((0.1, 200.0), (0.01, 200.0))}, "values ascending"),
        ({"rule": "zones", "class_rates": (0.0, 100.0, 200.0)}, "100 l/ha is below the full rate"),
        ({"rule": "zones", "class_rates": (0.0, 200.0)}, "expected 3 rates, one for each class"),
        ({"rule": "zones", "classes": 1, "class_rates": (200.0,)}, "1 classes; expected 2 to 9"),
        ({"rule": "zones", "method": "given", "breaks": (0.2, 0.1), "class_rates": (0.0, 0.0, 200.0)}, "that ascend"),
        ({"rule": "all"}, "expected spot or stepped or zones"),
        ({"max_l_ha": 150.0}, "150 l/ha is below the full rate"),
        ({"step_l_ha": 30.0}, "raise a rate to 210 l/ha, above the full rate of 200"),
        ({"min_l_ha": 300.0}, "raise a rate to 300 l/ha"),
        ({"min_l_ha": 300.0, "below_min": "down"}, "leave nothing of the full rate of 200"),
        ({"over_m": -1.0}, r"spray\.rates\.over_m is -1; expected a side"),
        ({"min_zone_m2": float("nan")}, r"spray\.rates\.min_zone_m2"),
    ],
)
def test_rates_that_cannot_be_meant_are_refused(rates, message):
    with pytest.raises(PrescriptionError, match=message):
        SprayConfig(rates=RateConfig(**rates))


@pytest.mark.parametrize(("below", "expected"), [("up", (0.0, 60.0, 150.0, 200.0)), ("down", (0.0, 150.0, 200.0))])
def test_steps_minimum_and_the_rule_for_what_lies_below(below, expected):
    rule = RateConfig(
        rule="stepped", steps=((0.1, 12.0), (0.2, 141.0), (0.3, 200.0)), allow_reduced_rates=True,
        step_l_ha=50.0, min_l_ha=60.0, below_min=below,
    )  # fmt: skip
    assert offered_rates(rule, 200.0) == expected
    rates = rates_of(decide(SprayConfig(buffer_m=0, rates=rule), seen([[300, 600, 2000]])))
    assert rates.tolist() == [[expected[1] if below == "up" else 0, 150, 200]]


def test_a_reduced_rate_is_fine_when_it_is_asked_for_by_name():
    config = SprayConfig(
        rates=RateConfig(rule="stepped", steps=((0.01, 120.0), (0.2, 200.0)), allow_reduced_rates=True)
    )
    assert offered_rates(config.rates, config.rate_l_ha) == (0, 120, 200)
    SprayConfig(rates=RateConfig(rule="stepped", steps=((0.01, 200.0),)))
    SprayConfig(rates=RateConfig(rule="zones", classes=2, class_rates=(0.0, 200.0)))


def zones(**more):
    return SprayConfig(buffer_m=0, rates=RateConfig(rule="zones", allow_reduced_rates=True, **more))


def test_zones_by_given_breaks():
    config = zones(method="given", breaks=(0.02, 0.2), class_rates=(0.0, 100.0, 200.0))
    found = decide(config, seen([[0, 49, 50, 499, 500]]))
    assert rates_of(found).tolist() == [[0, 0, 100, 100, 200]]
    assert found.breaks == (0.02, 0.2)


@pytest.mark.parametrize("method", ["quantile", "jenks"])
def test_zones_find_the_breaks_of_clear_classes(method):
    rng = np.random.default_rng(1)
    weed = np.stack([rng.integers(0, 50, 60), rng.integers(500, 600, 60), rng.integers(1500, 1600, 60)])
    found = decide(zones(method=method, class_rates=(0.0, 100.0, 200.0)), seen(weed))
    assert (rates_of(found) == np.array([[0.0], [100], [200]])).all()


def test_zones_leave_unseen_cells_out_of_the_breaks_and_spray_them():
    config = zones(classes=2, method="jenks", class_rates=(0.0, 100.0))
    found = decide(config, seen([[0, 10, 900, 1000, 0]], [[2500, 2500, 2500, 2500, 0]]))
    assert rates_of(found).tolist() == [[0, 0, 100, 100, 200]]


def test_the_square_around_a_cell_smooths_zones():
    rng = np.random.default_rng(2)
    weed = rng.poisson(20, (30, 30)) * 10
    weed[:, 15:] *= 4
    rough = decide(zones(classes=2, class_rates=(0.0, 200.0)), seen(weed))
    smooth = decide(zones(classes=2, class_rates=(0.0, 200.0), over_m=2.5), seen(weed))
    changes = [int((np.diff(found.level.astype(int), axis=1) != 0).sum()) for found in (rough, smooth)]
    assert changes[1] < changes[0]
    assert (smooth.level[:, 18:] == 1).all()
    assert (smooth.level[:, :12] == 0).all()


def test_a_square_counts_what_was_seen_of_it():
    weed, valid = np.full((9, 9), 500), np.full((9, 9), 2500)
    weed[:, :4] = valid[:, :4] = 0
    found = decide(
        zones(method="given", breaks=(0.19, 0.21), class_rates=(0.0, 100.0, 200.0), over_m=2.0), seen(weed, valid)
    )
    assert (rates_of(found)[:, 4:] == 100).all()


def small_zones_are_gone(level, inside, area, minimum, original):
    from scipy.ndimage import label

    for value in np.unique(level[inside]):
        regions, count = label((level == value) & inside)
        for one in range(1, count + 1):
            region = regions == one
            if area[region].sum() >= minimum - 1e-9:
                continue
            grown = np.zeros_like(region)
            grown[1:] |= region[:-1]
            grown[:-1] |= region[1:]
            grown[:, 1:] |= region[:, :-1]
            grown[:, :-1] |= region[:, 1:]
            if (grown & ~region & inside).any():
                return False
    return True


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 4), st.sampled_from([0.5, 1.0, 3.0, 50.0]))
def test_no_zone_under_the_minimum_is_left_that_has_a_neighbour(seed, classes, minimum):
    from geoseg.spray.absorb import absorb_small

    rng = np.random.default_rng(seed)
    level = rng.integers(0, classes, (14, 11)).astype(np.uint8)
    inside = rng.random(level.shape) < 0.9
    area = np.where(inside, 0.25, 0.0)
    found = absorb_small(level, inside, area, (0.5, 0.5), minimum)
    assert small_zones_are_gone(found, inside, area, minimum, level)
    assert (found[~inside] == level[~inside]).all()
    assert set(np.unique(found[inside])) <= set(np.unique(level[inside]))


def test_a_small_zone_joins_the_neighbour_with_the_longest_border_and_the_higher_of_two():
    from geoseg.spray.absorb import absorb_small

    level = np.array([[1, 1, 1, 2], [1, 3, 3, 2], [1, 1, 1, 2]], np.uint8)
    everywhere = np.ones(level.shape, bool)
    found = absorb_small(level, everywhere, np.ones(level.shape), (1.0, 1.0), 3.0)
    assert found.tolist() == [[1, 1, 1, 2], [1, 1, 1, 2], [1, 1, 1, 2]]
    even = np.array([[1, 3, 2]], np.uint8)
    assert absorb_small(even, np.ones((1, 3), bool), np.array([[9.0, 1, 9]]), (1.0, 1.0), 3.0).tolist() == [[1, 2, 2]]
    longer = np.array([[1, 1], [3, 2], [3, 2]], np.uint8)
    for cell, expected in (((1.0, 0.4), 1), ((0.4, 1.0), 2)):
        found = absorb_small(longer, np.ones((3, 2), bool), np.array([[9.0, 9], [1, 9], [1, 9]]), cell, 3.0)
        assert found[1, 0] == expected


def test_small_zones_go_by_the_rule():
    weed = np.zeros((6, 12), int)
    weed[2, 2] = 2000
    weed[2:5, 6:10] = 2000
    config = zones(method="given", breaks=(0.1,), class_rates=(0.0, 200.0), min_zone_m2=1.0)
    found = decide(config, seen(weed))
    assert not found.treated[2, 2]
    assert found.treated[2:5, 6:10].all()


def gaps_by_hand(level, barrier, length, shortest):
    level = level.copy()
    for col in range(level.shape[1]):
        row = 0
        while row < level.shape[0]:
            end = row
            while end < level.shape[0] and level[end, col] == 0 and not barrier[end, col]:
                end += 1
            if 0 < row < end < level.shape[0] and (end - row) * length < shortest - 1e-9:
                ends = (row - 1, end)
                if not any(barrier[at, col] for at in ends):
                    level[row:end, col] = max(level[at, col] for at in ends)
            row = end + 1
    return level


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.sampled_from([0.3, 0.5, 1.0]), st.sampled_from([0.0, 0.5, 1.0, 1.3, 40.0]))
def test_short_gaps_along_the_track_are_closed(seed, length, shortest):
    from geoseg.spray.morphology import close_gaps

    rng = np.random.default_rng(seed)
    level = rng.choice([0, 0, 0, 1, 2], (20, 7)).astype(np.uint8)
    barrier = rng.random(level.shape) < 0.05
    level[barrier] = 0
    found = level.copy()
    closed = close_gaps(found, barrier, length, shortest)
    assert (found == gaps_by_hand(level, barrier, length, shortest)).all()
    assert (closed == (found != level)).all()


def test_gaps_follow_the_machine_and_never_cross_excluded_ground():
    weed = np.zeros((20, 3), int)
    weed[[3, 7]] = 2000
    weed[12, 1] = weed[15, 1] = 2000
    excluded = np.zeros(weed.shape, bool)
    excluded[5, 0] = True
    config = SprayConfig(buffer_m=0, min_gap_m=2.0)
    found = decide(config, seen(weed, excluded=excluded))
    assert found.treated[3:8, 1:].all()
    assert found.treated[4:7, 0].sum() == 0
    assert found.treated[12:16, 1].all()
    assert found.closed.sum() == 8
    assert not found.treated[8:12].any()


def test_excluded_ground_wins_over_weeds_headland_unseen_and_gaps():
    weed, valid = np.full((8, 8), 2000), np.full((8, 8), 2500)
    valid[:, 4:] = weed[:, 4:] = 0
    excluded = np.eye(8, dtype=bool)
    found = decide(SprayConfig(min_gap_m=5.0), seen(weed, valid, headland=np.ones((8, 8), bool), excluded=excluded))
    assert (found.treated == ~excluded).all()


def test_headlands_get_the_full_rate_inside_the_field():
    headland = np.zeros((5, 5), bool)
    headland[0] = True
    share = np.ones((5, 5))
    share[0, 0] = 0
    config = dataclasses.replace(stepped(), buffer_m=0)
    found = decide(config, seen(np.full((5, 5), 30), share=share, headland=headland))
    assert rates_of(found)[0].tolist() == [0, 200, 200, 200, 200]
    assert (rates_of(found)[1:] == 100).all()


@settings(max_examples=30)
@given(st.floats(0, 8), st.sampled_from([0.0, 27.0, 90.0]), st.integers(0, 3))
def test_headland_cells_are_those_near_the_outer_edge(width, heading, which):
    from geoseg.spray.grid import field_share, lattice
    from geoseg.spray.ground import headland_cells
    from spray_helpers import EAST, NORTH, UTM, cell_polygons, rectangle

    hole = shapely.box(EAST + 9, NORTH + 9, EAST + 12, NORTH + 12)
    field = [
        rectangle(20, 25),
        rectangle(20, 25).difference(hole),
        rectangle(6, 30).union(rectangle(30, 6)),
        shapely.union_all([rectangle(10, 20), rectangle(8, 20, at=(15, 0))]),
    ][which]
    box = lattice(field, UTM, (0.7, 0.9), heading)
    share, _ = field_share(field, box)
    found = headland_cells(field, box, share, width)
    shells = [shapely.Polygon(part.exterior) for part in shapely.get_parts(field)]
    band = field.difference(shapely.union_all(shapely.buffer(shells, -width, join_style="mitre")))
    area = shapely.area(shapely.intersection(cell_polygons(box), band)) / (0.7 * 0.9)
    assert found[area > 1e-4].all()
    assert not found[area < 1e-8].any()


def test_every_cell_that_an_exclusion_touches_is_excluded():
    from geoseg.spray.grid import lattice
    from geoseg.spray.ground import touched_cells
    from spray_helpers import EAST, NORTH, UTM, cell_polygons, rectangle

    box = lattice(rectangle(20, 20), UTM, (0.5, 0.6), 33)
    path = shapely.LineString([(EAST - 5, NORTH + 3), (EAST + 30, NORTH + 16)]).buffer(0.05)
    pond = shapely.Point(EAST + 5, NORTH + 15).buffer(2.3)
    ground = shapely.union_all([path, pond, rectangle(3, 3, at=(400, 400))])
    overlap = shapely.area(shapely.intersection(cell_polygons(box), ground))
    found = touched_cells(ground, box)
    assert found[overlap > 1e-9].all()
    apart = shapely.distance(cell_polygons(box), ground) > 1e-6
    assert not found[apart].any()
    assert not touched_cells(rectangle(3, 3, at=(400, 400)), box).any()
