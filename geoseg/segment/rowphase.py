"""The rows as a phase over the field: whole numbers on the rows, fitted patch by patch and joined into parts.

Within a patch the phase is linear across the rows and bends with the square of the distance along them, so that curved
rows fit as well as straight ones. Neighbouring patches belong to the same part of the field when their phases, each
continued to the middle between them, differ by a whole number and their headings and spacings agree. Knows no files.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from geoseg.segment.rowspectrum import Lattice, Peak

__all__ = ["PhaseField", "fit_phase"]

Floats = NDArray[np.float64]

_REJECT = 0.25
"""Plants farther from a row than this share of the spacing say nothing about it."""
_MAX_CURVATURE = 1 / 60
"""Curvature (per metre) that is taken as usual; sharper bends need many plants to be believed."""
_SCATTER = 0.1
"""Usual distance of plants from their row, in spacings; weighs the prior of the curvature."""
_MAX_STEP = 0.22
"""Largest mismatch of two patches' phases, in spacings, at which rows are joined."""
_AT_ONCE = 200_000
"""Plants that are fitted together."""
_MAX_TURN = math.radians(60)
"""Rows that turn by more than this from where a part began start another part, so that they keep an order along."""


@dataclass(frozen=True)
class PhaseField:
    """One model a patch; all arrays have one entry a patch.

    Attributes:
        x: Easting of the middle of its plants.
        y: Northing of the middle of its plants.
        heading: Along its rows, radians clockwise from north; not folded, so that within a part all point one way.
        terms: (patches, 4) phase = t0 + t1 * right + t2 * ahead + t3 * ahead², metres from the middle.
        error: (patches, 2) standard errors of heading (radians) and spacing (metres).
        coherence: Mean cosine of the plants' phases: 1 all plants exactly on rows, 0 chance.
        part: Number of the part from 0; -1 where no rows were found.
    """

    x: Floats
    y: Floats
    heading: Floats
    terms: Floats
    error: Floats
    coherence: Floats
    part: NDArray[np.int64]

    @property
    def spacing_m(self) -> Floats:
        """Distance between rows in the middle of each patch; NaN where none were found."""
        slope = np.hypot(self.terms[:, 1], self.terms[:, 2])
        return np.asarray(np.divide(1.0, slope, out=np.full(len(slope), np.nan), where=slope > 0))

    @property
    def direction(self) -> Floats:
        """Direction of the fitted rows in the middle of each patch, radians; near `heading`, where the fit began."""
        return np.asarray(self.heading - np.arctan2(self.terms[:, 2], self.terms[:, 1]))

    def phase(self, patch: NDArray[np.int64], x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
        """Phase at points and its gradient (per metre east, per metre north), each by the model of its patch."""
        right, ahead = self._frame(patch, x, y)
        terms = self.terms[patch]
        phase = terms[:, 0] + terms[:, 1] * right + (terms[:, 2] + terms[:, 3] * ahead) * ahead
        bend = terms[:, 2] + 2 * terms[:, 3] * ahead
        cos, sin = np.cos(self.heading[patch]), np.sin(self.heading[patch])
        return phase, terms[:, 1] * cos + bend * sin, -terms[:, 1] * sin + bend * cos

    def spread(self, lattice: Lattice, x: Floats, y: Floats) -> PhaseField:
        """Patches without a model of their own take the one of their richest neighbour, where their plants agree."""
        field = PhaseField(*(getattr(self, name.name).copy() for name in fields(self)))
        for patch in np.flatnonzero((self.part < 0) & (lattice.counts > 0)).tolist():
            around = [other for other in _neighbours(lattice.shape, patch) if self.part[other] >= 0]
            if not around:
                continue
            best = np.array([max(around, key=lambda other: (lattice.counts[other], -other))])
            index = lattice.plants(patch)
            phase = self.phase(np.repeat(best, len(index)), x[index], y[index])[0]
            coherence = float(np.mean(np.cos(2 * np.pi * phase)))
            if coherence > max(0.3, 1.5 / math.sqrt(len(index))):
                for values in (field.x, field.y, field.heading, field.terms, field.part):
                    values[patch] = values[best[0]]
                field.coherence[patch], field.error[patch] = coherence, np.nan
        return field

    def _frame(self, patch: NDArray[np.int64], x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Metres to the right of the patch's heading and ahead along it."""
        east, north = x - self.x[patch], y - self.y[patch]
        cos, sin = np.cos(self.heading[patch]), np.sin(self.heading[patch])
        return east * cos - north * sin, east * sin + north * cos


def fit_phase(x: Floats, y: Floats, weight: Floats, lattice: Lattice, peaks: list[Peak | None]) -> PhaseField:
    """Fit every patch that has a peak and join the patches into parts.

    Args:
        x: (n,) eastings, metres.
        y: (n,) northings, metres.
        weight: (n,) weights.
        lattice: Which plant is in which patch.
        peaks: One a patch; None where nothing was found.
    """
    number = len(peaks)
    heading = np.array([peak.heading if peak else 0.0 for peak in peaks])
    terms = np.zeros((number, 4))
    terms[:, 1] = [1 / peak.spacing_m if peak else 0.0 for peak in peaks]
    total = np.maximum(np.bincount(lattice.of, weight, number), 1e-300)
    middle = [np.bincount(lattice.of, weight * values, number) / total for values in (x, y)]
    found = np.array([peak is not None for peak in peaks], bool)
    error = np.full((number, 2), np.nan)
    field = PhaseField(middle[0], middle[1], heading, terms, error, np.zeros(number), np.full(number, -1))
    usual = float(np.average(weight, weights=found[lattice.of])) if found.any() else 1.0
    for some in _patches_at_once(lattice):
        index = lattice.order[lattice.first[some.start] : lattice.first[some.stop]]
        index = index[found[lattice.of[index]]]
        patch = lattice.of[index]
        right, ahead = field._frame(patch, x[index], y[index])
        part, here, weights = terms[some], patch - some.start, weight[index]
        _start(part, here, right, weights)
        _refine(part, here, right, ahead, weights)
        error[some], field.coherence[some] = _quality(part, here, right, ahead, weights)
        error[some] *= math.sqrt(usual)
    accepted = found & (field.coherence > 0.2)
    return _join(field, lattice, accepted)


def _patches_at_once(lattice: Lattice) -> Iterator[slice]:
    """Patches that together hold about `_AT_ONCE` plants: every patch is fitted by itself, and memory stays bounded."""
    first, number = 0, len(lattice.counts)
    while first < number:
        past = int(np.searchsorted(lattice.first, lattice.first[first] + _AT_ONCE, side="right")) - 1
        past = max(past, first + 1)
        yield slice(first, past)
        first = past


def _start(terms: Floats, patch: NDArray[np.int64], right: Floats, weight: Floats) -> None:
    angle = 2 * np.pi * terms[patch, 1] * right
    real, imaginary = (np.bincount(patch, weight * part(angle), len(terms)) for part in (np.cos, np.sin))
    terms[:, 0] = -np.arctan2(imaginary, real) / (2 * np.pi)


def _residual(terms: Floats, patch: NDArray[np.int64], design: Floats) -> Floats:
    phase = np.einsum("ij,ji->i", terms[patch], design)
    return np.asarray(phase - np.rint(phase))


def _normal(
    patch: NDArray[np.int64], design: Floats, weight: Floats, residual: Floats, number: int
) -> tuple[Floats, Floats]:
    """Normal equations of all patches at once: (patches, 4, 4) and (patches, 4)."""
    matrix, vector = np.zeros((number, 4, 4)), np.zeros((number, 4))
    for i in range(4):
        vector[:, i] = np.bincount(patch, weight * design[i] * residual, number)
        for j in range(i, 4):
            matrix[:, i, j] = matrix[:, j, i] = np.bincount(patch, weight * design[i] * design[j], number)
    return matrix, vector


def _refine(terms: Floats, patch: NDArray[np.int64], right: Floats, ahead: Floats, weight: Floats) -> None:
    """Least squares with rejection, in place; the bend is held back until the straight rows fit."""
    design = np.stack([np.ones_like(right), right, ahead, ahead**2])
    for step in range(8):
        residual = _residual(terms, patch, design)
        reach = 0.5 if step < 2 else _REJECT
        near = np.clip(1 - (residual / reach) ** 2, 0, None) ** 2
        matrix, vector = _normal(patch, design, weight * near, residual, len(terms))
        matrix[:, range(4), range(4)] += np.maximum(matrix[:, range(4), range(4)], 1e-12) * 1e-9
        usual = _MAX_CURVATURE / 2 * np.maximum(terms[:, 1], 1e-6)
        prior = _SCATTER**2 / usual**2
        matrix[:, 3, 3] += prior * (1e6 if step < 2 else 1)
        vector[:, 3] += prior * terms[:, 3]
        terms -= np.linalg.solve(matrix, vector[..., None])[..., 0]


def _quality(
    terms: Floats, patch: NDArray[np.int64], right: Floats, ahead: Floats, weight: Floats
) -> tuple[Floats, Floats]:
    number = len(terms)
    design = np.stack([np.ones_like(right), right, ahead, ahead**2])
    residual = _residual(terms, patch, design)
    total = np.maximum(np.bincount(patch, weight, number), 1e-300)
    coherence = np.bincount(patch, weight * np.cos(2 * np.pi * residual), number) / total
    near = np.where(np.abs(residual) < _REJECT, weight, 0.0)
    matrix, _ = _normal(patch, design, near, residual, number)
    matrix[:, range(4), range(4)] += np.maximum(matrix[:, range(4), range(4)], 1e-12) * 1e-9
    variance = np.bincount(patch, near * residual**2, number) / np.maximum(matrix[:, 0, 0], 1e-9)
    spread = np.linalg.inv(matrix)[:, (1, 2), (1, 2)] * variance[:, None]
    spacing = 1 / np.maximum(np.abs(terms[:, 1]), 1e-9)
    error = np.sqrt(np.maximum(spread, 0))
    return np.stack([error[:, 1] * spacing, error[:, 0] * spacing**2], axis=1), coherence


def _neighbours(shape: tuple[int, int], patch: int) -> Iterator[int]:
    row, col = divmod(patch, shape[1])
    for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)):
        if 0 <= row + down < shape[0] and 0 <= col + right < shape[1]:
            yield (row + down) * shape[1] + col + right


