"""All that the rows of one field say, found once: the class of any window of it follows. Knows no models.

The green, the rows and the rule come from one pass over the field each. A window is then classified from its own
pixels, a margin around them, and its place.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.adapt.field import Field
from geoseg.adapt.rowfield import RowField, green_cells, row_field
from geoseg.adapt.rowrule import FAR, STEPS, RowRule, RuleCounts, Scene, describe, fit_rule
from geoseg.adapt.vegetation import VegetationRule, find_vegetation
from geoseg.errors import OrthoError
from geoseg.legend import CROP, SOIL, WEED
from geoseg.segment.rows import RowConfig
from geoseg.windows import Rect

__all__ = ["STRIDE_PX", "FieldRule", "survey"]

_WINDOWS, _WINDOW_PX = 48, 640
STRIDE_PX = 16
"""Windows of the row rule lie on this lattice, as those of networks do."""
_LEAST_SURE = 0.35
"""Of three classes the chosen one is never less likely than another."""
_LATTICE = 1 / 16
"""Distances from rows are computed this share of a spacing apart, and bilinearly between."""


@dataclass(frozen=True)
class FieldRule:
    """All that was found in a field; gives the class of any window of it.

    Attributes:
        vegetation: What is green.
        rows: Where the rows are.
        rule: What size and distance say.
        origin: Easting and northing of the corner of the grid, metres.
        gsd_m: Metres per pixel.
    """

    vegetation: VegetationRule
    rows: RowField
    rule: RowRule
    origin: tuple[float, float]
    gsd_m: float

    @property
    def margin_px(self) -> int:
        """How far around a pixel the rule looks, on the stride lattice."""
        reach = 2 * self.rule.reach_px + self.vegetation.reach_px + 1
        return -(-reach // STRIDE_PX) * STRIDE_PX

    def off_row(self, rect: Rect) -> NDArray[np.uint8]:
        """(H, W) distance from the nearest row in `STEPS` a spacing, by pixels of the grid."""
        spacing = self.rows.model.spacing_m or 1.0
        step = max(int(spacing * _LATTICE / self.gsd_m), 1)
        knots = [np.arange(first // step, -(-last // step) + 2) * step for first, last in (
            (rect.row0, rect.row1), (rect.col0, rect.col1))]  # fmt: skip
        y = self.origin[1] - self.gsd_m * (knots[0] + 0.5)
        x = self.origin[0] + self.gsd_m * (knots[1] + 0.5)
        shape = len(y), len(x)
        found = self.rows.off_row(np.tile(x, shape[0]), np.repeat(y, shape[1])).reshape(shape)
        found = np.minimum(found, FAR / STEPS)
        pixels = [np.arange(rect.row0, rect.row1), np.arange(rect.col0, rect.col1)]
        (r, fr), (c, fc) = (
            ((values - grid[0]) // step, (values - grid[0]) % step / step)
            for values, grid in zip(pixels, knots, strict=True)
        )
        across = found[:, c] * (1 - fc) + found[:, c + 1] * fc
        smooth = across[r] * (1 - fr)[:, None] + across[r + 1] * fr[:, None]
        return np.asarray(np.minimum(np.rint(smooth * STEPS), FAR), np.uint8)

    def scene(
        self, image: np.ndarray, rect: Rect, greenness: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[np.float32], Scene]:
        """Greenness of an image, and what the rule sees of it; right from `margin_px` inwards.

        Args:
            image: (C, H, W) uint8 or float32.
            rect: Where it lies.
            greenness: (H, W) to take instead of the index, above 0.5 where it is green.
        """
        greenness = self.vegetation.greenness(image, rect) if greenness is None else greenness
        return greenness, describe(greenness > 0.5, self.off_row(rect), self.rule.reach_px)

    def classify(self, image: np.ndarray, rect: Rect) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """(H, W) classes and confidence in per cent; right from `margin_px` inwards."""
        greenness, scene = self.scene(image, rect)
        weed = self.rule.probability(scene)
        classes = np.where(scene.green, np.where(weed > 0.5, WEED, CROP), SOIL).astype(np.uint8)
        sure = np.clip(0.5 + np.abs(greenness - 0.5), 0.5, 1.0)
        sure = np.where(scene.green, sure * np.maximum(weed, 1 - weed), sure)
        return classes, np.rint(np.maximum(sure, _LEAST_SURE) * 100).astype(np.uint8)

    def facts(self) -> dict[str, Any]:
        """For records and cards."""
        return {"vegetation": self.vegetation.facts(), "rows": self.rows.facts(), "rule": self.rule.facts()}

    def digest(self) -> str:
        """Hash of all that decides a pixel's class."""
        parts = (self.vegetation.ground.values, self.rows.x, self.rows.y, self.rows.spacing_m, self.rule.weed)
        text = repr((self.facts(), self.origin, self.gsd_m)).encode()
        return hashlib.sha256(text + b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()


def survey(where: Field, config: RowConfig | None = None) -> FieldRule:
    """Look over a field: its green, its rows, and what they say.

    Args:
        where: The field.
        config: How rows are looked for.

    Raises:
        OrthoError: If there is nothing green, or no rows, or the green between the rows is as dense as on them.
    """
    vegetation = find_vegetation(where)
    rows = row_field(green_cells(where, vegetation), config)
    if not rows.model.found or rows.model.spacing_m is None:
        raise OrthoError(f"{where.source.name}: {rows.model.reason}; crop and weed cannot be told apart by rows")
    reach = max(round(0.1 * rows.model.spacing_m / where.gsd_m), 2)
    affine = where.grid.affine
    blank = RowRule(np.zeros((1, 1)), np.zeros(1), reach, 0.25, 0.0, 0.0, 0.0)
    found = FieldRule(vegetation, rows, blank, (affine.c, affine.f), where.gsd_m)
    counts = RuleCounts()
    for rect, image, valid in where.sample(_WINDOWS, _WINDOW_PX):
        _, scene = found.scene(image, rect)
        inner = np.zeros_like(valid)
        margin = min(found.margin_px, min(rect.shape) // 4)
        inner[margin:-margin, margin:-margin] = valid[margin:-margin, margin:-margin]
        counts.add(scene, inner)
    rule = fit_rule(counts, reach)
    if not rule.usable:
        raise OrthoError(
            f"{where.source.name}: rows {rows.model.spacing_m:.2f} m apart were found, but the green between them is "
            f"as dense as on them (ratio {rule.contrast:.1f}, expected 2 or more); crop and weed cannot be told by rows"
        )
    return FieldRule(vegetation, rows, rule, (affine.c, affine.f), where.gsd_m)
