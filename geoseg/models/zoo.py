"""Architectures by name.

A card names one of these and nothing else, so that loading a model cannot run foreign code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from geoseg.errors import ModelError
from geoseg.models.unet import UNet

__all__ = ["ARCHITECTURES", "build", "tiny"]


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


ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {"unet": UNet, "tiny": tiny}


def build(name: str, params: Mapping[str, Any], bands: int, classes: int) -> nn.Module:
    """A network with random weights.

    Args:
        name: One of `ARCHITECTURES`.
        params: Further arguments of the architecture.
        bands: Number of input bands.
        classes: Number of classes.

    Raises:
        ModelError: If the name is not known or the arguments do not fit.
    """
    if name not in ARCHITECTURES:
        raise ModelError(f"architecture {name!r} is not known; expected one of {', '.join(ARCHITECTURES)}")
    try:
        return ARCHITECTURES[name](bands=bands, classes=classes, **params)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"architecture {name!r} does not take {dict(params)}: {error}") from error
