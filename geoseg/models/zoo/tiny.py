"""The teaching network, which fits on a slide."""

from __future__ import annotations

from torch import nn

__all__ = ["tiny"]


def tiny(bands: int = 3, classes: int = 3) -> nn.Module:
    """The three-layer teaching network: convolve, pool, enlarge, classify. Fast, and good for tests and talks.

    Args:
        bands: Number of input bands.
        classes: Number of classes.
    """
    return nn.Sequential(
        nn.Conv2d(bands, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
        nn.Conv2d(16, classes, 1),
    )
