"""Tile sets of any bands and numbers: what was in the file is what a network sees, in training and on the ortho."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geoseg.cli import main
from geoseg.errors import LabelError
from geoseg.ortho import Ortho, OrthoConfig
from geoseg.train.levelled import moments_of
from geoseg.train.tilebands import chosen_bands, in_memory, on_disk, picture, unit_tensor
from geoseg.train.tilecutting import TileConfig, TileSource, make_tiles
from geoseg.train.tiles import read_index, read_tile
from geoseg.windows import Rect

PLACE = Affine(0.004, 0, 500000, 0, -0.004, 5400000)
SIDE = 160


def ortho(path, dtype="uint16", bands=5, full=65535):
    """An ortho of many bands whose numbers fill their scale, and its labels."""
    random = np.random.default_rng(0)
    pixels = (random.random((bands, SIDE, SIDE)) * full).astype(dtype)
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[20:60, 20:60], labels[90:110, 100:140] = 1, 2
    for name, values in ((path, pixels), (path.with_name("labels.tif"), labels[None])):
        with rasterio.open(
            name, "w", driver="GTiff", count=len(values), height=SIDE, width=SIDE, dtype=values.dtype,
            crs="EPSG:32632", transform=PLACE, photometric="MINISBLACK",
        ) as raster:  # fmt: skip
            raster.write(values)
    return pixels


def tiles(tmp_path, **changes):
    source = TileSource("field", str(tmp_path / "ortho.tif"), str(tmp_path / "labels.tif"), validation_cols=(120, 160))
    make_tiles(TileConfig((replace_in(source, changes),), tile_px=64), tmp_path / "set")
    return [read_tile(tmp_path / "set", line) for line in read_index(tmp_path / "set")]


def replace_in(source, changes):
    return TileSource(**(vars(source) | changes))


@pytest.mark.parametrize(
    ("dtype", "full", "value_max"),
    [
        ("uint8", 255, None),
        ("uint16", 65535, None),
        ("uint16", 4095, 4095),
        ("float32", 1, None),
        ("int16", 32767, None),
    ],
)
def test_a_tile_is_what_a_run_reads_there(tmp_path, dtype, full, value_max):
    ortho(tmp_path / "ortho.tif", dtype, full=full)
    chosen = (4, 1, 5, 2)
    opened = Ortho.open(
        tmp_path / "ortho.tif", OrthoConfig(bands=chosen, value_max=value_max), tuple(f"band{n}" for n in chosen)
    )
    with opened.reader(opened.geobox) as reader:
        for tile in tiles(tmp_path, bands=chosen, value_max=value_max):
            wanted, _ = reader.read(
                Rect(tile.row, tile.col, tile.row + len(tile.labels), tile.col + tile.labels.shape[1])
            )
            assert tile.image.dtype == wanted.dtype
            assert tile.image.shape == wanted.shape
            np.testing.assert_allclose(tile.image, wanted, atol=1 / 65535)


def test_numbers_that_do_not_fill_their_scale_are_refused(tmp_path):
    ortho(tmp_path / "ortho.tif", full=4095)
    with pytest.raises(LabelError, match="give the source value_max: 4095"):
        tiles(tmp_path)


def test_bands_that_are_not_there_are_refused(tmp_path):
    ortho(tmp_path / "ortho.tif")
    with pytest.raises(LabelError, match="5 bands, counted from 1; bands names"):
        tiles(tmp_path, bands=(1, 6))
    with pytest.raises(LabelError, match="2 bands; expected red, green and blue"):
        chosen_bands("two", ["gray", "undefined", "alpha"], None)
    assert chosen_bands("rgba", ["red", "green", "blue", "alpha"], None) == [1, 2, 3]


@given(arrays(np.uint16, (2, 3, 3)))
def test_sixteen_bits_go_through_a_tile_set_unchanged(values):
    assert on_disk(values, None) is values
    np.testing.assert_allclose(unit_tensor(in_memory(values)).numpy() * 65535, values, atol=0.01)


@given(arrays(np.uint8, (4, 3, 3)), st.sampled_from([None, 255.0]))
def test_eight_bits_stay_as_they_are(values, value_max):
    assert in_memory(on_disk(values, value_max)) is values
    np.testing.assert_allclose(unit_tensor(values).numpy(), values / 255, rtol=1e-6)
    assert (picture(values) == values[:3]).all()


def test_a_picture_of_any_image():
    assert picture(np.full((1, 2, 2), 0.5, np.float32)).tolist() == [[[128, 128], [128, 128]]] * 3


TRAIN = """
card:
  name: five
  version: "1"
  description: Five bands.
  architecture: tiny
  bands: [blue, green, red, rededge, nir]
  mean: [0.5, 0.5, 0.5, 0.5, 0.5]
  std: [0.3, 0.3, 0.3, 0.3, 0.3]
  gsd: { train_m: 0.004, min_m: 0.003, max_m: 0.005 }
  tiling: { write_px: 64, margin_px: 4, stride_px: 2 }
  licence: MIT
sets: [{ path: SET }]
steps: 2
batch: 2
crop_px: 32
device: cpu
"""


def test_five_bands_of_sixteen_bits_from_ortho_to_scores(tmp_path):
    ortho(tmp_path / "ortho.tif")
    tiles(tmp_path, bands=(1, 2, 3, 4, 5))
    (tmp_path / "train.yaml").write_text(TRAIN.replace("SET", str(tmp_path / "set")), encoding="utf-8")
    for words in (
        ["train", tmp_path / "train.yaml", "--out", tmp_path / "model"],
        ["evaluate", tmp_path / "set", "--model", tmp_path / "model", "--out", tmp_path / "report"],
    ):
        result = CliRunner().invoke(main, [str(word) for word in words])
        assert result.exit_code == 0, result.output
    assert (tmp_path / "report" / "worst.png").is_file()


def test_a_scale_of_its_own_is_the_same_for_any_numbers():
    values = np.random.default_rng(0).integers(0, 256, (3, 20, 20)).astype(np.uint8)
    fine = in_memory(values.astype(np.uint16) * 257)
    np.testing.assert_allclose(moments_of(fine).covariance, moments_of(values).covariance, rtol=1e-4)
    np.testing.assert_allclose(moments_of(fine).mean, moments_of(values).mean, rtol=1e-5)
