"""Panoptic quality: how well plants are found, told from one another and outlined. Pure numpy; knows no file.

Two segments of a class match if they share more than half of their union, so none can match two. Quality is the mean
union share of the matched (SQ) times their F1 (RQ). Pixels that nobody judges (void) count for neither side.

Reference:
    A. Kirillov et al. (2019), Panoptic segmentation, CVPR, https://arxiv.org/abs/1801.00868
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["CountScores", "Quality", "SegmentPairs", "count_scores", "panoptic_quality"]

Ints = NDArray[np.int64]
_MATCH = 0.5
_DRAWS = 2000


@dataclass(frozen=True)
class Quality:
    """Panoptic quality of a class; ratios are None where there is nothing to find and nothing was found.

    Attributes:
        pq: Panoptic quality, SQ times RQ.
        sq: Mean intersection over union of the matched segments.
        rq: F1 of the segments, matched at an intersection over union above one half.
        matched: Segments that match.
        false: Predicted segments that match none.
        missed: True segments that match none.
    """

    pq: float | None
    sq: float | None
    rq: float | None
    matched: int
    false: int
    missed: int


class SegmentPairs:
    """How many pixels each true segment shares with each predicted one; takes a raster piece by piece."""

    def __init__(self, classes_true: Mapping[int, int], classes_found: Mapping[int, int], void: int = -1) -> None:
        """Start without pixels.

        Args:
            classes_true: Class of each true segment by its number; 0 is no segment.
            classes_found: The same of the predicted segments.
            void: Number of true pixels that nobody judges.
        """
        self._true, self._found, self._void = dict(classes_true), dict(classes_found), void
        self._shared: dict[tuple[int, int], int] = {}

    def add(self, true: NDArray[np.integer], found: NDArray[np.integer]) -> None:
        """Count the pixels of a piece.

        Args:
            true: Numbers of the true segments, any shape, integers.
            found: Numbers of the predicted segments, same shape.

        Raises:
            ValueError: If the shapes differ.
        """
        if true.shape != found.shape:
            raise ValueError(f"true is {true.shape} and found is {found.shape}; expected one shape")
        one, other = true.ravel().astype(np.int64), found.ravel().astype(np.int64)
        some = (one != 0) | (other != 0)
        left, left_at = np.unique(one[some], return_inverse=True)
        right, right_at = np.unique(other[some], return_inverse=True)
        pairs, pixels = np.unique(left_at * max(right.size, 1) + right_at, return_counts=True)
        for pair, count in zip(pairs.tolist(), pixels.tolist(), strict=True):
            key = int(left[pair // right.size]), int(right[pair % right.size])
            self._shared[key] = self._shared.get(key, 0) + count

    def quality(self, code: int) -> Quality:
        """Panoptic quality of a class over all pixels so far.

        Segments without a pixel are left out, and a predicted one that is void for more than a half is not held
        against the prediction.
        """
        area_true, area_found, void = self._areas()
        true = {key for key in area_true if self._true.get(key) == code}
        found = {key for key in area_found if self._found.get(key) == code}
        shares: dict[int, float] = {}
        matched_true: set[int] = set()
        for (one, other), both in self._shared.items():
            if one in true and other in found:
                union = area_true[one] + area_found[other] - both - void.get(other, 0)
                if both / union > _MATCH:
                    shares[other] = both / union
                    matched_true.add(one)
        left = {key for key in found - shares.keys() if void.get(key, 0) <= _MATCH * area_found[key]}
        return _quality(list(shares.values()), len(left), len(true - matched_true))

    def _areas(self) -> tuple[dict[int, int], dict[int, int], dict[int, int]]:
        """Areas of the true and of the predicted segments, and what of the latter is void."""
        true: dict[int, int] = {}
        found: dict[int, int] = {}
        void: dict[int, int] = {}
        for (one, other), pixels in self._shared.items():
            if one not in (0, self._void):
                true[one] = true.get(one, 0) + pixels
            if other:
                found[other] = found.get(other, 0) + pixels
                if one == self._void:
                    void[other] = pixels
        return true, found, void


def panoptic_quality(
    pieces: Iterable[tuple[NDArray[np.integer], NDArray[np.integer]]],
    classes_true: Mapping[int, int],
    classes_found: Mapping[int, int],
    void: int = -1,
) -> dict[int, Quality]:
    """Panoptic quality of every class, from rasters of segments in pieces that cover them once.

    Args:
        pieces: Numbers of true and of predicted segments, 0 where there is none.
        classes_true: Class of each true segment.
        classes_found: Class of each predicted segment.
        void: Number of true pixels that nobody judges.

    Example:
        >>> true = np.array([[1, 1, 1, 0, 2, 2]])
        >>> found = np.array([[7, 7, 0, 0, 8, 8]])
        >>> panoptic_quality([(true, found)], {1: 1, 2: 1}, {7: 1, 8: 1})[1].pq
        0.8333333333333333
    """
    pairs = SegmentPairs(classes_true, classes_found, void)
    for true, found in pieces:
        pairs.add(true, found)
    codes = sorted({*classes_true.values(), *classes_found.values()})
    return {code: pairs.quality(code) for code in codes}


def _quality(shares: list[float], false: int, missed: int) -> Quality:
    weight = len(shares) + false / 2 + missed / 2
    if not weight:
        return Quality(None, None, None, 0, 0, 0)
    sq = sum(sorted(shares)) / len(shares) if shares else 0.0
    rq = len(shares) / weight
    return Quality(sq * rq, sq, rq, len(shares), false, missed)


@dataclass(frozen=True)
class CountScores:
    """How far counts per plot are off.

    Attributes:
        plots: Plots with a plant in the truth.
        true: Plants in all plots.
        found: Those counted.
        error: Found less true, over true, of the total; None without a plant.
        bias: Mean of found less true over plots.
        rmse: Root of the mean square of the same.
        ratio_low: 2.5 % quantile of the true total over the counted one when plots are drawn anew, with putting back;
            None with fewer than five plots.
        ratio_high: 97.5 % quantile of the same.
    """

    plots: int
    true: int
    found: int
    error: float | None
    bias: float
    rmse: float
    ratio_low: float | None
    ratio_high: float | None


def count_scores(true: ArrayLike, found: ArrayLike) -> CountScores:
    """Scores of counts per plot.

    Args:
        true: (n,) plants in each plot.
        found: (n,) plants counted in it.

    Example:
        >>> count_scores([10, 20], [11, 18]).rmse
        1.5811388300841898
    """
    one, other = np.asarray(true, np.float64), np.asarray(found, np.float64)
    off = other - one
    low, high = _ratio_bounds(one, other)
    return CountScores(
        plots=int(np.count_nonzero(one)),
        true=int(one.sum()),
        found=int(other.sum()),
        error=float(off.sum() / one.sum()) if one.sum() else None,
        bias=float(off.mean()) if one.size else 0.0,
        rmse=float(np.sqrt((off**2).mean())) if one.size else 0.0,
        ratio_low=low,
        ratio_high=high,
    )


def _ratio_bounds(true: NDArray[np.float64], found: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """Bounds of the ratio of totals by a seeded bootstrap over plots."""
    some = (true > 0) | (found > 0)
    true, found = true[some], found[some]
    if true.size < 5 or not found.sum():
        return None, None
    drawn = np.random.default_rng(0).integers(0, true.size, (_DRAWS, true.size))
    low, high = np.quantile(true[drawn].sum(axis=1) / np.maximum(found[drawn].sum(axis=1), 1), (0.025, 0.975))
    return float(low), float(high)
