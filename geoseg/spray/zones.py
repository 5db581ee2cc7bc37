"""Cells with rates to polygons that partition the field exactly. Knows no class and no rule.

The lines between cells of different rates and the rings of the field are drawn once each, cut where they meet, and the
faces between them are the zones. So two neighbours share every vertex, there is no gap and no overlap, and the same
holds in any other CRS that the vertices are moved to. A cell with less than a hundredth of its area in the field
follows its neighbour: it would be a sliver that no machine can do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from scipy.ndimage import maximum_filter
from shapely import MultiPolygon, Polygon

from geoseg.errors import PrescriptionError
from geoseg.spray.grid import apply
from geoseg.spray.holes import cuts

__all__ = ["partition"]

SLIVER_SHARE = 0.01
"""Cells with less of their area than this in the field take the higher rate of the cells beside them."""

_TOLERANCE = 1e-9
_GRID_M = 1e-7


def partition(
    level: NDArray[np.uint8],
    share: NDArray[np.float32],
    edge: NDArray[np.bool_],
    box: GeoBox,
    boundary: Polygon | MultiPolygon,
    *,
    split_holes: bool = False,
    firm: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.object_], NDArray[np.uint8]]:
    """The field cut into single-part polygons of one level each.

    Args:
        level: (rows, cols) the level of each cell, 1 and up; cells outside the field may hold anything.
        share: (rows, cols) share of the cell in the field, as `geoseg.spray.grid.field_share` gives it.
        edge: (rows, cols) cells that the field's edge runs through, from the same.
        box: The lattice.
        boundary: The field, valid, in the CRS of `box`.
        split_holes: Cut polygons with holes along the lattice until none has any.
        firm: (rows, cols) bool, cells that keep their level however little of them lies in the field.

    Returns:
        polygons: (n,) with holes where they have any, in the order of the lattice.
        levels: (n,) uint8.

    Raises:
        PrescriptionError: If the polygons do not add up to the field, which a boundary with errors can cause.
    """
    whole = share >= SLIVER_SHARE if firm is None else (share >= SLIVER_SHARE) | (firm & (share > 0))
    padded = _extend(np.pad(level, 1), np.pad(share, 1), np.pad(whole, 1))
    lines, near = _lines(padded, maximum_filter(np.pad(edge, 1), 3), box)
    shapely.prepare(boundary)
    faces, points = _faces(lines, near, boundary)
    if split_holes and shapely.get_num_interior_rings(faces).any():
        lines = np.concatenate([lines, cuts(faces, padded, box)])
        faces, points = _faces(lines, np.ones(lines.size, bool), boundary)
    return _labelled(faces, points, padded, box)


def _faces(
    lines: NDArray[np.object_], near: NDArray[np.bool_], boundary: Polygon | MultiPolygon
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """The faces between the lines and the field's rings that lie in the field, and a point in each.

    Args:
        lines: Straight lines that meet each other at their ends only, except for those that are near.
        near: Those that may meet others, or the field's edge, elsewhere.
        boundary: The field, prepared.
    """
    rings = shapely.get_rings(shapely.get_parts(boundary))
    total = 0.0
    for lines_to_cut, grid_m in ((near, None), (np.ones_like(near), None), (np.ones_like(near), _GRID_M)):
        cut = shapely.get_parts(shapely.union_all(np.concatenate([lines[lines_to_cut], rings]), grid_size=grid_m))
        faces = shapely.get_parts(shapely.polygonize(np.concatenate([lines[~lines_to_cut], cut])))
        points = shapely.get_coordinates(shapely.point_on_surface(faces))
        inside = shapely.contains_xy(boundary, points)
        faces, points = faces[inside], points[inside]
        total = float(shapely.area(faces).sum())
        if abs(total - boundary.area) <= _TOLERANCE * boundary.area:
            return faces, points
    raise PrescriptionError(
        f"the zones add up to {total:.6f} m2 of a field of {boundary.area:.6f} m2; check the "
        "boundary for spikes and edges that run over each other"
    )


def _labelled(
    faces: NDArray[Any], points: NDArray[np.float64], padded: NDArray[np.uint8], box: GeoBox
) -> tuple[NDArray[np.object_], NDArray[np.uint8]]:
    """Faces in lattice order, with the level of the cell under a point in each."""
    col, row = apply(~box.affine, points[:, 0], points[:, 1])
    row = np.clip(np.floor(row).astype(np.int64) + 1, 0, padded.shape[0] - 1)
    col = np.clip(np.floor(col).astype(np.int64) + 1, 0, padded.shape[1] - 1)
    levels = padded[row, col]
    if faces.size and not levels.all():
        raise PrescriptionError("part of the field lies outside the lattice of cells; lay the lattice over this field")
    order = np.lexsort((col, row))
    return faces[order], levels[order]


def _extend(level: NDArray[np.uint8], share: NDArray[np.float32], whole: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Levels with slivers made to follow their neighbours, and continued one cell beyond the field; 0 elsewhere.

    Lines between two levels so run on past the edge of the field and never end just short of it.
    """
    full = np.where(whole, level, 0).astype(np.uint8)
    result = np.where(full > 0, full, _highest_beside(full))
    result = np.where((result == 0) & (share > 0), level, result)
    return np.where(result > 0, result, _highest_beside(result)).astype(np.uint8)


