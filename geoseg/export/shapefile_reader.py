"""A shapefile read back for the checker: its bytes by our own parser, its polygons and table by GDAL.

The writer uses pyshp, so neither reader here shares code with it. Libraries repair what terminals do not (ring order,
truncated tables, fields that overflow), so these are looked for in the bytes.
"""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.export.readback import Readback

__all__ = ["DbfField", "read_shapefile"]

_POLYGON = 5
_SHAPE_NAMES = {0: "Null", 1: "Point", 3: "PolyLine", 5: "Polygon", 15: "PolygonZ", 25: "PolygonM"}
_RATE_NAMES = ("RATE", "L_P_HA", "TGT_RATE", "TARGETRATE", "RX", "DOSE", "TAXA")
_NOT_RATES = ("ZONE", "ID", "AREA", "FID", "OBJECTID", "HECTARES", "NUMBER")
_MISSING = {
    ".shx": "the index is missing, so terminals refuse the file",
    ".dbf": "the table is missing, so there are no rates",
    ".prj": "there is no .prj, so readers guess the CRS; expected one that says WGS 84",
}


@dataclass(frozen=True)
class DbfField:
    """A field as the bytes of the table's header describe it."""

    name: str
    type: str
    width: int
    decimals: int
    offset: int

    def __str__(self) -> str:
        return f"{self.name} {self.type}({self.width},{self.decimals})"


def read_shapefile(path: Path, rate_column: str | None = None) -> Readback:
    """Everything that can be said about a shapefile; faults become findings, never exceptions.

    Args:
        path: The ``.shp`` file.
        rate_column: Column with the rates; None: by its name, or else the first number that is no area or id.
    """
    found = Readback("shapefile")
    sidecars = {part: _sidecar(path, part) for part in (".shx", ".dbf", ".prj", ".cpg")}
    for part, message in _MISSING.items():
        if sidecars[part] is None:
            found.error(f"missing-{part[1:]}", message)
    records = _read_shp(path.read_bytes(), found)
    if sidecars[".shx"] is not None:
        _check_index(sidecars[".shx"].read_bytes(), records, found)
    if sidecars[".dbf"] is not None:
        _read_dbf(sidecars[".dbf"].read_bytes(), records, rate_column, found)
    if sidecars[".prj"] is not None and not sidecars[".prj"].read_bytes().isascii():
        found.error("crs", "the .prj is not text")  # GDAL stops at it, so there is nothing more to find out
    else:
        _read_with_gdal(path, found)
    return found


def _sidecar(path: Path, part: str) -> Path | None:
    for candidate in (path.with_suffix(part), path.with_suffix(part.upper())):
        if candidate.is_file():
            return candidate
    return None


def _read_shp(data: bytes, found: Readback) -> int:
    """Header, records and ring order; returns the number of records."""
    if len(data) < 100 or struct.unpack(">i", data[:4])[0] != 9994:
        found.error("not-a-shapefile", f"{len(data)} bytes that do not begin like a shapefile")
        return 0
    length, (version, kind) = 2 * struct.unpack(">i", data[24:28])[0], struct.unpack("<2i", data[28:36])
    found.facts["shape_type"] = f"{_SHAPE_NAMES.get(kind, 'unknown')} ({kind})"
    if kind != _POLYGON or version != 1000:
        found.error(
            "shape-type", f"shape type {kind}, version {version}; expected Polygon 5 (no Z, no M), version 1000"
        )
    if length != len(data):
        found.error("shp-length", f"the .shp has {len(data)} bytes; its header says {length}")
    areas, record, truncated = _ring_areas(data)
    if truncated:
        found.error("shp-truncated", f"the .shp ends within record {truncated}")
    records = int(record[-1]) + 1 if record.size else 0
    _check_rings(areas, record, records, found)
    return records


def _ring_areas(data: bytes) -> tuple[NDArray[np.float64], NDArray[np.int64], int]:
    """Signed area of every ring (positive: counter-clockwise) with its record; the record where the data ends short."""
    rings: list[NDArray[np.float64]] = []
    records: list[int] = []
    at, record = 100, 0
    while at < len(data):
        size = 2 * struct.unpack(">i", data[at + 4 : at + 8])[0] if at + 8 <= len(data) else -1
        content = data[at + 8 : at + 8 + max(size, 0)]
        if size < 4 or len(content) < size:
            return _areas(rings), np.array(records, np.int64), record + 1
        if size >= 44 and struct.unpack("<i", content[:4])[0] in (_POLYGON, 15, 25):
            parts, points = struct.unpack("<2i", content[36:44])
            if parts < 1 or points < 0 or 44 + 4 * parts + 16 * points > size:
                return _areas(rings), np.array(records, np.int64), record + 1
            starts = np.frombuffer(content, "<i4", parts, 44)
            coordinates = np.frombuffer(content, "<f8", 2 * points, 44 + 4 * parts).reshape(-1, 2)
            rings += np.split(coordinates, starts[1:])
            records += [record] * parts
        at += 8 + size
        record += 1
    return _areas(rings), np.array(records, np.int64), 0


