"""What a network gives to classes, confidence and plant offsets on the device: few bytes per pixel leave it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["reduce_offsets", "reduce_output", "reduce_probabilities", "scores_of"]

_FARTHEST = 127.0


def scores_of(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The class scores in what a network gives."""
    return output if isinstance(output, Tensor) else output[0]


def reduce_output(output: Tensor | tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """Classes and confidence, and plant offsets where the network gives them.

    Args:
        output: (N, K, H, W) scores, or these and (N, 2, H / 2, W / 2) offsets.

    Returns:
        (N, H, W) uint8 class codes, (N, H, W) uint8 percent and, if there are any, (N, 2, H / 2, W / 2) int8 offsets.
    """
    scores, *rest = (output,) if isinstance(output, Tensor) else output
    classes, percent = reduce_probabilities(scores.float().softmax(dim=1))
    return (classes, percent, *(reduce_offsets(classes, offsets) for offsets in rest))


def reduce_offsets(classes: Tensor, offsets: Tensor) -> Tensor:
    """Offsets in whole pixels of half the resolution, at most 127, and zero where there is neither crop nor weed.

    Args:
        classes: (N, H, W) uint8 class codes.
        offsets: (N, 2, H / 2, W / 2) float.

    Returns:
        (N, 2, H / 2, W / 2) int8.
    """
    green = F.max_pool2d(classes.float().unsqueeze(1), 2).clamp(0, 1)
    return (torch.round(offsets.float()).clamp(-_FARTHEST, _FARTHEST) * green).to(torch.int8)


def reduce_probabilities(probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """Classes and confidence in percent, as `geoseg.segment.forward.classify` gives them; of equals the first wins.

    Args:
        probabilities: (N, K, H, W) float in 0..1.

    Returns:
        (N, H, W) uint8 class codes and (N, H, W) uint8 percent.
    """
    best = probabilities[:, 0]
    codes = torch.zeros_like(best)
    for code in range(1, probabilities.shape[1]):
        score = probabilities[:, code]
        codes = torch.where(score > best, torch.full_like(best, float(code)), codes)
        best = torch.maximum(best, score)
    percent = torch.round(best.float() * 100).clamp(0, 100)
    return codes.to(torch.uint8), percent.to(torch.uint8)
