"""What readers of polygons share: features by GDAL, their rates and numbers, and whether they are polygons at all."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.export.readback import Readback

__all__ = ["read_features", "take_polygons", "take_rates"]

_RATES = ("rate_l_ha", "rate", "RATE")
_POLYGONS = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)


def read_features(path: Path, found: Readback, **options: Any) -> tuple[NDArray[Any], dict[str, NDArray[Any]]] | None:
    """Geometries and columns of a layer as GDAL reads them; None, and a finding, where it cannot.

    Args:
        path: The file.
        found: Where CRS, facts and findings go.
        **options: For `pyogrio.raw.read`.
    """
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError, FeatureError

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            meta, _, geometry, columns = pyogrio.raw.read(path, **options)
            features = np.asarray(shapely.from_wkb(geometry, on_invalid="ignore"), dtype=object)
        except (DataSourceError, DataLayerError, FeatureError, ValueError, RuntimeError) as error:
            found.error("unreadable", f"GDAL cannot read it: {error}")
            return None
        except IndexError:  # pyogrio, where a file has no layer at all
            found.error("no-polygons", "the file holds no layer")
            return None
    for message in sorted({str(warning.message) for warning in caught}):
        found.warn("gdal", message)
    found.crs = meta["crs"]
    fields = meta["fields"].tolist()
    found.facts |= {"crs": meta["crs"] or "none", "polygons": len(features), "columns": fields}
    return features, dict(zip(fields, columns, strict=True))


def take_rates(table: dict[str, NDArray[Any]], rate_column: str | None, found: Readback) -> None:
    """Rates and zone numbers out of a table; numbers may be written as text."""
    wanted = [rate_column] if rate_column else [name for name in _RATES if name in table]
    rates = _numbers(table.get(wanted[0])) if wanted else None
    if rates is None:
        names = rate_column or " or ".join(_RATES[:2])
        found.error("no-rate-column", f"no number {names} among {', '.join(table) or 'no columns'}")
        return
    found.facts["rate_column"], found.rates = wanted[0], rates
    if np.isnan(rates).any():
        found.error("rate-missing", f"{int(np.isnan(rates).sum())} polygons have no number in {wanted[0]}")
    if (rates < 0).any():
        found.error("rate-negative", f"{int((rates < 0).sum())} polygons have a negative rate")
    zones = _numbers(table.get("zone"))
    if zones is not None and (np.abs(zones) < 2**31).all() and (zones == np.round(zones)).all():
        found.zones = zones.astype(np.int64)


def take_polygons(features: NDArray[Any], found: Readback) -> None:
    """The features as the polygons of the file, if all are polygons."""
    others = ~np.isin(shapely.get_type_id(features), _POLYGONS)
    if others.any():
        found.error("shape-type", f"{int(others.sum())} features are no polygons")
        return
    found.polygons = np.asarray(shapely.force_2d(features), dtype=object)


def _numbers(values: NDArray[Any] | None) -> NDArray[np.float64] | None:
    """A column as numbers, NaN where there is none; None where none of it is."""
    if values is None or values.dtype.kind not in "iufO":
        return None
    numbers = np.array([_number(value) for value in values.tolist()], np.float64)
    return None if values.dtype.kind == "O" and len(numbers) and np.isnan(numbers).all() else numbers


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return float("nan")
    return number if np.isfinite(number) else float("nan")
