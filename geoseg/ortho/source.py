"""One raster file as GDAL sees it: opened with care, described, and read in its own pixels with one valid mask.

The only place that decides which pixels count: a pixel is invalid if an alpha band is 0, if the file's mask says so,
if it holds the nodata value in every band that is read (in any of them for floating point), or NaN or infinity.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.windows import Window as RasterWindow

from geoseg.errors import OrthoError
from geoseg.windows import Rect

__all__ = [
    "CACHE_MB",
    "Source",
    "environment",
    "ignore_missing_georeference",
    "open_dataset",
    "read_pixels",
    "short_name",
]

CACHE_MB = 64
"""GDAL's block cache, for the whole process: tiles under the seams of neighbouring windows are decoded once."""


def environment() -> rasterio.Env:
    """GDAL's settings for everything here; also sends GDAL's own messages to logging instead of stderr."""
    return rasterio.Env(GDAL_CACHEMAX=CACHE_MB << 20)  # rasterio takes bytes where GDAL's option has megabytes


def short_name(path: str) -> str:
    """The last part of a path, for messages."""
    return path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]


def open_dataset(path: str, level: int | None = None) -> Any:
    """A rasterio dataset, at an overview level if given.

    Raises:
        OrthoError: If there is no such file or GDAL cannot read it.
    """
    options = {} if level is None else {"OVERVIEW_LEVEL": level}
    try:
        ignore_missing_georeference()
        with environment():
            return rasterio.open(path, **options)
    except RasterioIOError as error:
        if "://" not in path and not path.startswith("/vsi") and not Path(path).exists():
            raise OrthoError(f"there is no file {path}; check the path") from None
        raise OrthoError(
            f"{short_name(path)} cannot be opened as a raster: {_one_line(error)}; "
            "expected a GeoTIFF or another raster of GDAL"
        ) from error


