"""Devices that break: tried once more, then another takes over, and the result stays the same. Faults are injected."""

from __future__ import annotations

import json
import warnings
from functools import partial

import numpy as np
import pytest
import rasterio
from affine import Affine

from fakes import ArrayReader, LatticeSegmenter, PointingSegmenter, fake_card
from geoseg import job
from geoseg.config import load_config
from geoseg.errors import GeosegWarning, RunError
from geoseg.models.fallback import fallback_backends
from geoseg.segment.blocks import BlockStore
from geoseg.segment.device import Device
from geoseg.segment.predict import SegmentConfig, predict

RNG = np.random.default_rng(29)
IMAGE = RNG.integers(0, 256, (3, 203, 251), dtype=np.uint8)
VALID = np.ones((203, 251), bool)


class Breaking(LatticeSegmenter):
    """Raises at the calls whose numbers are given; all later ones where the last is None."""

    def __init__(self, *faults, backend="torch-cuda", error="CUDA error: an illegal memory access was encountered"):
        super().__init__()
        self.faults, self.backend, self.error, self.asked = faults, backend, error, 0

    def __call__(self, images):
        self.asked += 1
        if self.asked in self.faults or (self.faults[-1] is None and self.asked > self.faults[0]):
            raise RuntimeError(self.error)
        return super().__call__(images)


def blocks_of(folder, segmenter, fallbacks=()):
    store = BlockStore(folder, VALID.shape, 64, {})
    reader = partial(ArrayReader, IMAGE, VALID)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stats = predict(reader, segmenter, store, SegmentConfig(block_windows=1), fallbacks=fallbacks)
    assert [str(warning.message) for warning in caught] == stats.faults
    assert {warning.category for warning in caught} <= {GeosegWarning}
    return [store.load(block) for block in store], stats


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    return blocks_of(tmp_path_factory.mktemp("wanted"), LatticeSegmenter())[0]


def test_a_fault_that_passes_costs_one_more_try(tmp_path, wanted):
    found, stats = blocks_of(tmp_path, Breaking(1, 3, 7), [pytest.fail])
    np.testing.assert_array_equal(found[5], wanted[5])
    assert all((one[0] == two[0]).all() for one, two in zip(found, wanted, strict=True))
    assert len(stats.faults) == 3
    assert "torch-cuda failed and is tried once more: CUDA error" in stats.faults[0]


def test_a_device_that_breaks_for_good_is_replaced_in_the_middle(tmp_path, wanted):
    broken = Breaking(5, None)
    second = Breaking(2, None, backend="openvino-f32", error="[CPU] could not execute a primitive")
    third = LatticeSegmenter()
    found, stats = blocks_of(tmp_path, broken, [lambda: second, lambda: third])
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (broken.asked, second.asked) == (6, 3)
    assert third.calls == 11
    assert [fault.split(":")[0] for fault in stats.faults] == [
        "torch-cuda failed and is tried once more",
        "torch-cuda failed, openvino-f32 goes on",
        "openvino-f32 failed and is tried once more",
        "openvino-f32 failed, LatticeSegmenter goes on",
    ]


def test_without_another_device_the_run_stops_and_keeps_its_blocks(tmp_path):
    with pytest.raises(
        RunError, match="torch-cuda failed and nothing can take its place: CUDA error.*another --backend"
    ):
        blocks_of(tmp_path, Breaking(5, None))
    assert BlockStore(tmp_path, VALID.shape, 64, {}).summary().done == 4


def test_a_device_without_room_for_the_smallest_window_is_replaced(tmp_path, wanted):
    class Tiny(LatticeSegmenter):
        def __call__(self, images):
            raise MemoryError

    found, stats = blocks_of(tmp_path, Tiny(), [LatticeSegmenter])
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert "does not fit into memory" in stats.faults[0]


def test_what_is_wrong_with_the_model_is_no_fault_of_the_device():
    class Short(PointingSegmenter):
        def classify(self, images):
            return super().classify(images)[:1]

    with pytest.raises(ValueError, match="its card promises"):
        Device(Short(), [pytest.fail])(IMAGE[None, :, :64, :64])


