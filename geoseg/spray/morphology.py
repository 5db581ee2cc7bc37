"""Masks and levels of cells grown, cleaned and joined. Knows cells and metres, and no weeds.

Rows of a lattice run along the track, columns across it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["buffer_reach", "close_gaps", "dilate", "small_spots"]


def buffer_reach(buffer_m: float, width_m: float, length_m: float) -> list[int]:
    """How far the buffer reaches over a lattice: for each row offset 0, 1, 2, ... the largest column offset.

    The cell at offset (i, j) meets the open Minkowski dilation of a cell with a disc of radius `buffer_m` exactly when
    the gap between the two cells, ``hypot(max(|i|-1, 0) * width, max(|j|-1, 0) * length)``, is smaller than it.

    Example:
        >>> buffer_reach(0.5, 0.5, 0.5), buffer_reach(0.6, 0.5, 0.5), buffer_reach(0, 0.5, 0.5)
        ([1, 1], [2, 2, 1], [0])
    """
    radius = buffer_m - 1e-9  # a cell that only just touches the disc stays out whatever the rounding
    if radius <= 0:
        return [0]
    reach = []
    row = 0
    while (gap := max(row - 1, 0) * length_m) < radius:
        col = int(math.sqrt(radius**2 - gap**2) / width_m) + 2
        while math.hypot(max(col - 1, 0) * width_m, gap) >= radius:
            col -= 1
        reach.append(col)
        row += 1
    return reach


def dilate(mask: NDArray[np.bool_], reach: list[int]) -> NDArray[np.bool_]:
    """The mask grown by a symmetric shape.

    Args:
        mask: (rows, cols) bool.
        reach: Largest column offset for each row offset 0, 1, 2, ..., as `buffer_reach` gives it.
    """
    from scipy.ndimage import maximum_filter1d

    grown = np.zeros_like(mask)
    wide: dict[int, NDArray[np.bool_]] = {}
    for offset, columns in enumerate(reach[: mask.shape[0]]):
        if columns not in wide:
            wide = {columns: maximum_filter1d(mask.view(np.uint8), 2 * columns + 1, axis=1, mode="constant").view(bool)}
        grown[offset:] |= wide[columns][: mask.shape[0] - offset]
        grown[: mask.shape[0] - offset] |= wide[columns][offset:]
    return grown


def small_spots(treated: NDArray[np.bool_], area_m2: NDArray[Any], minimum_m2: float) -> tuple[NDArray[np.bool_], int]:
    """Cells of the spots under `minimum_m2`, and how many spots those are; cells that touch at a corner are one.

    Args:
        treated: (rows, cols) bool.
        area_m2: (rows, cols) area of each cell.
        minimum_m2: Smallest spot that stays.
    """
    from scipy.ndimage import label

    labels, count = label(treated, structure=np.ones((3, 3)))
    areas = np.bincount(labels.ravel(), weights=area_m2.ravel(), minlength=count + 1)
    small = areas < minimum_m2 - 1e-9
    small[0] = False
    return small[labels], int(small.sum())


def close_gaps(
    level: NDArray[np.uint8], barrier: NDArray[np.bool_], length_m: float, shortest_m: float
) -> NDArray[np.bool_]:
    """Give cells in short gaps along the track the higher level of the two ends, in place.

    Args:
        level: (rows, cols) uint8, 0: nothing.
        barrier: (rows, cols) bool, cells that stay as they are; a gap with one in it is left open.
        length_m: Cell along the track, metres.
        shortest_m: Gaps shorter than this are closed, metres.

    Returns:
        (rows, cols) bool, the cells that were given a level.
    """
    solid = (level > 0) | barrier
    row, col = np.nonzero(solid.T)[::-1]
    same = (col[1:] == col[:-1]) & (row[1:] - row[:-1] > 1) & ((row[1:] - row[:-1] - 1) * length_m < shortest_m - 1e-9)
    first, last, of = row[:-1][same], row[1:][same], col[:-1][same]
    real = ~(barrier[first, of] | barrier[last, of])
    first, last, of = first[real], last[real], of[real]
    count = last - first - 1
    nth = np.arange(count.sum()) - np.repeat(count.cumsum() - count, count)
    at = np.repeat(first, count) + 1 + nth, np.repeat(of, count)
    level[at] = np.repeat(np.maximum(level[first, of], level[last, of]), count)
    closed = np.zeros(level.shape, bool)
    closed[at] = True
    return closed