def _join(field: PhaseField, lattice: Lattice, accepted: NDArray[np.bool_]) -> PhaseField:
    """Grow parts from the best patch outwards, always over the smoothest joint; shifts and flips phases to match."""
    part = np.full(len(accepted), -1, np.int64)
    counts = lattice.counts * field.coherence
    number = 0
    for seed in np.argsort(-counts, kind="stable").tolist():
        if not accepted[seed] or part[seed] >= 0:
            continue
        part[seed] = number
        if field.heading[seed] >= math.radians(135):  # rows are numbered from the west or from the north
            _turn_round(field, seed, -1)
        queue = [(0.0, seed, other) for other in _neighbours(lattice.shape, seed)]
        queue = [(_mismatch(field, a, b)[0], a, b) for _, a, b in queue if accepted[b] and part[b] < 0]
        heapq.heapify(queue)
        while queue:
            step, inside, other = heapq.heappop(queue)
            if part[other] >= 0 or step > _MAX_STEP:
                continue
            _align(field, inside, other)
            if abs(field.heading[other] - field.heading[seed]) > _MAX_TURN:
                continue
            part[other] = number
            for after in _neighbours(lattice.shape, other):
                if accepted[after] and part[after] < 0:
                    heapq.heappush(queue, (_mismatch(field, other, after)[0], other, after))
        number += 1
    return PhaseField(field.x, field.y, field.heading, field.terms, field.error, field.coherence, part)


