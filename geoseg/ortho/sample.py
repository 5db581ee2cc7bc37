"""A sample of the pixels of a file, the same one every time."""

from __future__ import annotations

import numpy as np

from geoseg.ortho.source import Source
from geoseg.windows import Rect

__all__ = ["sample", "sample_places"]

_SIDE_PX = 64


def sample(source: Source) -> np.ndarray:
    """(C, n) valid digital numbers: from a coarse overview, or from an 8 x 8 lattice of small windows."""
    height, width = source.shape
    coarsest = max(source.dataset.overviews(source.bands[0]), default=1)
    if max(height, width) / coarsest <= (1024 if coarsest == 1 else 4096):
        values, valid = source.decimated(1024)
        return np.asarray(values)[:, valid]
    return sample_places(source, 8)


def sample_places(source: Source, count: int) -> np.ndarray:
    """(C, n) valid digital numbers of `count` squared small windows at full resolution: overviews are smoother."""
    height, width = source.shape
    parts = []
    for row in np.linspace(0, height - 1, 2 * count + 1).astype(int).tolist()[1::2]:
        for col in np.linspace(0, width - 1, 2 * count + 1).astype(int).tolist()[1::2]:
            values, valid = source.read(Rect(row, col, row + _SIDE_PX, col + _SIDE_PX).clip(source.shape))
            parts.append(values[:, valid])
    return np.concatenate(parts, axis=1)
