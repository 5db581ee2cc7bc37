"""What a person may say about plants. Knows lengths in metres, and turns them into pixels for those who group."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from geoseg.errors import ConfigError
from geoseg.segment.splitting import Splitting
from geoseg.segment.voting import Voting

__all__ = ["OFFSET_LIMIT", "PlantConfig"]

OFFSET_LIMIT = 127
"""Longest offset that is stored, in pixels of the offsets' grid."""
_DEPTH = 0.5
"""How deep the saddle between two middles must be, as a share of the smaller one's distance from the edge."""


@dataclass(frozen=True)
class PlantConfig:
    """What counts (YAML section ``plants``).

    Attributes:
        method: How vegetation is grouped into plants: offsets (the network points to each plant's centre), watershed
            (regions are cut where they are narrow), components (connected regions as they are), or auto: offsets where
            the model gives them, else watershed.
        min_plant_m2: Smallest crop plant, square metres.
        min_weed_m2: Smallest weed plant, square metres; None: as min_plant_m2.
        min_patch_m2: Smallest weed region that is a patch, square metres. 0 keeps the last pixel: a weed that is left
            out here is not reported, and the prescription counts pixels anyway.
        max_plant_m: Largest extent of a plant, for offsets; what reaches farther from its centre than half of it is
            reported.
        scatter_m: How far votes for one centre scatter, for offsets.
        separation: Two centres nearer than this times the mean offset around them are one plant, for offsets.
        apart_m: Smallest distance between the centres of touching plants, for watershed.
        panoptic: Also write ``panoptic.tif``, the number of each pixel's plant, and ``panoptic.csv``.
        geoparquet: Also write ``plants.parquet``.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    method: Literal["auto", "offsets", "watershed", "components"] = "auto"
    min_plant_m2: float = 0.0002
    min_weed_m2: float | None = None
    min_patch_m2: float = 0.0
    max_plant_m: float = 1.0
    scatter_m: float = 0.03
    separation: float = 1.0
    apart_m: float = 0.16
    panoptic: bool = False
    geoparquet: bool = False

    def __post_init__(self) -> None:
        """Refuse values that make no sense.

        Raises:
            ConfigError: If one is negative, no number or out of its range.
        """
        for name in ("min_plant_m2", "min_weed_m2", "min_patch_m2"):
            value = getattr(self, name)
            if value is not None and not (value >= 0 and math.isfinite(value)):
                raise ConfigError(f"plants.{name} is {value}; expected square metres, 0 or more")
        limits = {
            "max_plant_m": (0.01, 100, "metres, 0.01 to 100"),
            "scatter_m": (0.001, 1, "metres, 0.001 to 1"),
            "separation": (0.0, 2.0, "a share of the mean offset, 0 to 2"),
            "apart_m": (0.001, 100, "metres, 0.001 to 100"),
        }
        for name, (low, high, expected) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"plants.{name} is {value}; expected {expected}")

    @property
    def least_weed_m2(self) -> float:
        """Smallest weed plant, square metres."""
        return self.min_plant_m2 if self.min_weed_m2 is None else self.min_weed_m2

    def voting(self, gsd_m: float) -> Voting:
        """How votes are counted on a grid with pixels of twice `gsd_m`."""
        pixel_m = 2 * gsd_m
        longest = int(np.clip(round(self.max_plant_m / 2 / pixel_m), 1, OFFSET_LIMIT))
        sigma = float(np.clip(self.scatter_m / pixel_m, 0.5, 24))
        return Voting(sigma, self.separation, longest, reach_px=max(longest // 2, math.ceil(3 * sigma)))

    def splitting(self, gsd_m: float) -> Splitting:
        """How regions are cut on a grid with pixels of `gsd_m`."""
        return Splitting(_DEPTH, self.apart_m / gsd_m)
