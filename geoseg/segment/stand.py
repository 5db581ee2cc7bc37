"""The stand: how many plants, how evenly spaced, where the gaps are. Knows arrays and no files.

Spacing indices are the shares of all spacings along the rows after Kachman and Smith; the theoretical spacing is given
or estimated, and the result says which. CV is the standard deviation of the spacings over their mean.

Reference:
    S. D. Kachman and J. A. Smith (1995), Alternative measures of accuracy in plant spacing for planters using single
    seed metering, Transactions of the ASAE 38(2), 379-387, doi 10.13031/2013.27843
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from geoseg.segment.rowlines import PlantRows, RowTable

__all__ = ["Gaps", "RowStand", "Spacing", "count_interval", "find_gaps", "row_stand", "spacing_indices", "theoretical"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_OWN_MEDIAN = 8
"""Spacings that a row needs for a median of its own; with fewer it takes the field's."""
_DRAWS = 2000


@dataclass(frozen=True)
class Spacing:
    """How evenly plants are spaced along the rows.

    Attributes:
        count: Number of spacings.
        mean_m: Their mean.
        sd_m: Their standard deviation (n - 1).
        cv: Standard deviation over mean.
        theoretical_m: The spacing that was meant.
        theoretical_from: ``given`` or ``estimated``.
        multiples: Share of spacings up to half the theoretical one.
        misses: Share of spacings over one and a half times the theoretical one.
        quality_of_feed: Share of those between.
        precision: Standard deviation of those between, over the theoretical spacing; None with fewer than two.
    """

    count: int
    mean_m: float
    sd_m: float
    cv: float
    theoretical_m: float
    theoretical_from: str
    multiples: float
    misses: float
    quality_of_feed: float
    precision: float | None


def theoretical(spacings: ArrayLike) -> float:
    """The spacing that was probably meant: the median of the spacings from half to one and a half times itself.

    Args:
        spacings: (n,) metres, at least one.
    """
    values = np.asarray(spacings, np.float64)
    found = float(np.median(values))
    for _ in range(20):
        singles = values[(values > 0.5 * found) & (values <= 1.5 * found)]
        if not len(singles) or np.median(singles) == found:
            break
        found = float(np.median(singles))
    return found


def spacing_indices(spacings: ArrayLike, theoretical_m: float | None = None) -> Spacing | None:
    """The indices of Kachman and Smith; None with fewer than two spacings.

    Args:
        spacings: (n,) distances from plant to plant along the rows, metres.
        theoretical_m: The spacing that was meant; None: estimated.

    Example:
        >>> found = spacing_indices([0.1, 0.25, 0.25, 0.27, 0.5], 0.25)
        >>> found.multiples, found.misses, found.quality_of_feed
        (0.2, 0.2, 0.6)
    """
    values = np.asarray(spacings, np.float64)
    if len(values) < 2:
        return None
    meant = theoretical(values) if theoretical_m is None else theoretical_m
    multiple, miss = values <= 0.5 * meant, values > 1.5 * meant
    singles = values[~multiple & ~miss]
    mean, deviation = float(values.mean()), float(values.std(ddof=1))
    return Spacing(
        count=len(values),
        mean_m=mean,
        sd_m=deviation,
        cv=deviation / mean if mean else math.inf,
        theoretical_m=meant,
        theoretical_from="estimated" if theoretical_m is None else "given",
        multiples=float(multiple.mean()),
        misses=float(miss.mean()),
        quality_of_feed=len(singles) / len(values),
        precision=float(singles.std(ddof=1)) / meant if len(singles) > 1 else None,
    )


@dataclass(frozen=True)
class Gaps:
    """Empty stretches between two plants of a row; arrays of one entry a gap.

    Attributes:
        row_id: The row.
        length_m: Distance along the row between the plants at its ends.
        missing: Plants that would stand in it at the row's median spacing, at least 1.
        line: From the one plant's foot to the other's.
    """

    row_id: Ints
    length_m: Floats
    missing: Ints
    line: NDArray[np.object_]


