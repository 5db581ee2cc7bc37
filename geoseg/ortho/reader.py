"""Pixels of the working grid, as a model wants them, from any raster file. One reader per thread."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import numpy as np
from odc.geo.geobox import GeoBox
from shapely.geometry import MultiPolygon, Polygon

from geoseg.ortho.boundary import PixelMask
from geoseg.ortho.levels import Levels, apply_levels, image_dtype
from geoseg.ortho.source import Source
from geoseg.ortho.warp import Warp
from geoseg.windows import Rect

__all__ = ["Reader", "reflect"]


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


def _mirrored(image: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """(C, H, W) of the rows and columns of an image; what stays in order is copied as a whole.

    >>> _mirrored(np.arange(6).reshape(1, 2, 3), np.array([1, 0, 1]), np.array([1, 0, 1, 2, 1])).tolist()
    [[[4, 3, 4, 5, 4], [1, 0, 1, 2, 1], [4, 3, 4, 5, 4]]]
    """
    out = np.empty((image.shape[0], rows.size, cols.size), image.dtype)
    turns = np.flatnonzero(np.diff(cols, 2)) + 2
    for start, stop in zip([0, *turns], [*turns, cols.size], strict=True):
        first, last = cols[start], cols[stop - 1]
        part = image[:, :, first : last + 1] if last > first else image[:, :, cols[start:stop]]
        out[:, :, start:stop] = part[:, rows]
    return out


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
        levels: Levels | None = None,
    ) -> None:
        """Prepare to read; no file is opened yet.

        Args:
            path: The raster file.
            bands: Numbers of its bands, from 1.
            value_max: Digital number of the full scale.
            native: GeoBox of the file.
            grid: The working grid.
            boundary: Field in the CRS of `grid`; None: everything.
            levels: Scale of each band instead of 0 to `value_max`; images are then uint8.
        """
        self.grid = grid
        self._levels = levels
        self._path, self._bands, self._value_max, self._native = path, bands, value_max, native
        self._inside = None if boundary is None else PixelMask(boundary, grid)
        self._shape = (int(grid.shape[0]), int(grid.shape[1]))
        self._opened: Source | Warp | None = None

    def valid(self, rect: Rect) -> np.ndarray:
        """(H, W) bool: pixels with data whose centres lie in the field; False outside the grid.

        Raises:
            OrthoError: If the file cannot be read there.
        """
        clipped = rect.clip(self._shape)
        out = np.zeros(rect.shape, bool)
        if clipped.size == 0 or (self._inside is not None and self._inside.state(clipped) is False):
            return out
        out[clipped.relative_to(rect).slices] = self._pixels.valid(clipped) & self._field(clipped)
        return out

    def read(self, rect: Rect, fill: Sequence[float] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Image and valid mask of a rectangle, mirrored at the edges of the grid.

        Args:
            rect: Pixels of the working grid; may reach outside.
            fill: Per band, as a fraction of the full scale: what to put where the file has no data. None: whatever
                the file holds there, 0 for what is not finite.

        Returns:
            (C, H, W) uint8 (0..255 is the scale) if the file is uint8 and unscaled, or has levels, else float32 0..1;
            and (H, W) bool as `valid` gives it. Mirrored pixels have real colours but are not valid.

        Raises:
            OrthoError: If the file cannot be read there.
        """
        rows = reflect(rect.row0, rect.row1, self._shape[0])
        cols = reflect(rect.col0, rect.col1, self._shape[1])
        if rows.size == 0 or cols.size == 0:
            return np.zeros((len(self._bands), *rect.shape), self.dtype), np.zeros(rect.shape, bool)
        seen = Rect(int(rows.min()), int(cols.min()), int(rows.max()) + 1, int(cols.max()) + 1)
        values, has_data = self._pixels.read(seen)
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
        return _mirrored(image, rows - seen.row0, cols - seen.col0), valid

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Data type of the images: uint8 or float32."""
        return image_dtype(self._pixels.dtype, self._value_max, self._levels)

    def close(self) -> None:
        """Close the file; reading again opens it again."""
        if self._opened is not None:
            self._opened.close()
        self._opened = None

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    @property
    def _pixels(self) -> Source | Warp:
        if self._opened is None:
            own = self.grid == self._native
            self._opened = (
                Source(self._path, self._bands) if own else Warp(self._path, self._bands, self._native, self.grid)
            )
        return self._opened

    def _field(self, rect: Rect) -> np.ndarray | bool:
        return True if self._inside is None else self._inside.pixels(rect)

    def _scaled(self, values: np.ndarray) -> np.ndarray:
        if self._levels is not None:
            return apply_levels(values, self._levels)
        if self.dtype == np.uint8:
            return values
        fractions: np.ndarray = values.astype(np.float32) / np.float32(self._value_max)
        return fractions.clip(0, 1)

    def _fill(self, image: np.ndarray, where: np.ndarray, fill: Sequence[float]) -> None:
        if where.any():
            colour = np.asarray(fill, np.float64).reshape(-1, 1)
            image[:, where] = np.rint(colour * 255) if image.dtype == np.uint8 else colour
