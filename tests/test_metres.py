"""Metres are metres: one field, drawn by formula in metres, comes out with the same areas from any kind of raster."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.control import GroundControlPoint

from geoseg.errors import OrthoError
from geoseg.ortho import Ortho, OrthoConfig
from geoseg.ortho.ground import apply, pixel_size
from geoseg.windows import blocks
from rasters import Gsd, write

PLANE = pyproj.CRS("EPSG:26915")  # NAD83 / UTM zone 15N; the field lies in Iowa
WEST, NORTH, WIDTH_M, HEIGHT_M = 480_000.0, 4_660_000.0, 9.0, 7.0
STEP_M = 0.007
FIELD = shapely.Polygon(
    [(WEST + 0.6, NORTH - 0.4), (WEST + 8.5, NORTH - 0.9), (WEST + 7.9, NORTH - 6.6), (WEST + 0.9, NORTH - 6.1)]
)
PITCH_M = 1.13
CENTRES = [(WEST + 1.6 + PITCH_M * i, NORTH - 1.6 - PITCH_M * j) for i in range(6) for j in range(4)]
RADIUS_M = 0.31
GREEN, SOIL = (110, 150, 60), (150, 110, 90)  # halfway between both, red equals green


def draw(crs: pyproj.CRS, affine: Affine, shape: tuple[int, int]) -> np.ndarray:
    """(4, H, W) uint8: green discs on soil within the field, by where each pixel's centre lies in the plane."""
    row, col = np.mgrid[: shape[0], : shape[1]]
    x, y = apply(affine, col + 0.5, row + 0.5)
    x, y = pyproj.Transformer.from_crs(crs, PLANE, always_xy=True).transform(x, y)
    x0, y0 = CENTRES[0]
    nearest_x = x0 + PITCH_M * np.clip(np.round((x - x0) / PITCH_M), 0, 5)
    nearest_y = y0 - PITCH_M * np.clip(np.round((y0 - y) / PITCH_M), 0, 3)
    green = (x - nearest_x) ** 2 + (y - nearest_y) ** 2 < RADIUS_M**2
    image = np.where(green[None], np.array(GREEN)[:, None, None], np.array(SOIL)[:, None, None])
    inside = shapely.contains_xy(FIELD, x, y)
    return np.concatenate([image * inside, 255 * inside[None]]).astype(np.uint8)


def corners() -> np.ndarray:
    return np.array([(WEST + i * WIDTH_M, NORTH - j * HEIGHT_M) for i in (0, 1) for j in (0, 1)])


def north_up(code: str, aspect: float = 1.0) -> tuple[pyproj.CRS, Affine, tuple[int, int]]:
    """A raster of about `STEP_M` on the ground that covers the field in a CRS of any unit."""
    crs = pyproj.CRS(code)
    x, y = pyproj.Transformer.from_crs(PLANE, crs, always_xy=True).transform(*corners().T)
    cols, rows = round(WIDTH_M / STEP_M), round(HEIGHT_M / STEP_M / aspect)
    left, top = min(x), max(y)
    return crs, Affine((max(x) - left) / cols, 0, left, 0, -(top - min(y)) / rows, top), (rows, cols)


def turned(degrees: float, shear: float = 0.0) -> tuple[pyproj.CRS, Affine, tuple[int, int]]:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    # first scale (rows downwards), then shear, then turn about the middle of the field
    a, b, d, e = c * STEP_M, (c * shear + s) * STEP_M, s * STEP_M, (s * shear - c) * STEP_M
    cols = rows = round(11.5 / STEP_M)
    x, y = WEST + WIDTH_M / 2, NORTH - HEIGHT_M / 2
    affine = Affine(a, b, x - (a * cols + b * rows) / 2, d, e, y - (d * cols + e * rows) / 2)
    return PLANE, affine, (rows, cols)


PLACES = {
    "utm": north_up("EPSG:26915"),
    "utm neighbour zone": north_up("EPSG:26914"),
    "degrees": north_up("EPSG:4326"),
    "degrees, NAD83": north_up("EPSG:4269"),
    "US survey feet": north_up("EPSG:3417"),
    "web mercator": north_up("EPSG:3857"),
    "oblong pixels": north_up("EPSG:26915", aspect=1.25),
    "rotated": turned(27),
    "rotated by a right angle": turned(90),
    "sheared": turned(0, shear=0.3),
}


def areas(ortho: Ortho) -> tuple[float, float]:
    """(valid, green) square metres, block by block through the reader."""
    grid = ortho.working_grid(Gsd())
    valid_px = green_px = 0
    with ortho.reader(grid) as reader:
        for rect in blocks(tuple(grid.shape), 700):
            image, valid = reader.read(rect)
            valid_px += int(valid.sum())
            green_px += int((valid & (image[1].astype(int) > image[0])).sum())
    metre = abs(grid.affine.a * grid.affine.e)
    return valid_px * metre, green_px * metre


