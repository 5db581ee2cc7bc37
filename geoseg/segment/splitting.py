"""Plants without offsets: regions cut where they are narrow. Pure numpy; knows no file.

The distance of every pixel from the edge of its region has a maximum in the middle of each plant. Maxima with no deep
saddle between them are one plant, which keeps the leaves of a rosette together; a pixel goes to the maximum for which
its power, squared distance less squared radius, is least: two discs are parted along their common chord.

Reference:
    S. Beucher and C. Lantuejoul (1979), Use of watersheds in contour detection, for the method; F. Aurenhammer (1987),
    Power diagrams, SIAM J. Comput. 16(1), https://doi.org/10.1137/0216006, for the cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

__all__ = ["Splitting", "split_regions"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Splitting:
    """How regions are cut; lengths in pixels.

    Attributes:
        depth: A saddle lower than this share of the lower of two maxima parts them.
        apart_px: Maxima nearer than this are one; a region in which two pixels are never so far apart is not looked at.
    """

    depth: float
    apart_px: float

    def holds_two(self, height: Ints, width: Ints) -> NDArray[np.bool_]:
        """Whether regions of these sizes could hold two centres."""
        return np.hypot(height - 1, width - 1) >= self.apart_px


class _Seeds(NamedTuple):
    """Middles of plants: region, row, column and distance from the edge; arrays of one entry a seed."""

    region: Ints
    row: Ints
    col: Ints
    radius: Floats


def split_regions(vegetation: NDArray[np.bool_], first: tuple[Ints, Ints], splitting: Splitting) -> NDArray[np.int32]:
    """Cut regions into plants.

    Args:
        vegetation: (H, W) bool; holds the regions whole, with one more pixel around them unless the raster ends there.
        first: Rows and columns of one pixel of each region to cut.
        splitting: How.

    Returns:
        (H, W) int32, the number of the plant from 1, other numbers in each region; 0 outside the regions.
    """
    region = ndimage.label(vegetation)[0]
    wanted = np.zeros(int(region.max()) + 1, np.bool_)
    wanted[region[first]] = True
    wanted[0] = False
    region = np.where(wanted[region], region, 0)
    distance = ndimage.distance_transform_edt(np.pad(vegetation, 1))[1:-1, 1:-1]
    seeds = _seeds(region, distance, splitting)
    several = np.bincount(seeds.region, minlength=wanted.size) > 1
    label = region.astype(np.int32)
    used = wanted.size
    boxes = ndimage.find_objects(region)
    for number in np.flatnonzero(several).tolist():
        own = _slice_of(seeds.region, number)
        box = boxes[number - 1]
        row, col = np.nonzero(region[box] == number)
        row, col = row + box[0].start, col + box[1].start
        label[row, col] = used + _strongest(row, col, _take(seeds, own))
        used += int(np.count_nonzero(seeds.region[own] == number))
    return label


def _slice_of(sorted_values: Ints, value: int) -> slice:
    low, high = np.searchsorted(sorted_values, [value, value + 1])
    return slice(int(low), int(high))


def _take(seeds: _Seeds, index: slice | NDArray[np.bool_]) -> _Seeds:
    return _Seeds(seeds.region[index], seeds.row[index], seeds.col[index], seeds.radius[index])


def _strongest(row: Ints, col: Ints, seeds: _Seeds) -> Ints:
    """Index of the seed for which each pixel's power is least, the first of several."""
    best = np.full(row.size, np.inf)
    found = np.zeros(row.size, np.int64)
    places = zip(seeds.row.tolist(), seeds.col.tolist(), seeds.radius.tolist(), strict=True)
    for index, (r, c, size) in enumerate(places):
        power = (row - r) ** 2 + (col - c) ** 2 - round(size * size)
        nearer = power < best
        best[nearer], found[nearer] = power[nearer], index
    return found


def _seeds(region: NDArray[np.int32], distance: Floats, splitting: Splitting) -> _Seeds:
    """Maxima of the distance, those of one plant reduced to the highest; by region, and there the highest first."""
    highest = ndimage.maximum_filter(distance, size=3, mode="constant")
    row, col = (part.astype(np.int64) for part in np.nonzero((distance == highest) & (region > 0)))
    radius, of = distance[row, col], region[row, col].astype(np.int64)
    order = np.lexsort((-radius, of))
    seeds = _Seeds(of[order], row[order], col[order], radius[order])
    _, later, near2 = _pairs(seeds, splitting.apart_px)
    seeds = _without(seeds, later[near2 < splitting.apart_px**2])
    earlier, later, near2 = _pairs(seeds, 2 * float(seeds.radius.max(initial=0.0)))
    touching = near2 < (seeds.radius[earlier] + seeds.radius[later]) ** 2
    earlier, later = earlier[touching], later[touching]
    saddle = _saddle(region, distance, (seeds.row[earlier], seeds.col[earlier]), (seeds.row[later], seeds.col[later]))
    return _without(seeds, later[saddle >= (1 - splitting.depth) * seeds.radius[later]])


def _pairs(seeds: _Seeds, reach_px: float) -> tuple[Ints, Ints, Ints]:
    """Pairs of seeds of one region within reach: the earlier, the later and their squared distance."""
    place = np.stack([seeds.row, seeds.col], axis=1)
    found = np.sort(cKDTree(place).query_pairs(reach_px, output_type="ndarray"), axis=1).astype(np.int64)
    same = seeds.region[found[:, 0]] == seeds.region[found[:, 1]]
    earlier, later = found[same].T
    return earlier, later, ((place[earlier] - place[later]) ** 2).sum(axis=1)


def _without(seeds: _Seeds, index: Ints) -> _Seeds:
    keep = np.ones(seeds.row.size, np.bool_)
    keep[index] = False
    return _take(seeds, keep)


def _saddle(region: NDArray[np.int32], distance: Floats, begin: tuple[Ints, Ints], end: tuple[Ints, Ints]) -> Floats:
    """Lowest distance from the edge on the straight line between pixels of a region; 0 where it leaves the region."""
    own = region[begin]
    lowest = np.minimum(distance[begin], distance[end])
    steps = np.maximum(np.abs(end[0] - begin[0]), np.abs(end[1] - begin[1]))
    for step in range(1, int(steps.max(initial=0))):
        on = np.flatnonzero(step < steps)
        share = step / steps[on]
        row, col = (
            np.floor(b[on] + (e[on] - b[on]) * share + 0.5).astype(np.int64) for b, e in zip(begin, end, strict=True)
        )
        here = np.where(region[row, col] == own[on], distance[row, col], 0.0)
        lowest[on] = np.minimum(lowest[on], here)
    return lowest
