"""What scores are counted in and resampled over: squares of ground, or the plots of a trial."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyproj
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.features import rasterize
from shapely import STRtree

from geoseg.errors import LabelError
from geoseg.train.labelfiles import moved
from geoseg.windows import Rect

__all__ = ["MAX_BLOCKS", "Ground", "Plots", "PlotsOf", "Squares", "read_plots"]

MAX_BLOCKS = 4096
"""Most squares of one raster; on larger ground the squares grow."""
_NAMES = ("plot", "plot_id", "plot_name", "name", "id")
_OVERLAP = 0.01


class Ground(Protocol):
    """A part of a raster, cut into blocks; places are counted from its upper left corner."""

    @property
    def side_px(self) -> float | None:
        """Side of the squares, pixels; None where the blocks are none."""
        ...

    def __len__(self) -> int:
        """Number of blocks."""
        ...

    def of(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Block of each place, -1 for none; the centre of pixel (0, 0) is (0, 0)."""
        ...

    def pixels(self, row: int, shape: tuple[int, int]) -> np.ndarray:
        """(H, W) block of each pixel of a strip that starts at a row, -1 for none."""
        ...

    def nearest(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Block of each place, or the one next to it."""
        ...

    def rect(self, block: int) -> Rect:
        """What a block spans."""
        ...

    def name(self, block: int) -> str:
        """Name of a block, empty where its place says all."""
        ...


class Squares:
    """Squares that fill the part."""

    def __init__(self, shape: tuple[int, int], side_px: float) -> None:
        """Lay them.

        Args:
            shape: (height, width) of the part.
            side_px: Side of a square; doubled until there are no more than `MAX_BLOCKS`.
        """
        while math.ceil(shape[0] / side_px) * math.ceil(shape[1] / side_px) > MAX_BLOCKS:
            side_px *= 2
        self._shape, self.side_px = shape, side_px
        self._lattice = max(1, math.ceil(shape[0] / side_px)), max(1, math.ceil(shape[1] / side_px))

    def __len__(self) -> int:
        """Number of squares."""
        return self._lattice[0] * self._lattice[1]

    def of(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Square of each place."""
        row = np.minimum(((rows + 0.5) / self.side_px).astype(np.int64), self._lattice[0] - 1)
        col = np.minimum(((cols + 0.5) / self.side_px).astype(np.int64), self._lattice[1] - 1)
        return np.asarray(row * self._lattice[1] + col)

    nearest = of

    def pixels(self, row: int, shape: tuple[int, int]) -> np.ndarray:
        """(H, W) square of each pixel of a strip."""
        return self.of(np.arange(shape[0])[:, None] + row, np.arange(shape[1])[None])

    def rect(self, block: int) -> Rect:
        """What a square spans."""
        row, col = divmod(block, self._lattice[1])
        corners = [math.ceil(value * self.side_px - 0.5) for value in (row, col, row + 1, col + 1)]
        return Rect(*corners).clip(self._shape)

    def name(self, block: int) -> str:  # noqa: ARG002 - the protocol names it
        """Nothing: the place of a square says all."""
        return ""


class PlotsOf:
    """Plots as they lie in a part; a pixel or a plant belongs to the plot that holds its centre."""

    side_px = None

    def __init__(self, names: Sequence[str], shapes: np.ndarray, part: Rect) -> None:
        """Index them.

        Args:
            names: Name of each plot.
            shapes: (n,) polygons; x is the column and y the row of the whole raster, the corner of pixel (0, 0) at 0.
            part: The part.
        """
        self._names, self._part = names, part
        self._shapes = shapely.transform(shapes, lambda corner: corner - np.array([part.col0, part.row0]))
        self._tree = STRtree(self._shapes)

    def __len__(self) -> int:
        """Number of plots."""
        return len(self._names)

    def of(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Plot of each place, -1 outside all."""
        points = _points(rows, cols)
        found = np.full(len(points), -1, np.int64)
        point, plot = self._tree.query(points, predicate="intersects")
        found[point[::-1]] = plot[::-1]  # the first of two that touch there
        return found

    def nearest(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Plot of each place, or the one next to it."""
        return np.asarray(self._tree.nearest(_points(rows, cols)), np.int64)

    def pixels(self, row: int, shape: tuple[int, int]) -> np.ndarray:
        """(H, W) plot of each pixel of a strip, -1 outside all."""
        marks = np.zeros(shape, np.int32)
        near = np.sort(self._tree.query(shapely.box(0, row, shape[1], row + shape[0])))[::-1]
        if len(near):
            drawn = zip(self._shapes[near], (near + 1).tolist(), strict=True)
            rasterize(drawn, out=marks, transform=Affine.translation(0, row))
        return marks.astype(np.int64) - 1

    def rect(self, block: int) -> Rect:
        """What a plot spans."""
        left, top, right, bottom = shapely.bounds(self._shapes[block])
        whole = Rect(math.floor(top), math.floor(left), math.ceil(bottom), math.ceil(right))
        return whole.clip(self._part.shape)

    def name(self, block: int) -> str:
        """Name of a plot."""
        return self._names[block]


@dataclass(frozen=True)
class Plots:
    """Plots of a trial on the grid of a raster.

    Attributes:
        names: Name of each.
        shapes: (n,) polygons in pixels of the raster, x is the column.
    """

    names: tuple[str, ...]
    shapes: np.ndarray

    def of_part(self, part: Rect) -> PlotsOf:
        """The same as seen from the corner of a part."""
        return PlotsOf(self.names, self.shapes, part)


def read_plots(path: Path, grid: GeoBox) -> Plots:
    """The polygons of a vector file, each a plot, named by the column plot, plot_id, plot_name, name or id.

    Args:
        path: GeoPackage, shapefile or GeoJSON; of several layers the one called ``plots``.
        grid: Grid of the raster.

    Raises:
        LabelError: If it cannot be read or placed, holds no polygons, none on the raster, or some that overlap.
    """
    frame = _frame(path)
    if grid.crs is None or frame.crs is None:
        raise LabelError(f"{path.name} or the class raster has no CRS; plots cannot be placed without")
    kept = frame.geom_type.isin(["Polygon", "MultiPolygon"])
    if not kept.any():
        raise LabelError(f"{path} holds no polygons; expected one for each plot")
    frame = frame[kept].to_crs(pyproj.CRS(grid.crs.to_wkt()))
    shapes = moved(shapely.make_valid(shapely.force_2d(frame.geometry.to_numpy())), ~grid.affine)
    names = _names(frame)
    _refuse_overlap(path, names, shapes)
    inside = shapely.intersects(shapes, shapely.box(0, 0, grid.shape[1], grid.shape[0]))
    if not inside.any():
        raise LabelError(f"no plot of {path} lies on the class raster; look at both in QGIS")
    return Plots(tuple(name for name, here in zip(names, inside, strict=True) if here), shapes[inside])


def _frame(path: Path) -> Any:
    import geopandas as gpd
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError

    try:
        layers = [name for name in pyogrio.list_layers(path)[:, 0].tolist() if name != "layer_styles"]
        layer = "plots" if "plots" in layers else layers[0] if len(layers) == 1 else None
        if layer is None:
            raise LabelError(f"{path} holds the layers {', '.join(layers)}; call the one with plots plots")
        return gpd.read_file(path, layer=layer)
    except (DataSourceError, DataLayerError) as error:
        raise LabelError(f"{path} cannot be read as a vector file: {error}") from error


def _names(frame: Any) -> list[str]:
    columns = {str(column).lower(): column for column in frame.columns}
    for name in _NAMES:
        if name in columns and frame[columns[name]].notna().all() and frame[columns[name]].is_unique:
            return [str(value) for value in frame[columns[name]]]
    return [str(number) for number in range(1, len(frame) + 1)]


def _refuse_overlap(path: Path, names: Sequence[str], shapes: np.ndarray) -> None:
    one, two = STRtree(shapes).query(shapes, predicate="intersects")
    one, two = one[one < two], two[one < two]
    common = shapely.area(shapely.intersection(shapes[one], shapes[two]))
    bad = np.flatnonzero(common > _OVERLAP * np.minimum(shapely.area(shapes[one]), shapely.area(shapes[two])))
    if len(bad):
        first, second = names[one[bad[0]]], names[two[bad[0]]]
        raise LabelError(
            f"{path}: plots {first} and {second} overlap, so that a plant would count twice; draw them apart"
        )


def _points(rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    return np.asarray(shapely.points(np.asarray(cols, float) + 0.5, np.asarray(rows, float) + 0.5))
