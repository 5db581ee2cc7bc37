"""Labels on the grid of an image, whatever file they come from: one way to read them, window by window.

Pixels belong to a polygon if their centre does. What covers a pixel with crop and with weed is decided by the option
``on_top`` and can be asked for as `overlap`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import rasterio
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.errors import NotGeoreferencedWarning
from rasterio.features import rasterize
from rasterio.windows import Window as RasterWindow

from geoseg.durable import drafted
from geoseg.errors import LabelError
from geoseg.legend import CROP, LEGEND, NODATA, SOIL, WEED
from geoseg.ortho import Ortho, OrthoConfig
from geoseg.train.labelarea import LabelsWithin
from geoseg.train.labelfiles import LabelConfig, moved, read_instances
from geoseg.train.labelgrid import check_meets
from geoseg.train.labelraster import RasterLabels, image_grid
from geoseg.windows import Rect, blocks

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["Labels", "RasterLabels", "VectorLabels", "image_grid", "labels_of", "open_labels", "write_labels"]

_RASTERS = (".tif", ".tiff", ".png", ".vrt", ".img", ".jp2")
_EXACT = 2.0**16  # pixel coordinates are kept to this part of a pixel, so that they do not depend on the window
_BLOCK_PX = 1024


class Labels(Protocol):
    """Labels on a grid; a context manager.

    Attributes:
        grid: The grid of the image.
    """

    grid: GeoBox

    def read(self, rect: Rect) -> np.ndarray:
        """(H, W) uint8 codes of a rectangle inside the grid."""
        ...

    def overlap(self, rect: Rect) -> np.ndarray:
        """(H, W) bool: pixels that the labels give to crop and to weed."""
        ...

    def shapes(self, rect: Rect) -> list[tuple[int, Any]]:
        """Codes and polygons of the instances in a rectangle, cut at its edges, x and y in pixels from its corner."""
        ...

    def frames(self) -> Iterator[gpd.GeoDataFrame]:
        """All instances with code, class and geometry in the CRS of the grid, in batches."""
        ...

    def __enter__(self) -> Self:
        """Itself."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files."""
        ...


