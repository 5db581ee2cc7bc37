"""A prescription as a raster of rates, for GIS programs and terminals that take one. Knows the format, reads nothing.

Longitude and latitude on WGS84, litres per hectare as float32, 0 where nothing is sprayed and no nodata, so that no
program can take ground without a rate for ground without an answer. A world file says the same place once more.
"""

from __future__ import annotations

from geoseg.export.dji import raster_bytes, world_file
from geoseg.export.planned import Planned
from geoseg.export.profiles import Profile
from geoseg.export.rategrid import sample

__all__ = ["make_geotiff"]


def make_geotiff(plan: Planned, profile: Profile, name: str) -> dict[str, bytes]:
    """``NAME.tif``, tiled and compressed without loss, and its world file.

    Raises:
        PrescriptionError: If no grid holds the field within the profile's limit of cells.
    """
    grid = sample(plan, profile.limit("cells"))
    data = raster_bytes(grid, tiled=True, blockxsize=256, blockysize=256, compress="deflate", predictor=3)
    return {f"{name}.tfw": world_file(grid), f"{name}.tif": data}
