"""An operating point reaches the recall that was asked for, when the model is run with it and scored anew."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from geoseg.cli import main
from geoseg.errors import LabelError
from geoseg.legend import NODATA, WEED
from geoseg.models.card import CARD, SHIPPED, ModelCard
from geoseg.models.storage import load
from geoseg.spray.rules import SprayConfig
from geoseg.train import evaluate_tune
from geoseg.train.evaluate_tiles import tile_pairs
from geoseg.train.evaluate_tune import Margins, margins_of, tuned
from geoseg.train.tiles import read_tile
from test_operating_point import model

TILES = Path(__file__).resolve().parents[1] / "tiles"
SPRAY = SprayConfig(buffer_m=0.0, unseen="skip")


def call(*words, code=0):
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.parametrize(("on", "recall"), [("pixels", 0.5), ("pixels", 0.9), ("cells", 0.6), ("cells", 0.9)])
def test_the_point_holds_when_the_model_is_run_with_it(tmp_path, on, recall):
    folder = model(tmp_path / "model", logit_bias=(0.0, 0.1, -1.0))
    ((name, point),) = json.loads(
        call("evaluate", TILES, "--model", folder, "--tune-recall", recall, "--tune-on", on, "--apply", "--json")
    ).items()
    card = ModelCard.read(folder / CARD)
    assert card.thresholds[name] == point
    assert list(card.logit_bias) == point["logit_bias"]
    assert card.logit_bias[:2] == (0.0, 0.1)
    found = json.loads(call("evaluate", TILES, "--model", folder, "--json", "--set", "resamples=0"))
    weed, spraying = found["classes"]["weed"], found["spraying"]
    assert weed["recall"] == pytest.approx(point["pixel_recall"], abs=2e-3)
    assert weed["precision"] == pytest.approx(point["pixel_precision"], abs=2e-3)
    assert spraying["weed_reached"] == pytest.approx(point["area_reached"], abs=2e-3)
    assert spraying["treated_share"] == pytest.approx(point["ground_treated"], abs=2e-3)
    reached = weed["recall"] if on == "pixels" else spraying["weed_reached"]
    assert reached >= recall - 2e-3


def test_a_little_less_would_not_do():
    random = np.random.default_rng(0)
    weed, other = np.zeros(4000, np.int64), np.zeros(4000, np.int64)
    margin = random.normal(0, 2, 5000)
    np.add.at(weed, ((margin + 20) / 0.01).astype(int), 1)
    cells = np.stack([random.normal(0, 2, 300), random.random(300), np.ones(300)], axis=1)
    margins = Margins(weed, other, cells)
    found = tuned(margins, 0.8, "pixels")
    assert (margin > -found.bias - 0.011).mean() >= 0.8 > (margin > -found.bias + 0.02).mean()
    found = tuned(margins, 0.8, "cells")
    reached = [cells[cells[:, 0] > -bias, 1].sum() / cells[:, 1].sum() for bias in (found.bias, found.bias - 0.02)]
    assert reached[0] >= 0.8 > reached[1]
    assert found.area_reached == pytest.approx(reached[0])


def test_weeds_beyond_doubt_are_not_reached():
    weed = np.zeros(4000, np.int64)
    weed[[0, 3000]] = 1, 9
    with pytest.raises(LabelError, match="no shift reaches 95.0% of the weeds"):
        tuned(Margins(weed, weed, np.array([[-30.0, 1, 1]])), 0.95, "pixels")
    assert tuned(Margins(weed, weed, np.array([[-3.0, 1, 1]])), 0.9, "pixels").pixel_recall == 0.9
    with pytest.raises(LabelError, match="no shift reaches 50.0% of the weeds"):  # nor by half a bin of margins
        tuned(Margins(weed, weed, np.array([[-19.987, 1, 1]])), 0.5, "cells")


def test_a_cell_triggers_as_the_rule_says(tmp_path):
    pairs = tile_pairs(TILES, load(model(tmp_path)))[:1]
    margins = margins_of(pairs, SPRAY)
    with pairs[0].open() as opened:
        from geoseg.windows import Rect

        patch = opened.read(Rect(0, 0, *pairs[0].shape))
    assert margins.cells[:, 1].sum() == pytest.approx((patch.labels == 2).sum() * pairs[0].gsd_m ** 2)
    assert margins.cells[:, 2].sum() == pytest.approx((patch.labels != 255).sum() * pairs[0].gsd_m ** 2)
    assert margins.weed.sum() + margins.other.sum() == (patch.labels != 255).sum()


def test_shipped_models_are_left_alone(tmp_path, monkeypatch):
    shutil.copytree(SHIPPED / "default", tmp_path / "shipped" / "default")
    monkeypatch.setattr("geoseg.models.card.SHIPPED", tmp_path / "shipped")
    for shipped in ("default", tmp_path / "shipped" / "default"):
        text = call("evaluate", TILES, "--model", shipped, "--tune-recall", 0.9, code=2)
        assert f"{shipped} comes with geoseg and stays as it is; copy" in text
    folder = model(tmp_path / "model")
    before = (folder / CARD).read_bytes()
    text = call("evaluate", TILES, "--model", folder, "--tune-recall", 0.7)
    assert "--apply would use it" in text
    after = ModelCard.read(folder / CARD)
    assert after.logit_bias == ()
    assert after.model_copy(update={"thresholds": {}}) == ModelCard.model_validate_json(before)
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "weights.safetensors"]


def test_weeds_of_which_a_network_is_sure_that_they_are_none(tmp_path, monkeypatch):
    """Softmax in 32 bits tells 1e-20 from nothing: no shift of 20 or less makes weeds of it."""
    pairs = tile_pairs(TILES, load(model(tmp_path)))[:1]

    def predict(segmenter, tile):
        found = np.zeros((3, *tile.labels.shape))
        found[0], found[WEED] = 1, np.where(np.indices(tile.labels.shape)[1] % 2, 1e-20, 1e-8)
        return found

    monkeypatch.setattr(evaluate_tune, "predict_tile", predict)
    margins = margins_of(pairs, SPRAY)
    point = tuned(margins, 0.4, "pixels")
    assert point.bias == pytest.approx(8 * np.log(10), abs=0.02)
    assert 0.4 < point.pixel_recall < 0.6
    with pytest.raises(LabelError, match="no shift reaches 95.0% of the weeds"):
        tuned(margins, 0.95, "pixels")


@pytest.mark.parametrize("on", ["cells", "pixels"])
def test_a_network_surer_of_its_weeds_than_any_shift(tmp_path, monkeypatch, on):
    """What lies farther than 20 above is one bin, so no shift may go in between."""
    pairs = tile_pairs(TILES, load(model(tmp_path)))[:1]
    labels = read_tile(TILES, pairs[0].line).labels
    seen = np.full((3, *labels.shape), 1e-28)
    seen[WEED], seen[0] = 1, np.where(np.indices(labels.shape)[1] < labels.shape[1] // 2, 1e-25, 1e-10)
    monkeypatch.setattr(evaluate_tune, "predict_tile", lambda segmenter, tile: seen)
    point = tuned(margins_of(pairs, SPRAY), 0.1, on)
    seen[WEED] *= np.exp(point.bias)
    found = seen.argmax(axis=0) == WEED
    assert point.bias >= -20
    assert point.pixel_recall == found[labels == WEED].mean()
    assert point.pixel_precision == (labels == WEED)[found & (labels != NODATA)].mean()


def test_the_point_that_was_asked_for_is_told(tmp_path):
    folder = model(tmp_path / "model")
    card = ModelCard.read(folder / CARD)
    card.model_copy(update={"scores": {"mine": {"miou": 0.5}}}).write(folder / CARD)
    words = "evaluate", TILES, "--model", folder, "--tune-recall"
    for recall in (0.9, 0.8, 0.9):
        assert call(*words, recall).startswith(f"weed_recall_{recall}_cells: ")
    assert ModelCard.read(folder / CARD).scores == {"mine": {"miou": 0.5}}
    result = CliRunner().invoke(main, [str(word) for word in (*words, 0.9, "--apply", "--json")])
    assert "scores of another point" in result.stderr
    assert list(json.loads(result.stdout)) == ["weed_recall_0.9_cells"]
    assert ModelCard.read(folder / CARD).scores == {}
