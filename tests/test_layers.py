"""Layers beside the classes: offsets of the network and the preview, the same however the grid is cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes import STRIDE, ArrayReader, LatticeSegmenter, PointingSegmenter
from geoseg.errors import ConfigError, ModelError
from geoseg.segment.blocks import BlockStore
from geoseg.segment.forward import Forward
from geoseg.segment.layers import CLASSES, CONFIDENCE, OFFSETS, Layer, coarse_any, network_layers
from geoseg.segment.predict import SegmentConfig, predict, tiling_for
from geoseg.segment.preview import preview_layer, reduce_image
from geoseg.windows import Rect, blocks

RNG = np.random.default_rng(23)
SHAPE = (203, 251)
IMAGE = RNG.integers(0, 256, (3, *SHAPE), dtype=np.uint8)
VALID = np.ones(SHAPE, bool)
VALID[:131, :133] = False
VALID[150:, 201:] = False
VALID[140, ::2] = False
IMAGE[:, ~VALID] = 255
BANDS = ("red", "green", "blue")
WHOLE = Rect(0, 0, *SHAPE)


def layers_for(config, scale=4, dtype="uint8"):
    preview = preview_layer((4096 * scale, 1), tiling_for(PointingSegmenter().card, config).write_px, dtype)
    assert preview.scale == scale
    return CLASSES, CONFIDENCE, OFFSETS, preview


def rasters(folder, config, segmenter=None, image=IMAGE, broken=None, scale=4):
    """Every layer of the whole grid, from the blocks."""
    segmenter = segmenter or PointingSegmenter()
    layers = layers_for(config, scale, image.dtype)
    block_px = tiling_for(segmenter.card, config).write_px * config.block_windows
    store = BlockStore(folder, SHAPE, block_px, {}, layers)
    predict(lambda: ArrayReader(image, VALID, broken), segmenter, store, config)
    found = {layer.name: layer.empty(WHOLE) for layer in layers}
    for block in store:
        arrays = store.load(block)
        for layer, pixels in zip(layers, arrays or (), strict=arrays is not None):
            found[layer.name][(..., *layer.rect(block).slices)] = pixels
    return found


def whole_offsets():
    """The oracle: the network once, on the whole image mirrored by numpy."""
    pad = 4 * STRIDE
    filled = np.where(VALID, IMAGE, np.uint8(128))
    height, width = SHAPE
    mirrored = np.pad(filled, ((0, 0), (pad, pad + -height % STRIDE), (pad, pad + -width % STRIDE)), mode="reflect")
    offsets = PointingSegmenter().classify(mirrored[None])[2][0]
    rows, cols = -(-height // 2), -(-width // 2)
    crop = offsets[:, pad // 2 : pad // 2 + rows, pad // 2 : pad // 2 + cols]
    any_valid = np.pad(VALID, ((0, 1), (0, 1))).reshape(rows, 2, cols, 2).any(axis=(1, 3))
    return np.where(any_valid, crop, 0)


def whole_preview(scale, image=IMAGE, top=255):
    """The oracle: masked means of cells, one by one."""
    out = np.zeros((4, -(-SHAPE[0] // scale), -(-SHAPE[1] // scale)), np.int64)
    for row in range(out.shape[1]):
        for col in range(out.shape[2]):
            cell = np.s_[row * scale : (row + 1) * scale, col * scale : (col + 1) * scale]
            seen = VALID[cell]
            if seen.any():
                means = image[(slice(None), *cell)][:, seen].mean(axis=1, dtype=np.float64)
                out[:, row, col] = (*np.floor(means + 0.5 + 1e-9), top)
    return out


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    write=st.integers(1, 16).map(lambda n: n * STRIDE),
    margin=st.integers(2, 5).map(lambda n: n * STRIDE),
    block_windows=st.integers(1, 4),
    batch=st.integers(1, 4),
)
def test_layers_of_any_scale_do_not_know_how_the_grid_was_cut(tmp_path_factory, write, margin, block_windows, batch):
    config = SegmentConfig(write, margin, block_windows, batch)
    found = rasters(tmp_path_factory.mktemp("run"), config)
    np.testing.assert_array_equal(found["offsets"], whole_offsets())
    np.testing.assert_array_equal(found["preview"], whole_preview(4))
    assert np.abs(found["offsets"]).max() > 100


@pytest.mark.parametrize("room", [64 * 64, 96 * 96 - 1, 2 * 96 * 96])
def test_a_device_that_runs_out_of_memory_changes_no_offset(tmp_path, room):
    class Small(PointingSegmenter):
        def classify(self, images):
            if images.size // 3 > room:
                raise MemoryError
            return super().classify(images)

    found = rasters(tmp_path, SegmentConfig(batch=3), Small())
    np.testing.assert_array_equal(found["offsets"], whole_offsets())


def test_a_failed_block_is_empty_in_every_layer_and_a_second_run_fills_it(tmp_path):
    config = SegmentConfig(block_windows=1)
    found = rasters(tmp_path, config, broken=Rect(160, 150, 165, 155))
    for name, wanted in (("offsets", whole_offsets()), ("preview", whole_preview(4))):
        side = 32 if name == "offsets" else 16
        hole = np.s_[:, 2 * side : 3 * side, 2 * side : 3 * side]
        assert not found[name][hole].any()
        assert wanted[hole].any()
    again = rasters(tmp_path, config)
    np.testing.assert_array_equal(again["offsets"], whole_offsets())
    np.testing.assert_array_equal(again["preview"], whole_preview(4))


def test_a_preview_of_floats_keeps_sixteen_bits(tmp_path):
    image = (IMAGE / np.float32(255)).astype(np.float32)
    found = rasters(tmp_path, SegmentConfig(), image=image, scale=1)["preview"]
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, np.where(VALID, np.concatenate([IMAGE * 257.0, 65535.0 + 0 * IMAGE[:1]]), 0))


def test_a_preview_shows_red_green_and_blue_where_the_bands_say_so():
    image = np.stack([np.full((8, 8), value, np.uint8) for value in (10, 20, 30, 40)])
    layer, valid = preview_layer((9000, 8), 64, "uint8"), np.ones((8, 8), bool)
    for names, wanted in (
        (("nir", "blue", "green", "red"), (40, 30, 20, 255)),
        (("a", "b", "c", "d"), (10, 20, 30, 255)),
    ):
        assert tuple(reduce_image(image, valid, names, layer)[:, 0, 0]) == wanted
    assert tuple(reduce_image(image[:1], valid, ("grey",), layer)[:, 0, 0]) == (10, 10, 10, 255)


@pytest.mark.parametrize(
    ("longest", "write", "scale"), [(4096, 1920, 1), (4097, 1920, 2), (66048, 1920, 32), (10**6, 96, 32)]
)
def test_a_preview_is_as_small_as_windows_allow(longest, write, scale):
    assert preview_layer((100, longest), write, "uint8").scale == scale


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 90), st.sampled_from([1, 2, 4, 8]))
def test_parts_of_a_layer_fit_together_however_the_grid_is_cut(height, width, block, scale):
    layer = Layer("x", scale=scale)
    seen = np.zeros(layer.shape(Rect(0, 0, height, width)), int)
    for rect in blocks((height, width), block):
        seen[layer.rect(rect).slices] += 1
    assert (seen == 1).all()
    assert seen.shape == (-(-height // scale), -(-width // scale))


def test_any_pixel_below_counts():
    mask = np.zeros((3, 5), bool)
    mask[2, 4] = True
    np.testing.assert_array_equal(coarse_any(mask, 2), [[False, False, False], [False, False, True]])
    assert coarse_any(mask, 1) is mask


def test_work_with_other_layers_is_refused(tmp_path):
    BlockStore(tmp_path, SHAPE, 64, {})
    with pytest.raises(ConfigError, match="another layers"):
        BlockStore(tmp_path, SHAPE, 64, {}, (CLASSES, CONFIDENCE, OFFSETS))


def test_a_model_must_give_what_its_card_promises(tmp_path):
    class Silent(PointingSegmenter):
        def classify(self, images):
            return super().classify(images)[:2]

    with pytest.raises(ModelError, match="its card promises"):
        Forward(Silent(), 16)(IMAGE[None, :, :64, :64])
    with pytest.raises(ModelError, match="needs `classify`"):
        Forward(LatticeSegmenter(instances="offsets"), 16)
    with pytest.raises(ModelError, match="multiple of 2"):
        network_layers(PointingSegmenter(tiling={"write_px": 63, "margin_px": 7, "stride_px": 7}).card)
