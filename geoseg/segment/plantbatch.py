"""What the ways to find plants share: the opened rasters, the counts, and pieces put together to plants."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.legend import CROP, WEED
from geoseg.vectors.grid import open_raster, read_rect
from geoseg.vectors.outlines import Stats
from geoseg.vectors.runs import Runs, find_runs
from geoseg.vectors.stream import check_pair
from geoseg.windows import Rect

if TYPE_CHECKING:
    from affine import Affine
    from rasterio.io import DatasetReader

__all__ = ["VEGETATION", "Files", "GroupStats", "PlantBatch", "Rasters", "assemble", "open_files"]

Ints = NDArray[np.int64]
VEGETATION = np.isin(np.arange(256), (CROP, WEED))
"""Which values of a class raster are plants."""
_IS_CROP = np.arange(256) == CROP


class Rasters(NamedTuple):
    """The files of a run; on one grid, the offsets on every second pixel of it.

    Attributes:
        classes: Class raster.
        confidence: Confidence raster, or None.
        offsets: Raster of offsets to the centres of plants, or None.
    """

    classes: Path | str
    confidence: Path | str | None = None
    offsets: Path | str | None = None


@dataclass
class GroupStats:
    """What became of the vegetation; counted while plants are found.

    Attributes:
        regions: Connected regions.
        pieces: Connected parts after regions were cut.
        plants: Plants, after parts with one centre were joined.
        unclaimed_px: Pixels near no centre.
        uncut: Regions that were too large to be cut.
        long: Plants that reach farther from their centre than offsets may.
        longest_px: Longest side of a plant.
    """

    regions: int = 0
    pieces: int = 0
    plants: int = 0
    unclaimed_px: int = 0
    uncut: int = 0
    long: int = 0
    longest_px: int = 0


@dataclass(frozen=True, eq=False)
class PlantBatch:
    """Plants as columns of length n, in the order of their ids.

    Attributes:
        id: int64, row * width + col of the first pixel.
        area_px: int64, number of pixels.
        crop_px: int64, number of pixels of class crop.
        geometry: Multipolygons in CRS units along pixel edges.
        centroid: (n, 2) float64, mean (row, col) of the pixels.
        bbox: (n, 4) int64, row0, col0, row1, col1, half-open.
        confidence: float64, mean confidence 0..100 or NaN.
    """

    id: Ints
    area_px: Ints
    crop_px: Ints
    geometry: NDArray[np.object_]
    centroid: NDArray[np.float64]
    bbox: Ints
    confidence: NDArray[np.float64]

    def __len__(self) -> int:
        """Number of plants."""
        return self.id.size

    @property
    def is_crop(self) -> NDArray[np.bool_]:
        """Whether at least half of a plant's pixels are crop."""
        return 2 * self.crop_px >= self.area_px

    def select(self, index: NDArray[Any]) -> PlantBatch:
        """The plants that a mask or indices choose."""
        return PlantBatch(
            self.id[index],
            self.area_px[index],
            self.crop_px[index],
            self.geometry[index],
            self.centroid[index],
            self.bbox[index],
            self.confidence[index],
        )


class Files(NamedTuple):
    """The opened rasters.

    Attributes:
        classes: Class raster.
        weights: Confidence raster, or None.
        offsets: Raster of offsets, or None.
    """

    classes: DatasetReader
    weights: DatasetReader | None
    offsets: DatasetReader | None

    @property
    def transform(self) -> Affine:
        """From (col, row) lattice corners to the CRS."""
        return self.classes.transform  # type: ignore[no-any-return]

    def runs(self, rect: Rect, label: NDArray[np.integer], classes: NDArray[np.uint8]) -> Runs:
        """Runs of labels over 0 with crop marked, positions counted in the rectangle."""
        weights = None if self.weights is None else read_rect(self.weights, rect)
        return find_runs(label, label > 0, weights, _IS_CROP[classes])


@contextmanager
def open_files(rasters: Rasters) -> Iterator[Files]:
    """The rasters opened for reading.

    Raises:
        InputError: If one cannot be used, or they do not lie on one grid.
    """
    with ExitStack() as stack:
        classes = stack.enter_context(open_raster(rasters.classes))
        weights = None if rasters.confidence is None else stack.enter_context(open_raster(rasters.confidence))
        check_pair(classes, weights)
        offsets = None if rasters.offsets is None else stack.enter_context(open_raster(rasters.offsets))
        half = -(-classes.height // 2), -(-classes.width // 2)
        if offsets is not None and (offsets.shape != half or offsets.count != 2 or offsets.dtypes[0] != "int8"):
            raise InputError(
                f"{offsets.name} holds {offsets.count} bands of {offsets.height} x {offsets.width} "
                f"{offsets.dtypes[0]}; expected 2 of {half[0]} x {half[1]} int8, the offsets of the same run"
            )
        yield Files(classes, weights, offsets)


def assemble(pieces: Stats, shapes: NDArray[np.object_]) -> PlantBatch:
    """Plants from connected pieces, those of one code together; in the order of ids.

    Args:
        pieces: The pieces.
        shapes: (n,) their polygons.
    """
    order = np.lexsort((pieces.id, pieces.code))
    code = pieces.code[order]
    first = np.flatnonzero(np.append(True, code[1:] != code[:-1])[: code.size])
    which = np.cumsum(np.append(False, code[1:] != code[:-1])[: code.size])

    def total(values: Ints, how: np.ufunc = np.add) -> Ints:
        return np.asarray(how.reduceat(values[order], first), np.int64) if first.size else values

    area, known = total(pieces.area_px), total(pieces.weight_px)
    weight, identity = total(pieces.weight_sum), total(pieces.id, np.minimum)
    corners = [total(side, np.minimum) for side in (pieces.row0, pieces.col0)]
    corners += [total(side, np.maximum) for side in (pieces.row1, pieces.col1)]
    by_id = np.argsort(identity)
    plants = PlantBatch(
        id=identity,
        area_px=area,
        crop_px=total(pieces.marked_px),
        geometry=np.asarray(shapely.multipolygons(shapes[order], indices=which), dtype=object),
        centroid=np.stack([total(pieces.row_sum) / area, total(pieces.col_sum2) / (2 * area)], axis=1),
        bbox=np.stack(corners, axis=1),
        confidence=np.where(known > 0, weight / np.maximum(known, 1), np.nan),
    )
    return plants.select(by_id)
