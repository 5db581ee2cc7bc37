"""Field boundaries: read from a file, repaired, brought onto the grid, and turned into a mask of pixels.

Knows vectors and grids, no raster file. A pixel is inside if its centre is; the rule is evaluated in the coordinates of
the whole grid, so that the mask of a window is the same bits as that part of the mask of the whole grid.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from shapely.geometry import MultiPolygon, Polygon, shape

from geoseg.errors import BoundaryError, GeosegWarning
from geoseg.ortho.ground import apply
from geoseg.windows import Rect

__all__ = ["PixelMask", "check_overlap", "footprint", "outline", "polygonal", "read_boundary", "reproject_geometry"]

_EDGE_M = 100.0  # longer edges are split before they change CRS: 100 m bend by less than 1 mm


def read_boundary(path: str | Path, crs: pyproj.CRS) -> Polygon | MultiPolygon:
    """The field in a vector file (GeoPackage, shapefile, GeoJSON and what else GDAL reads), in `crs`.

    All polygons of the layer are dissolved. Where a file has several layers with polygons, the one named "boundary" is
    taken. Invalid polygons are repaired (`shapely.make_valid`), with a warning.

    Raises:
        BoundaryError: If the file cannot be read, has no polygons, no CRS, or several layers to choose from.
    """
    name = Path(path).name
    geometries, source = _read_layer(os.fspath(path), name)
    if source is None:
        raise BoundaryError(f"{name} has no CRS; add the .prj file or save it with its CRS")
    parts = shapely.force_2d(geometries)
    surfaces = parts[np.isin(shapely.get_type_id(parts), (3, 6, 7)) & ~shapely.is_empty(parts)]
    if surfaces.size == 0:
        kinds = sorted({str(part.geom_type) for part in parts if part is not None})
        found = f"only {' and '.join(kinds)}" if kinds else "no features"
        raise BoundaryError(f"{name} has {found}; expected polygons of the field")
    broken = ~shapely.is_valid(surfaces)
    if broken.any():
        reason = shapely.is_valid_reason(surfaces[broken][0])
        surfaces = np.where(broken, shapely.make_valid(surfaces), surfaces)
        warnings.warn(f"{name}: {int(broken.sum())} polygons were repaired ({reason})", GeosegWarning, stacklevel=3)
    field = polygonal(reproject_geometry(shapely.union_all(surfaces), pyproj.CRS(source), crs))
    if field.is_empty or field.area == 0:
        raise BoundaryError(f"{name} covers no area; expected polygons of the field")
    return field


def check_overlap(name: str, field: Polygon | MultiPolygon, ortho: Polygon | MultiPolygon) -> None:
    """Refuse a field that does not meet the ortho; warn if less than 95 % of it lies on the ortho.

    Both in the CRS of the working grid, in metres.

    Raises:
        BoundaryError: If they do not meet; gives the distance and both extents.
    """
    common = field.intersection(ortho).area
    if common == 0:
        extents = (", ".join(f"{value:.0f}" for value in part.bounds) for part in (field, ortho))
        text = "{} lies {:.0f} m from the ortho: the boundary spans {}, the ortho {} (left, bottom, right, top)"
        raise BoundaryError(text.format(name, field.distance(ortho), *extents))
    if common < 0.95 * field.area:
        share = common / field.area
        warnings.warn(f"{name}: only {share:.0%} of the field lies on the ortho", GeosegWarning, stacklevel=3)


def footprint(geobox: GeoBox, crs: pyproj.CRS) -> Polygon:
    """The rectangle of a grid as a polygon in `crs`."""
    rows, cols = geobox.shape
    corners = [apply(geobox.affine, *corner) for corner in ((0, 0), (cols, 0), (cols, rows), (0, rows))]
    outline = reproject_geometry(Polygon(corners), _crs_of(geobox), crs)
    return Polygon(outline.exterior)


def outline(valid: np.ndarray, affine: Affine, source: pyproj.CRS, target: pyproj.CRS) -> Polygon | MultiPolygon:
    """The outline of a coarse valid mask as polygons in `target`.

    Islands and holes under 1 m2 or 1 % of the largest island are dropped; the stairs of the pixels are smoothed by
    at most 1.5 coarse pixels. The largest island always stays.

    Args:
        valid: (h, w) bool with at least one True.
        affine: From its pixels to `source`.
        source: CRS of `affine`.
        target: CRS of the result, in metres.
    """
    from rasterio.features import shapes  # here: importing the package must stay fast

    found = shapes(valid.astype(np.uint8), mask=valid, connectivity=4)
    parts = shapely.simplify([shape(geometry) for geometry, _ in found], 1.5, preserve_topology=True)
    world = _moved(parts, partial(apply, affine))
    moved = [polygonal(reproject_geometry(part, source, target)) for part in world]
    largest = max(part.area for part in moved)
    limit = max(1.0, 0.01 * largest)
    kept = [part for part in moved if part.area >= min(limit, largest)]
    rings = [part for whole in kept for part in shapely.get_parts(whole)]
    filled = [
        Polygon(part.exterior, [ring for ring in part.interiors if Polygon(ring).area >= limit]) for part in rings
    ]
    return polygonal(shapely.union_all(filled))


def reproject_geometry(geometry: Any, source: pyproj.CRS, target: pyproj.CRS) -> Any:
    """The geometry in another CRS; edges over 100 m are split first, so that they stay where they were drawn.

    Raises:
        BoundaryError: If a coordinate has no place in the target CRS.
    """
    if source == target:
        return geometry
    metres = 1.0 / 111_000 if source.is_geographic else 1.0 / source.axis_info[0].unit_conversion_factor
    split = shapely.segmentize(geometry, _EDGE_M * metres)
    move = pyproj.Transformer.from_crs(source, target, always_xy=True)
    moved = _moved(split, move.transform)
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        raise BoundaryError(f"a coordinate of the boundary in {source.name} has no place in {target.name}")
    return moved if moved.is_valid else shapely.make_valid(moved)


def polygonal(geometry: Any) -> Polygon | MultiPolygon:
    """The part of any geometry that has an area; an empty polygon if there is none."""
    if isinstance(geometry, Polygon | MultiPolygon):
        return geometry
    parts = shapely.get_parts(shapely.get_parts(np.array([geometry], dtype=object)))
    merged = shapely.union_all(parts[shapely.get_type_id(parts) == 3])
    return merged if isinstance(merged, Polygon | MultiPolygon) else Polygon()


class PixelMask:
    """The pixels of a grid whose centres lie in a field, window by window.

    Even-odd scan conversion in the pixel coordinates of the whole grid: where the edges cross the centre line of a
    row does not depend on the window that asks.
    """

    def __init__(self, field: Polygon | MultiPolygon, geobox: GeoBox) -> None:
        """Prepare the edges of `field` (in the CRS of `geobox`) in pixel coordinates."""
        self._field = _moved(field, partial(apply, ~geobox.affine))
        shapely.prepare(self._field)
        rings = [shapely.get_coordinates(ring) for ring in shapely.get_rings(shapely.get_parts(self._field))]
        start = np.concatenate([ring[:-1] for ring in rings]) if rings else np.empty((0, 2))
        stop = np.concatenate([ring[1:] for ring in rings]) if rings else np.empty((0, 2))
        down = (start[:, 1] <= stop[:, 1])[:, None]
        self._upper, self._lower = np.where(down, start, stop), np.where(down, stop, start)

    def state(self, rect: Rect) -> bool | None:
        """True if the rectangle lies inside the field, False if outside, None if the edge runs through it."""
        box = shapely.box(rect.col0, rect.row0, rect.col1, rect.row1)
        if self._field.disjoint(box):
            return False
        return True if self._field.contains(box) else None

    def pixels(self, rect: Rect) -> np.ndarray:
        """(H, W) bool, True where the pixel centre lies inside."""
        state = self.state(rect)
        if state is not None:
            return np.full(rect.shape, state)
        height, width = rect.shape
        # rows whose centre line the edge crosses: y of the upper end <= row + 0.5 < y of the lower end
        first = np.clip(np.ceil(self._upper[:, 1] - 0.5), rect.row0, rect.row1).astype(np.int64)
        last = np.clip(np.ceil(self._lower[:, 1] - 0.5), rect.row0, rect.row1).astype(np.int64)
        count = last - first
        edge = np.repeat(np.arange(count.size), count)
        row = np.arange(edge.size) - np.repeat(np.cumsum(count) - count, count) + first[edge]
        (x0, y0), (x1, y1) = self._upper[edge].T, self._lower[edge].T
        x = x0 + (row + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
        col = np.clip(np.ceil(x - 0.5), rect.col0, rect.col1).astype(np.int64)
        crossings = np.zeros((height, width + 1), np.int32)
        np.add.at(crossings, (row - rect.row0, col - rect.col0), 1)
        inside: np.ndarray = np.cumsum(crossings[:, :-1], axis=1) % 2 == 1
        return inside


def _moved(geometry: Any, move: Callable[[Any, Any], Any]) -> Any:
    def both(points: np.ndarray) -> np.ndarray:
        return np.column_stack(move(points[:, 0], points[:, 1]))

    return shapely.transform(geometry, both)


def _read_layer(path: str, name: str) -> tuple[np.ndarray, str | None]:
    import pyogrio.raw  # here: importing the package must stay fast
    from pyogrio.errors import DataLayerError, DataSourceError

    try:
        layers = pyogrio.list_layers(path)
        if len(layers) == 0:
            raise BoundaryError(f"{name} has no layers; expected polygons of the field")
        layer = _pick_layer(layers, name)
        meta, _, wkb, _ = pyogrio.raw.read(path, layer=layer, columns=[])
    except (DataSourceError, DataLayerError) as error:
        raise BoundaryError(f"{name} is not a boundary that can be read: {' '.join(str(error).split())}") from error
    if wkb is None:
        raise BoundaryError(f"{name} is a table without geometries; expected polygons of the field")
    return shapely.from_wkb(wkb), meta["crs"]


def _pick_layer(layers: np.ndarray, name: str) -> str:
    names = [str(layer) for layer, _ in layers]
    surfaces = [str(layer) for layer, kind in layers if "Polygon" in str(kind) or str(kind) == "Unknown"]
    named = [layer for layer in names if layer.lower() == "boundary"]
    choice = named or surfaces or names
    if len(choice) > 1:
        raise BoundaryError(f"{name} has the layers {', '.join(choice)}; name the one of the field 'boundary'")
    return choice[0]


def _crs_of(geobox: GeoBox) -> pyproj.CRS:
    if geobox.crs is None:
        raise BoundaryError("the grid has no CRS; pass --crs")
    return geobox.crs.proj
