from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from exactextract import exact_extract
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoseg.errors import PrescriptionError
from geoseg.spray.aggregate import aggregate, raster_geobox
from geoseg.spray.grid import field_share, lattice
from spray_helpers import EAST, NORTH, UTM, cell_polygons, fields_of_any_shape, rectangle, write_classes


def noise(shape, seed, *, nodata=0.1, dense=False):
    rng = np.random.default_rng(seed)
    chances = [0.3, 0.4, 0.3] if dense else [0.95, 0.03, 0.02]
    pixels = rng.choice(3, shape, p=chances).astype(np.uint8)
    holes = rng.random((-(-shape[0] // 32), -(-shape[1] // 32))) < nodata
    pixels[np.kron(holes, np.ones((32, 32), bool))[: shape[0], : shape[1]]] = 255
    return pixels


def pixel_by_pixel(path, box, field):
    """Counts by placing every pixel centre alone: the slow way that cannot go wrong."""
    with rasterio.open(path) as source:
        pixels, t = source.read(1), source.transform
    rows, cols = np.mgrid[: pixels.shape[0], : pixels.shape[1]] + 0.5
    x, y = t.a * cols + t.b * rows + t.c, t.d * cols + t.e * rows + t.f
    inverse = ~box.affine
    col = np.floor(inverse.a * x + inverse.b * y + inverse.c).astype(int)
    row = np.floor(inverse.d * x + inverse.e * y + inverse.f).astype(int)
    inside = shapely.contains_xy(field, x, y) & (row >= 0) & (col >= 0) & (row < box.shape[0]) & (col < box.shape[1])
    counts = np.zeros((3, *box.shape), int)
    for nth, mask in enumerate((pixels == 2, pixels == 1, pixels != 255)):
        np.add.at(counts[nth], (row[mask & inside], col[mask & inside]), 1)
    return counts


@pytest.fixture(scope="module")
def rasters(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classes")
    sparse = write_classes(folder / "sparse.tif", noise((700, 640), 1), np.pi / 51)
    dense = write_classes(folder / "dense.tif", noise((700, 640), 2, dense=True), np.pi / 51)
    turned = Affine(
        np.pi / 60, np.e / 120, EAST - 3.0123, np.pi / 175, -np.e / 49, NORTH + 36.0317
    )  # no centre on a line
    return sparse, dense, write_classes(folder / "turned.tif", noise((640, 700), 3, dense=True), transform=turned)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    which=st.integers(0, 2),
    field=fields_of_any_shape(radius_m=17.3),
    heading=st.sampled_from([0.0, 27.0, 45.0, 90.0, 180.0, 233.7, 315.0]),
    size=st.sampled_from([0.25, 0.5, 1.7, 50.0]),
    window=st.sampled_from([64, 173, 512, 4096]),
)
def test_counts_are_those_of_every_pixel_alone_whatever_the_window(rasters, which, field, heading, size, window):
    box = lattice(field, UTM, (size, size * 1.3), heading)
    counts = aggregate(rasters[which], box, field, window_px=window)
    weed, crop, valid = pixel_by_pixel(rasters[which], box, field)
    assert (counts.weed == weed).all()
    assert (counts.crop == crop).all()
    assert (counts.valid == valid).all()


@pytest.mark.parametrize("nodata", [0.0, 0.2])
def test_cover_agrees_with_exactextract_on_turned_cells(tmp_path, nodata):
    pixel, size = 0.02, 0.5
    path = write_classes(tmp_path / "classes.tif", noise((900, 800), 5, nodata=nodata, dense=True), pixel)
    field = rectangle(12, 14, at=(1.5, 1.7))
    box = lattice(field, UTM, (size, size), 27)
    counts = aggregate(path, box, rectangle(100, 100, at=(-50, -50)))
    share, _ = field_share(field, box)
    cells = cell_polygons(box)[share > 0.5]
    frame = gpd.GeoDataFrame({"n": range(len(cells))}, geometry=list(cells), crs=UTM)
    truth = exact_extract(path, frame, ["count", "unique", "frac"], output="pandas")
    valid = truth["count"].to_numpy()
    weed = np.array(
        [dict(zip(u, f, strict=True)).get(2, 0.0) for u, f in zip(truth["unique"], truth["frac"], strict=True)]
    )
    seen = valid > 100
    ours = counts.weed[share > 0.5] / np.maximum(counts.valid[share > 0.5], 1)
    band = pixel / size  # pixels that a side of the cell can gain or lose, as a share of the cell
    assert np.abs(ours - weed)[seen].max() < band / 2
    assert np.abs(counts.valid[share > 0.5] - valid).max() < band * (size / pixel) ** 2
    assert np.abs(ours - weed)[seen].mean() < 0.005
    assert seen.sum() > 400


def test_pixels_of_the_field_are_counted_once_each(tmp_path):
    path = write_classes(tmp_path / "classes.tif", np.full((400, 400), 2, np.uint8), 0.05)
    field = shapely.Point(EAST + 10, NORTH + 10).buffer(8)
    counts = aggregate(path, lattice(field, UTM, (0.3, 0.4), 71), field)
    assert counts.weed.sum() * counts.pixel_area_m2 == pytest.approx(field.area, rel=2e-3)
    assert (counts.weed == counts.valid).all()
    assert not counts.crop.any()


def test_a_raster_of_nothing_and_a_field_beside_it_give_zeros(tmp_path):
    path = write_classes(tmp_path / "classes.tif", np.full((300, 300), 255, np.uint8))
    for field in (rectangle(10, 10), rectangle(10, 10, at=(500, 500))):
        assert not aggregate(path, lattice(field, UTM, (0.5, 0.5), 10), field).valid.any()


def test_codes_that_are_no_class_are_valid_and_neither_weed_nor_crop(tmp_path):
    path = write_classes(tmp_path / "classes.tif", np.full((100, 100), 7, np.uint8))
    field = rectangle(5, 5)
    counts = aggregate(path, lattice(field, UTM, (1, 1), 0), field)
    assert (counts.valid == 400).all()
    assert not counts.weed.any()


def test_what_is_no_class_raster_is_refused(tmp_path):
    field, box = rectangle(5, 5), lattice(rectangle(5, 5), UTM, (0.5, 0.5), 0)
    floats = tmp_path / "floats.tif"
    with rasterio.open(floats, "w", driver="GTiff", dtype="float32", count=1, height=9, width=9, crs=UTM,
                       transform=Affine(1, 0, EAST, 0, -1, NORTH + 9)) as sink:  # fmt: skip
        sink.write(np.zeros((9, 9), np.float32), 1)
    with pytest.raises(PrescriptionError, match=r"1 band\(s\) of float32"):
        aggregate(floats, box, field)
    coarse = write_classes(tmp_path / "coarse.tif", np.zeros((9, 9), np.uint8), 1.0)
    with pytest.raises(PrescriptionError, match="smaller than a pixel"):
        aggregate(coarse, box, field)
    (tmp_path / "text.tif").write_text("not a raster")
    with pytest.raises(PrescriptionError, match="cannot be read"):
        aggregate(tmp_path / "text.tif", box, field)


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:2264", None])
def test_a_crs_without_metres_is_refused(tmp_path, crs):
    path = tmp_path / "degrees.tif"
    with rasterio.open(path, "w", driver="GTiff", dtype="uint8", count=1, height=9, width=9, crs=crs,
                       transform=Affine(1e-5, 0, 11, 0, -1e-5, 48)) as sink:  # fmt: skip
        sink.write(np.zeros((9, 9), np.uint8), 1)
    with pytest.raises(PrescriptionError, match="expected a projected CRS in metres"):
        raster_geobox(path)
