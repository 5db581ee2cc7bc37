"""What a prescription adds up to: areas, litres, product and tank fills. Knows zones and cells, and no file."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from shapely import MultiPolygon, Polygon

from geoseg.spray.aggregate import CellCounts
from geoseg.spray.machine import Machine
from geoseg.spray.rules import Decision
from geoseg.spray.settings import SprayConfig

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["Tank", "Totals", "add_up", "fill_tank", "with_amounts"]


@dataclass(frozen=True)
class Totals:
    """What a prescription adds up to. Areas are those of the polygons on the plane of the working CRS.

    Attributes:
        field_ha: Area of the field.
        treated_ha: Area with a rate above 0.
        weed_ha: Area of the weed pixels in the field: what was mapped.
        litres: Spray liquid needed.
        broadcast_litres: Liquid for the whole field at the full rate.
        saved_percent: How much less that is, 0..100.
        overspray_factor: Treated area per mapped weed area; None where no weed was mapped.
        cells: Cells that lie in the field, wholly or partly.
        triggered_cells: Cells with enough weed.
        treated_cells: Cells sprayed.
        unseen_cells: Cells that the camera did not see.
        unseen_ha: Their area in the field, sprayed or not as the rule says.
        dropped_spots: Spots under the minimum that were left out.
        dropped_weed_ha: Weed area in their triggered cells.
        missed_weed_ha: Mapped weed area that is not sprayed: below the threshold, dropped, or on excluded ground.
        zones: Number of polygons.
        triggered_ha: Area of the cells with enough weed: what the map asks for without its buffer.
        excluded_ha: Area of the cells that are never sprayed.
        closed_ha: Area of gaps that are sprayed because the valves cannot leave them.
        weed_plants: Weed plants (patches) in the field; None: not counted.
        product: Product needed, in `product_unit`; None: no dose was given.
        product_unit: Its unit.
        product_per_litre: Product in a litre of liquid.
        tank_litres: What the tank holds; None without a machine.
        tank_fills: How often it is filled.
        last_fill_litres: What goes into it the last time.
        residual_litres: What is mixed beyond `litres`, because tank and lines cannot be emptied.
    """

    field_ha: float
    treated_ha: float
    weed_ha: float
    litres: float
    broadcast_litres: float
    saved_percent: float
    overspray_factor: float | None
    cells: int
    triggered_cells: int
    treated_cells: int
    unseen_cells: int
    unseen_ha: float
    dropped_spots: int
    dropped_weed_ha: float
    missed_weed_ha: float
    zones: int
    triggered_ha: float = 0.0
    excluded_ha: float = 0.0
    closed_ha: float = 0.0
    weed_plants: int | None = None
    product: float | None = None
    product_unit: str | None = None
    product_per_litre: float | None = None
    tank_litres: float | None = None
    tank_fills: int | None = None
    last_fill_litres: float | None = None
    residual_litres: float | None = None


@dataclass(frozen=True)
class Tank:
    """How an amount of liquid is filled.

    Attributes:
        fills: How often.
        last_litres: What goes in the last time.
        residual_litres: What is left over in the end.
    """

    fills: int
    last_litres: float
    residual_litres: float


def fill_tank(litres: float, tank_l: float, residual_l: float) -> Tank:
    """Fills of a tank for an amount of liquid; what cannot be sprayed is mixed once and stays in the machine.

    Args:
        litres: What is sprayed.
        tank_l: What the tank holds.
        residual_l: What cannot be sprayed.

    Example:
        >>> fill_tank(4100.0, 4000.0, 15.0)
        Tank(fills=2, last_litres=115.0, residual_litres=15.0)
    """
    if litres <= 0:
        return Tank(0, 0.0, 0.0)
    mixed = litres + residual_l
    fills = math.ceil(mixed / tank_l - 1e-9)
    return Tank(fills, mixed - (fills - 1) * tank_l, residual_l)


def with_amounts(totals: Totals, *, treated_ha: float, litres: float, zones: int) -> Totals:
    """The totals of the same field with other zones: what follows from area and litres is worked out again.

    Args:
        totals: Of the first zones.
        treated_ha: Area with a rate.
        litres: Area times rate.
        zones: Number of polygons.
    """
    tank = None
    if totals.tank_litres is not None:
        tank = fill_tank(litres, totals.tank_litres, totals.residual_litres or 0.0)
    return dataclasses.replace(
        totals,
        treated_ha=treated_ha,
        litres=litres,
        zones=zones,
        saved_percent=_saved(litres, totals.broadcast_litres),
        overspray_factor=treated_ha / totals.weed_ha if totals.weed_ha else None,
        product=None if totals.product_per_litre is None else litres * totals.product_per_litre,
        tank_fills=None if tank is None else tank.fills,
        last_fill_litres=None if tank is None else tank.last_litres,
    )


def _saved(litres: float, broadcast: float) -> float:
    return min(max(100 * (1 - litres / broadcast), 0.0), 100.0)


def add_up(
    zones: gpd.GeoDataFrame,
    boundary: Polygon | MultiPolygon,
    config: SprayConfig,
    machine: Machine | None,
    counts: CellCounts,
    share: NDArray[np.float32],
    decision: Decision,
    excluded: NDArray[np.bool_] | None,
) -> Totals:
    """The totals of zones and of the cells that they were made from."""
    cell_ha = config.cell_m[0] * config.cell_m[1] / 1e4

    def area(mask: NDArray[np.bool_] | None) -> float:
        return 0.0 if mask is None else float(share[mask].sum(dtype=np.float64)) * cell_ha

    litres = float((zones["area_m2"] * zones["rate_l_ha"]).sum()) / 1e4
    broadcast = boundary.area / 1e4 * config.rate_l_ha
    treated = float(zones.loc[zones["rate_l_ha"] > 0, "area_m2"].sum()) / 1e4
    weed = float(counts.weed.sum(dtype=np.int64)) * counts.pixel_area_m2 / 1e4
    tank = None if machine is None else fill_tank(litres, machine.tank_l, machine.residual_l)
    per_litre = None if config.dose_per_ha is None else config.dose_per_ha / config.rate_l_ha
    return Totals(
        field_ha=boundary.area / 1e4,
        treated_ha=treated,
        weed_ha=weed,
        litres=litres,
        broadcast_litres=broadcast,
        saved_percent=_saved(litres, broadcast),
        overspray_factor=treated / weed if weed else None,
        cells=int(np.count_nonzero(share)),
        triggered_cells=int(np.count_nonzero(decision.triggered)),
        treated_cells=int(np.count_nonzero(decision.level)),
        unseen_cells=int(np.count_nonzero(decision.unseen)),
        unseen_ha=area(decision.unseen),
        dropped_spots=decision.dropped_spots,
        dropped_weed_ha=decision.dropped_weed_px * counts.pixel_area_m2 / 1e4,
        missed_weed_ha=int(counts.weed[decision.level == 0].sum()) * counts.pixel_area_m2 / 1e4,
        zones=len(zones),
        triggered_ha=area(decision.triggered),
        excluded_ha=area(excluded),
        closed_ha=area(decision.closed),
        weed_plants=None if counts.weed_plants is None else int(counts.weed_plants.sum()),
        product=None if per_litre is None else litres * per_litre,
        product_unit=None if per_litre is None else config.dose_unit,
        product_per_litre=per_litre,
        tank_litres=None if machine is None else machine.tank_l,
        tank_fills=None if tank is None else tank.fills,
        last_fill_litres=None if tank is None else tank.last_litres,
        residual_litres=None if machine is None else machine.residual_l,
    )
