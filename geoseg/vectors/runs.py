"""Runs of equal pixels: what a raster becomes before its components are found. Pure numpy; knows no file and no CRS.

A *run* is a stretch of pixels of one code within one row, or a stack of them: the same columns and the same code in
several rows, one below the other. Positions are *flat*: row * width + col, counted from the upper left corner.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "NO_WEIGHT",
    "Ints",
    "Runs",
    "find_runs",
    "find_stacks",
    "join",
    "join_runs",
    "neighbours",
    "place_runs",
    "ranges",
    "take",
]

Ints = NDArray[np.int64]
Table = TypeVar("Table", bound=tuple[Ints, ...])


class Runs(NamedTuple):
    """Runs in raster order; every field is an int64 array of shape (n,).

    Attributes:
        start: Flat position of the first pixel.
        stop: Flat position after the last pixel of its first row; never in another row, except as its column 0.
        code: Value of the pixels.
        rows: Number of rows, 1 unless it is a stack.
        weight_sum: Sum of the pixels' weights (confidence), 0 without.
        weight_px: Number of pixels that have a weight.
        marked_px: Number of pixels that are marked.
    """

    start: Ints
    stop: Ints
    code: Ints
    rows: Ints
    weight_sum: Ints
    weight_px: Ints
    marked_px: Ints

    @classmethod
    def none(cls) -> Runs:
        """No runs."""
        return cls(*[np.empty(0, np.int64)] * 7)


NO_WEIGHT = 255
"""Weight of a pixel that has none."""
DENSE = 16
"""Pixels per run below which stacks are looked for: a run costs about as much as so many pixels."""
STEADY = 8
"""Runs per pixel that is unlike the one above, from which on most runs go on in the next row."""


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
    change = np.empty(flat.size + 1, np.bool_)
    np.not_equal(flat[1:], flat[:-1], out=change[1:-1])
    table = keep.ndim == 1
    kept = keep if table else np.ascontiguousarray(keep).reshape(-1)
    if not table:
        change[1:-1] |= kept[1:] != kept[:-1]
    change[:: values.shape[1]] = True
    limits = np.flatnonzero(change)
    code = flat[limits[:-1]]
    chosen = np.flatnonzero(kept[code] if table else kept[limits[:-1]])
    start, stop = limits[chosen], limits[1:][chosen]
    sums = (*_weigh(start, stop, weights), _count(start, stop, marks))
    return Runs(start, stop, code[chosen].astype(np.int64), np.ones(start.size, np.int64), *sums)


def find_stacks(values: NDArray[np.generic], keep: NDArray[np.bool_]) -> Runs:
    """The runs of an array as `find_runs` gives them; where they are many and the same in row after row, as stacks.

    A run goes on in the next row if no pixel below it or beside that differs from the one above. So the pixels that
    differ tell where stacks begin and end, and nothing else is looked at.
    """
    runs = find_runs(values, keep)
    height, width = values.shape
    if runs.start.size * DENSE < values.size:
        return runs
    differs = values[1:] != values[:-1]
    if keep.ndim == 2:
        differs |= keep[1:] != keep[:-1]
    if np.count_nonzero(differs) * STEADY > runs.start.size:
        return runs
    place = np.flatnonzero(differs) + width
    begins, ends = _beside(runs, place), _beside(runs, place - width)
    begins[: np.searchsorted(runs.start, width)] = True
    ends[np.searchsorted(runs.start, (height - 1) * width) :] = True
    top, bottom = _columnwise(runs, begins, width), _columnwise(runs, ends, width)
    rows = np.ones(runs.start.size, np.int64)
    rows[top] += (runs.start[bottom] - runs.start[top]) // width
    return take(runs._replace(rows=rows), begins)


def _beside(runs: Runs, place: Ints) -> NDArray[np.bool_]:
    """Which runs hold one of the pixels or begin or end beside it."""
    found = np.zeros(runs.start.size, np.bool_)
    found[ranges(np.searchsorted(runs.stop, place), np.searchsorted(runs.start, place + 1, side="right"))] = True
    return found


def _columnwise(runs: Runs, which: NDArray[np.bool_], width: int) -> Ints:
    """Indices of runs by the column in which they begin, those of one column from top to bottom."""
    index = np.flatnonzero(which)
    row, col = np.divmod(runs.start[index], width)
    return np.asarray(index[np.lexsort((row, col))])


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
        blocks: Runs of each block from left to right, positions counted in the raster; of several no stacks.
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
    sums = (np.add.reduceat(field, first) for field in runs[4:])
    return Runs(runs.start[first], runs.stop[last], runs.code[first], runs.rows[first], *sums)


def neighbours(runs: Runs, width: int) -> tuple[Ints, Ints]:
    """Pairs of runs of one code that share a pixel edge: indices of the upper and of the lower one."""
    down = runs.rows * width
    first = np.searchsorted(runs.stop, runs.start + down, side="right")
    past = np.searchsorted(runs.start, runs.stop + down, side="left")
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
    if not isinstance(index, slice) and index.dtype == np.bool_:
        index = np.flatnonzero(index)  # numpy is several times as fast with indices as with a mask
    return type(table)(*(field[index] for field in table))


def join(*tables: Table) -> Table:
    """Named tuples of columns, one under the other."""
    if len(tables) == 1:
        return tables[0]
    return type(tables[0])(*(np.concatenate(field) for field in zip(*tables, strict=True)))
