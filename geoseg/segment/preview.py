"""The preview: the ortho in true colours, reduced while its windows are read anyway, so that it is never read twice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from geoseg.segment.layers import Layer, coarse_sum

__all__ = ["PREVIEW", "preview_layer", "reduce_image"]

PREVIEW = "preview"
LONGEST_PX = 4096
_COLOURS = ("red", "green", "blue")


def preview_layer(shape: tuple[int, int], write_px: int, dtype: str) -> Layer:
    """The layer of the preview of a grid: red, green, blue and alpha.

    It is reduced by the smallest power of two that makes the longer side at most 4096 pixels. A pixel of the preview
    never lies in two windows: where the windows' side has not enough factors of two it stays larger.

    Args:
        shape: (height, width) of the working grid.
        write_px: Side of the written part of a window.
        dtype: Data type of the images: uint8, or float32, which is kept as uint16.

    Example:
        >>> preview_layer((6464, 9600), 1920, "uint8").scale
        4
    """
    scale = 1
    while max(shape) > LONGEST_PX * scale and write_px % (2 * scale) == 0:
        scale *= 2
    return Layer(PREVIEW, bands=4, dtype="uint8" if dtype == "uint8" else "uint16", scale=scale)


def reduce_image(image: np.ndarray, valid: np.ndarray, names: Sequence[str], layer: Layer) -> np.ndarray:
    """A window's part of the preview: means over valid pixels, in whole numbers, so that they are the same everywhere.

    Args:
        image: (C, H, W) uint8, or float32 in 0..1.
        valid: (H, W) bool.
        names: Names of the bands; without red, green and blue the first three are shown, of fewer the first.
        layer: What `preview_layer` gave.

    Returns:
        (4, h, w) of the layer's data type; opaque where any pixel is valid, else 0.
    """
    top = np.iinfo(layer.dtype).max
    bands = image[_shown(names)]
    if bands.dtype != layer.dtype:
        bands = np.rint(bands * np.float32(top)).astype(layer.dtype)
    full, scale = bool(valid.all()), layer.scale
    counts: np.ndarray | None = None  # every cell is whole
    if not full or any(side % scale for side in valid.shape):
        counts = coarse_sum(valid[None].view(np.uint8), scale)
    sums = coarse_sum(bands if full else np.where(valid, bands, np.zeros((), layer.dtype)), scale)
    found = np.empty((4, *sums.shape[1:]), layer.dtype)
    found[:3], found[3] = _means(sums, counts, scale), top if counts is None else np.where(counts[0] > 0, top, 0)
    return found


def _shown(names: Sequence[str]) -> list[int]:
    if set(_COLOURS) <= set(names):
        return [names.index(colour) for colour in _COLOURS]
    return [0, 1, 2] if len(names) >= 3 else [0, 0, 0]


def _means(sums: np.ndarray, counts: np.ndarray | None, scale: int) -> np.ndarray:
    """Sums over numbers of pixels, rounded half up; without numbers all cells are whole."""
    if scale == 1:
        return sums
    if counts is None:
        return np.asarray((2 * sums + sums.dtype.type(scale**2)) // sums.dtype.type(2 * scale**2))
    return np.asarray((2 * sums + counts) // np.maximum(2 * counts, 1))
