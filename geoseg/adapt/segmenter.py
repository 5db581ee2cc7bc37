"""The row rule as a model: `geoseg run --model row_rule`. It has no weights; it learns from each field it is given.

Rows, threshold and probabilities are found once for the whole field. After that every window is classified from its
own pixels and a margin. What depends on the place of a window is done where the window is read, and travels to
`classify` in two more bands behind the colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from geoseg.adapt.field import RULE_GSD, open_field
from geoseg.adapt.fieldrule import STRIDE_PX, FieldRule, survey
from geoseg.errors import ModelError
from geoseg.models.card import CARD, ModelCard, Tiling
from geoseg.ortho import OrthoConfig
from geoseg.segment.predict import WindowReader
from geoseg.segment.rows import RowConfig
from geoseg.windows import Rect

__all__ = ["ROW_RULE", "RowRuleReader", "RowRuleSegmenter", "load_rule"]

ROW_RULE = "row_rule"
"""Name of the model, and its architecture on cards."""


def load_rule(model: str, config: RowConfig | None = None) -> RowRuleSegmenter | None:
    """The row rule, if `model` is its name or a model directory that holds it; it has seen no field yet."""
    path = Path(model)
    if model == ROW_RULE and not (path / CARD).is_file():
        return RowRuleSegmenter(config=config or RowConfig())
    if (path / CARD).is_file() and (card := ModelCard.read(path / CARD)).architecture == ROW_RULE:
        return RowRuleSegmenter(config=config or RowConfig(), name=card.name)
    return None


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
            tiling=Tiling(write_px=1024, margin_px=margin, stride_px=STRIDE_PX),
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
