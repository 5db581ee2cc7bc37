"""The field's outline beside a raster or grid of rates, as spray drones take it, read back for the checker."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.export.readback import Readback
from geoseg.export.reading import read_features, take_polygons
from geoseg.export.safexml import parse_xml

if TYPE_CHECKING:
    from geoseg.export.planned import Planned

__all__ = ["compare_outline", "is_outline", "read_outline"]

_SHIFT_M = 0.001
_MOST_BYTES = 64_000_000


def is_outline(path: Path) -> bool:
    """Whether a file is the outline beside rates, and holds none itself."""
    if path.suffix.lower() == ".kml":
        return path.stem.lower().endswith("_boundary")
    beside = path.parent.parent / "Rx"
    return path.suffix.lower() == ".shp" and path.parent.name.lower() == "shapefile" and beside.is_dir()


def read_outline(path: Path) -> Readback:
    """The field's outline, read by GDAL; the rates are in a file beside it.

    Args:
        path: The ``.shp`` or ``.kml`` file.
    """
    found = Readback("field outline")
    if path.suffix.lower() == ".kml" and parse_xml(path, found, _MOST_BYTES) is None:
        return found
    read = read_features(path, found)
    if read is None:
        return found
    take_polygons(read[0], found)
    if found.crs != "EPSG:4326":
        found.error("crs", f"the CRS is {found.crs}; expected EPSG:4326")
    return found


def compare_outline(found: Readback, prescription: Planned | None) -> None:
    """Add a finding where the outline is not the plan's field to a millimetre."""
    if prescription is None or found.polygons is None or found.crs != "EPSG:4326":
        return
    import geopandas as gpd

    field = prescription.boundary
    read = gpd.GeoSeries(found.polygons, crs=4326).to_crs(prescription.zones.crs).union_all()
    differs = float(read.symmetric_difference(field).area)
    found.facts["outline_difference_m2"] = differs
    if differs > _SHIFT_M * field.length:
        found.error("outline-changed", f"the outline differs from the field by {differs:.3f} m2; expected none")
