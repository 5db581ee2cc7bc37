"""The results of a run as a person works with them: frames, lazy rasters and the summary."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from geoseg.errors import InputError

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

__all__ = [
    "CLASSES",
    "CONFIDENCE",
    "FIELD",
    "OFFSETS",
    "ORTHO_VRT",
    "PANOPTIC",
    "PARQUET",
    "PRESCRIPTION",
    "PREVIEW",
    "PROJECT",
    "QUICKLOOK",
    "REPORT",
    "REPORT_DATA",
    "SUMMARY",
    "Run",
    "open_run",
]

CLASSES, CONFIDENCE, OFFSETS, PREVIEW = "classes.tif", "confidence.tif", "offsets.tif", "preview.tif"
FIELD, PROJECT, ORTHO_VRT = "field.gpkg", "field.qgz", "ortho.vrt"
PANOPTIC, PARQUET = "panoptic.tif", "plants.parquet"
PRESCRIPTION, QUICKLOOK, SUMMARY = "prescription", "quicklook.png", "summary.json"
REPORT, REPORT_DATA = "report.html", "report.json"


@dataclass(frozen=True)
class Run:
    """The results of a run, opened from its directory.

    Attributes:
        path: The run directory.
        summary: The answers: areas in hectares and square metres, counts, litres.
    """

    path: Path
    summary: dict[str, Any]

    @property
    def classes(self) -> xr.DataArray:
        """The class raster, lazily, (y, x) uint8 with its coordinates and CRS."""
        import rioxarray

        opened = rioxarray.open_rasterio(self.path / CLASSES, chunks={"x": 2048, "y": 2048})
        return cast("xr.DataArray", opened).squeeze("band", drop=True)

    def layer(self, name: str) -> gpd.GeoDataFrame:
        """A layer of ``field.gpkg``: boundary, plants, plant_outlines, weeds, rows, gaps or prescription."""
        import geopandas as gpd

        return gpd.read_file(self.path / FIELD, layer=name)

    @property
    def plants(self) -> gpd.GeoDataFrame:
        """Crop plants as points."""
        return self.layer("plants")

    @property
    def weeds(self) -> gpd.GeoDataFrame:
        """Weed patches as polygons."""
        return self.layer("weeds")

    @property
    def prescription(self) -> gpd.GeoDataFrame:
        """Zones with their rate in litres per hectare; they cover the whole field."""
        return self.layer("prescription")


def open_run(path: str | Path) -> Run:
    """The results in a run directory.

    Raises:
        InputError: If the folder holds no run.
    """
    file = Path(path) / SUMMARY
    if not file.is_file():
        raise InputError(f"{path} is no run directory: it has no {SUMMARY}")
    return Run(Path(path), json.loads(file.read_text(encoding="utf-8")))
