"""An operating point for a wanted weed recall: how much the weed score is shifted, measured on validation tiles.

Of every pixel the *margin* is kept: how far the weed score lies above the best other one, ``log p(weed) - log max
p(other)``. With the score shifted by b a pixel is weed where its margin is above -b, so that every recall belongs to
one shift. Of *cells* the sprayer's rule is asked: a cell is treated once enough of its pixels are weed, so its margin
is that of the pixel with which the rule's threshold is reached.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from geoseg.errors import LabelError
from geoseg.legend import NODATA, WEED
from geoseg.models.card import ModelCard
from geoseg.progress import bar
from geoseg.spray.rules import SprayConfig
from geoseg.train.evaluate_tiles import TilePair, predict_tile
from geoseg.train.tiles import read_tile

__all__ = ["Margins", "OperatingPoint", "margins_of", "tune_card", "tuned"]

_LEAST = 1e-30
"""Probabilities below this count as this, which no shift makes up for."""
_STEP = 0.01
"""Margins are kept in bins this wide."""
_LARGEST = 20.0
"""Shifts stay within this."""


@dataclass(frozen=True)
class Margins:
    """Margins of validation data.

    Attributes:
        weed: (bins,) labelled weed pixels by margin, from -20 to 20; those beyond are in the first and the last.
        other: (bins,) other pixels.
        cells: (n, 3) margin of each cell, labelled weed m2 in it, and its m2.
    """

    weed: np.ndarray
    other: np.ndarray
    cells: np.ndarray


@dataclass(frozen=True)
class OperatingPoint:
    """A shift of the weed score and what it gives on the data where it was found.

    Attributes:
        bias: Added to the score of weed.
        pixel_recall: Share of the labelled weed pixels that are found.
        pixel_precision: Share of the weed pixels that are right.
        area_reached: Share of the labelled weed area in treated cells.
        ground_treated: Share of the ground in treated cells.
    """

    bias: float
    pixel_recall: float
    pixel_precision: float
    area_reached: float
    ground_treated: float


def margins_of(pairs: Iterable[TilePair], spray: SprayConfig) -> Margins:
    """Margins of all pixels and cells of tiles, one tile at a time.

    Args:
        pairs: Tiles that the model was not trained on.
        spray: The machine's cells and the threshold of its rule.

    Raises:
        LabelError: If no tile has a labelled weed.
    """
    bins = round(2 * _LARGEST / _STEP)
    weed, other, cells = np.zeros(bins, np.int64), np.zeros(bins, np.int64), []
    tiles = list(pairs)
    with bar("evaluate", len(tiles), "tile") as progress:
        for pair in tiles:
            tile = read_tile(pair.folder, pair.line)
            margin = _margin(predict_tile(pair.segmenter, tile))
            known = tile.labels != NODATA
            level = np.clip(((margin + _LARGEST) / _STEP).astype(np.int64), 0, bins - 1)
            weed += np.bincount(level[known & (tile.labels == WEED)], minlength=bins)
            other += np.bincount(level[known & (tile.labels != WEED)], minlength=bins)
            cells.append(_cells(margin, tile.labels, tile.gsd_m, spray))
            progress.update()
    if not weed.sum():
        raise LabelError("no tile has a labelled weed pixel; a recall needs some")
    return Margins(weed, other, np.concatenate(cells))


def tuned(margins: Margins, recall: float, on: str = "cells") -> OperatingPoint:
    """The smallest shift, above -20, with which at least `recall` of the weeds are reached.

    Args:
        margins: Of validation data.
        recall: Share of the weeds, 0..1.
        on: ``cells``: of the weed area, in cells that are treated; ``pixels``: of the weed pixels.

    Raises:
        LabelError: If no shift reaches it: weeds that the model is sure are none.
    """
    if on == "pixels":
        below = np.cumsum(margins.weed[::-1])[::-1] / margins.weed.sum()
        level = int(np.flatnonzero(below >= recall - 1e-12).max(initial=0))
        bias = _LARGEST - level * _STEP
    else:
        margin, weed, _ = margins.cells[np.argsort(-margins.cells[:, 0], kind="stable")].T
        reached = np.cumsum(weed) / weed.sum()
        last = min(int(np.searchsorted(reached, recall - 1e-12)), len(margin) - 1)
        bias = -float(margin[last]) + _STEP
    if bias > _LARGEST - _STEP:  # the lowest and the highest bin hold all that lies beyond, too
        raise LabelError(
            f"no shift reaches {recall:.1%} of the weeds; the model takes some for soil or crop beyond doubt"
        )
    return _point(margins, max(round(bias, 4), _STEP - _LARGEST))


def tune_card(card: ModelCard, margins: Margins, recall: float, on: str, *, apply: bool) -> tuple[ModelCard, str]:
    """The card with an operating point in its ``thresholds``, and in its ``logit_bias`` if it shall be used; its name.

    A model that shall be used at another point than it was scored at loses its scores.

    Args:
        card: Card of the model that the margins are of.
        margins: Of validation data, seen by the model as its card says now.
        recall: Wanted share of the weeds.
        on: ``cells`` or ``pixels``.
        apply: Whether the model shall work at this point from now on.
    """
    found = tuned(margins, recall, on)
    now = card.logit_bias or (0.0,) * len(card.classes)
    bias = tuple(round(one + found.bias, 4) if code == WEED else one for code, one in enumerate(now))
    entry: dict[str, Any] = {
        "target": recall,
        "of": "labelled weed area in treated cells" if on == "cells" else "labelled weed pixels",
        "logit_bias": list(bias),
        "pixel_recall": round(found.pixel_recall, 4),
        "pixel_precision": round(found.pixel_precision, 4),
        "area_reached": round(found.area_reached, 4),
        "ground_treated": round(found.ground_treated, 4),
        "weed_pixels": int(margins.weed.sum()),
    }
    name = f"weed_recall_{recall:g}_{on}"
    changes: dict[str, Any] = {"thresholds": card.thresholds | {name: entry}}
    if apply:
        changes |= {"logit_bias": bias} | ({} if bias == now else {"scores": {}})
    return card.model_copy(update=changes), name


def _margin(probabilities: np.ndarray) -> np.ndarray:
    """(H, W) how far weed lies above the best other class, natural logarithm."""
    rest = np.delete(probabilities, WEED, axis=0).max(axis=0)
    return np.asarray(np.log(np.maximum(probabilities[WEED], _LEAST)) - np.log(np.maximum(rest, _LEAST)))


def _cells(margin: np.ndarray, labels: np.ndarray, gsd_m: float, spray: SprayConfig) -> np.ndarray:
    """(n, 3) margin with which each cell triggers, its weed m2 and its m2."""
    width, length = (side / gsd_m for side in spray.cell_m)
    found = []
    for row in range(math.ceil(labels.shape[0] / length)):
        for col in range(math.ceil(labels.shape[1] / width)):
            part = tuple(
                slice(math.ceil(index * side - 0.5), math.ceil((index + 1) * side - 0.5))
                for index, side in ((row, length), (col, width))
            )
            known = labels[part] != NODATA
            values = margin[part][known]
            if not values.size:
                continue
            of_px = values.size
            if spray.threshold_over_m2 is not None:
                of_px = min(of_px, spray.threshold_over_m2 / gsd_m**2)
            nth = min(max(1, math.ceil(spray.threshold_cover * of_px)), values.size)
            trigger = np.partition(values, values.size - nth)[values.size - nth]
            found.append((trigger, int((labels[part] == WEED).sum()) * gsd_m**2, values.size * gsd_m**2))
    return np.array(found, float).reshape(-1, 3)


def _point(margins: Margins, bias: float) -> OperatingPoint:
    level = int(np.clip(round((_LARGEST - bias) / _STEP), 0, margins.weed.size - 1))
    hits, wrong = int(margins.weed[level:].sum()), int(margins.other[level:].sum())
    margin, weed, area = margins.cells.T
    treated = margin > -bias
    return OperatingPoint(
        bias,
        hits / int(margins.weed.sum()),
        hits / max(hits + wrong, 1),
        float(weed[treated].sum() / max(weed.sum(), 1e-300)),
        float(area[treated].sum() / area.sum()),
    )