def _highest_beside(level: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The highest level of the four cells beside each, or of the four at its corners where those have none."""
    padded = np.pad(level, 1)
    height, width = level.shape

    def seen_from(row: int, col: int) -> NDArray[np.uint8]:
        return padded[1 + row : 1 + row + height, 1 + col : 1 + col + width]

    sides = np.maximum(np.maximum(seen_from(-1, 0), seen_from(1, 0)), np.maximum(seen_from(0, -1), seen_from(0, 1)))
    corners = np.maximum(np.maximum(seen_from(-1, -1), seen_from(-1, 1)), np.maximum(seen_from(1, -1), seen_from(1, 1)))
    highest: NDArray[np.uint8] = np.where(sides > 0, sides, corners)
    return highest


def _lines(
    level: NDArray[np.uint8], near: NDArray[np.bool_], box: GeoBox
) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
    """Straight lines between cells of different levels, from corner or junction to corner or junction.

    Args:
        level: (rows + 2, cols + 2), padded by a cell on every side.
        near: Cells within one cell of the field's edge.
        box: The lattice, not padded.

    Returns:
        lines: (n,) two-point lines in the CRS.
        near: (n,) bool, whether the line may meet the field's edge.
    """
    along_row = _differ(level[:-1], level[1:])
    along_col = _differ(level[:, :-1], level[:, 1:])
    near_row, near_col = near[:-1] | near[1:], near[:, :-1] | near[:, 1:]
    row, first, last, row_near = _straights(along_row, along_col[:-1] | along_col[1:], near_row)
    col, top, bottom, col_near = _straights(along_col.T, (along_row[:, :-1] | along_row[:, 1:]).T, near_col.T)
    nodes = (
        np.concatenate(
            [
                np.stack([np.stack([first, row + 1], 1), np.stack([last, row + 1], 1)], 1),
                np.stack([np.stack([col + 1, top], 1), np.stack([col + 1, bottom], 1)], 1),
            ]
        )
        - 1.0
    )
    world = np.stack(apply(box.affine, nodes[..., 0], nodes[..., 1]), axis=-1)
    return np.asarray(shapely.linestrings(world), dtype=object).reshape(-1), np.concatenate([row_near, col_near])


def _differ(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.bool_]:
    differ: NDArray[np.bool_] = (first != second) & (first > 0) & (second > 0)
    return differ


def _straights(
    edges: NDArray[np.bool_], crossed: NDArray[np.bool_], near: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Unit edges joined to straight runs that break where a line across touches them.

    Args:
        edges: (n - 1, m) bool, unit edges along each inner lattice line.
        crossed: (n - 1, m - 1) bool, nodes inside each line that a line across touches.
        near: (n - 1, m) bool, unit edges near the edge of the field.

    Returns:
        line, first node, last node and whether any unit edge is near, for each run.
    """
    line, at = np.nonzero(edges)
    if not line.size:
        none = np.zeros(0, np.int64)
        return none, none, none, np.zeros(0, bool)
    breaks = np.zeros((edges.shape[0], edges.shape[1] + 1), bool)
    breaks[:, 1:-1] = crossed
    new = np.ones(line.size, bool)
    new[1:] = (line[1:] != line[:-1]) | (at[1:] != at[:-1] + 1) | breaks[line[1:], at[1:]]
    begin = np.flatnonzero(new)
    end = np.append(begin[1:], line.size) - 1
    return line[begin], at[begin], at[end] + 1, np.logical_or.reduceat(near[line, at], begin)
