"""Rates for spray drones of XAG read back for the checker. Shares nothing with the writer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from geoseg.export.rategrid import RateGrid
from geoseg.export.readback import Readback

__all__ = ["read_xag"]

_MOST_BYTES = 200_000_000
_MOST_CELLS = 50_000_000
_KEYS = (
    "borderWKT", "cellSize", "columns", "dataType", "dataTypeLevel", "guid", "name", "originEndLat", "originEndLng",
    "originLat", "originLng", "rotation", "rows", "source", "version", "weightData", "workType",
)  # fmt: skip
_L_HA = 10.0
_CELL_TOLERANCE = 0.05


def read_xag(path: Path) -> Readback:
    """Everything that can be said about a grid of levels; faults become findings, never exceptions.

    Args:
        path: The ``.json`` file.
    """
    found = Readback("XAG levels", crs=4326)
    document = _load(path, found)
    if document is None:
        return found
    missing = [key for key in _KEYS if key not in document]
    if missing:
        found.error("attribute-missing", f"there is no {', '.join(missing)}")
        return found
    doses = _doses(document["dataTypeLevel"], found)
    codes = _codes(document, found)
    if codes is None or doses is None:
        return found
    unknown = [code for code in np.unique(codes).tolist() if code not in doses]
    place = _place(document, int(codes.shape[0]), int(codes.shape[1]), found)
    if unknown:
        found.error("zone-missing", f"the grid holds the levels {unknown[:8]}, which have no dosage")
    elif place is not None:
        rates = np.zeros(codes.shape)
        for code in np.unique(codes).tolist():
            rates[codes == code] = doses[code] * _L_HA
        found.grid = RateGrid(rates, *place)
        found.facts |= {"grid_rows": codes.shape[0], "grid_columns": codes.shape[1]}
        _check_cells(found.grid, document["cellSize"], found)
    return found


def _load(path: Path, found: Readback) -> dict[str, Any] | None:
    size = path.stat().st_size
    if size > _MOST_BYTES:
        found.error("file-size", f"{path.name} has {size:,} bytes; at most {_MOST_BYTES:,} are read")
        return None
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        found.error("unreadable", f"{path.name} is no JSON that can be read: {error!s:.200}")
        return None
    if not isinstance(document, dict):
        found.error("unreadable", f"{path.name} holds no object")
        return None
    return document


def _doses(levels: Any, found: Readback) -> dict[int, float] | None:
    """The dose of each level; 0 is not sprayed."""
    doses: dict[int, float] = {0: 0.0}
    for entry in levels if isinstance(levels, list) else [None]:
        dose = entry.get("dosage") if isinstance(entry, dict) else None
        level = entry.get("level") if isinstance(entry, dict) else None
        if not (_is_number(dose) and isinstance(level, int) and not isinstance(level, bool) and level > 0):
            found.error("zone-code", f"a level is {entry!s:.60}; expected a dosage and a whole level above 0")
            return None
        if level in doses:
            found.error("zone-duplicate", f"the level {level} is there twice")
        if dose < 0:
            found.error("rate-negative", f"the level {level} has the dosage {dose:g}")
        doses[level] = float(dose)
    return doses


def _codes(document: dict[str, Any], found: Readback) -> Any:
    rows, columns, weights = document["rows"], document["columns"], document["weightData"]
    if not all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in (rows, columns)):
        found.error("grid-size", f"rows and columns are {rows!s:.20} and {columns!s:.20}; expected whole numbers")
        return None
    if rows * columns > _MOST_CELLS:
        found.error("grid-size", f"the grid has {rows:,.6g} rows and {columns:,.6g} columns")
        return None
    if not isinstance(weights, list) or len(weights) != rows * columns:
        count = len(weights) if isinstance(weights, list) else "no"
        found.error("grid-bytes", f"there are {count} levels; rows and columns need {rows * columns:,}")
        return None
    if not all(isinstance(weight, int) and not isinstance(weight, bool) and 0 <= weight < 256 for weight in weights):
        found.error("zone-code", "a cell's level is no whole number from 0 to 255")
        return None
    return np.array(weights, np.int64).reshape(rows, columns)


def _place(
    document: dict[str, Any], rows: int, columns: int, found: Readback
) -> tuple[float, float, float, float] | None:
    """South, west and the height and width of a cell in degrees."""
    if document["rotation"] != 0:
        found.error("grid-rotated", f"the grid is turned by {document['rotation']!s:.20}; only 0 can be compared")
        return None
    values = [document[key] for key in ("originLat", "originLng", "originEndLat", "originEndLng")]
    if all(_is_number(value) for value in values):
        south, west, north, east = (float(value) for value in values)
        if -90 <= south < north <= 90 and -180 <= west < east <= 180:
            return south, west, (north - south) / rows, (east - west) / columns
    found.error("grid-place", f"the corners are {values!s:.90}; expected degrees, south-west before north-east")
    return None


def _check_cells(grid: RateGrid, stated: Any, found: Readback) -> None:
    from pyproj import Geod

    geod = Geod(ellps="WGS84")
    width = geod.inv(grid.west, grid.south, grid.west + grid.step_lon, grid.south)[2]
    height = geod.inv(grid.west, grid.south, grid.west, grid.south + grid.step_lat)[2]
    if not _is_number(stated) or max(abs(width - stated), abs(height - stated)) > _CELL_TOLERANCE * stated:
        found.error("cell-size", f"cells are {width:.2f} x {height:.2f} m; the file says {stated!s:.20} m")


def _is_number(value: Any) -> TypeGuard[float]:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return -1e15 < value < 1e15  # False for NaN
