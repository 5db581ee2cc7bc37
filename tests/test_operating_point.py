"""The operating point of a card: the same shift on every backend, and nothing where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from geoseg.errors import ModelError
from geoseg.models.bias import shifted
from geoseg.models.card import CARD, ModelCard
from geoseg.models.storage import load, save
from geoseg.models.zoo import build
from geoseg.segment.forward import classify

BIAS = (0.0, -0.3, 0.8)


def model(folder: Path, **changes: object) -> Path:
    torch.manual_seed(0)
    card = ModelCard.model_validate({
        "name": "tiny", "version": "1", "description": "Random.", "architecture": "tiny", "licence": "Apache-2.0",
        "mean": (0.45, 0.4, 0.33), "std": (0.2, 0.2, 0.2), "gsd": {"train_m": 0.004, "min_m": 0.003, "max_m": 0.005},
        "tiling": {"write_px": 256, "margin_px": 8, "stride_px": 2},
    } | changes)  # fmt: skip
    save(folder, card, build("tiny", {}, 3, 3), half=False)
    return folder


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (1, 3, 64, 48)).astype(np.uint8)


def test_a_shift_multiplies_the_odds(tmp_path, image):
    plain = load(model(tmp_path / "plain"), "torch-cpu")(image)
    moved = load(model(tmp_path / "moved", logit_bias=BIAS), "torch-cpu")(image)
    odds = plain * np.exp(BIAS)[:, None, None]
    np.testing.assert_allclose(moved, odds / odds.sum(axis=1, keepdims=True), atol=1e-6)
    assert (moved.argmax(axis=1) != plain.argmax(axis=1)).any()


@pytest.mark.parametrize("backend", ["torch-cpu", "openvino-f32"])
def test_every_backend_shifts_alike(tmp_path, image, backend):
    segmenter = load(model(tmp_path, logit_bias=BIAS), backend)
    wanted = load(tmp_path, "torch-cpu")(image)
    np.testing.assert_allclose(segmenter(image), wanted, atol=1e-4)
    classes, confidence = segmenter.classify(image)
    there, sure = classify(wanted)
    assert (classes == there).mean() > 0.999
    assert np.abs(confidence.astype(int) - sure).max() <= 1


def test_without_a_shift_the_network_is_the_same_object():
    network = build("tiny", {}, 3, 3)
    assert shifted(network, ()) is network
    assert shifted(network, (0.0, 0.0, 0.0)) is network


def test_what_comes_beside_the_scores_stays():
    class Two(torch.nn.Module):
        def forward(self, x):
            return x, x[:, :2] * 7

    scores, offsets = shifted(Two(), BIAS)(torch.ones(1, 3, 4, 4))
    assert scores[0, :, 0, 0].tolist() == pytest.approx([1.0, 0.7, 1.8])
    assert (offsets == 7).all()


def test_a_shift_needs_a_number_per_class(tmp_path):
    path = model(tmp_path) / CARD
    path.write_text(path.read_text().replace('"logit_bias": []', '"logit_bias": [1, 2]'))
    with pytest.raises(ModelError, match="one number per class"):
        load(tmp_path)


def test_a_run_with_another_point_is_another_run(tmp_path):
    from geoseg.stages.segment import _model_identity

    cards = [ModelCard.read(model(tmp_path / str(n), logit_bias=bias) / CARD) for n, bias in enumerate([(), BIAS])]
    assert cards[0].weights_sha256 == cards[1].weights_sha256
    assert _model_identity(cards[0], "torch-cpu") != _model_identity(cards[1], "torch-cpu")
    assert "logit_bias" not in _model_identity(cards[0], "torch-cpu")
