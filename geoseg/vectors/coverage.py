"""Neighbouring polygons simplified together, so that what they share stays shared."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import Polygon

__all__ = ["simplify"]


def simplify(geometries: Iterable[Polygon], tolerance_m: float) -> list[Polygon]:
    """The polygons with fewer corners; what was shared stays shared, so no gap or overlap appears between them.

    Neighbours must be given together. Corners of one polygon that lie within a side of another are first made corners
    of both, then the coverage is simplified as a whole.

    Args:
        geometries: Polygons that do not overlap.
        tolerance_m: In the unit of the coordinates; about the square root of the area of the triangles that go.

    Raises:
        ValueError: If the tolerance is negative.

    Reference:
        Visvalingam and Whyatt (1993), https://doi.org/10.1179/000870493786962263, as GEOS applies it to coverages.
    """
    if not tolerance_m >= 0:
        raise ValueError(f"tolerance_m is {tolerance_m}; expected 0 or more")
    polygons = np.array(list(geometries), dtype=object)
    if not polygons.size:
        return []
    return list(shapely.coverage_simplify(_share_corners(polygons), tolerance_m))


def _share_corners(polygons: NDArray[np.object_]) -> NDArray[np.object_]:
    """The polygons with every corner of another that lies on one of their sides added."""
    kind, points, (rings, parts) = shapely.to_ragged_array(polygons)
    ends = np.delete(np.arange(len(points) - 1), rings[1:-1] - 1)
    sides = np.asarray(shapely.linestrings(np.stack([points[ends], points[ends + 1]], axis=1)), dtype=object)
    corners = np.unique(points, axis=0)
    nodes = np.asarray(shapely.points(corners), dtype=object)
    near = np.abs(points).max() * 4 * np.finfo(np.float64).eps
    side, corner = shapely.STRtree(nodes).query(sides, predicate="dwithin", distance=near)
    along = np.asarray(shapely.line_locate_point(sides[side], nodes[corner]))
    inner = (along > near) & (along < shapely.length(sides[side]) - near)
    if not inner.any():
        return polygons
    side, corner, along = side[inner], corner[inner], along[inner]
    order = np.lexsort((along, side))
    after = ends[side[order]] + 1
    added = np.append(0, np.cumsum(np.bincount(after, minlength=len(points) + 1)))
    points = np.insert(points, after, corners[corner[order]], axis=0)
    return np.asarray(shapely.from_ragged_array(kind, points, (rings + added[rings], parts)), dtype=object)
