"""From an ortho without labels to a model for it: survey, labels from the rows, teaching, and a fair choice.

The better of three is kept: the model as it was, the row rule, and the network that the field has taught. What they
are worth is measured on a part of the field that taught nothing, by `geoseg.adapt.balance`.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from geoseg.adapt.balance import View, confusion_by_balance, confusion_of_rule
from geoseg.adapt.field import Field, open_field
from geoseg.adapt.fieldrule import FieldRule, survey
from geoseg.adapt.hints import hint_tiles, read_hints
from geoseg.adapt.pseudo import PseudoConfig, PseudoTiles, network_bands, pseudo_tiles
from geoseg.adapt.segmenter import ROW_RULE, RowRuleSegmenter
from geoseg.adapt.tune import TuneConfig, Tuned, network_classes, tune
from geoseg.errors import InputError
from geoseg.models.card import CARD, GsdRange, ModelCard
from geoseg.ortho import OrthoConfig
from geoseg.segment.rows import RowConfig
from geoseg.train.evaluate import Scores, scores
from geoseg.train.labelfiles import LabelConfig
from geoseg.train.tiles import VALIDATION, Tile, write_set

if TYPE_CHECKING:
    from torch import nn

__all__ = ["AdaptConfig", "Adapted", "adapt"]

HELD_OUT = "held-out part of the field, estimated from its rows"
_HINT_SHARE = 0.3


@dataclass(frozen=True)
class AdaptConfig:
    """What `geoseg adapt` does.

    Attributes:
        model: Name of the shipped model, or the model directory, that is taught.
        ortho: How the ortho is read.
        rows: How rows are looked for.
        labels: How the tile set of the field is made.
        hints: How the file of hints is understood.
        tune: How the network is taught.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    model: str = "default"
    ortho: OrthoConfig = field(default_factory=OrthoConfig)
    rows: RowConfig = field(default_factory=RowConfig)
    labels: PseudoConfig = field(default_factory=PseudoConfig)
    hints: LabelConfig = field(default_factory=LabelConfig)
    tune: TuneConfig = field(default_factory=TuneConfig)


@dataclass(frozen=True)
class Adapted:
    """What came out.

    Attributes:
        card: Card of the model directory.
        kept: ``adapted``, ``model`` or ``row_rule``.
        scores: Of all three on what was held out.
    """

    card: ModelCard
    kept: str
    scores: dict[str, Scores]

    def lines(self) -> list[str]:
        """For people."""
        names = {"adapted": "adapted", "model": "model as it was", "row_rule": "row rule"}
        rows = [f"{'held-out part of the field':<28}{'crop F1':>9}{'weed F1':>9}"]
        for kind, found in self.scores.items():
            rows.append(f"{names[kind]:<28}{found.f1[1]:>9.3f}{found.f1[2]:>9.3f}{'   kept' * (kind == self.kept)}")
        if self.kept != "adapted":
            rows.append(f"teaching made nothing better; the {names[self.kept]} is kept")
        return rows


