"""Whether a network may help an index to say what is green in a field.

A network finds pale plants that no index tells from soil, and overlooks leaves that any index shows: so what either
sees is green. How sure a network is says nothing, as networks are sure on strange fields too. It may help if it finds
what is clearly green by the index, and only little where the index sees bare soil.
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
from geoseg.segment.forward import mirrored_up

__all__ = ["choose_green", "network_look"]

_SAMPLES, _SAMPLE_PX = 12, 512
_MIN_FOUND = 0.9
_MAX_EXTRA = 0.1


def network_look(segmenter: Segmenter) -> Look:
    """A network's score for green, as a function of an image."""

    def look(image: np.ndarray) -> NDArray[np.float32]:
        height, width = image.shape[1:]
        padded = mirrored_up(image, segmenter.card.tiling.stride_px)
        return np.asarray(1 - segmenter(padded[None])[0, SOIL, :height, :width], np.float32)

    return look


def choose_green(where: Field, rule: FieldRule, segmenter: Segmenter) -> tuple[Look | None, dict[str, Any]]:
    """The network's look if it helps, else None for the index alone; and the figures.

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
    green = clear = found = extra = more = 0
    for rect, image, valid in where.sample(_SAMPLES, _SAMPLE_PX):
        score = look(image[order])[valid]
        index = rule.vegetation.greenness(image, rect)[valid]
        green += int((score > 0.5).sum())
        more += int(((index <= 0.5) & (score > 0.5)).sum())
        clear += int((index > 0.75).sum())
        found += int(((index > 0.75) & (score > 0.5)).sum())
        extra += int(((index < 0.25) & (score > 0.5)).sum())
    figures = {
        "network_finds": round(found / max(clear, 1), 3),
        "network_adds": round(more / max(green, 1), 3),
        "network_finds_besides": round(extra / max(green, 1), 3),
    }
    helps = figures["network_finds"] >= _MIN_FOUND and figures["network_finds_besides"] <= _MAX_EXTRA
    return (look if helps else None), {"green_by": "index and network" if helps else "index"} | figures
