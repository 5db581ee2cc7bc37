"""A network taught by labels that are partly wrong, and stopped when it no longer gets better on what is held out.

The loss is the generalised cross-entropy: between cross-entropy, which learns every wrong label by heart in the end,
and mean absolute error, which ignores what it cannot explain. The mean over a crop is taken before that over a batch,
so a crop with a few clicks weighs as much as one full of labels.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from geoseg.adapt.balance import View
from geoseg.errors import ConfigError
from geoseg.legend import NODATA
from geoseg.models.card import GsdRange, ModelCard
from geoseg.models.reduce import scores_of
from geoseg.models.storage import TorchSegmenter, channels_last, pick_device
from geoseg.progress import bar
from geoseg.segment.forward import mirrored_up
from geoseg.train.augment import AugmentConfig
from geoseg.train.crops import Batch, CropConfig, Crops, ahead
from geoseg.train.losses import balanced_weights, dice_loss
from geoseg.train.sets import CropSource
from geoseg.train.updates import adamw, follow

__all__ = ["TuneConfig", "Tuned", "class_weights", "generalised_cross_entropy", "network_classes", "tune"]


@dataclass(frozen=True)
class TuneConfig:
    """How the network is taught.

    Attributes:
        steps: Number of updates at most.
        batch: Crops per update.
        crop_px: Side of a crop.
        rate: Learning rate of the decoder at its highest.
        encoder_rate: The encoder's, as a share of that.
        robustness: q of the generalised cross-entropy: 0 is cross-entropy, 1 mean absolute error.
        balance: A pixel weighs as its class's share of the labels to the power of minus this: 0 all alike, 1 each class
            alike. A robust loss takes what is rare for wrong: without balance the weeds are soon unlearnt.
        dice: Weight of the Dice term.
        weedy: Share of the crops that are centred near a weed pixel.
        validate_every: Steps between looks at what is held out.
        patience: Looks without a better one after which it ends.
        average: Decay of the moving average of the weights.
        augment: How much the images are changed.
        seed: The same seed gives the same weights on the CPU.
        device: ``auto``, ``cpu`` or ``cuda``.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    steps: int = 200
    batch: int = 4
    crop_px: int = 256
    rate: float = 1e-3
    encoder_rate: float = 0.2
    robustness: float = 0.5
    balance: float = 0.5
    dice: float = 0.5
    weedy: float = 0.5
    validate_every: int = 30
    patience: int = 5
    average: float = 0.95
    augment: AugmentConfig = field(default_factory=lambda: AugmentConfig(brightness=0.12, channel=0.05, contrast=0.1))
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: If a number does not fit.
        """
        if min(self.steps, self.batch, self.crop_px, self.validate_every, self.patience) < 1:
            raise ConfigError("adapt.tune: steps, batch, crop_px, validate_every and patience must be 1 or more")
        if not 0 <= self.robustness <= 1:
            raise ConfigError(f"adapt.tune.robustness is {self.robustness}; expected 0 to 1")
        if not 0 <= self.balance <= 1:
            raise ConfigError(f"adapt.tune.balance is {self.balance}; expected 0 to 1")


@dataclass
class Tuned:
    """What came out.

    Attributes:
        module: The network of the best look.
        score: Its score.
        step: When that was.
        looks: Step and score of every look, from step 0.
    """

    module: nn.Module
    score: float
    step: int
    looks: list[tuple[int, float]]


def generalised_cross_entropy(scores: Tensor, labels: Tensor, q: float, weights: Tensor | None = None) -> Tensor:
    """(1 - p ** q) / q of the label's probability p; mean over the labelled pixels of each image, then over images.

    Args:
        scores: (N, K, H, W) scores before the softmax.
        labels: (N, H, W) int64 class codes, 255 left out.
        q: 0 to 1; 0 is cross-entropy.
        weights: (K,) what a pixel of each class weighs; None: all alike.

    Reference:
        Zhang and Sabuncu 2018, arXiv 1805.07836
    """
    known = labels != NODATA
    codes = torch.where(known, labels, 0)
    log_p = scores.float().log_softmax(dim=1).gather(1, codes[:, None])[:, 0]
    loss = -log_p if q == 0 else -torch.expm1(q * log_p) / q
    weight = known.float() if weights is None else known * weights[codes]
    each = (loss * weight).sum(dim=(1, 2)) / weight.sum(dim=(1, 2)).clamp(min=1e-6)
    return each.sum() / known.any(dim=2).any(dim=1).sum().clamp(min=1)


def class_weights(sets: Sequence[CropSource], balance: float) -> Tensor:
    """(K,) what a pixel of each class weighs, 1 for the most frequent one.

    Args:
        sets: What is learnt from.
        balance: Power of the share of a class.
    """
    weights = balanced_weights(torch.as_tensor(sum(one.pixels for one in sets), dtype=torch.float64))
    return (weights / weights.min()) ** balance


def network_classes(card: ModelCard, module: nn.Module, device: str = "auto") -> Callable[[View], NDArray[np.uint8]]:
    """A function from a view to the (H, W) classes that a network gives it."""
    segmenter = TorchSegmenter(card, module, pick_device(device))

    def classes(view: View) -> NDArray[np.uint8]:
        height, width = view.valid.shape
        image = mirrored_up(view.image, card.tiling.stride_px)
        return segmenter.classify(image[None])[0][0, :height, :width]

    return classes


def tune(
    card: ModelCard,
    module: nn.Module,
    sets: Sequence[CropSource],
    shares: Sequence[float],
    config: TuneConfig,
    score: Callable[[nn.Module], float],
) -> Tuned:
    """Teach a network.

    Args:
        card: Its card.
        module: The network as it is; not changed.
        sets: What to draw crops from.
        shares: Relative weight of each.
        config: How.
        score: Of a network on what is held out; higher is better.
    """
    torch.manual_seed(config.seed)
    device = pick_device(config.device)
    network = channels_last(copy.deepcopy(module), device)
    average = copy.deepcopy(network).eval()
    optimizer, schedule = _optimizer(network, config)
    weights = class_weights(sets, config.balance).to(device)
    mean, std = (torch.tensor(values, device=device).view(1, -1, 1, 1) for values in (card.mean, card.std))
    first = score(average)
    best = Tuned(copy.deepcopy(average).cpu(), first, 0, [(0, first)])
    gsd = GsdRange(**card.gsd.model_dump())
    crops = Crops(sets, shares, gsd, CropConfig(
        config.steps, config.batch, config.crop_px, config.weedy, config.seed, config.augment))  # fmt: skip
    with bar("adapt", config.steps, "step") as progress:
        for step, batch in enumerate(ahead(crops), start=1):
            _update(network, batch, optimizer, config, (mean, std, weights))
            schedule.step()
            follow(average, network, min(config.average, step / (step + 5)))
            progress.update()
            if step % config.validate_every == 0 or step == config.steps:
                value = score(average)
                best.looks.append((step, value))
                if value > best.score:
                    best.module, best.score, best.step = copy.deepcopy(average).cpu(), value, step
                progress.set_postfix(score=f"{value:.3f}")
                if step - best.step >= config.patience * config.validate_every:
                    break
    return best


def _update(
    network: nn.Module,
    batch: Batch,
    optimizer: torch.optim.Optimizer,
    config: TuneConfig,
    fixed: tuple[Tensor, Tensor, Tensor],
) -> None:
    network.train()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()  # statistics of a few crops are worse than those of the training
    mean, std, weights = fixed
    output = scores_of(network((batch.images.to(mean.device) - mean) / std))
    labels = batch.labels.to(mean.device)
    loss = generalised_cross_entropy(output, labels, config.robustness, weights)
    if config.dice:
        loss = loss + config.dice * dice_loss(output, labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def _optimizer(network: nn.Module, config: TuneConfig) -> tuple[torch.optim.Optimizer, Any]:
    optimizer = adamw(network, config.rate, config.encoder_rate, 1e-3)

    def factor(step: int) -> float:
        return min((step + 1) / 10, 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(step / config.steps, 1.0))))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
