"""Whether a network or an index knows better what is green in a field, by one criterion: the share of doubtful pixels.

A network's score for green, crop and weed together, is counted like an index: pixels in the middle half of the way
from soil to leaf, per green pixel. A network on a strange field may be sure and wrong; so it is only taken if it also
finds what is clearly green by the index, and not much else.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.adapt.field import Field
from geoseg.adapt.fieldrule import FieldRule
from geoseg.adapt.pseudo import Look, network_bands
from geoseg.legend import SOIL
from geoseg.models.card import Segmenter

__all__ = ["choose_green", "network_look"]

_SAMPLES, _SAMPLE_PX = 12, 512
_MIN_FOUND = 0.9
_MAX_EXTRA = 0.5


def network_look(segmenter: Segmenter) -> Look:
    """A network's score for green, as a function of an image."""

    def look(image: np.ndarray) -> NDArray[np.float32]:
        height, width = image.shape[1:]
        stride = segmenter.card.tiling.stride_px
        padded = np.pad(image, ((0, 0), (0, -height % stride), (0, -width % stride)), mode="reflect")
        return np.asarray(1 - segmenter(padded[None])[0, SOIL, :height, :width], np.float32)

    return look


def choose_green(where: Field, rule: FieldRule, segmenter: Segmenter) -> tuple[Look | None, dict[str, Any]]:
    """The network's look if it is the better one, else None for the index; and the figures.

    Args:
        where: The field.
        rule: What was found in it.
        segmenter: The network.
    """
    bands = network_bands(where.bands)
    if bands is None:
        return None, {"green_by": "index"}
    order = [where.bands.index(band) for band in bands]
    look = network_look(segmenter)
    green = doubtful = index_doubtful = index_green = clear = found = extra = 0
    for rect, image, valid in where.sample(_SAMPLES, _SAMPLE_PX):
        score = look(image[order])[valid]
        index = rule.vegetation.greenness(image, rect)[valid]
        green += int((score > 0.5).sum())
        doubtful += int(((score > 0.25) & (score < 0.75)).sum())
        index_green += int((index > 0.5).sum())
        index_doubtful += int(((index > 0.25) & (index < 0.75)).sum())
        clear += int((index > 0.75).sum())
        found += int(((index > 0.75) & (score > 0.5)).sum())
        extra += int(((index < 0.25) & (score > 0.5)).sum())
    figures = {
        "doubt_of_index": round(index_doubtful / max(index_green, 1), 3),
        "doubt_of_network": round(doubtful / max(green, 1), 3),
        "network_finds": round(found / max(clear, 1), 3),
        "network_finds_besides": round(extra / max(green, 1), 3),
    }
    trusted = figures["network_finds"] >= _MIN_FOUND and figures["network_finds_besides"] <= _MAX_EXTRA
    better = trusted and figures["doubt_of_network"] < figures["doubt_of_index"]
    return (look if better else None), {"green_by": "network" if better else "index"} | figures
