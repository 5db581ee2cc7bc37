"""Losses on class scores. Pixels labelled 255 never count."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.legend import NODATA

__all__ = ["cross_entropy_dice", "dice_loss", "offset_loss"]


def dice_loss(scores: Tensor, labels: Tensor, classes: tuple[int, ...] = (1, 2)) -> Tensor:
    """1 - Dice coefficient over the batch, mean over `classes`.

    Args:
        scores: (N, K, H, W) scores before the softmax.
        labels: (N, H, W) int64 class codes, 255 left out.
        classes: Which classes count; soil, which is nearly everything, usually does not.

    Reference:
        Milletari et al. 2016, https://doi.org/10.1109/3DV.2016.79
    """
    known = labels != NODATA
    probabilities = scores.float().softmax(dim=1)
    losses = []
    for code in classes:
        found = probabilities[:, code] * known
        truth = ((labels == code) & known).float()
        losses.append(1 - (2 * (found * truth).sum() + 1) / (found.sum() + truth.sum() + 1))
    return torch.stack(losses).mean()


def cross_entropy_dice(scores: Tensor, labels: Tensor, dice: float = 1.0) -> Tensor:
    """Cross-entropy plus Dice.

    Args:
        scores: (N, K, H, W) scores before the softmax.
        labels: (N, H, W) int64 class codes, 255 left out.
        dice: Weight of the Dice term.
    """
    entropy = F.cross_entropy(scores.float(), labels, ignore_index=NODATA, reduction="sum")
    entropy = entropy / (labels != NODATA).sum().clamp(min=1)
    return entropy + dice * dice_loss(scores, labels)


def offset_loss(found: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean distance, along both axes, between the plant offsets that are found and those that are wanted.

    Args:
        found: (N, 2, h, w) offsets in pixels.
        wanted: (N, 2, h, w).
        weights: (N, h, w), 0 where nothing is wanted.
    """
    distance = (found.float() - wanted).abs().sum(dim=1)
    return (distance * weights).sum() / (weights > 0).sum().clamp(min=1)
