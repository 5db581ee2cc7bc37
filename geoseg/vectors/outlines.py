"""Components of runs and their outlines. Pure numpy; knows no file and no CRS.

Runs that touch over a pixel edge become components, and the left and right ends of the runs are the vertical edges of
the components' outlines. No pixel is looked at twice and no polygons are joined: an outline is put together once,
when its component is whole, from edges that do not know how the raster was cut. So the result cannot depend on the
cut.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components

from geoseg.vectors.runs import Ints, Runs, join, neighbours, take

__all__ = ["Edges", "Released", "Rings", "Stats", "Sweep", "trace_rings"]

LEFT, RIGHT = 0, 1
"""Sides of a run. The outline is walked down along left edges and up along right ones."""


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


class Edges(NamedTuple):
    """Vertical edges of outlines; every field is an int64 array of shape (n,).

    Attributes:
        owner: Index of the component.
        col: Lattice column.
        side: `LEFT` or `RIGHT`.
        top: Upper lattice row.
        bottom: Lower lattice row.
    """

    owner: Ints
    col: Ints
    side: Ints
    top: Ints
    bottom: Ints


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

    Keeps only the components that touch the last row seen: their sums, the runs in that row and their edges.

    Args:
        width: Width of the raster in pixels.
    """

    def __init__(self, width: int) -> None:
        """Start above the first row."""
        none = np.empty(0, np.int64)
        self._width = width
        self._open = Stats(*[none] * 11)
        self._edges = Edges(*[none] * 5)
        self._front = Runs(*[none] * 5)
        self._front_owner = none

    def feed(self, runs: Runs, last_row: int) -> Released:
        """Take the runs of the next rows and give back the components that ended.

        Args:
            runs: Runs of all rows after those fed before, up to `last_row`.
            last_row: Row up to which the raster is known now; the raster's height releases everything.
        """
        held = self._open.id.size
        count, label = self._connect(runs)
        stats = _reduce(join(self._open, _stats_of(runs, self._width)), label, count)
        open_ = np.zeros(count, np.bool_)
        at_front = runs.start // self._width == last_row
        open_[label[held:][at_front]] = True
        order, index = _renumber(stats, open_)
        label = index[label]

        edges = join(
            self._edges._replace(owner=label[self._edges.owner]),
            _merge_edges(_edges_of(runs, label[held:], self._width)),
        )
        done = int(count - np.count_nonzero(open_))
        stats = take(stats, order)
        closed = edges.owner < done
        self._edges = take(edges, ~closed)
        self._edges = self._edges._replace(owner=self._edges.owner - done)
        self._open = take(stats, slice(done, None))
        self._front = take(runs, at_front)
        self._front_owner = label[held:][at_front] - done
        return Released(take(stats, slice(0, done)), trace_rings(_merge_edges(take(edges, closed)), done))

    def _connect(self, runs: Runs) -> tuple[int, Ints]:
        """Number of components, and the component of every open one followed by that of every run."""
        held = self._open.id.size
        upper, lower = neighbours(join(self._front, runs), self._width)
        node = np.append(self._front_owner, np.arange(held, held + runs.start.size))
        size = held + runs.start.size
        links = csr_matrix((np.ones(upper.size, np.int8), (node[upper], node[lower])), shape=(size, size))
        count, label = connected_components(links, directed=False)
        return int(count), label.astype(np.int64)


def _stats_of(runs: Runs, width: int) -> Stats:
    row, col = runs.start // width, runs.start % width
    size = runs.stop - runs.start
    sums = (size, row * size, (2 * col + size - 1) * size)
    return Stats(runs.start, runs.code, *sums, row, col, row + 1, col + size, runs.weight_sum, runs.weight_px)


