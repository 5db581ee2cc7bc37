"""Scores of a network on tiles that it was not trained on, and what other backends make of it."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from geoseg.legend import LEGEND
from geoseg.models.card import ModelCard, Segmenter
from geoseg.models.storage import TorchSegmenter
from geoseg.segment.forward import classify
from geoseg.train.evaluate import Scores, confusion, scores
from geoseg.train.evaluate_tiles import predict_tile
from geoseg.train.tiles import Tile

if TYPE_CHECKING:
    from geoseg.models.openvino import OpenvinoSegmenter

    Compared = OpenvinoSegmenter | TorchSegmenter

__all__ = ["Comparison", "compare", "mean_iou", "measure_parity", "plain_scores", "score_tiles"]

MOST_LOST = 0.002
"""What a faster backend may lose of a source's mIoU."""


def score_tiles(segmenter: Segmenter, tiles: Iterable[Tile]) -> dict[str, Scores]:
    """Scores of a network on tiles, by source; each tile is seen as a whole.

    Args:
        segmenter: The network.
        tiles: Tiles that it was not trained on.
    """
    matrices: dict[str, np.ndarray] = {}
    for tile in tiles:
        matrix = confusion(tile.labels, _classes(segmenter, tile))
        matrices[tile.source] = matrices.get(tile.source, np.zeros_like(matrix)) + matrix
    return {f"validation of {name}": scores(matrix) for name, matrix in matrices.items()}


def plain_scores(found: Mapping[str, Scores]) -> dict[str, dict[str, float]]:
    """By source: ``miou`` and the IoU of each class, as plain numbers."""
    return {
        source.removeprefix("validation of "): {"miou": float(one.miou)}
        | {name: float(value) for name, value in zip(LEGEND.names, one.iou, strict=True)}
        for source, one in found.items()
    }


def mean_iou(found: Mapping[str, Any]) -> float:
    """Mean over the sources of `plain_scores`' mean IoU, 0 where there is none."""
    values = np.array([one["miou"] for one in found.values()])
    return float(np.nan_to_num(values).mean()) if len(values) else 0.0


def measure_parity(
    card: ModelCard, module: nn.Module, tiles: Sequence[Tile], faster: Iterable[Compared] | None = None
) -> dict[str, float]:
    """Share of pixels that get the same class as with torch in 32 bits, by backend that may be faster on this machine.

    A precision that loses more than 0.002 of mIoU on a source is left out, whatever its share.

    Args:
        card: Card of the network.
        module: The network on the CPU.
        tiles: Tiles that it was not trained on.
        faster: What is compared, each with a ``backend``; None takes the OpenVINO precisions of the CPU that need
            nothing but the weights and, where there is a GPU, torch in 16 bits.
    """
    compared = _faster(card, module) if faster is None else faster
    return {one.backend: one.same for one in compare(card, module, tiles, compared) if one.good}


@dataclass(frozen=True)
class Comparison:
    """What a backend makes of the validation tiles, beside torch in 32 bits.

    Attributes:
        backend: Its name.
        same: Share of pixels with the same class.
        lost: By source, mIoU of torch less mIoU of the backend.
    """

    backend: str
    same: float
    lost: Mapping[str, float]

    @property
    def good(self) -> bool:
        """Whether no source loses more than 0.002 of mIoU."""
        return all(lost <= MOST_LOST for lost in self.lost.values())


def compare(
    card: ModelCard, module: nn.Module, tiles: Sequence[Tile], faster: Iterable[Compared]
) -> Iterator[Comparison]:
    """Backends beside torch in 32 bits, one by one; none without tiles.

    Args:
        card: Card of the network.
        module: The network on the CPU.
        tiles: Tiles that it was not trained on.
        faster: What is compared, each with a ``backend``.
    """
    if not tiles:
        return
    torch_segmenter = TorchSegmenter(card, module)
    reference, best = [_classes(torch_segmenter, tile) for tile in tiles], score_tiles(torch_segmenter, tiles)
    pixels = sum(one.size for one in reference)
    for segmenter in faster:
        same = sum(int((_classes(segmenter, tile) == one).sum()) for tile, one in zip(tiles, reference, strict=True))
        found = score_tiles(segmenter, tiles)
        lost = {name.removeprefix("validation of "): one.miou - found[name].miou for name, one in best.items()}
        yield Comparison(segmenter.backend, same / pixels, lost)


def _faster(card: ModelCard, module: nn.Module) -> Iterator[Compared]:
    from geoseg.models.openvino import OpenvinoSegmenter, precisions

    for precision in precisions():
        if precision == "int8":
            continue  # not made of the weights alone
        yield OpenvinoSegmenter(card, module, precision)
    if torch.cuda.is_available():
        yield TorchSegmenter(card, copy.deepcopy(module), "cuda", "bf16")


def _classes(segmenter: Segmenter, tile: Tile) -> np.ndarray:
    """(H, W) classes of a tile that is seen as a whole."""
    found: np.ndarray = classify(predict_tile(segmenter, tile)[None])[0][0]
    return found
