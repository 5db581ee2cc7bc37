"""A prescription for spray drones of XAG: the field as KML, the rates as levels on a grid in JSON. Experimental.

The layout is that of files described by third parties; none was loaded on a drone. What is not known: the unit of
liquids (here millilitres per square metre, a tenth of litres per hectare, as kilograms are written) and the direction
of the rows (here the northernmost first).
"""

from __future__ import annotations

import json
import uuid

import numpy as np
import shapely

from geoseg.errors import PrescriptionError
from geoseg.export.kml import outline_kml
from geoseg.export.planned import Planned
from geoseg.export.profiles import Profile
from geoseg.export.rategrid import RateGrid, sample
from geoseg.export.shapefile import to_lonlat

__all__ = ["make_xag"]

_L_HA_PER_DOSE = 10
_LEVELS = 3
_DECIMALS = 9
_SPACE = uuid.UUID("6f0c9bb5-26a5-4f0c-9d5e-3f5f0c6b7a51")


def make_xag(plan: Planned, profile: Profile, name: str) -> dict[str, bytes]:
    """``NAME_Boundary.kml`` and ``NAME_Prescription.json``.

    Raises:
        PrescriptionError: If a rate is no whole number of millilitres per square metre.
    """
    cell_m = int(profile.options["cell_m"])
    levels = _levels(plan.rates)
    grid = sample(plan, profile.limit("cells"), side_m=cell_m)
    parts = shapely.orient_polygons(to_lonlat(shapely.get_parts(plan.boundary), plan.zones.crs))
    border = shapely.to_wkt(shapely.multipolygons(parts) if len(parts) > 1 else parts[0], rounding_precision=_DECIMALS)
    text = json.dumps(_document(grid, levels, name, cell_m, str(border)), indent=1)
    return {f"{name}_Boundary.kml": outline_kml(parts, name), f"{name}_Prescription.json": text.encode("ascii")}


def _levels(rates: tuple[float, ...]) -> dict[float, int]:
    """The level of each rate above 0."""
    sprayed = [rate for rate in rates if rate > 0]
    for rate in sprayed:
        if abs(rate / _L_HA_PER_DOSE - round(rate / _L_HA_PER_DOSE)) > 1e-9:
            raise PrescriptionError(
                f"the rate {rate:g} l/ha cannot be written: the drone takes whole millilitres per square metre; "
                f"use a multiple of {_L_HA_PER_DOSE} l/ha"
            )
    return {rate: nth for nth, rate in enumerate(sprayed, 1)}


def _document(grid: RateGrid, levels: dict[float, int], name: str, cell_m: int, border: str) -> dict[str, object]:
    codes = np.zeros(grid.rates.shape, np.int64)
    for rate, level in levels.items():
        codes[grid.rates == rate] = level
    doses = {level: round(rate / _L_HA_PER_DOSE) for rate, level in levels.items()}
    weights = codes.ravel().tolist()
    rows, columns = grid.rates.shape
    return {
        "borderWKT": border,
        "cellSize": cell_m,
        "columns": columns,
        "dataType": _LEVELS,
        "dataTypeLevel": [{"dosage": doses.get(level, 0), "level": level} for level in range(1, _LEVELS + 1)],
        "guid": str(uuid.uuid5(_SPACE, f"{name} {border} {weights} {doses}")),
        "name": name,
        "originEndLat": round(grid.north, _DECIMALS + 1),
        "originEndLng": round(grid.east, _DECIMALS + 1),
        "originLat": grid.south,
        "originLng": grid.west,
        "rotation": 0,
        "rows": rows,
        "source": "geoseg",
        "version": 1,
        "weightData": weights,
        "workType": 1,
    }
