"""The default network beyond its weights: shape, sight, the encoder's order, and what a card may not ask of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from fakes import fake_card
from geoseg.errors import ModelError
from geoseg.models import TorchSegmenter, load, save
from geoseg.models.openvino import OpenvinoSegmenter
from geoseg.models.unet import STRIDE, EfficientNetLite0, UNet


def card(**changes: object):
    return fake_card(architecture="unet", tiling={"write_px": 128, "margin_px": 64, "stride_px": STRIDE}, **changes)


@pytest.mark.parametrize(("bands", "classes", "size"), [(3, 3, (32, 48)), (5, 3, (16, 16)), (1, 4, (64, 32))])
def test_scores_have_the_size_of_the_image(bands, classes, size):
    network = UNet(bands, classes).eval()
    with torch.inference_mode():
        assert network(torch.rand(2, bands, *size)).shape == (2, classes, *size)


def test_features_halve_down_to_the_stride():
    with torch.inference_mode():
        features = EfficientNetLite0().eval()(torch.rand(1, 3, 64, 96))
    assert [(one.shape[1], 64 // one.shape[2], 96 // one.shape[3]) for one in features] == [
        (16, 2, 2),
        (24, 4, 4),
        (40, 8, 8),
        (112, 16, 16),
    ]
    assert 64 // features[-1].shape[2] == STRIDE


def test_a_pixel_sees_no_farther_than_its_kernels_reach():
    """169 px from the kernels of the encoder, 30 px from those of the decoder, and the lattice: 224 px at most."""
    torch.manual_seed(0)
    network = UNet().double().eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_var.fill_(0.05)  # keeps the signal alive through random weights
    image = torch.rand(1, 3, 480, 480, dtype=torch.float64, requires_grad=True)
    network(image)[0, :, 234:246, 234:246].sum().backward()
    rows, cols = np.nonzero(image.grad.abs().sum(dim=(0, 1)).numpy())
    reach = max(234 - rows.min(), rows.max() - 245, 234 - cols.min(), cols.max() - 245)
    assert 150 <= reach <= 224


def test_all_three_class_scores_and_every_weight_take_part():
    torch.manual_seed(0)
    network = UNet().train()
    network(torch.rand(2, 3, 64, 64)).square().sum().backward()
    silent = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert not silent


def test_published_weights_of_another_network_are_refused():
    with pytest.raises(ValueError, match="needs"):
        EfficientNetLite0().load_published({"a": torch.zeros(32, 3, 3, 3), "b": torch.zeros(7)})


def test_encoder_parameters_are_the_encoder_s():
    network = UNet()
    ours = {id(value) for value in network.encoder_parameters()}
    assert ours == {id(value) for name, value in network.named_parameters() if name.startswith("encoder.")}


@pytest.mark.parametrize("widths", [[], [8], [8, 8, 8, 8, 8], [0, 8, 8, 8], [-1, 8, 8, 8], "abcd", [1.5, 8, 8, 8], 3])
def test_widths_that_make_no_network_are_named(tmp_path, widths):
    save(tmp_path, card(), UNet())
    content = json.loads((tmp_path / "card.json").read_text()) | {"params": {"widths": widths}}
    (tmp_path / "card.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match="does not take"):
        load(tmp_path, backend="torch-cpu")


def test_a_card_cannot_make_loading_take_memory_that_its_weights_do_not(tmp_path):
    """200 000 channels would be 1.4 TB; they are refused by their shape before anything is allocated."""
    save(tmp_path, card(), UNet())
    content = json.loads((tmp_path / "card.json").read_text()) | {"params": {"widths": [200_000] * 4}}
    (tmp_path / "card.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match=r"shape .*; unet needs \(200000, "):
        load(tmp_path, backend="torch-cpu")


@pytest.mark.parametrize("backend", [TorchSegmenter, OpenvinoSegmenter])
def test_a_result_stays_what_it_was_when_the_next_one_comes(backend):
    torch.manual_seed(0)
    segmenter = backend(card(), UNet().eval())
    random = np.random.default_rng(0)
    first, second = (random.integers(0, 255, (1, 3, 64, 64), dtype=np.uint8) for _ in range(2))
    found = segmenter(first)
    kept = found.copy()
    segmenter(second)
    np.testing.assert_array_equal(found, kept)


def test_a_loaded_network_is_ready_and_can_be_trained_on(tmp_path: Path):
    torch.manual_seed(0)
    save(tmp_path, card(), UNet(), half=False)
    module = load(tmp_path, backend="torch-cpu").module
    assert not module.training
    assert {value.dtype for value in module.parameters()} == {torch.float32}
    assert all(value.requires_grad and not value.is_meta for value in module.parameters())
