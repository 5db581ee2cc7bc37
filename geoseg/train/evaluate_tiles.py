"""Labels and predictions in tile sets: each tile, and what a model sees in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geoseg.errors import LabelError
from geoseg.models.card import Segmenter
from geoseg.segment.forward import classify, mirrored_up
from geoseg.train.evaluate_settings import Patch
from geoseg.train.levelled import model_image
from geoseg.train.tilebands import picture
from geoseg.train.tiles import VALIDATION, Tile, read_index, read_tile
from geoseg.windows import Rect

__all__ = ["TilePair", "predict_tile", "tile_pairs"]


@dataclass(frozen=True)
class TilePair:
    """A tile and what a model sees in it; the tile is seen as a whole.

    Attributes:
        folder: The tile set.
        line: The tile's line of the index.
        segmenter: The model.
    """

    folder: Path
    line: dict[str, str]
    segmenter: Segmenter

    @property
    def name(self) -> str:
        """Name of the tile."""
        return self.line["name"]

    @property
    def source(self) -> str:
        """Where the tile was cut from."""
        return self.line["source"]

    @property
    def gsd_m(self) -> float:
        """Metres per pixel."""
        return float(self.line["gsd_m"])

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return int(self.line["height"]), int(self.line["width"])

    @contextmanager
    def open(self) -> Iterator[_OpenTile]:
        """The tile, read and predicted."""
        tile = read_tile(self.folder, self.line)
        yield _OpenTile(tile, *classify(predict_tile(self.segmenter, tile)[None]))


@dataclass(frozen=True)
class _OpenTile:
    tile: Tile
    classes: np.ndarray
    confidence: np.ndarray

    def read(self, rect: Rect) -> Patch:
        ids = self.tile.instances
        return Patch(
            self.tile.labels[rect.slices],
            self.classes[0][rect.slices],
            self.confidence[0][rect.slices],
            None if ids is None else ids[rect.slices].astype(np.int64),
        )

    def image(self, rect: Rect) -> np.ndarray | None:
        return picture(self.tile.image[(slice(None), *rect.slices)])


def tile_pairs(folder: Path, segmenter: Segmenter, split: str | None = VALIDATION) -> list[TilePair]:
    """The tiles of a set, each with what a model sees in it.

    Args:
        folder: The tile set.
        segmenter: The model.
        split: ``train`` or ``validation``; None takes both.

    Raises:
        LabelError: If the set cannot be read or has no such tile.
    """
    pairs = [TilePair(folder, line, segmenter) for line in read_index(folder) if split in (None, line["split"])]
    if not pairs:
        raise LabelError(f"{folder} has no tile of the split {split!r}; look at its index.csv, or give --split")
    return pairs


def predict_tile(segmenter: Segmenter, tile: Tile) -> np.ndarray:
    """(K, H, W) float32 class probabilities of a tile that is seen as a whole, mirrored up to the network's stride."""
    height, width = tile.labels.shape
    image = mirrored_up(model_image(tile, segmenter.card), segmenter.card.tiling.stride_px)
    found: np.ndarray = segmenter(image[None])[0, :, :height, :width]
    return found
