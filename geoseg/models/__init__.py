"""Models: what they need and promise, the networks, and how they are kept on disk. Torch is imported on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from geoseg.models.card import GsdRange, ModelCard, Segmenter, Tiling

if TYPE_CHECKING:
    from geoseg.models.storage import TorchSegmenter as TorchSegmenter
    from geoseg.models.storage import load as load
    from geoseg.models.storage import save as save

__all__ = ["GsdRange", "ModelCard", "Segmenter", "Tiling", "TorchSegmenter", "load", "save"]

_LAZY = {"load": "geoseg.models.storage", "save": "geoseg.models.storage", "TorchSegmenter": "geoseg.models.storage"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'geoseg.models' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
