"""Lines that split polygons with holes into polygons without, for terminals that know no holes."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geoseg.spray.grid import apply

__all__ = ["cuts"]

_ON_LATTICE = 1e-6


def cuts(faces: NDArray[Any], padded: NDArray[np.uint8], box: GeoBox) -> NDArray[np.object_]:
    """Lines from every hole across the track, to the left and to the right, so that no hole is left.

    They run through the middle of the first row of the hole, from its first cell back to the last cell of another level
    before it, and from its last cell in that row on to the next one. What they meet lies in the same or an earlier row,
    so following them to one side leads to the shell and never back: every hole is tied to it twice, which splits the
    face. The ends reach into the cells, so that they meet their sides whatever the rounding; what dangles is dropped. A
    hole of the field itself, which may be smaller than a cell, is cut along the whole row.

    Args:
        faces: (n,) polygons.
        padded: (rows + 2, cols + 2) the level of each cell, with one more cell on every side.
        box: The lattice, not padded.
    """
    rings, face = shapely.get_rings(faces, return_index=True)
    rings = rings[1:][face[1:] == face[:-1]]
    points, hole = shapely.get_coordinates(rings, return_index=True)
    col, row = apply(~box.affine, points[:, 0], points[:, 1])
    order = np.lexsort((np.round(col, 6), np.round(row, 6), hole))
    begins = np.flatnonzero(np.append(True, hole[order][1:] != hole[order][:-1]))
    top = np.round(row[order[begins]], 6)
    on_top = np.round(row, 6) == top[hole]
    left = np.full(rings.size, np.inf)
    right = -left
    np.minimum.at(left, hole[on_top], col[on_top])
    np.maximum.at(right, hole[on_top], col[on_top])
    of_cells = np.abs(np.stack([top, left, right]) - np.rint([top, left, right])).max(axis=0) < _ON_LATTICE
    lines = [_row_lines(of_cells, np.rint(top), np.rint(left), np.rint(right), padded)]
    if not of_cells.all():
        within = shapely.get_coordinates(shapely.point_on_surface(shapely.polygons(rings[~of_cells])))
        along = apply(~box.affine, within[:, 0], within[:, 1])[1]
        whole = np.broadcast_to([-1.5, box.shape[1] + 1.5], (along.size, 2))
        lines.append(np.stack([whole, np.repeat(along[:, None], 2, axis=1)], axis=2))
    ends = np.concatenate(lines)
    world = np.stack(apply(box.affine, ends[..., 0], ends[..., 1]), axis=-1)
    return np.asarray(shapely.linestrings(world), dtype=object).reshape(-1)


def _row_lines(
    wanted: NDArray[np.bool_],
    row: NDArray[np.float64],
    left: NDArray[np.float64],
    right: NDArray[np.float64],
    padded: NDArray[np.uint8],
) -> NDArray[np.float64]:
    """(n, 2, 2) ends of lines in lattice units, from the cells at `left` and before `right` to other levels."""
    line, first, last = (values[wanted].astype(np.int64) for values in (row, left, right))
    width = padded.shape[1]
    changes = np.ones(padded.shape, bool)
    changes[:, 1:] = padded[:, 1:] != padded[:, :-1]
    at = np.flatnonzero(changes)
    before = at[np.searchsorted(at, (line + 1) * width + first, side="right") - 1] % width - 2
    after = np.append(at, padded.size)[np.searchsorted(at, (line + 1) * width + last + 1, side="right")]
    after = np.where(after // width == line + 1, after % width - 1, width - 1)
    spans = [np.stack([before + 0.75, first + 0.25], 1), np.stack([last - 0.25, after + 0.25], 1)]
    ends = np.concatenate(spans)
    return np.stack([ends, np.tile(line + 0.5, 2)[:, None].repeat(2, axis=1)], axis=2)
