"""Reduction on the device, and devices that run out of memory: the result stays the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes import STRIDE, ArrayReader, LatticeSegmenter
from geoseg.errors import RunError
from geoseg.models import load
from geoseg.segment.blocks import BlockStore
from geoseg.segment.forward import Forward, classify
from geoseg.segment.predict import SegmentConfig, predict

RNG = np.random.default_rng(11)
IMAGE = RNG.integers(0, 256, (3, 203, 251), dtype=np.uint8)
VALID = np.ones((203, 251), bool)


class OutOfMemoryError(RuntimeError):
    """What torch raises, by its name."""


class SmallDevice(LatticeSegmenter):
    """Takes `room_px` pixels at once."""

    def __init__(self, room_px, error):
        super().__init__()
        self.room_px, self.error, self.refused = room_px, error, 0

    def __call__(self, images):
        if images.size // 3 > self.room_px:
            self.refused += 1
            raise self.error
        return super().__call__(images)


def blocks_of(folder, segmenter, **config):
    config = SegmentConfig(**config)
    store = BlockStore(folder, VALID.shape, 128, {})
    stats = predict(lambda: ArrayReader(IMAGE, VALID), segmenter, store, config)
    return [store.load(block) for block in store], stats


ERRORS = (MemoryError(), OutOfMemoryError("CUDA"), RuntimeError("could not allocate: std::bad_alloc"))


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(room=st.integers(48 * 48, 3 * 96 * 96), batch=st.integers(1, 4), error=st.sampled_from(ERRORS))
def test_a_device_that_runs_out_of_memory_changes_no_byte(tmp_path_factory, room, batch, error):
    folder = tmp_path_factory.mktemp("oom")
    wanted, _ = blocks_of(folder / "wanted", LatticeSegmenter())
    device = SmallDevice(room, error)
    found, stats = blocks_of(folder / "found", device, batch=batch)
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert device.refused <= 6  # it learns: batch 4, 2, 1, then quarters; the other windows are cut at once
    assert stats.forwarded_px > 0


def test_no_room_at_all_is_an_error_and_not_an_endless_loop(tmp_path):
    with pytest.raises(RunError, match="a window of 40 x 40 pixels does not fit into memory"):
        blocks_of(tmp_path, SmallDevice(0, MemoryError()))


def test_a_segmenter_that_reduces_is_asked_to(tmp_path):
    class Reducing(LatticeSegmenter):
        asked = 0

        def classify(self, images):
            Reducing.asked += 1
            return classify(self(images))

    wanted, _ = blocks_of(tmp_path / "wanted", LatticeSegmenter())
    found, stats = blocks_of(tmp_path / "found", Reducing())
    np.testing.assert_array_equal(found[0], wanted[0])
    assert Reducing.asked == stats.windows


@pytest.mark.parametrize("backend", ["openvino-f32", "torch-cpu"])
def test_reduction_on_the_device_is_the_reduction_by_numpy(backend):
    segmenter = load("default", backend)
    image = RNG.integers(0, 256, (2, 3, 96, 128), dtype=np.uint8)
    *found, offsets = segmenter.classify(image)
    assert (offsets.shape, offsets.dtype) == ((2, 2, 48, 64), np.int8)
    for ours, theirs in zip(found, classify(segmenter(image)), strict=True):
        assert ours.dtype == np.uint8
        np.testing.assert_array_equal(ours, theirs)


def test_of_equal_probabilities_the_first_wins_everywhere():
    import torch

    from geoseg.models.reduce import reduce_probabilities

    even = np.full((1, 4, 2, 2), 0.25, np.float32)
    even[0, :, 0, 0] = (0.125, 0.375, 0.375, 0.125)
    for ours, theirs in zip(reduce_probabilities(torch.from_numpy(even)), classify(even), strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs)


def test_pieces_are_cut_on_the_lattice():
    class Noting(SmallDevice):
        def __call__(self, images):
            found = super().__call__(images)
            shapes.append(images.shape[2:])
            return found

    shapes = []
    Forward(Noting(100 * 100, MemoryError()), 16)(RNG.integers(0, 256, (1, 3, 128, 192), dtype=np.uint8))
    assert all(side % STRIDE == 0 for shape in shapes for side in shape)
