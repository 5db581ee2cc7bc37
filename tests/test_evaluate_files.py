"""Evaluation of files: rasters, run directories and tile sets give what their arrays give, and a report."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine
from click.testing import CliRunner
from odc.geo.geobox import GeoBox
from rasterio.features import rasterize

from fakes import LatticeSegmenter
from geoseg.cli import main
from geoseg.errors import LabelError
from geoseg.legend import CROP, NODATA, WEED
from geoseg.models.card import ModelCard
from geoseg.segment.forward import classify
from geoseg.spray.machine import read_machine
from geoseg.train.evaluate import confusion
from geoseg.train.evaluate_pairs import Outlines, raster_pair
from geoseg.train.evaluate_report import evaluate_pairs, evaluation_dict, evaluation_lines, write_report
from geoseg.train.evaluate_settings import Patch
from geoseg.train.evaluate_tables import count_pair
from geoseg.train.evaluate_tiles import predict_tile, tile_pairs
from geoseg.train.tiles import Tile, read_index, read_tile, write_set
from geoseg.windows import Rect
from test_evaluate_scores import CONFIG as SCORES
from test_evaluate_scores import Arrays, field

CONFIG = replace(SCORES, worst=1)
TILES = Path(__file__).resolve().parents[1] / "tiles"
PLACE = Affine(0.01, 0, 500000, 0, -0.01, 5400000)


def write(path, pixels, crs="EPSG:32632", transform=PLACE):
    with rasterio.open(
        path, "w", driver="GTiff", dtype=pixels.dtype, count=1, height=pixels.shape[0], width=pixels.shape[1],
        crs=crs, transform=transform,
    ) as raster:  # fmt: skip
        raster.write(pixels, 1)
    return path


@pytest.fixture
def run(tmp_path):
    """A run directory, labels beside it, and the same as arrays."""
    pair = field()
    folder = tmp_path / "run"
    folder.mkdir()
    write(folder / "classes.tif", pair.patch.classes)
    write(folder / "confidence.tif", pair.patch.confidence)
    write(tmp_path / "labels.tif", pair.patch.labels)
    return folder, tmp_path / "labels.tif", pair


def scores(pair):
    return evaluate_pairs([pair], CONFIG)["all"].scores


def test_a_run_directory_scores_as_its_arrays(run):
    folder, labels, pair = run
    assert scores(raster_pair(folder, labels)) == pytest.approx(scores(pair), nan_ok=True)
    alone = scores(raster_pair(folder / "classes.tif", labels))
    assert np.isnan(alone["calibration.ece"])
    assert alone["miou"] == pytest.approx(scores(pair)["miou"])


def test_plants_of_a_run_are_its_ids(run):
    folder, labels, pair = run
    ids = np.zeros(pair.shape, np.uint32)
    ids[10:60, 10:60], ids[80:100, 80:100] = 70_000, 9
    write(folder / "panoptic.tif", ids)
    given = Arrays(Patch(pair.patch.labels, pair.patch.classes, pair.patch.confidence, None, ids))
    assert scores(raster_pair(folder, labels)) == pytest.approx(scores(given), nan_ok=True)


def outlines(tmp_path):
    shapes = [shapely.box(500000.1, 5399999.1, 500000.5, 5399999.6), shapely.Point(500000.5, 5399999.4).buffer(0.2)]
    frame = gpd.GeoDataFrame({"class": ["crop", "weed"]}, geometry=shapes, crs="EPSG:32632")
    frame.to_file(tmp_path / "plants.gpkg")
    return tmp_path / "plants.gpkg", shapes


def test_outlines_as_labels_tell_plants_apart(run, tmp_path):
    folder, _, pair = run
    path, shapes = outlines(tmp_path)
    labels = rasterize(zip(shapes, (CROP, WEED), strict=True), pair.shape, transform=PLACE, dtype="uint8")
    ids = rasterize(zip(sorted(shapes, key=lambda s: -s.area), (1, 2), strict=True), pair.shape, transform=PLACE)
    given = Arrays(Patch(labels, pair.patch.classes, pair.patch.confidence, ids, None))
    assert scores(raster_pair(folder, path)) == pytest.approx(scores(given), nan_ok=True)
    write(tmp_path / "burnt.tif", labels)
    beside = raster_pair(folder, tmp_path / "burnt.tif", instances=path)
    assert scores(beside) == pytest.approx(scores(given), nan_ok=True)


def test_ids_of_a_part_are_those_of_the_whole(tmp_path):
    path, _ = outlines(tmp_path)
    found = Outlines(gpd.read_file(path), GeoBox((150, 130), PLACE, "EPSG:32632"))
    whole, rect = found.read(Rect(0, 0, 150, 130)), Rect(33, 20, 90, 71)
    assert set(np.unique(whole)) == {0, 1, 2}
    np.testing.assert_array_equal(found.read(rect), whole[rect.slices])


def test_a_raster_without_resolution_needs_one(tmp_path):
    pair = field()
    for name, pixels in (("classes.tif", pair.patch.classes), ("labels.tif", pair.patch.labels)):
        with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
            write(tmp_path / name, pixels, None, Affine.identity())
    with pytest.raises(LabelError, match="how large its pixels are; give --gsd"):
        raster_pair(tmp_path / "classes.tif", tmp_path / "labels.tif")
    given = raster_pair(tmp_path / "classes.tif", tmp_path / "labels.tif", gsd_m=0.01)
    assert scores(given)["spraying.weed_m2"] == scores(pair)["spraying.weed_m2"]


def test_metres_are_those_on_the_ground(tmp_path):
    """In Web Mercator at 48 degrees a metre on the map is 0.67 m; pixels counted below 0 are no metres."""
    pair = field()
    mercator = Affine(0.015, 0, 1280000, 0, -0.015, 6123000)
    for name, pixels in (("classes.tif", pair.patch.classes), ("labels.tif", pair.patch.labels)):
        write(tmp_path / name, pixels, "EPSG:3857", mercator)
    found = raster_pair(tmp_path / "classes.tif", tmp_path / "labels.tif")
    area = pyproj.Geod(ellps="WGS84").geometry_area_perimeter(
        shapely.transform(
            shapely.box(1280000, 6122999, 1280001, 6123000),
            lambda xy: np.transpose(pyproj.Transformer.from_crs(3857, 4326, always_xy=True).transform(*xy.T)),
        )
    )[0]
    assert found.gsd_m == pytest.approx(0.015 * np.sqrt(abs(area)), rel=1e-3)
    with pytest.raises(LabelError, match="by its georeference"):
        raster_pair(tmp_path / "classes.tif", tmp_path / "labels.tif", gsd_m=0.015)
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        write(tmp_path / "below.tif", pair.patch.classes, None, Affine(1, 0, 0, 0, -1, 0))
    with pytest.raises(LabelError, match="how large its pixels are; give --gsd"):
        raster_pair(tmp_path / "below.tif", tmp_path / "labels.tif")


def test_what_cannot_be_scored_is_refused(run, tmp_path):
    folder, labels, pair = run
    with pytest.raises(LabelError, match="neither a run directory .* nor a tile set"):
        raster_pair(tmp_path, labels)
    write(tmp_path / "moved.tif", pair.patch.labels, transform=PLACE * Affine.translation(3, 0))
    with pytest.raises(LabelError, match="grid"):
        scores(raster_pair(folder, tmp_path / "moved.tif"))
    write(folder / "confidence.tif", pair.patch.confidence[:-1])
    with pytest.raises(LabelError, match="does not lie on the grid"):
        scores(raster_pair(folder, labels))
    write(tmp_path / "nine.tif", np.full(pair.shape, 9, np.uint8))
    with pytest.raises(LabelError, match="holds \\[9\\]"):
        scores(raster_pair(tmp_path / "nine.tif", labels))
    nothing = np.full(pair.shape, NODATA, np.uint8)
    with pytest.raises(LabelError, match="no pixel has both"):
        scores(Arrays(Patch(nothing, nothing)))


def test_a_tile_set_scores_as_its_tiles_one_by_one():
    segmenter = LatticeSegmenter()
    pairs = tile_pairs(TILES, segmenter)
    lines = [line for line in read_index(TILES) if line["split"] == "validation"]
    assert [pair.name for pair in pairs] == [line["name"] for line in lines]
    found = evaluate_pairs(pairs, CONFIG)["all"]
    matrix, right = np.zeros((3, 3), int), 0
    for line in lines:
        tile = read_tile(TILES, line)
        classes, _ = classify(predict_tile(segmenter, tile)[None])
        matrix += confusion(tile.labels, classes[0])
        right += int((tile.labels == classes[0]).sum())
    np.testing.assert_array_equal(found.tables.matrix.sum(axis=0), matrix)
    assert found.scores["accuracy"] == pytest.approx(right / matrix.sum())
    assert len(tile_pairs(TILES, segmenter, None)) == len(read_index(TILES))
    with pytest.raises(LabelError, match="no tile of the split 'test'"):
        tile_pairs(TILES, segmenter, "test")


def test_sources_are_scored_one_by_one():
    one, two = field(1), field(2)
    object.__setattr__(two, "source", "other")
    found = evaluate_pairs([one, two], CONFIG)
    assert list(found) == ["all", "arrays", "other"]
    assert found["arrays"].scores == evaluate_pairs([one], CONFIG)["all"].scores
    plain = evaluation_dict(found)
    assert plain["pixels"] == sum(plain["sources"][name]["pixels"] for name in ("arrays", "other"))
    assert sum(line.startswith("==") for line in evaluation_lines(found)) == 3


def test_no_more_than_a_strip_is_read_at_once(monkeypatch):
    monkeypatch.setattr("geoseg.train.evaluate_tables._STRIP_PX", 10_000)
    pair, rows = field(shape=(400, 100)), []
    read = Arrays.read
    monkeypatch.setattr(Arrays, "read", lambda self, rect: rows.append(rect.shape[0]) or read(self, rect))
    count_pair(pair, CONFIG)
    assert max(rows) <= 100 + 2 * 4


def test_the_report_holds_all_scores_and_pictures(tmp_path):
    found = evaluate_pairs([field(1), field(2)], CONFIG)
    files = write_report(found, tmp_path / "report", "a test")
    assert {path.name for path in files} == {path.name for path in (tmp_path / "report").iterdir()}
    assert sorted(path.name for path in files if path.suffix == ".png") == [
        "confusion.png", "counts.png", "reliability.png", "savings.png", "worst.png",
    ]  # fmt: skip
    assert all(path.stat().st_size > 5000 for path in files if path.suffix == ".png")
    plain = json.loads((tmp_path / "report" / "evaluation.json").read_text())
    assert plain["classes"]["weed"]["iou"] == pytest.approx(found["all"].scores["classes.weed.iou"], rel=1e-5)
    page = (tmp_path / "report" / "evaluation.md").read_text()
    assert all(f"| {name} |" in page for name in found["all"].scores)
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_a_report_that_fails_leaves_the_last_one(tmp_path, monkeypatch):
    found = evaluate_pairs([field(1)], CONFIG)
    write_report(found, tmp_path / "report", "first")
    before = {path.name: path.read_bytes() for path in (tmp_path / "report").iterdir()}
    monkeypatch.setattr("geoseg.train.evaluate_report._page", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(found, tmp_path / "report", "second")
    assert {path.name: path.read_bytes() for path in (tmp_path / "report").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def call(*words, code=0):
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory):
    from geoseg.models.storage import save
    from geoseg.models.zoo import build

    card = ModelCard.model_validate({
        "name": "tiny", "version": "1", "description": "Random.", "architecture": "tiny", "licence": "Apache-2.0",
        "mean": (0.45, 0.4, 0.33), "std": (0.2, 0.2, 0.2), "gsd": {"train_m": 0.004, "min_m": 0.003, "max_m": 0.005},
        "tiling": {"write_px": 256, "margin_px": 8, "stride_px": 2},
    })  # fmt: skip
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save(folder, card, build("tiny", {}, 3, 3))
    return folder


def test_the_command_on_a_run_directory(run, tmp_path):
    folder, labels, pair = run
    out = call(
        "evaluate",
        folder,
        "--labels",
        labels,
        "--out",
        tmp_path / "report",
        "--set",
        "resamples=20",
        "--set",
        "worst=0",
    )
    assert "all figures and pictures in" in out
    found = json.loads(call("evaluate", folder, labels, "--json", "--set", "block_m=0.4", "--set", "resamples=20"))
    assert found["miou"] == pytest.approx(scores(pair)["miou"], rel=1e-5)
    assert found["settings"]["block_m"] == 0.4
    low, high = found["intervals"]["of"]["miou"]
    assert low < found["miou"] < high
    part = json.loads(call("evaluate", folder, labels, "--json", "--rows", 0, 50, "--cols", 10, 60))
    assert part["pixels"] < 50 * 50


def test_the_command_on_a_tile_set(tiny_model, tmp_path):
    found = json.loads(call("evaluate", TILES, "--model", tiny_model, "--json", "--set", "resamples=0"))
    with (TILES / "index.csv").open(newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["split"] == "validation"]
    names = ("soil_px", "crop_px", "weed_px")
    assert found["pixels"] == sum(int(line[name]) for line in lines for name in names)


def test_commands_that_do_not_fit_are_refused(run, tiny_model):
    folder, labels, _ = run
    assert "needs labels" in call("evaluate", folder, code=2)
    assert "has its own labels" in call("evaluate", TILES, labels, "--model", tiny_model, code=2)
    assert "is predicted already" in call("evaluate", folder, labels, "--model", tiny_model, code=2)
    assert "block_m" in call("evaluate", folder, labels, "--set", "block_m=0", code=2)


def test_a_machine_decides_the_cells(tiny_model):
    """Its section and step are those that are said by hand; one that nobody knows is refused."""
    words = "evaluate", TILES, "--model", tiny_model, "--json", "--split", "all", "--set", "resamples=0", "--set"
    machine = read_machine("spot_24m_nozzles")
    by_name = json.loads(call(*words, "spray.machine=spot_24m_nozzles"))["spraying"]
    by_hand = json.loads(
        call(*words, f"spray.section_m={machine.section_m}", "--set", f"spray.length_m={machine.length_m}")
    )
    assert by_name == by_hand["spraying"]
    assert by_name != json.loads(call(*words, "spray.buffer_m=0"))["spraying"]
    assert "boom_3m" in call(*words, "spray.machine=boom_3m", code=2)


def test_a_tile_set_of_other_bands_is_named(tmp_path, tiny_model):
    tile = Tile("four", "validation", "s", 0, 0, 0.004, np.zeros((4, 32, 32), np.uint8), np.zeros((32, 32), np.uint8))
    write_set([tile, replace(tile, name="also", split="train")], tmp_path / "set")
    for command in (
        ("evaluate", tmp_path / "set", "--model", tiny_model),
        ("models", "quantize", tiny_model, tmp_path / "set"),
    ):
        assert "has 4 bands, the card names 3" in call(*command, code=2)


def test_models_are_listed_and_shown(tiny_model):
    assert json.loads(call("models", "--json"))[0]["name"] == json.loads(call("models", "list", "--json"))[0]["name"]
    assert call("models", tiny_model) == call("models", "show", tiny_model)
    assert "neither a model directory" in call("models", "nobody", code=2)
    assert "show" in call("models", "--help")