def _reduce(stats: Stats, label: Ints, count: int) -> Stats:
    """Statistics of `count` groups from those of their members."""
    if not count:
        return stats
    order = np.argsort(label, kind="stable")
    first = np.searchsorted(label[order], np.arange(count))
    low, high, add = np.minimum, np.maximum, np.add
    how = (low, low, add, add, add, low, low, high, high, add, add)
    return Stats(*(op.reduceat(field[order], first) for op, field in zip(how, stats, strict=True)))


def _renumber(stats: Stats, open_: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Order of the components, ended ones first and each kind by id, and the place of each in it."""
    order = np.lexsort((stats.id, open_))
    index = np.empty(order.size, np.int64)
    index[order] = np.arange(order.size)
    return order, index


def _edges_of(runs: Runs, owner: Ints, width: int) -> Edges:
    """The left and right edges of every run, one pixel high."""
    row, col = runs.start // width, runs.start % width
    side = np.repeat(np.array([LEFT, RIGHT]), row.size)
    top = np.tile(row, 2)
    return Edges(np.tile(owner, 2), np.append(col, col + runs.stop - runs.start), side, top, top + 1)


def _merge_edges(edges: Edges) -> Edges:
    """Edges that go on in one another made one.

    Two pixels of a component that are above one another and begin (or end) runs share that edge of the outline; no
    other edge can go straight on at the corner between them.
    """
    if not edges.owner.size:
        return edges
    edges = take(edges, np.lexsort((edges.top, edges.side, edges.col, edges.owner)))
    fresh = np.ones(edges.owner.size, np.bool_)
    fresh[1:] = edges.bottom[:-1] != edges.top[1:]
    for field in (edges.owner, edges.col, edges.side):
        fresh[1:] |= field[:-1] != field[1:]
    first = np.flatnonzero(fresh)
    last = np.append(first[1:], fresh.size) - 1
    return take(edges, first)._replace(bottom=edges.bottom[last])


def trace_rings(edges: Edges, count: int) -> Rings:
    """The outlines of components from all their vertical edges.

    Every end of a vertical edge is a corner, and along a lattice row the corners of one component pair up from left
    to right into its horizontal edges. Where two pixels of a component meet at a corner only, two corners coincide;
    the one of the left edge comes first, which separates the background on both sides, so no ring touches itself.
    Rings begin at their upper edge's first end and keep the interior on their left as seen with rows counted
    downwards and columns to the right, in a frame whose y axis points up.

    Args:
        edges: Edges as `_merge_edges` leaves them, owners 0 to count - 1.
        count: Number of components.
    """
    edges = take(edges, np.lexsort((edges.col, edges.top, edges.owner)))
    size = edges.owner.size
    if not size:
        return Rings(np.empty((0, 2), np.int64), np.zeros(1, np.int64), np.zeros(count + 1, np.int64))
    rows = np.append(edges.top, edges.bottom)
    corners = np.lexsort((np.tile(edges.side, 2), np.tile(edges.col, 2), rows, np.tile(edges.owner, 2)))
    partner = np.empty(2 * size, np.int64)
    partner[corners[0::2]], partner[corners[1::2]] = corners[1::2], corners[0::2]
    downwards = edges.side == LEFT
    following = partner[np.arange(size) + np.where(downwards, size, 0)] % size
    order, first = _walk(following)

    turn = np.flatnonzero(np.append(np.diff(edges.owner[order[first]], prepend=-1) != 0, True))
    length = np.diff(first, append=size)
    ring_offsets = np.append(0, np.cumsum(2 * length + 1))
    begin, end = np.where(downwards, rows[:size], rows[size:]), np.where(downwards, rows[size:], rows[:size])
    points = np.empty((2 * size, 2), np.int64)
    points[:, 0] = np.repeat(edges.col[order], 2)
    points[0::2, 1], points[1::2, 1] = begin[order], end[order]
    closed = np.arange(2 * size + first.size)
    closed -= np.repeat(np.arange(first.size), np.diff(ring_offsets))
    closed[ring_offsets[1:] - 1] = 2 * first
    return Rings(points[closed], ring_offsets, turn)


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
