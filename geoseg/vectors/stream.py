"""Connected components of a class raster, streamed from the file. Knows rasters, not what a class means.

Regions are 4-connected: pixels that meet at a corner only belong to two regions. The result does not depend on the
size of the blocks in which the raster is read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from shapely import Polygon

from geoseg.errors import InputError
from geoseg.legend import CROP, WEED
from geoseg.vectors.grid import open_raster, read_rect
from geoseg.vectors.outlines import Released, Sweep
from geoseg.vectors.polygons import polygons
from geoseg.vectors.runs import Runs, find_runs, find_stacks, join_runs, place_runs, take
from geoseg.windows import Rect

if TYPE_CHECKING:
    from affine import Affine
    from rasterio.io import DatasetReader

__all__ = [
    "Component",
    "ComponentBatch",
    "batches",
    "batches_and_open",
    "check_pair",
    "components",
    "rows_of_runs",
    "strip_rows",
]

STRIP_PX = 2**24
"""Pixels of a strip, about; strips are lower where the raster is wide."""
STRIP_RUNS = 2**18
"""Runs that are joined at once, about; bounds the memory where a raster is noise."""


@dataclass(frozen=True, slots=True)
class Component:
    """One 4-connected region of one class.

    Attributes:
        id: row * width + col of its first pixel in raster order; unique in the raster.
        code: Class.
        area_px: Number of pixels.
        geometry: Outline in CRS units, a valid polygon along pixel edges with its holes.
        centroid: Mean (row, col) of its pixels; the centre of pixel (0, 0) is (0.0, 0.0).
        bbox: The rectangle of pixels that holds it.
        confidence: Mean confidence of its pixels, 0..100; NaN where there is none.
    """

    id: int
    code: int
    area_px: int
    geometry: Polygon
    centroid: tuple[float, float]
    bbox: Rect
    confidence: float

    @property
    def centre(self) -> tuple[int, int]:
        """The pixel (row, col) that holds the centroid."""
        row, col = self.centroid
        return int(np.floor(row + 0.5)), int(np.floor(col + 0.5))


@dataclass(frozen=True, eq=False)
class ComponentBatch:
    """Components as columns of length n, in the order of their ids; iterates over `Component`.

    Attributes:
        id: int64, row * width + col of the first pixel.
        code: int64, class.
        area_px: int64, number of pixels.
        geometry: Polygons in CRS units.
        centroid: (n, 2) float64, mean (row, col) of the pixels.
        bbox: (n, 4) int64, row0, col0, row1, col1, half-open.
        confidence: float64, mean confidence 0..100 or NaN.
    """

    id: NDArray[np.int64]
    code: NDArray[np.int64]
    area_px: NDArray[np.int64]
    geometry: NDArray[np.object_]
    centroid: NDArray[np.float64]
    bbox: NDArray[np.int64]
    confidence: NDArray[np.float64]

    def __len__(self) -> int:
        """Number of components."""
        return self.id.size

    def __iter__(self) -> Iterator[Component]:
        """The components one by one."""
        columns = (self.id, self.code, self.area_px, self.geometry, self.centroid, self.bbox, self.confidence)
        for id_, code, area, geometry, (row, col), bbox, confidence in zip(
            *(column.tolist() for column in columns), strict=True
        ):
            yield Component(id_, code, area, geometry, (row, col), Rect(*bbox), confidence)

    def select(self, index: NDArray[Any]) -> ComponentBatch:
        """The components that a mask or indices choose."""
        return ComponentBatch(
            self.id[index],
            self.code[index],
            self.area_px[index],
            self.geometry[index],
            self.centroid[index],
            self.bbox[index],
            self.confidence[index],
        )

    def join(self, other: ComponentBatch) -> ComponentBatch:
        """These and those after them."""
        names = [field.name for field in fields(self)]
        return ComponentBatch(*(np.concatenate([getattr(self, name), getattr(other, name)]) for name in names))

    def with_geometry(self, geometry: NDArray[np.object_]) -> ComponentBatch:
        """The same components with other outlines."""
        return replace(self, geometry=geometry)


def components(
    classes: Path | str,
    *,
    codes: Collection[int] = (CROP, WEED),
    block_px: int = 2048,
    confidence: Path | str | None = None,
) -> Iterator[list[Component]]:
    """The 4-connected components of a class raster, as lists of those that ended in the same rows.

    Each list is in the order of ids, the lists follow one another from top to bottom. What is held at a time is a
    strip of the raster and the components that reach out of it, not the raster.

    Args:
        classes: Raster of uint8 classes.
        codes: Classes that are wanted.
        block_px: Side of the blocks that are read. Changes where lists end and nothing else.
        confidence: Raster of uint8 confidences 0..100 (255 where there is none) on the same grid.

    Raises:
        InputError: If a raster cannot be used as it is.
    """
    for batch in batches(classes, codes=codes, block_px=block_px, confidence=confidence):
        yield list(batch)


def batches(
    classes: Path | str,
    *,
    codes: Collection[int] = (CROP, WEED),
    block_px: int = 2048,
    confidence: Path | str | None = None,
) -> Iterator[ComponentBatch]:
    """The same as `components`, as columns: several times as fast where there are very many.

    Raises:
        InputError: If a raster cannot be used as it is.
    """
    for batch, _ in batches_and_open(classes, codes=codes, block_px=block_px, confidence=confidence):
        yield batch


def batches_and_open(
    classes: Path | str,
    *,
    codes: Collection[int] = (CROP, WEED),
    block_px: int = 2048,
    confidence: Path | str | None = None,
) -> Iterator[tuple[ComponentBatch, NDArray[np.int64]]]:
    """The same, and with each batch the rectangles (row0, col0, row1, col1) of the components that are not whole yet.

    Raises:
        InputError: If a raster cannot be used as it is.
    """
    if block_px <= 0:
        raise InputError(f"block_px is {block_px}; expected a positive number of pixels")
    if not all(0 <= code <= 255 for code in codes):
        raise InputError(f"codes are {sorted(codes)}; expected values of a uint8 raster")
    with ExitStack() as stack:
        source = stack.enter_context(open_raster(classes))
        weights = None if confidence is None else stack.enter_context(open_raster(confidence))
        check_pair(source, weights)
        yield from _sweep(source, weights, codes, block_px)


def _sweep(
    source: DatasetReader, weights: DatasetReader | None, codes: Collection[int], block_px: int
) -> Iterator[tuple[ComponentBatch, NDArray[np.int64]]]:
    keep = np.zeros(256, np.bool_)
    keep[list(codes)] = True
    sweep = Sweep(source.width)
    for last_row, runs in _rows_of_runs(source, weights, keep, block_px):
        released = sweep.feed(runs, last_row)
        if released.stats.id.size:
            yield _batch(released, source.transform), sweep.open_boxes
    released = sweep.feed(Runs.none(), source.height)
    if released.stats.id.size:
        yield _batch(released, source.transform), sweep.open_boxes


def check_pair(source: DatasetReader, weights: DatasetReader | None) -> None:
    """Refuse a class or confidence raster that is none, and two that do not lie on the same grid.

    Raises:
        InputError: If so.
    """
    for raster in (source,) if weights is None else (source, weights):
        if raster.dtypes[0] != "uint8":
            raise InputError(f"{raster.name} holds {raster.dtypes[0]}; expected uint8 classes or confidences")
    if weights is not None and (weights.shape != source.shape or weights.transform != source.transform):
        raise InputError(
            f"{weights.name} ({weights.height} x {weights.width}) is not on the grid of {source.name} "
            f"({source.height} x {source.width}); give the confidence raster of the same run"
        )


def _rows_of_runs(
    source: DatasetReader, weights: DatasetReader | None, keep: NDArray[np.bool_], block_px: int
) -> Iterator[tuple[int, Runs]]:
    """Runs of consecutive rows of a file, with the last row up to which they are complete."""

    def find(block: Rect) -> Runs:
        if weights is None:
            return find_stacks(read_rect(source, block), keep)
        return find_runs(read_rect(source, block), keep, read_rect(weights, block))

    # Stacks cannot be joined over a seam, so there is none between blocks side by side.
    cols = source.width if weights is None else block_px
    return rows_of_runs(source.shape, strip_rows(source, block_px), cols, find)


def strip_rows(source: DatasetReader, block_px: int) -> int:
    """Rows that are read at once: whole tiles of the file, fewer where it is wide."""
    tile, most = source.block_shapes[0][0], STRIP_PX // source.width
    return int(min(block_px, max(most // tile * tile, min(tile, max(most, 1)))))


def rows_of_runs(
    shape: tuple[int, int], rows: int, block_px: int, find: Callable[[Rect], Runs], threads: int = 1
) -> Iterator[tuple[int, Runs]]:
    """Runs of consecutive rows, with the last row up to which they are complete.

    Args:
        shape: (height, width) of the raster.
        rows: Rows that are looked at together.
        block_px: Columns that are looked at together.
        find: Gives the runs of a rectangle, positions counted in it.
        threads: Rectangles of a strip that are looked at side by side.
    """
    height, width = shape

    def placed(block: Rect) -> Runs:
        return place_runs(find(block), block.shape[1], (block.row0, block.col0), width)

    with ThreadPoolExecutor(threads, "geoseg-runs") as pool:
        for row in range(0, height, rows):
            strip = Rect(row, 0, min(row + rows, height), width)
            cols = range(0, width, block_px)
            blocks = [Rect(strip.row0, col, strip.row1, min(col + block_px, width)) for col in cols]
            parts = list(pool.map(placed, blocks) if threads > 1 else map(placed, blocks))
            if any(part.rows.max(initial=1) > 1 for part in parts):
                yield strip.row1 - 1, join_runs(parts, width)
            else:
                yield from _few_rows(parts, strip, width)


def _few_rows(parts: list[Runs], strip: Rect, width: int) -> Iterator[tuple[int, Runs]]:
    """The runs of the blocks of a strip, joined as many rows at a time as hold about `STRIP_RUNS`."""
    number = np.zeros(strip.shape[0], np.int64)
    for part in parts:
        number += np.bincount(part.start // width - strip.row0, minlength=number.size)
    total = np.append(0, number.cumsum())
    first = 0
    while first < number.size:
        past = int(np.searchsorted(total, total[first] + STRIP_RUNS, side="right")) - 1
        past = max(past, first + 1)
        limits = (strip.row0 + first) * width, (strip.row0 + past) * width
        some = [take(part, slice(*np.searchsorted(part.start, limits))) for part in parts]
        yield strip.row0 + past - 1, join_runs(some, width)
        first = past


def _batch(released: Released, transform: Affine) -> ComponentBatch:
    stats = released.stats
    centroid = np.stack([stats.row_sum / stats.area_px, stats.col_sum2 / (2 * stats.area_px)], axis=1)
    known = np.maximum(stats.weight_px, 1)
    return ComponentBatch(
        id=stats.id,
        code=stats.code,
        area_px=stats.area_px,
        geometry=polygons(released.rings, transform),
        centroid=centroid,
        bbox=np.stack([stats.row0, stats.col0, stats.row1, stats.col1], axis=1),
        confidence=np.where(stats.weight_px > 0, stats.weight_sum / known, np.nan),
    )
