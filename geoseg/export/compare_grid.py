"""A grid of rates against the plan: what is treated too little, what too much, and what it adds up to.

The plan is drawn by GDAL on four by four points in every cell. Nothing may be treated less than planned. A grid that
is true to its cells treats more, at most the ground within one diagonal of a cell around the planned zones; no more
is accepted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.export.compare_totals import add_as_written
from geoseg.export.rategrid import RateGrid
from geoseg.export.readback import Readback

if TYPE_CHECKING:
    import geopandas as gpd

    from geoseg.export.planned import Planned

__all__ = ["compare_grid"]

_POINTS = 4
_POINTS_AT_ONCE = 16_000_000
_SAME_RATE = 0.005
_EDGE_M = 10.0


def compare_grid(found: Readback, prescription: Planned | None, boundary: gpd.GeoSeries | None) -> None:
    """Add totals to the facts, and what differs from the plan to the findings.

    Args:
        found: What a reader read; only its grid is looked at.
        prescription: The plan, if it is known.
        boundary: The field with its CRS, if there is no plan.
    """
    grid = found.grid
    if grid is None:
        return
    crs = prescription.zones.crs if prescription else _metric_crs(grid)
    areas = grid.row_areas(crs)
    width, height = grid.sides_m(crs)
    if not np.isfinite([width, height, areas.sum()]).all():
        found.error("outside-crs", "the grid lies where the CRS of the field is not defined")
        return
    litres = float((np.nansum(grid.rates, axis=1) * areas).sum()) / 1e4
    treated = float((np.count_nonzero(grid.rates > _SAME_RATE, axis=1) * areas).sum()) / 1e4
    found.facts |= {
        "cell_m": [width, height],
        "rates_l_ha": np.unique(grid.rates).tolist()[:300],
        "treated_ha": treated,
        "litres": litres,
    }
    if prescription is not None:
        _compare(found, grid, prescription, areas)
    elif boundary is not None:
        west, south, east, north = boundary.to_crs(4326).total_bounds
        if not (west >= grid.west and south >= grid.south and east <= grid.east and north <= grid.north):
            found.error("grid-field", "the grid does not cover the field")


def _compare(found: Readback, grid: RateGrid, prescription: Planned, areas: NDArray[np.float64]) -> None:
    zones = prescription.zones[prescription.zones["rate_l_ha"] > 0].sort_values("rate_l_ha")
    geometry = np.asarray(shapely.segmentize(np.asarray(zones.geometry.values), _EDGE_M))
    lonlat = np.asarray(zones.set_geometry(geometry, crs=zones.crs).to_crs(4326).geometry.values)
    rates = zones["rate_l_ha"].to_numpy(np.float64)
    under = over = over_litres = planned_m2 = 0.0
    for row0, row1, planned in _drawn(grid, lonlat, rates):
        point = areas[row0:row1, None, None, None] / _POINTS**2
        more = grid.rates[row0:row1, None, :, None] - planned
        under += float(((more < -_SAME_RATE) * point).sum())
        over += float(((more > _SAME_RATE) * point).sum())
        over_litres += float((np.maximum(more, 0) * point).sum()) / 1e4
        planned_m2 += float(((planned > 0) * point).sum())
    bound = _bound(geometry, grid, zones.crs)
    plan = prescription.totals
    add_as_written(found, plan, found.facts["treated_ha"], found.facts["litres"])
    percent = 100 * (found.facts["litres"] / plan.litres - 1) if plan.litres else 0.0
    found.facts |= {
        "planned_litres": plan.litres,
        "litres_difference_percent": percent,
        "under_treated_m2": under,
        "over_treated_m2": over,
        "over_treated_bound_m2": bound,
        "over_treated_litres": over_litres,
    }
    if under > 0:
        found.error("under-treated", f"{under:.2f} m2 get less than planned; expected none")
    if over > bound:
        found.error("over-treated", f"{over:.1f} m2 get more than planned; cells of this size explain {bound:.1f}")
    missed = 1e4 * plan.treated_ha - planned_m2
    if missed > bound:
        found.error("grid-field", f"{missed:.1f} m2 of treated ground lie outside of the grid")
    known = np.array([0.0, *prescription.rates])
    strange = np.abs(np.unique(grid.rates)[:, None] - known).min(axis=1) > _SAME_RATE
    if strange.any():
        first = np.unique(grid.rates)[strange][0]
        found.error("rate-changed", f"{int(strange.sum())} rates of the grid are not in the plan; the first: {first:g}")


def _drawn(
    grid: RateGrid, zones: NDArray[Any], rates: NDArray[np.float64]
) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    """Rows of the grid and the planned rate at (row, point, column, point) in them."""
    from rasterio.features import rasterize

    rows, cols = grid.rates.shape
    tree = shapely.STRtree(zones)
    step = max(_POINTS_AT_ONCE // (cols * _POINTS**2), 1)
    for row0 in range(0, rows, step):
        row1 = min(row0 + step, rows)
        shape = ((row1 - row0) * _POINTS, cols * _POINTS)
        affine = grid.affine @ grid.affine.translation(0, row0) @ grid.affine.scale(1 / _POINTS)
        low, high = grid.north - row1 * grid.step_lat, grid.north - row0 * grid.step_lat
        here = np.sort(tree.query(shapely.box(grid.west, low, grid.east, high)))
        planned = np.zeros(shape, np.float32)
        if here.size:
            pairs = list(zip(zones[here], rates[here].tolist(), strict=True))
            rasterize(pairs, out=planned, transform=affine)
        yield row0, row1, planned.reshape(row1 - row0, _POINTS, cols, _POINTS)


def _bound(zones: NDArray[Any], grid: RateGrid, crs: Any) -> float:
    """Area within a cell's diagonal around the zones: at most outline times diagonal and a disc for each."""
    diagonal = math.hypot(*grid.sides_m(crs)) * 1.001
    return float(shapely.length(zones).sum()) * diagonal + len(zones) * math.pi * diagonal**2


def _metric_crs(grid: RateGrid) -> Any:
    from pyproj import CRS

    lon, lat = (grid.west + grid.east) / 2, (grid.south + grid.north) / 2
    return CRS(f"+proj=laea +lon_0={lon} +lat_0={lat} +ellps=WGS84 +units=m")
