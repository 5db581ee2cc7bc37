"""Which plant each pixel of a tile belongs to: from outlines of single plants, or from a raster of ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.features import rasterize
from rasterio.windows import Window
from shapely import STRtree, box

from geoseg.errors import LabelError
from geoseg.train.labelfiles import LabelConfig, read_instances
from geoseg.train.labelgrid import check_grid, check_meets, check_one_band
from geoseg.windows import Rect

__all__ = ["InstanceSource", "centres"]

_MOST = 65535


class InstanceSource:
    """The plants of one image or ortho, read window by window."""

    def __init__(self, path: Path, grid: GeoBox, config: LabelConfig | None = None) -> None:
        """Open the outlines.

        Args:
            path: Vector, COCO or YOLO file, or a raster of ids on the grid of the image.
            grid: Grid of the image.
            config: How to understand the file.

        Raises:
            LabelError: If the file cannot be read, or a raster lies on another grid.
        """
        self._path, self._grid, self._frame = path, grid, None
        if path.suffix.lower() in (".tif", ".tiff"):
            self._check_raster()
            return
        frame = read_instances(path, grid, config)
        check_meets(frame, grid, path, config)
        # The larger first, so that a small plant on top of a large one stays in sight.
        self._frame = frame.iloc[np.argsort(-frame.geometry.area.to_numpy(), kind="stable")]
        self._tree = STRtree(self._frame.geometry.to_numpy())

    def read(self, rect: Rect) -> np.ndarray:
        """(H, W) uint16 ids of the plants, from 1 within this window; 0 where there is none.

        Raises:
            LabelError: If there are more plants than ids.
        """
        if self._frame is None:
            view = Window(rect.col0, rect.row0, rect.shape[1], rect.shape[0])
            with rasterio.open(self._path) as raster:
                ids, known = raster.read(1, window=view), raster.read_masks(1, window=view)
            return self._numbered(np.where((known > 0) & (ids > 0), ids, 0))
        part = self._grid[rect.row0 : rect.row1, rect.col0 : rect.col1]
        found = np.sort(self._tree.query(box(*part.boundingbox.bbox)))
        self._check_count(len(found))
        shapes = [(shape, number) for number, shape in enumerate(self._frame.geometry.iloc[found], start=1)]
        if not shapes:
            return np.zeros(rect.shape, np.uint16)
        burnt: np.ndarray = rasterize(shapes, rect.shape, transform=part.affine, dtype="uint16")
        return burnt

    def _numbered(self, ids: np.ndarray) -> np.ndarray:
        """The ids of a window anew from 1, in the order of the old ones."""
        names, place = np.unique(np.append(ids.ravel(), 0), return_inverse=True)
        self._check_count(len(names) - 1)
        return (place[:-1] - int(np.searchsorted(names, 0))).astype(np.uint16).reshape(ids.shape)

    def _check_count(self, count: int) -> None:
        if count > _MOST:
            raise LabelError(f"{self._path} has {count} plants in one tile; expected at most {_MOST}, set tile_px")

    def _check_raster(self) -> None:
        try:
            with rasterio.open(self._path) as raster:
                check_one_band(self._path, raster, "ids of plants")
                check_grid(self._path, raster, self._grid)
        except rasterio.errors.RasterioIOError as error:
            raise LabelError(f"{self._path} cannot be read as a raster: {error}") from error


def centres(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre of gravity, area and wholeness of every plant of a tile.

    Args:
        ids: (H, W) plant ids, 0 is none.

    Returns:
        Indexed by id: (n + 1, 2) row and column of the centre in pixels (the first pixel's centre is 0), (n + 1,)
        pixels, and (n + 1,) bool, True where the plant does not touch the edge of the tile.
    """
    size = int(ids.max(initial=0)) + 1
    rows, cols = np.nonzero(ids)
    which = ids[rows, cols].astype(np.int64)
    area = np.bincount(which, minlength=size)
    places = np.stack([np.bincount(which, weights=axis, minlength=size) for axis in (rows, cols)], axis=1)
    middle = places / np.maximum(area, 1)[:, None]
    whole = area > 0
    for edge in (ids[0], ids[-1], ids[:, 0], ids[:, -1]):
        whole[np.unique(edge)] = False
    whole[0] = False
    return middle, area, whole
