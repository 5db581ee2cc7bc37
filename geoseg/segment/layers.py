"""Layers of a block: rasters on the working grid or on a coarser copy of it, kept side by side. Knows no file.

A pixel of a layer of scale s covers s x s pixels of the working grid, counted from the grid's corner. It belongs to
the rectangle that holds its first pixel, so parts of a layer fit together without overlap however the grid is cut.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoseg.errors import ModelError
from geoseg.legend import NODATA
from geoseg.models.card import ModelCard
from geoseg.windows import Rect

__all__ = ["CLASSES", "CONFIDENCE", "OFFSETS", "Layer", "coarse_any", "coarse_sum", "network_layers"]


@dataclass(frozen=True)
class Layer:
    """One raster that a run keeps.

    Attributes:
        name: Its name.
        bands: Number of bands.
        dtype: Data type of the pixels.
        scale: Pixels of the working grid along the side of a pixel.
        fill: What stands where there is nothing to say.
    """

    name: str
    bands: int = 1
    dtype: str = "uint8"
    scale: int = 1
    fill: int = 0

    def rect(self, rect: Rect) -> Rect:
        """The pixels of the layer whose first pixel lies in a rectangle of the working grid.

        Example:
            >>> Layer("offsets", scale=2).rect(Rect(0, 64, 101, 203))
            Rect(row0=0, col0=32, row1=51, col1=102)
        """
        return Rect(*(-(-side // self.scale) for side in (rect.row0, rect.col0, rect.row1, rect.col1)))

    def shape(self, rect: Rect) -> tuple[int, ...]:
        """Shape of the layer's part of a rectangle of the working grid: (H, W), or (B, H, W) with several bands."""
        sides = self.rect(rect).shape
        return sides if self.bands == 1 else (self.bands, *sides)

    def empty(self, rect: Rect) -> np.ndarray:
        """The layer's part of a rectangle, filled with `fill`."""
        return np.full(self.shape(rect), self.fill, self.dtype)

    def nbytes(self, rect: Rect) -> int:
        """Bytes of the layer's part of a rectangle."""
        return self.bands * self.rect(rect).size * np.dtype(self.dtype).itemsize


CLASSES = Layer("classes", fill=NODATA)
CONFIDENCE = Layer("confidence", fill=NODATA)
OFFSETS = Layer("offsets", bands=2, dtype="int8", scale=2)
"""(down, right) from the middle of a pixel to the centre of its plant, in pixels of this layer."""


def network_layers(card: ModelCard) -> tuple[Layer, ...]:
    """What the network of a card gives, in the order in which `classify` gives it.

    Raises:
        ModelError: If the network's stride does not fit the layers.
    """
    layers = (CLASSES, CONFIDENCE, *((OFFSETS,) if card.instances == "offsets" else ()))
    for layer in layers:
        if card.tiling.stride_px % layer.scale:
            raise ModelError(
                f"model {card.name} has a stride of {card.tiling.stride_px} px; {layer.name} need a multiple of "
                f"{layer.scale}"
            )
    return layers


def coarse_any(mask: np.ndarray, scale: int) -> np.ndarray:
    """Whether any pixel under a coarser one is set.

    Args:
        mask: (H, W) bool.
        scale: Side of a coarser pixel; the last row and column may be cut.

    Returns:
        (ceil(H / scale), ceil(W / scale)) bool.
    """
    if scale == 1:
        return mask
    height, width = mask.shape
    padded = np.pad(mask, ((0, -height % scale), (0, -width % scale)))
    cells = padded.reshape(padded.shape[0] // scale, scale, padded.shape[1] // scale, scale)
    return np.asarray(cells.any(axis=(1, 3)))


def coarse_sum(bands: np.ndarray, scale: int) -> np.ndarray:
    """Sums of whole numbers over coarser pixels.

    Args:
        bands: (C, H, W) unsigned integers.
        scale: Side of a coarser pixel; the last row and column may be cut.

    Returns:
        (C, ceil(H / scale), ceil(W / scale)), of a type with room for four times that; what was given if scale is 1.
    """
    if scale == 1:
        return bands
    most = 4 * np.iinfo(bands.dtype).max * scale**2
    count, height, width = bands.shape
    rows = np.zeros((count, -(-height // scale), width), np.uint32 if most < 2**32 else np.uint64)
    for first in range(scale):
        part = bands[:, first::scale]
        rows[:, : part.shape[1]] += part
    sums = np.zeros((*rows.shape[:2], -(-width // scale)), rows.dtype)
    for first in range(scale):
        part = rows[:, :, first::scale]
        sums[:, :, : part.shape[2]] += part
    return sums
