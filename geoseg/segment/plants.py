"""Plants and weed patches of a run: what counts, and where it is written. Knows areas and classes, not how to group.

Vegetation is grouped into plants by the network's offsets, by cutting regions, or not at all (`instances`); crop and
weed plants of at least `min_plant_m2` count. Weed patches are the connected regions of the weed class, whatever the
plants. An id is the place of the first pixel in the raster, so it does not depend on windows, blocks or order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.legend import CROP, LEGEND, WEED
from geoseg.segment.instances import components_of, split_of, votes_of
from geoseg.segment.plantbatch import GroupStats, PlantBatch, Rasters
from geoseg.segment.plantconfig import OFFSET_LIMIT, PlantConfig
from geoseg.vectors import ComponentBatch, PixelGrid, batches, pixel_grid

__all__ = ["GroupFacts", "InstanceStats", "PlantConfig", "PlantStats", "Sink", "collect", "plants_of"]

_Batch = TypeVar("_Batch", ComponentBatch, PlantBatch)


class Sink(Protocol):
    """Where features go: anything that takes them layer by layer, such as `geoseg.export.geopackage.FieldPackage`."""

    def append(self, layer: str, columns: Mapping[str, Any], geometry: Any) -> None:
        """Add features to a layer."""


@dataclass(frozen=True)
class InstanceStats:
    """What became of the plants of one class, or of weed patches.

    Attributes:
        candidates: Those found.
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
class GroupFacts:
    """How vegetation became plants.

    Attributes:
        method: How it was grouped.
        regions: Connected regions of vegetation.
        pieces: Connected parts after regions were cut.
        plants: Plants after parts with one centre were joined, small ones included.
        unclaimed_m2: Vegetation near no centre, in no plant.
        longest_m: Longest side of a plant.
        notes: What a person should know of: plants and regions too large to be treated as others are.
    """

    method: str
    regions: int
    pieces: int
    plants: int
    unclaimed_m2: float
    longest_m: float
    notes: list[str]


@dataclass(frozen=True)
class PlantStats:
    """What `collect` found.

    Attributes:
        plants: Crop plants.
        weed_plants: Weed plants.
        weeds: Weed patches: connected regions of the weed class.
        grouping: How vegetation became plants.
        mean_plant_m2: Mean area of a crop plant; None without plants.
        gsd_m: Side of a pixel, metres.
    """

    plants: InstanceStats
    weed_plants: InstanceStats
    weeds: InstanceStats
    grouping: GroupFacts
    mean_plant_m2: float | None
    gsd_m: float


def collect(rasters: Rasters, config: PlantConfig, sink: Sink, *, block_px: int | None = None) -> PlantStats:
    """Plants, their outlines and weed patches, sent to `sink`; gives back what was found.

    Layers ``plants``, ``weed_plants``, ``plant_outlines`` and ``weeds`` receive the features of one strip of the raster
    at a time, in the order of ids.

    Args:
        rasters: The files of a run, in a CRS with metres, feet or none.
        config: What counts.
        sink: Where the features go.
        block_px: Side of the blocks that are read. Changes the order of the features and nothing else.

    Raises:
        InputError: If a raster cannot be used, or its CRS is in degrees.
    """
    grid = pixel_grid(rasters.classes)
    smallest = (config.min_plant_m2, config.least_weed_m2, config.min_patch_m2)
    crops, weeds, patches = (_Tally(area_m2 / grid.pixel_m2) for area_m2 in smallest)
    counts = GroupStats()
    for batch in plants_of(rasters, config, counts, block_px=block_px):
        crop, weed = crops.sift(batch.select(batch.is_crop)), weeds.sift(batch.select(~batch.is_crop))
        _send_points(sink, "plants", crop, grid)
        _send_points(sink, "weed_plants", weed, grid)
        _send_outlines(sink, batch.select(np.isin(batch.id, np.append(crop.id, weed.id))), grid)
    for patch in batches(rasters.classes, codes=(WEED,), block_px=block_px or 2048, confidence=rasters.confidence):
        _send_patches(sink, patches.sift(patch), grid)
    found = crops.stats(grid.pixel_m2)
    mean_plant_m2 = found.area_m2 / found.kept if found.kept else None
    facts = _facts(rasters, config, counts, grid)
    others = weeds.stats(grid.pixel_m2), patches.stats(grid.pixel_m2)
    return PlantStats(found, *others, facts, mean_plant_m2, math.sqrt(grid.pixel_m2))


