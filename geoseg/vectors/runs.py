"""Runs of equal pixels: what a raster becomes before its components are found. Pure numpy; knows no file and no CRS.

A *run* is a stretch of pixels of one code within one row. Positions are *flat*: row * width + col, counted from the
upper left corner.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["NO_WEIGHT", "Ints", "Runs", "find_runs", "join", "join_runs", "neighbours", "place_runs", "ranges", "take"]

Ints = NDArray[np.int64]
Table = TypeVar("Table", bound=tuple[Ints, ...])


class Runs(NamedTuple):
    """Runs in raster order; every field is an int64 array of shape (n,).

    Attributes:
        start: Flat position of the first pixel.
        stop: Flat position after the last pixel; never in another row, except as its column 0.
        code: Value of the pixels.
        weight_sum: Sum of the pixels' weights (confidence), 0 without.
        weight_px: Number of pixels that have a weight.
        marked_px: Number of pixels that are marked.
    """

    start: Ints
    stop: Ints
    code: Ints
    weight_sum: Ints
    weight_px: Ints
    marked_px: Ints

    @classmethod
    def none(cls) -> Runs:
        """No runs."""
        return cls(*[np.empty(0, np.int64)] * 6)


NO_WEIGHT = 255
"""Weight of a pixel that has none."""


def find_runs(
    values: NDArray[np.generic],
    keep: NDArray[np.bool_],
    weights: NDArray[np.uint8] | None = None,
    marks: NDArray[np.bool_] | None = None,
) -> Runs:
    """The runs of an array, flat positions counted in it.

    Args:
        values: (H, W) integers.
        keep: (H, W) bool, False where there is nothing; or (256,) bool, which uint8 values count.
        weights: (H, W) uint8, `NO_WEIGHT` where there is none.
        marks: (H, W) bool, the pixels that are marked; they are counted and do not end a run.
    """
    flat = np.ascontiguousarray(values).reshape(-1)
    change = np.empty(flat.size, np.bool_)
    np.not_equal(flat[1:], flat[:-1], out=change[1:])
    table = keep.ndim == 1
    kept = keep if table else np.ascontiguousarray(keep).reshape(-1)
    if not table:
        change[1:] |= kept[1:] != kept[:-1]
    change[:: values.shape[1]] = True
    start = np.flatnonzero(change)
    stop = np.append(start[1:], flat.size)
    chosen = kept[flat[start]] if table else kept[start]
    start, stop = start[chosen], stop[chosen]
    return Runs(start, stop, flat[start].astype(np.int64), *_weigh(start, stop, weights), _count(start, stop, marks))


def _weigh(start: Ints, stop: Ints, weights: NDArray[np.uint8] | None) -> tuple[Ints, Ints]:
    if weights is None or not start.size:
        return np.zeros(start.size, np.int64), np.zeros(start.size, np.int64)
    first = np.cumsum(stop - start) - (stop - start)
    pixels = weights.reshape(-1)[ranges(start, stop)].astype(np.int64)
    known = pixels != NO_WEIGHT
    return np.add.reduceat(pixels * known, first), np.add.reduceat(known.astype(np.int64), first)


def _count(start: Ints, stop: Ints, marks: NDArray[np.bool_] | None) -> Ints:
    if marks is None or not start.size:
        return np.zeros(start.size, np.int64)
    first = np.cumsum(stop - start) - (stop - start)
    return np.add.reduceat(marks.reshape(-1)[ranges(start, stop)], first, dtype=np.int64)


def place_runs(runs: Runs, block_width: int, origin: tuple[int, int], width: int) -> Runs:
    """The runs of a block, flat positions counted in the raster.

    Args:
        runs: Runs with positions counted in the block.
        block_width: Width of the block.
        origin: (row, col) of the block's first pixel in the raster.
        width: Width of the raster.
    """
    start = runs.start + origin[0] * width + origin[1] + runs.start // block_width * (width - block_width)
    return runs._replace(start=start, stop=start + (runs.stop - runs.start))


def join_runs(blocks: list[Runs], width: int) -> Runs:
    """The runs of blocks that lie side by side, as if they had been one block.

    Args:
        blocks: Runs of each block from left to right, positions counted in the raster.
        width: Width of the raster.
    """
    if len(blocks) == 1:
        return blocks[0]
    runs = join(*blocks)
    runs = take(runs, np.argsort(runs.start))
    whole = (runs.stop[:-1] != runs.start[1:]) | (runs.code[:-1] != runs.code[1:]) | (runs.start[1:] % width == 0)
    first = np.flatnonzero(np.append(True, whole)[: runs.start.size])
    if first.size == runs.start.size:
        return runs
    last = np.append(first[1:], runs.start.size) - 1
    sums = (np.add.reduceat(field, first) for field in runs[3:])
    return Runs(runs.start[first], runs.stop[last], runs.code[first], *sums)


def neighbours(runs: Runs, width: int) -> tuple[Ints, Ints]:
    """Pairs of runs of one code that share a pixel edge: indices of the upper and of the lower one."""
    first = np.searchsorted(runs.stop, runs.start + width, side="right")
    past = np.searchsorted(runs.start, runs.stop + width, side="left")
    past = np.maximum(first, past)
    upper, lower = np.repeat(np.arange(runs.start.size), past - first), ranges(first, past)
    same = runs.code[upper] == runs.code[lower]
    return upper[same], lower[same]


def ranges(first: Ints, past: Ints) -> Ints:
    """The integers of many half-open ranges, one range after the other."""
    size = past - first
    total = np.cumsum(size)
    offsets: Ints = np.repeat(first - (total - size), size)
    return offsets + np.arange(offsets.size)


def take(table: Table, index: Ints | NDArray[np.bool_] | slice) -> Table:
    """The chosen rows of a named tuple of columns."""
    return type(table)(*(field[index] for field in table))


def join(*tables: Table) -> Table:
    """Named tuples of columns, one under the other."""
    if len(tables) == 1:
        return tables[0]
    return type(tables[0])(*(np.concatenate(field) for field in zip(*tables, strict=True)))
