"""Row by row: which plant stands in which row, where along it, and how far off the line. Knows no spectra and no files.

A row's line is the phase's line plus what the row itself does: the mean distance of its plants over some metres along
it, so that a row follows its planter unit and not its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.segment.rowphase import PhaseField

__all__ = ["PlantRows", "RowTable", "select", "trace"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_TOLERANCE_M = 0.005
"""How far the drawn line may run beside the traced one."""


@dataclass(frozen=True)
class PlantRows:
    """Each plant's place in its row; arrays of one entry a plant.

    Attributes:
        row_id: Number of its row from 1; 0: it stands in none.
        position_m: Distance along the row from the row's first plant; NaN without a row.
        next_m: Distance along the row to the next plant; NaN at the end of the row and without a row.
        off_row_m: Distance from the row's line, positive to the right of its heading; NaN without a row.
        foot_x: Easting of the point of the line beside the plant; NaN without a row.
        foot_y: Its northing.
    """

    row_id: Ints
    position_m: Floats
    next_m: Floats
    off_row_m: Floats
    foot_x: Floats
    foot_y: Floats

    @classmethod
    def empty(cls, plants: int) -> Self:
        """Plants without rows."""
        position, after, off, x, y = np.full((5, plants), np.nan)
        return cls(np.zeros(plants, np.int64), position, after, off, x, y)

    def take(self, index: Ints) -> PlantRows:
        """The plants in another order."""
        return PlantRows(*(getattr(self, field.name)[index] for field in fields(self)))


@dataclass(frozen=True)
class RowTable:
    """The rows; arrays of one entry a row.

    Attributes:
        row_id: From 1, in order.
        part: Part of the field.
        number: Number of the row in its part, counted to the right; pieces of one row have the same.
        heading_deg: Direction from the row's first plant to its last, degrees from grid north.
        length_m: Distance along the row from its first plant to its last.
        plants: Number of plants.
        line: The row as a LineString through its feet.
    """

    row_id: Ints
    part: Ints
    number: Ints
    heading_deg: Floats
    length_m: Floats
    plants: Ints
    line: NDArray[np.object_]

    @classmethod
    def empty(cls) -> Self:
        """No rows."""
        whole, real = np.zeros(0, np.int64), np.zeros(0)
        return cls(whole, whole, whole, real, real, whole, np.zeros(0, object))


def trace(
    x: Floats, y: Floats, patch: Ints, field: PhaseField, max_offset: float, min_plants: int, split_m: float
) -> tuple[PlantRows, RowTable]:
    """Give every plant its row.

    Args:
        x: (n,) eastings, metres.
        y: (n,) northings, metres.
        patch: (n,) patch of each plant.
        field: The phase over the field.
        max_offset: Farthest from the line that a plant of the row stands, as a share of the spacing.
        min_plants: Fewest plants of a row.
        split_m: Longest stretch without a plant.
    """
    result = PlantRows.empty(len(x))
    index = np.flatnonzero(field.part[patch] >= 0)
    if not len(index):
        return result, RowTable.empty()
    feet, spacing = _feet(x, y, patch, field, index)
    feet = feet.take(np.flatnonzero(np.abs(feet.off) <= max_offset * spacing))
    feet = feet.take(np.lexsort((feet.along, feet.row)))
    step = np.hypot(np.diff(feet.x), np.diff(feet.y))
    piece = np.concatenate([[0], np.cumsum((np.diff(feet.row) != 0) | (step > split_m))])[: len(feet.x)]
    enough = np.flatnonzero(np.bincount(piece, minlength=1)[piece] >= min_plants)
    if not len(enough):
        return result, RowTable.empty()
    feet = feet.take(enough)
    row_id = np.unique(piece[enough], return_inverse=True)[1].astype(np.int64) + 1
    _place(result, row_id, feet)
    return result, _table(result, feet, field.part[patch[feet.plant]])


@dataclass(frozen=True)
class _Feet:
    """Plants with their row and the point of its line beside them."""

    plant: Ints
    row: Ints
    number: Ints
    along: Floats
    off: Floats
    x: Floats
    y: Floats

    def take(self, index: Ints) -> _Feet:
        """Some of them, in the order of `index`."""
        return _Feet(*(getattr(self, field.name)[index] for field in fields(self)))


def _feet(x: Floats, y: Floats, patch: Ints, field: PhaseField, index: Ints) -> tuple[_Feet, Floats]:
    """The nearest row of some plants, and the spacing of the rows there."""
    x, y, patch = x[index], y[index], patch[index]
    phase, east, north = field.phase(patch, x, y)
    slope = np.hypot(east, north)
    number = np.rint(phase).astype(np.int64)
    along = _along(field, patch, x, y)
    row = _rank(field.part[patch], number)
    off = (phase - number) / slope
    off -= _wobble(row, along, off, 1 / slope)
    return _Feet(index, row, number, along, off, x - off * east / slope, y - off * north / slope), 1 / slope


def _along(field: PhaseField, patch: Ints, x: Floats, y: Floats) -> Floats:
    """Distance along the mean heading of a plant's part."""
    count = int(field.part.max()) + 1
    part, mine = field.part[patch], field.part >= 0
    total = np.maximum(np.bincount(field.part[mine], minlength=count), 1)
    heading = (np.bincount(field.part[mine], field.heading[mine], count) / total)[part]
    return np.asarray(x * np.sin(heading) + y * np.cos(heading))


