"""Labels that nobody drew: how right they are, how wrong they say they are, and what a person's clicks add."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

from adaptfields import GSD, rendered
from geoseg.adapt.balance import View, Views, confusion_by_balance, confusion_of_rule
from geoseg.adapt.field import open_field
from geoseg.adapt.fieldrule import survey
from geoseg.adapt.hints import hint_tiles, read_hints
from geoseg.adapt.pseudo import PseudoConfig, network_bands, pseudo_tiles
from geoseg.adapt.rowlabels import label_image, plant_probability
from geoseg.adapt.rowrule import FAR, RowRule, Scene, describe
from geoseg.errors import ConfigError, LabelError
from geoseg.legend import CROP, NODATA, SOIL, WEED
from geoseg.train.evaluate import scores
from geoseg.train.tiles import TRAIN, VALIDATION, read_index, write_set


@pytest.fixture(scope="module")
def seen():
    where = open_field(rendered().ortho)
    return where, survey(where)


@pytest.fixture(scope="module")
def tiles(seen):
    return pseudo_tiles(*seen, PseudoConfig(tiles=40, tile_px=200))


def truth_of(tile) -> np.ndarray:
    height, width = tile.labels.shape
    return rendered().field.labels[tile.row : tile.row + height, tile.col : tile.col + width]


def test_labels_are_as_right_as_they_say(tiles):
    """Of the plants' pixels that are labelled, the share with the other class is near what the rule expects."""
    wrong = {CROP: [0, 0], WEED: [0, 0]}
    for tile in tiles.tiles:
        truth = truth_of(tile)
        for code, other in ((CROP, WEED), (WEED, CROP)):
            chosen = (tile.labels == code) & np.isin(truth, (CROP, WEED))
            wrong[code][0] += int((truth[chosen] == other).sum())
            wrong[code][1] += int(chosen.sum())
    facts = tiles.noise.facts()
    assert facts["labelled_of_green"] > 0.7
    assert wrong[CROP][0] / wrong[CROP][1] == pytest.approx(facts["weed_among_crop_labels"], abs=0.05)
    assert wrong[WEED][0] / wrong[WEED][1] < 0.2
    soil = sum(int((truth_of(tile)[tile.labels == SOIL] == SOIL).sum()) for tile in tiles.tiles)
    assert soil / sum(int((tile.labels == SOIL).sum()) for tile in tiles.tiles) > 0.99


def test_the_tile_set_is_read_back_and_part_of_it_is_held_out(tiles, tmp_path: Path):
    assert write_set(tiles.tiles, tmp_path / "tiles") == len(tiles.tiles)
    splits = [line["split"] for line in read_index(tmp_path / "tiles")]
    assert 0.1 < splits.count(VALIDATION) / len(splits) < 0.35
    assert splits.count(VALIDATION) + splits.count(TRAIN) == len(splits)
    places = {(tile.row, tile.col) for tile in tiles.tiles}
    assert len(places) == len(tiles.tiles)
    assert all(row % 200 == 0 and col % 200 == 0 for row, col in places)