class VectorLabels:
    """Polygons with a class, from a frame of instances.

    Attributes:
        grid: The grid of the image.
        frame: The instances, in the CRS of the grid.
    """

    def __init__(self, frame: gpd.GeoDataFrame, grid: GeoBox, on_top: str = "weed") -> None:
        """Bring the polygons into pixels.

        Args:
            frame: Instances with ``code`` and geometry.
            grid: Grid of the image.
            on_top: Class that wins where crop and weed overlap.
        """
        self.grid, self.frame = grid, frame
        pixels = moved(frame.geometry.to_numpy(), ~grid.affine)
        self._shapes = shapely.transform(pixels, lambda points: np.rint(points * _EXACT) / _EXACT)
        self._codes = frame["code"].to_numpy()
        self._order = (SOIL, CROP, WEED, NODATA) if on_top == "weed" else (SOIL, WEED, CROP, NODATA)
        self._tree = shapely.STRtree(self._shapes)

    def read(self, rect: Rect) -> np.ndarray:
        """(H, W) uint8 codes; soil where there is no polygon."""
        classes = np.full(rect.shape, SOIL, np.uint8)
        for code in self._order:
            classes[self._burn(rect, code)] = code
        return classes

    def overlap(self, rect: Rect) -> np.ndarray:
        """(H, W) bool: pixels that lie in a crop polygon and in a weed polygon."""
        return np.asarray(self._burn(rect, CROP) & self._burn(rect, WEED), bool)

    def shapes(self, rect: Rect) -> list[tuple[int, Any]]:
        """The instances, cut at the rectangle; they may overlap."""
        box = shapely.box(rect.col0, rect.row0, rect.col1, rect.row1)
        near = np.sort(self._tree.query(box, "intersects"))
        parts = shapely.intersection(self._shapes[near], box)
        whole = shapely.transform(parts, lambda points: points - (rect.col0, rect.row0))
        return [
            (int(code), piece)
            for code, part in zip(self._codes[near], whole, strict=True)
            for piece in shapely.get_parts(part)
            if piece.area > 0
        ]

    def frames(self) -> Iterator[gpd.GeoDataFrame]:
        """All instances at once, as they were read."""
        yield self.frame

    def _burn(self, rect: Rect, code: int) -> np.ndarray:
        box = shapely.box(rect.col0, rect.row0, rect.col1, rect.row1)
        near = self._tree.query(box)
        near = near[self._codes[near] == code]
        out = np.zeros(rect.shape, np.uint8)
        if near.size:
            place = Affine.translation(rect.col0, rect.row0)
            rasterize(((shape, 1) for shape in self._shapes[near]), out=out, transform=place)
        return np.asarray(out, bool)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is open."""


def labels_of(image: Path, said: OrthoConfig, path: Path, config: LabelConfig | None = None) -> Labels:
    """Labels from any file on the grid of an image, with what a person says about the image."""
    if said.crs is None and said.gsd_m is None:
        return open_labels(path, image_grid(image), config)
    opened = Ortho.open(image, said)
    return open_labels(path, opened.geobox, config, pixels=opened.pixels)


def open_labels(
    path: Path | str,
    grid: GeoBox,
    config: LabelConfig | None = None,
    *,
    own_file: bool = False,
    pixels: Affine | None = None,
) -> Labels:
    """Labels from any file, on the grid of an image.

    Args:
        path: Class raster, run directory, vector file, COCO file, YOLO file or folder of YOLO files.
        grid: Grid of the image.
        config: How to understand the file.
        own_file: Whether the file is of this image alone, as its name says; a vector file may then be empty.
        pixels: From the pixels of an image without georeference to the grid's CRS; vectors without CRS are on them.

    Raises:
        LabelError: If they cannot be read or placed.
    """
    path, config = Path(path), config or LabelConfig()
    if (path / "classes.tif").is_file():
        path = path / "classes.tif"
    if not path.exists() and path.suffix.lower() not in _RASTERS:
        raise LabelError(
            f"there is no {path}; expected a class raster, a vector, COCO or YOLO file, or a run directory"
        )
    if path.suffix.lower() in _RASTERS:
        found: Labels = RasterLabels(path, grid, config)
    else:
        frame = read_instances(path, grid, config, pixels=pixels)
        check_meets(frame, grid, path, config, own_file=own_file)
        found = VectorLabels(frame, grid, config.on_top)
    return found if config.labelled_area is None else LabelsWithin(found, Path(config.labelled_area))


def write_labels(labels: Labels, out: Path) -> dict[str, int]:
    """Write labels as a class raster; gives pixels per class name and, as ``overlap``, those claimed twice."""
    grid = labels.grid
    height, width = (int(size) for size in grid.shape)
    counts = np.zeros(256, np.int64)
    twice = 0
    out.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "GTiff", "dtype": "uint8", "count": 1, "height": height, "width": width, "nodata": NODATA,
        "tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "BIGTIFF": "IF_SAFER",
    }  # fmt: skip
    if grid.crs is not None:
        profile["crs"] = grid.crs.to_wkt()
    if grid.affine != Affine.identity():
        profile["transform"] = grid.affine
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with drafted(out) as draft, rasterio.open(draft, "w", **profile) as sink:
            sink.write_colormap(1, LEGEND.colormap)
            for rect in blocks((height, width), _BLOCK_PX):
                classes = labels.read(rect)
                counts += np.bincount(classes.ravel(), minlength=256)
                twice += int(labels.overlap(rect).sum())
                sink.write(classes, 1, window=RasterWindow(rect.col0, rect.row0, rect.shape[1], rect.shape[0]))
    return {entry.name: int(counts[entry.code]) for entry in LEGEND.entries} | {"overlap": twice}
