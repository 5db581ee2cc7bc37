"""What was read back against what was planned: geometry on the ground, rates and totals. Knows no file format.

Areas are those on the plane of the plan's CRS, with the vertices of the file moved back to it. A straight line on the
plane is not quite straight in longitude and latitude, but both polygons at a line have the same vertices, so nothing
opens between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.export.compare_totals import TOLERANCE_PERCENT, compare_totals
from geoseg.export.coverage import coverage_union
from geoseg.export.readback import Readback

if TYPE_CHECKING:
    import geopandas as gpd

    from geoseg.export.planned import Planned

__all__ = ["TOLERANCE_PERCENT", "compare"]

_SHIFT_M = 0.001
_SAME_RATE = 0.005 + 1e-9


def compare(found: Readback, prescription: Planned | None, boundary: gpd.GeoSeries | None) -> None:
    """Add geometry, rates and totals to the facts, and what differs to the findings.

    Args:
        found: What a reader read.
        prescription: The plan, if it is known.
        boundary: The field with its CRS, if there is no plan.
    """
    if found.polygons is None:
        return
    if not len(found.polygons):
        found.error("no-polygons", "the file holds no polygon")
        return
    _check_crs(found)
    crs = _metric_crs(found, prescription, boundary)
    polygons = _moved(found.polygons, found.crs or 4326, crs)
    keep = ~(shapely.is_missing(polygons) | shapely.is_empty(polygons))
    if not np.isfinite(shapely.bounds(polygons[keep])).all():
        found.error("outside-crs", "vertices lie where the CRS is not defined")
        return
    field = prescription.boundary if prescription else None
    if field is None and boundary is not None:
        field = boundary.to_crs(crs).union_all()
    if field is not None:
        _check_axes(found, field, crs)
    _check_geometry(found, polygons[keep], field)
    if found.rates is not None:
        _totals(found, shapely.area(polygons[keep]), found.rates[keep], prescription)
        if prescription is not None and found.merged:
            _compare_merged(found, polygons, prescription)
        elif prescription is not None:
            _compare_zones(found, polygons, prescription)


def _check_crs(found: Readback) -> None:
    from pyproj import CRS, Transformer
    from pyproj.exceptions import ProjError

    try:
        Transformer.from_crs(found.crs or 4326, 4326).transform(0, 0)
    except ProjError as error:
        found.error("crs", f"the CRS cannot be understood: {error}")
        found.crs = None
    if found.crs is not None and not found.any_crs and not CRS(found.crs).equals(CRS(4326), ignore_axis_order=True):
        found.error("crs", f"the CRS is {CRS(found.crs).name}; expected WGS 84 longitude and latitude (EPSG:4326)")
    west, south, east, north = shapely.total_bounds(found.polygons)
    inside = -180 <= west <= east <= 180 and -90 <= south <= north <= 90
    if not inside and (found.crs is None or CRS(found.crs).is_geographic):
        found.error("not-degrees", f"coordinates up to {max(abs(east), abs(north)):g} are not degrees")


def _metric_crs(found: Readback, prescription: Planned | None, boundary: gpd.GeoSeries | None) -> Any:
    from pyproj import CRS

    if prescription is not None:
        return prescription.zones.crs
    for crs in (boundary.crs if boundary is not None else None, found.crs):
        if crs is not None and CRS(crs).is_projected and CRS(crs).axis_info[0].unit_name == "metre":
            return crs
    west, south, east, north = shapely.total_bounds(_moved(found.polygons, found.crs or 4326, 4326))
    middle = f"+lon_0={(west + east) / 2} +lat_0={(south + north) / 2}" if np.isfinite([west, south]).all() else ""
    return CRS(f"+proj=laea {middle} +ellps=WGS84 +units=m")


def _moved(polygons: Any, source: Any, target: Any) -> NDArray[Any]:
    from pyproj import Transformer

    transform = Transformer.from_crs(source, target, always_xy=True).transform

    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(transform(points[:, 0], points[:, 1]), axis=1)

    return np.asarray(shapely.transform(polygons, move))


def _check_axes(found: Readback, field: Any, crs: Any) -> None:
    """Whether the file meets the field only with its axes swapped."""
    source = found.crs or 4326
    swapped = shapely.transform(found.polygons, lambda points: points[:, ::-1])
    as_is, turned = (shapely.total_bounds(_moved(each, source, crs)) for each in (found.polygons, swapped))
    if not np.isfinite(turned).all():
        return
    if shapely.box(*turned).intersects(field) and not shapely.box(*as_is).intersects(field):
        found.error("axes-swapped", "the file lies in the field only with longitude and latitude swapped")


def _check_geometry(found: Readback, polygons: NDArray[Any], field: Any) -> None:
    invalid = ~shapely.is_valid(polygons)
    if invalid.any():
        polygons = _repaired(found, polygons, invalid)
    area = float(shapely.area(polygons).sum())
    whole = coverage_union(polygons)
    shared = whole is not None
    union: Any = whole if shared else shapely.union_all(polygons)
    overlap = 0.0 if shared else max(area - union.area, 0.0)
    found.facts |= {"edges_shared": shared, "area_m2": area, "overlap_m2": overlap}
    if overlap > _SHIFT_M * union.length:
        found.error("overlap", f"polygons overlap by {overlap:.3f} m2; expected none")
    if field is None:
        return
    shapely.prepare(field)
    outside, gaps = float(union.difference(field).area), float(field.difference(union).area)
    found.facts |= {"outside_m2": outside, "gaps_m2": gaps}
    for code, amount, what in (("outside-field", outside, "lie outside the field"), ("gaps", gaps, "have no polygon")):
        if amount > _SHIFT_M * field.length:
            found.error(code, f"{amount:.3f} m2 {what}; expected none of the {field.area:.1f} m2")


def _repaired(found: Readback, polygons: NDArray[Any], invalid: NDArray[np.bool_]) -> NDArray[Any]:
    """Valid polygons, and a finding: a ring that touches itself keeps its area and is only worth knowing."""
    repaired = polygons.copy()
    repaired[invalid] = shapely.make_valid(polygons[invalid])
    changed = np.abs(shapely.area(repaired) - shapely.area(polygons)) > _SHIFT_M * shapely.length(polygons)
    reason = shapely.is_valid_reason(polygons[changed if changed.any() else invalid][0])
    if changed.any():
        found.error("invalid-polygons", f"{int(changed.sum())} polygons are not valid; the first: {reason}")
    else:
        found.warn("self-touching", f"{int(invalid.sum())} polygons touch themselves; the first: {reason}")
    return repaired


def _totals(found: Readback, areas: NDArray[Any], rates: NDArray[Any], prescription: Planned | None) -> None:
    known = ~np.isnan(rates)
    litres = float((areas * np.where(known, rates, 0)).sum()) / 1e4
    treated = float(areas[known & (rates > 0)].sum()) / 1e4
    found.facts |= {
        "rates_l_ha": np.unique(rates[known]).tolist(),
        "field_ha": float(areas.sum()) / 1e4,
        "treated_ha": treated,
        "litres": litres,
    }
    if prescription is not None:
        compare_totals(found, prescription.totals, float(areas.sum()) / 1e4, treated, litres)


def _compare_zones(found: Readback, polygons: NDArray[Any], prescription: Planned) -> None:
    """Zone by zone: each there once, with its rate and its shape."""
    zones = prescription.zones
    numbers = found.zones if found.zones is not None else np.arange(1, len(polygons) + 1)
    planned = zones["zone"].to_numpy()
    missing = np.setdiff1d(planned, numbers)
    if missing.size or len(numbers) != len(planned):
        found.error("polygons-missing", f"{len(numbers)} polygons in the file, {len(planned)} in the plan")
    _, in_file, in_plan = np.intersect1d(numbers, planned, return_indices=True)
    if not in_file.size:
        return
    planned_rates = zones["rate_l_ha"].to_numpy()[in_plan]
    rates = found.rates[in_file] if found.rates is not None else planned_rates
    wrong = np.flatnonzero(~(np.abs(rates - planned_rates) <= _SAME_RATE))
    if wrong.size:
        first = wrong[0]
        found.error(
            "rate-changed",
            f"{wrong.size} polygons have another rate than planned; the first: zone {planned[in_plan[first]]} has "
            f"{rates[first]:g}, planned {planned_rates[first]:g}",
        )
    moved = _differing(polygons[in_file], np.asarray(zones.geometry.values)[in_plan])
    if moved.size:
        found.error(
            "geometry-changed",
            f"{moved.size} polygons differ from the plan by more than a millimetre; the first: zone "
            f"{planned[in_plan[moved[0]]]}",
        )


def _compare_merged(found: Readback, polygons: NDArray[Any], prescription: Planned) -> None:
    """Rate by rate: the same ground."""
    zones, rates = prescription.zones, found.rates if found.rates is not None else np.zeros(len(polygons))
    planned_rates, shapes = zones["rate_l_ha"].to_numpy(np.float64), np.asarray(zones.geometry.values)
    for rate in np.unique(np.concatenate([rates[~np.isnan(rates)], planned_rates])).tolist():
        here: Any = shapely.union_all(shapely.make_valid(polygons[np.abs(rates - rate) <= _SAME_RATE]))
        planned: Any = shapely.union_all(shapes[np.abs(planned_rates - rate) <= _SAME_RATE])
        differs = float(here.symmetric_difference(planned).area)
        if differs > _SHIFT_M * planned.length:
            found.error("geometry-changed", f"{differs:.3f} m2 with {rate:g} l/ha differ from the plan; expected none")


def _differing(polygons: NDArray[Any], planned: NDArray[Any]) -> NDArray[np.int64]:
    """Indices of polygons that are not where they were planned, to a millimetre."""
    first, second = (shapely.orient_polygons(each, exterior_cw=True) for each in (polygons, planned))
    other = np.flatnonzero(~shapely.equals_exact(first, second, tolerance=_SHIFT_M))
    if not other.size:
        return other
    first, second = shapely.make_valid(first[other]), planned[other]
    differ = shapely.area(shapely.symmetric_difference(first, second)) > _SHIFT_M * shapely.length(second)
    return np.asarray(other[differ])
