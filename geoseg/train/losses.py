"""Losses on class scores. Pixels labelled 255 never count.

They are our own few lines where libraries' do something else with several classes: the focal loss of
segmentation-models-pytorch takes each class by itself through a sigmoid, which would spoil the probabilities that the
card promises. Its Lovász loss is used as it is.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.errors import ConfigError
from geoseg.legend import NODATA

__all__ = [
    "LOSSES",
    "balanced_weights",
    "cross_entropy",
    "cross_entropy_dice",
    "dice_loss",
    "focal_loss",
    "lovasz_loss",
    "offset_loss",
    "ohem_loss",
    "pixel_loss",
    "tversky_loss",
]

PLANTS = (1, 2)
"""Classes that count in the losses of overlap; soil, which is nearly everything, does not."""


def cross_entropy(scores: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean cross-entropy.

    Args:
        scores: (N, K, H, W) scores before the softmax.
        labels: (N, H, W) int64 class codes, 255 left out.
        weights: (K,) weight of each class's pixels, in the sum and in what it is divided by.
    """
    total = F.cross_entropy(scores.float(), labels, weights, ignore_index=NODATA, reduction="sum")
    known = labels != NODATA
    count = known.sum() if weights is None else (weights[labels * known] * known).sum()
    return total / count.clamp(min=1e-6)


def focal_loss(scores: Tensor, labels: Tensor, gamma: float = 2.0) -> Tensor:
    """Cross-entropy that weighs each pixel by how wrong it is, (1 - p) to the power of gamma.

    Args:
        scores: (N, K, H, W) scores before the softmax.
        labels: (N, H, W) int64 class codes, 255 left out.
        gamma: 0 is cross-entropy.

    Reference:
        Lin et al. 2017, https://arxiv.org/abs/1708.02002
    """
    entropy = F.cross_entropy(scores.float(), labels, ignore_index=NODATA, reduction="none")
    return ((1 - torch.exp(-entropy)) ** gamma * entropy).sum() / (labels != NODATA).sum().clamp(min=1)


def ohem_loss(scores: Tensor, labels: Tensor, share: float = 0.25) -> Tensor:
    """Mean cross-entropy of the hardest pixels (online hard example mining).

    Args:
        scores: (N, K, H, W) scores before the softmax.
        labels: (N, H, W) int64 class codes, 255 left out.
        share: Which part of the labelled pixels counts.

    Reference:
        Shrivastava et al. 2016, https://arxiv.org/abs/1604.03540
    """
    entropy = F.cross_entropy(scores.float(), labels, ignore_index=NODATA, reduction="none")[labels != NODATA]
    if not len(entropy):
        return scores.sum() * 0
    return entropy.topk(max(1, round(share * len(entropy)))).values.mean()


def tversky_loss(
    scores: Tensor, labels: Tensor, classes: tuple[int, ...] = PLANTS, alpha: float = 0.3, beta: float = 0.7
) -> Tensor:
    """1 - Tversky index over the batch, mean over `classes`; by default misses weigh more than inventions.

    Args:
        scores: (N, K, H, W) scores before the softmax.
        labels: (N, H, W) int64 class codes, 255 left out.
        classes: Which classes count.
        alpha: Weight of false positives.
        beta: Weight of false negatives; 0.5 for both is the Dice loss.

    Reference:
        Salehi et al. 2017, https://arxiv.org/abs/1706.05721
    """
    known = labels != NODATA
    probabilities = scores.float().softmax(dim=1)
    losses = []
    for code in classes:
        found = probabilities[:, code] * known
        truth = ((labels == code) & known).float()
        hit = (found * truth).sum()
        missed, invented = truth.sum() - hit, found.sum() - hit
        losses.append(1 - (hit + 0.5) / (hit + alpha * invented + beta * missed + 0.5))
    return torch.stack(losses).mean()


def dice_loss(scores: Tensor, labels: Tensor, classes: tuple[int, ...] = PLANTS) -> Tensor:
    """1 - Dice coefficient over the batch, mean over `classes`.

    Args:
        scores: (N, K, H, W) scores before the softmax.
        labels: (N, H, W) int64 class codes, 255 left out.
        classes: Which classes count.

    Reference:
        Milletari et al. 2016, https://doi.org/10.1109/3DV.2016.79
    """
    return tversky_loss(scores, labels, classes, 0.5, 0.5)


def cross_entropy_dice(scores: Tensor, labels: Tensor, dice: float = 1.0) -> Tensor:
    """Cross-entropy plus Dice.

    Args:
        scores: (N, K, H, W) scores before the softmax.
        labels: (N, H, W) int64 class codes, 255 left out.
        dice: Weight of the Dice term.
    """
    return cross_entropy(scores, labels) + dice * dice_loss(scores, labels)


def lovasz_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """The Lovász extension of 1 - IoU, mean over the classes that are there.

    Args:
        scores: (N, K, H, W) scores before the softmax.
        labels: (N, H, W) int64 class codes, 255 left out.

    Raises:
        ConfigError: If segmentation-models-pytorch is not installed.

    Reference:
        Berman et al. 2018, https://arxiv.org/abs/1705.08790
    """
    if not (labels != NODATA).any():
        return scores.sum() * 0
    try:
        from segmentation_models_pytorch.losses import LovaszLoss
    except ImportError as error:
        raise ConfigError("loss: lovasz needs pip install 'geoseg[zoo]'; or choose another loss") from error
    found: Tensor = LovaszLoss("multiclass", ignore_index=NODATA)(scores.float(), labels)
    return found


LOSSES: dict[str, Callable[..., Tensor]] = {
    "ce_dice": cross_entropy_dice,
    "ce": cross_entropy,
    "weighted_ce": cross_entropy,
    "focal": focal_loss,
    "dice": dice_loss,
    "lovasz": lovasz_loss,
    "tversky": tversky_loss,
    "ohem": ohem_loss,
}


def pixel_loss(name: str, weights: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss of scores and labels.

    Args:
        name: One of `LOSSES`.
        weights: (K,) weight of each class, for the losses that are weighted.
    """
    loss = LOSSES[name]
    return (lambda scores, labels: loss(scores, labels, weights)) if name == "weighted_ce" else loss


def balanced_weights(pixels: Tensor) -> Tensor:
    """Weights that make every class count the same: all pixels / (classes x pixels of the class), 1 where it is absent.

    Args:
        pixels: (K,) labelled pixels of each class.

    Reference:
        King and Zeng 2001, https://doi.org/10.1093/oxfordjournals.pan.a004868
    """
    weights = pixels.sum() / (len(pixels) * pixels.clamp(min=1))
    return torch.where(pixels > 0, weights, torch.ones_like(weights)).float()


def offset_loss(found: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean distance, along both axes, between the plant offsets that are found and those that are wanted.

    Args:
        found: (N, 2, h, w) offsets in pixels.
        wanted: (N, 2, h, w).
        weights: (N, h, w), 0 where nothing is wanted.
    """
    distance = (found.float() - wanted).abs().sum(dim=1)
    return (distance * weights).sum() / (weights > 0).sum().clamp(min=1)
