"""Class probabilities to classes and confidence on the device: two bytes per pixel leave it instead of twelve."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["reduce_probabilities"]


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
