"""A raster of rates read back for the checker: by its world file alone where there is one, as spray drones do."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.export.rategrid import RateGrid
from geoseg.export.readback import Readback

__all__ = ["read_dji"]

_MOST_BYTES = 10_000_000
_MOST_CELLS = 50_000_000
_SHIFT = 1e-3  # of a cell


def read_dji(path: Path) -> Readback:
    """Everything that can be said about a rate raster; faults become findings, never exceptions.

    Args:
        path: The ``.tif`` file.
    """
    import rasterio
    from rasterio.errors import RasterioError

    found = Readback("rate raster", crs=4326)
    drone, size = path.parent.name.lower() == "rx", path.stat().st_size
    if drone and size > _MOST_BYTES:
        found.error("file-size", f"{path.name} has {size:,} bytes; drones take at most {_MOST_BYTES:,}")
    world = path.with_suffix(".tfw").is_file()
    if not world:
        message = f"there is no {path.stem}.tfw beside {path.name}"
        if drone:
            found.error("missing-tfw", message)
            return found
        found.warn("missing-tfw", message)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a raster without a place is named below
        try:
            with rasterio.open(path) as raster:
                tagged, crs, nodata = raster.transform, raster.crs, raster.nodata
            sources = "WORLDFILE" if world else "INTERNAL"
            with rasterio.Env(GDAL_GEOREF_SOURCES=sources), rasterio.open(path) as raster:
                placed, kind, count, shape = raster.transform, raster.dtypes[0], raster.count, raster.shape
                found.facts |= {"rows": shape[0], "columns": shape[1], "type": kind, "crs": str(crs)}
                if not _fit(shape, kind, count, found):
                    return found
                rates = raster.read(1).astype(np.float64)
        except RasterioError as error:
            found.error("unreadable", f"GDAL cannot read it: {error}")
            return found
    if crs is None or crs.to_epsg() != 4326:
        found.error("crs", f"the CRS is {crs}; expected EPSG:4326")
    if nodata is not None:
        found.error("nodata", f"the raster declares nodata {nodata:g}; expected none, and 0 where nothing is sprayed")
    _check_values(rates, found)
    _place(placed, tagged, rates, found)
    return found


def _fit(shape: tuple[int, int], kind: str, count: int, found: Readback) -> bool:
    if count != 1 or kind != "float32":
        found.error("raster-type", f"the raster has {count} band(s) of {kind}; expected one of float32")
    if shape[0] * shape[1] > _MOST_CELLS:
        found.error("grid-size", f"the raster has {shape[0]:,} rows and {shape[1]:,} columns")
        return False
    return True


def _check_values(rates: Any, found: Readback) -> None:
    if not np.isfinite(rates).all():
        found.error("rate-missing", f"{int((~np.isfinite(rates)).sum())} cells hold no number")
    if (rates < 0).any():
        found.error("rate-negative", f"{int((rates < 0).sum())} cells have a negative rate")


def _place(placed: Any, tagged: Any, rates: Any, found: Readback) -> None:
    """The grid as the world file puts it, if the GeoTIFF agrees and it can be used at all."""
    usable = placed.b == placed.d == 0 and placed.a > 1e-9 and placed.e < -1e-9
    south, west = placed.f + placed.e * rates.shape[0], placed.c
    east, north = west + placed.a * rates.shape[1], placed.f
    if not (usable and -180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        found.error("grid-place", "the world file does not put the raster north-up in longitude and latitude")
        return
    rows, cols = rates.shape
    east_shift = max(abs((placed.a - tagged.a) * col + placed.c - tagged.c) for col in (0, cols))
    north_shift = max(abs((placed.e - tagged.e) * row + placed.f - tagged.f) for row in (0, rows))
    shift = max(east_shift / placed.a, north_shift / -placed.e)
    found.facts["world_file_shift_cells"] = float(shift)
    if shift > _SHIFT:
        found.error("world-file", f"the world file puts the raster {shift:.3f} cells from where the GeoTIFF does")
    if np.isfinite(rates).all():
        found.grid = RateGrid(rates, float(south), float(west), float(-placed.e), float(placed.a))
