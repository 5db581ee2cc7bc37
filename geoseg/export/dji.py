"""A prescription for spray drones of the DJI Agras line: the field as a shapefile, the rates as a raster beside it.

The raster is in longitude and latitude, litres per hectare as float32, 0 where nothing is sprayed and no nodata. A
world file gives its place once more, by pixel centres where the GeoTIFF counts from corners; steps and corners are
whole in its ten decimals, so both say the same.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import shapely

from geoseg.export.planned import Planned
from geoseg.export.profiles import Profile
from geoseg.export.rategrid import RateGrid, sample
from geoseg.export.shapefile import WGS84_PRJ, to_lonlat

__all__ = ["make_dji", "raster_bytes", "world_file"]

_NAME_WIDTH = 16


def make_dji(plan: Planned, profile: Profile, name: str) -> dict[str, bytes]:
    """``ShapeFile/NAME.shp`` and ``Rx/NAME.tif`` with what belongs to them; the raster last.

    Raises:
        PrescriptionError: If no grid holds the field within the profile's limit of cells.
    """
    grid = sample(plan, profile.limit("cells"))
    files = {f"ShapeFile/{name}{part}": data for part, data in _outline(plan, name).items()}
    return files | {f"Rx/{name}.tfw": world_file(grid), f"Rx/{name}.tif": raster_bytes(grid)}


def raster_bytes(grid: RateGrid, **options: Any) -> bytes:
    """A GeoTIFF of the rates: one band of float32 on EPSG:4326 without nodata."""
    from rasterio.io import MemoryFile

    rows, cols = grid.rates.shape
    shape = {"width": cols, "height": rows, "count": 1, "dtype": "float32"} | options
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", crs="EPSG:4326", transform=grid.affine, **shape) as raster:
            raster.write(grid.rates.astype(np.float32), 1)
        return bytes(memory.read())


def world_file(grid: RateGrid) -> bytes:
    """The same place by pixel centres, as six lines of text."""
    west, north = grid.west + grid.step_lon / 2, grid.north - grid.step_lat / 2
    numbers = (grid.step_lon, 0, 0, -grid.step_lat, west, north)
    return "".join(f"{value:.10f}\n" for value in numbers).encode("ascii")


def _outline(plan: Planned, name: str) -> dict[str, bytes]:
    """The field as a shapefile; flight height and line spacing are left empty, for the pilot to choose."""
    import shapefile

    parts = to_lonlat(shapely.get_parts(plan.boundary), plan.zones.crs)
    files = {part: BytesIO() for part in ("shp", "shx", "dbf")}
    with shapefile.Writer(**files, shapeType=shapefile.POLYGON, encoding="ascii") as writer:
        writer.field("height", "N", 8, 2)
        writer.field("line_space", "N", 8, 2)
        writer.field("name", "C", _NAME_WIDTH)
        for polygon in shapely.orient_polygons(parts, exterior_cw=True):
            writer.poly([shapely.get_coordinates(ring).tolist() for ring in shapely.get_rings(polygon)])
            writer.record(None, None, name)
    known = {".prj": WGS84_PRJ.encode("ascii"), ".cpg": b"UTF-8"}
    return known | {f".{part}": file.getvalue() for part, file in files.items()}
