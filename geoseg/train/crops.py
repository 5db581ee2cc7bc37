"""The endless choice of augmented training crops, the same for the same seed."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from geoseg.legend import NODATA, WEED
from geoseg.models.card import GsdRange
from geoseg.train.augment import AugmentConfig, Placing, change_looks, sample_crop
from geoseg.train.levelled import level_bands, mixing, moments_of
from geoseg.train.paste import Scene, paste_plants
from geoseg.train.sets import CropSource
from geoseg.train.tilebands import unit_tensor
from geoseg.train.tileinstances import centres
from geoseg.train.tiles import Moments, Tile

__all__ = ["Batch", "CropConfig", "Crops", "ahead", "offset_targets"]

_LONGEST = 127.0
"""Offsets beyond this many pixels of half the resolution cannot be said; see `geoseg.models.reduce`."""
_REMEMBERED = 4096
"""Tiles whose plants are kept in memory; windows of an ortho never come twice."""


@dataclass(frozen=True)
class Batch:
    """What one step learns from.

    Attributes:
        images: (N, C, S, S) float in 0..1.
        labels: (N, S, S) int64 class codes, 255 left out.
        offsets: (N, 2, S / 2, S / 2) float, down and right to the plant's centre, in pixels of half the resolution.
        weights: (N, S / 2, S / 2) float, of the offsets: 0 where there is no plant, or one whose centre is not known.
        instances: (N, S, S) int64 plant ids, 0 is none.
    """

    images: Tensor
    labels: Tensor
    offsets: Tensor
    weights: Tensor
    instances: Tensor


@dataclass(frozen=True)
class CropConfig:
    """How crops are chosen.

    Attributes:
        count: Batches in all.
        batch: Crops in each.
        size_px: Side of a crop.
        weedy: Share of the crops that are centred near a weed pixel.
        seed: Start of all chance.
        augment: How much the images are changed.
        paste: Share of the crops into which plants from elsewhere are pasted.
        levelled: Whether each band is scaled by its own statistics, as the card asks for.
    """

    count: int
    batch: int
    size_px: int
    weedy: float
    seed: int
    augment: AugmentConfig
    paste: float = 0.0
    levelled: bool = False


class Crops:
    """Batches of augmented crops from tile sets and orthos.

    Each batch has its own source of chance, made of the seed and its number, so that any of them can be made without
    those before it.
    """

    def __init__(self, sets: Sequence[CropSource], shares: Sequence[float], gsd: GsdRange, config: CropConfig):
        """Prepare.

        Args:
            sets: Where crops are drawn from.
            shares: Relative weight of each set.
            gsd: Range of ground sampling distances of the crops.
            config: How they are chosen.
        """
        self.config, self.gsd, self.sets = config, gsd, sets
        self.random = np.random.default_rng(config.seed)
        self.shares = np.array(shares, float) / float(np.sum(shares))
        self._plants: dict[tuple[int, str], tuple[np.ndarray, np.ndarray]] = {}
        self._moments: dict[tuple[int, str], Moments] = {}

    def __iter__(self) -> Iterator[Batch]:
        """The batches, from the first to the last."""
        return self.batches()

    def batches(self, first: int = 0) -> Iterator[Batch]:
        """The batches from number `first` on."""
        for number in range(first, self.config.count):
            self.random = np.random.default_rng((self.config.seed, number))
            chance = torch.Generator().manual_seed(int(self.random.integers(2**62)))
            crops = [self._one() for _ in range(self.config.batch)]
            images, labels, offsets, weights, ids = (torch.stack(parts) for parts in zip(*crops, strict=True))
            images = change_looks(images, self.config.augment, chance)
            yield Batch(images.contiguous(memory_format=torch.channels_last), labels, offsets, weights, ids)

    def _one(self) -> tuple[Tensor, ...]:
        random = self.random
        number = int(random.choice(len(self.shares), p=self.shares))
        source = self.sets[number]
        weedy = random.random() < self.config.weedy
        tile = source.draw(random, weedy)
        placing = self._place(tile, weedy)
        scene = self._cut(number, tile, placing)
        if random.random() < self.config.paste:
            other = source.draw(random, random.random() < 0.5)
            if other.instances is not None:
                scale = placing.scale * tile.gsd_m / other.gsd_m
                scene = paste_plants(scene, other, self._known(number, other), scale, random)
        if self.config.levelled:
            matrix = mixing(len(scene.image), self.config.augment.mix, random)
            scene = replace(scene, image=level_bands(scene.image, self._statistics(number, tile), matrix))
        offsets, weights = offset_targets(scene.ids, scene.centre, scene.radius)
        if random.random() < 0.5:
            mirror = torch.tensor([1.0, -1.0]).view(2, 1, 1)
            offsets, weights = offsets.flip(-1) * mirror, weights.flip(-1)
            scene = replace(scene, image=scene.image.flip(-1), labels=scene.labels.flip(-1), ids=scene.ids.flip(-1))
        return scene.image, scene.labels, offsets, weights, scene.ids

    def _place(self, tile: Tile, weedy: bool) -> Placing:
        random = self.random
        centre = random.random(2) * tile.labels.shape
        if weedy:
            places = np.flatnonzero(tile.labels == WEED)
            if places.size:
                centre = np.array(np.unravel_index(int(random.choice(places)), tile.labels.shape), float)
                centre += random.uniform(-0.4, 0.4, 2) * self.config.size_px
        gsd_m = math.exp(random.uniform(math.log(self.gsd.min_m), math.log(self.gsd.max_m)))
        gsd_m = gsd_m if random.random() < 0.5 else tile.gsd_m
        scale = float(np.clip(gsd_m / tile.gsd_m, 0.6, 2.0))
        place = float(centre[0]), float(centre[1])
        return Placing(place, scale, float(random.uniform(0, 360)), self.config.size_px)

    def _cut(self, number: int, tile: Tile, placing: Placing) -> Scene:
        ids = np.zeros_like(tile.labels, np.int32) if tile.instances is None else tile.instances.astype(np.int32)
        codes = torch.from_numpy(np.stack([tile.labels.astype(np.int32), ids]))
        image, (labels, plants) = sample_crop(unit_tensor(tile.image), codes, (NODATA, 0), placing)
        middle, radius = self._known(number, tile)
        return Scene(
            image, labels, plants, placing.back(torch.from_numpy(middle)), torch.from_numpy(radius) / placing.scale
        )

    def _statistics(self, number: int, tile: Tile) -> Moments:
        if tile.moments is not None:
            return tile.moments
        key = number, tile.name  # names are unique within a set
        if key not in self._moments:
            self._moments[key] = moments_of(tile.image)
        return self._moments[key]

    def _known(self, number: int, tile: Tile) -> tuple[np.ndarray, np.ndarray]:
        """(n + 1, 2) centre of every plant of a tile, and (n + 1,) its radius in pixels, 0 if it does not count."""
        if tile.instances is None:
            return np.zeros((1, 2), np.float32), np.zeros(1, np.float32)
        key = number, tile.name
        if key not in self._plants:
            if len(self._plants) >= _REMEMBERED:
                self._plants.clear()
            middle, area, whole = centres(tile.instances)
            self._plants[key] = middle.astype(np.float32), np.sqrt(area / math.pi).astype(np.float32) * whole
        return self._plants[key]


def offset_targets(ids: Tensor, centre: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
    """Where every pixel should point to.

    A wrong offset weighs as much as it is large against the plant, so that small weeds count like large crops.

    Args:
        ids: (S, S) plant ids, 0 is none; S is even.
        centre: (n + 1, 2) row and column of each plant's centre in pixels of the crop, may lie outside.
        radius: (n + 1,) its radius in pixels; 0 where the centre is not known.

    Returns:
        (2, S / 2, S / 2) offsets in pixels of half the resolution, and (S / 2, S / 2) weights.
    """
    coarse = ids[0::2, 0::2]
    coarse = torch.where(coarse > 0, coarse, ids[1::2, 1::2])
    steps = torch.arange(len(coarse), dtype=torch.float32)
    here = torch.stack(torch.meshgrid(steps, steps, indexing="ij"))
    there = ((centre - 0.5) / 2)[coarse].permute(2, 0, 1)
    offsets = there - here
    known = (coarse > 0) & (radius[coarse] > 0) & (offsets.abs().amax(dim=0) <= _LONGEST)
    weights = torch.where(known, 1 / (radius[coarse] / 2 + 2), torch.tensor(0.0))
    return torch.where(known, offsets, torch.tensor(0.0)), weights


def ahead(batches: Iterable[Batch], depth: int = 3) -> Iterator[Batch]:
    """The same batches in the same order, made ahead by one thread."""
    source = iter(batches)
    with ThreadPoolExecutor(1, "geoseg-crops") as pool:
        flight = deque(pool.submit(next, source, None) for _ in range(depth))
        while (item := flight.popleft().result()) is not None:
            flight.append(pool.submit(next, source, None))
            yield item