def test_a_small_field_is_cut_into_small_tiles(seen):
    height, width = seen[0].shape
    found = pseudo_tiles(*seen, PseudoConfig(tile_px=512))
    side = found.tiles[0].labels.shape[0]
    assert (height // 512) * (width // 512) < 10 <= len(found.tiles)
    assert 96 <= side < 512
    assert 512 % side == 0
    assert {tile.split for tile in found.tiles} == {TRAIN, VALIDATION}


def test_plants_are_labelled_whole_and_doubt_is_left_out():
    green = np.zeros((20, 40), bool)
    green[5:9, 5:9] = green[5:9, 15:19] = green[5:9, 25:29] = True
    green[15, 35] = True
    scene = describe(green, np.zeros(green.shape, np.uint8), 2)
    weed = np.where(green, 0.5, 0).astype(np.float32)
    weed[5:9, 5:9], weed[5:9, 15:19] = 0.05, 0.95
    weed[5, 5] = 0.9  # one odd pixel of a plant
    found = label_image(green.astype(np.float32), scene, weed, 4, 0.25)
    assert (found.labels[5:9, 5:9] == CROP).all()
    assert (found.labels[5:9, 15:19] == WEED).all()
    assert (found.labels[5:9, 25:29] == NODATA).all()
    assert found.labels[15, 35] == NODATA
    assert found.labels[0, 0] == SOIL
    assert found.confidence[5, 16] == pytest.approx(0.95)


def test_what_is_pale_is_neither_taught_as_soil_nor_as_plant():
    greenness = np.array([[0.0, 0.24, 0.26, 0.4, 0.49, 0.6, 0.8]], np.float32).repeat(5, axis=0)
    scene = describe(greenness > 0.5, np.zeros(greenness.shape, np.uint8), 2)
    labels = label_image(greenness, scene, np.full(greenness.shape, 0.05, np.float32), 1, 0.25).labels
    assert labels[2].tolist() == [SOIL, SOIL, NODATA, NODATA, NODATA, CROP, CROP]
    probability = plant_probability(np.array([[0.2, 0.25, 0.5, 0.625, 0.75, 3.0]], np.float32))
    assert probability[0].tolist() == [0.0, 0.0, 0.5, 0.75, 1.0, 1.0]


def test_a_network_adds_what_no_index_sees(seen):
    """A look that sees one patch of bare soil as green adds this patch, and takes nothing away."""
    config = PseudoConfig(tiles=40, tile_px=200)
    alone = {tile.name: tile.labels for tile in pseudo_tiles(*seen, config).tiles}
    margin = seen[1].margin_px
    patch = slice(margin + 50, margin + 58)

    def look(image: np.ndarray) -> np.ndarray:
        found = np.zeros(image.shape[1:], np.float32)
        found[patch, patch] = 0.9
        return found

    inner = slice(50, 58)
    rest = np.ones((200, 200), bool)
    rest[inner, inner] = False
    was_soil = 0
    for tile in pseudo_tiles(*seen, config, look).tiles:
        before = alone[tile.name]
        was_soil += np.count_nonzero(before[inner, inner] == SOIL)
        assert not (tile.labels[inner, inner] == SOIL).any()
        assert (tile.labels[rest] == SOIL).sum() == (before[rest] == SOIL).sum()
    assert was_soil > 1000


def test_green_without_a_row_nearby_is_not_labelled():
    green = np.zeros((20, 20), bool)
    green[5:9, 5:9] = True
    scene = describe(green, np.full(green.shape, FAR, np.uint8), 2)
    weed = np.where(green, 0.99, 0).astype(np.float32)
    assert not np.isin(label_image(green.astype(np.float32), scene, weed, 1, 0.25).labels, (CROP, WEED)).any()


def test_bands_for_a_network():
    assert network_bands(("nir", "red", "green", "blue")) == ("red", "green", "blue")
    assert network_bands(("nir", "red", "green")) == ("red", "nir", "green")
    assert network_bands(("nir", "red")) is None


@pytest.mark.parametrize("change", [{"tiles": 2}, {"doubt": 0.5}])
def test_settings_that_cannot_work_are_refused(change):
    with pytest.raises(ConfigError, match="expected"):
        PseudoConfig(**change)


def drawn_view(random: np.random.Generator) -> tuple[View, np.ndarray]:
    """Squares of crop on the row and squares of weed anywhere, with the truth."""
    truth = np.zeros((400, 400), np.uint8)
    zone = np.zeros(truth.shape, np.int8)
    zone[:, 200:] = 1
    for row, col in random.integers(0, 396, (300, 2)):
        truth[row : row + 4, col : col + 4] = WEED
    for row in range(0, 390, 13):
        truth[row : row + 10, 95:105] = CROP
    green = truth > 0
    size = np.where(green, np.where(truth == CROP, 8, 3), 0).astype(np.int8)
    ground = np.array([200 * 400, 200 * 400])
    weed = np.where(truth == WEED, 0.9, 0.1).astype(np.float32)
    return View(
        np.zeros((3, 400, 400), np.uint8), size, zone, green.astype(np.float32), np.ones(truth.shape, bool), truth,
        weed, ground,
    ), truth  # fmt: skip


def test_the_balance_of_rows_finds_the_true_scores():
    """Of a classifier that is right, of one that calls all on the row crop, and of one that errs at random."""
    random = np.random.default_rng(5)
    view, truth = drawn_view(random)
    views = Views([view])
    density = np.zeros(24)
    density[3] = (truth[:, 200:] == WEED).sum() / (200 * 400)
    rule = RowRule(np.zeros((24, 11)), density, 2, 0.25, 9.0, 0.1, 0.1)
    on_row = truth.copy()
    on_row[:, :200][truth[:, :200] > 0] = CROP
    plants = truth > 0
    chance = np.where(plants & (random.random(truth.shape) < 0.3), 3 - truth, truth).astype(np.uint8)
    for classes in (truth, on_row, chance):
        expected = scores(np.bincount(truth.ravel() * 3 + classes.ravel(), minlength=9).reshape(3, 3)).f1
        found = scores(confusion_by_balance(views, rule, lambda _, classes=classes: classes)).f1
        assert found[SOIL] == pytest.approx(expected[SOIL], abs=0.01)
        assert found[WEED] == pytest.approx(expected[WEED], abs=0.15)
        assert found[CROP] == pytest.approx(expected[CROP], abs=0.15)


def test_the_estimate_counts_what_is_pale_on_both_sides():
    """Half of the pale pixels are plants: whoever calls all of them soil misses these, whoever calls none errs too."""
    shape = (100, 100)
    plant = np.zeros(shape, np.float32)
    plant[20:80, 60:80], plant[20:80, 80:90] = 1.0, 0.5  # between the rows: weeds
    zone = np.ones(shape, np.int8)
    zone[:, :50] = 0
    tight, wide = np.where(plant > 0.5, WEED, SOIL).astype(np.uint8), np.where(plant > 0, WEED, SOIL).astype(np.uint8)
    size = np.full(shape, 5, np.int8)
    view = View(np.zeros((3, *shape), np.uint8), size, zone, plant, np.ones(shape, bool), tight,
                np.full(shape, 0.5, np.float32), np.array([5000, 5000]))  # fmt: skip
    rule = RowRule(np.zeros((24, 11)), np.zeros(24), 2, 0.25, 9.0, 0.1, 0.1)
    for found, hits, wrong in ((tight, 1200, 0), (wide, 1500, 300)):
        matrix = confusion_by_balance(Views([view]), rule, lambda _, found=found: found)
        assert matrix[WEED].tolist() == [1500 - hits, 0, hits]
        assert matrix[SOIL, WEED] == wrong
    assert confusion_of_rule(Views([view]))[WEED].tolist() == [300, 0, 1200]


def test_views_hold_what_the_rule_sees(tiles, seen):
    rule = seen[1].rule
    found = scores(confusion_of_rule(tiles.views))
    assert found.f1[CROP] > 0.9
    same = scores(confusion_by_balance(tiles.views, rule, lambda view: view.ruled))
    assert same.f1[CROP] == pytest.approx(found.f1[CROP], abs=0.05)
    assert isinstance(tiles.views.views[0].zone, np.ndarray)
    worse = scores(confusion_by_balance(tiles.views, rule, lambda view: np.where(view.ruled > 0, 3 - view.ruled, 0)))
    assert np.nanmean(worse.f1) < np.nanmean(found.f1)


def write_hints(path: Path, shapes: list[tuple[str, shapely.Geometry]], crs: str = "EPSG:32632") -> Path:
    names, parts = zip(*shapes, strict=True)
    gpd.GeoDataFrame({"class": names}, geometry=list(parts), crs="EPSG:32632").to_crs(crs).to_file(path)
    return path


def test_hints_name_the_plants_under_them(seen, tmp_path: Path):
    where, rule = seen
    plants = rendered().field.plants
    big = plants[(plants["class"] == CROP) & (plants["area_px"] > 150)][:3]
    small = plants[(plants["class"] == WEED) & (plants["area_px"] > 40)][:3]
    shapes = [
        (name, shapely.Point(690000 + plant["col"] * GSD, 5360000 - plant["row"] * GSD))
        for name, some in (("crop", big), ("weed", small))
        for plant in some
    ]
    corner = shapely.box(690000.0, 5359999.9, 690000.2, 5360000.0)
    hints = read_hints(write_hints(tmp_path / "points.gpkg", [*shapes, ("soil", corner)], "EPSG:4326"), where)
    tiles = hint_tiles(where, rule, hints, 256)
    labels = np.full(where.shape, NODATA, np.uint8)
    for tile in tiles:
        part = labels[tile.row : tile.row + 256, tile.col : tile.col + 256]
        part[:] = tile.labels[: part.shape[0], : part.shape[1]]
    truth, instances = rendered().field.labels, rendered().field.instances
    for code, some in ((CROP, big), (WEED, small)):
        for plant in some:
            assert (labels[instances == plant["id"]] == code).mean() > 0.4
    assert np.count_nonzero(labels == CROP) < 3000
    assert (truth[labels == SOIL] == SOIL).mean() > 0.95
    assert np.count_nonzero(labels == SOIL) > 300


def test_hints_that_cannot_be_used_are_refused(seen, tmp_path: Path):
    far = write_hints(tmp_path / "far.gpkg", [("crop", shapely.Point(690900, 5360000))])
    with pytest.raises(LabelError, match="no shape of"):
        read_hints(far, seen[0])
    nameless = tmp_path / "nameless.gpkg"
    gpd.GeoDataFrame({"kind": ["crop"]}, geometry=[shapely.Point(690001, 5359999)], crs="EPSG:32632").to_file(nameless)
    with pytest.raises(LabelError, match="no column 'class'"):
        read_hints(nameless, seen[0])
    with pytest.raises(LabelError, match="cannot be read"):
        read_hints(tmp_path / "none.gpkg", seen[0])


def test_a_scene_is_cut_like_an_image():
    scene = describe(np.ones((8, 8), bool), np.zeros((8, 8), np.uint8), 1)
    assert isinstance(scene, Scene)
    assert (scene.off == 0).all()
