"""How sharp and how well exposed an image is, from a few windows of it. Numbers only: no file, no judgement.

Sharpness is measured by how much neighbours differ, compared with pixels four apart: an image that was blurred or
enlarged has lost the difference between neighbours and kept the other. So it depends little on what is in the picture,
on its contrast and its brightness. 1/16 is a picture without any detail (a smooth slope), 1 is white noise.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

__all__ = ["Looks", "detail", "look_at", "streaks"]

FAR_PX = 4
_TOP, _BOTTOM = 0.995, 0.02


@dataclass(frozen=True)
class Looks:
    """What the windows show.

    Attributes:
        places: Number of windows.
        detail: Median of `detail`.
        streaks: Median of `streaks`.
        clipped: Share of the pixels with a band at the top of its scale: their colour is wrong.
        black: Share of the pixels with a band at the bottom of its scale.
        low: First percentile of all values, 0 to 1.
        high: 99th percentile.
        mean: Mean of each band.
    """

    places: int
    detail: float
    streaks: float
    clipped: float
    black: float
    low: float
    high: float
    mean: tuple[float, ...]


def look_at(samples: Iterable[tuple[np.ndarray, np.ndarray]]) -> Looks | None:
    """The looks of windows.

    Args:
        samples: (C, H, W) float32 in 0..1 and (H, W) bool valid; at least 9 pixels wide and high.

    Returns:
        None if there is no window.
    """
    windows = list(samples)
    if not windows:
        return None
    values = np.concatenate([image[:, valid] for image, valid in windows], axis=1)
    low, high = np.percentile(values, (1, 99))
    return Looks(
        places=len(windows),
        detail=float(np.median([detail(image, valid) for image, valid in windows])),
        streaks=float(np.median([streaks(image, valid) for image, valid in windows])),
        clipped=float((values >= _TOP).any(axis=0).mean()),
        black=float((values < _BOTTOM).any(axis=0).mean()),
        low=float(low),
        high=float(high),
        mean=tuple(float(mean) for mean in values.mean(axis=1, dtype=np.float64)),
    )


def detail(image: np.ndarray, valid: np.ndarray) -> float:
    """Mean square difference of neighbours by that of pixels four apart; 0 where nothing differs at all.

    Args:
        image: (C, H, W) float32.
        valid: (H, W) bool.
    """
    grey = image.mean(axis=0, dtype=np.float64)
    near = _step(grey, valid, 0, 1) + _step(grey, valid, 1, 0)
    far = _step(grey, valid, 0, FAR_PX) + _step(grey, valid, FAR_PX, 0)
    return near / far if far > 0 else 0.0


def streaks(image: np.ndarray, valid: np.ndarray) -> float:
    """How much more neighbours differ across than along, for the direction in which it is most; 1 where all are alike.

    A camera that moves while the shutter is open smears along its way. Pairs of perpendicular directions are compared,
    because neighbours on a diagonal are farther apart.
    """
    grey = image.mean(axis=0, dtype=np.float64)
    pairs = (((0, 1), (1, 0)), ((1, 1), (1, -1)))
    found = [sorted((_step(grey, valid, *one), _step(grey, valid, *other))) for one, other in pairs]
    return max((large / small for small, large in found if small > 0), default=1.0)


def _step(grey: np.ndarray, valid: np.ndarray, rows: int, cols: int) -> float:
    """Mean square difference of pixels that lie so many rows and columns apart, both valid."""
    if cols < 0:
        return _step(grey[:, ::-1], valid[:, ::-1], rows, -cols)
    height, width = grey.shape
    first = slice(0, height - rows), slice(0, width - cols)
    second = slice(rows, height), slice(cols, width)
    both = valid[first] & valid[second]
    return float(np.square(grey[first] - grey[second])[both].mean()) if both.any() else 0.0
