"""What is green in a field, by one rule for all of it: an index, its local mean over soil, and a threshold.

Index and smoothing are those with the least doubt (see `Cut`) on windows spread over the field. Uneven light and soil
are taken off by the median of the index in cells of some metres, so the threshold is about what differs from the
ground around it. The rule is a function of a pixel, its neighbours within `reach_px` and its place in the grid, so it
gives the same however the grid is cut.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geoseg.adapt.cut import BINS, Cut, find_cut, histogram
from geoseg.adapt.field import Field
from geoseg.adapt.indices import candidates, vegetation_index
from geoseg.errors import OrthoError
from geoseg.windows import Rect

__all__ = ["Ground", "VegetationRule", "find_vegetation"]

Floats = NDArray[np.float32]

SMOOTHINGS = (0.5, 1.0, 1.5)
"""Standard deviations, in pixels, of the smoothing that takes the colour noise out of an index."""
GROUND_M = 2.0
"""Side of the cells of the ground."""
_GROUND_GSD_M = 0.02
_NEAR_M = 0.015
SAMPLES, SAMPLE_PX = 40, 320
MAX_COVER = 0.6
MAX_DOUBT = 4.0
_AS_GOOD = 1.05
"""Doubts that differ by less are alike; the rule that smooths least is taken then."""


@dataclass(frozen=True)
class Ground:
    """The index of the ground, in square cells over the grid.

    Attributes:
        values: (rows, cols) float64.
        cell_px: Side of a cell in pixels of the rule's grid; need not be whole.
    """

    values: NDArray[np.float64]
    cell_px: float

    def over(self, rect: Rect) -> Floats:
        """(H, W) bilinear between the cells' middles, at the pixels of a rectangle; depends on their places only."""
        (r0, fr), (c0, fc) = (
            self._between(np.arange(first, last), size)
            for first, last, size in zip((rect.row0, rect.col0), (rect.row1, rect.col1), self.values.shape, strict=True)
        )
        last_row, last_col = self.values.shape[0] - 1, self.values.shape[1] - 1
        r1, c1 = np.minimum(r0 + 1, last_row), np.minimum(c0 + 1, last_col)
        left = self.values[:, c0] * (1 - fc) + self.values[:, c1] * fc
        return np.asarray(left[r0] * (1 - fr)[:, None] + left[r1] * fr[:, None], np.float32)

    def _between(self, pixels: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        place = np.clip((pixels + 0.5) / self.cell_px - 0.5, 0, size - 1)
        first = np.floor(place).astype(np.int64)
        return first, place - first


@dataclass(frozen=True)
class VegetationRule:
    """How vegetation is told from soil in one field.

    Attributes:
        index: Name of the index.
        bands: Names of the bands of the images.
        smooth_px: Standard deviation of the smoothing of the index.
        cut: The threshold above the ground.
        ground: Index of the ground over the field.
        tried: Doubt of every index and smoothing that was tried.
        near_px: Half the side of the square in which the greenest pixel says how green a leaf is here.
    """

    index: str
    bands: tuple[str, ...]
    smooth_px: float
    cut: Cut
    ground: Ground
    tried: dict[str, float]
    near_px: int = 3

    @property
    def reach_px(self) -> int:
        """How far away a pixel can change the result."""
        return int(4 * self.smooth_px + 0.5) + self.near_px

    def greenness(self, image: np.ndarray, rect: Rect) -> Floats:
        """(H, W) float32: 0 is soil, above 0.5 is vegetation.

        A leaf ends where the index falls to half of what the leaf has, pale leaves like bright ones; but nothing is a
        leaf that does not rise above the seed of the `Cut`.

        Args:
            image: (C, H, W) uint8 or float32.
            rect: Where it lies in the rule's grid.
        """
        values = vegetation_index(self.index, image, self.bands)
        if self.smooth_px:
            values = ndimage.gaussian_filter(values, self.smooth_px, truncate=4.0)
        soil, width = np.float32(self.cut.soil), np.float32(2 * (self.cut.value - self.cut.soil))
        above = (values - self.ground.over(rect) - soil) / width
        leaf = np.minimum(ndimage.maximum_filter(above, 2 * self.near_px + 1, mode="nearest"), np.float32(1.0))
        seed = (np.float32(self.cut.seed) - soil) / width
        return np.asarray(above / np.maximum(leaf, 2 * seed), np.float32)

    def at(self, field: Field, own: Field) -> VegetationRule:
        """The rule for images of `field`, a coarser grid over the same ground as the rule's `own`."""
        factor = field.gsd_m / own.gsd_m
        ground = Ground(self.ground.values, self.ground.cell_px / factor)
        smooth, near = (0.0 if factor > 1.5 else self.smooth_px), max(round(self.near_px / factor), 1)
        return replace(self, ground=ground, smooth_px=smooth, near_px=near)

    def facts(self) -> dict[str, Any]:
        """For records and cards."""
        cut = {name: round(getattr(self.cut, name), 4) for name in ("value", "seed", "cover", "doubt")}
        return {"index": self.index, "smooth_px": self.smooth_px, "way": self.cut.way} | cut


def find_vegetation(field: Field) -> VegetationRule:
    """The rule of a field.

    Raises:
        OrthoError: If nothing stands out from the soil, or vegetation covers nearly everything.
    """
    rules = [
        VegetationRule(name, field.bands, smooth, _NO_CUT, _FLAT, {})
        for name in candidates(field.bands)
        for smooth in SMOOTHINGS
    ]
    near = max(round(_NEAR_M / field.gsd_m), 2)
    counts = [np.zeros(len(BINS) - 1, np.int64) for _ in rules]
    for _, image, valid in field.sample(SAMPLES, SAMPLE_PX):
        for number, rule in enumerate(rules):
            values = ndimage.gaussian_filter(vegetation_index(rule.index, image, rule.bands), rule.smooth_px)[valid]
            counts[number] += histogram(values - np.median(values))
    cuts = [find_cut(count) for count in counts]
    found = [(cut.doubt, replace(rule, cut=cut)) for rule, cut in zip(rules, cuts, strict=True) if cut is not None]
    if not found:
        raise OrthoError(f"{field.source.name}: nothing green stands out from the soil; is this a field with plants?")
    least = min(doubt for doubt, _ in found)
    doubt, best = min((pair for pair in found if pair[0] <= _AS_GOOD * least), key=lambda pair: pair[1].smooth_px)
    if doubt > MAX_DOUBT or best.cut.cover > MAX_COVER:
        raise OrthoError(
            f"{field.source.name}: vegetation and soil are not told apart by colour (the best index, {best.index}, "
            f"leaves {doubt:.1f} doubtful pixels per green one and {best.cut.cover:.0%} green); closed canopies and "
            "images without colour need a trained model"
        )
    tried = {f"{rule.index} {rule.smooth_px:g} px": round(value, 3) for value, rule in found}
    return replace(best, ground=_ground(field, best), tried=tried, near_px=near)


_NO_CUT = Cut(0.0, 0.0, "none", 0.0, 0.0, 0.0, 0.0, 0.0)
_FLAT = Ground(np.zeros((1, 1)), 1.0)


def _ground(field: Field, rule: VegetationRule) -> Ground:
    """Medians of the index in cells, kept from following closed vegetation, smoothed over neighbours."""
    coarse = field.coarser(_GROUND_GSD_M)
    cell = max(round(GROUND_M / coarse.gsd_m), 1)
    shape = tuple(-(-side // cell) for side in coarse.shape)
    values = np.full(shape, np.nan)
    for rect, image, valid in coarse.read(8 * cell):
        index = vegetation_index(rule.index, image, rule.bands)
        for row in range(0, rect.shape[0], cell):
            for col in range(0, rect.shape[1], cell):
                part = slice(row, row + cell), slice(col, col + cell)
                if valid[part].any():
                    place = (rect.row0 + row) // cell, (rect.col0 + col) // cell
                    values[place] = np.median(index[part][valid[part]])
    known = np.isfinite(values)
    middle, most = float(np.median(values[known])), 1.2 * (rule.cut.value - rule.cut.soil)
    values = np.clip(values, middle - most, middle + most)
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    smooth = ndimage.gaussian_filter(values[tuple(nearest)], 0.7, mode="nearest")
    return Ground(smooth, cell * coarse.gsd_m / field.gsd_m)