@pytest.mark.parametrize(
    ("backend", "parity", "wanted"),
    [
        ("torch-cpu", {"openvino-f32": 1.0}, ()),
        ("openvino-f32", {"openvino-f32": 1.0, "openvino-bf16": 1.0}, ("torch-cpu",)),
        ("openvino-bf16", {"openvino-f32": 0.9995, "openvino-bf16": 1.0}, ("openvino-f32", "torch-cpu")),
        ("openvino-bf16", {"openvino-f32": 0.998}, ("torch-cpu",)),
        ("torch-cuda", {}, ("torch-cpu",)),
        ("torch-cuda", {"openvino-f32": 1.0}, ("openvino-f32", "torch-cpu")),
    ],
)
def test_only_what_passed_the_parity_gate_takes_over(backend, parity, wanted):
    assert fallback_backends(fake_card(parity=parity), backend) == wanted


def test_a_run_whose_device_breaks_ends_on_torch_and_says_so(tmp_path, monkeypatch):
    with rasterio.open(
        tmp_path / "small.tif", "w", driver="GTiff", dtype="uint8", count=3, height=96, width=128, crs="EPSG:32632",
        transform=Affine(0.003, 0, 500000, 0, -0.003, 5400000),
    ) as raster:  # fmt: skip
        raster.write(RNG.integers(60, 200, (3, 96, 128), dtype=np.uint8))
    whole = job.segment(tmp_path / "small.tif", tmp_path / "torch", config=load_config(None, ["backend=torch-cpu"]))

    def broken(self, images):
        raise RuntimeError("Exception from src/plugins/intel_cpu: primitive failed")

    monkeypatch.setattr("geoseg.models.openvino.OpenvinoSegmenter.classify", broken)
    with pytest.warns(GeosegWarning, match="openvino-f32 failed"):
        done = job.segment(tmp_path / "small.tif", tmp_path / "run", config=load_config(None, ["backend=openvino-f32"]))
    assert "openvino-f32 failed, torch-cpu goes on: Exception from" in done.summary["warnings"][-1]
    facts = json.loads((done.path / "run.json").read_text())["stages"]["segment"]["facts"]
    assert len(facts["loop"]["faults"]) == 2
    with rasterio.open(done.path / "classes.tif") as one, rasterio.open(whole.path / "classes.tif") as two:
        np.testing.assert_array_equal(one.read(), two.read())


def test_sixteen_bits_in_torch_change_few_pixels_and_no_form():
    from geoseg.models.storage import TorchSegmenter, load_module

    card, module = load_module("default")
    image = np.kron(RNG.integers(60, 200, (1, 3, 8, 8)), np.ones((1, 1, 16, 16))).astype(np.uint8)
    full, half = TorchSegmenter(card, module), TorchSegmenter(card, module, "cpu", "bf16")
    assert (full.backend, half.backend) == ("torch-cpu", "torch-cpu-bf16")
    for ours, theirs in zip(half.classify(image), full.classify(image), strict=True):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    assert (half.classify(image)[0] == full.classify(image)[0]).mean() > 0.97
    assert 0 < np.abs(half(image) - full(image)).max() < 0.2


@pytest.mark.parametrize(("parity", "backend"), [({}, "torch-cuda"), ({"torch-cuda-bf16": 0.996}, "torch-cuda-bf16")])
def test_a_gpu_computes_in_sixteen_bits_behind_the_parity_gate_only(monkeypatch, parity, backend):
    import torch

    from geoseg.models import storage

    chosen = []
    card, module = storage.load_module("default")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(storage, "read_card", lambda name: card.model_copy(update={"parity": parity}))
    monkeypatch.setattr(storage, "load_module", lambda name: (card, module))
    monkeypatch.setattr(
        storage, "TorchSegmenter", lambda card, module, device, *precision: chosen.append((device, *precision))
    )
    storage.load("default")
    assert chosen == [(torch.device("cuda"), *backend.split("-")[2:])]
