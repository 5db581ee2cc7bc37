"""Labels in and out: every format gives the raster back, classes and places are understood, nonsense is refused."""

from __future__ import annotations

import json
import sqlite3
import warnings
from contextlib import closing
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from xml.etree import ElementTree

import geopandas as gpd
import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.errors import NotGeoreferencedWarning
from rasterio.features import rasterize

from geoseg.errors import GeosegError, GeosegWarning, LabelError
from geoseg.export import labeltiles
from geoseg.export.labels import write_any, write_vector
from geoseg.export.labeltiles import cut, write_coco, write_yolo
from geoseg.legend import CROP, NODATA, SOIL, WEED
from geoseg.ortho import Ortho
from geoseg.train.cocofile import decode_rle
from geoseg.train.labelfiles import LabelConfig, moved
from geoseg.train.labels import VectorLabels, image_grid, open_labels, write_labels
from geoseg.train.tilecutting import TileConfig, TileSource, make_tiles
from geoseg.train.tileinstances import InstanceSource
from geoseg.train.tiles import read_index, read_tile
from geoseg.vectors import polygonize
from geoseg.windows import Rect, windows
from rasters import FINE, UTM, noise, write

SHAPE = (70, 90)
WHOLE = Rect(0, 0, *SHAPE)
GRID = GeoBox(SHAPE, FINE, UTM)
FORMATS = ("raster.tif", "a.gpkg", "a.geojson", "coco.json", "yolo")


