"""What a training makes small."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from geoseg.models.card import ModelCard
from geoseg.models.reduce import scores_of
from geoseg.train.crops import Batch
from geoseg.train.losses import balanced_weights, offset_loss, pixel_loss
from geoseg.train.sets import CropSource
from geoseg.train.settings import TrainConfig

__all__ = ["Objective", "make_objective"]

Objective = Callable[[nn.Module, Tensor, Batch], Tensor]


def make_objective(config: TrainConfig, card: ModelCard, sets: Sequence[CropSource], device: torch.device) -> Objective:
    """A loss by name and that of the plant offsets, or the loss that the network brings itself.

    Args:
        config: What to train on what.
        card: Card of the network.
        sets: What is trained on, for the weights of the classes.
        device: Where the network is.

    Returns:
        A function of the network, (N, C, S, S) images in 0..1 on the device, and the batch that they are of.
    """
    shares = np.array([one.share for one in config.sets]) / sum(one.share for one in config.sets)
    pixels = sum(share * one.pixels / max(1, one.pixels.sum()) for share, one in zip(shares, sets, strict=True))
    by_pixel = pixel_loss(config.loss, balanced_weights(torch.as_tensor(pixels * 1e6)).to(device))
    mean, std = (torch.tensor(values, device=device).view(1, -1, 1, 1) for values in (card.mean, card.std))

    def objective(network: nn.Module, images: Tensor, batch: Batch) -> Tensor:
        images, labels = (images - mean) / std, batch.labels.to(device)
        own: Callable[..., Tensor] | None = getattr(network, "loss", None)
        if own is not None:
            return own(images, labels, batch.instances.to(device))
        output = network(images)
        loss = by_pixel(scores_of(output), labels)
        if isinstance(output, Tensor):
            return loss
        pointing = offset_loss(output[1], batch.offsets.to(device), batch.weights.to(device))
        return loss + config.offset_weight * pointing

    return objective
