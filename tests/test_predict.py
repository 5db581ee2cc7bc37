"""The loop: invariants 1, 2, 3 and 6, with a local network and arrays in memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes import STRIDE, ArrayReader, LatticeSegmenter
from geoseg.errors import ConfigError
from geoseg.segment.blocks import BlockStore
from geoseg.segment.forward import classify
from geoseg.segment.predict import SegmentConfig, predict, tiling_for
from geoseg.windows import Rect

RNG = np.random.default_rng(7)
SHAPE = (203, 251)
IMAGE = RNG.integers(0, 256, (3, *SHAPE), dtype=np.uint8)
VALID = np.ones(SHAPE, bool)
VALID[:70, :90] = False
VALID[150:, 200:] = False
IMAGE[:, ~VALID] = 255  # what lies under invalid pixels must not matter


def stitched(store: BlockStore) -> tuple[np.ndarray, np.ndarray]:
    """Both rasters from the blocks; 254 where no block wrote, so that a hole cannot hide."""
    classes, confidence = np.full(store.shape, 254, np.uint8), np.full(store.shape, 254, np.uint8)
    for block in store:
        arrays = store.load(block)
        classes[block.slices], confidence[block.slices] = (255, 255) if arrays is None else arrays
    return classes, confidence


def run_loop(folder, config=None, image=IMAGE, valid=VALID, segmenter=None, broken=None):
    config = config or SegmentConfig()
    segmenter = segmenter or LatticeSegmenter()
    block_px = tiling_for(segmenter.card, config).write_px * config.block_windows
    store = BlockStore(folder, valid.shape, block_px, {})
    stats = predict(lambda: ArrayReader(image, valid, broken), segmenter, store, config)
    return store, stats


def whole_image(image=IMAGE, valid=VALID):
    """The oracle: the network once on the whole image, invalid pixels filled, mirrored at the edges by numpy."""
    segmenter, pad = LatticeSegmenter(), 4 * STRIDE
    filled = np.where(valid, image, np.uint8(128))
    height, width = valid.shape
    mirrored = np.pad(filled, ((0, 0), (pad, pad + -height % STRIDE), (pad, pad + -width % STRIDE)), mode="reflect")
    classes, confidence = classify(segmenter(mirrored[None]))
    crop = np.s_[0, pad : pad + height, pad : pad + width]
    return np.where(valid, classes[crop], 255), np.where(valid, confidence[crop], 255)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    write=st.integers(1, 16).map(lambda n: n * STRIDE),
    margin=st.integers(2, 5).map(lambda n: n * STRIDE),
    block_windows=st.integers(1, 4),
    batch=st.integers(1, 4),
    readers=st.integers(1, 3),
)
def test_tiling_is_invisible(tmp_path_factory, write, margin, block_windows, batch, readers):
    config = SegmentConfig(write, margin, block_windows, batch, readers)
    store, _ = run_loop(tmp_path_factory.mktemp("run"), config)
    classes, confidence = stitched(store)
    wanted_classes, wanted_confidence = whole_image()
    np.testing.assert_array_equal(classes, wanted_classes)
    np.testing.assert_array_equal(confidence, wanted_confidence)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(height=st.integers(1, 70), width=st.integers(1, 70), seed=st.integers(0, 99))
def test_tiling_is_invisible_on_orthos_smaller_than_a_window(tmp_path_factory, height, width, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (3, height, width), dtype=np.uint8)
    valid = rng.random((height, width)) < 0.8
    store, _ = run_loop(tmp_path_factory.mktemp("run"), SegmentConfig(write_px=32), image, valid)
    np.testing.assert_array_equal(stitched(store)[0], whole_image(image, valid)[0])


def test_float_images_of_the_same_values_give_the_same_classes(tmp_path):
    store, _ = run_loop(tmp_path, image=(IMAGE / np.float32(255)).astype(np.float32))
    classes, _ = stitched(store)
    assert (classes == whole_image()[0]).mean() > 0.999  # the fill is 0.5 here and 128 / 255 there


def test_no_class_outside_the_valid_area_and_no_hole_inside(tmp_path):
    store, stats = run_loop(tmp_path)
    classes, _ = stitched(store)
    np.testing.assert_array_equal(classes == 255, ~VALID)
    assert stats.valid_px == VALID.sum()


def test_windows_without_valid_pixels_are_not_read(tmp_path):
    valid = VALID.copy()
    valid[:, :200] = False
    reader = ArrayReader(IMAGE, valid)
    store = BlockStore(tmp_path, SHAPE, 64, {})
    stats = predict(lambda: reader, LatticeSegmenter(), store, SegmentConfig(readers=1, block_windows=1))
    assert reader.reads == stats.windows
    assert stats.skipped == stats.windows * 0 + 16 - stats.windows
    assert store.summary().empty == stats.skipped


def test_a_killed_run_goes_on_where_it_was(tmp_path):
    class Killed(LatticeSegmenter):
        def __call__(self, images):
            if self.calls == 5:
                raise KeyboardInterrupt
            return super().__call__(images)

    with pytest.raises(KeyboardInterrupt):
        run_loop(tmp_path, segmenter=Killed())
    half = BlockStore(tmp_path, SHAPE, 128, {}).summary()
    assert 0 < half.done < half.total
    segmenter = LatticeSegmenter()
    store, _ = run_loop(tmp_path, segmenter=segmenter)
    assert segmenter.calls < 16
    np.testing.assert_array_equal(stitched(store)[0], whole_image()[0])


def test_a_read_error_costs_its_block_and_is_retried(tmp_path):
    broken = Rect(160, 10, 165, 15)
    store, _ = run_loop(tmp_path, broken=broken)
    summary = store.summary()
    assert list(summary.failed.values()) == ["ortho.tif cannot be read here"]
    classes, _ = stitched(store)
    assert (classes[128:, :128] == 255).all()
    np.testing.assert_array_equal(classes[:64], whole_image()[0][:64])
    store, _ = run_loop(tmp_path)
    assert store.summary().failed == {}
    np.testing.assert_array_equal(stitched(store)[0], whole_image()[0])


@pytest.mark.parametrize("sizes", [{"write_px": 60}, {"margin_px": 12}, {"write_px": 0}, {"margin_px": -8}])
def test_sizes_off_the_stride_are_refused(sizes):
    with pytest.raises(ConfigError, match="multiple of 8"):
        tiling_for(LatticeSegmenter().card, SegmentConfig(**sizes))


def test_counts_below_one_are_refused():
    with pytest.raises(ConfigError, match=r"segment\.batch is 0"):
        SegmentConfig(batch=0)


def test_confidence_is_the_winning_share_in_percent():
    scores = np.array([0.2, 0.5, 0.3], np.float32).reshape(1, 3, 1, 1)
    classes, confidence = classify(scores)
    assert (classes.item(), confidence.item()) == (1, 50)
