"""Pixels per cell: one pass over the class raster, by arithmetic on pixel centres and no geometry per cell.

Within a row of pixels the cell changes only where it crosses a side of a cell, so each row falls into *runs* of pixels
in one cell, and a cumulative sum gives the count of a run; where a class is rare its pixels are placed one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from shapely import MultiPolygon, Polygon

from geoseg.errors import PrescriptionError
from geoseg.legend import CROP, NODATA, WEED
from geoseg.spray.places import Field, Places
from geoseg.windows import Rect, blocks

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

__all__ = ["CellCounts", "aggregate", "raster_geobox"]

WINDOW_PX = 2048
_STRIP_ROWS = 256
_RARE = 0.1
"""Share of a window under which a class's pixels are placed one by one."""


@dataclass(frozen=True, eq=False)
class CellCounts:
    """Pixels per cell whose centres lie in it and in the field.

    Attributes:
        weed: (rows, cols) int32.
        crop: (rows, cols) int32.
        valid: (rows, cols) int32, all pixels that are not nodata; soil is the rest.
        pixel_area_m2: Area of a pixel.
        weed_plants: (rows, cols) int32, weed patches; None: not counted.
        crop_plants: (rows, cols) int32; None: not counted.
    """

    weed: NDArray[np.int32]
    crop: NDArray[np.int32]
    valid: NDArray[np.int32]
    pixel_area_m2: float
    weed_plants: NDArray[np.int32] | None = None
    crop_plants: NDArray[np.int32] | None = None


def aggregate(
    classes: Path | str, box: GeoBox, boundary: Polygon | MultiPolygon, *, window_px: int = WINDOW_PX
) -> CellCounts:
    """Count weed, crop and valid pixels in every cell of a lattice.

    Args:
        classes: Class raster: uint8, one band, soil 0, crop 1, weed 2, nodata 255, in the CRS of `box`.
        box: The lattice; its cells may be rotated, and must not be smaller than a pixel.
        boundary: The field in the same CRS; pixels whose centre lies outside count nowhere.
        window_px: Side of the windows that are read; the result does not depend on it.

    Raises:
        PrescriptionError: If the raster is not a class raster or the cells are smaller than its pixels.
    """
    counts = np.zeros((3, *box.shape), np.int32)
    with _open(classes) as raster:
        _refuse_unusable(raster, box)
        places = Places(box, raster.transform, raster.shape)
        field = Field(boundary, raster.transform, raster.shape)
        for rect in blocks(raster.shape, window_px):
            pixels = _read(raster, rect, field)
            if pixels is None:
                continue
            for row in range(0, rect.shape[0], _STRIP_ROWS):
                strip = Rect(rect.row0 + row, rect.col0, min(rect.row0 + row + _STRIP_ROWS, rect.row1), rect.col1)
                _count(pixels[row : row + _STRIP_ROWS], strip, places, counts)
        pixel_area = abs(raster.transform.determinant)
    return CellCounts(counts[0], counts[1], counts[2], pixel_area)


def raster_geobox(classes: Path | str) -> GeoBox:
    """The grid of a class raster.

    Raises:
        PrescriptionError: If it has no CRS, or one that does not measure in metres.
    """
    with _open(classes) as raster:
        if raster.crs is None or not raster.crs.is_projected or abs(raster.crs.linear_units_factor[1] - 1) > 1e-9:
            raise PrescriptionError(f"{classes} has {raster.crs or 'no CRS'}; expected a projected CRS in metres")
        return GeoBox(raster.shape, raster.transform, raster.crs.to_wkt())


def _count(pixels: NDArray[np.uint8], rect: Rect, places: Places, counts: NDArray[np.int32]) -> None:
    """Add a window's pixels to `counts` (weed, crop, valid)."""
    runs = None
    for nth, mask in enumerate((pixels == WEED, pixels == CROP, pixels != NODATA)):
        total = int(np.count_nonzero(mask))
        if not total:
            continue
        if total < _RARE * mask.size:
            at = np.flatnonzero(mask)
            row, col = places.cells(at // rect.shape[1] + rect.row0, at % rect.shape[1] + rect.col0)
            _add(counts[nth], row, col, None)
            continue
        runs = places.runs(rect) if runs is None else runs
        begin, end = runs[:, :-1], runs[:, 1:]
        if total == mask.size:
            amount = end - begin
        else:
            sums = np.zeros((mask.shape[0], mask.shape[1] + 1), np.int32)
            np.cumsum(mask, axis=1, out=sums[:, 1:])
            amount = np.take_along_axis(sums, end, axis=1) - np.take_along_axis(sums, begin, axis=1)
        nth_row, nth_run = np.nonzero(amount)
        row, col = places.cells(nth_row + rect.row0, begin[nth_row, nth_run] + rect.col0)
        _add(counts[nth], row, col, amount[nth_row, nth_run])


def _add(
    counts: NDArray[np.int32], row: NDArray[np.int64], col: NDArray[np.int64], amount: NDArray[Any] | None
) -> None:
    """Add amounts (1 each if None) to cells; what lies outside the lattice is left out."""
    inside = (row >= 0) & (row < counts.shape[0]) & (col >= 0) & (col < counts.shape[1])
    if not inside.all():
        row, col, amount = row[inside], col[inside], None if amount is None else amount[inside]
    if not row.size:
        return
    row0, col0, row1, col1 = row.min(), col.min(), row.max() + 1, col.max() + 1
    width = col1 - col0
    sums = np.bincount((row - row0) * width + (col - col0), amount, (row1 - row0) * width)
    counts[row0:row1, col0:col1] += sums.reshape(-1, width).astype(np.int32)


@contextmanager
def _open(classes: Path | str) -> Iterator[DatasetReader]:
    import rasterio
    from rasterio.errors import RasterioIOError

    from geoseg.ortho.source import environment

    try:
        with environment(), rasterio.open(classes, num_threads=2) as raster:
            yield raster
    except RasterioIOError as error:
        raise PrescriptionError(f"{classes} cannot be read: {error}") from error


def _refuse_unusable(raster: DatasetReader, box: GeoBox) -> None:
    if raster.count != 1 or raster.dtypes[0] != "uint8":
        raise PrescriptionError(
            f"{raster.name} has {raster.count} band(s) of {raster.dtypes[0]}; expected one band of uint8 classes"
        )
    if raster.nodata not in (None, NODATA):
        raise PrescriptionError(f"{raster.name} declares nodata {raster.nodata:g}; expected {NODATA} or none")
    side, pixel = min(_sides(box.affine)), max(_sides(raster.transform))
    if side < pixel:
        raise PrescriptionError(
            f"a cell side of {side:g} m is smaller than a pixel of {raster.name} ({pixel:g} m); use wider sections or "
            "longer cells"
        )


def _sides(affine: Affine) -> tuple[float, float]:
    return float(np.hypot(affine.a, affine.d)), float(np.hypot(affine.b, affine.e))


def _read(raster: DatasetReader, rect: Rect, field: Field) -> NDArray[np.uint8] | None:
    """The pixels of a window with nodata outside the field; None where there is nothing but nodata."""
    from rasterio.windows import Window

    inside = field.mask(rect)
    if inside is not None and not inside.any():
        return None
    pixels: NDArray[np.uint8] = raster.read(1, window=Window(rect.col0, rect.row0, rect.shape[1], rect.shape[0]))
    if inside is not None:
        pixels[~inside] = NODATA
    return pixels if (pixels != NODATA).any() else None
