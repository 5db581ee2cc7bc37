"""A prescription as GeoJSON, for web maps and other programs; written and read back.

As RFC 7946 wants it: longitude and latitude on WGS84, shells counter-clockwise and holes clockwise, no ``crs`` member.
Coordinates have nine decimals, a tenth of a millimetre, which keeps shared vertices shared.

Reference:
    RFC 7946, https://www.rfc-editor.org/rfc/rfc7946
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import shapely

from geoseg.export.planned import Planned
from geoseg.export.profiles import Profile
from geoseg.export.readback import Readback
from geoseg.export.reading import read_features, take_polygons, take_rates
from geoseg.export.shapefile import to_lonlat

__all__ = ["make_geojson", "read_geojson"]

_DECIMALS = 9


def make_geojson(plan: Planned, profile: Profile, name: str) -> dict[str, bytes]:
    """The zones as one feature a line."""
    zones = plan.zones
    lonlat = shapely.orient_polygons(to_lonlat(np.asarray(zones.geometry.values), zones.crs))
    table = [(column.name, zones[column.source].tolist(), column.decimals) for column in profile.columns]
    features = []
    for nth, polygon in enumerate(lonlat):
        properties = {key: round(values[nth], decimals) for key, values, decimals in table}
        rings = [np.round(shapely.get_coordinates(ring), _DECIMALS).tolist() for ring in shapely.get_rings(polygon)]
        geometry = {"type": "Polygon", "coordinates": rings}
        features.append(json.dumps({"type": "Feature", "properties": properties, "geometry": geometry}))
    lines = ",\n".join(features)
    text = f'{{"type": "FeatureCollection", "features": [\n{lines}\n]}}\n'
    return {f"{name}.geojson": text.encode("ascii")}


def read_geojson(path: Path, rate_column: str | None = None) -> Readback:
    """Everything that can be said about a GeoJSON prescription, read by GDAL; faults become findings.

    Args:
        path: The file.
        rate_column: Property with the rates; None: ``rate_l_ha`` or ``rate``.
    """
    found = Readback("GeoJSON")
    read = read_features(path, found)
    if read is not None:
        take_rates(read[1], rate_column, found)
        take_polygons(read[0], found)
        _check_rings(found)
    return found


def _check_rings(found: Readback) -> None:
    if found.polygons is None:
        return
    shells = shapely.get_exterior_ring(shapely.get_parts(found.polygons))
    reversed_ = int((~shapely.is_ccw(shells)).sum())
    found.facts["ring_order"] = "shells counter-clockwise" if not reversed_ else f"{reversed_} shells clockwise"
    if reversed_:
        found.error("ring-order", f"{reversed_} shells run clockwise; RFC 7946 wants them counter-clockwise")
