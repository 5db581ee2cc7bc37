"""Pictures of single plants, stones and straw with transparency, drawn leaf by leaf; nothing about fields or files.

A plant is a heap of leaves, the outer ones first. A leaf is a curved axis with a width that changes along it; its
edge, its midrib, its two halves and the shade that it throws on the leaves below are all functions of the position
along and across that axis, so that a leaf is drawn with array arithmetic on its bounding box.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["CROPS", "WEEDS", "Sprite", "SpriteLibrary"]

Floats = NDArray[np.float32]

CROPS = ("potato", "beet", "maize")
"""Crops that can be drawn."""
WEEDS = ("seedling", "rosette", "grass", "bushy", "sprawling")
"""Growth forms of weeds that can be drawn."""

_STEP = 1.18  # ratio between neighbouring sizes in the library
_VARIANTS = 8  # pictures per kind and size; eight turns and mirrorings of each come on top
_COLOURS = {
    "potato": (106, 138, 78),
    "beet": (106, 146, 78),
    "maize": (86, 128, 84),
    "seedling": (106, 132, 78),
    "rosette": (104, 124, 76),
    "grass": (100, 130, 76),
    "bushy": (112, 130, 96),
    "sprawling": (96, 120, 80),
    "stone": (196, 188, 172),
    "straw": (186, 168, 128),
}
_THINNEST_PX = 1.2  # no leaf is narrower, so that it can be seen
_GOLDEN = np.pi * (3 - 5**0.5)


@dataclass(frozen=True)
class Sprite:
    """A picture to be laid on the soil.

    Attributes:
        rgb: (N, N, 3) float32, 0..255; N is odd and the plant's centre lies in the middle pixel.
        alpha: (N, N) float32, 0..1: opaque where the plant covers the pixel.
        shade: (N, N) float32, 0..1: the shape of its shadow.
        radius_px: Distance from the centre to the farthest pixel that is more than half covered.
    """

    rgb: Floats
    alpha: Floats
    shade: Floats
    radius_px: float

    def turned(self, turn: int) -> Sprite:
        """One of eight turns and mirrorings, as views.

        Args:
            turn: 0..7: quarter turns, from 4 on of the mirror image.
        """

        def view(array: Floats) -> Floats:
            return np.rot90(array[:, ::-1] if turn >= 4 else array, turn % 4)

        return Sprite(view(self.rgb), view(self.alpha), view(self.shade), self.radius_px)


@dataclass(frozen=True)
class _Leaf:
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


class _Canvas:
    """Leaves painted one over the other on a square of `size` pixels."""

    def __init__(self, size: int, colour: Floats, rng: np.random.Generator) -> None:
        self.rgb: Floats = np.empty((size, size, 3), np.float32)
        self.rgb[:] = colour * 0.5
        self.alpha: Floats = np.zeros((size, size), np.float32)
        self.colour = colour
        crinkle = rng.standard_normal((size, size), dtype=np.float32)
        self.crinkle: Floats = 0.17 * ndimage.gaussian_filter(crinkle, 1.0) + 0.45 * ndimage.gaussian_filter(
            crinkle, 3.5
        )

    def paint(self, leaf: _Leaf, lit: float) -> None:
        """Paint a leaf.

        Args:
            leaf: What to paint, in the canvas's pixels from its centre.
            lit: -1..1: which half of the leaf is the lighter one.
        """
        centre = self.alpha.shape[0] // 2
        reach = leaf.length * (1 + abs(leaf.curve)) / 2 + leaf.width + 3
        middle_row, middle_col = leaf.at(0.5)
        rows = slice(max(0, int(centre + middle_row - reach)), max(0, int(centre + middle_row + reach) + 1))
        cols = slice(max(0, int(centre + middle_col - reach)), max(0, int(centre + middle_col + reach) + 1))
        alpha, rgb = self.alpha[rows, cols], self.rgb[rows, cols]
        y = (np.arange(rows.start, rows.start + alpha.shape[0], dtype=np.float32) - centre - leaf.row)[:, None]
        x = (np.arange(cols.start, cols.start + alpha.shape[1], dtype=np.float32) - centre - leaf.col)[None]
        sin, cos = np.float32(np.sin(leaf.angle)), np.float32(np.cos(leaf.angle))
        along = (x * cos + y * sin) / np.float32(leaf.length)
        across = y * cos - x * sin - np.float32(leaf.curve * leaf.length) * along * abs(along)
        inside = np.clip(along, 0.001, 0.999)
        half = _half_width(leaf, inside)
        distance = abs(across) - half + abs(along - inside) * np.float32(leaf.length)
        cover = np.clip(0.5 - distance, 0, 1)
        dark = 0.5 * np.clip(1 - distance / np.float32(1.5 + 0.2 * leaf.width), 0, 1) ** 2
        side = across / np.maximum(half, 0.7)
        tone = 0.80 + 0.30 * inside + 0.13 * lit * np.clip(side, -1, 1) - 0.10 * np.clip(side * side, 0, 1)
        tone += leaf.rib * np.exp(-((across / np.float32(0.5 + 0.07 * leaf.width)) ** 2))
        tone += 0.05 * np.sin(40 * inside - 5 * abs(side))
        tone *= leaf.gain * (1 + self.crinkle[rows, cols])
        warm = np.stack([0.90 + 0.12 * inside, np.ones_like(inside), 0.96 + 0.04 * inside], axis=-1)
        rgb *= (1 - dark * (1 - cover))[..., None]
        rgb += cover[..., None] * (self.colour * tone[..., None] * warm - rgb)
        alpha += cover * (1 - alpha)


def _half_width(leaf: _Leaf, along: Floats) -> Floats:
    base, tip = leaf.form
    peak = base / (base + tip)
    half = along**base * (1 - along) ** tip / (peak**base * (1 - peak) ** tip)
    if leaf.lobes:
        half *= 1 - leaf.lobes * (0.5 + 0.5 * np.cos(2 * np.pi * leaf.teeth * along))
    return np.asarray(half * (leaf.width / 2), np.float32)


def _whorls(rng: np.random.Generator, counts: tuple[int, ...]) -> Iterator[tuple[int, float]]:
    """(whorl, angle) of leaves in spiral order, outermost whorl first."""
    angle = rng.uniform(0, 2 * np.pi)
    for whorl, count in enumerate(counts):
        for _ in range(count):
            angle += _GOLDEN + rng.normal(0, 0.25)
            yield whorl, angle


def _potato(radius: float, rng: np.random.Generator) -> Iterator[_Leaf]:
    """Compound leaves: pairs of leaflets and a bigger one at the tip."""
    for whorl, angle in _whorls(rng, (int(rng.integers(4, 8)), int(rng.integers(3, 7)), int(rng.integers(3, 6)))):
        length = radius * (0.98, 0.66, 0.36)[whorl] * rng.uniform(0.72, 1.0)
        gain = (0.80, 0.98, 1.14)[whorl] * rng.uniform(0.85, 1.12)
        axis = _Leaf(0, 0, angle, length * 0.75, 0.07 * length, (0.3, 0.3), rng.normal(0, 0.12), gain=gain)
        yield axis
        size = max(2.4, 0.5 * length)
        for along in (0.42, 0.72, 1.0):
            row, col = axis.at(along)
            turns = (0.0,) if along == 1.0 else (-1.0, 1.0)
            for turn in turns:
                heading = angle + turn * rng.uniform(0.8, 1.25) + rng.normal(0, 0.12)
                grown = size * (0.72 + 0.3 * along) * rng.uniform(0.8, 1.1)
                yield _Leaf(
                    row, col, heading, grown, grown * rng.uniform(0.58, 0.8), (0.55, 0.6),
                    rng.normal(0, 0.1), 0.1, 3, gain * rng.uniform(0.88, 1.14),
                )  # fmt: skip


def _beet(radius: float, rng: np.random.Generator) -> Iterator[_Leaf]:
    """Simple broad leaves on stalks."""
    for whorl, angle in _whorls(rng, (int(rng.integers(3, 6)), int(rng.integers(2, 5)), 2)):
        length = radius * (0.98, 0.74, 0.42)[whorl] * rng.uniform(0.78, 1.0)
        gain = (0.88, 1.02, 1.15)[whorl] * rng.uniform(0.9, 1.1)
        stalk = _Leaf(0, 0, angle, length * 0.45, 0.1 * length, (0.2, 0.2), gain=1.12 * gain)
        yield stalk
        row, col = stalk.at(0.75)
        blade = length * 0.68
        yield _Leaf(
            row, col, angle + rng.normal(0, 0.15), blade, blade * rng.uniform(0.5, 0.72), (0.6, 0.5),
            rng.normal(0, 0.12), 0.08, float(rng.integers(3, 6)), gain, 0.26,
        )  # fmt: skip


def _maize(radius: float, rng: np.random.Generator) -> Iterator[_Leaf]:
    """Long narrow leaves in two ranks."""
    rank = rng.uniform(0, 2 * np.pi)
    count = int(rng.integers(3, 6))
    for index in range(count):
        angle = rank + np.pi * index + rng.normal(0, 0.38)
        length = radius * rng.uniform(0.72, 1.0) * (1.0 if index < count - 1 else 0.55)
        width = length * rng.uniform(0.13, 0.21)
        gain = (0.82 + 0.3 * index / count) * rng.uniform(0.9, 1.15)
        yield _Leaf(0, 0, angle, length, width, (0.28, 0.75), rng.normal(0, 0.3), gain=gain, rib=0.22)
    yield _Leaf(0, 0, rank, radius * 0.2, radius * 0.11, (0.4, 0.4), gain=1.2)


def _seedling(radius: float, rng: np.random.Generator) -> Iterator[_Leaf]:
    """Two seed leaves, and sometimes the first two true ones across them."""
    angle = rng.uniform(0, 2 * np.pi)
    slim = rng.uniform(0.28, 0.6)
    for turn in (0.0, np.pi):
        length = radius * rng.uniform(0.85, 1.0)
        yield _Leaf(0, 0, angle + turn + rng.normal(0, 0.12), length, slim * length, (0.5, 0.35))
    for turn in (np.pi / 2, -np.pi / 2) if rng.random() < 0.65 else ():
        length = radius * rng.uniform(0.5, 0.95)
        heading = angle + turn + rng.normal(0, 0.2)
        yield _Leaf(0, 0, heading, length, length * 0.55, (0.6, 0.5), 0.0, 0.15, 2, 1.1)


def _rosette(radius: float, rng: np.random.Generator) -> Iterator[_Leaf]:
    """Lobed leaves flat on the ground."""
    depth, slim, teeth = rng.uniform(0.1, 0.6), rng.uniform(0.24, 0.4), float(rng.integers(3, 6))
    for whorl, angle in _whorls(rng, (int(rng.integers(4, 8)), int(rng.integers(2, 5)))):
        length = radius * (0.98, 0.55)[whorl] * rng.uniform(0.7, 1.0)
        yield _Leaf(
            0, 0, angle, length, slim * length, (0.9, 0.4), rng.normal(0, 0.12), depth, teeth,
            (0.92, 1.08)[whorl] * rng.uniform(0.88, 1.1), 0.2,
        )  # fmt: skip


def _grass(radius: float, rng: np.random.Generator) -> Iterator[_Leaf]:
    """A few blades from one point, or from two or three close together."""
    lean = rng.uniform(0, 2 * np.pi)
    for _ in range(int(rng.integers(2, 8))):
        length = radius * rng.uniform(0.55, 1.0)
        row, col = rng.normal(0, 0.07 * radius, 2)
        angle = lean + rng.normal(0, 1.5)
        yield _Leaf(
            row, col, angle, length, length * rng.uniform(0.07, 0.12), (0.2, 0.8),
            rng.normal(0, 0.22), gain=rng.uniform(0.85, 1.15),
        )  # fmt: skip
    yield _Leaf(0, 0, lean, 0.25 * radius + 1, 0.12 * radius, (0.3, 0.3))


def _bushy(radius: float, rng: np.random.Generator) -> Iterator[_Leaf]:
    """Many small leaves round a short stem, mealy in the middle."""
    for whorl, angle in _whorls(rng, (int(rng.integers(5, 9)), int(rng.integers(4, 8)), 4)):
        start = radius * (0.42, 0.18, 0.0)[whorl] * rng.uniform(0.7, 1.2)
        length = radius * (0.55, 0.5, 0.36)[whorl] * rng.uniform(0.8, 1.0)
        yield _Leaf(
            start * np.sin(angle), start * np.cos(angle), angle + rng.normal(0, 0.2), length,
            length * rng.uniform(0.5, 0.7), (0.7, 0.6), 0.0, 0.18, 2, (0.84, 1.0, 1.2)[whorl],
        )  # fmt: skip


def _sprawling(radius: float, rng: np.random.Generator) -> Iterator[_Leaf]:
    """Stems that wander off over the ground with small leaves along them."""
    for _, angle in _whorls(rng, (int(rng.integers(2, 5)),)):
        stem = _Leaf(0, 0, angle, radius * rng.uniform(0.6, 0.85), 1.2, (0.1, 0.1), rng.normal(0, 0.35), gain=0.85)
        yield stem
        for along in np.arange(0.15, 1.05, 0.22):
            row, col = stem.at(float(along))
            for turn in (-1.1, 1.1):
                length = radius * rng.uniform(0.2, 0.32)
                yield _Leaf(
                    row, col, angle + turn + rng.normal(0, 0.3), length, length * rng.uniform(0.45, 0.75),
                    gain=rng.uniform(0.85, 1.15),
                )  # fmt: skip


def _stone(radius: float, rng: np.random.Generator) -> Iterator[_Leaf]:
    length = 2 * radius * rng.uniform(0.7, 1.0)
    angle = rng.uniform(0, 2 * np.pi)
    row, col = -length / 2 * np.sin(angle), -length / 2 * np.cos(angle)
    yield _Leaf(row, col, angle, length, length * rng.uniform(0.5, 0.9), (0.45, 0.4), rib=0.0)


def _straw(radius: float, rng: np.random.Generator) -> Iterator[_Leaf]:
    angle = rng.uniform(0, 2 * np.pi)
    row, col = -radius * np.sin(angle), -radius * np.cos(angle)
    width = radius * rng.uniform(0.08, 0.2)
    yield _Leaf(row, col, angle, 2 * radius, width, (0.1, 0.15), rng.normal(0, 0.2), rib=0.0)


_DRAW: dict[str, Callable[[float, np.random.Generator], Iterator[_Leaf]]] = {
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


def draw(kind: str, diameter_px: float, blur_px: float, rng: np.random.Generator) -> Sprite:
    """One picture.

    Args:
        kind: One of `CROPS` or `WEEDS`, or "stone" or "straw".
        diameter_px: Diameter in pixels, from 2.
        blur_px: Standard deviation of the camera's blur in pixels.
        rng: Where the variety comes from.
    """
    fine = 2 if diameter_px < 60 else 1
    colour = np.array(_COLOURS[kind], np.float32) * np.exp(rng.normal(0, (0.05, 0.03, 0.05))).astype(np.float32)
    radius = diameter_px / 2
    size = 2 * int(np.ceil(radius * 1.25 + 2 + 2 * blur_px)) + 1
    canvas = _Canvas(fine * size, colour, rng)
    light = rng.uniform(0, 2 * np.pi)
    for leaf in _DRAW[kind](radius * fine, rng):
        wide_enough = replace(leaf, width=max(leaf.width, _THINNEST_PX * fine))
        canvas.paint(wide_enough, float(np.sin(leaf.angle - light)))
    alpha = canvas.alpha.reshape(size, fine, size, fine).mean(axis=(1, 3))
    rgb = (canvas.rgb * canvas.alpha[..., None]).reshape(size, fine, size, fine, 3).mean(axis=(1, 3))
    sigma = max(0.35, blur_px)
    alpha, rgb = ndimage.gaussian_filter(alpha, sigma), ndimage.gaussian_filter(rgb, (sigma, sigma, 0))
    rgb = np.where(alpha[..., None] > 0.02, rgb / np.maximum(alpha, 0.02)[..., None], colour)
    peak = float(alpha.max())
    if peak < 0.75:  # the thinnest and smallest: pale, yet one pixel at least is more plant than soil
        alpha = alpha * np.float32(0.75 / peak)
    shade = ndimage.gaussian_filter(alpha, 0.8 + blur_px + 0.02 * diameter_px)
    rows, cols = np.nonzero(alpha > 0.5)
    radius_px = float(np.hypot(rows - size // 2, cols - size // 2).max()) + 0.5
    return Sprite(rgb.astype(np.float32), np.minimum(alpha, 1).astype(np.float32), shade.astype(np.float32), radius_px)


@dataclass
class SpriteLibrary:
    """Pictures by kind, size and variant, drawn when first asked for.

    Attributes:
        seed: What the pictures depend on, besides kind, size and variant.
        blur_px: Standard deviation of the camera's blur in pixels.
    """

    seed: int
    blur_px: float
    _sprites: dict[tuple[int, int, int], Sprite] = field(default_factory=dict, repr=False)

    def get(self, kind: str, diameter_px: float, choice: int) -> Sprite:
        """The picture of a kind next in size.

        Args:
            kind: As for `draw`.
            diameter_px: Diameter wanted in pixels; sizes come in steps of 18 %.
            choice: Any non-negative number; tells variant and orientation.
        """
        step = max(0, round(np.log(max(2.0, diameter_px) / 2.0) / np.log(_STEP)))
        key = (list(_DRAW).index(kind), step, choice // 8 % _VARIANTS)
        if key not in self._sprites:
            rng = np.random.default_rng([self.seed, 7, *key])
            self._sprites[key] = draw(kind, 2.0 * _STEP**step, self.blur_px, rng)
        return self._sprites[key].turned(choice % 8)