def _areas(rings: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    local = (ring - ring[0] if len(ring) else ring for ring in rings)
    return np.array([np.sum(r[:-1, 0] * r[1:, 1] - r[1:, 0] * r[:-1, 1]) / 2 for r in local], np.float64)


def _check_rings(areas: NDArray[np.float64], record: NDArray[np.int64], records: int, found: Readback) -> None:
    shells = np.bincount(record[areas < 0], minlength=records)
    found.facts |= {
        "records": records,
        "multi_part": int((shells > 1).sum()),
        "holes": int((areas > 0).sum() - (shells == 0).sum()) if records else 0,
    }
    first = np.flatnonzero(np.diff(record, prepend=-1))
    reversed_ = int((areas[first] >= 0).sum())
    found.facts["ring_order"] = "shells clockwise" if not reversed_ else f"{reversed_} shells counter-clockwise"
    if reversed_:
        found.error(
            "ring-order",
            f"{reversed_} of {records} polygons begin with a counter-clockwise ring, which reads as a hole",
        )


def _check_index(data: bytes, records: int, found: Readback) -> None:
    entries = max(len(data) - 100, 0) // 8
    if entries != records:
        found.error("shx-count", f"the index has {entries} entries for {records} polygons")


def _read_dbf(data: bytes, records: int, rate_column: str | None, found: Readback) -> None:
    fields = _dbf_fields(data)
    if not fields:
        found.error("dbf-header", "the table has no readable header")
        return
    count, header, width = struct.unpack("<IHH", data[4:12])
    found.facts["columns"] = [str(field) for field in fields]
    bad = [f.name for f in fields if not f.name.isascii() or not f.name.replace("_", "").isalnum()]
    if bad:
        found.warn("column-names", f"columns {', '.join(bad)} hold other characters than ASCII letters, digits and _")
    if width < 1 + sum(field.width for field in fields) or not any(field.width for field in fields):
        found.error("dbf-header", f"a row of the table has {width} bytes, less than its fields")
        return
    if count != records:
        found.error("dbf-count", f"the table has {count} rows for {records} polygons")
    if len(data) < header + count * width:
        found.error("dbf-truncated", f"the table has {len(data)} bytes; {count} rows need {header + count * width}")
        return
    rows = np.frombuffer(data, np.uint8, count * width, header).reshape(count, width)
    _read_columns(rows, fields, rate_column, found)


def _read_columns(rows: NDArray[np.uint8], fields: list[DbfField], rate_column: str | None, found: Readback) -> None:
    """Rates and zone numbers from the rows' bytes."""
    rate = _choose_rate(fields, rate_column)
    if rate is None:
        found.error("no-rate-column", f"no number that could be a rate among {', '.join(f.name for f in fields)}")
        return
    found.facts |= {"rate_column": rate.name, "unit": "none in the file; taken for l/ha"}
    found.rates = _numbers(rows, rate)
    if np.isnan(found.rates).any():
        found.error("rate-missing", f"{int(np.isnan(found.rates).sum())} polygons have no number in {rate.name}")
    if (found.rates < 0).any():
        found.error("rate-negative", f"{int((found.rates < 0).sum())} polygons have a negative rate")
    by_name = {field.name.upper(): field for field in fields}
    if "ZONE" in by_name:
        zones = _numbers(rows, by_name["ZONE"])
        found.zones = None if np.isnan(zones).any() else zones.astype(np.int64)
    if {"RATE", "L_P_HA"} <= set(by_name):
        copies = _numbers(rows, by_name["L_P_HA"]), _numbers(rows, by_name["RATE"])
        if not np.array_equal(*copies, equal_nan=True):
            found.error("rate-copies", "the columns RATE and L_P_HA differ")


def _dbf_fields(data: bytes) -> list[DbfField]:
    fields: list[DbfField] = []
    at, offset = 32, 1
    while at + 32 <= len(data) and data[at] != 0x0D:
        name = data[at : at + 11].split(b"\0")[0].decode("latin-1")
        width, decimals = data[at + 16], data[at + 17]
        fields.append(DbfField(name, chr(data[at + 11]), width, decimals, offset))
        at, offset = at + 32, offset + width
    return fields


def _choose_rate(fields: list[DbfField], wanted: str | None) -> DbfField | None:
    numbers = {field.name.upper(): field for field in fields if field.type in "NF"}
    if wanted is not None:
        return numbers.get(wanted.upper())
    named = [name for name in _RATE_NAMES if name in numbers]
    others = [name for name in numbers if not any(word in name for word in _NOT_RATES)]
    return numbers[(named + others)[0]] if named or others else None


def _numbers(rows: NDArray[np.uint8], field: DbfField) -> NDArray[np.float64]:
    """A column's numbers; NaN where it is empty or overflowed."""
    text = [bytes(row).strip() for row in rows[:, field.offset : field.offset + field.width]]
    return np.array([_number(value) for value in text], np.float64)


def _number(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _read_with_gdal(path: Path, found: Readback) -> None:
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError, FeatureError

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            meta, _, geometry, _ = pyogrio.raw.read(path, columns=[], encoding="latin-1")
            polygons = np.asarray(shapely.from_wkb(geometry, on_invalid="ignore"), dtype=object)
        except (DataSourceError, DataLayerError, FeatureError, ValueError) as error:
            found.error("unreadable", f"GDAL cannot read it: {error}")
            return
    for message in sorted({str(warning.message) for warning in caught}):
        found.warn("gdal", message)
    found.crs, found.facts["crs"] = meta["crs"], meta["crs"] or "none"
    found.facts["polygons"] = len(polygons)
    if found.rates is not None and len(polygons) != len(found.rates):
        found.error("count", f"GDAL reads {len(polygons)} polygons; the table has {len(found.rates)} rows")
        return
    empty = shapely.is_missing(polygons) | shapely.is_empty(polygons)
    if empty.any():
        found.error("empty-polygons", f"{int(empty.sum())} records have no polygon")
    found.polygons = polygons
