"""Copy-paste: plants that are known one by one are put onto other ground (Ghiasi et al. 2021)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from geoseg.legend import CROP, NODATA, WEED
from geoseg.train.augment import Placing, sample_crop
from geoseg.train.tilebands import unit_tensor
from geoseg.train.tiles import Tile

__all__ = ["Scene", "paste_plants"]

_MOST = 6
_LEAST_RADIUS_PX = 1.5


@dataclass(frozen=True)
class Scene:
    """A crop with its plants.

    Attributes:
        image: (C, S, S) float in 0..1.
        labels: (S, S) int64 class codes, 255 left out.
        ids: (S, S) int64 plant ids, 0 is none.
        centre: (n + 1, 2) row and column of each plant's centre in pixels of the crop, may lie outside.
        radius: (n + 1,) its radius in pixels; 0 where the centre is not known.
    """

    image: Tensor
    labels: Tensor
    ids: Tensor
    centre: Tensor
    radius: Tensor


def paste_plants(
    scene: Scene, tile: Tile, plants: tuple[np.ndarray, np.ndarray], scale: float, random: np.random.Generator
) -> Scene:
    """The scene with one to six plants of a tile on top, turned by chance; crops and weeds are equally likely.

    What lies below is hidden, as leaves hide each other; a plant below still points to its own centre.

    Args:
        scene: The crop.
        tile: Where plants are taken from; its plants must be known.
        plants: Centres (n + 1, 2) and radii (n + 1,) of its plants in its pixels; a radius of 0 is not taken.
        scale: Pixels of the tile per pixel of the crop.
        random: Source of randomness.

    Reference:
        Ghiasi et al. 2021, https://arxiv.org/abs/2012.07177
    """
    middle, radius = plants
    side = scene.labels.shape[0]
    fits = np.flatnonzero((radius / scale >= _LEAST_RADIUS_PX) & (radius / scale <= side / 4))
    kinds = tile.labels[tuple(np.rint(middle[fits]).astype(int).T)] if len(fits) else np.zeros(0, np.uint8)
    by_class = [fits[kinds == code] for code in (CROP, WEED)]
    by_class = [group for group in by_class if len(group)]
    for _ in range(int(random.integers(1, _MOST + 1)) if by_class else 0):
        group = by_class[int(random.integers(len(by_class)))]
        plant = int(group[int(random.integers(len(group)))])
        size = 2 * math.ceil(2 * float(radius[plant]) / scale) + 2
        centre = float(middle[plant][0]), float(middle[plant][1])
        placing = Placing(centre, scale, float(random.uniform(0, 360)), size)
        corner = random.integers(-size // 4, side - 3 * size // 4, 2)
        scene = _put(scene, tile, plant, placing, (int(corner[0]), int(corner[1])), float(radius[plant]) / scale)
    return scene


def _put(scene: Scene, tile: Tile, plant: int, placing: Placing, corner: tuple[int, int], radius: float) -> Scene:
    ids = np.zeros_like(tile.labels) if tile.instances is None else tile.instances
    codes = torch.from_numpy(np.stack([tile.labels.astype(np.int32), ids.astype(np.int32)]))
    image, (labels, found) = sample_crop(unit_tensor(tile.image), codes, (NODATA, 0), placing)
    side, (row, col) = scene.labels.shape[0], corner
    here = slice(max(0, row), min(side, row + placing.size)), slice(max(0, col), min(side, col + placing.size))
    there = tuple(slice(one.start - at, one.stop - at) for one, at in zip(here, corner, strict=True))
    mask = ((found == plant) & (labels != NODATA) & (labels > 0))[there]
    middle = torch.tensor([[row, col]]) + (placing.size - 1) / 2
    number = len(scene.centre)
    return replace(
        scene,
        image=_over(scene.image, image[:, there[0], there[1]], mask, here),
        labels=_over(scene.labels, labels[there], mask, here),
        ids=_over(scene.ids, torch.full_like(labels[there], number), mask, here),
        centre=torch.cat([scene.centre, middle.to(scene.centre.dtype)]),
        radius=torch.cat([scene.radius, torch.tensor([radius], dtype=scene.radius.dtype)]),
    )


def _over(below: Tensor, above: Tensor, mask: Tensor, where: tuple[slice, slice]) -> Tensor:
    below = below.clone()
    below[(..., *where)] = torch.where(mask, above, below[(..., *where)])
    return below
