"""Half resolution against GDAL's own overviews, and drafts of blocks that cannot be halved."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling

from geoseg.segment.cog import Sink
from geoseg.segment.halved import most_frequent, upper_left
from geoseg.segment.layers import CLASSES, CONFIDENCE
from geoseg.windows import blocks

RNG = np.random.default_rng(11)


def overview(folder, pixels, resampling, nodata):
    """What GDAL makes of it."""
    path = folder / "whole.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=pixels.shape[1], height=pixels.shape[0], count=1, dtype=pixels.dtype,
        nodata=nodata, transform=Affine(2, 0, 5, 0, -2, 7),
    ) as file:  # fmt: skip
        file.write(pixels, 1)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2], resampling)
    with rasterio.open(path, overview_level=0) as file:
        return file.read(1)


@pytest.mark.parametrize("codes", [(0, 1, 2), (0, 1, 2, 255), (255, 3), (0, 1, 2, 3, 4, 5, 255)])
def test_it_is_what_gdal_makes(tmp_path, codes):
    pixels = RNG.choice(np.array(codes, np.uint8), (300, 500))
    np.testing.assert_array_equal(most_frequent(pixels, 255), overview(tmp_path, pixels, Resampling.mode, 255))
    np.testing.assert_array_equal(upper_left(pixels), overview(tmp_path, pixels, Resampling.nearest, None))


@given(arrays(np.uint8, st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=st.sampled_from([0, 1, 2, 255])))
def test_no_other_value_is_more_frequent(pixels):
    found = most_frequent(pixels, 255)
    assert found.shape == upper_left(pixels).shape == (-(-pixels.shape[0] // 2), -(-pixels.shape[1] // 2))
    for (row, col), value in np.ndenumerate(found):
        cell = pixels[2 * row : 2 * row + 2, 2 * col : 2 * col + 2]
        valid = cell[cell != 255]
        if not valid.size:
            assert value == 255
        else:
            assert (valid == value).sum() == np.unique(valid, return_counts=True)[1].max()


@pytest.mark.parametrize("layer", [CLASSES, CONFIDENCE])
@pytest.mark.parametrize("block_px", [250, 375])
def test_overviews_are_the_same_whether_halved_by_us_or_by_gdal(tmp_path, monkeypatch, layer, block_px):
    shape = (1500, 2250)
    grid = GeoBox(shape, Affine(0.003, 0, 690000, 0, -0.003, 5360000), "EPSG:32632")
    pixels = RNG.choice(np.array([0, 0, 1, 2, 255], np.uint8), shape)

    below = np.full(shape, 255, np.uint8)
    below[block_px:] = pixels[block_px:]
    monkeypatch.setattr("geoseg.segment.cog.SMALL", 0)
    sink = Sink(tmp_path / "out.tif", grid, layer, {}, block_px)
    assert (sink._half is not None) == (block_px == 250)
    for rect in blocks(shape, block_px):
        if rect.row0:  # the first ones stay empty
            sink.write(rect, pixels[rect.slices])
    sink.finish()
    sink.publish()
    assert not list(tmp_path.glob(".*"))
    with rasterio.open(tmp_path / "out.tif") as raster:
        assert raster.overviews(1) == [2, 4, 8]
        np.testing.assert_array_equal(raster.read(1), below)
    with rasterio.open(tmp_path / "out.tif", overview_level=0) as raster:
        half = most_frequent(below, 255) if layer == CLASSES else upper_left(below)
        np.testing.assert_array_equal(raster.read(1), half)
