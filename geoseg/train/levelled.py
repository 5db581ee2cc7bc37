"""Tiles as a model sees them that scales each band by its own statistics (`scaling: ortho` on its card).

A tile is taken for an ortho of its own; a window of an ortho has the ortho's statistics. For training, bands are mixed
as well: nothing may depend on which band is which. What a plant looks like in a band that nobody has labelled, near
infrared above all, is not known from red, green and blue; but next to soil it is brighter or darker, much or little,
and random mixtures of brightness and colour make all of these.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from geoseg.models.card import ModelCard
from geoseg.ortho.bands import full_scale
from geoseg.ortho.levels import SPREAD, apply_levels
from geoseg.train.tiles import Moments, Tile, check_bands

__all__ = ["level_bands", "mixing", "model_image", "moments_of"]

_ORDERED = 0.4
_STRONGEST = 5.0
_LEAST = 1e-8  # of the variance: a band may be the same everywhere


def moments_of(image: np.ndarray) -> Moments:
    """Mean of each band and their covariance, over the pixels of a (C, ...) image that are not black in all bands.

    Args:
        image: uint8, or float in 0..1.
    """
    pixels = image.reshape(len(image), -1)
    pixels = pixels[:, pixels.any(axis=0)].astype(np.float64) / full_scale(image.dtype)
    if pixels.shape[1] < 2:
        pixels = np.array([[0.0, 1.0]] * len(image))
    covariance = np.cov(pixels).reshape(len(image), len(image)) + np.eye(len(image)) * _LEAST
    return Moments(pixels.mean(axis=1), covariance)


def model_image(tile: Tile, card: ModelCard) -> np.ndarray:
    """(C, H, W) uint8: the tile's image on the scale that a model's card asks for.

    Raises:
        LabelError: If the tile has not as many bands as the card.
    """
    check_bands(tile, len(card.bands))
    if card.scaling == "fixed":
        return tile.image
    moments = tile.moments or moments_of(tile.image)
    full, half = full_scale(tile.image.dtype), SPREAD * np.sqrt(np.diag(moments.covariance))
    low, high = (moments.mean - half) * full, (moments.mean + half) * full
    levels = tuple(zip(low.tolist(), high.tolist(), strict=True))
    return apply_levels(tile.image, levels)


def mixing(bands: int, share: float, random: np.random.Generator) -> np.ndarray:
    """(C, C) weights of the bands of a file in those that a network sees.

    Two fifths of the changed ones have their bands in another order only. In the others each band is one of the old
    ones, more or less strongly changed by differences of bands: it answers to light as before and to colour anew.

    Args:
        bands: Number of bands.
        share: How often bands are changed at all.
        random: Source of randomness.
    """
    matrix = np.eye(bands)
    if random.random() >= share:
        return matrix
    matrix = matrix[random.permutation(bands)]
    kind, strength = random.random(), _STRONGEST * random.random() ** 2
    differences = random.normal(size=(bands, bands))
    differences -= differences.mean(axis=1, keepdims=True)
    return matrix if kind < _ORDERED else matrix + strength * differences


def level_bands(image: Tensor, moments: Moments, matrix: np.ndarray) -> Tensor:
    """The mixed bands on the scale of `geoseg.ortho.levels`, which follows from the moments of the plain ones.

    Args:
        image: (C, H, W) float in 0..1.
        moments: Of the whole ortho, or tile.
        matrix: (C, C) weights.

    Returns:
        (C, H, W) float in 0..1.
    """
    spread = np.sqrt(np.diag(matrix @ moments.covariance @ matrix.T))
    weights = matrix / (2 * SPREAD * spread[:, None])
    offset = 0.5 - weights @ moments.mean
    mixed = torch.einsum("ij,jhw->ihw", torch.from_numpy(weights).float(), image)
    return (mixed + torch.from_numpy(offset).float().view(-1, 1, 1)).clamp(0, 1)
