"""The spray rule: which cells get which rate. Knows counts per cell and nothing about rasters, polygons or files.

A cell *triggers* when enough of what was seen of it is weed. Every cell that comes nearer than the buffer to a
triggered cell is *treated*: the buffer covers the error of the machine's position and of the map's. Spots smaller than
the machine can do are left out and counted. What the camera did not see is *unseen*, and by default it is sprayed:
a hole in the picture must never become a gap in the field without anybody noticing.

After that: headlands at the full rate, gaps that are too short for the valves, and last the ground that is never
sprayed, which wins over everything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import PrescriptionError
from geoseg.spray.absorb import absorb_small
from geoseg.spray.morphology import buffer_reach, close_gaps, dilate, small_spots
from geoseg.spray.rates import MAX_RATE_L_HA, breaks_of, offered_rates
from geoseg.spray.settings import SprayConfig

__all__ = ["MAX_RATE_L_HA", "Decision", "Seen", "SprayConfig", "decide"]


@dataclass(frozen=True, eq=False)
class Seen:
    """What is known of each cell.

    Attributes:
        weed: (rows, cols) weed pixels in the cell.
        valid: (rows, cols) valid pixels in the cell.
        share: (rows, cols) share of the cell that lies in the field, 0..1.
        pixel_area_m2: Area of a pixel.
        weed_plants: (rows, cols) weed plants in the cell; None: not counted.
        headland: (rows, cols) bool, cells with ground in the headland; None: there is none.
        excluded: (rows, cols) bool, cells with ground that is never sprayed; None: there is none.
    """

    weed: NDArray[Any]
    valid: NDArray[Any]
    share: NDArray[Any]
    pixel_area_m2: float
    weed_plants: NDArray[Any] | None = None
    headland: NDArray[np.bool_] | None = None
    excluded: NDArray[np.bool_] | None = None


@dataclass(frozen=True, eq=False)
class Decision:
    """What the rule said, one value per cell.

    Attributes:
        level: (rows, cols) uint8, the place of the cell's rate in `rates`.
        rates: All rates that the rule offers, litres per hectare, ascending from 0.
        triggered: (rows, cols) bool, enough weed was seen.
        unseen: (rows, cols) bool, in the field but not seen, whether sprayed or not.
        dropped_spots: Number of spots under the minimum that were left out.
        dropped_weed_px: Weed pixels in them.
        closed: (rows, cols) bool, gaps that were too short to leave; None: none were looked for.
        breaks: Zones: lower limits of the classes but the first.
    """

    level: NDArray[np.uint8]
    rates: tuple[float, ...]
    triggered: NDArray[np.bool_]
    unseen: NDArray[np.bool_]
    dropped_spots: int
    dropped_weed_px: int
    closed: NDArray[np.bool_] | None = None
    breaks: tuple[float, ...] = ()

    @property
    def treated(self) -> NDArray[np.bool_]:
        """(rows, cols) bool, sprayed: triggered, buffer, headland, gap or unseen."""
        mask: NDArray[np.bool_] = self.level > 0
        return mask

    def rate_grid(self) -> NDArray[np.float32]:
        """(rows, cols) rate of each cell in litres per hectare, 0 outside the field."""
        return np.array(self.rates, np.float32)[self.level]


def decide(config: SprayConfig, seen: Seen) -> Decision:
    """Which cells are treated, and at which rate.

    Args:
        config: The rule.
        seen: What is known of each cell.

    Raises:
        PrescriptionError: If the rule asks for weed plants and none were counted, or for classes that cannot be told
            apart.
    """
    if seen.weed_plants is None and (config.threshold_plants_m2 is not None or config.rates.by == "plants"):
        raise PrescriptionError("the rule goes by weed plants per m2, but none were counted; use weed cover instead")
    rates = offered_rates(config.rates, config.rate_l_ha)
    full = np.uint8(rates.index(config.rates.possible(config.rate_l_ha)))
    inside = seen.share > 0
    wanted, breaks = _wanted(config, seen, rates, inside)
    triggered = wanted > 0
    level = _buffered(config, wanted, inside)
    width, length = config.cell_m
    if config.rates.min_zone_m2 > 0:
        area = seen.share * (width * length)
        level = absorb_small(level, inside, area, config.cell_m, config.rates.min_zone_m2)
    spots, lost = 0, 0
    if config.min_spot_m2 > 0:
        small, spots = small_spots(level > 0, seen.share * (width * length), config.min_spot_m2)
        lost = int(seen.weed[small & triggered].sum())
        level[small] = 0
    unseen = _unseen(config, seen) & ~triggered
    if config.unseen == "spray":
        level[unseen] = full
    if seen.headland is not None:
        level[seen.headland & inside] = full
    excluded = np.zeros_like(inside) if seen.excluded is None else seen.excluded
    level[excluded] = 0
    closed = None
    if config.min_gap_m:
        closed = close_gaps(level, excluded | ~inside, length, config.min_gap_m)
    return Decision(level, rates, triggered, unseen, spots, lost, closed, breaks)


def _wanted(
    config: SprayConfig, seen: Seen, rates: tuple[float, ...], inside: NDArray[np.bool_]
) -> tuple[NDArray[np.uint8], tuple[float, ...]]:
    """The level that each cell asks for by itself, and the breaks between classes of zones."""
    breaks: tuple[float, ...] = ()
    if config.rates.rule == "spot":
        mask = _enough(seen.weed, config.threshold_cover, _of_px(config, seen))
        if config.threshold_plants_m2 is not None and seen.weed_plants is not None:
            of_m2 = _of_px(config, seen) * seen.pixel_area_m2
            mask |= _enough(seen.weed_plants, config.threshold_plants_m2, of_m2)
        return (mask & inside).astype(np.uint8), breaks
    if config.rates.rule == "stepped":
        limits = [value for value, _ in config.rates.steps]
        value = _ratio(config, seen, _of_px(config, seen))
        asked = (0.0, *config.rates.given_rates())
    else:
        value = _ratio(config, seen, seen.valid)
        known = inside & (seen.valid > 0)
        limits = breaks_of(config.rates, value[known], seen.share[known]).tolist()
        breaks = tuple(limits)
        asked = config.rates.given_rates()
    levels = np.array([rates.index(config.rates.possible(rate)) for rate in asked], np.uint8)
    level = levels[np.digitize(value, np.array(limits) - 1e-12)]
    level[~inside | (seen.valid == 0)] = 0
    return level, breaks


def _ratio(config: SprayConfig, seen: Seen, of_px: NDArray[Any]) -> NDArray[np.float64]:
    """Weed cover, or weed plants per square metre, of every cell or of the square around it."""
    amount = seen.weed if config.rates.by == "cover" or seen.weed_plants is None else seen.weed_plants
    whole = of_px if config.rates.by == "cover" else of_px * seen.pixel_area_m2
    if config.rates.rule == "zones" and config.rates.over_m > 0:
        from scipy.ndimage import uniform_filter

        width, length = config.cell_m
        size = [2 * round((config.rates.over_m / side - 1) / 2) + 1 for side in (length, width)]
        size = [max(cells, 1) for cells in size]
        amount, whole = (uniform_filter(each.astype(np.float64), size, mode="constant") for each in (amount, whole))
        amount = np.where(amount > 1e-9, amount, 0.0)  # running sums leave dust where there is nothing
    ratio: NDArray[np.float64] = np.divide(amount, whole, out=np.zeros(amount.shape), where=whole > 1e-9)
    return ratio


def _enough(amount: NDArray[Any], threshold: float, whole: NDArray[Any]) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = (amount > 0) & (amount >= threshold * whole)
    return mask


def _of_px(config: SprayConfig, seen: Seen) -> NDArray[Any]:
    """The pixels of which weeds are a share: those of the cell, but of no more than a bounded area."""
    width, length = config.cell_m
    if config.threshold_over_m2 is not None and width * length > config.threshold_over_m2 * (1 + 1e-9):
        bounded: NDArray[Any] = np.minimum(seen.valid, config.threshold_over_m2 / seen.pixel_area_m2)
        return bounded
    return seen.valid


def _buffered(config: SprayConfig, wanted: NDArray[np.uint8], inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Levels grown by the buffer, the higher over the lower."""
    width, length = config.cell_m
    reach = buffer_reach(0.5 if config.buffer_m is None else config.buffer_m, width, length)
    level = np.zeros_like(wanted)
    for value in np.unique(wanted):
        if value > 0:
            level[dilate(wanted >= value, reach) & inside] = value
    return level


def _unseen(config: SprayConfig, seen: Seen) -> NDArray[np.bool_]:
    """Cells with too few valid pixels for the part of them that lies in the field.

    A strip narrower than a pixel may hold no pixel centre although it was seen, so one pixel's width along two sides
    of the cell is not asked for.
    """
    width, length = config.cell_m
    expected = seen.share * (width * length) - math.sqrt(seen.pixel_area_m2) * (width + length)
    unseen: NDArray[np.bool_] = (seen.valid == 0) | (seen.valid * seen.pixel_area_m2 < config.min_seen * expected)
    return unseen & (expected > 0)
