"""Where vegetation begins: a threshold from the histogram of an index, and how well it parts the two.

Two ways, because fields differ. Where vegetation covers a good part of the ground the histogram has two hills, and the
threshold lies in the valley between them, found from Otsu's. Where it covers a few per cent there is one hill of soil
with a tail, and Otsu's threshold would cut the hill. Then the soil's hill is mirrored about its top, as its noise is
symmetric; what rises above the mirrored side is vegetation, and the threshold moves to the middle between soil and
the mean of what is above it (a pixel half covered by a leaf) until it stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["BINS", "Cut", "find_cut", "histogram"]

Floats = NDArray[np.float64]

BINS = np.linspace(-2.0, 2.0, 1601)
"""Edges of the bins in which all indices are counted, after their local mean is taken off."""
_MIDDLES = (BINS[1:] + BINS[:-1]) / 2

_MIN_PIXELS = 1000
_MIN_HILL = 0.04
"""Two hills: either holds at least this share of the pixels,"""
_VALLEY = 0.5
"""and the valley between them is at most this part of the lower one."""
_MIN_SIGMAS = 3.0
_MIN_COVER = 2e-5
_SOIL_ABOVE_SEED = 0.01
_LEAST_SEED = 0.4


@dataclass(frozen=True)
class Cut:
    """A threshold.

    Attributes:
        value: Leaves are above it: the middle between soil and leaf, or the valley between two hills.
        seed: Not more than a hundredth of what lies above it is soil by the mirrored hill; at most `value`. Where a
            small or pale plant rises above this, it is a plant.
        way: ``hills`` or ``tail``.
        soil: Index of bare soil.
        leaf: Mean index of what lies above the threshold.
        sigma: Width of the hill of soil.
        cover: Share of the pixels above the threshold.
        doubt: Pixels in the middle half of the way from soil to leaf, per pixel above the threshold: the criterion by
            which indices are compared. Sharp images of green leaves on brown soil have 0.3 to 0.8.
    """

    value: float
    seed: float
    way: str
    soil: float
    leaf: float
    sigma: float
    cover: float
    doubt: float


def histogram(values: np.ndarray) -> NDArray[np.int64]:
    """Counts of values in `BINS`; what lies outside counts in the last bin on its side."""
    place = np.floor((values - BINS[0]) / (BINS[1] - BINS[0])).astype(np.int64)
    return np.bincount(np.clip(place, 0, len(BINS) - 2).ravel(), minlength=len(BINS) - 1)


def find_cut(counts: NDArray[np.int64]) -> Cut | None:
    """The threshold in a histogram, or None where nothing stands out from the soil.

    Args:
        counts: Pixels in each of `BINS`.

    References:
        Otsu 1979, doi 10.1109/TSMC.1979.4310076; Ridler and Calvard 1978, doi 10.1109/TSMC.1978.4310039
    """
    total = counts.sum()
    if total < _MIN_PIXELS:
        return None
    share = counts / total
    density = np.convolve(share, _kernel(2), mode="same")
    return _hills(share, density) or _tail(share, density)


def _kernel(sigma: int) -> Floats:
    reach = np.arange(-4 * sigma, 4 * sigma + 1)
    kernel = np.exp(-(reach**2) / (2 * sigma**2))
    return np.asarray(kernel / kernel.sum())


def _width(share: Floats, top: int) -> float:
    """Standard deviation of the hill of soil, from its lower side."""
    side = share[: top + 1]
    return float(np.sqrt(np.sum(side * (_MIDDLES[: top + 1] - _MIDDLES[top]) ** 2) / max(float(side.sum()), 1e-12)))


def _above(share: Floats) -> Floats:
    """Share of the pixels in a bin and all above it."""
    return np.asarray(share[::-1].cumsum()[::-1])


def _mirrored(share: Floats, top: int) -> Floats:
    """The lower side of the hill at `top`, on its upper side."""
    mirrored = np.zeros_like(share)
    length = min(top + 1, len(share) - top)
    mirrored[top : top + length] = share[top - length + 1 : top + 1][::-1]
    return mirrored


def _cut(share: Floats, at: int, top: int, way: str) -> Cut:
    cover = float(share[at:].sum())
    leaf = float(np.average(_MIDDLES[at:], weights=share[at:]))
    quarter = (leaf - _MIDDLES[top]) / 4
    between = (_MIDDLES[top] + quarter < _MIDDLES) & (leaf - quarter > _MIDDLES)
    doubt = float(share[between].sum()) / cover
    rises = (_above(_mirrored(share, top)) <= _SOIL_ABOVE_SEED * _above(share)) & (np.arange(len(share)) > top)
    low = float(_MIDDLES[top]) + _LEAST_SEED * (float(BINS[at]) - float(_MIDDLES[top]))
    seed = float(np.clip(BINS[int(np.argmax(rises))] if rises.any() else BINS[at], low, BINS[at]))
    return Cut(float(BINS[at]), seed, way, float(_MIDDLES[top]), leaf, _width(share, top), cover, doubt)


def _hills(share: Floats, density: Floats) -> Cut | None:
    """The valley at Otsu's threshold, if a hill stands on either side of it."""
    below, mass = np.cumsum(share), np.cumsum(share * _MIDDLES)
    inside = (below > 1e-9) & (below < 1 - 1e-9)
    between = (mass[-1] * below - mass) ** 2 / np.where(inside, below * (1 - below), 1.0)
    at = int(np.argmax(np.where(inside, between, 0.0))) + 1
    low, high = int(np.argmax(density[:at])), at + int(np.argmax(density[at:]))
    valley = low + int(np.argmin(density[low : high + 1]))
    if valley in (low, high) or density[valley] > _VALLEY * min(density[low], density[high]):
        return None
    if not _MIN_HILL < share[valley:].sum() < 1 - _MIN_HILL:
        return None
    return _cut(share, valley, low, "hills")


def _tail(share: Floats, density: Floats) -> Cut | None:
    """The middle between soil and what rises above the soil's mirrored lower side."""
    top = int(np.argmax(density))
    rises = density > 2 * np.convolve(_mirrored(share, top), _kernel(2), mode="same")
    rises &= (_MIDDLES[top] + _MIN_SIGMAS * _width(share, top) < _MIDDLES) & (_above(share) > _MIN_COVER)
    if not rises.any():
        return None
    first = at = int(np.argmax(rises))
    for _ in range(100):
        leaf = np.average(_MIDDLES[at:], weights=share[at:])
        moved = max(int(np.searchsorted(_MIDDLES, (_MIDDLES[top] + leaf) / 2)), first)
        if moved == at or share[moved:].sum() < _MIN_COVER:
            break
        at = moved
    return _cut(share, at, top, "tail")
