"""The row rule as a model: `geoseg run --model row_rule`. It has no weights; it learns from each field it is given.

Rows, threshold and probabilities are found once for the whole field. After that every window is classified from its
own pixels and a margin. What depends on the place of a window is done where the window is read, and travels to
`classify` in two more bands behind the colours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.adapt.field import RULE_GSD, Field, open_field
from geoseg.adapt.rowfield import RowField, green_cells, row_field
from geoseg.adapt.rowrule import FAR, STEPS, RowRule, RuleCounts, Scene, describe, fit_rule
from geoseg.adapt.vegetation import VegetationRule, find_vegetation
from geoseg.errors import ModelError, OrthoError
from geoseg.legend import CROP, SOIL, WEED
from geoseg.models.card import CARD, ModelCard, Tiling
from geoseg.ortho import OrthoConfig
from geoseg.segment.predict import WindowReader
from geoseg.segment.rows import RowConfig
from geoseg.windows import Rect

__all__ = ["ROW_RULE", "FieldRule", "RowRuleReader", "RowRuleSegmenter", "load_rule", "survey"]

ROW_RULE = "row_rule"
"""Name of the model, and its architecture on cards."""

_WINDOWS, _WINDOW_PX = 48, 640
_STRIDE = 16
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
        return -(-reach // _STRIDE) * _STRIDE

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

    def scene(self, image: np.ndarray, rect: Rect) -> tuple[NDArray[np.float32], Scene]:
        """Greenness of an image, and what the rule sees of it; right from `margin_px` inwards."""
        greenness = self.vegetation.greenness(image, rect)
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


def load_rule(model: str, config: RowConfig | None = None) -> RowRuleSegmenter | None:
    """The row rule, if `model` is its name or a model directory that holds it; it has seen no field yet."""
    path = Path(model)
    if model == ROW_RULE and not (path / CARD).is_file():
        return RowRuleSegmenter(config=config or RowConfig())
    if (path / CARD).is_file() and (card := ModelCard.read(path / CARD)).architecture == ROW_RULE:
        return RowRuleSegmenter(config=config or RowConfig(), name=card.name)
    return None


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
    blank = RowRule(np.zeros((24, 11)), reach, 0.25, 0.0, 0.0, 0.0)
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


@dataclass
class RowRuleReader:
    """A reader that classifies what it reads: two bands, class and per cent, follow those of the ortho."""

    inner: WindowReader
    rule: FieldRule

    def valid(self, rect: Rect) -> np.ndarray:
        """As the ortho's."""
        return self.inner.valid(rect)

    def read(self, rect: Rect, fill: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """The ortho's bands, then class and confidence, in the scale of the image."""
        image, valid = self.inner.read(rect, fill)
        found = np.stack(self.rule.classify(image, rect)).astype(image.dtype)
        return np.concatenate([image, found if image.dtype == np.uint8 else found / np.float32(255)]), valid

    def close(self) -> None:
        """Close the ortho."""
        self.inner.close()


@dataclass
class RowRuleSegmenter:
    """The row rule as a `Segmenter`.

    Attributes:
        rule: What was found in the field; None before it has seen one.
        config: How rows are looked for.
    """

    rule: FieldRule | None = None
    config: RowConfig = field(default_factory=RowConfig)
    name: str = ROW_RULE

    @property
    def card(self) -> ModelCard:
        """What it needs and promises."""
        rule = self.rule
        bands = ("red", "green", "blue") if rule is None else rule.vegetation.bands
        margin = 64 if rule is None else rule.margin_px
        return ModelCard(
            name=self.name,
            version="1",
            description="Crop and weed from the rows of the field itself: no network, no labels.",
            architecture=ROW_RULE,
            bands=bands,
            mean=(0.4,) * len(bands),
            std=(1.0,) * len(bands),
            gsd=RULE_GSD,
            tiling=Tiling(write_px=1024, margin_px=margin, stride_px=_STRIDE),
            licence="Apache-2.0",
            training={} if rule is None else rule.facts(),
            limits=(
                "Needs rows: broadcast crops and closed canopies are refused.",
                "Weeds in the row are found only where they are much smaller than the crop.",
            ),
            weights_sha256=None if rule is None else rule.digest(),
        )

    def for_field(
        self, ortho: str | Path, config: OrthoConfig | None = None, boundary: str | Path | None = None
    ) -> RowRuleSegmenter:
        """The same, with the rows of a field found; itself if it knows some already.

        Raises:
            OrthoError: If the field has no rows, or they do not tell crop from weed.
        """
        if self.rule is not None:
            return self
        return RowRuleSegmenter(survey(open_field(ortho, config, boundary), self.config), self.config, self.name)

    def reader(self, inner: WindowReader) -> WindowReader:
        """The reader that it needs; see `geoseg.segment.predict`."""
        return RowRuleReader(inner, self._known())

    def classify(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N, H, W) uint8 classes and confidence of images that `reader` has read.

        Images without its two bands are taken to lie in the upper left corner of the field.
        """
        rule = self._known()
        bands = len(rule.vegetation.bands)
        if images.shape[1] == bands:
            pairs = [rule.classify(image, Rect(0, 0, *image.shape[1:])) for image in images]
            return np.stack([pair[0] for pair in pairs]), np.stack([pair[1] for pair in pairs])
        found = images[:, bands:] if images.dtype == np.uint8 else np.rint(images[:, bands:] * 255)
        return found[:, 0].astype(np.uint8), found[:, 1].astype(np.uint8)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """(N, 3, H, W) float32 probabilities: the confidence for the class, the rest shared by the others."""
        classes, percent = self.classify(images)
        sure = np.clip(percent / 100, 1 / 3, 1)[:, None]
        chosen = classes[:, None] == np.arange(3)[None, :, None, None]
        return np.where(chosen, sure, (1 - sure) / 2).astype(np.float32)

    def _known(self) -> FieldRule:
        if self.rule is None:
            raise ModelError("the row rule has not seen a field yet; call for_field first")
        return self.rule
