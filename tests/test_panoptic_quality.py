"""Panoptic quality against the definition, pixel set by pixel set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geoseg.train.panoptic_quality import Quality, SegmentPairs, count_scores, panoptic_quality

SHAPE = (7, 9)
segments = hnp.arrays(np.int32, SHAPE, elements=st.sampled_from([0, 0, 1, 2, 3, 4]))
kinds = st.lists(st.integers(1, 2), min_size=4, max_size=4).map(lambda codes: dict(enumerate(codes, 1)))


def by_definition(true: np.ndarray, found: np.ndarray, kind: dict, other: dict, code: int, void: int) -> Quality:
    judged = true != void
    mine = [(true == key) for key in kind if kind[key] == code and (true == key).any()]
    theirs = [(found == key) for key in other if other[key] == code and (found == key).any()]
    shares, taken = [], set()
    for one in mine:
        for number, guess in enumerate(theirs):
            union = np.count_nonzero((one | guess) & judged)
            share = np.count_nonzero(one & guess) / union if union else 0
            if share > 0.5:
                shares.append(share)
                assert number not in taken
                taken.add(number)
    false = sum(
        number not in taken and np.count_nonzero(guess & ~judged) <= guess.sum() / 2
        for number, guess in enumerate(theirs)
    )
    missed = len(mine) - len(shares)
    if not (shares or false or missed):
        return Quality(None, None, None, 0, 0, 0)
    rq = len(shares) / (len(shares) + false / 2 + missed / 2)
    sq = float(np.mean(shares)) if shares else 0.0
    return Quality(sq * rq, sq, rq, len(shares), false, missed)


@given(segments, segments, kinds, kinds, st.sampled_from([-1, 4]), st.integers(1, 8))
def test_it_is_the_definition_in_any_pieces(
    true: np.ndarray, noise: np.ndarray, kind: dict, other: dict, void: int, cut: int
) -> None:
    found = np.where(noise == 3, noise, true)  # mostly the truth, so that there are matches
    kind = {key: code for key, code in kind.items() if key != void}
    scores = panoptic_quality([(true[:, :cut], found[:, :cut]), (true[:, cut:], found[:, cut:])], kind, other, void)
    for code in {*kind.values(), *other.values()}:
        expected = by_definition(true, found, kind, other, code, void)
        assert scores[code].pq == pytest.approx(expected.pq)
        assert scores[code] == pytest.approx(expected) if expected.pq is None else True
        assert (scores[code].matched, scores[code].false, scores[code].missed) == (
            expected.matched, expected.false, expected.missed
        )  # fmt: skip


def test_a_share_of_exactly_one_half_is_no_match() -> None:
    true, found = np.array([1, 1, 1, 0]), np.array([0, 5, 5, 5])
    assert panoptic_quality([(true, found)], {1: 1}, {5: 1})[1] == Quality(0.0, 0.0, 0.0, 0, 1, 1)


def test_another_class_is_no_match() -> None:
    same = np.array([1, 1, 2])
    scores = panoptic_quality([(same, same)], {1: 1, 2: 2}, {1: 2, 2: 2})
    assert scores[1] == Quality(0.0, 0.0, 0.0, 0, 0, 1)
    assert scores[2] == Quality(2 / 3, 1.0, 2 / 3, 1, 1, 0)


def test_large_numbers_and_wrong_shapes() -> None:
    true = np.array([2**31, 2**40])
    pairs = SegmentPairs({2**31: 1, 2**40: 1}, {3: 1})
    pairs.add(true, np.array([3, 0], np.uint32))
    assert pairs.quality(1).pq == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="expected one shape"):
        pairs.add(true, np.zeros(3, int))


def test_counts() -> None:
    scores = count_scores([10, 20, 0, 8, 5, 10], [12, 15, 1, 8, 10, 10])
    assert (scores.plots, scores.true, scores.found) == (5, 53, 56)
    assert scores.error == pytest.approx(3 / 53)
    assert scores.bias == pytest.approx(0.5)
    assert scores.rmse == pytest.approx(np.sqrt((4 + 25 + 1 + 25) / 6))
    assert scores.ratio_low < 53 / 56 < scores.ratio_high
    exact = count_scores([10, 20, 30, 40, 50], [5, 10, 15, 20, 25])
    assert exact.ratio_low == exact.ratio_high == 2.0
    assert count_scores([], []).error is None
    assert count_scores([3, 4], [3, 4]).ratio_low is None
