"""Window geometry against counting, and against numpy's own indexing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.windows import Rect, blocks, overlap_factor, rect_windows, windows

SIDES = st.integers(1, 300)
STRIDES = st.sampled_from([1, 4, 8, 32])


@given(SIDES, SIDES, st.integers(1, 6), st.integers(0, 3), STRIDES)
def test_write_parts_partition_the_grid(height, width, write, margin, stride):
    counts = np.zeros((height, width), int)
    for window in windows((height, width), write * stride, margin * stride, stride):
        counts[window.write.slices] += 1
    assert (counts == 1).all()


@given(SIDES, SIDES, st.integers(1, 6), st.integers(0, 3), STRIDES)
def test_read_parts_lie_on_the_lattice_and_hold_the_margin(height, width, write, margin, stride):
    for window in windows((height, width), write * stride, margin * stride, stride):
        assert window.read.row0 % stride == window.read.col0 % stride == 0
        assert all(side % stride == 0 for side in window.read.shape)
        wanted = window.write.grow(margin * stride)
        assert window.read.row0 == wanted.row0
        assert window.read.col0 == wanted.col0
        assert 0 <= window.read.row1 - wanted.row1 < stride
        assert 0 <= window.read.col1 - wanted.col1 < stride


@given(SIDES, SIDES, st.integers(1, 5), st.integers(1, 4))
def test_windows_of_blocks_are_windows_of_the_grid(height, width, write, times):
    whole = set(windows((height, width), write * 8, 16, 8))
    by_block = [
        w for block in blocks((height, width), write * 8 * times) for w in rect_windows(block, write * 8, 16, 8)
    ]
    assert len(by_block) == len(whole)
    assert set(by_block) == whole


@given(SIDES, SIDES)
def test_crop_takes_the_write_part_out_of_the_read_part(height, width):
    grid = np.arange(height * width).reshape(height, width)
    padded = np.pad(grid, 64, constant_values=-1)
    for window in windows((height, width), 32, 16, 8):
        read = padded[
            window.read.grow(0).row0 + 64 : window.read.row1 + 64, window.read.col0 + 64 : window.read.col1 + 64
        ]
        assert (read[window.crop.slices] == grid[window.write.slices]).all()


@pytest.mark.parametrize(("write", "margin", "stride"), [(0, 0, 1), (8, -1, 1), (8, 0, 0), (12, 0, 8), (8, 4, 8)])
def test_sizes_off_the_lattice_are_refused(write, margin, stride):
    with pytest.raises(ValueError, match=r"multiple of the stride|must be positive"):
        list(windows((10, 10), write, margin, stride))


def test_a_rectangle_that_ends_before_it_starts_is_refused():
    with pytest.raises(ValueError, match="ends before"):
        Rect(3, 0, 2, 5)


def test_clip_outside_the_grid_is_empty():
    assert Rect(20, 20, 30, 30).clip((10, 10)).size == 0
    assert Rect(-9, -9, -1, -1).clip((10, 10)).size == 0


def test_overlap_factor_counts_forwarded_pixels():
    (window,) = windows((64, 64), 64, 16)
    assert overlap_factor(64, 16) == window.read.size / window.write.size
