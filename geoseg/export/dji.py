"""A prescription for spray drones of the DJI Agras line: the field as a shapefile, the rates as a raster beside it.

The raster is in longitude and latitude, litres per hectare as float32, 0 where nothing is sprayed and no nodata. A
world file gives its place once more, by pixel centres where the GeoTIFF counts from corners; steps and corners are
whole in its ten decimals, so both say the same.
"""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import numpy as np
import shapely

from geoseg.errors import PrescriptionError
from geoseg.export.profiles import Profile
from geoseg.export.rategrid import RateGrid, sample
from geoseg.export.shapefile import WGS84_PRJ, refuse_over_limit, to_lonlat
from geoseg.spray.prescription import Prescription

__all__ = ["write_dji"]

_NAME_WIDTH = 16


def write_dji(prescription: Prescription, folder: Path, profile: Profile, name: str) -> list[Path]:
    """Write ``ShapeFile/NAME.shp`` and ``Rx/NAME.tif`` with what belongs to them; returns the files.

    Raises:
        PrescriptionError: If a limit of the profile does not hold.
    """
    refuse_over_limit(prescription, profile, name)
    grid = sample(prescription, profile.limit("cells"))
    files = {f"ShapeFile/{name}{part}": data for part, data in _outline(prescription, name).items()}
    files |= {f"Rx/{name}.tfw": _world_file(grid).encode("ascii"), f"Rx/{name}.tif": _raster(grid)}
    size, limit = len(files[f"Rx/{name}.tif"]), profile.limit("bytes")
    if limit is not None and size > limit:
        raise PrescriptionError(f"the raster has {size:,} bytes; {profile.title} takes {limit:,}; use wider sections")
    return _put(files, folder)


def _put(files: dict[str, bytes], folder: Path) -> list[Path]:
    """Write all files under temporary names, then give them theirs, the raster last."""
    paths = [folder / file for file in files]
    drafts = [path.with_name(f".{path.name}.{os.getpid()}") for path in paths]
    try:
        for draft, data in zip(drafts, files.values(), strict=True):
            draft.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(data)
        paths[-1].unlink(missing_ok=True)
        for draft, path in zip(drafts, paths, strict=True):
            os.replace(draft, path)
    finally:
        for draft in drafts:
            draft.unlink(missing_ok=True)
    return paths


def _raster(grid: RateGrid) -> bytes:
    from rasterio.io import MemoryFile

    rows, cols = grid.rates.shape
    shape = {"width": cols, "height": rows, "count": 1, "dtype": "float32"}
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", crs="EPSG:4326", transform=grid.affine, **shape) as raster:
            raster.write(grid.rates.astype(np.float32), 1)
        return bytes(memory.read())


def _world_file(grid: RateGrid) -> str:
    west, north = grid.west + grid.step_lon / 2, grid.north - grid.step_lat / 2
    return "".join(f"{value:.10f}\n" for value in (grid.step_lon, 0, 0, -grid.step_lat, west, north))


def _outline(prescription: Prescription, name: str) -> dict[str, bytes]:
    """The field as a shapefile; flight height and line spacing are left empty, for the pilot to choose."""
    import shapefile

    parts = to_lonlat(shapely.get_parts(prescription.boundary), prescription.zones.crs)
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
