"""What is evaluated and how: settings of the scores, and labels with predictions on one grid."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np

from geoseg.errors import ConfigError
from geoseg.spray.rules import SprayConfig
from geoseg.windows import Rect

__all__ = ["EvaluateConfig", "Opened", "Pair", "Patch"]


@dataclass(frozen=True)
class EvaluateConfig:
    """How scores are taken (`geoseg evaluate --set KEY=VALUE`).

    Attributes:
        block_m: Side of the blocks over which is resampled and in which plants are counted, metres; by itself 2 m,
            halved until there are ten blocks.
        tolerance_m: Farthest distance at which an edge counts as hit, metres; at least one pixel.
        min_object_m2: Smaller regions are no plants, in labels and prediction, square metres.
        bins: Bins of the confidence.
        weed_recall: Share of the weed area that must be reached where litres saved are told.
        resamples: Draws of the bootstrap; 0 leaves intervals out.
        level: Probability that the intervals cover.
        seed: Of the bootstrap.
        worst: Blocks that are drawn as the worst.
        spray: The machine and its rule. The buffer is 0 unless said otherwise: it covers errors of position, and
            labels and prediction lie on the same pixels.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    block_m: float | None = None
    tolerance_m: float = 0.01
    min_object_m2: float = 1e-4
    bins: int = 20
    weed_recall: float = 0.95
    resamples: int = 500
    level: float = 0.95
    seed: int = 0
    worst: int = 8
    spray: SprayConfig = field(default_factory=lambda: SprayConfig(buffer_m=0.0, unseen="skip"))

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ConfigError: With the name, the value and what is expected.
        """
        for name in ("block_m", "bins"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected more than 0")
        for name in ("tolerance_m", "min_object_m2", "resamples", "worst"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected 0 or more")
        for name in ("weed_recall", "level"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected a share between 0 and 1")


@dataclass(frozen=True)
class Patch:
    """Labels and prediction of a rectangle.

    Attributes:
        labels: (H, W) uint8; 255 is left out.
        classes: (H, W) uint8 predicted; 255 is left out.
        confidence: (H, W) uint8 percent, or None.
        truth_ids: (H, W) ids of the labelled plants over the whole raster, 0 is none; None: connected regions.
        found_ids: The same of the prediction.
    """

    labels: np.ndarray
    classes: np.ndarray
    confidence: np.ndarray | None = None
    truth_ids: np.ndarray | None = None
    found_ids: np.ndarray | None = None


class Opened(Protocol):
    """Labels and prediction on one grid, read rectangle by rectangle."""

    def read(self, rect: Rect) -> Patch:
        """What lies in a rectangle inside the grid."""
        ...

    def image(self, rect: Rect) -> np.ndarray | None:
        """(3, H, W) uint8 picture of a rectangle for people, or None."""
        ...


class Pair(Protocol):
    """Labels and prediction that can be opened.

    Attributes:
        name: Name for people.
        source: Pairs of one source are scored together.
        gsd_m: Metres per pixel.
        shape: (height, width).
    """

    name: str
    source: str
    gsd_m: float
    shape: tuple[int, int]

    def open(self) -> AbstractContextManager[Opened]:
        """The rasters, opened."""
        ...
