"""Plants per cell: points binned by the affine transform of the lattice. Reads ``field.gpkg``, and no raster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from shapely import MultiPolygon, Polygon

from geoseg.errors import PrescriptionError
from geoseg.spray.grid import apply

__all__ = ["PlantCounts", "count_plants", "count_points"]

_AT_ONCE = 200_000


@dataclass(frozen=True, eq=False)
class PlantCounts:
    """Plants per cell.

    Attributes:
        weed: (rows, cols) int32; plants that touch are one patch and count once.
        crop: (rows, cols) int32.
    """

    weed: NDArray[np.int32]
    crop: NDArray[np.int32]


def count_plants(package: Path | str, box: GeoBox, boundary: Polygon | MultiPolygon) -> PlantCounts:
    """Weed and crop plants of a run, counted in the cells of a lattice.

    A run whose network points at single weed plants has a layer of them; otherwise each weed patch is one plant. A
    patch counts where a point inside it lies, so that it counts once, and where weed is.

    Args:
        package: ``field.gpkg`` of the run, in the CRS of `box`.
        box: The lattice.
        boundary: The field; what lies outside counts nowhere.

    Raises:
        PrescriptionError: If the file cannot be read.
    """
    weed, crop = np.zeros(box.shape, np.int32), np.zeros(box.shape, np.int32)
    shapely.prepare(boundary)
    for counts, layer in ((weed, _weed_layer(package)), (crop, "plants")):
        for points in _points(package, layer):
            count_points(points, box, boundary, counts)
    return PlantCounts(weed, crop)


def count_points(
    points: NDArray[np.float64], box: GeoBox, boundary: Polygon | MultiPolygon, counts: NDArray[np.int32]
) -> None:
    """Add points to the cells in which they lie, in place.

    Args:
        points: (n, 2) x and y in the CRS of `box`.
        box: The lattice.
        boundary: The field; what lies outside counts nowhere.
        counts: (rows, cols) int32.
    """
    points = points[shapely.contains_xy(boundary, points)]
    x, y = apply(~box.affine, points[:, 0], points[:, 1])
    col, row = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    inside = (row >= 0) & (col >= 0) & (row < counts.shape[0]) & (col < counts.shape[1])
    np.add.at(counts, (row[inside], col[inside]), 1)


def _weed_layer(package: Path | str) -> str:
    from pyogrio import list_layers, read_info
    from pyogrio.errors import DataSourceError

    try:
        layers = {str(name) for name, _ in list_layers(package)}
        single = "weed_plants" in layers and read_info(package, layer="weed_plants")["features"] > 0
    except DataSourceError as error:
        raise PrescriptionError(f"{package} cannot be read to count plants: {error}") from error
    return "weed_plants" if single else "weeds"


def _points(package: Path | str, layer: str) -> Iterator[NDArray[np.float64]]:
    """A point of each feature, in pieces of bounded size."""
    from pyogrio.errors import DataLayerError, DataSourceError
    from pyogrio.raw import read

    skip = 0
    while True:
        try:
            _, _, wkb, _ = read(package, layer=layer, columns=[], skip_features=skip, max_features=_AT_ONCE)
        except (DataSourceError, DataLayerError) as error:
            raise PrescriptionError(f"{package} has no layer {layer!r} to count: {error}") from error
        found: Any = shapely.from_wkb(wkb)
        if len(found):
            yield shapely.get_coordinates(shapely.point_on_surface(found))
        if len(found) < _AT_ONCE:
            return
        skip += _AT_ONCE