def adapt(
    ortho: str | Path,
    out: Path,
    config: AdaptConfig | None = None,
    *,
    boundary: str | Path | None = None,
    hints: Path | None = None,
) -> Adapted:
    """Teach a model the field of an ortho, and write a model directory.

    Args:
        ortho: Any raster that GDAL opens.
        out: The model directory; must not exist.
        config: All parameters.
        boundary: Polygon file of the field; None takes the outline of the valid pixels.
        hints: Vector file of points or polygons with a class.

    Raises:
        InputError: If something given cannot be used, or the field has no rows from which to learn.
    """
    config = config or AdaptConfig()
    if out.exists():
        raise InputError(f"{out} exists already; remove it or choose another --out")
    started = time.perf_counter()
    where = open_field(ortho, config.ortho, boundary)
    clicks = None if hints is None else read_hints(hints, where, config.hints)
    rule = survey(where, config.rows)
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        extra = [] if clicks is None else hint_tiles(where, rule, clicks, config.labels.tile_px)
        found = _Lesson(where, rule, config, extra, _name(out), started).teach(draft)
        os.replace(draft, out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return found


def _name(out: Path) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", out.name.lower()).strip("-._") or "adapted"


@dataclass
class _Lesson:
    """One adaptation, from the survey to the written directory."""

    where: Field
    rule: FieldRule
    config: AdaptConfig
    hints: list[Tile]
    name: str
    started: float

    def teach(self, folder: Path) -> Adapted:
        """Make labels, teach, choose, and write everything into a folder."""
        if network_bands(self.where.bands) is None:
            return self._keep_rule(folder, {}, {})
        from geoseg.adapt.netgreen import choose_green
        from geoseg.models.storage import TorchSegmenter, load_module

        card, module = load_module(self.config.model)
        card = self._card(card)
        look, green = choose_green(self.where, self.rule, TorchSegmenter(card, module))
        tiles = pseudo_tiles(self.where, self.rule, self.config.labels, look)
        tuned = self._tune(card, module, tiles)
        write_set([*tiles.tiles, *self.hints], folder / "tiles")
        found = {
            "adapted": self._scores(tiles, self._seen_by(card, tuned.module)),
            "model": self._scores(tiles, self._seen_by(card, module)),
            "row_rule": scores(confusion_of_rule(tiles.views)),
        }
        kept = max(found, key=lambda kind: (_value(found[kind]), kind == "row_rule"))
        if kept == "adapted" and not tuned.step:
            kept = "model"
        facts = self.rule.facts() | {
            "taught_from": self.config.model, "green": green, "label_noise": tiles.noise.facts(),
            "looks": [[step, round(value, 4)] for step, value in tuned.looks], "step": tuned.step,
            "kept": kept, "hints": len(self.hints),
            "estimated": {kind: one.to_dict()["classes"] for kind, one in found.items()},
        }  # fmt: skip
        if kept == "row_rule":
            return self._keep_rule(folder, facts, found)
        return self._keep_network(folder, card, tuned.module if kept == "adapted" else module, tiles, facts, found)

    def _card(self, card: ModelCard) -> ModelCard:
        """The model's card, for this field's bands and resolution."""
        gsd = self.where.gsd_m
        low, high = min(gsd / 1.25, card.gsd.min_m), max(gsd * 1.25, card.gsd.max_m)
        bands = network_bands(self.where.bands) or card.bands
        update = {
            "gsd": GsdRange(train_m=gsd, min_m=low, max_m=high), "bands": bands, "scaling": "fixed", "logit_bias": (),
            "parity": {},
        }  # fmt: skip
        return card.model_copy(update=update)

    def _tune(self, card: ModelCard, module: nn.Module, tiles: PseudoTiles) -> Tuned:
        from geoseg.train.sets import TileSet

        sets, shares = [TileSet(tiles.tiles, "the field")], [1.0]
        if self.hints:
            sets, shares = [*sets, TileSet(self.hints, "the hints")], [1 - _HINT_SHARE, _HINT_SHARE]

        def score(network: nn.Module) -> float:
            return _value(self._scores(tiles, self._seen_by(card, network)))

        return tune(card, module, sets, shares, self.config.tune, score)

    def _seen_by(self, card: ModelCard, module: nn.Module) -> Callable[[View], np.ndarray]:
        return network_classes(card, module, self.config.tune.device)

    def _scores(self, tiles: PseudoTiles, classes_of: Callable[[View], np.ndarray]) -> Scores:
        return scores(confusion_by_balance(tiles.views, tiles.rule, classes_of))

    def _keep_network(
        self,
        folder: Path,
        card: ModelCard,
        module: nn.Module,
        tiles: PseudoTiles,
        facts: dict[str, Any],
        found: dict[str, Scores],
    ) -> Adapted:
        from geoseg.models.storage import save
        from geoseg.train.validation import measure_parity

        kept = str(facts["kept"])
        held_out = [tile for tile in tiles.tiles if tile.split == VALIDATION]
        limits = (
            "Taught by the rows of one field, without labels: scores are estimates from these rows.",
            "These estimates know nothing of plants that neither the index nor the network saw.",
            *card.limits,
        )
        changes = {
            "name": self.name, "version": "1", "limits": limits,
            "description": f"{card.name}, taught by the crop rows of {self.where.source.name}.",
            "training": facts | {"seconds": round(time.perf_counter() - self.started)},
            "scores": {HELD_OUT: found[kept].to_dict()},
        }  # fmt: skip
        card = card.model_copy(update=changes)
        card = card.model_copy(update={"parity": measure_parity(card, module.cpu(), held_out)})
        return Adapted(save(folder, card, module), kept, found)

    def _keep_rule(self, folder: Path, facts: dict[str, Any], found: dict[str, Scores]) -> Adapted:
        card = RowRuleSegmenter(self.rule, self.config.rows, self.name).card
        changes = {
            "training": self.rule.facts() | facts | {"seconds": round(time.perf_counter() - self.started)},
            "scores": {HELD_OUT: found["row_rule"].to_dict()} if found else {},
            "weights_sha256": None,
        }
        card = card.model_copy(update=changes)
        card.write(folder / CARD)
        return Adapted(card, ROW_RULE, found)


def _value(found: Scores) -> float:
    """What is compared: mean F1 of the classes."""
    return float(np.nanmean(found.f1))