def plants_of(
    rasters: Rasters, config: PlantConfig, counts: GroupStats, *, block_px: int | None = None
) -> Iterator[PlantBatch]:
    """All plants, small ones included, strip by strip.

    Args:
        rasters: The files of a run.
        config: How vegetation is grouped.
        counts: Counts; what is found is added.
        block_px: Side of the blocks that are read; None: the usual one.

    Raises:
        InputError: If a raster cannot be used.
    """
    gsd_m = math.sqrt(pixel_grid(rasters.classes).pixel_m2)
    given = {} if block_px is None else {"block_px": block_px}
    method = _method(rasters, config)
    if method == "offsets":
        return votes_of(rasters, counts, config.voting(gsd_m), **given)
    if method == "watershed":
        return split_of(rasters, counts, config.splitting(gsd_m), **given)
    return components_of(rasters, counts, **given)


def _method(rasters: Rasters, config: PlantConfig) -> str:
    if config.method != "auto":
        return config.method
    return "watershed" if rasters.offsets is None else "offsets"


def _facts(rasters: Rasters, config: PlantConfig, counts: GroupStats, grid: PixelGrid) -> GroupFacts:
    gsd_m = math.sqrt(grid.pixel_m2)
    longest_m = counts.longest_px * gsd_m
    notes: list[str] = []
    if counts.long:
        limit_m = 4 * config.voting(gsd_m).longest_px * gsd_m
        most_m = 4 * OFFSET_LIMIT * gsd_m
        remedy = "raise plants.max_plant_m" if limit_m < 0.99 * most_m else "take a coarser grid with --gsd"
        notes.append(
            f"{counts.long:,} plants reach farther from their centre than half of {limit_m:.2f} m (the longest is "
            f"{longest_m:.2f} m) and may be cut or lose their ends; {remedy}"
        )
    if counts.uncut:
        notes.append(
            f"{counts.uncut:,} connected regions, up to {longest_m:.1f} m long, were too large to be cut and count as "
            "one plant each; use a model that gives offsets"
        )
    return GroupFacts(
        method=_method(rasters, config),
        regions=counts.regions,
        pieces=counts.pieces,
        plants=counts.plants,
        unclaimed_m2=counts.unclaimed_px * grid.pixel_m2,
        longest_m=longest_m,
        notes=notes,
    )


def _send_points(sink: Sink, layer: str, plants: PlantBatch, grid: PixelGrid) -> None:
    if not len(plants):
        return
    x, y = grid.centres(plants.centroid)
    diameter_m = np.sqrt(4 / math.pi * plants.area_px * grid.pixel_m2)
    sink.append(layer, _columns(plants, grid) | {"x": x, "y": y, "diameter_m": diameter_m}, shapely.points(x, y))


def _send_outlines(sink: Sink, plants: PlantBatch, grid: PixelGrid) -> None:
    if len(plants):
        sink.append("plant_outlines", _columns(plants, grid), plants.geometry)


def _send_patches(sink: Sink, weed: ComponentBatch, grid: PixelGrid) -> None:
    if len(weed):
        columns = {"patch_id": weed.id, "area_m2": weed.area_px * grid.pixel_m2, "confidence": weed.confidence}
        sink.append("weeds", columns, weed.geometry)


def _columns(plants: PlantBatch, grid: PixelGrid) -> dict[str, NDArray[Any]]:
    names = np.array([LEGEND[WEED].name, LEGEND[CROP].name], dtype=object)
    return {
        "plant_id": plants.id,
        "class": names[plants.is_crop.astype(np.intp)],
        "area_m2": plants.area_px * grid.pixel_m2,
        "confidence": plants.confidence,
    }


class _Tally:
    """Counts plants or patches and sifts out the small ones."""

    def __init__(self, min_px: float) -> None:
        # One of exactly the smallest area counts, also where the division by the pixel's area rounds up.
        self._min_px = min_px * (1 - 1e-9)
        self._kept = self._kept_px = self._dropped = self._dropped_px = 0

    def sift(self, batch: _Batch) -> _Batch:
        """Those that count."""
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
