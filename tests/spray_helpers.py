"""Fields, class rasters and polygons that the tests of spray and export share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
import shapely
from affine import Affine
from hypothesis import strategies as st
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from shapely import Polygon

from geoseg.spray import SprayConfig
from geoseg.spray.prescription import Prescription, plan

UTM = "EPSG:32632"
EAST, NORTH = 691_234.5, 5_334_567.25


def write_classes(
    path: Path, pixels: NDArray[np.uint8], pixel_m: float = 0.05, *, transform: Affine | None = None
) -> Path:
    """A class raster whose lower left corner lies at (EAST, NORTH)."""
    height, width = pixels.shape
    transform = transform or Affine(pixel_m, 0, EAST, 0, -pixel_m, NORTH + height * pixel_m)
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "height": height, "width": width, "nodata": 255}
    tiles = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "lzw"}
    with rasterio.open(path, "w", crs=UTM, transform=transform, **profile, **tiles) as sink:
        sink.write(pixels, 1)
    return path


def paint(shape: tuple[int, int], pixel_m: float, weed: Callable[[NDArray, NDArray], NDArray]) -> NDArray[np.uint8]:
    """Classes that are weed where `weed(x, y)` of metres from the lower left corner says so, soil elsewhere."""
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    x, y = (cols + 0.5) * pixel_m, (shape[0] - rows - 0.5) * pixel_m
    return np.where(weed(x, y), 2, 0).astype(np.uint8)


def rectangle(width_m: float, height_m: float, *, at: tuple[float, float] = (0.0, 0.0)) -> Polygon:
    """A rectangle with its lower left corner `at` metres from (EAST, NORTH)."""
    west, south = EAST + at[0], NORTH + at[1]
    return shapely.box(west, south, west + width_m, south + height_m)


def plan_of_one_spot(folder: Path) -> Prescription:
    """A field of 20 x 20 m with a round weed spot, sprayed along 27 degrees."""
    spot = paint((400, 400), 0.05, lambda x, y: np.hypot(x - 9, y - 12) < 3)
    path = write_classes(folder / "classes.tif", spot)
    return plan(path, rectangle(20, 20), SprayConfig(heading_deg=27))


def plan_of_two_spots(folder: Path) -> Prescription:
    """A field of 30 x 40 m with two round weed spots, sprayed along 27 degrees."""
    spots = paint((800, 600), 0.05, lambda x, y: (np.hypot(x - 8, y - 10) < 2) | (np.hypot(x - 20, y - 28) < 3))
    path = write_classes(folder / "classes.tif", spots)
    return plan(path, rectangle(30, 40), SprayConfig(heading_deg=27))


def cell_polygons(box: GeoBox) -> NDArray[np.object_]:
    """(rows, cols) polygons of all cells of a lattice, by shapely alone."""
    rows, cols = np.mgrid[: box.shape[0], : box.shape[1]]
    corners = [(cols + i, rows + j) for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))]
    affine = box.affine
    points = [
        np.stack([affine.a * c + affine.b * r + affine.c, affine.d * c + affine.e * r + affine.f], -1)
        for c, r in corners
    ]
    return np.asarray(shapely.polygons(np.stack(points, axis=-2)))


@st.composite
def fields_of_any_shape(draw: st.DrawFn, *, radius_m: float = 12.0) -> shapely.Geometry:
    """Star-shaped fields, concave as a rule, some with a hole, some with a second part."""
    corners = draw(st.integers(3, 12))
    radii = draw(st.lists(st.floats(0.3, 1.0), min_size=corners, max_size=corners))
    turn = draw(st.floats(0, 6.3))
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False) + turn
    ring = np.stack([np.cos(angles), np.sin(angles)], 1) * np.array(radii)[:, None] * radius_m + (EAST + 20, NORTH + 20)
    field = shapely.make_valid(Polygon(ring))
    if draw(st.booleans()):
        field = field.difference(shapely.Point(EAST + 20, NORTH + 20).buffer(draw(st.floats(0.05, 2.0)), quad_segs=3))
    if draw(st.booleans()):
        field = field.union(rectangle(3, 5, at=(36, 18)))
    parts = [part for part in shapely.get_parts(field) if part.geom_type == "Polygon" and part.area > 0.01]
    return shapely.union_all(parts) if parts else rectangle(10, 10, at=(15, 15))
