"""A prescription as a table with the outline of each zone as text, for spreadsheets and databases; written and read.

Longitude and latitude on WGS84 with nine decimals as well-known text, decimal points, comma between columns.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import shapely

from geoseg.export.planned import Planned
from geoseg.export.profiles import Profile
from geoseg.export.readback import Readback
from geoseg.export.shapefile import to_lonlat

__all__ = ["make_csv", "read_csv"]

_DECIMALS = 9
_MOST_BYTES = 1_000_000_000
_WKT = "wkt"


def make_csv(plan: Planned, profile: Profile, name: str) -> dict[str, bytes]:
    """One zone a row."""
    zones = plan.zones
    lonlat = to_lonlat(np.asarray(zones.geometry.values), zones.crs)
    outlines = shapely.to_wkt(lonlat, rounding_precision=_DECIMALS, trim=False).tolist()
    values = [zones[column.source].tolist() for column in profile.columns]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\r\n")
    table.writerow([*(column.name for column in profile.columns), _WKT])
    for row in zip(*values, outlines, strict=True):
        numbers = (f"{value:.{column.decimals}f}" for column, value in zip(profile.columns, row[:-1], strict=True))
        table.writerow([*numbers, row[-1]])
    return {f"{name}.csv": text.getvalue().encode("ascii")}


def read_csv(path: Path, rate_column: str | None = None) -> Readback:
    """Everything that can be said about a table of zones, its rows read by GDAL; faults become findings.

    Args:
        path: The file.
        rate_column: Column with the rates; None: ``rate_l_ha``.
    """
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError, FeatureError

    found, rate = Readback("CSV", crs=4326), rate_column or "rate_l_ha"
    if path.stat().st_size > _MOST_BYTES:
        found.error("file-size", f"{path.name} has {path.stat().st_size:,} bytes; at most {_MOST_BYTES:,} are read")
        return found
    try:
        meta, _, _, columns = pyogrio.raw.read(path, read_geometry=False, AUTODETECT_TYPE="NO")
    except (DataSourceError, DataLayerError, FeatureError, ValueError) as error:
        found.error("unreadable", f"GDAL cannot read it: {error}")
        return found
    table = dict(zip(meta["fields"].tolist(), columns, strict=True))
    found.facts |= {"columns": list(table), "polygons": len(columns[0]) if columns else 0}
    missing = [column for column in (rate, _WKT) if column not in table]
    if missing:
        found.error("no-rate-column", f"there is no column {' or '.join(missing)} among {', '.join(table)}")
        return found
    try:
        polygons = shapely.from_wkt(table[_WKT].astype(str))
        found.rates = table[rate].astype(np.float64)
        found.zones = table["zone"].astype(np.float64).astype(np.int64) if "zone" in table else None
    except (shapely.errors.GEOSException, ValueError, TypeError) as error:
        found.error("unreadable", f"a row cannot be understood: {error}")
        return found
    if not np.isin(shapely.get_type_id(polygons), (3, 6)).all():
        found.error("shape-type", "there are outlines that are no polygons")
        return found
    found.polygons = np.asarray(polygons, dtype=object)
    if not (found.rates >= 0).all():
        found.error("rate-negative", f"{int((~(found.rates >= 0)).sum())} rates are negative or no number")
    return found