class Source:
    """A raster file in its own pixels; one per thread.

    Attributes:
        path: The file.
        bands: Numbers of the bands that `read` gives, from 1.
        shape: (height, width) at the level that was opened.
        dtype: Data type of the bands.
    """

    def __init__(self, path: str, bands: tuple[int, ...], level: int | None = None) -> None:
        """Open the file, at an overview level (0 is the first overview) if given.

        Raises:
            OrthoError: If it cannot be opened.
        """
        self.path, self.bands = path, bands
        self.dataset = open_dataset(path, level)
        self.shape: tuple[int, int] = self.dataset.shape
        self.dtype: str = self.dataset.dtypes[bands[0] - 1]
        with environment():
            colours, flags = self.dataset.colorinterp, self.dataset.mask_flag_enums[bands[0] - 1]
        self._alphas = [band for band, colour in enumerate(colours, start=1) if colour == ColorInterp.alpha]
        self._masked = MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags
        self._nodata = [self.dataset.nodatavals[band - 1] for band in bands]

    @property
    def fully_valid(self) -> bool:
        """True if the file has no way to call a pixel invalid."""
        return not (self._alphas or self._masked or self._needs_values)

    @property
    def _needs_values(self) -> bool:
        return self.dtype.startswith("float") or any(value is not None for value in self._nodata)

    def valid(self, rect: Rect) -> np.ndarray:
        """(H, W) bool; False outside the file. Reads colours only if the file has nodata or floats.

        Raises:
            OrthoError: If the file cannot be read there.
        """
        inside = rect.clip(self.shape)
        values = (
            read_pixels(self.dataset, self.path, self.bands, inside) if self._needs_values and inside.size else None
        )
        return _pad(self._valid(inside, values), inside, rect)

    def read(self, rect: Rect) -> tuple[np.ndarray, np.ndarray]:
        """Digital numbers and valid mask of a rectangle that may reach outside the file.

        Returns:
            (C, H, W) in the file's data type, 0 outside the file and where a float is not finite; (H, W) bool.

        Raises:
            OrthoError: If the file cannot be read there.
        """
        inside = rect.clip(self.shape)
        if inside.size == 0:
            return np.zeros((len(self.bands), *rect.shape), self.dtype), np.zeros(rect.shape, bool)
        values = read_pixels(self.dataset, self.path, self.bands, inside)
        valid = self._valid(inside, values)
        if self.dtype.startswith("float"):
            values[:, ~valid] = 0
        return _pad(values, inside, rect), _pad(valid, inside, rect)

    def decimated(self, max_px: int, what: str = "both") -> tuple[np.ndarray | None, np.ndarray]:
        """The whole file at no more than `max_px` pixels on a side, every n-th pixel, from overviews if there are.

        Args:
            max_px: Longest side in pixels.
            what: "both" or "valid"; with "valid" the colours are read only if the mask needs them, and not given.

        Returns:
            (C, h, w) digital numbers or None, and (h, w) bool.
        """
        shrink = max(1.0, max(self.shape) / max_px)
        shape = max(1, round(self.shape[0] / shrink)), max(1, round(self.shape[1] / shrink))
        whole = Rect(0, 0, *self.shape)
        need = what == "both" or self._needs_values
        values = read_pixels(self.dataset, self.path, self.bands, whole, shape) if need else None
        valid = self._valid(whole, values, shape)
        return (values if what == "both" else None), valid

    def close(self) -> None:
        """Close the file."""
        self.dataset.close()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def _valid(self, rect: Rect, values: np.ndarray | None, shape: tuple[int, int] | None = None) -> np.ndarray:
        valid = np.ones(shape or rect.shape, bool)
        if rect.size == 0:
            return valid
        if self._alphas:
            valid &= (read_pixels(self.dataset, self.path, self._alphas, rect, shape) != 0).all(axis=0)
        if self._masked:
            valid &= read_pixels(self.dataset, self.path, self.bands[:1], rect, shape, mask=True)[0] != 0
        if values is None:
            return valid
        floating = self.dtype.startswith("float")
        if floating:
            valid &= np.isfinite(values).all(axis=0)
        if any(value is not None for value in self._nodata):
            empty = np.stack([self._is_nodata(band, value) for band, value in zip(values, self._nodata, strict=True)])
            valid &= ~(empty.any(axis=0) if floating else empty.all(axis=0))
        return valid

    def _is_nodata(self, values: np.ndarray, nodata: float | None) -> np.ndarray:
        if nodata is None or np.isnan(nodata):
            return np.zeros(values.shape, bool)
        same: np.ndarray = values == (np.asarray(nodata).astype(values.dtype) if values.dtype.kind == "f" else nodata)
        return same


def ignore_missing_georeference() -> None:
    """Switch off rasterio's warning for good: `Ortho.open` says it better, and warping warns of its own arrays.

    `warnings.catch_warnings` is no way out, since filters belong to the process and readers run in threads.
    """
    if not any(known is NotGeoreferencedWarning for _, _, known, _, _ in warnings.filters):
        warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)


def read_pixels(
    dataset: Any,
    path: str,
    bands: Sequence[int],
    rect: Rect,
    shape: tuple[int, int] | None = None,
    mask: bool = False,
) -> np.ndarray:
    """(C, H, W) digital numbers, or masks 0..255, of a rectangle inside the file, decimated to `shape` if given.

    Raises:
        OrthoError: If GDAL cannot read it; names the rectangle.
    """
    window = RasterWindow(rect.col0, rect.row0, rect.col1 - rect.col0, rect.row1 - rect.row0)
    read = dataset.read_masks if mask else dataset.read
    out_shape = None if shape is None else (len(bands), *shape)
    try:
        with environment():
            return np.asarray(read(list(bands), window=window, out_shape=out_shape))
    except (RasterioError, RasterioIOError) as error:
        where = f"rows {rect.row0} to {rect.row1}, columns {rect.col0} to {rect.col1}"
        raise OrthoError(f"{short_name(path)} cannot be read at {where}: {_one_line(error)}") from error


def _pad(values: np.ndarray, inside: Rect, rect: Rect) -> np.ndarray:
    if inside == rect:
        return values
    out = np.zeros((*values.shape[:-2], *rect.shape), values.dtype)
    if inside.size:
        out[(..., *inside.relative_to(rect).slices)] = values
    return out


def _one_line(error: BaseException) -> str:
    cause = error.__cause__ if error.__cause__ is not None else error
    return " ".join(str(cause).split())