@dataclass(frozen=True)
class RowStand:
    """The stand row by row; arrays of one entry a row.

    Attributes:
        spacing_m: Mean spacing; NaN without two plants.
        spacing_sd_m: Standard deviation; NaN with fewer than two spacings.
        spacing_cv: Standard deviation over mean.
        median_m: Median spacing, the field's where a row has too few of its own.
        gap_m: Length of the gaps.
        gap_share: The same over the row's length.
    """

    spacing_m: Floats
    spacing_sd_m: Floats
    spacing_cv: Floats
    median_m: Floats
    gap_m: Floats
    gap_share: Floats


def row_stand(plants: PlantRows, table: RowTable, gap_factor: float) -> RowStand:
    """The stand of every row.

    Args:
        plants: Each plant's place.
        table: The rows.
        gap_factor: A longer stretch than this times the median spacing is a gap.
    """
    row, steps = _steps(plants)
    number = len(table.row_id)
    count = np.bincount(row, minlength=number)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(row, steps, number) / count
        deviation = np.sqrt(np.bincount(row, (steps - mean[row]) ** 2, number) / np.where(count > 1, count - 1, np.nan))
        variation = deviation / mean
    median = _medians(row, steps, number)
    gap: Floats = np.bincount(row, np.where(steps > gap_factor * median[row], steps, 0.0), number).astype(np.float64)
    share = np.divide(gap, table.length_m, out=np.zeros(number), where=table.length_m > 0)
    return RowStand(mean, deviation, variation, median, gap, share)


def find_gaps(plants: PlantRows, stand: RowStand, gap_factor: float) -> Gaps:
    """The gaps, row by row and along each row.

    Args:
        plants: Each plant's place.
        stand: What `row_stand` gave.
        gap_factor: As there.
    """
    chosen = np.flatnonzero(plants.row_id > 0)
    chosen = chosen[np.lexsort((plants.position_m[chosen], plants.row_id[chosen]))]
    median = stand.median_m[plants.row_id[chosen] - 1]
    length = plants.next_m[chosen]
    begin = np.flatnonzero(np.nan_to_num(length) > gap_factor * median)  # the next plant in order is the gap's end
    ends = [np.stack([v[chosen[begin]], v[chosen[begin + 1]]], axis=1) for v in (plants.foot_x, plants.foot_y)]
    lines = np.asarray(shapely.linestrings(np.stack(ends, axis=2)), dtype=object)
    missing = np.maximum(np.rint(length[begin] / median[begin]) - 1, 1).astype(np.int64)
    return Gaps(plants.row_id[chosen[begin]], length[begin], missing, lines)


def count_interval(x: ArrayLike, y: ArrayLike, block_m: float = 5.0) -> tuple[float, float] | None:
    """95 % interval of the count by bootstrap over square blocks: how much the stand varies from place to place.

    It does not say how many plants the model overlooks. The draws are seeded: the same plants give the same interval.

    Args:
        x: (n,) eastings, metres.
        y: (n,) northings, metres.
        block_m: Side of a block.

    Returns:
        (low, high), or None where plants are found in fewer than five blocks.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if not len(x):
        return None
    col, row = (np.floor((v - v.min()) / block_m).astype(np.int64) for v in (x, y))
    blocks = np.bincount(row * (int(col.max()) + 1) + col)
    if np.count_nonzero(blocks) < 5:
        return None
    rng = np.random.default_rng(0)
    totals = [blocks[rng.integers(0, len(blocks), len(blocks))].sum() for _ in range(_DRAWS)]
    low, high = np.quantile(totals, (0.025, 0.975))
    return float(low), float(high)


def _steps(plants: PlantRows) -> tuple[Ints, Floats]:
    """Row (from 0) and length of every spacing."""
    has = np.isfinite(plants.next_m)
    return plants.row_id[has] - 1, plants.next_m[has]


def _medians(row: Ints, steps: Floats, number: int) -> Floats:
    order = np.lexsort((steps, row))
    count = np.bincount(row, minlength=number)
    first = np.concatenate([[0], count.cumsum()[:-1]]).astype(np.int64)
    median = np.full(number, float(np.median(steps)) if len(steps) else np.nan)
    own = np.flatnonzero(count >= _OWN_MEDIAN)
    lower, upper = first[own] + (count[own] - 1) // 2, first[own] + count[own] // 2
    median[own] = (steps[order][lower] + steps[order][upper]) / 2
    return median
