"""Whether polygons form a coverage: no overlap, and every inner edge shared vertex for vertex. Knows nothing else.

GEOS has a test for this that takes minutes on a zone with ten thousand holes; this one sorts edges instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

__all__ = ["coverage_union"]


def coverage_union(polygons: NDArray[Any]) -> Any | None:
    """The union of polygons that form a coverage; None where they do not.

    Each edge of a coverage is on the outside or is run through in both directions, by the polygons on its two sides.
    The polygons all turn the same way, so how often they cover a point is the winding number of the edges that are
    left when those pairs are taken out. Where these are the whole outline of a valid area as large as the polygons
    together, no point is covered twice.

    Args:
        polygons: (n,) valid polygons.
    """
    rings = shapely.get_rings(shapely.get_parts(shapely.orient_polygons(polygons)))
    points, ring = shapely.get_coordinates(rings, return_index=True)
    vertices, vertex = np.unique(points, axis=0, return_inverse=True)
    inner = np.flatnonzero(ring[1:] == ring[:-1])
    start, end = vertex.reshape(-1)[inner], vertex.reshape(-1)[inner + 1]
    edge, back = start * len(vertices) + end, end * len(vertices) + start
    if np.unique(edge).size < edge.size:
        return None
    outside = ~np.isin(edge, back)
    lines: Any = shapely.linestrings(np.stack([vertices[start[outside]], vertices[end[outside]]], axis=1))
    union: Any = shapely.build_area(shapely.geometrycollections(lines))
    area = float(shapely.area(polygons).sum())
    length = float(shapely.length(lines).sum())
    same = abs(union.area - area) <= 1e-9 * area and abs(union.length - length) <= 1e-9 * length
    return union if same and shapely.is_valid(union) else None