def _rank(part: Ints, number: Ints) -> Ints:
    """One number a row, ascending by part and by number in the part."""
    low, width = int(number.min()), int(np.ptp(number)) + 1
    return np.asarray(np.unique(part * width + (number - low), return_inverse=True)[1], np.int64)


def _wobble(row: Ints, along: Floats, off: Floats, spacing: Floats) -> Floats:
    """How far each row runs beside the phase's line at each plant: means over some metres, interpolated."""
    length = float(np.clip(4 * np.median(spacing), 1.5, 6.0))
    box = np.floor((along - along.min()) / length).astype(np.int64)
    boxes = int(box.max()) + 3
    key, cell = np.unique(row * boxes + box, return_inverse=True)
    mean: Floats = np.zeros(len(key))
    for reach in (0.35, 0.25):
        near = np.abs(off - mean[cell]) < reach * spacing
        count: Floats = np.bincount(cell, near, len(key)).astype(np.float64)
        total: Floats = np.bincount(cell, np.where(near, off, 0.0), len(key)).astype(np.float64)
        for _ in range(2):  # the boxes before and behind count half
            before, behind = np.diff(key, prepend=-9) == 1, np.diff(key, append=-9) == 1
            total = total + 0.5 * (np.where(before, np.roll(total, 1), 0.0) + np.where(behind, np.roll(total, -1), 0.0))
            count = count + 0.5 * (np.where(before, np.roll(count, 1), 0.0) + np.where(behind, np.roll(count, -1), 0.0))
        mean = total / (count + 2.0)
    place = np.bincount(cell, along) / np.bincount(cell) - along.min()
    far = 1e3 * boxes * length  # rows lie so far from one another that none reaches into the next
    return np.asarray(np.interp(row * far + along - along.min(), (key // boxes) * far + place, mean))


def _place(result: PlantRows, row_id: Ints, feet: _Feet) -> None:
    """Enter rows and the distances along them; the plants come in the order of their rows."""
    step = np.hypot(np.diff(feet.x), np.diff(feet.y))
    same = np.diff(row_id) == 0
    run = np.concatenate([[0.0], np.cumsum(np.where(same, step, 0.0))])
    first = np.concatenate([[True], ~same])
    start = run[first][np.cumsum(first) - 1]
    result.row_id[feet.plant], result.off_row_m[feet.plant] = row_id, feet.off
    result.position_m[feet.plant] = run - start
    result.next_m[feet.plant] = np.append(np.where(same, step, np.nan), np.nan)
    result.foot_x[feet.plant], result.foot_y[feet.plant] = feet.x, feet.y


def _table(plants: PlantRows, feet: _Feet, part: Ints) -> RowTable:
    """The rows of plants that come in the order of their rows."""
    row_id, x, y = plants.row_id[feet.plant], feet.x, feet.y
    first = np.concatenate([[0], np.flatnonzero(np.diff(row_id)) + 1])
    last = np.concatenate([first[1:], [len(row_id)]]) - 1
    lines = shapely.linestrings(np.stack([x, y], axis=1), indices=row_id - 1)
    return RowTable(
        row_id=np.arange(1, len(first) + 1),
        part=part[first],
        number=feet.number[first],
        heading_deg=np.degrees(np.arctan2(x[last] - x[first], y[last] - y[first])) % 360,
        length_m=plants.position_m[feet.plant][last],
        plants=last - first + 1,
        line=np.asarray(shapely.simplify(lines, _TOLERANCE_M), dtype=object),
    )


def select(
    plants: PlantRows, table: RowTable, parts: list[int], origin: tuple[float, float]
) -> tuple[PlantRows, RowTable]:
    """Only the rows of some parts, in the order of `parts`, numbered anew from 1 and moved to the `origin`.

    Parts are numbered from 1 in that order.
    """
    rank = np.full(int(table.part.max(initial=0)) + 1, len(parts))
    rank[parts] = np.arange(len(parts))
    kept = rank[table.part] < len(parts)
    order = np.argsort(rank[table.part][kept], kind="stable")
    rows = np.flatnonzero(kept)[order]
    renumber = np.zeros(len(table.row_id) + 1, np.int64)
    renumber[table.row_id[rows]] = np.arange(1, len(rows) + 1)
    row_id = renumber[plants.row_id]
    gone = row_id == 0
    table = RowTable(
        row_id=np.arange(1, len(rows) + 1),
        part=rank[table.part[rows]] + 1,
        number=table.number[rows] - _lowest(table, rows),
        heading_deg=table.heading_deg[rows],
        length_m=table.length_m[rows],
        plants=table.plants[rows],
        line=shapely.transform(table.line[rows], lambda points: points + origin),
    )
    moved = PlantRows(
        row_id=row_id,
        position_m=np.where(gone, np.nan, plants.position_m),
        next_m=np.where(gone, np.nan, plants.next_m),
        off_row_m=np.where(gone, np.nan, plants.off_row_m),
        foot_x=np.where(gone, np.nan, plants.foot_x + origin[0]),
        foot_y=np.where(gone, np.nan, plants.foot_y + origin[1]),
    )
    return moved, table


def _lowest(table: RowTable, rows: Ints) -> Ints:
    """The lowest number in each row's part, less one."""
    lowest = np.full(int(table.part.max(initial=0)) + 1, np.iinfo(np.int64).max)
    np.minimum.at(lowest, table.part, table.number)
    return lowest[table.part[rows]] - 1
