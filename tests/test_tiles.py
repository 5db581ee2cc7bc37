"""Tile sets: what is cut, where train and validation part, what is refused, and the set that comes with the source."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import from_origin

from geoseg.errors import LabelError
from geoseg.legend import CROP, LEGEND
from geoseg.train.labelraster import image_grid
from geoseg.train.tilebands import excess_green
from geoseg.train.tilecutting import TileConfig, TileSource, _parts, make_tiles
from geoseg.train.tileinstances import InstanceSource
from geoseg.train.tiles import Tile, read_index, read_tile, summary_lines, write_set
from geoseg.windows import Rect

SHIPPED = Path(__file__).parents[1] / "tiles"
GSD_M = 0.004
without_georeference = pytest.mark.filterwarnings(
    f"ignore::{NotGeoreferencedWarning.__module__}.NotGeoreferencedWarning"
)


def write_raster(path: Path, bands: np.ndarray, gsd_m: float | None = GSD_M, **profile: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    place = {"crs": "EPSG:32632", "transform": from_origin(690000, 5360000, gsd_m, gsd_m)} if gsd_m else {}
    driver = "PNG" if path.suffix == ".png" else "GTiff"
    count, height, width = bands.shape
    settings = {"driver": driver, "count": count, "height": height, "width": width, "dtype": bands.dtype.name}
    with rasterio.open(path, "w", **(settings | place | profile)) as sink:
        sink.write(bands)
    return path


@pytest.fixture
def ortho(tmp_path: Path) -> tuple[np.ndarray, np.ndarray, TileSource]:
    """An ortho whose pixel values tell their place, its labels, and the source that names both."""
    rows, cols = np.mgrid[:70, :110]
    image = np.stack([rows, cols, rows + cols]).astype(np.uint8)
    labels = np.random.default_rng(0).integers(0, 3, (70, 110)).astype(np.uint8)
    paths = [write_raster(tmp_path / "o.tif", image), write_raster(tmp_path / "l.tif", labels[None])]
    return image, labels, TileSource("field", *map(str, paths))


def read_all(folder: Path) -> list[Tile]:
    return [read_tile(folder, line) for line in read_index(folder)]


def test_tiles_of_an_ortho_put_together_are_the_ortho(ortho, tmp_path):
    image, labels, source = ortho
    assert make_tiles(TileConfig((source,), tile_px=32), tmp_path / "set") == 3 * 4
    seen = np.zeros((70, 110), int)
    for tile in read_all(tmp_path / "set"):
        part = np.s_[tile.row : tile.row + tile.labels.shape[0], tile.col : tile.col + tile.labels.shape[1]]
        np.testing.assert_array_equal(tile.image, image[:, *part])
        np.testing.assert_array_equal(tile.labels, labels[part])
        seen[part] += 1
        assert tile.gsd_m == GSD_M
        assert tile.profile["transform"] @ (0, 0) == pytest.approx(
            (690000 + tile.col * GSD_M, 5360000 - tile.row * GSD_M)
        )
    assert (seen == 1).all()


def test_the_index_counts_pixels_per_class(ortho, tmp_path):
    _, labels, source = ortho
    make_tiles(TileConfig((source,), tile_px=200), tmp_path / "set")
    (line,) = read_index(tmp_path / "set")
    assert [int(line[name]) for name in ("soil_px", "crop_px", "weed_px")] == np.bincount(labels.ravel()).tolist()
    assert (line["height"], line["width"], line["split"]) == ("70", "110", "train")


span = st.tuples(st.integers(0, 60), st.integers(1, 60)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@settings(max_examples=200, deadline=None)
@given(rows=st.none() | span, cols=st.none() | span)
def test_train_and_validation_partition_the_ortho_and_never_share_a_pixel(rows, cols):
    seen = {"train": np.zeros((61, 61), int), "validation": np.zeros((61, 61), int)}
    for split, rect in _parts(TileSource("a", "b", "c", validation_rows=rows, validation_cols=cols), (61, 61)):
        seen[split][rect.slices] += 1
    assert (seen["train"] + seen["validation"] == 1).all()
    if rows or cols:
        (top, bottom), (left, right) = rows or (0, 61), cols or (0, 61)
        assert seen["validation"].sum() == seen["validation"][top:bottom, left:right].sum() > 0


def test_the_split_goes_by_columns(ortho, tmp_path):
    source = TileSource("f", ortho[2].images, ortho[2].labels, validation_cols=(80, 110))
    make_tiles(TileConfig((source,), tile_px=64), tmp_path / "set")
    for tile in read_all(tmp_path / "set"):
        right = tile.col + tile.labels.shape[1]
        assert right <= 80 if tile.split == "train" else tile.col >= 80


def test_green_that_is_labelled_soil_is_left_out_of_training_only(tmp_path):
    image = np.full((3, 8, 16), 100, np.uint8)
    image[1, :, ::2] = 200  # excess green (400 - 200) / 400 = 0.5
    labels = np.zeros((8, 16), np.uint8)
    labels[:, :4] = 1
    paths = [str(write_raster(tmp_path / f"{n}.tif", a)) for n, a in (("o", image), ("l", labels[None]))]
    source = TileSource("f", *paths, validation_rows=(0, 4), ignore_green=0.2)
    make_tiles(TileConfig((source,)), tmp_path / "set")
    tiles = {tile.split: tile for tile in read_all(tmp_path / "set")}
    np.testing.assert_array_equal(tiles["validation"].labels, labels[:4])
    expected = labels[4:].copy()
    expected[:, 4::2] = 255
    np.testing.assert_array_equal(tiles["train"].labels, expected)


def test_excess_green_of_known_colours():
    colours = np.array([[0, 255, 0], [100, 100, 100], [0, 0, 0], [60, 120, 20]], np.uint8).T[:, None]
    np.testing.assert_allclose(excess_green(colours)[0], [2, 0, 0, 0.8])


@without_georeference
def test_a_folder_of_images_is_split_by_name(tmp_path):
    random = np.random.default_rng(0)
    for name in ("0525_01", "0525_02", "0530_01"):
        write_raster(tmp_path / "images" / f"{name}.png", random.integers(0, 255, (3, 20, 24), dtype=np.uint8), None)
        write_raster(tmp_path / "masks" / f"{name}.png", random.integers(0, 3, (1, 20, 24), dtype=np.uint8), None)
    source = TileSource(
        "m", str(tmp_path / "images"), str(tmp_path / "masks"), gsd_m=0.0027, validation_names=("0530_*",)
    )
    make_tiles(TileConfig((source,)), tmp_path / "set")
    assert {line["name"]: line["split"] for line in read_index(tmp_path / "set")} == {
        "m_0525_01": "train",
        "m_0525_02": "train",
        "m_0530_01": "validation",
    }
    with rasterio.open(tmp_path / "images" / "0525_02.png") as png:
        np.testing.assert_array_equal(read_all(tmp_path / "set")[1].image, png.read())


def test_tiles_without_a_valid_pixel_are_not_written_and_others_have_255_there(tmp_path):
    image = np.full((4, 32, 96), 100, np.uint8)
    image[3, :, 40:] = 0
    paths = [
        write_raster(tmp_path / "o.tif", image, photometric="RGB", alpha="yes"),
        write_raster(tmp_path / "l.tif", np.ones((1, 32, 96), np.uint8)),
    ]
    make_tiles(TileConfig((TileSource("f", *map(str, paths)),), tile_px=32), tmp_path / "set")
    tiles = read_all(tmp_path / "set")
    assert [tile.col for tile in tiles] == [0, 32]
    assert (tiles[1].labels[:, :8] == 1).all()
    assert (tiles[1].labels[:, 8:] == 255).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": "nothing.tif"}, "nothing.tif is neither an image nor a folder"),
        ({"labels": "nothing.tif"}, "nothing.tif cannot be read as a raster"),
        ({"validation_cols": (200, 300)}, r"columns \(200, 300\), is empty"),
    ],
)
def test_sources_that_cannot_be_cut(ortho, tmp_path, change, message):
    fields = {"name": "f", "images": ortho[2].images, "labels": ortho[2].labels} | change
    with pytest.raises(LabelError, match=message):
        make_tiles(TileConfig((TileSource(**fields),)), tmp_path / "set")


def test_labels_on_another_grid_of_other_classes_or_16_bit_images_are_refused(ortho, tmp_path):
    image, labels, source = ortho

    def refused(message: str, **arrays: np.ndarray) -> None:
        paths = {n: str(write_raster(tmp_path / f"bad_{n}.tif", a, **keys)) for n, (a, keys) in arrays.items()}
        fields = {"name": "f", "images": source.images, "labels": source.labels} | paths
        with pytest.raises(LabelError, match=message):
            make_tiles(TileConfig((TileSource(**fields),)), tmp_path / f"set{len(list(tmp_path.iterdir()))}")

    refused("does not lie on the grid", labels=(labels[None, :-1], {}))
    refused("does not lie on the grid", labels=(labels[None], {"gsd_m": 0.005}))
    refused(r"holds \[7\]; expected 0 soil", labels=(np.full_like(labels[None], 7), {}))
    refused("holds int32; expected one of uint8", images=(image.astype(np.int32), {}))
    refused("give the source value_max", images=(image.astype(np.uint16), {}))
    with pytest.raises(LabelError, match="at least one source"):
        make_tiles(TileConfig(), tmp_path / "none")


@without_georeference
def test_a_folder_that_does_not_fit_is_refused(tmp_path):
    (tmp_path / "images").mkdir()
    source = {"name": "m", "images": str(tmp_path / "images"), "labels": str(tmp_path / "masks")}

    def refused(message: str, **change: object) -> None:
        with pytest.raises(LabelError, match=message):
            make_tiles(TileConfig((TileSource(**(source | change)),)), tmp_path / f"set{len(list(tmp_path.iterdir()))}")

    refused("holds no images", gsd_m=0.003)
    write_raster(tmp_path / "images" / "a.png", np.zeros((3, 8, 8), np.uint8), None)
    refused("give gsd_m")
    refused(r"a\.png has no mask", gsd_m=0.003)
    write_raster(tmp_path / "masks" / "a.png", np.zeros((1, 8, 9), np.uint8), None)
    refused("9 x 8 px .* against 8 x 8 px", gsd_m=0.003)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_orthos_with_alpha_or_holes_become_many_tiles(dtype, tmp_path):
    """Alpha is what mosaicking programs write.

    No raster is read between a tile that is written and the next mask, so an error that GDAL keeps would come up there.
    """
    image = np.full((4, 1300, 1500), 120, dtype) if dtype == "uint8" else np.full((3, 1300, 1500), 0.4, dtype)
    image[-1, :, 1400:] = 0 if dtype == "uint8" else np.nan
    if dtype == "uint8":
        image[-1, :, :1400] = 255
    write_raster(tmp_path / "ortho.tif", image, photometric="RGB", **({"alpha": "YES"} if dtype == "uint8" else {}))
    corners = [(690000 + x, 5359995 + y) for x in range(6) for y in range(5)]
    plants = [shapely.box(x, y, x + 0.4, y + 0.4) for x, y in corners]
    frame = gpd.GeoDataFrame({"class": ["crop"] * len(plants)}, geometry=plants, crs="EPSG:32632")
    frame.to_file(tmp_path / "labels.gpkg")
    source = TileSource("a", str(tmp_path / "ortho.tif"), str(tmp_path / "labels.gpkg"))
    assert make_tiles(TileConfig((source,), 640), tmp_path / "set") == 9
    for found in read_all(tmp_path / "set"):
        cols = np.arange(found.col, found.col + found.labels.shape[1])
        assert ((found.labels == 255) == (cols >= 1400)).all()
    with rasterio.open(tmp_path / "set" / "labels" / "a_000000_000000.tif") as file:
        assert file.colormap(1)[1][:3] == LEGEND[CROP].rgb


@without_georeference
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_images_of_a_folder_know_where_they_have_no_data(suffix, tmp_path):
    image = np.full((4, 20, 30), 120, np.uint8)
    image[3] = 255
    image[3, :, 12:] = 0
    place = GSD_M if suffix == ".tif" else None
    write_raster(tmp_path / "images" / f"a{suffix}", image, place, **({"alpha": "YES"} if suffix == ".tif" else {}))
    write_raster(tmp_path / "masks" / "a.png", np.full((1, 20, 30), 2, np.uint8), None)
    source = TileSource("m", str(tmp_path / "images"), str(tmp_path / "masks"), gsd_m=GSD_M, validation_names=("a*",))
    assert make_tiles(TileConfig((source,)), tmp_path / "set") == 1
    (found,) = read_all(tmp_path / "set")
    assert found.split == "validation"
    assert (found.labels[:, :12] == 2).all()
    assert (found.labels[:, 12:] == 255).all()
    assert bool(found.profile) == (suffix == ".tif")


@without_georeference
def test_what_validates_must_be_there_and_fit_the_source(tmp_path):
    for name in ("IMG [0]", "IMG_1"):
        write_raster(tmp_path / "images" / f"{name}.png", np.full((3, 8, 8), 9, np.uint8), None)
        write_raster(tmp_path / "masks" / f"{name}.png", np.zeros((1, 8, 8), np.uint8), None)
        (tmp_path / "masks" / f"{name}.aux.xml").write_text("<x/>")
        (tmp_path / "masks" / f"{name}.jgw").write_text("1")
    folder = TileSource("m", str(tmp_path / "images"), str(tmp_path / "masks"), gsd_m=0.003)
    one = replace(folder, validation_names=("IMG_1.png",))
    make_tiles(TileConfig((one,)), tmp_path / "set")
    assert {line["name"]: line["split"] for line in read_index(tmp_path / "set")} == {
        "m_IMG [0]": "train", "m_IMG_1": "validation",
    }  # fmt: skip
    image = write_raster(tmp_path / "ortho.tif", np.full((3, 8, 8), 9, np.uint8))
    ortho = TileSource("o", str(image), str(write_raster(tmp_path / "labels.tif", np.zeros((1, 8, 8), np.uint8))))
    for source, message in (
        (replace(folder, validation_names=("IMG_2",)), "no image of m is called 'IMG_2'"),
        (replace(folder, validation_cols=(0, 4)), "say with validation_names"),
        (replace(ortho, validation_names=("o",)), "say with validation_cols"),
        (replace(ortho, validation_cols=(6, 2)), "first and the last"),
        (replace(ortho, name="a/b"), "a part of a file's name"),
    ):
        with pytest.raises(LabelError, match=message):
            make_tiles(TileConfig((source,)), tmp_path / "none")
    with pytest.raises(LabelError, match="tile_px is 0"):
        make_tiles(TileConfig((ortho,), 0), tmp_path / "none")
    write_raster(tmp_path / "masks" / "IMG_1.tif", np.zeros((1, 8, 8), np.uint8), None)
    with pytest.raises(LabelError, match=r"several masks .*IMG_1.png and IMG_1.tif"):
        make_tiles(TileConfig((folder,)), tmp_path / "none")


@without_georeference
def test_labels_of_a_folder_are_found_by_name_whatever_the_case_and_may_hold_no_plant(tmp_path):
    for name in ("DJI_1", "DJI_2", "DJI_3"):
        write_raster(tmp_path / "images" / f"{name}.TIF", np.full((3, 20, 30), 9, np.uint8))
    write_raster(tmp_path / "labels" / "DJI_1.PNG", np.full((1, 20, 30), 2, np.uint8), None)
    weed = gpd.GeoDataFrame(
        {"class": ["weed"]}, geometry=[shapely.box(690000, 5359999.99, 690000.01, 5360000)], crs=32632
    )
    weed.to_file(tmp_path / "labels" / "DJI_2.gpkg")
    weed.iloc[:0].to_file(tmp_path / "labels" / "DJI_3.geojson")
    source = TileSource("m", str(tmp_path / "images"), str(tmp_path / "labels"))
    assert make_tiles(TileConfig((source,)), tmp_path / "set") == 3
    assert [found.labels.max() for found in read_all(tmp_path / "set")] == [2, 2, 0]


def test_a_source_of_which_nothing_is_known_is_told(ortho, tmp_path):
    _, labels, source = ortho
    left_out = write_raster(tmp_path / "left_out.tif", np.full((1, *labels.shape), 255, np.uint8))
    sources = (source, replace(source, name="b", labels=str(left_out)))
    with pytest.raises(LabelError, match="no pixel of b has both data in .* and a label in .*left_out.tif"):
        make_tiles(TileConfig(sources, tile_px=32), tmp_path / "set")
    assert make_tiles(TileConfig(sources[:1], tile_px=32), tmp_path / "set") == 12


def tile(name: str = "a") -> Tile:
    return Tile(name, "train", "s", 0, 0, 0.003, np.zeros((3, 8, 8), np.uint8), np.zeros((8, 8), np.uint8))


def test_a_set_that_was_not_finished_is_none_and_can_be_made_again(tmp_path):
    with pytest.raises(LabelError, match="two tiles are called a"):
        write_set([tile(), tile()], tmp_path / "set")
    with pytest.raises(LabelError, match="is no tile set"):
        read_index(tmp_path / "set")
    assert write_set([tile(), tile("b")], tmp_path / "set") == 2
    assert [line["name"] for line in read_index(tmp_path / "set")] == ["a", "b"]
    assert not list((tmp_path / "set").glob(".*"))


@pytest.mark.parametrize("nodata", [0, -9999, None])
def test_a_raster_of_ids_has_no_plants_where_it_holds_no_data(nodata, tmp_path):
    ids = np.full((8, 8), 0 if nodata is None else nodata, np.int32)
    ids[1:3, 1:3], ids[5:7, 5:7] = 70_000, 3
    with rasterio.open(
        tmp_path / "ids.tif", "w", driver="GTiff", height=8, width=8, count=1, dtype="int32", nodata=nodata,
        transform=from_origin(690000, 5360000, 0.01, 0.01), crs="EPSG:32632",
    ) as sink:  # fmt: skip
        sink.write(ids, 1)
    found = InstanceSource(tmp_path / "ids.tif", image_grid(tmp_path / "ids.tif")).read(Rect(0, 0, 8, 8))
    wanted = np.zeros((8, 8), np.uint16)
    wanted[1:3, 1:3], wanted[5:7, 5:7] = 2, 1
    np.testing.assert_array_equal(found, wanted)


def test_a_set_is_never_written_over_another_and_names_are_unique(tmp_path):
    with pytest.raises(LabelError, match="two tiles are called a"):
        write_set([tile(), tile()], tmp_path / "twice")
    write_set([tile()], tmp_path / "set")
    with pytest.raises(LabelError, match="holds a tile set already"):
        write_set([tile("b")], tmp_path / "set")


def test_plants_of_a_set_that_was_never_finished_are_gone(tmp_path):
    write_set([replace(tile(), instances=np.ones((8, 8), np.uint16))], tmp_path)
    (tmp_path / "index.csv").unlink()
    write_set([tile()], tmp_path)
    assert read_tile(tmp_path, read_index(tmp_path)[0]).instances is None


def test_a_set_says_what_it_holds_and_lacks(tmp_path):
    labels = np.zeros((8, 8), np.uint8)
    labels[0, :4] = CROP
    write_set([replace(tile(), labels=labels), tile("b")], tmp_path)
    assert summary_lines(tmp_path) == [
        "train            2 tiles  soil 96.88%, crop 3.12%, weed 0.00%",
        "validation       0 tiles",
        "look: train holds no weed",
        "look: nothing is left for validation",
    ]


def test_damaged_sets_are_named(tmp_path):
    with pytest.raises(LabelError, match="is no tile set"):
        read_index(tmp_path)
    (tmp_path / "index.csv").write_text("name,split\na,train\n")
    with pytest.raises(LabelError, match="has no source, row, col"):
        read_index(tmp_path)
    (tmp_path / "index.csv").unlink()
    write_set([tile()], tmp_path)
    (line,) = read_index(tmp_path)
    write_raster(tmp_path / "labels" / "a.tif", np.zeros((1, 8, 7), np.uint8))
    with pytest.raises(LabelError, match=r"its labels \(8, 7\)"):
        read_tile(tmp_path, line)
    (tmp_path / "images" / "a.tif").write_bytes(b"II*\0")
    with pytest.raises(LabelError, match="cannot be read"):
        read_tile(tmp_path, line)


def test_the_shipped_set_is_whole_and_small():
    tiles = read_all(SHIPPED)
    assert len(tiles) == 12
    sources = {split: {one.source for one in tiles if one.split == split} for split in ("train", "validation")}
    assert not sources["train"] & sources["validation"]
    for one, line in zip(tiles, read_index(SHIPPED), strict=True):
        counts = [int((one.labels == code).sum()) for code in range(3)]
        assert counts == [int(line[name]) for name in ("soil_px", "crop_px", "weed_px")]
        assert min(counts) > 0, "every tile shows every class"
    listed = {f"{one.name}.tif" for one in tiles}
    for kind in ("images", "labels"):
        assert {path.name for path in (SHIPPED / kind).iterdir()} == listed
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file()) < 1.2e6


def test_the_shipped_set_comes_from_its_script(tmp_path):
    spec = importlib.util.spec_from_file_location("make_tiles_script", SHIPPED / "make_tiles.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.make(tmp_path) == 12
    for ours, theirs in zip(read_all(SHIPPED), read_all(tmp_path), strict=True):
        assert (ours.name, ours.split, ours.gsd_m) == (theirs.name, theirs.split, theirs.gsd_m)
        assert (ours.labels != theirs.labels).mean() < 1e-3  # another version of scipy may turn a sprite differently
        assert np.abs(ours.image.astype(int) - theirs.image).mean() < 1
    assert (SHIPPED / "README.md").read_text() == (tmp_path / "README.md").read_text()


def test_the_real_fields_are_split_as_their_readme_says(fields):
    config = yaml.safe_load((Path(__file__).parents[1] / "configs" / "tiles_default.yaml").read_text())
    potato, maize = config["sources"]
    with rasterio.open(fields / "potato" / "labels.tif") as labels:
        source = TileSource("p", "o", "l", validation_cols=tuple(potato["validation_cols"]))
        parts = [(split, rect.col0, rect.col1) for split, rect in _parts(source, labels.shape)]
    assert parts == [("validation", 8320, 9600), ("train", 0, 8320)]
    names = {path.stem for path in (fields / "maize" / "images").glob("*.png")}
    assert set(maize["validation_names"]) == {"2023-05-25_0750", "2023-05-25_0786", "2023-05-30_0750"} <= names


def test_plants_of_a_tile_come_from_outlines_or_from_a_raster_of_ids(tmp_path):
    rng = np.random.default_rng(4)
    ids = np.zeros((120, 90), np.uint16)
    shapes = []
    for number in range(1, 13):
        row, col = 5 + 9 * number, int(rng.integers(5, 80))
        ids[row : row + 4, col : col + 5] = 1000 * number
        shapes.append(shapely.box(500 + 0.1 * col, 900 - 0.1 * (row + 4), 500 + 0.1 * (col + 5), 900 - 0.1 * row))
    transform = from_origin(500, 900, 0.1, 0.1)
    profile = {"driver": "GTiff", "height": 120, "width": 90, "crs": "EPSG:32632", "transform": transform}
    for name, data in (("image", np.full((3, 120, 90), 90, np.uint8)), ("ids", ids[None])):
        with rasterio.open(tmp_path / f"{name}.tif", "w", count=len(data), dtype=data.dtype, **profile) as sink:
            sink.write(data)
    labels = (ids > 0).astype(np.uint8)
    with rasterio.open(tmp_path / "labels.tif", "w", count=1, dtype="uint8", **profile) as sink:
        sink.write(labels, 1)
    frame = gpd.GeoDataFrame({"class": ["crop"] * 12}, geometry=shapes, crs="EPSG:32632")
    frame.to_file(tmp_path / "plants.gpkg", driver="GPKG")
    found = {}
    for kind in ("ids.tif", "plants.gpkg"):
        source = TileSource("field", *(str(tmp_path / name) for name in ("image.tif", "labels.tif", kind)))
        make_tiles(TileConfig((source,), tile_px=64), tmp_path / kind[:3])
        tiles = [read_tile(tmp_path / kind[:3], line) for line in read_index(tmp_path / kind[:3])]
        assert len(tiles) == 4
        for tile in tiles:
            there = ids[tile.row : tile.row + 64, tile.col : tile.col + 64]
            pairs = set(zip(there.ravel().tolist(), tile.instances.ravel().tolist(), strict=True))
            assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})  # one to one
            assert (0, 0) in pairs
            assert len(pairs) - 1 <= tile.instances.max() <= 12
        found[kind] = tiles
    shifted = profile | {"transform": from_origin(501, 900, 0.1, 0.1), "count": 1, "dtype": "uint16"}
    with rasterio.open(tmp_path / "ids.tif", "w", **shifted) as sink:
        sink.write(ids, 1)
    with pytest.raises(LabelError, match="does not lie on the grid"):
        make_tiles(TileConfig((replace(source, instances=str(tmp_path / "ids.tif")),)), tmp_path / "again")
