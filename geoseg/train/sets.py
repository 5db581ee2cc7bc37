"""Where crops are drawn from: tile sets in memory, and orthos with labels that are read where a crop falls.

Windows of an ortho are chosen by our own geometry and not by torchgeo's samplers: image and labels stay on the ortho's
own grid without resampling, nodata and labels that cannot be trusted are left out, and no window of the training part
holds a pixel of the validation part. torchgeo's interface for this also changes with the version of Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import numpy as np
import pyproj
import shapely
from odc.geo.geobox import GeoBox
from rasterio.windows import Window as RasterWindow

from geoseg.errors import LabelError
from geoseg.legend import LEGEND, NODATA, SOIL, WEED
from geoseg.ortho.boundary import PixelMask, read_boundary
from geoseg.train.labelfiles import moved
from geoseg.train.labelgrid import ground_gsd
from geoseg.train.labelraster import open_file
from geoseg.train.labels import image_grid, open_labels
from geoseg.train.levelled import moments_of
from geoseg.train.settings import SetShare
from geoseg.train.tilebands import excess_green
from geoseg.train.tileinstances import InstanceSource
from geoseg.train.tiles import TRAIN, VALIDATION, Moments, Tile, check_bands, read_index, read_tile
from geoseg.windows import Rect, windows

__all__ = ["CropSource", "OrthoSet", "TileSet", "open_set"]

_TRIES = 200
_SAMPLED = 64
_MOST_VALIDATION = 64
"""Windows of an ortho that validate, evenly chosen where there are more."""


class CropSource(Protocol):
    """What crops are drawn from.

    Attributes:
        pixels: (K,) labelled training pixels of each class.
        plants: Whether single plants are known.
        counts: Tiles or windows in each part.
    """

    pixels: np.ndarray
    plants: bool
    counts: dict[str, int]

    def draw(self, random: np.random.Generator, weedy: bool) -> Tile:
        """A training tile; with weeds, if it should be and there is one."""
        ...

    def validation(self) -> list[Tile]:
        """The tiles that validate."""
        ...


def open_set(share: SetShare, bands: int, window_px: int, stack: ExitStack) -> CropSource:
    """The tile set or the ortho of a share.

    Args:
        share: What to open.
        bands: Number of bands that the network wants.
        window_px: Side of the windows of an ortho.
        stack: Closes files at the end.

    Raises:
        LabelError: If it cannot be read or has nothing to train on.
    """
    if share.path is None:
        return OrthoSet(share, bands, window_px, stack)
    folder = Path(share.path)
    tiles = [read_tile(folder, line) for line in read_index(folder) if share.source in (None, line["source"])]
    for tile in tiles:
        check_bands(tile, bands)
    return TileSet(tiles, share.path)


class TileSet:
    """Tiles in memory."""

    def __init__(self, tiles: Sequence[Tile], name: str = "the tile set") -> None:
        """Sort them.

        Raises:
            LabelError: If there is nothing to train on.
        """
        self._train = [tile for tile in tiles if tile.split == TRAIN]
        self._weedy = [tile for tile in self._train if (tile.labels == WEED).any()] or self._train
        self._validation = [tile for tile in tiles if tile.split == VALIDATION]
        if not self._train:
            raise LabelError(f"{name} has no tiles to train on; check the split column of its index.csv")
        self.pixels = np.sum([_count(tile.labels) for tile in self._train], axis=0)
        self.plants = all(tile.instances is not None for tile in self._train)
        self.counts = {TRAIN: len(self._train), VALIDATION: len(self._validation)}

    def draw(self, random: np.random.Generator, weedy: bool) -> Tile:
        """A training tile; with weeds, if it should be and there is one."""
        choice = self._weedy if weedy else self._train
        return choice[int(random.integers(len(choice)))]

    def validation(self) -> list[Tile]:
        """The tiles that validate."""
        return self._validation


class OrthoSet:
    """Windows of an ortho with labels, split by place to the pixel."""

    def __init__(self, share: SetShare, bands: int, window_px: int, stack: ExitStack) -> None:
        """Open the files and look through the labels once.

        Args:
            share: The ortho, its labels, and what validates.
            bands: Number of bands to read.
            window_px: Side of a window.
            stack: Closes the files at the end.

        Raises:
            LabelError: If something cannot be read, or there is nothing to train on.
        """
        self._share, self._bands, self._side = share, bands, window_px
        path = Path(str(share.ortho))
        self.grid = image_grid(path)
        self._file = stack.enter_context(open_file(path))
        if self._file.count < bands or self._file.dtypes[0] != "uint8":
            found = f"{self._file.count} bands of {self._file.dtypes[0]}"
            raise LabelError(f"{path} has {found}; expected {bands} of 8 bits, make a tile set of it instead")
        self._labels = stack.enter_context(open_labels(Path(str(share.labels)), self.grid, share.label))
        self._plants = InstanceSource(Path(share.instances), self.grid, share.label) if share.instances else None
        self.plants = self._plants is not None
        self.gsd_m = ground_gsd(path, self.grid, share.gsd_m)
        self.shape = (int(self.grid.shape[0]), int(self.grid.shape[1]))
        self._held_out = _held_out(share, self.grid)
        self._look_through(path)
        self._moments = self._statistics()

    def draw(self, random: np.random.Generator, weedy: bool) -> Tile:
        """A window around a labelled place, moved by chance, that holds no pixel of the validation part.

        Raises:
            LabelError: If no such window fits beside the validation part.
        """
        cells = self._weedy if weedy and self._weedy else self._train
        for _ in range(_TRIES):
            cell = cells[int(random.integers(len(cells)))]
            row, col = np.array((cell.row0, cell.col0)) + random.integers(-self._side // 2, self._side // 2, 2)
            rect = self._window(int(row), int(col))
            if not self._held_out_of(rect).any():
                tile = self._tile(rect, TRAIN)
                if (tile.labels != NODATA).any():
                    return tile
        raise LabelError(
            f"{self._share.ortho} has no labelled training window of {self._side} pixels beside what validates; lower "
            "crop_px"
        )

    def validation(self) -> list[Tile]:
        """The windows that validate, at most 64, evenly chosen; what is not held out is blank in them."""
        step = max(1, -(-len(self._validation) // _MOST_VALIDATION))
        return [self._tile(rect, VALIDATION) for rect in self._validation[::step]]

    def _look_through(self, path: Path) -> None:
        self.pixels = np.zeros(len(LEGEND.names), np.int64)
        self._train: list[Rect] = []
        self._weedy: list[Rect] = []
        self._validation: list[Rect] = []
        for window in windows(self.shape, self._side, 0):
            rect = window.write
            labels, held_out = self._read_labels(rect), self._held_out_of(rect)
            counts = _count(labels[~held_out])
            self.pixels += counts
            if counts.any():
                self._train.append(rect)
            if counts[WEED]:
                self._weedy.append(rect)
            if (labels[held_out] != NODATA).any():
                self._validation.append(rect)
        if not self._train:
            raise LabelError(f"{path} has no labelled pixel to train on; check the labels and what validates")
        if self._held_out is not None and not self._validation:
            raise LabelError(
                f"what validates of {path} holds no labelled pixel; correct validation_cols, _rows or _area"
            )
        self.counts = {TRAIN: len(self._train), VALIDATION: len(self._validation)}

    def _window(self, row: int, col: int) -> Rect:
        first = [max(0, min(at, size - self._side)) for at, size in zip((row, col), self.shape, strict=True)]
        return Rect(first[0], first[1], first[0] + self._side, first[1] + self._side).clip(self.shape)

    def _held_out_of(self, rect: Rect) -> np.ndarray:
        return np.zeros(rect.shape, bool) if self._held_out is None else self._held_out.pixels(rect)

    def _read_labels(self, rect: Rect) -> np.ndarray:
        labels = self._labels.read(rect)
        labels[self._file.dataset_mask(window=_view(rect)) == 0] = NODATA
        return labels

    def _tile(self, rect: Rect, split: str) -> Tile:
        image = self._file.read(list(range(1, self._bands + 1)), window=_view(rect))
        labels = self._read_labels(rect)
        green = self._share.ignore_green
        if split == TRAIN and green is not None:
            labels[(labels == SOIL) & (excess_green(image[:3]) > green)] = NODATA
        if split == VALIDATION:
            seen = self._held_out_of(rect)
            image, labels = image * seen, np.where(seen, labels, np.uint8(NODATA))
        ids = None if self._plants is None else self._plants.read(rect)
        source = Path(str(self._share.ortho)).stem
        name = f"{source}_{rect.row0:06d}_{rect.col0:06d}"
        place = rect.row0, rect.col0, self.gsd_m
        return Tile(name, split, source, *place, image, labels, {}, ids, self._moments)

    def _statistics(self) -> Moments:
        """Of windows spread over the ortho."""
        step = max(1, -(-len(self._train) // _SAMPLED))
        bands = list(range(1, self._bands + 1))
        parts = [self._file.read(bands, window=_view(rect))[:, ::3, ::3] for rect in self._train[::step]]
        return moments_of(np.concatenate([part.reshape(self._bands, -1) for part in parts], axis=1))


def _held_out(share: SetShare, grid: GeoBox) -> PixelMask | None:
    """The pixels that validate."""
    if share.validation_area is not None:
        if grid.crs is None:
            raise LabelError(f"{share.ortho} has no CRS, so validation_area cannot be placed; give validation_cols")
        return PixelMask(read_boundary(share.validation_area, pyproj.CRS(grid.crs.to_wkt())), grid)
    if share.validation_cols is None and share.validation_rows is None:
        return None
    rows = share.validation_rows or (0, int(grid.shape[0]))
    cols = share.validation_cols or (0, int(grid.shape[1]))
    corners = shapely.box(cols[0], rows[0], cols[1], rows[1])
    return PixelMask(moved(corners, grid.affine), grid)


def _count(labels: np.ndarray) -> np.ndarray:
    """(K,) pixels of each class."""
    return np.bincount(labels[labels != NODATA].ravel(), minlength=len(LEGEND.names))[: len(LEGEND.names)]


def _view(rect: Rect) -> RasterWindow:
    return RasterWindow(rect.col0, rect.row0, rect.shape[1], rect.shape[0])
