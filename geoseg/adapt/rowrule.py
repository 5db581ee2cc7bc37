"""Crop or weed, from where green stands and how much of it is there. Knows no files and no networks.

Crops are sown in rows; weeds know nothing of rows, so as many of them stand in a square metre of row as between the
rows. For green of every size the density between the rows is that of weeds; as much of the green on the rows is weeds
as well, and the rest is crop. That gives the probability of weed for every size and every distance from the row, with
no label: large green on the row is crop, small green on the row is as doubtful as it is common between the rows.

Size is the green area in a small square around a pixel, distance that of the middle of this green from the row. Both
are sums of whole numbers over a bounded neighbourhood, so a field can be cut in any way without changing a pixel.

Reference:
    The first step is that of RoWeeder (De Marinis et al. 2024, CVPPA, arXiv 2410.04983): on the row crop, off it weed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["FAR", "OFF_BINS", "RowRule", "RuleCounts", "Scene", "describe", "fit_rule"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

STEPS = 200
"""Distances are kept as whole numbers, this many a row spacing."""
FAR = 255
"""What stands for no row nearby."""
OFF_BINS = np.linspace(0, 0.5, 11)
"""Distance classes, in row spacings; one more holds all that is farther than half a spacing."""
_MAX_SIZES = 24
_MIN_CONTRAST = 2.0
_LEVEL = 1.5


@dataclass(frozen=True)
class Scene:
    """What the rule sees of an image.

    Attributes:
        green: (H, W) bool, vegetation.
        size: (H, W) size class of the green around a pixel, be it green itself or not; 0 where there is none.
        off: (H, W) distance class of its middle.
        here: (H, W) distance class of the pixel itself, green or not.
    """

    green: NDArray[np.bool_]
    size: NDArray[np.int8]
    off: NDArray[np.int8]
    here: NDArray[np.int8]


def describe(green: NDArray[np.bool_], off_row: NDArray[np.uint8], reach_px: int) -> Scene:
    """Size and place of the green around every pixel.

    Args:
        green: (H, W) bool.
        off_row: (H, W) distance from the nearest row in `STEPS` a spacing; `FAR` where there is none.
        reach_px: Half the side of the square. What lies farther than twice of it is not looked at.
    """
    mass = _box(green.astype(np.int64), reach_px)
    way = _box(np.where(green, off_row, 0).astype(np.int64), reach_px)
    most = ndimage.maximum_filter(np.where(green, mass, 0), 2 * reach_px + 1, mode="constant")
    size = np.floor(np.log2(np.maximum(most, 1))).astype(np.int8)
    off = _off_class(way / np.maximum(mass, 1) / STEPS)
    return Scene(green, size, off, _off_class(off_row / STEPS))


def _off_class(distance: Floats) -> NDArray[np.int8]:
    return np.clip(np.searchsorted(OFF_BINS, distance, side="right") - 1, 0, len(OFF_BINS) - 1).astype(np.int8)


def _box(values: Ints, reach: int) -> Ints:
    """Sums over squares of 2 reach + 1 pixels, zero outside; exact."""
    padded = np.pad(values, ((reach + 1, reach), (reach + 1, reach)))
    total = padded.cumsum(axis=0).cumsum(axis=1)
    side = 2 * reach + 1
    return np.asarray(total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side])


class RuleCounts:
    """Pixels of a field by size and distance, added up image by image."""

    def __init__(self) -> None:
        self.green = np.zeros((_MAX_SIZES, len(OFF_BINS)), np.int64)
        self.ground = np.zeros(len(OFF_BINS), np.int64)

    def add(self, scene: Scene, where: NDArray[np.bool_]) -> None:
        """Count the pixels of an image that are marked in `where`."""
        self.ground += np.bincount(scene.here[where], minlength=len(OFF_BINS))
        chosen = scene.green & where
        place = scene.size[chosen].astype(np.int64) * len(OFF_BINS) + scene.off[chosen]
        self.green += np.bincount(place, minlength=self.green.size).reshape(self.green.shape)


@dataclass(frozen=True)
class RowRule:
    """What size and distance say in one field.

    Attributes:
        weed: (sizes, distances) probability that green is weed; the last distance is no row nearby.
        density: (sizes,) pixels of green per pixel of ground between the rows: those of weeds.
        reach_px: Half the side of the square in which green is looked at.
        off_from: Distance from the row, in spacings, from which green is taken for weeds.
        contrast: Density of green on the rows over that between them.
        row_half: Distance from the row within which half of what is more than weeds stands: half the width of the crop.
        weed_on_row: Share of the green within `off_from` that should be weeds.
    """

    weed: Floats
    density: Floats
    reach_px: int
    off_from: float
    contrast: float
    row_half: float
    weed_on_row: float

    @property
    def usable(self) -> bool:
        """Whether green on the rows stands out from green between them."""
        return self.contrast >= _MIN_CONTRAST

    @property
    def off_class(self) -> int:
        """First distance class between the rows."""
        return int(np.argmin(np.abs(OFF_BINS - self.off_from)))

    def probability(self, scene: Scene) -> NDArray[np.float32]:
        """(H, W) probability of weed where it is green; 0 elsewhere."""
        return np.where(scene.green, self.weed[scene.size, scene.off], 0.0).astype(np.float32)

    def around(self, scene: Scene) -> NDArray[np.float32]:
        """(H, W) probability of weed of the green around a pixel, be it green itself or not."""
        return np.asarray(self.weed[scene.size, scene.off], np.float32)

    def facts(self) -> dict[str, Any]:
        """For records and cards."""
        names = ("off_from", "contrast", "row_half", "weed_on_row")
        return {name: round(float(getattr(self, name)), 4) for name in names} | {"reach_px": self.reach_px}


def fit_rule(counts: RuleCounts, reach_px: int) -> RowRule:
    """What the counts of a field say.

    Args:
        counts: Of pixels all over the field.
        reach_px: With which they were made.
    """
    green = ndimage.gaussian_filter(counts.green[:, :-1].astype(np.float64), (0.5, 0.5), mode="nearest")
    ground = np.maximum(counts.ground[:-1].astype(np.float64), 1.0)
    profile = green.sum(axis=0) / ground
    first = _off_zone(profile)
    density = green[:, first:].sum(axis=1) / ground[first:].sum()
    expected = density[:, None] * ground
    weed = np.minimum((expected + 0.5) / (green + 1.0), 1.0)
    weed[:, first:] = np.maximum(weed[:, first:], 0.9 * (green[:, first:] > 0) + 0.5 * (green[:, first:] == 0))
    unseen = green < 1.0
    weed = np.where(unseen, np.where(np.arange(weed.shape[1]) < first, 0.4, 0.6), weed)
    between = max(float(density.sum()), 1e-9)
    excess = np.maximum(profile[:first] - between, 0) * ground[:first]
    half = int(np.searchsorted(np.cumsum(excess), excess.sum() / 2)) if excess.sum() else 0
    on_row = float(expected[:, :first].sum() / max(green[:, :first].sum(), 1.0))
    return RowRule(
        weed=np.column_stack([weed, np.full(len(weed), 0.6)]),
        density=density,
        reach_px=reach_px,
        off_from=float(OFF_BINS[first]),
        contrast=float(profile[:2].mean() / between),
        row_half=float(OFF_BINS[half + 1]),
        weed_on_row=min(on_row, 1.0),
    )


def _off_zone(profile: Floats) -> int:
    """First distance class between the rows: from there on the density of green is level, or nearly so."""
    last = len(profile) - 2
    level = float(profile[last:].mean())
    floor = min(level, float(profile.min()) if profile.min() > 0 else level)
    first = last
    while first > 3 and profile[first - 1] <= _LEVEL * max(level, floor):
        first -= 1
    return first
