"""ISOXML task data read back for the checker: what schemas test and what they miss. Shares nothing with the writer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from geoseg.export.isoxml_outlines import Outline, read_outlines
from geoseg.export.isoxml_tree import check_elements, read_tree
from geoseg.export.rategrid import RateGrid
from geoseg.export.readback import Readback

__all__ = ["read_isoxml"]

_MOST_CELLS = 50_000_000
_MOST_ROWS = 100_000
_SMALLEST = 1e-9  # degrees: a tenth of a millimetre
_INT32 = 2**31
_UNITS = {1: (1e-4, "l/ha"), 6: (1e-2, "kg/ha"), 11: (1e-3, "1/m2")}
_LITRES = 1


@dataclass(frozen=True)
class _Value:
    """A set point: dictionary number and raw value."""

    ddi: int
    raw: int

    @property
    def plain(self) -> float:
        return self.raw * _UNITS.get(self.ddi, (1.0, ""))[0]

    def __str__(self) -> str:
        return f"{self.plain:g} {_UNITS.get(self.ddi, (1.0, f'raw of DDI {self.ddi:04X}'))[1]}"


@dataclass
class _Task:
    """What a task holds: its zones by code, its grid's values and its polygons."""

    name: str
    zones: dict[int, list[_Value]] = field(default_factory=dict)
    outlines: list[tuple[int, Outline]] = field(default_factory=list)
    ddi: int | None = None
    grid: RateGrid | None = None


def read_isoxml(path: Path) -> Readback:
    """Everything that can be said about a ``TASKDATA.XML``; faults become findings, never exceptions.

    Args:
        path: The file; grids lie beside it.
    """
    found = Readback("ISOXML", crs=4326)
    root = read_tree(path, found)
    if root is None:
        return found
    check_elements(root, found)
    fields = {pfd.get("A", ""): read_outlines(pfd, found) for pfd in root.iter("PFD")}
    found.facts |= {"fields": len(fields), "tasks": len(root.findall("TSK"))}
    tasks = [_read_task(each, fields, path.parent, found) for each in root.iter("TSK")]
    if not tasks:
        found.warn("no-task", "there is no task, so nothing is prescribed")
    chosen = next((task for task in tasks if task.ddi == _LITRES), None)
    if len(tasks) > 1:
        shown = "the first with a volume" if chosen else "none has a volume"
        found.warn("several-tasks", f"there are {len(tasks)} tasks; for totals: {shown}")
    if chosen is None:
        if tasks:
            found.warn("no-rate", "no task has set points of volume per area (DDI 0001)")
        return found
    _fill(chosen, found)
    return found


def _fill(task: _Task, found: Readback) -> None:
    found.facts["task"] = task.name
    found.grid = task.grid
    if task.grid is not None or not task.outlines:
        return
    found.polygons = np.array([outline.polygon for _, outline in task.outlines], dtype=object)
    found.rates = np.array([_litres(task.zones.get(code, [])) for code, _ in task.outlines])
    found.merged = found.facts["version"].startswith("3")
    numbers = [outline.name[1:] for _, outline in task.outlines if outline.name[:1] == "Z"]
    if len(numbers) == len(task.outlines) and all(number.isdecimal() and len(number) < 10 for number in numbers):
        found.zones = np.array([int(number) for number in numbers], np.int64)


def _litres(values: list[_Value]) -> float:
    return next((value.plain for value in values if value.ddi == _LITRES), np.nan)


def _read_task(element: ET.Element, fields: dict[str, list[Outline]], folder: Path, found: Readback) -> _Task:
    task = _Task(element.get("B", "") or element.get("A", ""))
    for zone in element.iter("TZN"):
        code = _integer(zone, "A", 0, 254, found, "zone-code")
        if code is None:
            continue
        if code in task.zones:
            found.error("zone-duplicate", f"the zone code {code} is there twice in {task.name}")
        task.zones[code] = _read_values(zone, found)
        task.outlines += [(code, outline) for outline in read_outlines(zone, found)]
    _check_fallbacks(element, task, found)
    ddis = {value.ddi for values in task.zones.values() for value in values}
    task.ddi = min(ddis, default=None)
    found.facts.setdefault("quantities", []).extend(f"{ddi:04X}" for ddi in sorted(ddis))
    grids = element.findall("GRD")
    if len(grids) > 1:
        found.error("grid-several", f"{task.name} has {len(grids)} grids; expected one")
    if grids:
        grid = _read_grid(grids[0], task, folder, found)
        if grid is not None:
            _check_cover(grid, fields.get(element.get("E", ""), []), found)
            task.grid = grid
    return task


