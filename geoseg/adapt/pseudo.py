"""Labels that nobody drew: a tile set of the field, labelled by the row rule where that is sure.

A plant is labelled as a whole. Green whose class is in doubt, the rims of leaves, and all green where no row is near
are 255, so nothing is learnt from them. Part of the field, blocks of tiles apart from the others, is held out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from geoseg.adapt.balance import Views
from geoseg.adapt.field import Field
from geoseg.adapt.fieldrule import FieldRule
from geoseg.adapt.rowlabels import LabelNoise, PseudoLabels, label_image, plant_probability
from geoseg.adapt.rowrule import RowRule, RuleCounts, Scene, fit_rule
from geoseg.errors import ConfigError, LabelError
from geoseg.legend import NODATA
from geoseg.train.tiles import TRAIN, VALIDATION, Tile
from geoseg.windows import Rect

__all__ = ["Look", "PseudoConfig", "PseudoTiles", "network_bands", "pseudo_tiles"]

_FEWEST, _SMALLEST_PX = 10, 96
"""Tiles that a field should give, and the side below which none is cut."""
Look = Callable[[np.ndarray], NDArray[np.float32]]
"""From an image in the bands of a network to its (H, W) greenness."""


@dataclass(frozen=True)
class PseudoConfig:
    """How the tile set of a field is made (section ``labels``).

    Attributes:
        tiles: Number of tiles at most, spread over the field.
        tile_px: Their side; on a field that is too small for ten such tiles half of it, or a quarter.
        doubt: A plant is labelled if the probability of its class is at least one minus this.
        min_plant_m2: Green smaller than this is not labelled.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    tiles: int = 64
    tile_px: int = 512
    doubt: float = 0.25
    min_plant_m2: float = 2e-5

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: If a number does not fit.
        """
        if self.tiles < 5 or self.tile_px < 64:
            raise ConfigError(f"labels: expected 5 tiles or more of 64 px or more; found {self.tiles}, {self.tile_px}")
        if not 0 < self.doubt < 0.5:
            raise ConfigError(f"labels.doubt is {self.doubt}; expected a probability above 0 and below 0.5")


@dataclass
class PseudoTiles:
    """The tile set of a field in memory.

    Attributes:
        tiles: The tiles, of both parts.
        rule: The rule that labelled them.
        views: What the rule sees of those that are held out.
        noise: How wrong the labels should be.
    """

    rule: RowRule
    tiles: list[Tile] = field(default_factory=list)
    views: Views = field(default_factory=Views)
    noise: LabelNoise = field(default_factory=LabelNoise)


def network_bands(bands: tuple[str, ...]) -> tuple[str, ...] | None:
    """Bands of a field that a network for red, green and blue can look at, in this order; None if there are too few.

    Near infrared takes the place of green, because leaves are bright in it.
    """
    for wanted in (("red", "green", "blue"), ("red", "nir", "green")):
        if set(wanted) <= set(bands):
            return wanted
    return None


def pseudo_tiles(where: Field, rule: FieldRule, config: PseudoConfig, look: Look | None = None) -> PseudoTiles:
    """Tiles of a field, labelled by its rule.

    Args:
        where: The field.
        rule: What was found in it.
        config: How many, and how sure.
        look: Gives the greenness of an image as a network sees it; what either it or the index sees is green.

    Raises:
        LabelError: If the field has too few bands, or not one sure pixel of crop and of weed.
    """
    wanted = network_bands(where.bands)
    if wanted is None:
        raise LabelError(f"{where.source.name} has the bands {', '.join(where.bands)}; a network needs red, green and "
                         "blue, or red, green and near infrared")  # fmt: skip
    order = [where.bands.index(band) for band in wanted]
    seen = []
    counts = RuleCounts()
    for split, rect, image, valid in _places(where, rule.margin_px, config):
        greenness = rule.vegetation.greenness(image, rect)
        if look is not None:
            greenness = np.maximum(greenness, look(image[order]))
        greenness, scene = rule.scene(image, rect, greenness)
        inner = np.zeros_like(valid)
        inner[rule.margin_px : -rule.margin_px, rule.margin_px : -rule.margin_px] = True
        counts.add(scene, inner & valid)
        seen.append(_Seen(split, rect, image, valid, greenness, scene))
    own = rule.rule if look is None else fit_rule(counts, rule.rule.reach_px)  # another green, other densities
    found = PseudoTiles(rule=own)
    minimum = config.min_plant_m2 / where.gsd_m**2
    for one in seen:
        labels = label_image(one.greenness, one.scene, own.probability(one.scene), minimum, config.doubt)
        found.noise.add(labels)
        _add(found, one, labels, rule, order)
    if not found.noise.crop_px or not found.noise.weed_px:
        lacking = "weeds" if found.noise.crop_px else "crop plants"
        raise LabelError(f"{where.source.name}: the rows give no sure {lacking} to learn from")
    return found


@dataclass(frozen=True)
class _Seen:
    """An image with its margin, and what is seen of it."""

    split: str
    rect: Rect
    image: np.ndarray
    valid: NDArray[np.bool_]
    greenness: NDArray[np.float32]
    scene: Scene


def _add(found: PseudoTiles, one: _Seen, labels: PseudoLabels, rule: FieldRule, order: list[int]) -> None:
    """Cut the margin off, and keep the tile and, if it is held out, what the rule sees of it."""
    margin = rule.margin_px
    inner = slice(margin, -margin)
    valid = one.valid[inner, inner]
    known = np.where(valid, labels.labels[inner, inner], NODATA).astype(np.uint8)
    pixels = one.image[order][:, inner, inner]
    if pixels.dtype != np.uint8:
        pixels = np.rint(pixels * 255).astype(np.uint8)
    row, col = one.rect.row0 + margin, one.rect.col0 + margin
    tile = Tile(f"field_{row:06d}_{col:06d}", one.split, "field", row, col, rule.gsd_m, pixels, known)
    found.tiles.append(tile)
    if one.split == VALIDATION:
        size, off, here = (part[inner, inner] for part in (one.scene.size, one.scene.off, one.scene.here))
        scene = Scene(one.scene.green[inner, inner], size, off, here)
        ruled = rule.classify(one.image, one.rect)[0][inner, inner]
        plant = plant_probability(one.greenness[inner, inner])
        found.views.add(pixels, scene, plant, valid, ruled, found.rule)


def _side(wanted: int, height: int, width: int) -> int:
    """Side of the tiles: halved on a small field, so that a part of it can be held out."""
    side = min(wanted, height, width)
    while (height // side) * (width // side) < _FEWEST and side >= 2 * _SMALLEST_PX:
        side //= 2
    return side


def _places(
    where: Field, margin: int, config: PseudoConfig
) -> Iterator[tuple[str, Rect, np.ndarray, NDArray[np.bool_]]]:
    """Splits, rectangles with margin, images and valid pixels of the tiles; every fifth block of four is held out."""
    height, width = where.shape
    side = _side(config.tile_px, height, width)
    grid = [(row, col) for row in range(height // side) for col in range(width // side)]
    with where.source.reader(where.grid, where.outline) as reader:
        rects = [(row, col, Rect(row * side, col * side, (row + 1) * side, (col + 1) * side)) for row, col in grid]
        inside = [place for place in rects if reader.valid(place[2]).mean() > 0.5]
        chosen = np.unique(np.linspace(0, len(inside) - 1, min(config.tiles, len(inside))).round().astype(int))
        apart = [(inside[number][0] // 2 + 2 * (inside[number][1] // 2)) % 5 == 0 for number in chosen.tolist()]
        few = not 0 < sum(apart) < len(apart)  # of a small field
        for place, number in enumerate(chosen.tolist()):
            rect = inside[number][2]
            held_out = place % 5 == 0 if few else apart[place]
            image, valid = reader.read(rect.grow(margin))
            yield VALIDATION if held_out else TRAIN, rect.grow(margin), image, valid
