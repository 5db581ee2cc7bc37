"""A prescription as a shapefile that old and new terminals can read. Knows the format, obeys the profile.

Longitude and latitude on WGS84, two dimensions, one part a polygon, shells clockwise and holes counter-clockwise as
the format wants, short ASCII names, numbers in fields of stated width. Rate 0 is written: outside a map some terminals
fall back to their normal rate.

Reference:
    ESRI Shapefile Technical Description, 1998, https://www.esri.com/content/dam/esrisite/sitecore-archive/Files/Pdfs/library/whitepapers/pdfs/shapefile.pdf
"""

from __future__ import annotations

import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.errors import PrescriptionError
from geoseg.export.profiles import Column, Profile
from geoseg.spray.prescription import Prescription

__all__ = ["WGS84_PRJ", "refuse_over_limit", "shapefile_bytes", "to_lonlat", "write_shapefile"]

WGS84_PRJ = (
    'GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984",SPHEROID["WGS_1984",6378137.0,298.257223563]],'
    'PRIMEM["Greenwich",0.0],UNIT["Degree",0.0174532925199433]]'
)
_PARTS = (".dbf", ".shx", ".prj", ".cpg", ".shp")  # .shp last: a folder with one has all the others
_RATE_ROUNDING = 5e-4


def write_shapefile(prescription: Prescription, folder: Path, profile: Profile, name: str) -> list[Path]:
    """Write the zones; returns the files.

    Files get temporary names in the same folder and take their places together when all are whole.

    Raises:
        PrescriptionError: If a limit of the profile, or of the format, does not hold.
    """
    parts = shapefile_bytes(prescription, profile, name)
    folder.mkdir(parents=True, exist_ok=True)
    drafts = {part: folder / f".{name}.{os.getpid()}{part}" for part in _PARTS}
    try:
        for part, draft in drafts.items():
            draft.write_bytes(parts[part])
        (folder / f"{name}.shp").unlink(missing_ok=True)  # never an old .shp beside a new table
        for part, draft in drafts.items():
            os.replace(draft, folder / f"{name}{part}")
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)
    return [folder / f"{name}{part}" for part in _PARTS]


def shapefile_bytes(prescription: Prescription, profile: Profile, name: str) -> dict[str, bytes]:
    """What each file of the shapefile holds, by its suffix.

    Raises:
        PrescriptionError: If a limit of the profile, or of the format, does not hold.
    """
    zones = prescription.zones
    refuse_over_limit(prescription, profile, name)
    values = [(column, _values(zones, column)) for column in profile.columns]
    polygons = shapely.orient_polygons(to_lonlat(np.asarray(zones.geometry.values), zones.crs), exterior_cw=True)
    parts = {".prj": WGS84_PRJ.encode("ascii"), ".cpg": b"UTF-8"} | _parts(polygons, values)
    _refuse_too_large(sum(len(part) for part in parts.values()), profile)
    return parts


def to_lonlat(geometries: NDArray[Any], crs: Any) -> NDArray[Any]:
    """Geometries with their vertices moved to EPSG:4326, longitude first; shared vertices stay shared."""
    from pyproj import Transformer

    transform = Transformer.from_crs(crs, 4326, always_xy=True).transform

    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(transform(points[:, 0], points[:, 1]), axis=1)

    return np.asarray(shapely.transform(geometries, move))


def _parts(polygons: NDArray[Any], values: list[tuple[Column, NDArray[np.float64]]]) -> dict[str, bytes]:
    """The bytes of shapes, index and table; built in memory, so that a full disk cannot leave half of one."""
    import shapefile

    files = {part: BytesIO() for part in ("shp", "shx", "dbf")}
    with shapefile.Writer(**files, shapeType=shapefile.POLYGON, encoding="ascii") as writer:
        for column, _ in values:
            writer.field(column.name, "N", column.width, column.decimals)
        rows = zip(*(_plain(column)(numbers) for column, numbers in values), strict=True)
        for polygon, row in zip(polygons, rows, strict=True):
            writer.poly([shapely.get_coordinates(ring).tolist() for ring in shapely.get_rings(polygon)])
            writer.record(*row)
    return {f".{part}": file.getvalue() for part, file in files.items()}


def _plain(column: Column) -> Callable[[NDArray[np.float64]], list[float] | list[int]]:
    """Numbers as Python's own, whole where the column has no decimals."""
    if column.decimals:
        return lambda numbers: [float(number) for number in numbers]
    return lambda numbers: [int(number) for number in numbers]


def _values(zones: Any, column: Column) -> NDArray[np.float64]:
    """The column's numbers, rounded as they will be written.

    Raises:
        PrescriptionError: If one does not fit the field, or a rate would change by being rounded.
    """
    exact = zones[column.source].to_numpy(np.float64)
    rounded: NDArray[np.float64] = np.round(exact, column.decimals)
    longest = max((len(f"{number:.{column.decimals}f}") for number in (rounded.min(), rounded.max())), default=0)
    if longest > column.width:
        raise PrescriptionError(
            f"{column.source} {rounded.max():g} does not fit the column {column.name} of {column.width} characters, "
            f"{column.decimals} of them decimals"
        )
    if column.kind == "rate" and (np.abs(rounded - exact) > _RATE_ROUNDING * np.abs(exact)).any():
        worst = exact[np.argmax(np.abs(rounded - exact))]
        raise PrescriptionError(
            f"the rate {worst!r} l/ha cannot be written with {column.decimals} decimals in the column {column.name}; "
            "use a rate that can"
        )
    return rounded


def refuse_over_limit(prescription: Prescription, profile: Profile, name: str) -> None:
    """Refuse a file name, a number of polygons or a number of rates that the profile does not take.

    Raises:
        PrescriptionError: If a limit of the profile does not hold.
    """
    most = profile.limit("name_chars") or 8
    if not (name.isascii() and name.replace("_", "").isalnum() and name.isupper() and len(name) <= most):
        raise PrescriptionError(
            f"the file name {name!r} does not suit {profile.title}; expected at most {most} ASCII capitals, digits or _"
        )
    for what, found in (("polygons", len(prescription.zones)), ("rates", len(prescription.rates))):
        limit = profile.limit(what)
        if limit is not None and found > limit:
            raise PrescriptionError(
                f"the prescription has {found} {what}; {profile.title} takes {limit}; use wider sections or longer "
                "cells, a larger buffer or a larger minimum spot"
            )


def _refuse_too_large(size: int, profile: Profile) -> None:
    limit = profile.limit("bytes")
    if limit is not None and size > limit:
        raise PrescriptionError(
            f"the prescription has {size:,} bytes; {profile.title} takes {limit:,}; use wider sections or longer "
            "cells, a larger buffer or a larger minimum spot"
        )