@pytest.mark.parametrize("place", PLACES)
def test_areas_do_not_depend_on_the_raster(tmp_path: Path, place: str) -> None:
    crs, affine, shape = PLACES[place]
    drawn = draw(crs, affine, shape)
    path = write(tmp_path / "ortho.tif", drawn[:3], alpha=drawn[3], transform=affine, crs=crs.to_wkt())
    valid, green = areas(Ortho.open(path))
    assert valid == pytest.approx(FIELD.area, rel=1e-3)
    assert green == pytest.approx(len(CENTRES) * math.pi * RADIUS_M**2, rel=1e-3)


@pytest.mark.parametrize("code", ["EPSG:26915", "EPSG:4326"])
def test_ground_control_points_place_a_raster(tmp_path: Path, code: str) -> None:
    _, affine, (rows, cols) = north_up("EPSG:26915")
    move = pyproj.Transformer.from_crs(PLANE, code, always_xy=True)
    pixels = [(r, c) for r in (0, rows / 2, rows) for c in (0, cols)]
    points = [GroundControlPoint(r, c, *move.transform(*apply(affine, c, r))) for r, c in pixels]
    drawn = draw(PLANE, affine, (rows, cols))
    path = write(tmp_path / "ortho.tif", drawn[:3], alpha=drawn[3], gcps=points, crs=code)
    valid, green = areas(Ortho.open(path))
    assert valid == pytest.approx(FIELD.area, rel=1e-3)
    assert green == pytest.approx(len(CENTRES) * math.pi * RADIUS_M**2, rel=1e-3)


def test_ground_control_points_that_bend_are_refused(tmp_path: Path) -> None:
    _, affine, (rows, cols) = north_up("EPSG:26915")
    points = [
        GroundControlPoint(r, c, apply(affine, c, r)[0] + 0.2 * (r > 0 and c > 0), apply(affine, c, r)[1])
        for r in (0, rows)
        for c in (0, cols)
    ]
    path = write(tmp_path / "bent.tif", np.full((3, rows, cols), 99, np.uint8), gcps=points, crs="EPSG:26915")
    with pytest.raises(OrthoError, match=r"bent.tif miss a plane by .* pixels; rectify it first with gdalwarp"):
        Ortho.open(path)


@pytest.mark.parametrize("place", PLACES)
def test_gsd_is_the_true_size_of_a_pixel(place: str) -> None:
    crs, affine, (rows, cols) = PLACES[place]
    frame = [apply(affine, *corner) for corner in ((0, 0), (cols, 0), (cols, rows), (0, rows))]
    to_degrees = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    area, _ = crs.get_geod().polygon_area_perimeter(*to_degrees.transform(*np.transpose(frame)))
    assert pixel_size(GeoBox((rows, cols), affine, crs)).gsd_m == pytest.approx(
        math.sqrt(abs(area) / rows / cols), rel=1e-5
    )


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("utm", 26915),
        ("utm neighbour zone", 26915),
        ("degrees", 32615),
        ("degrees, NAD83", 26915),
        ("US survey feet", 26915),
        ("web mercator", 32615),
        ("rotated", 26915),
    ],
)
def test_the_working_grid_is_metric_on_the_same_datum(tmp_path: Path, place: str, code: int) -> None:
    crs, affine, (rows, cols) = PLACES[place]
    path = write(tmp_path / "ortho.tif", np.full((3, rows, cols), 99, np.uint8), transform=affine, crs=crs.to_wkt())
    ortho = Ortho.open(path)
    grid = ortho.working_grid(Gsd())
    assert grid.crs is not None
    assert grid.crs.epsg == code
    assert (grid.affine.b, grid.affine.d) == (0, 0)
    assert grid == ortho.geobox if place == "utm" else grid.affine.a == -grid.affine.e
    assert 0.0025 <= grid.affine.a <= 0.008 * 1.005
    inside = shapely.box(*grid.boundingbox.bbox)  # every corner of the raster lies on the grid
    to_grid = pyproj.Transformer.from_crs(crs, code, always_xy=True)
    frame = [apply(affine, *corner) for corner in ((0, 0), (cols, 0), (cols, rows), (0, rows))]
    assert inside.buffer(1e-6).contains(shapely.MultiPoint(np.column_stack(to_grid.transform(*np.transpose(frame)))))


def test_coordinates_that_cannot_lie_in_the_crs_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "ortho.tif", np.full((3, 40, 40), 99, np.uint8), crs="EPSG:4326")
    with pytest.raises(OrthoError, match="cannot lie in WGS 84"):
        Ortho.open(path)


def test_a_place_of_no_importance_for_an_ortho_without_one(tmp_path: Path) -> None:
    path = write(tmp_path / "ortho.tif", np.full((3, 300, 400), 99, np.uint8), transform=None, crs=None)
    ortho = Ortho.open(path, OrthoConfig(gsd_m=0.004))
    assert (ortho.nominal, ortho.gsd_m) == (True, 0.004)
    assert ortho.working_grid(Gsd()) == ortho.geobox
    assert ortho.geobox.crs is not None
    assert ortho.geobox.crs.epsg == 32631
    assert areas(ortho)[0] == pytest.approx(300 * 400 * 0.004**2)
