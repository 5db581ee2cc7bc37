"""Pictures of single plants, stones and straw with transparency, drawn leaf by leaf; nothing about fields or files.

A plant is a heap of leaves, the outer ones first. A leaf is a curved axis with a width that changes along it; its
edge, its midrib, its two halves and the shade that it throws on the leaves below are all functions of the position
along and across that axis, so that a leaf is drawn with array arithmetic on its bounding box.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geoseg.train.leaves import FORMS, Leaf

__all__ = ["Sprite", "SpriteLibrary", "draw"]

Floats = NDArray[np.float32]

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
_INFRARED = {
    "potato": 205,
    "beet": 210,
    "maize": 198,
    "seedling": 200,
    "rosette": 204,
    "grass": 190,
    "bushy": 196,
    "sprawling": 200,
    "stone": 190,
    "straw": 198,
}
_THINNEST_PX = 1.2  # no leaf is narrower, so that it can be seen


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

    def paint(self, leaf: Leaf, lit: float) -> None:
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
        half = leaf.half_width(inside)
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


def draw(kind: str, diameter_px: float, blur_px: float, rng: np.random.Generator, *, infrared: bool = False) -> Sprite:
    """One picture.

    Args:
        kind: One of `CROPS` or `WEEDS`, or "stone" or "straw".
        diameter_px: Diameter in pixels, from 2.
        blur_px: Standard deviation of the camera's blur in pixels.
        rng: Where the variety comes from.
        infrared: Near infrared, red and green instead of red, green and blue.
    """
    fine = 2 if diameter_px < 60 else 1
    bands = (_INFRARED[kind], *_COLOURS[kind][:2]) if infrared else _COLOURS[kind]
    colour = np.array(bands, np.float32) * np.exp(rng.normal(0, (0.05, 0.03, 0.05))).astype(np.float32)
    radius = diameter_px / 2
    size = 2 * int(np.ceil(radius * 1.25 + 2 + 2 * blur_px)) + 1
    canvas = _Canvas(fine * size, colour, rng)
    light = rng.uniform(0, 2 * np.pi)
    for leaf in FORMS[kind](radius * fine, rng):
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
        infrared: Near infrared, red and green instead of red, green and blue.
    """

    seed: int
    blur_px: float
    infrared: bool = False
    _sprites: dict[tuple[int, int, int], Sprite] = field(default_factory=dict, repr=False)

    def get(self, kind: str, diameter_px: float, choice: int) -> Sprite:
        """The picture of a kind next in size.

        Args:
            kind: As for `draw`.
            diameter_px: Diameter wanted in pixels; sizes come in steps of 18 %.
            choice: Any non-negative number; tells variant and orientation.
        """
        step = max(0, round(np.log(max(2.0, diameter_px) / 2.0) / np.log(_STEP)))
        key = (list(FORMS).index(kind), step, choice // 8 % _VARIANTS)
        if key not in self._sprites:
            rng = np.random.default_rng([self.seed, 7, *key])
            self._sprites[key] = draw(kind, 2.0 * _STEP**step, self.blur_px, rng, infrared=self.infrared)
        return self._sprites[key].turned(choice % 8)
