"""Pixels of the working grid, as a model wants them, from any raster file. One reader per thread.

On the ortho's own grid pixels are read as they are. On any other grid they are resampled in fixed chunks: the grid is
cut into squares that do not depend on what is asked for, and every square is warped on its own, so that each pixel has one value
whatever the window. Colours are resampled weighted by the valid mask and divided by the resampled mask (normalised
convolution; Knutsson and Westin 1993, doi 10.1109/CVPR.1993.341081), so that nodata never bleeds into colours.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import numpy as np
import pyproj
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.warp import reproject
from shapely.geometry import MultiPolygon, Polygon

from geoseg.boundary import PixelMask
from geoseg.ground import map_points
from geoseg.source import Source
from geoseg.windows import Rect

__all__ = ["CHUNK_PX", "Reader", "reflect"]

CHUNK_PX = 256
_CACHE_BYTES = 64 * 2**20


def reflect(start: int, stop: int, size: int) -> np.ndarray:
    """(stop - start,) int64 indices into 0..size-1, mirrored at the first and last index as often as needed.

    The edge itself is not repeated: index -1 is 1 (numpy's "reflect").

    Example:
        >>> reflect(-3, 5, 3).tolist()
        [1, 2, 1, 0, 1, 2, 1, 0]
    """
    if size == 1:
        return np.zeros(stop - start, np.int64)
    period = 2 * (size - 1)
    index = np.arange(start, stop, dtype=np.int64) % period
    return np.minimum(index, period - index)


class Reader:
    """Reads rectangles of a working grid; opened on first use, a context manager, not to be shared by threads.

    Attributes:
        grid: The working grid.
    """

    def __init__(
        self,
        path: str,
        bands: tuple[int, ...],
        value_max: float,
        native: GeoBox,
        grid: GeoBox,
        boundary: Polygon | MultiPolygon | None = None,
    ) -> None:
        """Prepare to read; no file is opened yet.

        Args:
            path: The raster file.
            bands: Numbers of its bands, from 1.
            value_max: Digital number of the full scale.
            native: GeoBox of the file.
            grid: The working grid.
            boundary: Field in the CRS of `grid`; None: everything.
        """
        self.grid = grid
        self._path, self._bands, self._value_max, self._native = path, bands, value_max, native
        self._inside = None if boundary is None else PixelMask(boundary, grid)
        self._shape = (int(grid.shape[0]), int(grid.shape[1]))
        self._source: Source | None = None
        self._warp: _Warp | None = None

    def valid(self, rect: Rect) -> np.ndarray:
        """(H, W) bool: pixels with data whose centres lie in the field; False outside the grid.

        Raises:
            OrthoError: If the file cannot be read there.
        """
        clipped = rect.clip(self._shape)
        out = np.zeros(rect.shape, bool)
        if clipped.size == 0 or (self._inside is not None and self._inside.state(clipped) is False):
            return out
        warp = self._open()
        native = self._file.valid(clipped) if warp is None else warp.read(clipped)[1]
        out[clipped.relative_to(rect).slices] = native & self._field(clipped)
        return out

    def read(self, rect: Rect, fill: Sequence[float] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Image and valid mask of a rectangle, mirrored at the edges of the grid.

        Args:
            rect: Pixels of the working grid; may reach outside.
            fill: Per band, as a fraction of the full scale: what to put where the file has no data. None: whatever
                the file holds there, 0 for what is not finite.

        Returns:
            (C, H, W) uint8 (0..255 is the full scale) if the file is uint8 and unscaled, else float32 0..1; and (H, W)
            bool as `valid` gives it. Mirrored pixels have real colours but are not valid.

        Raises:
            OrthoError: If the file cannot be read there.
        """
        rows = reflect(rect.row0, rect.row1, self._shape[0])
        cols = reflect(rect.col0, rect.col1, self._shape[1])
        if rows.size == 0 or cols.size == 0:
            return np.zeros((len(self._bands), *rect.shape), self.dtype), np.zeros(rect.shape, bool)
        seen = Rect(int(rows.min()), int(cols.min()), int(rows.max()) + 1, int(cols.max()) + 1)
        warp = self._open()
        values, has_data = self._file.read(seen) if warp is None else warp.read(seen)
        image = self._scaled(values)
        if fill is not None:
            self._fill(image, ~has_data, fill)
        valid = np.zeros(rect.shape, bool)
        clipped = rect.clip(self._shape)
        if clipped.size:
            part = has_data[clipped.relative_to(seen).slices]
            valid[clipped.relative_to(rect).slices] = part & self._field(clipped)
        if seen == rect:
            return image, valid
        return np.ascontiguousarray(image[:, (rows - seen.row0)[:, None], (cols - seen.col0)[None, :]]), valid

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Data type of the images: uint8 or float32."""
        self._open()
        unscaled = self._file.dtype == "uint8" and self._value_max == 255
        return np.dtype(np.uint8 if unscaled else np.float32)

    def close(self) -> None:
        """Close the file; reading again opens it again."""
        if self._source is not None:
            self._source.close()
        self._source = self._warp = None

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        """Close the file."""
        self.close()

    @property
    def _file(self) -> Source:
        if self._source is None:
            self._open()
        assert self._source is not None  # for the type checker; _open sets it
        return self._source

    def _open(self) -> _Warp | None:
        if self._source is None:
            if self.grid == self._native:
                self._source = Source(self._path, self._bands)
            else:
                self._source = open_for(self._path, self._bands, self._native, self.grid)
                self._warp = _Warp(self._source, self._native, self.grid)
        return self._warp

    def _field(self, rect: Rect) -> np.ndarray | bool:
        return True if self._inside is None else self._inside.pixels(rect)

    def _scaled(self, values: np.ndarray) -> np.ndarray:
        if self.dtype == np.uint8:
            return values
        return np.clip(values.astype(np.float32) / np.float32(self._value_max), 0, 1)

    def _fill(self, image: np.ndarray, where: np.ndarray, fill: Sequence[float]) -> None:
        if where.any():
            colour = np.asarray(fill, np.float64).reshape(-1, 1)
            image[:, where] = np.rint(colour * 255) if image.dtype == np.uint8 else colour


def open_for(path: str, bands: tuple[int, ...], native: GeoBox, grid: GeoBox) -> Source:
    """The file at the coarsest overview that is still at least as fine as `grid`; itself if there is none.

    Overviews without the file's mask are not used.
    """
    source = Source(path, bands)
    dataset = source.dataset
    ratio = _shrink(native, grid)
    levels = [(factor, level) for level, factor in enumerate(dataset.overviews(bands[0])) if factor <= ratio * 1.001]
    if not levels or ratio < 2:
        return source
    coarse = Source(path, bands, max(levels)[1])
    if coarse.dataset.mask_flag_enums == dataset.mask_flag_enums and coarse.dataset.nodatavals == dataset.nodatavals:
        source.close()
        return coarse
    coarse.close()
    return source


class _Warp:
    """A source on another grid, chunk by chunk, with the last chunks kept."""

    def __init__(self, source: Source, native: GeoBox, grid: GeoBox) -> None:
        self._source, self._grid = source, grid
        self._shape = (int(grid.shape[0]), int(grid.shape[1]))
        rows, cols = native.shape  # an overview covers the same ground with fewer pixels
        self._affine = native.affine * Affine.scale(cols / source.shape[1], rows / source.shape[0])
        assert native.crs is not None and grid.crs is not None  # for the type checker; Ortho.open made sure
        self._crs: tuple[pyproj.CRS, pyproj.CRS] = native.crs.proj, grid.crs.proj
        self._wkt = native.crs.to_wkt(), grid.crs.to_wkt()
        self._step = _steps(self._affine, self._crs, grid)
        turned = abs(self._step[2]) > math.sin(math.radians(10))  # GDAL's average looks along the axes only
        shrinks = min(self._step[:2]) > 1.02
        self._resampling = Resampling.average if shrinks and not turned else Resampling.cubic
        self._chunks: OrderedDict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = OrderedDict()
        self._bytes = 0

    def read(self, rect: Rect) -> tuple[np.ndarray, np.ndarray]:
        """(C, H, W) in the source's data type, float32 for floats, and (H, W) bool, of a rectangle in the grid."""
        dtype = np.float32 if self._source.dtype.startswith("float") else self._source.dtype
        values = np.zeros((len(self._source.bands), *rect.shape), dtype)
        valid = np.zeros(rect.shape, bool)
        for row in range(rect.row0 // CHUNK_PX, -(-rect.row1 // CHUNK_PX)):
            for col in range(rect.col0 // CHUNK_PX, -(-rect.col1 // CHUNK_PX)):
                chunk = _chunk_rect(row, col).clip(self._shape)
                part = Rect(
                    max(chunk.row0, rect.row0),
                    max(chunk.col0, rect.col0),
                    min(chunk.row1, rect.row1),
                    min(chunk.col1, rect.col1),
                )
                chunk_values, chunk_valid = self._chunk(row, col, chunk)
                here, there = part.relative_to(rect).slices, part.relative_to(chunk).slices
                values[(slice(None), *here)] = chunk_values[(slice(None), *there)]
                valid[here] = chunk_valid[there]
        return values, valid

    def _chunk(self, row: int, col: int, chunk: Rect) -> tuple[np.ndarray, np.ndarray]:
        found = self._chunks.get((row, col))
        if found is not None:
            self._chunks.move_to_end((row, col))
            return found
        made = self._make(chunk)
        self._chunks[row, col] = made
        self._bytes += made[0].nbytes + made[1].nbytes
        while self._bytes > _CACHE_BYTES and len(self._chunks) > 1:
            _, old = self._chunks.popitem(last=False)
            self._bytes -= old[0].nbytes + old[1].nbytes
        return made

    def _make(self, chunk: Rect) -> tuple[np.ndarray, np.ndarray]:
        dtype = np.float32 if self._source.dtype.startswith("float") else np.dtype(self._source.dtype)
        values = np.zeros((len(self._source.bands), *chunk.shape), dtype)
        seen = self._seen(chunk)
        if seen.clip(self._source.shape).size == 0:
            return values, np.zeros(chunk.shape, bool)
        numbers, has_data = self._source.read(seen)
        if not has_data.any():
            return values, has_data[:1, :1] & np.zeros(chunk.shape, bool)
        planes = np.concatenate([numbers, has_data[None]], axis=0, dtype=np.float32, casting="unsafe")
        planes[:-1] *= planes[-1]
        out = np.zeros((len(planes), *chunk.shape), np.float32)
        reproject(
            planes,
            out,
            src_transform=self._affine * Affine.translation(seen.col0, seen.row0),
            src_crs=self._wkt[0],
            dst_transform=self._grid.affine * Affine.translation(chunk.col0, chunk.row0),
            dst_crs=self._wkt[1],
            resampling=self._resampling,
            XSCALE=1 / max(self._step[0], 1.0),
            YSCALE=1 / max(self._step[1], 1.0),
        )
        valid = out[-1] >= 0.5
        colours = out[:-1, valid] / out[-1, valid]
        if np.issubdtype(dtype, np.integer):
            limits = np.iinfo(dtype)
            colours = np.clip(np.rint(colours), limits.min, limits.max)
        values[:, valid] = colours
        return values, valid

    def _seen(self, chunk: Rect) -> Rect:
        t = np.linspace(0, 1, 9)
        u, v = (axis.ravel() for axis in np.meshgrid(t, t))
        height, width = chunk.shape
        x, y = self._grid.affine * (chunk.col0 + u * width, chunk.row0 + v * height)
        x, y = map_points(self._crs[1], self._crs[0], x, y)
        cols, rows = ~self._affine * (x, y)
        if not (np.isfinite(cols).all() and np.isfinite(rows).all()):
            return Rect(0, 0, 0, 0)
        pad = math.ceil(2 * max(1.0, *self._step[:2])) + 2  # half the width of the cubic kernel, and the bend within a chunk
        return Rect(
            math.floor(rows.min()) - pad, math.floor(cols.min()) - pad, math.ceil(rows.max()) + pad, math.ceil(cols.max()) + pad
        )


def _chunk_rect(row: int, col: int) -> Rect:
    return Rect(row * CHUNK_PX, col * CHUNK_PX, (row + 1) * CHUNK_PX, (col + 1) * CHUNK_PX)


def _steps(affine: Affine, crs: tuple[pyproj.CRS, pyproj.CRS], grid: GeoBox) -> tuple[float, float, float]:
    """Source pixels per step along a grid row and column, at the centre, and the sine of the angle between the axes."""
    rows, cols = grid.shape
    x, y = grid.affine * (np.array([0, 64, 0]) + cols / 2, np.array([0, 0, 64]) + rows / 2)
    x, y = map_points(crs[1], crs[0], x, y)
    cols_rows = np.column_stack(~affine * (x, y))
    right, down = (cols_rows[1] - cols_rows[0]) / 64, (cols_rows[2] - cols_rows[0]) / 64
    across, along = float(np.hypot(*right)), float(np.hypot(*down))
    axis = min(abs(right[0]), abs(right[1])) / across
    return across, along, float(axis)


def _shrink(native: GeoBox, grid: GeoBox) -> float:
    if native.crs is None or grid.crs is None:
        return 1.0
    across, along, _ = _steps(native.affine, (native.crs.proj, grid.crs.proj), grid)
    return min(across, along)
