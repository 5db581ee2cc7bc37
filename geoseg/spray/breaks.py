"""Where to cut a set of values into classes: quantiles, or the natural breaks of Fisher and Jenks. Knows no field."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import PrescriptionError

__all__ = ["distinct", "natural_breaks", "quantile_breaks"]

_STEPS = 4096
"""Distinct values that are told apart; breaks are exact for these."""


def distinct(values: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Sorted distinct values and the weight of each, rounded to one of `_STEPS` levels where there are more.

    Args:
        values: (n,) finite.
        weights: (n,) not negative.

    Returns:
        values: (m,) ascending, m at most `_STEPS` + 1.
        weights: (m,) positive.
    """
    found, place = np.unique(values, return_inverse=True)
    if found.size > _STEPS:
        span = found[-1] - found[0]
        place = np.rint((values - found[0]) / span * _STEPS).astype(np.int64)
        found = found[0] + np.arange(_STEPS + 1) * (span / _STEPS)
    mass = np.bincount(place.ravel(), weights, found.size).astype(np.float64)
    return found[mass > 0], mass[mass > 0]


def quantile_breaks(values: NDArray[np.float64], weights: NDArray[np.float64], classes: int) -> NDArray[np.float64]:
    """The lower limits of all classes but the first, so that each class has about the same weight.

    Args:
        values: (m,) ascending, distinct.
        weights: (m,) their weights.
        classes: Number of classes, 2 and up.

    Raises:
        PrescriptionError: If there are fewer distinct values than classes, or one value outweighs a class.
    """
    _enough(values, classes)
    total = np.cumsum(weights)
    middle = (total - weights / 2) / total[-1]
    first = np.searchsorted(middle, np.arange(1, classes) / classes)
    breaks = values[np.clip(first, 1, values.size - 1)]
    if np.unique(breaks).size < classes - 1:
        share = weights.max() / total[-1]
        raise PrescriptionError(
            f"{classes} classes by quantile cannot be told apart: {share:.0%} of the field has the same value, "
            f"{values[weights.argmax()]:g}; take fewer classes, jenks, or a larger spray.rates.over_m"
        )
    return breaks


def natural_breaks(values: NDArray[np.float64], weights: NDArray[np.float64], classes: int) -> NDArray[np.float64]:
    """The lower limits of all classes but the first with the least sum of squares within the classes: exact.

    Dynamic programme over the last class's first value; that first value never moves down as values are added, so each
    row of the table is filled by divide and conquer, in n log n.

    Args:
        values: (m,) ascending, distinct.
        weights: (m,) their weights.
        classes: Number of classes, 2 and up.

    Raises:
        PrescriptionError: If there are fewer distinct values than classes.

    Reference:
        W. D. Fisher, On grouping for maximum homogeneity, JASA 53 (1958), https://doi.org/10.1080/01621459.1958.10501479

    Example:
        >>> natural_breaks(np.array([0.0, 1, 2, 10, 11, 30]), np.ones(6), 3).tolist()
        [10.0, 30.0]
    """
    _enough(values, classes)
    sums = _Sums(values, weights)
    everything = np.arange(values.size)
    cost = sums.within(np.zeros_like(everything), everything)
    firsts = np.zeros((classes, values.size), np.int64)
    for nth in range(1, classes):
        following = np.full(values.size, np.inf)
        _fill(sums, cost, following, firsts[nth], nth)
        cost = following
    breaks, last = [], values.size - 1
    for nth in range(classes - 1, 0, -1):
        first = int(firsts[nth, last])
        breaks.append(values[first])
        last = first - 1
    return np.array(breaks[::-1])


class _Sums:
    """Sums of squares within runs of values, from running sums."""

    def __init__(self, values: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
        centred = values - np.average(values, weights=weights)  # large values would cost digits
        self._weight, self._first, self._second = (
            np.concatenate([[0.0], np.cumsum(weights * centred**power)]) for power in (0, 1, 2)
        )

    def within(self, first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.float64]:
        """Sum of squares about the mean of values `first` to `last`, both included."""
        weight, one, two = (sums[last + 1] - sums[first] for sums in (self._weight, self._first, self._second))
        squares: NDArray[np.float64] = np.maximum(two - one**2 / weight, 0.0)
        return squares


def _fill(
    sums: _Sums, before: NDArray[np.float64], cost: NDArray[np.float64], first: NDArray[np.int64], nth: int
) -> None:
    """A row of the table: the best first value of class `nth` for every last value, and the cost."""
    todo = [(nth, cost.size - 1, nth, cost.size - 1)]
    while todo:
        low, high, from_, to = todo.pop()
        if low > high:
            continue
        last = (low + high) // 2
        tries = np.arange(from_, min(to, last) + 1)
        costs = before[tries - 1] + sums.within(tries, np.full_like(tries, last))
        best = int(costs.argmin())
        cost[last], first[last] = costs[best], tries[best]
        todo += [(low, last - 1, from_, int(tries[best])), (last + 1, high, int(tries[best]), to)]


def _enough(values: NDArray[np.float64], classes: int) -> None:
    if values.size < classes:
        raise PrescriptionError(
            f"the field has {values.size} different value(s), too few for {classes} classes; take fewer classes"
        )
