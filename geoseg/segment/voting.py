"""Plants from offsets: every vegetation pixel votes for the place of its plant's centre. Pure numpy; knows no file.

Votes are counted on the pixels of the half-resolution grid and smoothed; peaks are centres, peaks too close for their
size are one, and a pixel belongs to the centre nearest to its vote. What a pixel belongs to depends on pixels within
`Voting.halo_px` of it and on nothing else, so a raster may be cut anywhere.

Reference:
    B. Cheng et al. (2020), Panoptic-DeepLab, https://arxiv.org/abs/1911.10194, for offsets to centres; without its heat
    map of centres: the votes themselves show where they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

__all__ = ["Centres", "Grouped", "Voting", "group_votes"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_AT_ONCE = 1024
_KERNEL_SUM = 1 << 10
"""Kernels are whole numbers, so that sums are exact and do not depend on the order in which they are made."""


@dataclass(frozen=True)
class Voting:
    """How votes become centres; lengths in pixels of the offsets' grid.

    Attributes:
        sigma_px: Standard deviation of the smoothing: how far votes for one centre scatter.
        separation: Two peaks nearer than this times the mean offset of their voters are one plant. A disc's mean offset
            is two thirds of its radius, so touching discs are three times as far apart.
        longest_px: Longest offset; a longer one votes at this distance.
        reach_px: A vote farther than this from every centre is for none.
    """

    sigma_px: float
    separation: float
    longest_px: int
    reach_px: int

    @property
    def smooth_px(self) -> int:
        """Reach of the smoothing."""
        return math.ceil(3 * self.sigma_px)

    @property
    def apart_px(self) -> int:
        """Distance over which one peak can rule out another."""
        return math.ceil(self.separation * self.longest_px) + 1

    @property
    def halo_px(self) -> int:
        """How far away a pixel may be that has a say in where another one belongs."""
        return 2 * self.longest_px + self.reach_px + self.apart_px + self.smooth_px + 2


class Centres(NamedTuple):
    """Centres of plants; arrays of one entry a centre, in raster order.

    Attributes:
        row: Row on the offsets' grid.
        col: Column.
    """

    row: Ints
    col: Ints


class Grouped(NamedTuple):
    """What `group_votes` gives.

    Attributes:
        label: (H, W) int32, number of the centre from 1; 0 where there is none.
        centres: The centres; positions count from the array's corner.
        long: (H, W) bool, pixels whose offset is longer than `Voting.longest_px` or saturated.
    """

    label: NDArray[np.int32]
    centres: Centres
    long: NDArray[np.bool_]


def group_votes(weight: NDArray[np.uint8], offsets: NDArray[np.int8], voting: Voting) -> Grouped:
    """Group pixels by the centres for which they vote.

    Args:
        weight: (H, W) how many vegetation pixels each pixel stands for, 0 where there is none.
        offsets: (2, H, W) down and right to the centre of the plant, in pixels; +-127 are saturated.
        voting: How.
    """
    height, width = weight.shape
    row, col = (part.astype(np.int64) for part in np.nonzero(weight))
    long = np.zeros(weight.shape, np.bool_)
    label = np.zeros(weight.shape, np.int32)
    if not row.size:
        return Grouped(label, Centres(row, col), long)
    down, right, length, clipped = _clip(offsets[:, row, col].astype(np.int64), voting.longest_px)
    long[row, col] = clipped
    to_row, to_col = row + down, col + right
    inside = (to_row >= 0) & (to_row < height) & (to_col >= 0) & (to_col < width)
    row, col, cell = row[inside], col[inside], (to_row * width + to_col)[inside]
    strength = weight[row, col].astype(np.float64)
    votes = np.bincount(cell, strength, height * width).astype(np.float32).reshape(weight.shape)
    scaled: Floats = np.bincount(cell, strength * length[inside], height * width).astype(np.float64)
    centres = _peaks(_smooth(votes, voting), scaled.reshape(weight.shape), voting)
    if not centres.row.size:
        return Grouped(label, centres, long)
    cells, back = np.unique(cell, return_inverse=True)
    nearest = _nearest(np.stack([cells // width, cells % width], axis=1), centres, voting.reach_px)
    label[row, col] = nearest[back] + 1
    return Grouped(label, centres, long)


def _clip(offsets: Ints, longest_px: int) -> tuple[Ints, Ints, Ints, NDArray[np.bool_]]:
    """Offsets down and right no longer than allowed, their lengths, and which were longer; all whole numbers."""
    length = np.hypot(offsets[0], offsets[1])
    too_long = length > longest_px
    shrink = np.where(too_long, longest_px / np.maximum(length, 1), 1.0)
    down, right = (np.rint(part * shrink).astype(np.int64) for part in offsets)
    saturated = (np.abs(offsets) >= 127).any(axis=0)
    return down, right, np.rint(np.minimum(length, longest_px)).astype(np.int64), too_long | saturated


def _kernel(voting: Voting) -> Floats:
    steps = np.arange(-voting.smooth_px, voting.smooth_px + 1)
    shape = np.exp(-0.5 * (steps / max(voting.sigma_px, 1e-6)) ** 2)
    return np.asarray(np.maximum(np.rint(shape / shape.sum() * _KERNEL_SUM), 0))


def _smooth(values: NDArray[np.float32], voting: Voting) -> NDArray[np.float32]:
    once = ndimage.correlate1d(values, _kernel(voting), axis=0, mode="constant")
    return np.asarray(ndimage.correlate1d(once, _kernel(voting), axis=1, mode="constant"), np.float32)


def _smooth_at(values: Floats, row: Ints, col: Ints, voting: Voting) -> Floats:
    """The same at a few places only, without rounding."""
    kernel = _kernel(voting)
    around = sliding_window_view(np.pad(values, voting.smooth_px), (kernel.size, kernel.size))
    found = np.empty(row.size)
    for first in range(0, row.size, _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        found[part] = around[row[part], col[part]] @ kernel @ kernel
    return found


def _peaks(density: NDArray[np.float32], scaled: Floats, voting: Voting) -> Centres:
    """Peaks that no stronger one rules out; of equally strong ones the first counts.

    Args:
        density: (H, W) smoothed votes.
        scaled: (H, W) votes times the length of their offsets, not smoothed.
        voting: How.
    """
    highest = ndimage.maximum_filter(density, size=3, mode="constant")
    row, col = (part.astype(np.int64) for part in np.nonzero((density == highest) & (density > 0)))
    height = density[row, col].astype(np.float64)
    size = _smooth_at(scaled, row, col, voting) / height
    place = np.stack([row, col], axis=1)
    near = cKDTree(place).query_pairs(voting.apart_px, output_type="ndarray")
    near = np.sort(near, axis=1)  # raster order: the first of a pair comes first
    first, second = near[:, 0], near[:, 1]
    distance2 = ((place[first] - place[second]) ** 2).sum(axis=1)
    limit = np.maximum(voting.separation * np.maximum(size[first], size[second]), 1.5)
    one = distance2 < limit**2
    first, second = first[one], second[one]
    beaten = np.where(height[second] > height[first], first, second)
    keep = np.ones(row.size, np.bool_)
    keep[beaten] = False
    return Centres(row[keep], col[keep])


def _nearest(places: Ints, centres: Centres, reach_px: int) -> Ints:
    """Index of the nearest centre of every place, the first of several; -1 where none is within reach."""
    targets = np.stack([centres.row, centres.col], axis=1)
    tree = cKDTree(targets)
    found = np.full(len(places), -1, np.int64)
    open_, count = np.arange(len(places)), 2
    while open_.size:
        count = min(count, len(targets))
        _, index = tree.query(places[open_], k=np.arange(1, count + 1), distance_upper_bound=reach_px + 1)
        there = index < len(targets)
        known = np.minimum(index, len(targets) - 1)
        distance2 = ((places[open_][:, None] - targets[known]) ** 2).sum(axis=2)
        distance2 = np.where(there, distance2, np.iinfo(np.int64).max)
        best = distance2.min(axis=1)
        first = np.where(distance2 == best[:, None], known, len(targets)).min(axis=1)
        found[open_] = np.where(best <= reach_px**2, first, -1)
        tied = (distance2[:, -1] == best) & (best <= reach_px**2)
        if count == len(targets):
            break
        open_, count = open_[tied], 2 * count
    return found
