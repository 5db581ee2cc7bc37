"""The lattice of cells in the machine's frame, and how much of each cell lies in the field. Knows no pixels.

Columns run across the track, one section wide; rows run along it. With a heading of 0 the lattice is a north-up grid;
the first row is the farthest in driving direction, as in a picture. Headings are degrees clockwise from the grid north
of the CRS, which differs from true north by the meridian convergence (`true_heading`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from shapely import MultiPolygon, Polygon

from geoseg.errors import PrescriptionError

__all__ = ["MAX_CELLS", "apply", "field_share", "heading_of", "lattice", "true_heading"]

MAX_CELLS = 50_000_000
"""Most cells of a lattice. 100 ha in cells of 0.25 m are 16 million; a field lying askew needs up to twice as many."""

_ROWS_AT_ONCE = 4_000_000


def apply(affine: Affine, x: Any, y: Any) -> tuple[Any, Any]:
    """Points moved by a transform; written out because affine 2 and 3 spell it differently."""
    return affine.a * x + affine.b * y + affine.c, affine.d * x + affine.e * y + affine.f


def heading_of(boundary: Polygon | MultiPolygon) -> float:
    """Direction of the longest side of the field's minimum rotated rectangle, degrees from grid north in [0, 180)."""
    points = shapely.get_coordinates(boundary)
    near_zero = shapely.multipoints(points - points.mean(axis=0))  # large coordinates would cost digits
    corners = shapely.get_coordinates(shapely.minimum_rotated_rectangle(near_zero))
    sides = np.diff(corners, axis=0)
    lengths = np.hypot(*sides.T)
    headings = np.round(np.degrees(np.arctan2(sides[:, 0], sides[:, 1])) % 180, 9) % 180
    longest = headings[lengths > lengths.max() * (1 - 1e-9)]
    return float(longest.min())


def true_heading(box: GeoBox, heading_deg: float) -> float:
    """The same direction at the middle of `box`, degrees clockwise from true north in [0, 360)."""
    import pyproj

    rows, cols = box.shape
    x, y = apply(box.affine, cols / 2, rows / 2)
    proj = pyproj.Proj(box.crs.to_wkt() if box.crs else None)
    convergence = proj.get_factors(*proj(x, y, inverse=True)).meridian_convergence
    return float((heading_deg + convergence) % 360)


def lattice(boundary: Polygon | MultiPolygon, crs: Any, cell_m: tuple[float, float], heading_deg: float) -> GeoBox:
    """The cells that cover a field.

    Args:
        boundary: The field in `crs`.
        crs: A projected CRS in metres, anything that odc-geo takes.
        cell_m: (width across the track, length along it) of a cell.
        heading_deg: Driving direction, degrees clockwise from grid north.

    Returns:
        A rotated GeoBox; column 0 starts where the field starts on the left, row 0 where it ends ahead.

    Raises:
        PrescriptionError: If the field is empty or would need more than `MAX_CELLS` cells.
    """
    if boundary.is_empty or boundary.area <= 0:
        raise PrescriptionError("the field boundary is empty; give a polygon with an area, in the CRS of the map")
    width, length = cell_m
    cos, sin = _cos_sin(heading_deg)
    points = shapely.get_coordinates(boundary)
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    across = (points - centre) @ (cos, -sin)
    along = (points - centre) @ (sin, cos)
    cols, rows = (max(math.ceil(np.ptp(v) / s - 1e-9), 1) for v, s in ((across, width), (along, length)))
    if rows * cols > MAX_CELLS:
        raise PrescriptionError(
            f"cells of {width:g} x {length:g} m need a lattice of {rows * cols:,} cells over this field; at most "
            f"{MAX_CELLS:,} are supported; use wider sections or longer cells, or cut the field"
        )
    origin = centre + across.min() * np.array((cos, -sin)) + along.max() * np.array((sin, cos))
    affine = Affine(width * cos, -length * sin, origin[0], -width * sin, -length * cos, origin[1])
    return GeoBox((rows, cols), affine, crs)


