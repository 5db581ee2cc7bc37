"""A prescription as a shapefile that old and new terminals can read. Knows the format, obeys the profile.

Longitude and latitude on WGS84, two dimensions, one part a polygon, shells clockwise and holes counter-clockwise as
the format wants, short ASCII names, numbers in fields of stated width. Rate 0 is written: outside a map some terminals
fall back to their normal rate.

Reference:
    ESRI Shapefile Technical Description, 1998, https://www.esri.com/content/dam/esrisite/sitecore-archive/Files/Pdfs/library/whitepapers/pdfs/shapefile.pdf
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.export.attributes import values_of
from geoseg.export.planned import Planned
from geoseg.export.profiles import Column, Profile

__all__ = ["SHAPEFILE_PARTS", "WGS84_PRJ", "make_shapefile", "to_lonlat"]

WGS84_PRJ = (
    'GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984",SPHEROID["WGS_1984",6378137.0,298.257223563]],'
    'PRIMEM["Greenwich",0.0],UNIT["Degree",0.0174532925199433]]'
)
SHAPEFILE_PARTS = (".dbf", ".shx", ".prj", ".cpg", ".shp")
"""Suffixes of the files; .shp last: a folder with one has all the others."""


def make_shapefile(plan: Planned, profile: Profile, name: str) -> dict[str, bytes]:
    """The files of the zones by name.

    Raises:
        PrescriptionError: If a value does not fit its column.
    """
    zones = plan.zones
    values = [(column, values_of(zones, column)) for column in profile.columns]
    polygons = shapely.orient_polygons(to_lonlat(np.asarray(zones.geometry.values), zones.crs), exterior_cw=True)
    parts = {".prj": WGS84_PRJ.encode("ascii"), ".cpg": b"UTF-8"} | _parts(polygons, values)
    return {f"{name}{part}": parts[part] for part in SHAPEFILE_PARTS}


def to_lonlat(geometries: NDArray[Any], crs: Any) -> NDArray[Any]:
    """Geometries with their vertices moved to EPSG:4326, longitude first; shared vertices stay shared."""
    from pyproj import Transformer

    transform = Transformer.from_crs(crs, 4326, always_xy=True).transform

    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(transform(points[:, 0], points[:, 1]), axis=1)

    return np.asarray(shapely.transform(geometries, move))


def _parts(polygons: NDArray[Any], values: list[tuple[Column, list[Any]]]) -> dict[str, bytes]:
    """The bytes of shapes, index and table; built in memory, so that a full disk cannot leave half of one."""
    import shapefile

    files = {part: BytesIO() for part in ("shp", "shx", "dbf")}
    with shapefile.Writer(**files, shapeType=shapefile.POLYGON, encoding="ascii") as writer:
        for column, _ in values:
            writer.field(column.name, "C" if column.is_text else "N", column.width, column.decimals)
        rows = zip(*(column_values for _, column_values in values), strict=True)
        for polygon, row in zip(polygons, rows, strict=True):
            writer.poly([shapely.get_coordinates(ring).tolist() for ring in shapely.get_rings(polygon)])
            writer.record(*row)
    return {f".{part}": file.getvalue() for part, file in files.items()}