def _turn(field: PhaseField, first: int, second: int) -> int:
    """By how much the second patch's heading must change, in half turns, to point the first's way."""
    return round(float(field.heading[first] - field.heading[second]) / math.pi)


def _mismatch(field: PhaseField, first: int, second: int) -> tuple[float, float]:
    """How badly two patches fit (in spacings; infinite if not at all), and the phase to add to the second."""
    turns = _turn(field, first, second)
    turned = field.heading[second] + turns * math.pi
    one, two = field.spacing_m[[first, second]]
    if abs(turned - field.heading[first]) > math.radians(15) or abs(math.log(one / two)) > 0.2:
        return math.inf, 0.0
    x, y = (np.array([(v[first] + v[second]) / 2]) for v in (field.x, field.y))
    here, there = (field.phase(np.array([patch]), x, y)[0][0] for patch in (first, second))
    there = -there if turns % 2 else there
    shift = here - there
    return abs(shift - round(shift)), float(round(shift))


def _align(field: PhaseField, first: int, second: int) -> None:
    """Make the second patch's heading and phase continue those of the first."""
    turns = _turn(field, first, second)
    shift = _mismatch(field, first, second)[1]
    _turn_round(field, second, turns)
    field.terms[second, 0] += shift


def _turn_round(field: PhaseField, patch: int, turns: int) -> None:
    """Turn a patch's heading by half turns; the phase then grows to its new right."""
    field.heading[patch] += turns * math.pi
    if turns % 2:
        # Half a turn mirrors right and ahead, and the phase runs the other way: t1 and t2 stay, t0 and t3 change sign.
        field.terms[patch] *= (-1, 1, 1, -1)