def field_share(boundary: Polygon | MultiPolygon, box: GeoBox) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """How much of each cell lies in the field, exactly, and which cells the field's edge runs through.

    Every edge is cut at the lattice lines; each piece adds its signed area to its cell and its height to the cells
    after it, and a running sum along the row gives the shares. No polygon is clipped.

    Args:
        boundary: The field, valid, in the CRS of `box`.
        box: The lattice.

    Returns:
        share: (rows, cols) float32, 0..1.
        edge: (rows, cols) bool.

    Reference:
        The accumulation buffer of anti-aliased font rasterisers, as described by R. Levien,
        https://medium.com/@raphlinus/inside-the-fastest-font-renderer-in-the-world-75ae5270c445
    """
    rows, cols = box.shape
    row, col, height, part = _pieces(boundary, box)
    share = np.empty((rows, cols), np.float32)
    step = max(_ROWS_AT_ONCE // (cols + 1), 1)
    for row0 in range(0, rows, step):
        row1 = min(row0 + step, rows)
        first, last = np.searchsorted(row, (row0, row1))
        index = (row[first:last] - row0) * (cols + 1) + col[first:last]
        size = (row1 - row0) * (cols + 1)
        sums = np.bincount(index, height[first:last] * (1 - part[first:last]), size)
        sums += np.bincount(index + 1, height[first:last] * part[first:last], size + 1)[:size]
        share[row0:row1] = np.abs(sums.reshape(-1, cols + 1).cumsum(axis=1)[:, :cols])
    share[share < 1e-7] = 0
    share[share > 1 - 1e-6] = 1
    edge = np.zeros((rows, cols), bool)
    edge[row, col] = True
    return share, edge


def _pieces(
    boundary: Polygon | MultiPolygon, box: GeoBox
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """The field's edges cut at the lattice lines, by row: row, column, signed height and mean distance into the cell.

    The last two are in cells. Holes run the other way round than shells, so their areas count as negative.
    """
    rings = shapely.get_rings(shapely.get_parts(shapely.orient_polygons(boundary)))
    points, ring = shapely.get_coordinates(rings, return_index=True)
    x, y = apply(~box.affine, points[:, 0], points[:, 1])
    same = ring[1:] == ring[:-1]
    x0, y0, x1, y1 = x[:-1][same], y[:-1][same], x[1:][same], y[1:][same]
    edges = np.arange(len(x0))
    cut_x, at_x = _crossings(x0, x1)
    cut_y, at_y = _crossings(y0, y1)
    edge = np.concatenate([edges, cut_x, cut_y])
    start = np.concatenate([np.zeros(len(x0)), at_x, at_y])
    order = np.lexsort((start, edge))
    edge, start = edge[order], start[order]
    end = np.append(start[1:], 1.0)
    end[np.flatnonzero(np.diff(edge, append=-1))] = 1.0
    middle = (start + end) / 2
    cell_x = x0[edge] + middle * (x1 - x0)[edge]
    cell_y = y0[edge] + middle * (y1 - y0)[edge]
    col = np.clip(np.floor(cell_x), 0, box.shape[1] - 1).astype(np.int64)
    row = np.clip(np.floor(cell_y), 0, box.shape[0] - 1).astype(np.int64)
    height = (end - start) * (y1 - y0)[edge]
    by_row = np.argsort(row, kind="stable")
    part = np.clip(cell_x - col, 0, 1)
    return row[by_row], col[by_row], height[by_row], part[by_row]


def _crossings(first: NDArray[np.float64], last: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Where edges cross whole numbers: the edge's index, and how far along it (0..1) for each crossing."""
    low, high = np.minimum(first, last), np.maximum(first, last)
    begin = np.floor(low) + 1
    count = np.maximum(np.ceil(high) - begin, 0).astype(np.int64)
    edge = np.repeat(np.arange(len(first)), count)
    nth = np.arange(count.sum()) - np.repeat(count.cumsum() - count, count)
    at = (begin[edge] + nth - first[edge]) / (last - first)[edge]
    return edge, np.clip(at, 0, 1)


def _cos_sin(heading_deg: float) -> tuple[float, float]:
    """Cosine and sine, exact at the four quarters."""
    if heading_deg % 90 == 0:
        return ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[int(heading_deg // 90) % 4]
    angle = math.radians(heading_deg)
    return math.cos(angle), math.sin(angle)
