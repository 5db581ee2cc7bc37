"""Where the pixels of a raster lie, and how large they are on the ground."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.windows import Rect

if TYPE_CHECKING:
    from affine import Affine
    from rasterio.io import DatasetReader

__all__ = ["PixelGrid", "open_raster", "pixel_grid", "read_rect"]


@dataclass(frozen=True)
class PixelGrid:
    """The grid of a raster.

    Attributes:
        transform: From (col, row) lattice corners to the CRS.
        pixel_m2: Area of a pixel, square metres.
    """

    transform: Affine
    pixel_m2: float

    def centres(self, positions: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Coordinates x and y in the CRS of (n, 2) positions (row, col), counted between pixel centres."""
        transform, row, col = self.transform, positions[:, 0] + 0.5, positions[:, 1] + 0.5
        x = transform.c + col * transform.a + row * transform.b
        y = transform.f + col * transform.d + row * transform.e
        return x, y


def pixel_grid(raster: Path | str) -> PixelGrid:
    """The grid of a raster whose CRS is in metres or feet; a raster without CRS is taken to be in metres.

    Raises:
        InputError: If the raster cannot be opened or its CRS is in degrees.
    """
    with open_raster(raster) as source:
        crs, transform = source.crs, source.transform
    if crs is not None and crs.is_geographic:
        raise InputError(
            f"{raster} is in {crs.to_string()}, in degrees; expected a class raster in metres: "
            "give the classes.tif of a run, or warp it to UTM"
        )
    unit_m = float(crs.linear_units_factor[1]) if crs is not None and crs.is_projected else 1.0
    return PixelGrid(transform, abs(transform.determinant) * unit_m**2)


def open_raster(raster: Path | str) -> DatasetReader:
    """A raster opened for reading, with or without georeference, to be closed by the caller.

    Raises:
        InputError: If it cannot be opened.
    """
    import rasterio
    from rasterio.errors import RasterioIOError

    from geoseg.ortho.source import ignore_missing_georeference

    ignore_missing_georeference()
    try:
        return rasterio.open(raster)
    except RasterioIOError as error:
        raise InputError(f"{raster} cannot be opened as a raster: {error}; give the classes.tif of a run") from error


def read_rect(raster: DatasetReader, rect: Rect, bands: int | list[int] = 1) -> NDArray[Any]:
    """The pixels of a rectangle inside a raster, (H, W), or (B, H, W) of several bands.

    Raises:
        InputError: If the file cannot be read there.
    """
    from rasterio.errors import RasterioIOError
    from rasterio.windows import Window

    from geoseg.ortho.source import environment

    (height, width), origin = rect.shape, (rect.col0, rect.row0)
    try:
        with environment():
            return raster.read(bands, window=Window(*origin, width, height))  # type: ignore[no-any-return]
    except RasterioIOError as error:
        raise InputError(
            f"{raster.name} cannot be read at row {rect.row0}, column {rect.col0}: {error}; "
            "the file may be damaged: run geoseg segment again with --fresh"
        ) from error
