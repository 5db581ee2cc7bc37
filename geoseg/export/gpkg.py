"""A prescription as a GeoPackage of its own, with styles, in the CRS of the map; written and read back."""

from __future__ import annotations

import sqlite3
import warnings
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from geoseg.export.columns import LAYERS, Column, Layer
from geoseg.export.geopackage import FieldPackage
from geoseg.export.planned import Planned
from geoseg.export.profiles import Profile
from geoseg.export.readback import Readback
from geoseg.export.reading import read_features, take_polygons, take_rates
from geoseg.qgis.fieldstyles import LAYER_STYLES, rate_style

__all__ = ["make_gpkg", "read_gpkg"]

_LAYER = "prescription"
_MOST_BYTES = 2_000_000_000
_MOST_FEATURES = 5_000_000


def make_gpkg(plan: Planned, profile: Profile, name: str) -> dict[str, bytes]:
    """``NAME.gpkg`` with the layers ``boundary`` and ``prescription``; the same plan gives the same bytes."""
    zones = plan.zones
    columns = tuple(
        Column(column.name, "float64" if column.decimals else "int64", column.unit, column.kind)
        for column in profile.columns
    )
    layers = {"boundary": LAYERS["boundary"], _LAYER: Layer(_LAYER, "Polygon", "Zones with their rates", columns)}
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.gpkg"
        rate_column = next(column.name for column in profile.columns if column.kind == "rate")
        styles = LAYER_STYLES | {_LAYER: rate_style(plan.rates, rate_column)}
        with FieldPackage(path, zones.crs, layers, styles=styles) as package:
            package.write_boundary(plan.boundary)
            values = {column.name: zones[column.source].to_numpy() for column in profile.columns}
            package.append(_LAYER, values, np.asarray(zones.geometry.values))
        return {path.name: path.read_bytes()}


def read_gpkg(path: Path, rate_column: str | None = None) -> Readback:
    """Everything that can be said about a GeoPackage of zones, read by GDAL; faults become findings.

    Args:
        path: The file.
        rate_column: Column with the rates; None: ``rate_l_ha`` or ``rate``.
    """
    found = Readback("GeoPackage", any_crs=True)
    size = path.stat().st_size
    if size > _MOST_BYTES:
        found.error("file-size", f"{path.name} has {size:,} bytes; at most {_MOST_BYTES:,} are read")
        return found
    layer = _layer(path, found)
    read = None if layer is None else read_features(path, found, layer=layer)
    if read is None:
        return found
    found.facts["layer"] = layer
    if found.crs is None:
        found.error("crs", f"the layer {layer} has no CRS")
        return found
    take_rates(read[1], rate_column, found)
    take_polygons(read[0], found)
    return found


def _layer(path: Path, found: Readback) -> str | None:
    """The layer with the zones; None, and a finding, where there is none that can be read.

    SQLite looks first whether the file is sound: GDAL reads what it can of one that is not.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what GDAL finds odd in a foreign database is named below
        return _find_layer(path, found)


def _find_layer(path: Path, found: Readback) -> str | None:
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError

    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            (answer,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if answer != "ok":
            found.error("unreadable", f"SQLite finds the file damaged: {answer!s:.200}")
            return None
        polygons = [str(name) for name, kind in pyogrio.list_layers(path) if "Polygon" in str(kind)]
        layer = next((name for name in (_LAYER, *polygons) if name in polygons), None)
        count = 0 if layer is None else pyogrio.read_info(path, layer=layer)["features"]
    except (DataSourceError, DataLayerError, ValueError, RuntimeError, sqlite3.Error) as error:
        found.error("unreadable", f"it cannot be read as a GeoPackage: {error}")
        return None
    if layer is None:
        found.error("no-layer", "there is no layer of polygons")
    elif count > _MOST_FEATURES:
        found.error("file-size", f"the layer {layer} has {count:,} features; at most {_MOST_FEATURES:,} are read")
        return None
    return layer
