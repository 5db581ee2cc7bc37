"""Plants and weed patches of a class raster, by today's simple rule. Knows areas and classes, not files of results.

Every connected crop region of at least `min_plant_m2` is a plant, and every connected weed region of at least
`min_patch_m2` is a patch; what is too small is counted and left out. Plants whose leaves touch are one plant here.
An id is the place of the first pixel in the raster, so it does not depend on windows, blocks or order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import shapely

from geoseg.errors import ConfigError
from geoseg.legend import CROP, LEGEND, WEED
from geoseg.vectors import Component, ComponentBatch, PixelGrid, batches, pixel_grid

__all__ = ["InstanceStats", "PlantConfig", "PlantStats", "Sink", "collect", "owner_block"]


@dataclass(frozen=True)
class PlantConfig:
    """What counts (YAML section ``plants``).

    Attributes:
        min_plant_m2: Smallest crop region that is a plant, square metres.
        min_patch_m2: Smallest weed region that is a patch, square metres. 0 keeps the last pixel: a weed that is left
            out here is not reported, and the prescription counts pixels anyway.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    min_plant_m2: float = 0.0002
    min_patch_m2: float = 0.0

    def __post_init__(self) -> None:
        """Refuse values that make no sense.

        Raises:
            ConfigError: If an area is negative or no number.
        """
        for name in ("min_plant_m2", "min_patch_m2"):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise ConfigError(f"plants.{name} is {value}; expected square metres, 0 or more")


class Sink(Protocol):
    """Where features go: anything that takes them layer by layer, such as `geoseg.export.geopackage.FieldPackage`."""

    def append(self, layer: str, columns: Mapping[str, Any], geometry: Any) -> None:
        """Add features to a layer."""


@dataclass(frozen=True)
class InstanceStats:
    """What became of the regions of one class.

    Attributes:
        candidates: Connected regions found.
        kept: Those that count.
        dropped_small: Those below the smallest area.
        area_m2: Area of those that count.
        dropped_area_m2: Area of those that do not.
    """

    candidates: int
    kept: int
    dropped_small: int
    area_m2: float
    dropped_area_m2: float


@dataclass(frozen=True)
class PlantStats:
    """What `collect` found.

    Attributes:
        plants: Crop regions.
        weeds: Weed regions.
        mean_plant_m2: Mean area of a plant; None without plants.
        gsd_m: Side of a pixel, metres.
    """

    plants: InstanceStats
    weeds: InstanceStats
    mean_plant_m2: float | None
    gsd_m: float


def collect(
    classes: Path | str, confidence: Path | str | None, config: PlantConfig, sink: Sink, *, block_px: int = 2048
) -> PlantStats:
    """Plants, their outlines and weed patches, sent to `sink`; gives back what was found.

    Layers ``plants``, ``plant_outlines`` and ``weeds`` receive the features of one strip of the raster at a time, in
    the order of ids.

    Args:
        classes: Class raster in a CRS with metres, feet or none.
        confidence: Confidence raster on the same grid, or None.
        config: What counts.
        sink: Where the features go.
        block_px: Side of the blocks that are read. Changes the order of the features and nothing else.

    Raises:
        InputError: If a raster cannot be used, or its CRS is in degrees.
    """
    grid = pixel_grid(classes)
    plants, weeds = _Tally(config.min_plant_m2 / grid.pixel_m2), _Tally(config.min_patch_m2 / grid.pixel_m2)
    for batch in batches(classes, codes=(CROP, WEED), block_px=block_px, confidence=confidence):
        crop = plants.sift(batch.select(batch.code == CROP))
        weed = weeds.sift(batch.select(batch.code == WEED))
        if len(crop):
            _send_plants(sink, crop, grid)
        if len(weed):
            columns = {"patch_id": weed.id, "area_m2": weed.area_px * grid.pixel_m2, "confidence": weed.confidence}
            sink.append("weeds", columns, weed.geometry)
    found = plants.stats(grid.pixel_m2)
    mean_plant_m2 = found.area_m2 / found.kept if found.kept else None
    return PlantStats(found, weeds.stats(grid.pixel_m2), mean_plant_m2, math.sqrt(grid.pixel_m2))


def owner_block(component: Component, block_px: int) -> tuple[int, int]:
    """The block (row, col in blocks) that owns a component: the one that holds its centre pixel.

    Every pixel is in exactly one block, so every component has exactly one owner.

    Raises:
        ValueError: If `block_px` is not positive.
    """
    if block_px <= 0:
        raise ValueError(f"block_px is {block_px}; expected a positive number of pixels")
    row, col = component.centre
    return row // block_px, col // block_px


def _send_plants(sink: Sink, crop: ComponentBatch, grid: PixelGrid) -> None:
    x, y = grid.centres(crop.centroid)
    area_m2 = crop.area_px * grid.pixel_m2
    shared = {
        "plant_id": crop.id,
        "class": np.full(len(crop), LEGEND[CROP].name, dtype=object),
        "area_m2": area_m2,
        "confidence": crop.confidence,
    }
    points = shared | {"x": x, "y": y, "diameter_m": np.sqrt(4 / math.pi * area_m2)}
    sink.append("plants", points, shapely.points(x, y))
    sink.append("plant_outlines", shared, crop.geometry)


class _Tally:
    """Counts the regions of one class and sifts out the small ones."""

    def __init__(self, min_px: float) -> None:
        # A region of exactly the smallest area counts, also where the division by the pixel's area rounds up.
        self._min_px = min_px * (1 - 1e-9)
        self._kept = self._kept_px = self._dropped = self._dropped_px = 0

    def sift(self, batch: ComponentBatch) -> ComponentBatch:
        """The regions that count."""
        large = batch.area_px >= self._min_px
        self._kept += int(np.count_nonzero(large))
        self._kept_px += int(batch.area_px[large].sum())
        self._dropped += int(np.count_nonzero(~large))
        self._dropped_px += int(batch.area_px[~large].sum())
        return batch if large.all() else batch.select(large)

    def stats(self, pixel_m2: float) -> InstanceStats:
        """The counts so far."""
        return InstanceStats(
            candidates=self._kept + self._dropped,
            kept=self._kept,
            dropped_small=self._dropped,
            area_m2=self._kept_px * pixel_m2,
            dropped_area_m2=self._dropped_px * pixel_m2,
        )
