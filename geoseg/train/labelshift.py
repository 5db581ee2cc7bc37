"""How far labels lie beside the plants that they mean: the shift that fits them best to the greenness of the image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["Covariance", "Shift", "best_shift", "covariance"]


class Covariance(NamedTuple):
    """Agreement of a mask with an index for every shift; sums, so that parts can be added up.

    Attributes:
        surface: (2 s + 1, 2 s + 1) float64, sum over pixels of mask and index at the pixel plus (row, col) - s, each
            less its mean.
        mask: Sum of squares of the mask.
        greenness: Sum of squares of the index.
    """

    surface: np.ndarray
    mask: float
    greenness: float

    def plus(self, other: Covariance) -> Covariance:
        """Both parts together."""
        return Covariance(self.surface + other.surface, self.mask + other.mask, self.greenness + other.greenness)


class Shift(NamedTuple):
    """The best shift.

    Attributes:
        down: Pixels that the labels have to move down, to a part of a pixel.
        right: Pixels that they have to move right.
        here: Correlation as they lie, -1..1.
        there: Correlation after the shift by whole pixels.
    """

    down: float
    right: float
    here: float
    there: float

    @property
    def length(self) -> float:
        """Length of the shift in pixels."""
        return float(np.hypot(self.down, self.right))


def covariance(mask: np.ndarray, index: np.ndarray) -> Covariance:
    """The agreement of a label mask with a vegetation index around it.

    Args:
        mask: (H, W) bool.
        index: (H + 2 s, W + 2 s) float32, `s` pixels more on every side.
    """
    reach = (index.shape[0] - mask.shape[0]) // 2
    left, right = mask - mask.mean(), index - index.mean()
    product = np.fft.rfft2(right) * np.conj(np.fft.rfft2(left, s=right.shape))
    surface = np.fft.irfft2(product, s=right.shape)[: 2 * reach + 1, : 2 * reach + 1]
    inner = right[reach : reach + mask.shape[0], reach : reach + mask.shape[1]]
    return Covariance(surface, float((left**2).sum()), float((inner.astype(np.float64) ** 2).sum()))


def best_shift(found: Covariance) -> Shift:
    """The shift with the highest correlation, to a part of a pixel by a parabola through its neighbours."""
    surface, reach = found.surface, found.surface.shape[0] // 2
    row, col = (int(value) for value in np.unravel_index(int(surface.argmax()), surface.shape))
    scale = float(np.sqrt(found.mask * found.greenness)) or 1.0
    down, right = row - reach + _vertex(surface[:, col], row), col - reach + _vertex(surface[row], col)
    return Shift(down, right, float(surface[reach, reach]) / scale, float(surface[row, col]) / scale)


def _vertex(values: np.ndarray, at: int) -> float:
    if not 0 < at < len(values) - 1:
        return 0.0
    before, here, after = (float(value) for value in values[at - 1 : at + 2])
    bend = before - 2 * here + after
    return 0.0 if bend == 0 else 0.5 * (before - after) / bend
