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


@dataclass(frozen=True, repr=False)
class Run:
    """The results of a run, opened from its directory: print it, or show it in a notebook.

    Attributes:
        path: The run directory.
        summary: The answers: areas in hectares and square metres, counts, litres.
    """

    path: Path
    summary: dict[str, Any]

    @property
    def classes(self) -> xr.DataArray:
        """The class raster, lazily, (y, x) uint8 with its coordinates and CRS: soil 0, crop 1, weed 2, nodata 255."""
        from geoseg.legend import LEGEND

        codes = {entry.name: entry.code for entry in LEGEND.entries}
        return self._raster(CLASSES).assign_attrs(
            long_name="class", flag_values=list(codes.values()), flag_meanings=" ".join(codes)
        )

    @property
    def confidence(self) -> xr.DataArray:
        """The confidence of each pixel, lazily, (y, x) uint8 in percent, nodata 255."""
        return self._raster(CONFIDENCE).assign_attrs(long_name="confidence", units="percent")

    @property
    def panoptic(self) -> xr.DataArray:
        """The number of each pixel's plant, lazily; made where ``plants.panoptic`` is set, else by `geoseg plants`."""
        return self._raster(PANOPTIC)

    def layer(self, name: str) -> gpd.GeoDataFrame:
        """A layer of ``field.gpkg``: boundary, plants, plant_outlines, weeds, rows, gaps or prescription.

        Raises:
            InputError: If there is none of that name.
        """
        import geopandas as gpd

        if name not in self.layers:
            raise InputError(f"{self.path / FIELD} has no layer {name!r}; it has {', '.join(self.layers) or 'none'}")
        return gpd.read_file(self.path / FIELD, layer=name)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers of ``field.gpkg``."""
        import pyogrio

        file = self.path / FIELD
        return tuple(str(name) for name in pyogrio.list_layers(file)[:, 0]) if file.exists() else ()

    @property
    def boundary(self) -> gpd.GeoDataFrame:
        """The field as a polygon."""
        return self.layer("boundary")

    @property
    def plants(self) -> gpd.GeoDataFrame:
        """Crop plants as points."""
        return self.layer("plants")

    @property
    def weeds(self) -> gpd.GeoDataFrame:
        """Weed patches as polygons."""
        return self.layer("weeds")

    @property
    def rows(self) -> gpd.GeoDataFrame:
        """Crop rows as lines."""
        return self.layer("rows")

    @property
    def gaps(self) -> gpd.GeoDataFrame:
        """Gaps in the rows as lines."""
        return self.layer("gaps")

    @property
    def prescription(self) -> gpd.GeoDataFrame:
        """Zones with their rate in litres per hectare; they cover the whole field."""
        return self.layer("prescription")

    def __str__(self) -> str:
        """What `geoseg run` prints."""
        from geoseg.report.text import summary_lines

        return "\n".join(summary_lines(self.summary, self.path))

    def __repr__(self) -> str:
        """Which run it is, in one line."""
        return f"<geoseg.Run {str(self.path)!r}, {self.summary.get('field_ha', 0):.4g} ha>"

    def _repr_html_(self) -> str:
        from geoseg.report.notebook import run_html

        return run_html(self.path / QUICKLOOK, str(self))

    def _raster(self, name: str) -> xr.DataArray:
        import rioxarray

        file = self.path / name
        if not file.exists():
            raise InputError(f"{self.path} has no {name}; `geoseg run` makes it, or `geoseg plants` for {PANOPTIC}")
        opened = rioxarray.open_rasterio(file, chunks={"x": 2048, "y": 2048})
        return cast("xr.DataArray", opened).squeeze("band", drop=True)


def open_run(path: str | Path) -> Run:
    """The results in a run directory.

    Raises:
        InputError: If the folder holds no run.
    """
    file = Path(path) / SUMMARY
    if not file.is_file():
        raise InputError(f"{path} is no run directory: it has no {SUMMARY}; give the folder that `geoseg run` made")
    return Run(Path(path), json.loads(file.read_text(encoding="utf-8")))
