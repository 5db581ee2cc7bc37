"""A prescription made coarser without treating less anywhere: gaps closed, or fewer rates. Knows no terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter

from geoseg.errors import PrescriptionError
from geoseg.export.planned import Plan, Planned
from geoseg.spray.grid import field_share
from geoseg.spray.totals import with_amounts
from geoseg.spray.zones import partition

__all__ = ["Loss", "closed_gaps", "fewer_rates", "larger_cells", "loss_between"]

_TOUCH = 1e-6
"""Share of a cell that ground must have to count as met: less is the noise of coordinates."""


@dataclass(frozen=True)
class Loss:
    """What a coarser prescription costs.

    Attributes:
        reason: What did not hold.
        polygons: Number of polygons before and after.
        rates: Number of rates before and after.
        detail: What was done, in words.
        over_treated_m2: Ground that gets more than planned.
        over_treated_litres: How much more that is.
        under_treated_m2: Ground that gets less: none but for rounding.
    """

    reason: str
    polygons: tuple[int, int]
    rates: tuple[int, int]
    detail: str
    over_treated_m2: float
    over_treated_litres: float
    under_treated_m2: float

    def lines(self) -> list[str]:
        """The same for people."""
        pairs = {"polygons": self.polygons, "rates": self.rates}
        changed = [f"{name}: {old:.6g} before, {new:.6g} now" for name, (old, new) in pairs.items() if old != new]
        over = f"treated too much: {self.over_treated_m2:.1f} m2, {self.over_treated_litres:.1f} litres"
        return [self.reason, self.detail, *changed, over, f"treated too little: {self.under_treated_m2:.1f} m2"]


def closed_gaps(plan: Planned, reach: int) -> Plan:
    """The plan with gaps closed: ground takes a higher rate where it lies between spots less than `reach` cells apart.

    This is a morphological closing of the cells' rates by a square, which never lowers any.

    Args:
        plan: The plan.
        reach: Widest gap that is closed, in cells of the lattice.
    """
    return _redrawn(plan, _closed(_levels(plan), reach))


def larger_cells(plan: Planned, factor: int) -> Plan:
    """The plan with cells `factor` + 1 times as long and wide, each with the highest rate of the ground in it."""
    return _redrawn(plan, _in_blocks(_levels(plan), factor + 1))


def _redrawn(plan: Planned, level: NDArray[np.uint8]) -> Plan:
    """The plan with other rates in its cells; ground that is never sprayed stays so."""
    boundary: Any = plan.boundary
    share, edge = field_share(boundary, plan.box)
    if plan.excluded is not None:
        level[plan.excluded] = 1
    split = plan.config.holes == "split"
    polygons, levels = partition(level, share, edge, plan.box, boundary, split_holes=split, firm=plan.excluded)
    return _with_zones(plan, polygons, np.array([np.nan, *_steps(plan)])[levels])


def _steps(plan: Planned) -> tuple[float, ...]:
    """Rate 0 and the others, ascending."""
    return (0.0, *(rate for rate in plan.rates if rate > 0))


def _levels(plan: Planned) -> NDArray[np.uint8]:
    """(rows, cols) 1 and the index of the highest rate that each cell of the lattice meets."""
    steps = _steps(plan)
    if len(steps) > 255:
        raise PrescriptionError(f"the prescription has {len(steps)} rates; expected at most 255; use a rate step")
    level = np.ones(plan.box.shape, np.uint8)
    geometry, rates = np.asarray(plan.zones.geometry.values), plan.zones["rate_l_ha"].to_numpy(np.float64)
    for nth, rate in enumerate(steps[1:], 2):
        ground: Any = shapely.multipolygons(shapely.get_parts(geometry[rates == rate]))
        share, _ = field_share(ground, plan.box)
        level[share > _TOUCH] = nth
    return level


def _closed(level: NDArray[np.uint8], reach: int) -> NDArray[np.uint8]:
    """Grey closing by a square of `reach` + 1 cells; the lattice goes on at the lowest level on all sides."""
    side = reach + 1
    padded = np.pad(level, 2 * side, constant_values=1)
    raised = maximum_filter(padded, side, mode="nearest")
    closed = minimum_filter(raised, side, mode="nearest", origin=-1 if side % 2 == 0 else 0)
    inner = slice(2 * side, -2 * side)
    return np.asarray(np.maximum(closed[inner, inner], level))


def _in_blocks(level: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """The highest level of each block of `factor` by `factor` cells, in all of its cells."""
    rows, cols = level.shape
    padded = np.pad(level, ((0, -rows % factor), (0, -cols % factor)))
    blocks = padded.reshape(padded.shape[0] // factor, factor, -1, factor).max(axis=(1, 3))
    return np.repeat(np.repeat(blocks, factor, axis=0), factor, axis=1)[:rows, :cols]


def fewer_rates(plan: Planned, most: int) -> Plan:
    """The plan with at most `most` rates, each raised to the next one kept; those are kept that cost the least liquid.

    Rate 0 stays, because ground that is not sprayed must not become sprayed.

    Raises:
        PrescriptionError: If `most` leaves no rate beside 0.
    """
    rates = np.array(plan.rates)
    zero = int(rates[0] == 0)
    if most - zero < 1:
        raise PrescriptionError(f"a limit of {most} rates holds no prescription; expected 2 or more")
    planned = plan.zones["rate_l_ha"].to_numpy(np.float64)
    area = np.array([plan.zones["area_m2"].to_numpy(np.float64)[planned == rate].sum() for rate in rates])
    kept = np.concatenate([rates[:zero], rates[zero:][_cheapest(rates[zero:], area[zero:], most - zero)]])
    raised = kept[np.searchsorted(kept, planned)]
    return _with_zones(plan, np.asarray(plan.zones.geometry.values), raised)


def _cheapest(rates: NDArray[np.float64], area: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """Indices of the rates to keep so that raising the others to the next one kept takes the least.

    By dynamic programming over the last rate of each group.
    """
    count = len(rates)
    volume, covered = np.append(0, (rates * area).cumsum()), np.append(0, area.cumsum())

    def cost(first: int) -> NDArray[np.float64]:
        """Of raising the rates from `first` to each later one to that one."""
        raised: NDArray[np.float64] = rates[first:] * (covered[first + 1 :] - covered[first])
        return np.asarray(raised - (volume[first + 1 :] - volume[first]))

    best, origins = cost(0), []
    for _ in range(1, min(most, count)):
        table = np.full((count, count), np.inf)
        for first in range(1, count):
            table[first, first:] = best[first - 1] + cost(first)
        origins.append(table.argmin(axis=0))
        best = table.min(axis=0)
    kept = [count - 1]
    for origin in reversed(origins):
        kept.append(int(origin[kept[-1]]) - 1)
    return np.array(kept[::-1], np.int64)


def _with_zones(plan: Planned, polygons: NDArray[Any], rates: NDArray[np.float64]) -> Plan:
    import geopandas as gpd

    area = shapely.area(polygons)
    table = {"zone": np.arange(1, len(polygons) + 1), "rate_l_ha": rates, "area_m2": area}
    zones = gpd.GeoDataFrame(table, geometry=polygons, crs=plan.zones.crs)
    treated, litres = float(area[rates > 0].sum()) / 1e4, float((area * rates).sum()) / 1e4
    totals = with_amounts(plan.totals, treated_ha=treated, litres=litres, zones=len(zones))
    return Plan.of(plan, zones=zones, totals=totals)


def loss_between(plan: Planned, coarse: Planned, reason: str, detail: str) -> Loss:
    """What a coarser plan costs, measured by laying its zones over those of the plan.

    Args:
        plan: What was planned.
        coarse: What will be written.
        reason: What did not hold.
        detail: What was done.
    """
    before, after = np.asarray(plan.zones.geometry.values), np.asarray(coarse.zones.geometry.values)
    new, old = shapely.STRtree(before).query(after, predicate="intersects")
    more = coarse.zones["rate_l_ha"].to_numpy(np.float64)[new] - plan.zones["rate_l_ha"].to_numpy(np.float64)[old]
    changed = more != 0
    area = shapely.area(shapely.intersection(after[new[changed]], before[old[changed]]))
    more = more[changed]
    return Loss(
        reason=reason,
        polygons=(len(before), len(after)),
        rates=(len(plan.rates), len(coarse.rates)),
        detail=detail,
        over_treated_m2=float(area[more > 0].sum()),
        over_treated_litres=float((area * np.maximum(more, 0)).sum()) / 1e4,
        under_treated_m2=float(area[more < 0].sum()),
    )
