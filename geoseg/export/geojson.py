"""A prescription as GeoJSON, for web maps and other programs; written and read back.

As RFC 7946 wants it: longitude and latitude on WGS84, shells counter-clockwise and holes clockwise, no ``crs`` member.
Coordinates have nine decimals, a tenth of a millimetre, which keeps shared vertices shared.

Reference:
    RFC 7946, https://www.rfc-editor.org/rfc/rfc7946
"""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.export.profiles import Profile
from geoseg.export.readback import Readback
from geoseg.export.shapefile import to_lonlat
from geoseg.spray.prescription import Prescription

__all__ = ["read_geojson", "write_geojson"]

_DECIMALS = 9


def write_geojson(prescription: Prescription, folder: Path, profile: Profile, name: str) -> list[Path]:
    """Write the zones as one feature a line; returns the file, which appears when it is whole."""
    zones = prescription.zones
    lonlat = shapely.orient_polygons(to_lonlat(np.asarray(zones.geometry.values), zones.crs))
    table = [(column.name, zones[column.source].tolist(), column.decimals) for column in profile.columns]
    features = []
    for nth, polygon in enumerate(lonlat):
        properties = {key: round(values[nth], decimals) for key, values, decimals in table}
        rings = [np.round(shapely.get_coordinates(ring), _DECIMALS).tolist() for ring in shapely.get_rings(polygon)]
        geometry = {"type": "Polygon", "coordinates": rings}
        features.append(json.dumps({"type": "Feature", "properties": properties, "geometry": geometry}))
    folder.mkdir(parents=True, exist_ok=True)
    path, draft = folder / f"{name}.geojson", folder / f".{name}.{os.getpid()}.geojson"
    try:
        lines = ",\n".join(features)
        draft.write_text(f'{{"type": "FeatureCollection", "features": [\n{lines}\n]}}\n', encoding="ascii")
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    return [path]


def read_geojson(path: Path, rate_column: str | None = None) -> Readback:
    """Everything that can be said about a GeoJSON prescription, read by GDAL; faults become findings.

    Args:
        path: The file.
        rate_column: Property with the rates; None: ``rate_l_ha`` or ``rate``.
    """
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError, FeatureError

    found = Readback("GeoJSON")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            meta, _, geometry, columns = pyogrio.raw.read(path)
            polygons = np.asarray(shapely.from_wkb(geometry, on_invalid="ignore"), dtype=object)
        except (DataSourceError, DataLayerError, FeatureError, ValueError) as error:
            found.error("unreadable", f"GDAL cannot read it: {error}")
            return found
    for message in sorted({str(warning.message) for warning in caught}):
        found.warn("gdal", message)
    found.polygons, found.crs = polygons, meta["crs"]
    found.facts |= {"crs": meta["crs"], "polygons": len(polygons), "columns": meta["fields"].tolist()}
    _read_columns(dict(zip(meta["fields"].tolist(), columns, strict=True)), rate_column, found)
    _check_shapes(polygons, found)
    return found


def _read_columns(table: dict[str, NDArray[Any]], rate_column: str | None, found: Readback) -> None:
    wanted = [rate_column] if rate_column else ["rate_l_ha", "rate"]
    rate = next((name for name in wanted if name in table and table[name].dtype.kind in "iuf"), None)
    if rate is None:
        found.error("no-rate-column", f"no number {' or '.join(wanted)} among {', '.join(table) or 'no properties'}")
        return
    found.facts["rate_column"] = rate
    found.rates = table[rate].astype(np.float64)
    if np.isnan(found.rates).any():
        found.error("rate-missing", f"{int(np.isnan(found.rates).sum())} polygons have no number in {rate}")
    if (found.rates < 0).any():
        found.error("rate-negative", f"{int((found.rates < 0).sum())} polygons have a negative rate")
    if "zone" in table and table["zone"].dtype.kind in "iu":
        found.zones = table["zone"].astype(np.int64)


def _check_shapes(polygons: NDArray[Any], found: Readback) -> None:
    kinds = shapely.get_type_id(polygons)
    others = ~np.isin(kinds, (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON))
    if others.any():
        found.error("shape-type", f"{int(others.sum())} features are no polygons")
        found.polygons = None
        return
    shells = shapely.get_exterior_ring(shapely.get_parts(polygons))
    reversed_ = int((~shapely.is_ccw(shells)).sum())
    found.facts["ring_order"] = "shells counter-clockwise" if not reversed_ else f"{reversed_} shells clockwise"
    if reversed_:
        found.error("ring-order", f"{reversed_} shells run clockwise; RFC 7946 wants them counter-clockwise")
