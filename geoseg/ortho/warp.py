"""A raster file on another grid. Knows files and grids, no field and no model.

The grid is cut into fixed chunks that do not depend on what is asked for, and every chunk is warped on its own, so
that each pixel has one value whatever the window. Colours are resampled weighted by the valid mask and divided by
the resampled mask (normalised convolution; Knutsson and Westin 1993, doi 10.1109/CVPR.1993.341081), so that nodata
never bleeds into colours; a pixel is valid if at least half of what it is made of is.

Downsampling takes the mean over the area of the pixel, from the coarsest overview that is still as fine as the grid;
everything else is cubic.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import numpy as np
import pyproj
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.warp import reproject

from geoseg.errors import OrthoError
from geoseg.ortho.ground import apply, map_points, scaled, shifted
from geoseg.ortho.source import Source
from geoseg.windows import Rect

__all__ = ["CHUNK_PX", "Warp"]

CHUNK_PX = 256
"""Side of a chunk; halved while a chunk would read more than 2048 pixels of the file on a side."""

_CACHE_BYTES = 64 * 2**20


class Warp:
    """A file on another grid, chunk by chunk, with the last chunks kept; one per thread.

    Attributes:
        source: The file, at the overview level that is read.
        dtype: Data type of the numbers: the file's, or float32 for any floating point.
    """

    def __init__(self, path: str, bands: tuple[int, ...], native: GeoBox, grid: GeoBox) -> None:
        """Open the file at the right overview level.

        Raises:
            OrthoError: If it cannot be opened, or a grid has no CRS.
        """
        if native.crs is None or grid.crs is None:
            raise OrthoError(f"{path}: a grid without CRS cannot be warped; pass --crs")
        self._grid = grid
        self._shape = (int(grid.shape[0]), int(grid.shape[1]))
        self._crs: tuple[pyproj.CRS, pyproj.CRS] = native.crs.proj, grid.crs.proj
        self._wkt = native.crs.to_wkt(), grid.crs.to_wkt()
        self.source = _open_level(path, bands, min(_steps(native.affine, self._crs, grid)[:2]))
        self.dtype = "float32" if self.source.dtype.startswith("float") else self.source.dtype
        rows, cols = native.shape  # an overview covers the same ground with fewer pixels
        self._affine = scaled(native.affine, cols / self.source.shape[1], rows / self.source.shape[0])
        self._step = _steps(self._affine, self._crs, grid)
        turned = self._step[2] > math.sin(math.radians(10))  # GDAL's average looks along the axes only
        shrinks = min(self._step[:2]) > 1.02
        self._resampling = Resampling.average if shrinks and not turned else Resampling.cubic
        self._side = CHUNK_PX
        while self._side > 1 and self._side * max(self._step[:2]) > 2048:
            self._side //= 2
        self._chunks: OrderedDict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = OrderedDict()
        self._bytes = 0

    def valid(self, rect: Rect) -> np.ndarray:
        """(H, W) bool of a rectangle in the grid."""
        return self.read(rect)[1]

    def read(self, rect: Rect) -> tuple[np.ndarray, np.ndarray]:
        """(C, H, W) numbers of `dtype`, 0 where invalid, and (H, W) bool, of a rectangle in the grid."""
        values = np.zeros((len(self.source.bands), *rect.shape), self.dtype)
        valid = np.zeros(rect.shape, bool)
        side = self._side
        for row in range(rect.row0 // side, -(-rect.row1 // side)):
            for col in range(rect.col0 // side, -(-rect.col1 // side)):
                chunk = Rect(row * side, col * side, (row + 1) * side, (col + 1) * side).clip(self._shape)
                part = _common(chunk, rect)
                chunk_values, chunk_valid = self._chunk(row, col, chunk)
                here, there = part.relative_to(rect).slices, part.relative_to(chunk).slices
                values[(slice(None), *here)] = chunk_values[(slice(None), *there)]
                valid[here] = chunk_valid[there]
        return values, valid

    def close(self) -> None:
        """Close the file."""
        self.source.close()

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
        values = np.zeros((len(self.source.bands), *chunk.shape), self.dtype)
        seen = self._seen(chunk)
        if seen.clip(self.source.shape).size == 0:
            return values, np.zeros(chunk.shape, bool)
        numbers, has_data = self.source.read(seen)
        if not has_data.any():
            return values, np.zeros(chunk.shape, bool)
        planes = np.concatenate([numbers, has_data[None]], axis=0, dtype=np.float32, casting="unsafe")
        planes[:-1] *= planes[-1]
        out = np.zeros((len(planes), *chunk.shape), np.float32)
        reproject(
            planes,
            out,
            src_transform=shifted(self._affine, seen.col0, seen.row0),
            src_crs=self._wkt[0],
            dst_transform=shifted(self._grid.affine, chunk.col0, chunk.row0),
            dst_crs=self._wkt[1],
            resampling=self._resampling,
            XSCALE=1 / max(self._step[0], 1.0),
            YSCALE=1 / max(self._step[1], 1.0),
        )
        valid = out[-1] >= 0.5
        colours = out[:-1, valid] / out[-1, valid]
        if values.dtype.kind in "iu":
            limits = np.iinfo(values.dtype)
            colours = np.clip(np.rint(colours), limits.min, limits.max)
        values[:, valid] = colours
        return values, valid

    def _seen(self, chunk: Rect) -> Rect:
        t = np.linspace(0, 1, 9)
        u, v = (axis.ravel() for axis in np.meshgrid(t, t))
        height, width = chunk.shape
        x, y = apply(self._grid.affine, chunk.col0 + u * width, chunk.row0 + v * height)
        x, y = map_points(self._crs[1], self._crs[0], x, y)
        cols, rows = apply(~self._affine, x, y)
        if not (np.isfinite(cols).all() and np.isfinite(rows).all()):
            return Rect(0, 0, 0, 0)
        pad = math.ceil(2 * max(1.0, *self._step[:2])) + 2  # half the cubic kernel's width, and the bend in a chunk
        row0, col0, row1, col1 = (int(value) for value in (rows.min(), cols.min(), rows.max(), cols.max()))
        return Rect(row0, col0, row1, col1).grow(pad + 1)


def _common(one: Rect, two: Rect) -> Rect:
    row0, col0 = max(one.row0, two.row0), max(one.col0, two.col0)
    return Rect(row0, col0, min(one.row1, two.row1), min(one.col1, two.col1))


def _steps(affine: Affine, crs: tuple[pyproj.CRS, pyproj.CRS], grid: GeoBox) -> tuple[float, float, float]:
    """Source pixels per step along a grid row and column, and the sine of the angle between both, at the centre."""
    rows, cols = grid.shape
    x, y = apply(grid.affine, np.array([0, 64, 0]) + cols / 2, np.array([0, 0, 64]) + rows / 2)
    x, y = map_points(crs[1], crs[0], x, y)
    cols_rows = np.column_stack(apply(~affine, x, y))
    right, down = (cols_rows[1] - cols_rows[0]) / 64, (cols_rows[2] - cols_rows[0]) / 64
    across, along = float(np.hypot(*right)), float(np.hypot(*down))
    axis = min(abs(right[0]), abs(right[1])) / across
    return across, along, float(axis)


def _open_level(path: str, bands: tuple[int, ...], ratio: float) -> Source:
    """The file at its coarsest overview of at most `ratio`; itself if there is none, or it lacks the file's mask."""
    source = Source(path, bands)
    if ratio < 2:
        return source
    facts = source.dataset.mask_flag_enums, source.dataset.nodatavals, source.dataset.count
    factors = source.dataset.overviews(bands[0])
    for level in sorted(range(len(factors)), key=lambda level: -int(factors[level])):
        if factors[level] <= ratio * 1.001:
            coarse = Source(path, bands, level)
            if (coarse.dataset.mask_flag_enums, coarse.dataset.nodatavals, coarse.dataset.count) == facts:
                source.close()
                return coarse
            coarse.close()
    return source