def _read_values(zone: ET.Element, found: Readback) -> list[_Value]:
    values = []
    for element in zone.iter("PDV"):
        raw = _integer(element, "B", -_INT32, _INT32 - 1, found, "raw-range")
        try:
            ddi = int(element.get("A", ""), 16)
        except ValueError:
            ddi = -1
        if not 0 <= ddi < 2**16 or len(element.get("A", "")) != 4:
            found.error("ddi", f"the dictionary number is {element.get('A', '')[:40]!r}; expected four hex digits")
        elif raw is not None:
            values.append(_Value(ddi, raw))
            if raw < 0:
                found.error("rate-negative", f"zone {zone.get('A')} has the set point {raw}")
    return values


def _check_fallbacks(element: ET.Element, task: _Task, found: Readback) -> None:
    """The zones for no grid, no position and outside of the field: whether they exist, and what they spray."""
    for attribute, what in (("H", "default"), ("I", "position-lost"), ("J", "out-of-field")):
        text = element.get(attribute)
        if text is None:
            if task.zones:
                found.warn("fallback-missing", f"{task.name} has no {what} zone, so the terminal decides")
            continue
        code = int(text) if text.isdecimal() and len(text) < 4 else None
        if code is None or code not in task.zones:
            found.error("zone-missing", f"the {what} zone of {task.name} is {text[:10]!r}, which is no zone in it")
            continue
        sprayed = [str(value) for value in task.zones[code] if value.raw > 0]
        found.facts[f"{what}_rate"] = ", ".join(map(str, task.zones[code])) or "none"
        if sprayed:
            found.warn("fallback-rate", f"the {what} zone of {task.name} gives {', '.join(sprayed)}, not 0")


def _read_grid(element: ET.Element, task: _Task, folder: Path, found: Readback) -> RateGrid | None:
    cols = _integer(element, "E", 1, _MOST_ROWS, found, "grid-size")
    rows = _integer(element, "F", 1, _MOST_ROWS, found, "grid-size")
    kind = _integer(element, "I", 1, 2, found, "grid-type")
    place = _place(element, found)
    if cols is None or rows is None or kind is None or place is None:
        return None
    if place[0] + rows * place[2] > 90 or place[1] + cols * place[3] > 360:
        found.error("grid-place", f"{rows} rows and {cols} columns of this size reach beyond the globe")
        return None
    if rows * cols > _MOST_CELLS:
        found.error(
            "grid-size", f"the grid has {rows:,} rows and {cols:,} columns; at most {_MOST_CELLS:,} cells are read"
        )
        return None
    values: list[_Value] = []
    if kind == 2:
        code = element.get("J", "")
        values = task.zones.get(int(code), []) if code.isdecimal() and len(code) < 4 else []
        if not values:
            found.error("grid-zone", f"the grid of type 2 names the zone {code[:10]!r}; expected one with a set point")
            return None
    data = _read_bytes(element, folder, rows * cols * (4 * len(values) if kind == 2 else 1), found)
    if data is None:
        return None
    rates = (
        _decode_numbers(data, rows, cols, values, found) if kind == 2 else _decode_codes(data, rows, cols, task, found)
    )
    found.facts |= {"grid_type": kind, "grid_rows": rows, "grid_columns": cols}
    return RateGrid(rates[::-1], *place)


