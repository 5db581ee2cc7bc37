"""The way to a GPU, walked without one: each worker its own, pinned copies, and the parity that opens 16 bits."""

from __future__ import annotations

import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fakes import fake_card
from geoseg.models import storage
from geoseg.models.gpus import VISIBLE, take_gpu
from geoseg.models.storage import TorchSegmenter
from geoseg.segment import cluster
from geoseg.train import validation
from geoseg.train.tiles import Tile


@pytest.mark.parametrize(
    ("given", "number", "wanted"),
    [(None, 0, "0"), (None, 1, "1"), (None, 5, "2"), ("2,3", 1, "3"), ("GPU-a,GPU-b", 2, "GPU-a"), ("3", 1, "3")],
)
def test_a_process_takes_one_of_the_gpus_that_it_sees(monkeypatch, given, number, wanted):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv(VISIBLE, raising=False)
    if given is not None:
        monkeypatch.setenv(VISIBLE, given)
    take_gpu(number)
    assert os.environ[VISIBLE] == wanted


@pytest.mark.parametrize(("count", "started"), [(1, False), (0, False), (3, True)])
def test_one_gpu_none_or_one_in_use_is_left_as_it_is(monkeypatch, count, started):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: started)
    monkeypatch.delenv(VISIBLE, raising=False)
    take_gpu(1)
    assert VISIBLE not in os.environ


@pytest.mark.parametrize(
    ("name", "backend", "wanted"),
    [(1, "torch-cuda-bf16", "1"), ("tcp://a", "torch-cuda", None), (1, "torch-cpu", None)],
)
def test_workers_that_were_started_here_take_a_gpu_each(monkeypatch, name, backend, wanted):
    distributed = pytest.importorskip("distributed", reason="the extra cluster is not installed")
    monkeypatch.setattr(distributed, "get_worker", lambda: SimpleNamespace(name=name))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr("geoseg.models.load", lambda model, backend: os.environ.get(VISIBLE))
    monkeypatch.setenv(VISIBLE, "")  # so that what is set is taken back
    monkeypatch.delenv(VISIBLE)
    assert cluster._segmenter.__wrapped__("default", backend) == wanted


class Sent:
    """Pixels that note how they were sent to the device, and stay here."""

    def __init__(self, pixels, how):
        self.pixels, self.how = pixels, how

    def pin_memory(self):
        self.how.append("pinned")
        return self

    def to(self, device, non_blocking):
        self.how.append((str(device), non_blocking))
        return self.pixels


def test_pixels_go_to_a_gpu_from_pinned_memory_without_waiting(monkeypatch):
    seen, how, from_numpy = [], [], torch.from_numpy

    class Network(torch.nn.Module):
        def forward(self, values):
            seen.append(values.is_contiguous(memory_format=torch.channels_last))
            return values

    segmenter = TorchSegmenter(fake_card(), Network())
    image = np.random.default_rng(3).integers(0, 256, (2, 3, 16, 24), dtype=np.uint8)
    wanted = segmenter.classify(image)
    segmenter.device = torch.device("cuda")
    monkeypatch.setattr(storage.torch, "from_numpy", lambda array: Sent(from_numpy(array), how))
    found = segmenter.classify(image)
    assert how == ["pinned", ("cuda", True)]
    assert seen == [True, True]
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_parity_of_sixteen_bits_on_a_gpu_is_measured_where_there_is_one(monkeypatch):
    used = []

    class Elsewhere(TorchSegmenter):
        def __init__(self, card, module, device="cpu", precision="f32"):
            used.append((device, precision))
            super().__init__(card, module, "cpu", precision)
            self.backend = self.backend.replace("cpu", device)

    card, module = storage.load_module("default")
    rng = np.random.default_rng(4)
    image = np.kron(rng.integers(60, 200, (3, 8, 8)), np.ones((1, 16, 16))).astype(np.uint8)
    tile = Tile("t", "validation", "a", 0, 0, 0.003, image, rng.integers(0, 3, (128, 128), np.uint8))
    monkeypatch.setattr(validation, "TorchSegmenter", Elsewhere)
    monkeypatch.setattr(validation, "score_tiles", lambda *_: {})  # the loss of mIoU is another gate
    monkeypatch.setattr("geoseg.models.openvino.precisions", lambda: ())
    assert validation.measure_parity(card, module, [tile]) == {}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    ((name, share),) = validation.measure_parity(card, module, [tile]).items()
    assert name == "torch-cuda-bf16"
    assert 0.9 < share < 1
    assert used == [("cpu", "f32"), ("cpu", "f32"), ("cuda", "bf16")]
