"""Labels and predictions in rasters: class rasters and run directories, with labels from any file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError, RasterioIOError
from rasterio.features import rasterize
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window as RasterWindow
from shapely import STRtree, box

from geoseg.errors import LabelError
from geoseg.legend import LEGEND, NODATA
from geoseg.ortho.place import IDENTITIES
from geoseg.ortho.vrt import shown_bands
from geoseg.train.evaluate_settings import Patch
from geoseg.train.labelfiles import LabelConfig, read_instances
from geoseg.train.labelgrid import check_grid, check_meets, ground_gsd
from geoseg.train.labelraster import open_file
from geoseg.train.labels import Labels, image_grid, open_labels
from geoseg.vectors import pixel_grid
from geoseg.windows import Rect

if TYPE_CHECKING:
    import geopandas as gpd

CLASSES, _ORTHO, _SUMMARY = "classes.tif", "ortho.vrt", "summary.json"
_PACKAGE, _OUTLINES = "field.gpkg", "plant_outlines"
_BESIDE = (("confidence", "confidence.tif"), ("ids", "panoptic.tif"))
"""What lies in a run directory beside the classes: attribute of `RasterPair`, file."""

__all__ = ["Outlines", "RasterPair", "raster_pair"]


@dataclass(frozen=True)
class RasterPair:
    """A class raster and labels on its grid.

    Attributes:
        classes: Class raster.
        labels: Class raster, vector, COCO or YOLO file.
        gsd_m: Metres per pixel.
        shape: (height, width).
        confidence: Raster in percent, or None.
        instances: File of outlines of single plants, or None.
        ids: Raster of the plants that were found, or None.
        found: GeoPackage with the outlines of the plants that were found, or None; used where there is no `ids`.
        label: How to understand the label files.
        ortho: Image for pictures, or None.
        pixels: From the pixels of an image without georeference to the CRS of the raster, or None.
        name: Name for people.
        source: The same.
    """

    classes: Path
    labels: Path
    gsd_m: float
    shape: tuple[int, int]
    confidence: Path | None = None
    instances: Path | None = None
    ids: Path | None = None
    found: Path | None = None
    label: LabelConfig | None = None
    ortho: Path | None = None
    pixels: Affine | None = None
    name: str = "raster"
    source: str = "raster"

    @contextmanager
    def open(self) -> Iterator[_OpenRasters]:
        """The rasters, opened."""
        grid = image_grid(self.classes)
        with ExitStack() as stack:
            labels = stack.enter_context(open_labels(self.labels, grid, self.label, pixels=self.pixels))
            rasters = [
                None if path is None else stack.enter_context(_on_grid(path, grid))
                for path in (self.classes, self.confidence, self.ids)
            ]
            yield _OpenRasters(labels, rasters, (self._outlines(grid, labels), self._found(grid)), self.ortho, grid)

    def _outlines(self, grid: GeoBox, labels: Labels) -> Outlines | None:
        if self.instances is not None:
            frame = read_instances(self.instances, grid, self.label, pixels=self.pixels)
            check_meets(frame, grid, self.instances, self.label)
            return Outlines(frame, grid)
        frame = getattr(labels, "frame", None)
        return None if frame is None else Outlines(frame, grid)

    def _found(self, grid: GeoBox) -> Outlines | None:
        if self.found is None or self.ids is not None:
            return None
        return Outlines(read_instances(self.found, grid, LabelConfig(layer=_OUTLINES)), grid)


class Outlines:
    """Outlines of single plants as ids over the whole raster."""

    def __init__(self, frame: gpd.GeoDataFrame, grid: GeoBox) -> None:
        """Index the outlines; of two that overlap the smaller one stays in sight.

        Args:
            frame: Outlines in the CRS of the grid.
            grid: Grid of the image.
        """
        shapes = frame.geometry.to_numpy()
        self._grid, self._shapes = grid, shapes[np.argsort(-frame.geometry.area.to_numpy(), kind="stable")]
        self._tree = STRtree(self._shapes)

    def read(self, rect: Rect) -> np.ndarray:
        """(H, W) int64 ids from 1, 0 where there is none."""
        part = self._grid[rect.row0 : rect.row1, rect.col0 : rect.col1]
        near = np.sort(self._tree.query(box(*part.boundingbox.bbox)))
        ids = np.zeros(rect.shape, np.int32)
        if len(near):
            rasterize(zip(self._shapes[near], (near + 1).tolist(), strict=True), out=ids, transform=part.affine)
        return ids.astype(np.int64)


class _OpenRasters:
    def __init__(
        self,
        labels: Labels,
        rasters: Sequence[Any],
        outlines: tuple[Outlines | None, Outlines | None],
        ortho: Path | None,
        grid: GeoBox,
    ) -> None:
        self._labels, self._rasters, self._outlines = labels, rasters, outlines
        self._ortho, self._grid = ortho, grid

    def read(self, rect: Rect) -> Patch:
        view = RasterWindow(rect.col0, rect.row0, rect.shape[1], rect.shape[0])
        try:
            classes, confidence, ids = (None if one is None else one.read(1, window=view) for one in self._rasters)
        except RasterioIOError as error:
            raise LabelError(f"a raster cannot be read at row {rect.row0}: {error}") from error
        truth, found = (None if one is None else one.read(rect) for one in self._outlines)
        labels = self._labels.read(rect)
        return Patch(labels, _checked(np.asarray(classes)), confidence, truth, ids if found is None else found)

    def image(self, rect: Rect) -> np.ndarray | None:
        crs = self._grid.crs
        if self._ortho is None or crs is None:
            return None
        part = self._grid[rect.row0 : rect.row1, rect.col0 : rect.col1]
        place = {"crs": crs.to_wkt(), "transform": part.affine}
        try:
            with (
                open_file(self._ortho) as ortho,
                WarpedVRT(ortho, height=rect.shape[0], width=rect.shape[1], **place) as view,
            ):
                image: np.ndarray = view.read(_seen_as(self._ortho))
        except (RasterioError, IndexError, LabelError):
            return None  # a picture is not worth an error: what was scored are the rasters
        return image if image.dtype == np.uint8 else None


def raster_pair(
    found: Path,
    labels: Path,
    *,
    instances: Path | None = None,
    label: LabelConfig | None = None,
    gsd_m: float | None = None,
) -> RasterPair:
    """A run directory or a class raster, and labels on its grid.

    Args:
        found: Run directory, whose confidence and plants are used as well, or class raster.
        labels: Class raster, vector, COCO or YOLO file.
        instances: Outlines of single plants, where `labels` is a raster.
        label: How to understand the label files.
        gsd_m: Metres per pixel of a raster that does not say it.

    Raises:
        LabelError: If a raster cannot be read, or does not say how large its pixels are.
    """
    run = found if found.is_dir() else None
    classes = found if run is None else run / CLASSES
    if run is not None and not classes.is_file():
        raise LabelError(f"{found} is neither a run directory with a {CLASSES} nor a tile set with an index.csv")
    grid = image_grid(classes)
    if grid.crs is not None:
        pixel_grid(classes)  # refuses degrees, in which pixels are no squares
    elif gsd_m is None and grid.affine in IDENTITIES:
        raise LabelError(f"{classes} does not say how large its pixels are; give --gsd, metres per pixel")
    gsd_m = ground_gsd(classes, grid, gsd_m)
    beside = {name: (run / file if run is not None and (run / file).is_file() else None) for name, file in _BESIDE}
    shape = int(grid.shape[0]), int(grid.shape[1])
    return RasterPair(
        classes,
        labels,
        gsd_m,
        shape,
        beside["confidence"],
        instances,
        beside["ids"],
        _package_of(run),
        label,
        ortho=_ortho_of(run),
        pixels=_pixels_of(run),
        name=found.name,
    )


@contextmanager
def _on_grid(path: Path, grid: GeoBox) -> Iterator[Any]:
    with open_file(path) as raster:
        check_grid(path, raster, grid)
        yield raster


def _checked(classes: np.ndarray) -> np.ndarray:
    unknown = (classes >= len(LEGEND)) & (classes != NODATA)
    if unknown.any():
        codes = np.unique(classes[unknown]).tolist()
        raise LabelError(f"the class raster holds {codes}; expected 0 to {len(LEGEND) - 1}, or {NODATA}")
    return classes.astype(np.uint8, copy=False)


def _package_of(run: Path | None) -> Path | None:
    """The GeoPackage of a run, if it holds outlines of the plants that the run counted."""
    import pyogrio

    path = None if run is None else run / _PACKAGE
    if path is None or not path.is_file() or _OUTLINES not in pyogrio.list_layers(path)[:, 0]:
        return None
    return path


def _ortho_of(run: Path | None) -> Path | None:
    """The ortho of a run, as far as it is still there; in its place, also where that is fitted or invented."""
    if run is not None and (run / _ORTHO).is_file():
        return run / _ORTHO
    path = Path(str(_summary_of(run).get("ortho", "")))
    return path if path.is_file() else None


def _pixels_of(run: Path | None) -> Affine | None:
    """Where a run put the pixels of an image without georeference."""
    if run is None or not _summary_of(run).get("position_is_nominal") or not (run / _ORTHO).is_file():
        return None
    with open_file(run / _ORTHO) as file:
        return Affine(*file.transform[:6])


def _summary_of(run: Path | None) -> dict[str, Any]:
    try:
        found = json.loads((run / _SUMMARY).read_text(encoding="utf-8")) if run is not None else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _seen_as(ortho: Path) -> list[int]:
    """Numbers of the bands that are red, green and blue."""
    return list(shown_bands(ortho)[0]) if ortho.suffix == ".vrt" else [1, 2, 3]
