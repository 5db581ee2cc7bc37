"""How strongly plants in a patch repeat in one direction: the power spectrum of points. Knows no rows and no files.

Rows ``spacing`` apart make one sharp peak: the plants' projections across the rows bunch at every multiple of the
spacing. The power is normed so that plants strewn at random have a mean of 1 and an exponential distribution at every
frequency; so what a peak is worth does not depend on how many plants there are. Plants that stand in clumps raise the
power at all low frequencies in all directions, so a peak also has to stand out from those about as far apart.

Reference:
    M. S. Bartlett (1964), The spectral analysis of two-dimensional point processes, doi 10.1093/biomet/51.3-4.299
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft

__all__ = ["Lattice", "Peak", "find_peak", "lattice_over", "power_at"]

Floats = NDArray[np.float64]

_OVERSAMPLING = 1.5
_OVERTONE = 0.8
"""Two or three times the spacing is the true one if its power is at least this share."""
_SURE = 9.0
"""How far a peak must be above what chance gives: random plants are taken for rows in one patch of e**9 = 8000."""


class Peak(NamedTuple):
    """The strongest repetition in a patch.

    Attributes:
        heading: Direction along the rows, radians clockwise from north in [0, pi).
        spacing_m: Distance from row to row.
        power: Its power; 1 is what random plants, or these plants in other directions, have.
        threshold: Power that random plants hardly ever reach anywhere in the band.
    """

    heading: float
    spacing_m: float
    power: float
    threshold: float

    @property
    def significant(self) -> bool:
        """Whether chance is ruled out."""
        return self.power > self.threshold


@dataclass(frozen=True)
class Lattice:
    """Patches of equal size that cover all plants.

    Attributes:
        shape: Patches north to south, west to east.
        of: (n,) patch of each plant, row * cols + col.
        order: (n,) plants sorted by patch.
        first: (patches + 1,) where each patch begins in `order`.
    """

    shape: tuple[int, int]
    of: NDArray[np.int64]
    order: NDArray[np.int64]
    first: NDArray[np.int64]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Plants in each patch."""
        return np.diff(self.first)

    def plants(self, patch: int) -> NDArray[np.int64]:
        """The plants of one patch."""
        return self.order[self.first[patch] : self.first[patch + 1]]


def lattice_over(x: Floats, y: Floats, side_m: float) -> Lattice:
    """Patches of about `side_m` that cover the points exactly."""
    cells = []
    sizes = []
    for values in (-y, x):
        low, extent = values.min(), np.ptp(values)
        count = max(round(extent / side_m), 1)
        place = (values - low) / max(extent, 1e-9) * count
        cells.append(np.minimum(place.astype(np.int64), count - 1))
        sizes.append(count)
    of = cells[0] * sizes[1] + cells[1]
    first = np.concatenate([[0], np.bincount(of, minlength=sizes[0] * sizes[1]).cumsum()])
    return Lattice((sizes[0], sizes[1]), of, np.argsort(of, kind="stable"), first)


def find_peak(x: Floats, y: Floats, weight: Floats, band_m: tuple[float, float], headings: int) -> Peak | None:
    """The strongest repetition among spacings in `band_m`, in any direction.

    Args:
        x: (n,) eastings, metres.
        y: (n,) northings, metres.
        weight: (n,) weights.
        band_m: (smallest, largest) spacing looked for.
        headings: Number of directions tried before the best one is refined.

    Returns:
        The peak, or None where the patch is too small for three rows of the smallest spacing.
    """
    x, y = x - x.mean(), y - y.mean()
    reach = float(np.hypot(x, y).max())
    high = 1 / band_m[0]
    low = max(1 / band_m[1], 1.5 / max(reach, 1e-9))
    if low >= high:
        return None
    step = 1 / (4 * high)
    size = fft.next_fast_len(math.ceil(_OVERSAMPLING * 2 * reach / step) + 4, real=True)
    angles = np.arange(headings) * (math.pi / headings)
    across = np.outer(np.cos(angles), x) - np.outer(np.sin(angles), y)
    bins = np.floor((across + reach) / step).astype(np.int64) + np.arange(headings)[:, None] * size
    profile = np.bincount(bins.ravel(), np.broadcast_to(weight, bins.shape).ravel(), headings * size)
    spectrum = np.abs(fft.rfft(profile.reshape(headings, size), axis=1))
    first, last = math.ceil(low * size * step), math.floor(high * size * step) + 1
    if first >= last:
        return None
    best = np.argmax(spectrum[:, first:last])
    angle, nth = np.unravel_index(best, (headings, last - first))
    trials = math.pi * reach**2 * math.pi * (high**2 - low**2)
    threshold = math.log(max(trials, 1.0)) + _SURE
    start = float(angles[angle]), float((nth + first) / (size * step))
    around = spectrum[:, math.floor(0.8 * (nth + first)) : math.ceil(1.25 * (nth + first)) + 1] ** 2
    background = float(np.median(around)) / math.log(2) / float(np.sum(weight**2))
    steps = math.pi / headings, 1 / (size * step)
    heading, frequency, power = _refine(x, y, weight, start, steps)
    for multiple in (3, 2):  # plants exactly on their rows repeat as well at every fraction of the spacing
        if frequency / multiple > low:
            base = _refine(x, y, weight, (heading, frequency / multiple), steps)
            if base[2] > _OVERTONE * power:
                heading, frequency, power = base
                break
    return Peak(heading % math.pi, 1 / frequency, power / max(background, 1.0), threshold)


def power_at(x: Floats, y: Floats, weight: Floats, east: Floats, north: Floats) -> Floats:
    """Power of the points at wave vectors (cycles per metre)."""
    turns = np.multiply.outer(east, x) + np.multiply.outer(north, y)
    sums = np.exp(2j * np.pi * turns) @ weight
    return np.asarray(np.abs(sums) ** 2 / np.sum(weight**2))


def _refine(
    x: Floats, y: Floats, weight: Floats, start: tuple[float, float], step: tuple[float, float]
) -> tuple[float, float, float]:
    """Heading, frequency and power of the highest point near `start`."""
    (heading, frequency), power = start, 0.0
    for shrink in (1.0, 0.3):
        offsets = np.linspace(-1, 1, 7) * shrink
        tried = np.meshgrid(heading + offsets * step[0], frequency + offsets * step[1])
        angle, cycles = tried[0].ravel(), tried[1].ravel()
        powers = power_at(x, y, weight, cycles * np.cos(angle), -cycles * np.sin(angle))
        best = int(np.argmax(powers))
        heading, frequency, power = float(angle[best]), float(cycles[best]), float(powers[best])
    return heading, frequency, power
