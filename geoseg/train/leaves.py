"""How plants are built: leaves, and the arrangement of leaves that makes a kind of plant. Nothing is painted here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["CROPS", "FORMS", "WEEDS", "Leaf"]

Floats = NDArray[np.float32]

CROPS = ("potato", "beet", "maize")
"""Crops that can be drawn."""
WEEDS = ("seedling", "rosette", "grass", "bushy", "sprawling")
"""Growth forms of weeds that can be drawn."""

_GOLDEN = np.pi * (3 - 5**0.5)


@dataclass(frozen=True)
class Leaf:
    """One leaf: where it starts (pixels from the centre), where it points (radians), and how it looks."""

    row: float
    col: float
    angle: float
    length: float
    width: float
    form: tuple[float, float] = (0.7, 0.55)  # exponents towards the base and the tip
    curve: float = 0.0
    lobes: float = 0.0  # depth of the teeth of the margin, 0..1
    teeth: float = 5.0
    gain: float = 1.0
    rib: float = 0.14  # how much lighter the midrib is

    def at(self, along: float) -> tuple[float, float]:
        """(row, col) of a point of the axis, `along` 0 at the base and 1 at the tip."""
        ahead, aside = along * self.length, self.curve * self.length * along**2
        sin, cos = np.sin(self.angle), np.cos(self.angle)
        return self.row + ahead * sin + aside * cos, self.col + ahead * cos - aside * sin

    def half_width(self, along: Floats) -> Floats:
        """Half the width in pixels at positions along the axis, 0..1."""
        base, tip = self.form
        peak = base / (base + tip)
        half = along**base * (1 - along) ** tip / (peak**base * (1 - peak) ** tip)
        if self.lobes:
            half *= 1 - self.lobes * (0.5 + 0.5 * np.cos(2 * np.pi * self.teeth * along))
        return np.asarray(half * (self.width / 2), np.float32)


def _whorls(rng: np.random.Generator, counts: tuple[int, ...]) -> Iterator[tuple[int, float]]:
    """(whorl, angle) of leaves in spiral order, outermost whorl first."""
    angle = rng.uniform(0, 2 * np.pi)
    for whorl, count in enumerate(counts):
        for _ in range(count):
            angle += _GOLDEN + rng.normal(0, 0.25)
            yield whorl, angle


def _potato(radius: float, rng: np.random.Generator) -> Iterator[Leaf]:
    """Compound leaves: pairs of leaflets and a bigger one at the tip."""
    for whorl, angle in _whorls(rng, (int(rng.integers(4, 8)), int(rng.integers(3, 7)), int(rng.integers(3, 6)))):
        length = radius * (0.98, 0.66, 0.36)[whorl] * rng.uniform(0.72, 1.0)
        gain = (0.80, 0.98, 1.14)[whorl] * rng.uniform(0.85, 1.12)
        axis = Leaf(0, 0, angle, length * 0.75, 0.07 * length, (0.3, 0.3), rng.normal(0, 0.12), gain=gain)
        yield axis
        size = max(2.4, 0.5 * length)
        for along in (0.42, 0.72, 1.0):
            row, col = axis.at(along)
            turns = (0.0,) if along == 1.0 else (-1.0, 1.0)
            for turn in turns:
                heading = angle + turn * rng.uniform(0.8, 1.25) + rng.normal(0, 0.12)
                grown = size * (0.72 + 0.3 * along) * rng.uniform(0.8, 1.1)
                yield Leaf(
                    row, col, heading, grown, grown * rng.uniform(0.58, 0.8), (0.55, 0.6),
                    rng.normal(0, 0.1), 0.1, 3, gain * rng.uniform(0.88, 1.14),
                )  # fmt: skip


def _beet(radius: float, rng: np.random.Generator) -> Iterator[Leaf]:
    """Simple broad leaves on stalks."""
    for whorl, angle in _whorls(rng, (int(rng.integers(3, 6)), int(rng.integers(2, 5)), 2)):
        length = radius * (0.98, 0.74, 0.42)[whorl] * rng.uniform(0.78, 1.0)
        gain = (0.88, 1.02, 1.15)[whorl] * rng.uniform(0.9, 1.1)
        stalk = Leaf(0, 0, angle, length * 0.45, 0.1 * length, (0.2, 0.2), gain=1.12 * gain)
        yield stalk
        row, col = stalk.at(0.75)
        blade = length * 0.68
        yield Leaf(
            row, col, angle + rng.normal(0, 0.15), blade, blade * rng.uniform(0.5, 0.72), (0.6, 0.5),
            rng.normal(0, 0.12), 0.08, float(rng.integers(3, 6)), gain, 0.26,
        )  # fmt: skip


def _maize(radius: float, rng: np.random.Generator) -> Iterator[Leaf]:
    """Long narrow leaves in two ranks."""
    rank = rng.uniform(0, 2 * np.pi)
    count = int(rng.integers(3, 6))
    for index in range(count):
        angle = rank + np.pi * index + rng.normal(0, 0.38)
        length = radius * rng.uniform(0.72, 1.0) * (1.0 if index < count - 1 else 0.55)
        width = length * rng.uniform(0.13, 0.21)
        gain = (0.82 + 0.3 * index / count) * rng.uniform(0.9, 1.15)
        yield Leaf(0, 0, angle, length, width, (0.28, 0.75), rng.normal(0, 0.3), gain=gain, rib=0.22)
    yield Leaf(0, 0, rank, radius * 0.2, radius * 0.11, (0.4, 0.4), gain=1.2)


def _seedling(radius: float, rng: np.random.Generator) -> Iterator[Leaf]:
    """Two seed leaves, and sometimes the first two true ones across them."""
    angle = rng.uniform(0, 2 * np.pi)
    slim = rng.uniform(0.28, 0.6)
    for turn in (0.0, np.pi):
        length = radius * rng.uniform(0.85, 1.0)
        yield Leaf(0, 0, angle + turn + rng.normal(0, 0.12), length, slim * length, (0.5, 0.35))
    for turn in (np.pi / 2, -np.pi / 2) if rng.random() < 0.65 else ():
        length = radius * rng.uniform(0.5, 0.95)
        heading = angle + turn + rng.normal(0, 0.2)
        yield Leaf(0, 0, heading, length, length * 0.55, (0.6, 0.5), 0.0, 0.15, 2, 1.1)


def _rosette(radius: float, rng: np.random.Generator) -> Iterator[Leaf]:
    """Lobed leaves flat on the ground."""
    depth, slim, teeth = rng.uniform(0.1, 0.6), rng.uniform(0.24, 0.4), float(rng.integers(3, 6))
    for whorl, angle in _whorls(rng, (int(rng.integers(4, 8)), int(rng.integers(2, 5)))):
        length = radius * (0.98, 0.55)[whorl] * rng.uniform(0.7, 1.0)
        yield Leaf(
            0, 0, angle, length, slim * length, (0.9, 0.4), rng.normal(0, 0.12), depth, teeth,
            (0.92, 1.08)[whorl] * rng.uniform(0.88, 1.1), 0.2,
        )  # fmt: skip


def _grass(radius: float, rng: np.random.Generator) -> Iterator[Leaf]:
    """A few blades from one point, or from two or three close together."""
    lean = rng.uniform(0, 2 * np.pi)
    for _ in range(int(rng.integers(2, 8))):
        length = radius * rng.uniform(0.55, 1.0)
        row, col = rng.normal(0, 0.07 * radius, 2)
        angle = lean + rng.normal(0, 1.5)
        yield Leaf(
            row, col, angle, length, length * rng.uniform(0.07, 0.12), (0.2, 0.8),
            rng.normal(0, 0.22), gain=rng.uniform(0.85, 1.15),
        )  # fmt: skip
    yield Leaf(0, 0, lean, 0.25 * radius + 1, 0.12 * radius, (0.3, 0.3))


def _bushy(radius: float, rng: np.random.Generator) -> Iterator[Leaf]:
    """Many small leaves round a short stem, mealy in the middle."""
    for whorl, angle in _whorls(rng, (int(rng.integers(5, 9)), int(rng.integers(4, 8)), 4)):
        start = radius * (0.42, 0.18, 0.0)[whorl] * rng.uniform(0.7, 1.2)
        length = radius * (0.55, 0.5, 0.36)[whorl] * rng.uniform(0.8, 1.0)
        yield Leaf(
            start * np.sin(angle), start * np.cos(angle), angle + rng.normal(0, 0.2), length,
            length * rng.uniform(0.5, 0.7), (0.7, 0.6), 0.0, 0.18, 2, (0.84, 1.0, 1.2)[whorl],
        )  # fmt: skip


def _sprawling(radius: float, rng: np.random.Generator) -> Iterator[Leaf]:
    """Stems that wander off over the ground with small leaves along them."""
    for _, angle in _whorls(rng, (int(rng.integers(2, 5)),)):
        stem = Leaf(0, 0, angle, radius * rng.uniform(0.6, 0.85), 1.2, (0.1, 0.1), rng.normal(0, 0.35), gain=0.85)
        yield stem
        for along in np.arange(0.15, 1.05, 0.22):
            row, col = stem.at(float(along))
            for turn in (-1.1, 1.1):
                length = radius * rng.uniform(0.2, 0.32)
                yield Leaf(
                    row, col, angle + turn + rng.normal(0, 0.3), length, length * rng.uniform(0.45, 0.75),
                    gain=rng.uniform(0.85, 1.15),
                )  # fmt: skip


def _stone(radius: float, rng: np.random.Generator) -> Iterator[Leaf]:
    length = 2 * radius * rng.uniform(0.7, 1.0)
    angle = rng.uniform(0, 2 * np.pi)
    row, col = -length / 2 * np.sin(angle), -length / 2 * np.cos(angle)
    yield Leaf(row, col, angle, length, length * rng.uniform(0.5, 0.9), (0.45, 0.4), rib=0.0)


def _straw(radius: float, rng: np.random.Generator) -> Iterator[Leaf]:
    angle = rng.uniform(0, 2 * np.pi)
    row, col = -radius * np.sin(angle), -radius * np.cos(angle)
    width = radius * rng.uniform(0.08, 0.2)
    yield Leaf(row, col, angle, 2 * radius, width, (0.1, 0.15), rng.normal(0, 0.2), rib=0.0)


FORMS: dict[str, Callable[[float, np.random.Generator], Iterator[Leaf]]] = {
    "potato": _potato,
    "beet": _beet,
    "maize": _maize,
    "seedling": _seedling,
    "rosette": _rosette,
    "grass": _grass,
    "bushy": _bushy,
    "sprawling": _sprawling,
    "stone": _stone,
    "straw": _straw,
}
