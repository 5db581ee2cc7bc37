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

from geoseg.windows import Rect

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
    """What `group_votes` gives, of the part that was asked for.

    Attributes:
        label: (H, W) int32, number of the centre from 1; 0 where there is none.
        centres: The centres; positions count from the corner of the array that was given.
        long: (H, W) bool, pixels whose offset is longer than `Voting.longest_px` or saturated.
    """

    label: NDArray[np.int32]
    centres: Centres
    long: NDArray[np.bool_]


def group_votes(
    weight: NDArray[np.uint8], offsets: NDArray[np.int8], voting: Voting, core: Rect | None = None
) -> Grouped:
    """Group pixels by the centres for which they vote.

    Args:
        weight: (H, W) how many vegetation pixels each pixel stands for, 0 where there is none.
        offsets: (2, H, W) down and right to the centre of the plant, in pixels; +-127 are saturated.
        voting: How.
        core: The part whose pixels are grouped; what is given around it has a say only. None groups all.
    """
    height, width = weight.shape
    core = Rect(0, 0, height, width) if core is None else core
    long = np.zeros(core.shape, np.bool_)
    label = np.zeros(core.shape, np.int32)
    row, col = np.divmod(np.flatnonzero(weight), width)
    if not row.size:
        return Grouped(label, Centres(row, col), long)
    down, right, length, clipped = _clip(offsets[:, row, col].astype(np.int64), voting.longest_px)
    # Centres farther away are nobody's here, and say nothing of those that are.
    about = core.grow(voting.longest_px + voting.reach_px + voting.apart_px + 1 + voting.smooth_px).clip(weight.shape)
    to_row, to_col = row + down - about.row0, col + right - about.col0
    inside = (to_row >= 0) & (to_row < about.shape[0]) & (to_col >= 0) & (to_col < about.shape[1])
    to_row, to_col, strength = to_row[inside], to_col[inside], weight[row[inside], col[inside]].astype(np.float64)
    density = _smooth(_counted(to_row, to_col, strength, about.shape).astype(np.float32), voting)
    edge = voting.smooth_px
    padded = about.shape[0] + 2 * edge, about.shape[1] + 2 * edge
    scaled = _counted(to_row + edge, to_col + edge, strength * length[inside], padded)
    found = _peaks(density, scaled, voting)
    centres = Centres(found.row + about.row0, found.col + about.col0)
    ours = (row >= core.row0) & (row < core.row1) & (col >= core.col0) & (col < core.col1)
    long[row[ours] - core.row0, col[ours] - core.col0] = clipped[ours]
    if centres.row.size:
        voting_here = ours[inside]
        cell = to_row[voting_here] * about.shape[1] + to_col[voting_here]
        cells, back = np.unique(cell, return_inverse=True)
        nearest = _nearest(np.stack(np.divmod(cells, about.shape[1]), axis=1), found, voting.reach_px)
        ours &= inside
        label[row[ours] - core.row0, col[ours] - core.col0] = nearest[back] + 1
    return Grouped(label, centres, long)


def _counted(row: Ints, col: Ints, weight: Floats, shape: tuple[int, int]) -> Floats:
    """(H, W) sum of the weights that fall on each place."""
    found = np.bincount(row * shape[1] + col, weight, shape[0] * shape[1])
    return np.asarray(found, np.float64).reshape(shape)


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


def _smooth_at(padded: Floats, row: Ints, col: Ints, voting: Voting) -> Floats:
    """The same at a few places only, without rounding; what is smoothed has a border as wide as the kernel reaches."""
    kernel = _kernel(voting)
    around = sliding_window_view(padded, (kernel.size, kernel.size))
    found = np.empty(row.size)
    for first in range(0, row.size, _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        found[part] = around[row[part], col[part]] @ kernel @ kernel
    return found


def _peaks(density: NDArray[np.float32], scaled: Floats, voting: Voting) -> Centres:
    """Peaks that no stronger one rules out; of equally strong ones the first counts.

    Args:
        density: (H, W) smoothed votes.
        scaled: Votes times the length of their offsets, not smoothed, with a border of `Voting.smooth_px`.
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
