"""Class rasters as labels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioIOError
from rasterio.windows import Window as RasterWindow

from geoseg.errors import LabelError
from geoseg.legend import CROP, NODATA, SOIL, WEED
from geoseg.ortho.place import IDENTITIES
from geoseg.ortho.source import ignore_missing_georeference
from geoseg.train.labelfiles import LabelConfig, class_code, make_frame, moved
from geoseg.train.labelgrid import check_grid, check_one_band
from geoseg.vectors import batches, polygonize
from geoseg.windows import Rect

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["RasterLabels", "image_grid", "open_file"]


class RasterLabels:
    """A class raster on the grid of the image."""

    def __init__(self, path: Path, grid: GeoBox, config: LabelConfig) -> None:
        """Open the raster.

        Raises:
            LabelError: If it cannot be opened, is not on the grid, or has several bands.
        """
        self.grid = grid
        self._path, self._file = path, open_file(path)
        try:
            check_one_band(path, self._file, "class codes")
            check_grid(path, self._file, grid, plain=True)
        except LabelError:
            self._file.close()
            raise
        self._table = np.arange(256)
        self._table[[code for code in range(256) if code not in (SOIL, CROP, WEED, NODATA)]] = -1
        for value, name in config.classes.items():
            if value.isdigit() and int(value) < 256:
                self._table[int(value)] = class_code(name, {}, str(path))

    def read(self, rect: Rect) -> np.ndarray:
        """(H, W) uint8 codes.

        Raises:
            LabelError: If the raster holds something that is no class.
        """
        height, width = rect.shape
        try:
            values: np.ndarray = self._file.read(1, window=RasterWindow(rect.col0, rect.row0, width, height))
        except RasterioIOError as error:
            raise LabelError(f"{self._path} cannot be read at row {rect.row0}: {error}") from error
        if values.dtype != np.uint8:
            if (values != np.clip(values, 0, 255).astype(np.uint8)).any():
                raise LabelError(f"{self._path} holds {values.dtype} values outside 0..255; expected class codes")
            values = values.astype(np.uint8)
        classes = self._table[values]
        if (classes < 0).any():
            unknown = np.unique(values[classes < 0]).tolist()
            raise LabelError(
                f"{self._path} holds {unknown}; expected 0 soil, 1 crop, 2 weed, 255 left out, or say what they are "
                "with the option classes"
            )
        return np.asarray(classes, np.uint8)

    def overlap(self, rect: Rect) -> np.ndarray:
        """Nothing overlaps in a raster."""
        return np.zeros(rect.shape, bool)

    def shapes(self, rect: Rect) -> list[tuple[int, Any]]:
        """Regions of one class that hang together over pixel edges, and of what is left out."""
        classes = self.read(rect)
        return polygonize(classes, Affine.identity(), mask=classes != SOIL)

    def frames(self) -> Iterator[gpd.GeoDataFrame]:
        """Regions of the whole raster, also of what is left out, in batches, not the raster at once."""
        wanted = np.flatnonzero(np.isin(self._table, (CROP, WEED, NODATA))).tolist()
        onto = None
        if self._file.transform in IDENTITIES or self.grid.affine in IDENTITIES:  # pixels beside a place
            onto = self.grid.affine * ~self._file.transform
        for batch in batches(self._path, codes=wanted):
            shapes = batch.geometry if onto is None else moved(batch.geometry, onto)
            yield make_frame(self._table[batch.code].tolist(), shapes, self.grid)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the raster."""
        self._file.close()


def image_grid(path: Path) -> GeoBox:
    """The grid of an image; without georeference, its pixels.

    Raises:
        LabelError: If it cannot be opened.
    """
    with open_file(path) as file:
        return GeoBox(file.shape, file.transform, file.crs)


def open_file(path: Path) -> Any:
    """A raster opened for reading, with or without georeference.

    Raises:
        LabelError: If it cannot be opened.
    """
    ignore_missing_georeference()
    try:
        return rasterio.open(path)
    except RasterioIOError as error:
        raise LabelError(f"{path} cannot be read as a raster: {error}") from error
