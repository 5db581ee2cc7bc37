"""Zones under a minimum size join a neighbour. Knows levels of cells, and no weeds."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["absorb_small"]


def absorb_small(
    level: NDArray[np.uint8],
    inside: NDArray[np.bool_],
    area_m2: NDArray[Any],
    cell_m: tuple[float, float],
    minimum_m2: float,
) -> NDArray[np.uint8]:
    """Levels without zones under a minimum: the smallest first joins the neighbour with the longest common border.

    Of two borders of the same length the one with the higher level wins. Cells that share a side are neighbours. A zone
    without neighbours stays, however small.

    Args:
        level: (rows, cols) uint8.
        inside: (rows, cols) bool, cells that count; the others keep their level.
        area_m2: (rows, cols) area of each cell in the field.
        cell_m: (width across the track, length along it) of a cell.
        minimum_m2: Smallest zone that stays.

    Returns:
        (rows, cols) uint8.
    """
    label, of_label = _regions(level, inside)
    area = np.bincount(label.ravel(), weights=area_m2.ravel(), minlength=of_label.size).astype(np.float64)
    regions = _Regions(of_label, area, _borders(label, cell_m))
    regions.absorb(minimum_m2)
    result: NDArray[np.uint8] = np.where(inside, regions.levels()[label], level).astype(np.uint8)
    return result


class _Regions:
    """Regions with areas, levels and common borders, joined one by one."""

    def __init__(self, level: NDArray[np.uint8], area: NDArray[np.float64], border: list[dict[int, float]]) -> None:
        self._level, self._area, self._border = level.tolist(), area.tolist(), border
        self._into = list(range(len(border)))

    def absorb(self, minimum_m2: float) -> None:
        """Join every region under the minimum, the smallest first."""
        queue = [(area, region) for region, area in enumerate(self._area) if region and area < minimum_m2 - 1e-9]
        heapq.heapify(queue)
        while queue:
            area, region = heapq.heappop(queue)
            if self._into[region] != region or area != self._area[region] or not self._border[region]:
                continue
            border = self._border[region]
            target = max(border, key=lambda other: (round(border[other], 6), self._level[other], -other))
            self._join(region, target)
            alike = [other for other in self._border[target] if self._level[other] == self._level[target]]
            for other in alike:
                self._join(other, target)
            if self._area[target] < minimum_m2 - 1e-9:
                heapq.heappush(queue, (self._area[target], target))

    def levels(self) -> NDArray[np.uint8]:
        """The level of every original region."""
        found = []
        for region in range(len(self._into)):
            end = region
            while self._into[end] != end:
                end = self._into[end]
            found.append(self._level[end])
        return np.array(found, np.uint8)

    def _join(self, region: int, target: int) -> None:
        for other, length in self._border[region].items():
            del self._border[other][region]
            if other != target:
                for one, two in ((other, target), (target, other)):
                    self._border[one][two] = self._border[one].get(two, 0.0) + length
        self._border[region] = {}
        self._into[region] = target
        self._area[target] += self._area[region]


def _regions(level: NDArray[np.uint8], inside: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """A number for each region, 0 outside, and the level of each number."""
    from scipy.ndimage import label as connected

    numbers = np.zeros(level.shape, np.int32)
    levels = [0]
    for value in np.unique(level[inside]):
        found, count = connected((level == value) & inside)
        numbers[found > 0] = found[found > 0] + len(levels) - 1
        levels += [int(value)] * count
    return numbers, np.array(levels, np.uint8)


def _borders(label: NDArray[np.int32], cell_m: tuple[float, float]) -> list[dict[int, float]]:
    """Length of the border between any two regions that share one."""
    borders: list[dict[int, float]] = [{} for _ in range(int(label.max()) + 1)]
    pairs = ((label[:-1], label[1:], cell_m[0]), (label[:, :-1], label[:, 1:], cell_m[1]))
    for first, second, side in pairs:
        differ = (first != second) & (first > 0) & (second > 0)
        ends = np.sort(np.stack([first[differ], second[differ]], 1).astype(np.int64), axis=1)
        found, count = np.unique(ends, axis=0, return_counts=True)
        for (one, two), sides in zip(found.tolist(), count.tolist(), strict=True):
            borders[one][two] = borders[two][one] = borders[one].get(two, 0.0) + sides * side
    return borders
