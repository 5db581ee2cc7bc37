"""Ground with a rule of its own: headlands and places that are never sprayed, as masks of cells. Knows no weeds."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from shapely import MultiPolygon, Polygon

from geoseg.errors import BoundaryError, GeosegWarning, PrescriptionError
from geoseg.ortho.boundary import polygonal, read_boundary
from geoseg.spray.grid import apply, field_share

__all__ = ["headland_cells", "read_exclusions", "touched_cells"]

_SHARE = 1e-6


def headland_cells(
    boundary: Polygon | MultiPolygon, box: GeoBox, share: NDArray[np.float32], width_m: float
) -> NDArray[np.bool_]:
    """Cells with ground nearer than `width_m` to the outer edge of the field; holes have no headland.

    Args:
        boundary: The field in the CRS of `box`.
        box: The lattice.
        share: (rows, cols) share of each cell in the field.
        width_m: Width of the headland, metres.
    """
    shells = [Polygon(part.exterior) for part in shapely.get_parts(boundary)]
    inner = polygonal(shapely.union_all(shapely.buffer(shells, -width_m, join_style="mitre")))
    inner = polygonal(inner.intersection(boundary))
    if inner.is_empty:
        return np.asarray(share > 0)
    inner_share, _ = field_share(inner, box)
    return np.asarray(share - inner_share > _SHARE)


def read_exclusions(path: str, crs: Any, buffer_m: float) -> Polygon | MultiPolygon:
    """The ground in a polygon file that is never sprayed, in `crs`, with everything nearer than `buffer_m` to it.

    Args:
        path: GeoPackage, shapefile, GeoJSON, KML and what else GDAL reads.
        crs: CRS of the map, in metres.
        buffer_m: How much is added around it, metres.

    Raises:
        PrescriptionError: If the file cannot be read or holds no polygons.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", GeosegWarning)  # a repaired polygon excludes what it covered
            found = read_boundary(path, pyproj.CRS(str(crs)))
    except BoundaryError as error:
        raise PrescriptionError(f"spray.exclusions: {error}") from error
    return polygonal(shapely.buffer(found, buffer_m)) if buffer_m > 0 else found


def touched_cells(ground: Polygon | MultiPolygon, box: GeoBox) -> NDArray[np.bool_]:
    """Cells that have any ground in common with polygons: a nozzle cannot stop at a line within its band.

    Args:
        ground: In the CRS of `box`; may reach beyond the lattice.
        box: The lattice.
    """
    rows, cols = box.shape
    corners = [apply(box.affine, x, y) for x, y in ((0, 0), (cols, 0), (cols, rows), (0, rows))]
    within = polygonal(shapely.intersection(ground, Polygon(corners)))
    if within.is_empty:
        return np.zeros((rows, cols), bool)
    share, edge = field_share(within, box)
    return np.asarray((share > 0) | edge)
