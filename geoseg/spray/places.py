"""Where pixels lie: in which cell of a lattice, and whether in the field. Arithmetic on pixel centres, no raster read.

Where a pixel lies on the lattice is affine in its row and column, so it is the sum of a term per column and a term
per row. Both are kept as whole numbers (2^-32 of a cell): every pixel has one cell, exactly, whatever the windows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from shapely import MultiPolygon, Polygon

from geoseg.spray.grid import apply
from geoseg.windows import Rect

__all__ = ["Field", "Places"]

_BITS = 32


class Field:
    """Which pixel centres lie in the field: for each row of pixels, the columns at which the field begins or ends.

    The columns are worked out once for the whole raster, so a pixel on the very edge is in or out whatever the windows.
    """

    def __init__(self, boundary: Polygon | MultiPolygon, transform: Affine, shape: tuple[int, int]) -> None:
        points, ring = shapely.get_coordinates(shapely.get_rings(shapely.get_parts(boundary)), return_index=True)
        x, y = apply(~transform, points[:, 0], points[:, 1])
        same = ring[1:] == ring[:-1]
        x0, y0, x1, y1 = x[:-1][same], y[:-1][same], x[1:][same], y[1:][same]
        first = np.clip(np.ceil(np.minimum(y0, y1) - 0.5), 0, shape[0]).astype(np.int64)
        last = np.clip(np.ceil(np.maximum(y0, y1) - 0.5), 0, shape[0]).astype(np.int64)
        count = last - first
        edge = np.repeat(np.arange(len(count)), count)
        row = np.arange(count.sum()) - np.repeat(count.cumsum() - count, count) + first[edge]
        at = x0[edge] + (row + 0.5 - y0[edge]) * ((x1 - x0)[edge] / (y1 - y0)[edge])
        col = np.clip(np.ceil(at - 0.5), 0, shape[1]).astype(np.int64)
        order = np.lexsort((col, row))
        self.row, self.col = row[order], col[order]

    def mask(self, rect: Rect) -> NDArray[np.bool_] | None:
        """(height, width) bool of a window; None where all of it lies in the field."""
        first, last = np.searchsorted(self.row, (rect.row0, rect.row1))
        row, col = self.row[first:last] - rect.row0, self.col[first:last] - rect.col0
        height, width = rect.shape
        before = np.bincount(row[col <= 0], minlength=height) % 2
        within = (col > 0) & (col < width)
        if not within.any() and before.all():
            return None
        flips = np.zeros((height, width), np.uint8)
        flips[:, 0] = before
        np.bitwise_xor.at(flips, (row[within], col[within]), 1)
        return np.bitwise_xor.accumulate(flips, axis=1).view(np.bool_)


class Places:
    """The cell of every pixel as whole numbers: a column term and a row term for each of the two lattice axes.

    Attributes:
        shape: (rows, cols) of the lattice.
        by_col: (2, width) int64, the terms of (lattice row, lattice column) that depend on the pixel's column.
        by_row: (2, height) int64, those that depend on its row.
    """

    def __init__(self, box: GeoBox, transform: Affine, shape: tuple[int, int]) -> None:
        to_cell = _then(transform, ~box.affine)
        rows, cols = np.arange(shape[0]) + 0.5, np.arange(shape[1]) + 0.5
        one = float(1 << _BITS)
        self.shape = (int(box.shape[0]), int(box.shape[1]))
        self.by_col = np.rint(np.stack([to_cell.d * cols, to_cell.a * cols]) * one).astype(np.int64)
        self.by_row = np.rint(np.stack([to_cell.e * rows + to_cell.f, to_cell.b * rows + to_cell.c]) * one).astype(
            np.int64
        )

    def cells(self, row: NDArray[Any], col: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Lattice (row, col) of pixels."""
        return (
            (self.by_row[0, row] + self.by_col[0, col]) >> _BITS,
            (self.by_row[1, row] + self.by_col[1, col]) >> _BITS,
        )

    def runs(self, rect: Rect) -> NDArray[np.int32]:
        """(height, n + 1) columns of a window where runs begin, ascending, with its width at the end.

        Runs may be empty: every row has the same number.
        """
        height, width = rect.shape
        parts = [np.zeros((height, 1), np.int64), np.full((height, 1), width)]
        for by_row, by_col in zip(self.by_row, self.by_col, strict=True):
            term, offset = by_col[rect.col0 : rect.col1], by_row[rect.row0 : rect.row1]
            rising = term[-1] >= term[0]
            ordered = term if rising else term[::-1]
            first, last = (ordered[0] + offset.min()) >> _BITS, (ordered[-1] + offset.max()) >> _BITS
            whole = np.arange(first + 1, last + 1) << _BITS
            found = np.searchsorted(ordered, (whole[None, :] - offset[:, None]).ravel()).reshape(height, -1)
            parts.append(found if rising else width - found)
        runs = np.concatenate(parts, axis=1).astype(np.int32)
        runs.sort(axis=1, kind="stable")
        return runs


def _then(first: Affine, second: Affine) -> Affine:
    """The transform that applies `first`, then `second`; written out because affine 2 and 3 spell it differently."""
    return Affine(
        second.a * first.a + second.b * first.d,
        second.a * first.b + second.b * first.e,
        second.a * first.c + second.b * first.f + second.c,
        second.d * first.a + second.e * first.d,
        second.d * first.b + second.e * first.e,
        second.d * first.c + second.e * first.f + second.f,
    )
