"""Crops from an ortho: its own pixels and labels, and never a pixel that validates; plants pasted elsewhere."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import rasterio.features
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import from_origin
from shapely.geometry import Polygon

from geoseg.config import load_as
from geoseg.errors import ConfigError, LabelError
from geoseg.models.card import GsdRange
from geoseg.train import fit as fitting
from geoseg.train.augment import AugmentConfig, change_looks
from geoseg.train.crops import CropConfig, Crops, offset_targets
from geoseg.train.fit import SetShare, TrainConfig, fit
from geoseg.train.labelfiles import LabelConfig
from geoseg.train.paste import Scene, paste_plants
from geoseg.train.sets import TileSet, open_set
from geoseg.train.tiles import Tile

ROOT = Path(__file__).resolve().parents[1]
SHAPE = (300, 420)
STILL = AugmentConfig(brightness=0, channel=0, contrast=0, gamma=1, noise=0, blur=0, shadow=0)
PLANTS = {1: ((40, 50), (70, 200), (150, 380), (250, 30)), 2: ((100, 120), (200, 300), (280, 400))}
GSD_M = 0.004


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """An ortho whose every pixel says where it is, labels as a raster and plants as polygons."""
    folder = tmp_path_factory.mktemp("field")
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]]
    image = np.stack([rows % 256, cols % 256, 16 * (rows // 256) + cols // 256]).astype(np.uint8)
    labels = np.zeros(SHAPE, np.uint8)
    shapes, codes = [], []
    transform = from_origin(500000, 5400000, GSD_M, GSD_M)
    for code, places in PLANTS.items():
        for row, col in places:
            labels[(rows - row) ** 2 + (cols - col) ** 2 <= 49] = code
            shapes.append(Polygon([transform * (col + x, row + y) for x, y in ((-8, -8), (9, -8), (9, 9), (-8, 9))]))
            codes.append({1: "crop", 2: "weed"}[code])
    labels[:20, :20] = 255
    shared = {"driver": "GTiff", "height": SHAPE[0], "width": SHAPE[1], "crs": "EPSG:32633", "transform": transform}
    with rasterio.open(folder / "ortho.tif", "w", count=3, dtype="uint8", nodata=None, **shared) as sink:
        sink.write(image)
    with rasterio.open(folder / "labels.tif", "w", count=1, dtype="uint8", **shared) as sink:
        sink.write(labels, 1)
    gpd.GeoDataFrame({"class": codes}, geometry=shapes, crs="EPSG:32633").to_file(folder / "plants.gpkg")
    area = Polygon([transform * point for point in ((100, 50), (260, 90), (240, 220), (120, 200))])
    gpd.GeoDataFrame(geometry=[area], crs="EPSG:32633").to_file(folder / "area.gpkg")
    return folder, labels, area


def share_of(field, **changes):
    folder = field[0]
    return replace(SetShare(ortho=str(folder / "ortho.tif"), labels=str(folder / "labels.tif")), **changes)


def held_out(field, share):
    """(H, W) bool of the pixels that validate, by brute force."""
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]]
    if share.validation_area:
        transform = from_origin(500000, 5400000, GSD_M, GSD_M)
        return rasterio.features.geometry_mask([field[2]], SHAPE, transform, invert=True)
    first, last = share.validation_rows or (0, SHAPE[0])
    left, right = share.validation_cols or (0, SHAPE[1])
    return (rows >= first) & (rows < last) & (cols >= left) & (cols < right)


SPLITS = {
    "columns": {"validation_cols": (200, 300)},
    "rows": {"validation_rows": (0, 101)},
    "rectangle": {"validation_cols": (33, 150), "validation_rows": (17, 200)},
    "polygon": {"validation_area": "area.gpkg"},
}


def split_share(field, name):
    changes = dict(SPLITS[name])
    if "validation_area" in changes:
        changes["validation_area"] = str(field[0] / changes["validation_area"])
    return share_of(field, **changes)


@pytest.mark.parametrize(
    "part", [{"validation_cols": (1500, 2000)}, {"validation_rows": (0, 15), "validation_cols": (0, 15)}]
)
def test_what_validates_has_labels(field, part):
    with ExitStack() as stack, pytest.raises(LabelError, match="what validates of .* holds no labelled pixel"):
        open_set(share_of(field, **part), 3, 64, stack)


@pytest.mark.parametrize("name", SPLITS)
def test_train_and_validation_never_touch(field, name):
    """Context included: whatever a crop is made of is in its window, and no window holds a pixel that validates."""
    share = split_share(field, name)
    validates = held_out(field, share)
    trained, validated = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    with ExitStack() as stack:
        source = open_set(share, 3, 64, stack)
        random = np.random.default_rng(0)
        for number in range(300):
            tile = source.draw(random, number % 2 == 0)
            trained[tile.row : tile.row + tile.labels.shape[0], tile.col : tile.col + tile.labels.shape[1]] = True
        for tile in source.validation():
            part = np.s_[tile.row : tile.row + tile.labels.shape[0], tile.col : tile.col + tile.labels.shape[1]]
            validated[part] |= tile.labels != 255
            assert (tile.image[:, ~validates[part]] == 0).all()  # nothing of the training part is to be seen
    assert not (trained & validates).any()
    assert trained.any()
    expected = validates & (field[1] != 255)
    np.testing.assert_array_equal(validated, expected)


@settings(max_examples=25)
@given(st.integers(0, 380), st.integers(10, 300), st.sampled_from([32, 64, 100]), st.integers(0, 2**32))
def test_whatever_is_held_out_is_held_out(field, first, width, side, seed):
    share = share_of(field, validation_cols=(first, first + width))
    validates = held_out(field, share)
    with ExitStack() as stack:
        try:
            source = open_set(share, 3, side, stack)
            tiles = [source.draw(np.random.default_rng(seed), weedy) for weedy in (True, False)]
        except LabelError:  # nothing is left to train on, which is said
            return
    for tile in tiles:
        part = np.s_[tile.row : tile.row + tile.labels.shape[0], tile.col : tile.col + tile.labels.shape[1]]
        assert not validates[part].any()


def test_a_window_is_the_ortho_s_own_pixels_with_its_labels_and_plants(field):
    folder, labels, _ = field
    with ExitStack() as stack:
        source = open_set(share_of(field, instances=str(folder / "plants.gpkg")), 3, 64, stack)
        random = np.random.default_rng(1)
        tiles = [source.draw(random, True) for _ in range(40)]
    for tile in tiles:
        rows, cols = np.mgrid[tile.row : tile.row + 64, tile.col : tile.col + 64]
        np.testing.assert_array_equal(tile.image[0], rows % 256)
        np.testing.assert_array_equal(tile.image[1], cols % 256)
        np.testing.assert_array_equal(tile.labels, labels[rows, cols])
        assert (tile.instances[tile.labels == 1] > 0).all()
        assert tile.gsd_m == pytest.approx(GSD_M)
    assert sum((tile.labels == 2).any() for tile in tiles) > 20  # by chance alone it would be a few
    assert len({(tile.row, tile.col) for tile in tiles}) > 30


def test_pixels_are_counted_where_they_train(field):
    share = share_of(field, validation_cols=(200, 300))
    with ExitStack() as stack:
        source = open_set(share, 3, 64, stack)
    trained = field[1][~held_out(field, share)]
    assert source.pixels.tolist() == [int((trained == code).sum()) for code in range(3)]
    assert not source.plants


def test_only_what_was_labelled_trains(field):
    folder, labels, _ = field
    share = share_of(field, label=LabelConfig(labelled_area=str(folder / "area.gpkg")))
    inside = held_out(field, replace(share, validation_area=str(folder / "area.gpkg")))
    with ExitStack() as stack:
        source = open_set(share, 3, 64, stack)
        random = np.random.default_rng(0)
        for number in range(100):
            tile = source.draw(random, number % 2 == 0)
            part = np.s_[tile.row : tile.row + tile.labels.shape[0], tile.col : tile.col + tile.labels.shape[1]]
            np.testing.assert_array_equal(tile.labels, np.where(inside[part], labels[part], 255))
            assert (tile.labels != 255).any()
    assert source.pixels.tolist() == [int((labels[inside] == code).sum()) for code in range(3)]


def test_training_from_an_ortho_is_training(field, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(fitting, "measure_parity", lambda *_: {})
    tiny = load_as(TrainConfig, Path("configs/train_tiny.yaml"))
    share = share_of(field, validation_rows=(200, 300), instances=str(field[0] / "plants.gpkg"))
    config = replace(tiny, sets=(share, SetShare("tiles")), steps=3, batch=4, crop_px=32, device="cpu", paste=0.5)
    cards = [fit(config, tmp_path / name) for name in ("one", "two")]
    assert cards[0].weights_sha256 == cards[1].weights_sha256
    assert set(cards[0].scores) >= {"validation of ortho"}
    assert cards[0].training["tiles"][share.ortho]["validation"] > 0


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"path": "tiles"}, ConfigError, "expected either path, or ortho and labels"),
        ({"labels": None}, ConfigError, "expected either path, or ortho and labels"),
        ({"validation_area": "a", "validation_cols": (1, 2)}, ConfigError, "expected one of them"),
        ({"validation_cols": (0, 420)}, LabelError, "no labelled pixel to train on"),
        ({"validation_cols": (8, 412)}, LabelError, "beside what validates"),
    ],
)
def test_sets_that_cannot_train_are_named(field, changes, error, message):
    with pytest.raises(error, match=message), ExitStack() as stack:
        open_set(share_of(field, **changes), 3, 64, stack).draw(np.random.default_rng(0), False)


def test_tiles_with_other_bands_are_named():
    with pytest.raises(LabelError, match="has 3 bands, the card names 5"), ExitStack() as stack:
        open_set(SetShare(str(ROOT / "tiles")), 5, 64, stack)


def test_an_ortho_with_too_few_bands_is_named(field):
    with pytest.raises(LabelError, match="3 bands of uint8; expected 5"), ExitStack() as stack:
        open_set(share_of(field), 5, 64, stack)


def plants_tile():
    """One crop and one weed of different colours, and a crop that the edge cuts."""
    rows, cols = np.mgrid[:96, :96]
    ids = np.zeros((96, 96), np.uint16)
    for number, (row, col, radius) in enumerate(((30, 40, 8), (70, 60, 5), (2, 90, 9)), start=1):
        ids[(rows - row) ** 2 + (cols - col) ** 2 <= radius**2] = number
    image = np.array([0, 100, 200, 50], np.uint8)[ids][None].repeat(3, axis=0)
    return Tile("a", "train", "a", 0, 0, GSD_M, image, np.array([0, 1, 2, 1], np.uint8)[ids], {}, ids)


def test_pasted_plants_come_whole_with_class_id_and_centre():
    tile = plants_tile()
    known = Crops([TileSet([tile])], [1.0], GsdRange(train_m=GSD_M, min_m=GSD_M, max_m=GSD_M), config())._known(0, tile)
    ground = Scene(
        torch.full((3, 64, 64), 0.9),
        torch.zeros(64, 64, dtype=torch.int64),
        torch.zeros(64, 64, dtype=torch.int64),
        torch.zeros(1, 2),
        torch.zeros(1),
    )
    random = np.random.default_rng(0)
    classes = set()
    for _ in range(20):
        scene = paste_plants(ground, tile, known, 1.0, random)
        assert torch.equal(scene.ids > 0, scene.labels > 0)
        assert torch.equal(scene.image[0] < 0.85, scene.labels > 0)  # their own colours, and the ground's elsewhere
        assert len(scene.centre) == len(scene.radius) > 1
        for plant in scene.ids.unique().tolist()[1:]:
            on = scene.ids == plant
            code = int(scene.labels[on][0])
            classes.add(code)
            assert (scene.labels[on] == code).all()
            radius = float(scene.radius[plant])
            assert radius == pytest.approx({1: 8, 2: 5}[code], rel=0.1)
            distance = (on.nonzero() - scene.centre[plant]).norm(dim=1)
            assert float(distance.max()) <= radius + 1.5
    assert classes == {1, 2}
    assert float(ground.image.min()) == pytest.approx(0.9)  # the scene before is left alone


def config(**changes):
    return replace(CropConfig(count=8, batch=4, size_px=64, weedy=0.5, seed=3, augment=STILL), **changes)


def test_pasting_shows_more_plants_and_offsets_point_to_them():
    gsd = GsdRange(train_m=GSD_M, min_m=GSD_M, max_m=GSD_M)
    counts = []
    for paste in (0.0, 1.0):
        batches = list(Crops([TileSet([plants_tile()])], [1.0], gsd, config(paste=paste)))
        counts.append(sum(len(ids.unique()) - 1 for batch in batches for ids in batch.instances))
    assert counts[1] > 1.5 * counts[0]
    for batch in batches:
        on = batch.weights > 0
        assert (batch.offsets.abs().amax(dim=1)[on] < 20).all()


def test_any_batch_can_be_made_without_those_before_it():
    gsd = GsdRange(train_m=GSD_M, min_m=0.003, max_m=0.005)
    crops = [Crops([TileSet([plants_tile()])], [1.0], gsd, config(paste=0.5, augment=AugmentConfig())) for _ in "ab"]
    whole, rest = list(crops[0]), list(crops[1].batches(5))
    assert len(whole) == 8
    for one, other in zip(whole[5:], rest, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.instances, other.instances)


def test_motion_blur_smears_along_one_line_and_keeps_the_light():
    images = torch.zeros(8, 3, 33, 33)
    images[:, :, 16, 16] = 1
    moved = change_looks(images, replace(STILL, motion=1.0), torch.Generator().manual_seed(0)) - 1e-4
    moved = moved.clamp(min=0)
    assert float(moved.sum(dim=(2, 3)).sub(1).abs().max()) < 0.05
    for one in moved[:, 0]:
        places = torch.nonzero(one > 0.02).float() - 16
        spread = torch.linalg.eigvalsh(places.T @ places / len(places))
        assert float(spread[0]) < 0.6 < float(spread[1])  # narrow across, long along
        assert 3 <= len(places) <= 30
    untouched = change_looks(images, STILL, torch.Generator().manual_seed(0))
    torch.testing.assert_close(untouched, images.clamp(min=1e-4))


def test_offsets_of_an_empty_crop_are_nothing():
    offsets, weights = offset_targets(torch.zeros(8, 8, dtype=torch.int64), torch.zeros(1, 2), torch.zeros(1))
    assert float(weights.sum()) == float(offsets.abs().sum()) == 0
