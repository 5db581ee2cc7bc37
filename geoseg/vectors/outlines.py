"""Components of runs and their outlines. Pure numpy; knows no file and no CRS.

Runs that touch over a pixel edge become components, and where the left or right end of a run does not go on in the
next row is a corner of the component's outline. No pixel is looked at twice and no polygons are joined: an outline is
put together once, when its component is whole, from corners that do not know how the raster was cut. So the result
cannot depend on the cut.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components

from geoseg.vectors.runs import Ints, Runs, join, neighbours, take

__all__ = ["Ends", "Released", "Rings", "Stats", "Sweep", "trace_rings"]

LEFT, RIGHT = 0, 1
"""Sides of a run. The outline is walked down along left edges and up along right ones."""
MANY = 2**14
"""Corners that a component may have before they are set aside."""


class Stats(NamedTuple):
    """What is known of each component; every field is an int64 array of shape (n,).

    Attributes:
        id: Flat position of the first pixel in raster order.
        code: Value of the pixels.
        area_px: Number of pixels.
        row_sum: Sum of the pixels' rows.
        col_sum2: Twice the sum of the pixels' columns.
        row0: First row.
        col0: First column.
        row1: One past the last row.
        col1: One past the last column.
        weight_sum: Sum of the pixels' weights.
        weight_px: Number of pixels that have a weight.
        marked_px: Number of pixels that are marked.
    """

    id: Ints
    code: Ints
    area_px: Ints
    row_sum: Ints
    col_sum2: Ints
    row0: Ints
    col0: Ints
    row1: Ints
    col1: Ints
    weight_sum: Ints
    weight_px: Ints
    marked_px: Ints


class Ends(NamedTuple):
    """Ends of the vertical edges of outlines, the corners; every field is an int64 array of shape (n,).

    Attributes:
        owner: Index of the component.
        row: Lattice row.
        col: Lattice column.
        side: `LEFT` or `RIGHT`, the side of the component on which the edge lies.
    """

    owner: Ints
    row: Ints
    col: Ints
    side: Ints


class Rings(NamedTuple):
    """Outlines of m components in the ragged layout that `shapely.from_ragged_array` takes.

    Attributes:
        corners: (n, 2) int64, (col, row) of lattice corners; every ring is closed.
        ring_offsets: (rings + 1,) int64, first corner of every ring.
        polygon_offsets: (m + 1,) int64, first ring of every component; the first ring is the outer one.
    """

    corners: Ints
    ring_offsets: Ints
    polygon_offsets: Ints


class Released(NamedTuple):
    """Components that are whole, in the order of their ids."""

    stats: Stats
    rings: Rings


class Sweep:
    """Follows the components of a raster from the top row to the bottom row.

    Keeps only the components that touch the last row seen: their sums, their corners and the runs in that row. The
    corners of a component that has very many are set aside, so that not all of them are gone through with every feed.
    """

    def __init__(self, width: int, *, outlines: bool = True) -> None:
        """Start above the first row of a raster of `width` pixels; without outlines regions are only counted."""
        none = np.empty(0, np.int64)
        self._width = width
        self._outlines = outlines
        self._open = Stats(*[none] * 12)
        self._ends = Ends(*[none] * 4)
        self._aside: dict[int, list[Ends]] = {}
        self._front = Runs.none()
        self._front_owner = none

    @property
    def open_boxes(self) -> Ints:
        """(n, 4) row0, col0, row1, col1 of the components that may go on below the last row seen."""
        return np.stack([self._open.row0, self._open.col0, self._open.row1, self._open.col1], axis=1)

    def feed(self, runs: Runs, last_row: int) -> Released:
        """Take the runs of the next rows and give back the components that ended.

        Args:
            runs: Runs of all rows after those fed before, up to `last_row`.
            last_row: Row up to which the raster is known now; the raster's height releases everything.
        """
        held, fronts = self._open.id.size, self._front_owner.size
        known = join(self._front, runs)
        upper, lower = neighbours(known, self._width)
        node = np.append(self._front_owner, np.arange(held, held + runs.start.size))
        count, label = _connect(node[upper], node[lower], held + runs.start.size)
        stats = _reduce(join(self._open, _stats_of(runs, self._width)), label, count)
        at_front = known.start // self._width + known.rows > last_row
        order, index, done = _renumber(stats.id, label[node[at_front]])
        label = index[label]
        stats = take(stats, order)

        ends = self._ends
        if self._outlines:
            new_ends = _ends_of(known, label[node], (upper, lower), (fronts, at_front), self._width)
            ends = self._keep(new_ends, label, done)
        self._open = take(stats, slice(done, None))
        self._front, order = _last_row(take(known, at_front), self._width)
        self._front_owner = label[node[at_front]][order] - done
        return Released(take(stats, slice(0, done)), trace_rings(ends, done if self._outlines else 0))

    def _keep(self, new: Ends, label: Ints, done: int) -> Ends:
        """Keep the corners of open components and give back those of the first `done` components, which ended."""
        ends = join(self._ends._replace(owner=label[self._ends.owner]), new)
        closed = ends.owner < done
        released = [take(ends, closed)]
        ends = take(ends, ~closed)
        ends = ends._replace(owner=ends.owner - done)
        aside: dict[int, list[Ends]] = {}
        for owner, chunks in self._aside.items():
            place = int(label[owner])
            if place < done:
                released += [chunk._replace(owner=np.full_like(chunk.owner, place)) for chunk in chunks]
            else:
                aside.setdefault(place - done, []).extend(chunks)
        for owner in np.flatnonzero(np.bincount(ends.owner) > MANY).tolist():
            of_it = ends.owner == owner
            aside.setdefault(owner, []).append(take(ends, of_it))
            ends = take(ends, ~of_it)
        self._ends, self._aside = ends, aside
        return join(*released)


def _connect(first: Ints, second: Ints, size: int) -> tuple[int, Ints]:
    """Number of groups of `size` nodes that links connect, and the group of every node."""
    links = csr_matrix((np.ones(first.size, np.int8), (first, second)), shape=(size, size))
    count, label = connected_components(links, directed=False)
    return int(count), label.astype(np.int64)


def _stats_of(runs: Runs, width: int) -> Stats:
    row, col = runs.start // width, runs.start % width
    size, rows = runs.stop - runs.start, runs.rows
    area = size * rows
    sums = (area, row * area + rows * (rows - 1) // 2 * size, (2 * col + size - 1) * area)
    return Stats(runs.start, runs.code, *sums, row, col, row + rows, col + size, *runs[4:])


def _last_row(runs: Runs, width: int) -> tuple[Runs, Ints]:
    """The last row of stacks, as runs from left to right, and their order."""
    down = (runs.rows - 1) * width
    runs = runs._replace(start=runs.start + down, stop=runs.stop + down, rows=np.ones_like(runs.rows))
    order = np.argsort(runs.start)
    return take(runs, order), order


def _reduce(stats: Stats, label: Ints, count: int) -> Stats:
    """Statistics of `count` groups from those of their members."""
    if not count:
        return stats
    order = np.argsort(label, kind="stable")
    first = np.searchsorted(label[order], np.arange(count))
    low, high, add = np.minimum, np.maximum, np.add
    how = (low, low, add, add, add, low, low, high, high, add, add, add)
    return Stats(*(op.reduceat(field[order], first) for op, field in zip(how, stats, strict=True)))


def _renumber(ids: Ints, open_: Ints) -> tuple[Ints, Ints, int]:
    """The components, ended ones first and each kind by id: their order, the place of each, how many have ended."""
    still_open = np.zeros(ids.size, np.bool_)
    still_open[open_] = True
    order = np.lexsort((ids, still_open))
    index = np.empty(order.size, np.int64)
    index[order] = np.arange(order.size)
    return order, index, int(order.size - np.count_nonzero(still_open))


def _ends_of(
    runs: Runs, owner: Ints, pairs: tuple[Ints, Ints], known: tuple[int, NDArray[np.bool_]], width: int
) -> Ends:
    """The corners at the ends of runs: where the edge on a side of a run does not go on in the next row.

    Args:
        runs: Runs of the last row that was fed before and of all rows after it.
        owner: Component of each.
        pairs: Indices of the upper and the lower one of those that share an edge.
        known: How many runs at the beginning have their upper corners already, and which runs have no row below yet.
        width: Width of the raster.
    """
    upper, lower = pairs
    row, down = runs.start // width, runs.rows * width
    found = []
    for side, at in ((LEFT, runs.start), (RIGHT, runs.stop)):
        on = at[lower] - at[upper] == down[upper]
        begins, ends = np.ones(row.size, np.bool_), ~known[1]
        begins[lower[on]] = False
        begins[: known[0]] = False
        ends[upper[on]] = False
        col = at - row * width
        for which, lattice_row in ((begins, row), (ends, row + runs.rows)):
            found.append(Ends(owner[which], lattice_row[which], col[which], np.full(np.count_nonzero(which), side)))
    return Ends(*(np.concatenate(field) for field in zip(*found, strict=True)))


def trace_rings(ends: Ends, count: int) -> Rings:
    """The outlines of components from all their corners.

    Along a lattice column the corners of one side of a component pair up from top to bottom into its vertical edges,
    and along a lattice row they pair up from left to right into its horizontal edges. Where two pixels of a component
    meet at a corner only, two corners coincide; the one of the left side comes first, which separates the background
    on both sides, so no ring touches itself. The outline goes down along left edges and up along right ones, so that
    outer rings run counter-clockwise where y points up. A ring begins with its highest edge, the leftmost of them.

    Args:
        ends: The corners, owners 0 to count - 1.
        count: Number of components.
    """
    if not count:
        return Rings(np.empty((0, 2), np.int64), np.zeros(1, np.int64), np.zeros(1, np.int64))
    vertical = _order(ends.owner, ends.col, ends.side, ends.row)
    top = take(ends, vertical[0::2])
    by_place = _order(top.owner, top.row, top.col)
    top, bottom_row = take(top, by_place), ends.row[vertical[1::2]][by_place]
    size = by_place.size
    twice = [np.tile(field, 2) for field in (top.owner, top.col, top.side)]
    rows = np.append(top.row, bottom_row)
    horizontal = _order(twice[0], rows, twice[1], twice[2])
    partner = np.empty(2 * size, np.int64)
    partner[horizontal[0::2]], partner[horizontal[1::2]] = horizontal[1::2], horizontal[0::2]
    down = top.side == LEFT
    order, first = _walk(partner[np.arange(size) + np.where(down, size, 0)] % size)

    ring_offsets = np.append(0, np.cumsum(2 * np.diff(first, append=size) + 1))
    points = np.empty((2 * size, 2), np.int64)
    points[:, 0] = np.repeat(top.col[order], 2)
    points[0::2, 1] = np.where(down, top.row, bottom_row)[order]
    points[1::2, 1] = np.where(down, bottom_row, top.row)[order]
    closed = np.arange(ring_offsets[-1]) - np.repeat(np.arange(first.size), np.diff(ring_offsets))
    closed[ring_offsets[1:] - 1] = 2 * first
    outer = np.flatnonzero(np.append(np.diff(top.owner[order[first]], prepend=-1), 1))
    return Rings(points[closed], ring_offsets, outer)


def _order(*keys: Ints) -> Ints:
    """Order of rows by several keys, the first one first; rows must differ."""
    combined, span = np.zeros(keys[0].size, np.int64), 1
    for key in keys:
        low, size = int(key.min()), int(key.max()) - int(key.min()) + 1
        span *= size
        if span >= 2**63:
            return np.lexsort(keys[::-1])
        combined = combined * size + (key - low)
    return np.argsort(combined)


def _walk(following: Ints) -> tuple[Ints, Ints]:
    """Edges in walking order, ring after ring, and the place in it where each ring begins.

    Rings come in the order of their first edges, and each begins there. All rings are strung into one, which a
    breadth first search then walks in a single pass.
    """
    size = following.size
    ones, starts = np.ones(size, np.int8), np.arange(size + 1)
    count, ring = connected_components(csr_matrix((ones, following, starts), shape=(size, size)), directed=False)
    leader = np.full(count, size)
    np.minimum.at(leader, ring, np.arange(size))
    leader.sort()
    before = np.empty(size, np.int64)
    before[following] = np.arange(size)
    chain = following.copy()
    chain[before[leader]] = np.roll(leader, -1)
    order = breadth_first_order(csr_matrix((ones, chain, starts), shape=(size, size)), leader[0])[0].astype(np.int64)
    place = np.empty(size, np.int64)
    place[order] = np.arange(size)
    return order, place[leader]