def _place(element: ET.Element, found: Readback) -> tuple[float, float, float, float] | None:
    """South, west and the cell's height and width in degrees."""
    bounds = {"A": (-90, 90), "B": (-180, 180), "C": (_SMALLEST, 1), "D": (_SMALLEST, 1)}
    values = []
    for name, (low, high) in bounds.items():
        try:
            value = float(element.get(name, ""))
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            found.error("grid-place", f"GRD {name} is {element.get(name, '')[:40]!r}; expected {low} to {high} degrees")
            return None
        values.append(value)
    return values[0], values[1], values[2], values[3]


def _read_bytes(element: ET.Element, folder: Path, expected: int, found: Readback) -> bytes | None:
    name = element.get("G", "")
    if not (len(name) == 8 and name.startswith("GRD") and name[3:].isdecimal() and name.isascii()):
        found.error("grid-file", f"the grid's file is named {name[:40]!r}; expected GRD and five digits")
        return None
    beside = {file.name: file for file in folder.iterdir() if file.is_file()}
    path = beside.get(f"{name}.bin")
    if path is None:
        path = next((file for key, file in beside.items() if key.lower() == f"{name}.bin".lower()), None)
        if path is None:
            found.error("grid-missing", f"there is no {name}.bin beside the TASKDATA.XML")
            return None
        found.warn("grid-case", f"the grid's file is {path.name}; some readers only take {name}.bin")
    size, stated = path.stat().st_size, element.get("H")
    if stated is None:
        found.warn("grid-no-length", "GRD has no H, the length of its file")
    elif stated != str(size):
        found.error("grid-length", f"{path.name} has {size:,} bytes; GRD says {stated[:20]}")
    if size != expected:
        found.error("grid-bytes", f"{path.name} has {size:,} bytes; rows and columns need {expected:,}")
        return None
    return path.read_bytes()


def _decode_numbers(data: bytes, rows: int, cols: int, values: list[_Value], found: Readback) -> NDArray[np.float64]:
    layers = np.frombuffer(data, "<i4").reshape(rows, cols, len(values))
    if (layers < 0).any():
        found.error("rate-negative", f"{int((layers < 0).sum())} cells of the grid have a negative set point")
    at = next((nth for nth, value in enumerate(values) if value.ddi == _LITRES), 0)
    scale, unit = _UNITS.get(values[at].ddi, (1.0, "raw"))
    rates: NDArray[np.float64] = layers[..., at] * scale
    found.facts["grid_values"] = f"{rates.min():g} to {rates.max():g} {unit}"
    return rates


def _decode_codes(data: bytes, rows: int, cols: int, task: _Task, found: Readback) -> NDArray[np.float64]:
    codes = np.frombuffer(data, np.uint8).reshape(rows, cols)
    unknown = [code for code in np.unique(codes).tolist() if code not in task.zones]
    if unknown:
        found.error("zone-missing", f"the grid holds the codes {unknown[:8]}, which are no zones of {task.name}")
    table = np.zeros(256)
    for code, values in task.zones.items():
        table[code] = np.nan_to_num(_litres(values))
    return table[codes]


def _check_cover(grid: RateGrid, outlines: list[Outline], found: Readback) -> None:
    """Whether the grid covers the field, to a cell."""
    import shapely

    if not outlines:
        found.warn("no-boundary", "the task's field has no outline")
        return
    west, south, east, north = shapely.total_bounds([outline.polygon for outline in outlines])
    short = max((grid.west - west) / grid.step_lon, (east - grid.east) / grid.step_lon)
    short = max(short, (grid.south - south) / grid.step_lat, (north - grid.north) / grid.step_lat)
    if short > 1:
        found.error(
            "grid-field", f"the grid ends {short:.0f} cells before the field does; are rows and columns swapped?"
        )


def _integer(element: ET.Element, name: str, low: int, high: int, found: Readback, code: str) -> int | None:
    text = element.get(name, "")
    value: Any = int(text) if len(text) < 16 and text.removeprefix("-").isdecimal() and text.isascii() else None
    if value is None or not low <= value <= high:
        found.error(code, f"{element.tag} {name} is {text[:40]!r}; expected a whole number from {low} to {high}")
        return None
    return int(value)