def blobs(seed: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Classes of all sorts of regions: with holes, islands in holes, single pixels and corners that touch."""
    smooth = noise(shape, 1, "float32", seed)[0]
    return np.digitize(smooth, (0.45, 0.65)).astype(np.uint8)


def with_holes(classes: np.ndarray) -> np.ndarray:
    """The classes with places that are left out, as a class raster has them outside of the field."""
    out = classes.copy()
    out[noise(SHAPE, 1, "float32", 77)[0] > 0.62] = NODATA
    out[60:, :30] = NODATA
    return out


def save(folder: Path, classes: np.ndarray) -> Path:
    return write(folder / "truth.tif", classes[None])


def convert(labels_path: Path, grid: GeoBox, out: Path, tile_px: int | None = 32) -> Path:
    with open_labels(labels_path, grid) as labels:
        if out.suffix == ".tif":
            write_labels(labels, out)
        elif out.suffix == ".json":
            write_coco(cut(labels, "t", tile_px), out)
        elif out.suffix:
            write_vector(labels.frames(), out, grid.crs and grid.crs.proj)
        else:
            write_yolo(cut(labels, "t", tile_px), out)
    return out


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=4)
@given(seed=st.integers(0, 10_000))
def test_labels_written_and_read_are_the_same_raster(name, seed, tmp_path_factory):
    folder, classes = tmp_path_factory.mktemp("labels"), blobs(seed)
    classes = classes if name == "yolo" else with_holes(classes)  # YOLO has no word for what is left out
    file = convert(save(folder, classes), GRID, folder / name)
    with open_labels(file, GRID) as labels:
        np.testing.assert_array_equal(labels.read(WHOLE), classes)
        assert not labels.overlap(WHOLE).any()


@pytest.mark.parametrize("seed", [2, 27])  # holes that touch an outline at a corner
def test_holes_survive_in_one_outline(seed, tmp_path):
    file = convert(save(tmp_path, blobs(seed)), GRID, tmp_path / "yolo")
    np.testing.assert_array_equal(open_labels(file, GRID).read(WHOLE), blobs(seed))


def test_corrected_vectors_go_out_again_without_a_change(tmp_path):
    classes = with_holes(blobs(1))
    first = convert(save(tmp_path, classes), GRID, tmp_path / "a.gpkg")
    for name in ("b.geojson", "c.json"):
        file = convert(first, GRID, tmp_path / name)
        np.testing.assert_array_equal(open_labels(file, GRID).read(WHOLE), classes)
    with pytest.warns(GeosegWarning, match=f"{(classes == NODATA).sum()} px are left out"):
        file = convert(first, GRID, tmp_path / "d")
    as_soil = np.where(classes == NODATA, np.uint8(SOIL), classes)
    np.testing.assert_array_equal(open_labels(file, GRID).read(WHOLE), as_soil)


def test_the_layer_shows_what_is_left_out(tmp_path):
    file = convert(save(tmp_path, with_holes(blobs(1))), GRID, tmp_path / "a.gpkg")
    with closing(sqlite3.connect(file)) as database:
        (style,) = database.execute("SELECT styleQML FROM layer_styles").fetchone()
    shown = {one.get("value") for one in ElementTree.fromstring(style).iter("category")}
    assert shown == set(gpd.read_file(file, layer="labels")["class"]) == {"crop", "weed", "ignore"}


def test_what_is_left_out_is_a_crowd_to_coco_s_readers(tmp_path):
    classes = with_holes(blobs(1))
    file = convert(save(tmp_path, classes), GRID, tmp_path / "c.json", tile_px=None)
    content = json.loads(file.read_text())
    assert {one["id"]: one["name"] for one in content["categories"]} == {1: "crop", 2: "weed", 255: "ignore"}
    left_out = [one for one in content["annotations"] if one["category_id"] == 255]
    assert all(one["iscrowd"] == 1 and isinstance(one["segmentation"], dict) for one in left_out)
    found = np.zeros(classes.size, bool)
    for one in left_out:
        assert one["segmentation"]["size"] == list(SHAPE)
        ends = np.cumsum(one["segmentation"]["counts"])
        for begin, end in zip(ends[::2], ends[1::2], strict=False):
            found[begin:end] = True
    np.testing.assert_array_equal(found.reshape(SHAPE[::-1]).T, classes == NODATA)
    assert not any(one["iscrowd"] for one in content["annotations"] if one["category_id"] != 255)


@given(seed=st.integers(0, 999), size=st.integers(3, 40))
@settings(max_examples=15)
def test_windows_are_cuts_of_the_whole(seed, size):
    random = np.random.default_rng(seed)
    centres = random.uniform((0, 0), SHAPE[::-1], (12, 2)) * 0.005 * (1, -1) + (690000, 5360000)
    shapes = shapely.buffer(shapely.points(centres), random.uniform(0.005, 0.08, 12))
    frame = gpd.GeoDataFrame({"code": random.integers(1, 3, 12)}, geometry=shapes, crs=UTM)
    labels = VectorLabels(frame, GRID)
    whole = labels.read(WHOLE)
    for window in windows(SHAPE, size, 0):
        np.testing.assert_array_equal(labels.read(window.write), whole[window.write.slices])
    inside = shapely.union_all(frame[frame.code == WEED].geometry)
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.5
    oracle = shapely.contains_xy(inside, 690000 + cols * 0.005, 5360000 - rows * 0.005)
    assert ((whole == WEED) != oracle).sum() <= 2  # centres within a rounding of an edge


def frame_of(column: str = "class", values: tuple = ("crop", "weed"), crs: str | None = UTM) -> gpd.GeoDataFrame:
    """Two squares of 20 px that share 10 x 20 px."""
    left, top = 690000, 5360000
    boxes = [shapely.box(left + x, top - 0.15, left + x + 0.1, top - 0.05) for x in (0.05, 0.1)]
    return gpd.GeoDataFrame({column: list(values)}, geometry=boxes, crs=crs)


@pytest.mark.parametrize(("on_top", "crop", "weed"), [("weed", 200, 400), ("crop", 400, 200)])
def test_overlap_is_told_and_decided(on_top, crop, weed, tmp_path):
    frame_of().to_file(tmp_path / "a.gpkg")
    with open_labels(tmp_path / "a.gpkg", GRID, LabelConfig(on_top=on_top)) as labels:
        told = write_labels(labels, tmp_path / "out.tif")
    assert told == {"soil": 70 * 90 - 600, "crop": crop, "weed": weed, "overlap": 200}


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:25833"])
@pytest.mark.parametrize("suffix", [".gpkg", ".shp", ".geojson"])
def test_any_crs_and_vector_format(crs, suffix, tmp_path):
    crs = "EPSG:4326" if suffix == ".geojson" else crs
    path = tmp_path / f"a{suffix}"
    frame_of("kind", (1, 2)).to_crs(crs).to_file(path)
    with open_labels(path, GRID, LabelConfig(column="kind")) as labels:
        assert np.bincount(labels.read(WHOLE).ravel()).tolist() == [70 * 90 - 600, 200, 400]


def test_names_of_others_are_mapped(tmp_path):
    frame_of("what", ("Kartoffel", "Melde")).to_file(tmp_path / "a.gpkg")
    config = LabelConfig(column="what", classes={"Kartoffel": "crop", "Melde": 2})
    classes = open_labels(tmp_path / "a.gpkg", GRID, config).read(WHOLE)
    assert (classes[15, 15], classes[15, 25], classes[15, 35]) == (CROP, WEED, WEED)
    with pytest.raises(LabelError, match="Kartoffel.*option classes"):
        open_labels(tmp_path / "a.gpkg", GRID, LabelConfig(column="what"))
    with pytest.raises(LabelError, match="no column 'class'.*what"):
        open_labels(tmp_path / "a.gpkg", GRID)


def test_points_are_discs_of_true_metres(tmp_path):
    points = gpd.GeoDataFrame({"class": ["weed"]}, geometry=[shapely.Point(690000.2, 5359999.8)], crs=UTM)
    points.to_crs(4326).to_file(tmp_path / "a.geojson")
    with pytest.raises(LabelError, match="radius"):
        open_labels(tmp_path / "a.geojson", GRID)
    classes = open_labels(tmp_path / "a.geojson", GRID, LabelConfig(radius_m=0.05)).read(WHOLE)
    assert (classes == WEED).sum() == pytest.approx(np.pi * 10**2, rel=0.03)
    assert np.argwhere(classes == WEED).mean(axis=0) == pytest.approx([39.5, 39.5], abs=0.2)
    frame = points.assign(radius_m=0.1)
    frame.to_file(tmp_path / "b.gpkg")
    classes = open_labels(tmp_path / "b.gpkg", GRID).read(WHOLE)
    assert (classes == WEED).sum() == pytest.approx(np.pi * 20**2, rel=0.03)


def test_every_point_of_a_multipoint_is_a_plant(tmp_path):
    places = [(690000.1, 5359999.9), (690000.3, 5359999.9)]
    square = shapely.box(690000.1, 5359999.7, 690000.15, 5359999.75)
    kinds = [shapely.MultiPoint(places), square]
    mixed = gpd.GeoDataFrame({"class": ["weed", "crop"], "radius_m": 0.05}, geometry=kinds, crs=UTM)
    mixed.to_file(tmp_path / "mixed.geojson", driver="GeoJSON")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labels = open_labels(tmp_path / "mixed.geojson", GRID)
    assert len(labels.frame) == 3
    classes = labels.read(WHOLE)
    assert (classes == WEED).sum() == pytest.approx(2 * np.pi * 10**2, rel=0.03)
    assert (classes == CROP).sum() == 100


def test_what_cannot_be_placed_is_refused(tmp_path):
    with pytest.raises(LabelError, match="there is no"):
        open_labels(tmp_path / "none.gpkg", GRID)
    lines = gpd.GeoDataFrame({"class": ["crop"]}, geometry=[shapely.LineString([(0, 0), (1, 1)])], crs=UTM)
    lines.to_file(tmp_path / "lines.gpkg")
    with pytest.raises(LabelError, match="LineString"):
        open_labels(tmp_path / "lines.gpkg", GRID)
    with pytest.warns(UserWarning, match="crs"):
        frame_of(crs=None).to_file(tmp_path / "none.shp")
    with pytest.raises(LabelError, match="no CRS"):
        open_labels(tmp_path / "none.shp", GRID)
    frame_of(values=("crop", None)).to_file(tmp_path / "nameless.gpkg")
    with pytest.raises(LabelError, match="1 of 2 features have nothing in the column 'class'"):
        open_labels(tmp_path / "nameless.gpkg", GRID)
    frame_of().translate(5000).to_frame("geometry").assign(**{"class": "crop"}).to_file(tmp_path / "far.gpkg")
    frame_of().iloc[:0].to_file(tmp_path / "empty.gpkg")
    whole = LabelConfig(labelled_area=places(tmp_path, [shapely.box(0, 0, 90, 70)]))
    for name, message in (("far", "none of the 2 outlines .* lies on the image"), ("empty", "holds no outline")):
        with pytest.raises(LabelError, match=message):
            open_labels(tmp_path / f"{name}.gpkg", GRID)
        assert (open_labels(tmp_path / f"{name}.gpkg", GRID, whole).read(WHOLE) == SOIL).all()
    with pytest.raises(LabelError, match="on_top"):
        LabelConfig(on_top="soil")
    write(tmp_path / "small.tif", np.zeros((1, 5, 5), np.uint8))
    with pytest.raises(LabelError, match="does not lie on the grid"):
        open_labels(tmp_path / "small.tif", GRID)
    write(tmp_path / "codes.tif", np.full((1, *SHAPE), 7, np.uint8))
    with pytest.raises(LabelError, match=r"\[7\]"):
        open_labels(tmp_path / "codes.tif", GRID).read(WHOLE)
    mapped = open_labels(tmp_path / "codes.tif", GRID, LabelConfig(classes={"7": "weed"}))
    assert (mapped.read(WHOLE) == WEED).all()
    assert next(mapped.frames())["class"].tolist() == ["weed"]


def test_a_class_raster_is_written_whole_or_not_at_all(tmp_path):
    codes = np.zeros((1100, 1100), np.uint8)
    codes[1090:, 1090:] = 7  # in the last block
    write(tmp_path / "codes.tif", codes[None])
    labels = open_labels(tmp_path / "codes.tif", image_grid(tmp_path / "codes.tif"))
    with labels, pytest.raises(LabelError, match=r"\[7\]"):
        write_labels(labels, tmp_path / "out.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["codes.tif"]


def test_features_without_geometry_are_told(tmp_path):
    frame = frame_of()
    frame.geometry = [None, frame.geometry[1]]
    frame.to_file(tmp_path / "a.gpkg")
    with pytest.warns(GeosegWarning, match="1 features"):
        labels = open_labels(tmp_path / "a.gpkg", GRID)
    assert (labels.read(WHOLE) == WEED).sum() == 400


def test_run_directory_is_its_class_raster(tmp_path):
    classes = blobs(3)
    write(tmp_path / "classes.tif", classes[None])
    np.testing.assert_array_equal(open_labels(tmp_path, GRID).read(WHOLE), classes)


def test_packed_run_lengths():
    def pack(counts: list[int]) -> str:
        out = ""
        for index, count in enumerate(counts):
            value = count - counts[index - 2] if index > 2 else count
            more = True
            while more:
                digit, value = value & 31, value >> 5
                more = value != (-1 if digit & 16 else 0)
                out += chr((digit | (32 if more else 0)) + 48)
        return out

    for counts in ([4, 3, 70, 5, 18], [0, 100], [33, 1, 40, 26]):
        (packed, here), (plain, there) = decode_rle(pack(counts), (10, 10)), decode_rle(counts, (10, 10))
        np.testing.assert_array_equal(packed, plain)
        assert here == there
    mask, corner = decode_rle([4, 3, 93], (10, 10))
    assert (mask.shape, corner, mask.all()) == ((3, 1), (4, 0), True)
    with pytest.raises(LabelError, match="fill"):
        decode_rle([4], (10, 10))


@given(seed=st.integers(0, 999), strip=st.sampled_from([1, 40, 2**24]))
@settings(max_examples=40)
def test_run_lengths_are_those_of_the_definition(seed, strip):
    """Against the definition spelled out: the mask read down its columns, zeros first."""
    random = np.random.default_rng(seed)
    mask = random.random((random.integers(1, 14), random.integers(1, 14))) < random.uniform(0.1, 0.95)
    seen = np.zeros(mask.shape, int)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(labeltiles, "_STRIP_PX", strip)
        for _, shape in polygonize(mask.astype(np.uint8), Affine.identity(), mask=mask):
            found = labeltiles._segmentation(shape, mask.shape, True)
            part, (row, col) = decode_rle(found["counts"], mask.shape)
            whole = np.zeros(mask.shape, bool)
            whole[row : row + part.shape[0], col : col + part.shape[1]] = part
            down = [0, *whole.T.ravel().astype(int)]
            counts = [len(list(group)) for _, group in groupby(down)]
            counts[0] -= 1
            assert found["counts"] == counts
            seen += whole
    np.testing.assert_array_equal(seen, mask)


def test_run_lengths_that_other_programs_write():
    """Runs of no length, runs over several columns, and nothing at all."""
    mask, corner = decode_rle([5, 3, 0, 2, 90], (10, 10))
    assert (mask.shape, corner, mask.sum()) == ((5, 1), (5, 0), 5)
    mask, corner = decode_rle([8, 4, 88], (10, 10))
    assert (corner, np.argwhere(mask).tolist()) == ((0, 0), [[0, 1], [1, 1], [8, 0], [9, 0]])
    assert decode_rle([100], (10, 10))[0].size == 0
    with pytest.raises(LabelError, match="fill"):
        decode_rle([50, -10, 60], (10, 10))


def test_coco_without_a_place_must_be_the_whole_image(tmp_path):
    content = {
        "images": [{"id": 1, "file_name": "x.png", "height": SHAPE[0], "width": SHAPE[1]}],
        "categories": [{"id": 5, "name": "Weed"}],
        "annotations": [{"image_id": 1, "category_id": 5, "segmentation": [[2, 3, 12, 3, 12, 8, 2, 8]]}],
    }
    path = tmp_path / "c.json"
    path.write_text(json.dumps(content))
    classes = open_labels(path, GRID).read(WHOLE)
    assert (classes[3:8, 2:12] == WEED).all()
    assert (classes == WEED).sum() == 50
    content["images"][0]["height"] = 12
    path.write_text(json.dumps(content))
    with pytest.raises(LabelError, match="row and col"):
        open_labels(path, GRID)
    content["images"] = [{"id": number, "file_name": "x.png", "height": 70, "width": 90} for number in (1, 2)]
    content["annotations"].append(content["annotations"][0] | {"image_id": 2})
    path.write_text(json.dumps(content))
    with pytest.raises(LabelError, match="labels of 2 images without row and col"):
        open_labels(path, GRID)
    del content["annotations"][1]
    path.write_text(json.dumps(content))
    assert (open_labels(path, GRID).read(WHOLE) == WEED).sum() == 50
    for outline in ([], [[2, 3, 12, 3]]):
        content["annotations"][0]["segmentation"] = outline
        path.write_text(json.dumps(content))
        with pytest.raises(LabelError, match="no outline, or one of less than 3 points"):
            open_labels(path, GRID)
    content["annotations"] = []
    path.write_text(json.dumps(content))
    assert (open_labels(path, GRID).read(WHOLE) == SOIL).all()  # it says that there are none


DEGREES = Affine(5e-8, 0, 11.5, 0, -5e-8, 48.3)


@pytest.mark.parametrize(
    ("crs", "transform", "bands", "message"),
    [
        ("EPSG:4326", DEGREES, 1, None),
        ("EPSG:4326", DEGREES * Affine.translation(0.02, -0.03), 1, None),
        (None, DEGREES, 1, None),
        (None, None, 1, None),
        ("EPSG:4326", DEGREES * Affine.translation(0.2, 0), 1, "does not lie on the grid"),
        ("EPSG:4326", DEGREES * Affine.scale(1.002), 1, "does not lie on the grid"),
        ("EPSG:32632", DEGREES, 1, "does not lie on the grid.* UTM zone 32N against"),
        ("EPSG:4326", DEGREES, 3, "has 3 bands; expected one"),
    ],
)
def test_label_rasters_lie_on_the_pixels_of_the_image(crs, transform, bands, message, tmp_path):
    grid = GeoBox(SHAPE, DEGREES, "EPSG:4326")
    path = write(tmp_path / "a.tif", np.repeat(blobs(2)[None], bands, axis=0), crs=crs, transform=transform)
    if message is None:
        np.testing.assert_array_equal(open_labels(path, grid).read(WHOLE), blobs(2))
        return
    with pytest.raises(LabelError, match=message):
        open_labels(path, grid)
    if bands == 1:
        with pytest.raises(LabelError, match=message):
            InstanceSource(path, grid)


def test_the_same_crs_in_other_words_is_the_same_grid(tmp_path):
    words = pyproj.CRS(UTM).to_wkt().replace(pyproj.CRS(UTM).name, "field 7")
    path = write(tmp_path / "a.tif", blobs(2)[None], crs=words)
    np.testing.assert_array_equal(open_labels(path, GRID).read(WHOLE), blobs(2))


GAUSS = "+proj=tmerc +lat_0=0 +lon_0=12 +k=1 +x_0=4500000 +y_0=0 +ellps=bessel +units=m +no_defs"
SHIFTED = f"{GAUSS} +towgs84=598.1,73.7,418.2,0.202,0.045,-2.455,6.7"
LOCAL = 'LOCAL_CS["Local Coordinates (m)",LOCAL_DATUM["Local Datum",0],UNIT["metre",1],AXIS["X",EAST],AXIS["Y",NORTH]]'


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("EPSG:31468", SHIFTED), (SHIFTED, "EPSG:31468"), (SHIFTED, SHIFTED), (LOCAL, UTM), (UTM, LOCAL), (LOCAL, LOCAL)],
)
def test_what_a_file_says_of_other_datums_moves_nothing(ours, theirs, tmp_path):
    """Old programs write the way to WGS 84 into the CRS (TOWGS84); local coordinates lie nowhere on the earth."""
    place = Affine(0.005, 0, 4400000, 0, -0.005, 5700000)
    image = write(tmp_path / "ortho.tif", noise(SHAPE), crs=ours, transform=place)
    labels = write(tmp_path / "labels.tif", blobs(2)[None], crs=theirs, transform=place)
    np.testing.assert_array_equal(open_labels(labels, image_grid(image)).read(WHOLE), blobs(2))
    moved = write(tmp_path / "moved.tif", blobs(2)[None], crs=theirs, transform=place * Affine.translation(0, 1))
    with pytest.raises(LabelError, match="does not lie on the grid"):
        open_labels(moved, image_grid(image))


BELOW = Affine(1, 0, 0, 0, -1, 0)
"""As QGIS writes a picture that has no georeference."""


@pytest.mark.parametrize(
    ("crs", "transform", "assumed"),
    [(LOCAL, FINE, 0.005), (None, FINE, 0.005), (None, DEGREES, 5e-8), (None, BELOW, None), (None, None, None)],
)
def test_what_a_person_says_of_pixels_that_lie_nowhere_is_taken(crs, transform, assumed, tmp_path):
    write(tmp_path / "ortho.tif", noise(SHAPE), crs=crs, transform=transform)
    write(tmp_path / "labels.tif", blobs(1)[None], crs=crs, transform=transform)
    source = TileSource("a", str(tmp_path / "ortho.tif"), str(tmp_path / "labels.tif"))

    def gsd_of(said):
        out = tmp_path / f"set_{said}"
        make_tiles(TileConfig((replace(source, gsd_m=said),), 96), out)
        (found,) = (read_tile(out, line) for line in read_index(out))
        np.testing.assert_array_equal(found.labels, blobs(1))
        return found.gsd_m

    if assumed is None:
        with pytest.raises(LabelError, match="no georeference; give gsd_m"):
            gsd_of(None)
        assert gsd_of(0.003) == 0.003
        return
    assert gsd_of(None) == pytest.approx(assumed)
    with pytest.warns(GeosegWarning, match="gsd_m says 0.003, which is taken"):
        assert gsd_of(0.003) == 0.003


def test_outlines_that_qgis_drew_on_a_picture_without_georeference(tmp_path):
    """QGIS draws such a picture below 0, and so are the outlines; rows counted down from 0 are understood as well."""
    image = write(tmp_path / "photo.tif", noise(SHAPE), crs=None, transform=None)
    drawn = gpd.GeoDataFrame({"class": ["weed"]}, geometry=[shapely.box(10, -30, 25, -5)], crs=None)
    wanted = np.zeros(SHAPE, np.uint8)
    wanted[5:30, 10:25] = WEED
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no CRS
        drawn.to_file(tmp_path / "drawn.gpkg")
        drawn.scale(1, -1, origin=(0, 0)).to_frame("geometry").assign(**{"class": "weed"}).to_file(
            tmp_path / "rows.gpkg"
        )
        drawn.set_geometry(drawn.centroid).assign(radius_m=0.05).to_file(tmp_path / "points.gpkg")
    for name in ("drawn", "rows"):
        with open_labels(tmp_path / f"{name}.gpkg", image_grid(image)) as labels:
            np.testing.assert_array_equal(labels.read(WHOLE), wanted)
            write_any(labels, tmp_path / f"{name}_again.gpkg", image)
        assert gpd.read_file(tmp_path / f"{name}_again.gpkg", layer="labels").total_bounds.tolist() == [10, -30, 25, -5]
    below = write(tmp_path / "below.tif", wanted[None], crs=None, transform=BELOW)
    for grid in (image_grid(image), image_grid(below)):
        np.testing.assert_array_equal(open_labels(tmp_path / "drawn.gpkg", grid).read(WHOLE), wanted)
        with open_labels(below, grid) as labels:
            np.testing.assert_array_equal(labels.read(WHOLE), wanted)
            write_any(labels, tmp_path / "raster.gpkg", image)
        assert gpd.read_file(tmp_path / "raster.gpkg", layer="labels").total_bounds.tolist() == [10, -30, 25, -5]
        (tmp_path / "raster.gpkg").unlink()
    with pytest.raises(LabelError, match="no georeference that says how large they are"):
        open_labels(tmp_path / "points.gpkg", image_grid(image))


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:2263", UTM])
def test_tiles_know_the_metres_on_the_ground(crs, tmp_path):
    world = pyproj.CRS(crs)
    place = (-74.0, 40.7) if crs == "EPSG:2263" else (11.5, 48.3)
    x, y = pyproj.Transformer.from_crs(4326, world, always_xy=True).transform(*place)
    step = 5e-8 if world.is_geographic else 0.005
    transform = Affine(step, 0, x, 0, -step, y)
    write(tmp_path / "ortho.tif", noise(SHAPE), crs=crs, transform=transform)
    write(tmp_path / "labels.tif", blobs(1)[None], crs=crs, transform=transform)
    source = TileSource("a", str(tmp_path / "ortho.tif"), str(tmp_path / "labels.tif"))
    make_tiles(TileConfig((source,), 96), tmp_path / "set")
    found = read_tile(tmp_path / "set", read_index(tmp_path / "set")[0]).gsd_m
    ends = [transform @ corner for corner in ((0, 0), (SHAPE[1], 0), (0, SHAPE[0]))]
    lon, lat = pyproj.Transformer.from_crs(world, 4326, always_xy=True).transform(*np.transpose(ends))
    _, _, metres = pyproj.Geod(ellps="WGS84").inv([lon[0]] * 2, [lat[0]] * 2, lon[1:], lat[1:])
    assert found == pytest.approx(np.sqrt(metres[0] / SHAPE[1] * metres[1] / SHAPE[0]), rel=1e-3)
    assert found == pytest.approx(Ortho.open(tmp_path / "ortho.tif").gsd_m, rel=1e-3)
    wrong = replace(source, gsd_m=found * 1.2)
    with pytest.raises(LabelError, match="by its georeference, gsd_m says"):
        make_tiles(TileConfig((wrong,), 96), tmp_path / "other")


def test_images_without_georeference_need_their_metres(tmp_path):
    write(tmp_path / "a.tif", noise(SHAPE), crs=None, transform=None)
    write(tmp_path / "labels.tif", blobs(1)[None], crs=None, transform=None)
    source = TileSource("a", str(tmp_path / "a.tif"), str(tmp_path / "labels.tif"))
    with pytest.raises(LabelError, match=r"a.tif has no georeference; give gsd_m"):
        make_tiles(TileConfig((source,), 96), tmp_path / "set")


def test_yolo_lines_that_are_wrong_are_named(tmp_path):
    path = tmp_path / "a.txt"
    for line, message in (
        ("0 0.1 0.2 0.3", "line 1, is no outline"),
        ("0 0.1 0.2 0.3 0.4", "2 points"),
        ("0 1 2 30 40 50 60", "0..1"),
        ("7 0.1 0.1 0.2 0.1 0.2 0.2", "class 7"),
    ):
        path.write_text(line + "\n")
        with pytest.raises(LabelError, match=message):
            open_labels(path, GRID)
    with pytest.raises(LabelError, match=r"no index.csv"):
        open_labels(tmp_path, GRID)
    assert open_labels(path, GRID, LabelConfig(classes={"7": "weed"})).read(WHOLE).max() == WEED


def test_tiles_of_vector_labels_are_those_of_the_raster(tmp_path):
    classes = blobs(5)
    write(tmp_path / "o.tif", noise(SHAPE))
    raster = save(tmp_path, classes)
    vector = convert(raster, GRID, tmp_path / "a.gpkg")
    for name, labels in (("one", raster), ("two", vector)):
        source = TileSource("field", str(tmp_path / "o.tif"), str(labels))
        make_tiles(TileConfig((source,), tile_px=32), tmp_path / name)
    for line in read_index(tmp_path / "one"):
        one, two = read_tile(tmp_path / "one", line), read_tile(tmp_path / "two", line)
        np.testing.assert_array_equal(one.labels, two.labels)


@pytest.mark.filterwarnings(f"ignore::{NotGeoreferencedWarning.__module__}.NotGeoreferencedWarning")
def test_yolo_of_the_maize_images_is_their_masks(fields, tmp_path):
    maize = fields / "maize"
    both = dict.fromkeys(("edges", "centres"), 0)
    either, area = both.copy(), both.copy()
    for path in sorted((maize / "polygons").glob("*.txt"))[::5]:
        image = next((maize / "images").glob(f"{path.stem}.*"))
        with rasterio.open(next((maize / "masks").glob(f"{path.stem}.*"))) as file:
            truth = file.read(1)
        for corners in both:
            found = open_labels(path, image_grid(image), LabelConfig(corners=corners)).read(Rect(0, 0, 600, 600))
            both[corners] += int(((found > 0) & (found == truth)).sum())
            either[corners] += int(((found > 0) | (truth > 0)).sum())
            area[corners] += int((found > 0).sum()) - int((truth > 0).sum())
    assert both["edges"] / either["edges"] > 0.75  # the outlines are simplified: they are not the masks
    assert both["centres"] / either["centres"] > both["edges"] / either["edges"] + 0.03
    assert abs(area["centres"]) < 0.2 * abs(area["edges"])
    source = TileSource("m", str(maize / "images"), str(maize / "polygons"), gsd_m=0.0025)
    assert make_tiles(TileConfig((source,)), tmp_path / "set") == 16


def test_pixels_by_the_centre_rule_as_gdal_does():
    shape = shapely.Polygon([(3.2, 2.1), (30.7, 9.4), (12.3, 40.8)])
    frame = gpd.GeoDataFrame({"code": [CROP]}, geometry=[shape])
    found = VectorLabels(frame, GeoBox(SHAPE, Affine.identity(), None)).read(WHOLE)
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.5
    np.testing.assert_array_equal(found == CROP, shapely.contains_xy(shape, cols, rows))
    assert (found == rasterize([(shape, CROP)], SHAPE)).all()
    assert set(np.unique(found)) == {SOIL, CROP}


def test_ignored_polygons_are_left_out_of_training(tmp_path):
    frame_of(values=("crop", "ignore")).to_file(tmp_path / "a.gpkg")
    with open_labels(tmp_path / "a.gpkg", GRID) as labels:
        assert (labels.read(WHOLE) == NODATA).sum() == 400
        with pytest.warns(GeosegWarning, match="400 px .* soil"):
            assert write_yolo(cut(labels, "t"), tmp_path / "y") == 1
    assert (tmp_path / "y" / "t.txt").read_text().startswith("0 ")


def places(folder: Path, shapes: list[shapely.Polygon], crs: str | None = UTM) -> str:
    """A file of what was labelled, from polygons in pixels."""
    world = [moved(shape, FINE) for shape in shapes]
    gpd.GeoDataFrame(geometry=world, crs=UTM).to_crs(crs or UTM).to_file(folder / "places.gpkg")
    return str(folder / "places.gpkg")


SQUARES = [shapely.box(10.2, 5.7, 40.1, 33.3), shapely.Point(65, 45).buffer(14)]


@pytest.mark.parametrize("crs", [UTM, "EPSG:4326"])
@pytest.mark.parametrize("name", ["raster.tif", "a.gpkg"])
def test_outside_of_what_was_labelled_nothing_is_known(name, crs, tmp_path):
    classes = blobs(4)
    file = convert(save(tmp_path, classes), GRID, tmp_path / name)
    inside = rasterize([(shape, 1) for shape in SQUARES], SHAPE).astype(bool)
    with open_labels(file, GRID, LabelConfig(labelled_area=places(tmp_path, SQUARES, crs))) as labels:
        np.testing.assert_array_equal(labels.read(WHOLE), np.where(inside, classes, NODATA))
        corner = Rect(20, 30, 60, 71)
        np.testing.assert_array_equal(labels.read(corner), np.where(inside, classes, NODATA)[corner.slices])
        kept = [shape for frame in labels.frames() for shape in frame.geometry[frame.code != NODATA]]
        pieces = [(code, piece) for code, piece in labels.shapes(corner) if code != NODATA]
        for out in ("out.gpkg", "out.json"):
            again = tmp_path / out
            write_any(labels, again, Path("image.tif"), 32)
            np.testing.assert_array_equal(open_labels(again, GRID).read(WHOLE), labels.read(WHOLE))
    with open_labels(file, GRID) as labels:
        every = [shape for frame in labels.frames() for shape in frame.geometry]
    assert 0 < len(kept) < len(every)
    whole = shapely.union_all(SQUARES)
    assert shapely.intersects(moved(whole, FINE), kept).all()
    for _, piece in pieces:
        assert whole.intersects(shapely.transform(piece, lambda points: np.add(points, (corner.col0, corner.row0))))


def test_two_classes_outside_of_what_was_labelled_do_not_overlap(tmp_path):
    both = [shapely.box(0, 0, 60, 60), shapely.box(30, 0, 90, 60)]
    world = [moved(one, FINE) for one in both]
    gpd.GeoDataFrame({"class": ["crop", "weed"]}, geometry=world, crs=UTM).to_file(tmp_path / "a.gpkg")
    area = places(tmp_path, [shapely.box(40, 0, 50, 10)])
    assert open_labels(tmp_path / "a.gpkg", GRID).overlap(WHOLE).sum() == 30 * 60
    labels = open_labels(tmp_path / "a.gpkg", GRID, LabelConfig(labelled_area=area))
    assert labels.overlap(WHOLE).sum() == 10 * 10


def test_places_that_cannot_be_those_that_were_labelled(tmp_path):
    file = save(tmp_path, blobs(0))
    far = LabelConfig(labelled_area=places(tmp_path, [shapely.box(500, 500, 600, 600)]))
    with pytest.raises(LabelError, match=r"no polygon of .*places.gpkg lies on the image"):
        open_labels(file, GRID, far)
    with pytest.raises(GeosegError, match="nowhere"):
        open_labels(file, GRID, LabelConfig(labelled_area=str(tmp_path / "nowhere.gpkg")))
    bare = write(tmp_path / "bare.tif", blobs(0)[None], crs=None, transform=None)
    with pytest.raises(LabelError, match="the image has no CRS, so .* cannot be placed"):
        open_labels(bare, image_grid(bare), far)


def test_tiles_are_cut_where_something_was_labelled(tmp_path):
    classes = blobs(6)
    write(tmp_path / "ortho.tif", noise(SHAPE, seed=3))
    label = LabelConfig(labelled_area=places(tmp_path, [shapely.box(0, 0, 30, 30), shapely.box(70, 60, 75, 63)]))
    source = TileSource("a", str(tmp_path / "ortho.tif"), str(save(tmp_path, classes)), label=label)
    assert make_tiles(TileConfig((source,), 32), tmp_path / "set") == 2
    tiles = [read_tile(tmp_path / "set", line) for line in read_index(tmp_path / "set")]
    assert [(tile.row, tile.col) for tile in tiles] == [(0, 0), (32, 64)]
    first = tiles[0].labels
    assert (first[30:] == NODATA).all()
    assert (first[:, 30:] == NODATA).all()
    np.testing.assert_array_equal(first[:30, :30], classes[:30, :30])
