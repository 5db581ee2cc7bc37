"""Labelled imagery cut into tile sets: orthos by place, folders of images by name, never at random."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from glob import escape
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from rasterio.windows import Window as RasterioWindow
from rasterio.windows import transform as window_transform

from geoseg.durable import usable_name
from geoseg.errors import LabelError
from geoseg.legend import LEGEND, NODATA, SOIL
from geoseg.progress import bar
from geoseg.train.labelfiles import LabelConfig
from geoseg.train.labelgrid import ground_gsd
from geoseg.train.labelraster import open_file
from geoseg.train.labels import image_grid, open_labels
from geoseg.train.tilebands import check_scale, chosen_bands, excess_green, known_pixels, on_disk
from geoseg.train.tileinstances import InstanceSource
from geoseg.train.tiles import TRAIN, VALIDATION, Tile, write_set
from geoseg.windows import Rect, rect_windows

__all__ = ["TileConfig", "TileSource", "make_tiles"]

_Piece = TypeVar("_Piece")
_MASKS = (".tif", ".tiff", ".png", ".txt", ".json", ".gpkg", ".geojson", ".shp")


@dataclass(frozen=True)
class TileSource:
    """Labelled imagery to cut: one ortho with a label raster, or a folder of images with a folder of masks.

    Attributes:
        name: Short name; starts the tiles' names.
        images: Raster file, or folder of image files.
        labels: Label raster on the same grid, vector, COCO or YOLO file or run directory; for a folder of images,
            folder of masks or YOLO files with the images' names.
        instances: Outlines of single plants, for models that tell plants apart: vector, COCO or YOLO file; for a
            folder of images, folder of YOLO files with the images' names.
        gsd_m: Metres per pixel where the files do not say it.
        bands: Numbers of the bands to keep, from 1, in the order of the model's card; None takes the first three.
        value_max: Number in the files that counts as full scale, such as 4095 of a 12-bit camera; None: that of their
            data type.
        validation_cols: First and last + 1 column that validates, of an ortho.
        validation_rows: The same for rows.
        validation_gap_px: Pixels around the validation part that neither train nor validate, so that no plant lies in
            both; the widest plant is enough.
        validation_names: Patterns of file names that validate, of a folder.
        ignore_green: Pixels labelled soil with an excess green above this are left out of training (255): labels are
            seldom complete. None trusts the labels. Validation keeps the labels as they are. The first three bands
            have to be red, green and blue.
        label: How to understand the label files.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    name: str
    images: str
    labels: str
    instances: str | None = None
    gsd_m: float | None = None
    bands: tuple[int, ...] | None = None
    value_max: float | None = None
    validation_cols: tuple[int, int] | None = None
    validation_rows: tuple[int, int] | None = None
    validation_gap_px: int = 0
    validation_names: tuple[str, ...] = ()
    ignore_green: float | None = None
    label: LabelConfig = field(default_factory=LabelConfig)


@dataclass(frozen=True)
class TileConfig:
    """What `geoseg tile` does.

    Attributes:
        sources: What to cut.
        tile_px: Largest side of a tile.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    sources: tuple[TileSource, ...] = field(default_factory=tuple)
    tile_px: int = 640


def make_tiles(config: TileConfig, out: Path) -> int:
    """Cut all sources into one tile set and return the number of tiles.

    Raises:
        LabelError: If images and labels do not fit, or a class code is unknown.
    """
    if config.tile_px < 16:
        raise LabelError(f"tile_px is {config.tile_px}; expected 16 or more")
    if not config.sources:
        raise LabelError("a tile set needs at least one source; see configs/tiles_default.yaml")
    return write_set((tile for source in config.sources for tile in _some(source, config.tile_px)), out)


def _some(source: TileSource, tile_px: int) -> Iterator[Tile]:
    """The tiles of a source, of which there must be one."""
    nothing = True
    for tile in _cut(source, tile_px):
        nothing = False
        yield tile
    if nothing:
        raise LabelError(
            f"no pixel of {source.name} has both data in {source.images} and a label in {source.labels}; look whether "
            "the labels are of this image, and whether all of it is left out (255)"
        )


def _cut(source: TileSource, tile_px: int) -> Iterator[Tile]:
    path = Path(source.images)
    _check_split(source, path.is_dir())
    if path.is_dir():
        yield from _cut_folder(source, path)
    elif path.is_file():
        yield from _cut_ortho(source, path, tile_px)
    else:
        raise LabelError(f"{path} is neither an image nor a folder of images")


def _check_split(source: TileSource, folder: bool) -> None:
    """Refuse what says nothing about this kind of source, and names that are no part of a file's name."""
    if usable_name(source.name) != source.name or not source.name:
        raise LabelError(
            f"a source is called {source.name!r}; expected a part of a file's name, without / and the like"
        )
    if folder and (source.validation_cols is not None or source.validation_rows is not None):
        raise LabelError(f"{source.name} is a folder of images; say with validation_names which of them validate")
    if not folder and source.validation_names:
        raise LabelError(f"{source.name} is an ortho; say with validation_cols or validation_rows what validates")
    for key in ("validation_cols", "validation_rows"):
        span = getattr(source, key)
        if span is not None and not 0 <= span[0] < span[1]:
            raise LabelError(f"{key} of {source.name} is {list(span)}; expected the first and the last + 1, from 0")


def _cut_ortho(source: TileSource, path: Path, tile_px: int) -> Iterator[Tile]:
    grid = image_grid(path)
    labels_of = open_labels(source.labels, grid, source.label)
    plants = InstanceSource(Path(source.instances), grid, source.label) if source.instances else None
    with open_file(path) as ortho, labels_of as labels:
        gsd_m = ground_gsd(path, grid, source.gsd_m)
        bands = chosen_bands(source.images, _colours(ortho), source.bands)
        check_scale(source.images, ortho, bands, source.value_max)
        pieces = [
            (split, window.write)
            for split, part in _parts(source, ortho.shape)
            for window in rect_windows(part, tile_px, 0)
        ]
        for split, rect in _told(source, pieces):
            view = RasterioWindow(rect.col0, rect.row0, rect.shape[1], rect.shape[0])
            values = ortho.read(bands, window=view)
            classes = np.where(known_pixels(ortho, values, view), labels.read(rect), np.uint8(NODATA))
            if (classes == NODATA).all():
                continue
            profile = {"crs": ortho.crs, "transform": window_transform(view, ortho.transform)}
            name = f"{source.name}_{rect.row0:06d}_{rect.col0:06d}"
            image = on_disk(values, source.value_max)
            ids = None if plants is None else plants.read(rect)
            yield _tile(
                source, Tile(name, split, source.name, rect.row0, rect.col0, gsd_m, image, classes, profile, ids)
            )


def _told(source: TileSource, pieces: Sequence[_Piece]) -> Iterator[_Piece]:
    """The pieces of a source, counted by a bar."""
    with bar(source.name, len(pieces), "tile") as progress:
        for piece in pieces:
            yield piece
            progress.update()


def _parts(source: TileSource, shape: tuple[int, int]) -> Iterator[tuple[str, Rect]]:
    """The validation rectangle, and the rectangles around it that train."""
    whole = Rect(0, 0, *shape)
    if source.validation_cols is None and source.validation_rows is None:
        yield TRAIN, whole
        return
    rows, cols = source.validation_rows or (0, shape[0]), source.validation_cols or (0, shape[1])
    inner = Rect(rows[0], cols[0], rows[1], cols[1]).clip(shape)
    if not inner.size:
        raise LabelError(f"the validation part of {source.name}, rows {rows} and columns {cols}, is empty")
    yield VALIDATION, inner
    outer = inner.grow(max(0, source.validation_gap_px)).clip(shape)
    around = (
        Rect(0, 0, outer.row0, shape[1]),
        Rect(outer.row1, 0, shape[0], shape[1]),
        Rect(outer.row0, 0, outer.row1, outer.col0),
        Rect(outer.row0, outer.col1, outer.row1, shape[1]),
    )
    yield from ((TRAIN, rect) for rect in around if rect.size)


def _cut_folder(source: TileSource, folder: Path) -> Iterator[Tile]:
    paths = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".tif", ".tiff")
    )
    if not paths:
        raise LabelError(f"{folder} holds no images")
    validates = _validating(source, paths)
    for path in _told(source, paths):
        grid = image_grid(path)
        gsd_m = ground_gsd(path, grid, source.gsd_m)
        mask = _mask_of(path, Path(source.labels))
        image, known = _read_image(path, source)
        whole = Rect(0, 0, *image.shape[1:])
        with open_labels(mask, grid, source.label, own_file=True) as opened:
            labels = np.where(known, opened.read(whole), np.uint8(NODATA))
        ids = None
        if source.instances:
            ids = InstanceSource(Path(source.instances) / f"{path.stem}.txt", grid, source.label).read(whole)
        name = f"{source.name}_{path.stem}"
        profile = {} if grid.crs is None else {"crs": grid.crs.to_wkt(), "transform": grid.affine}
        split = VALIDATION if path in validates else TRAIN
        yield _tile(source, Tile(name, split, source.name, 0, 0, gsd_m, image, labels, profile, ids))


def _validating(source: TileSource, paths: list[Path]) -> set[Path]:
    """The images that validate: those with a name, with or without suffix, that a pattern matches."""
    found: set[Path] = set()
    for pattern in source.validation_names:
        here = {path for path in paths if fnmatch(path.stem, pattern) or fnmatch(path.name, pattern)}
        if not here:
            raise LabelError(f"no image of {source.name} is called {pattern!r}, as validation_names says")
        found |= here
    return found


def _mask_of(image: Path, folder: Path) -> Path:
    """The labels of an image of a folder: a raster, YOLO or COCO file of its name."""
    found = [
        path
        for path in sorted(folder.glob(f"{escape(image.stem)}.*"))
        if path.stem == image.stem and path.suffix.lower() in _MASKS and not path.samefile(image)
    ]
    if not found:
        raise LabelError(f"{image.name} has no mask in {folder}; expected {image.stem} with one of {', '.join(_MASKS)}")
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise LabelError(f"{image.name} has several masks in {folder}: {names}; leave one of them")
    return found[0]


def _tile(source: TileSource, raw: Tile) -> Tile:
    """The tile that is written: labels checked, untrusted green left out, plants where the labels have plants."""
    labels = raw.labels
    unknown = set(np.unique(labels).tolist()) - {NODATA, *range(len(LEGEND))}
    if unknown:
        raise LabelError(f"{source.labels} holds {sorted(unknown)}; expected 0 soil, 1 crop, 2 weed, 255 left out")
    if raw.split == TRAIN and source.ignore_green is not None:
        if len(raw.image) < 3:
            raise LabelError(f"{source.name} keeps {len(raw.image)} bands; ignore_green needs red, green and blue")
        green = excess_green(raw.image[:3]) > source.ignore_green
        labels = np.where((labels == SOIL) & green, np.uint8(NODATA), labels)
    planted = (labels != SOIL) & (labels != NODATA)
    ids = None if raw.instances is None else np.where(planted, raw.instances, np.uint16(0))
    return replace(raw, labels=labels.astype(np.uint8), instances=ids)


def _read_image(path: Path, source: TileSource) -> tuple[np.ndarray, np.ndarray]:
    """(C, H, W) image as a tile set keeps it, of the bands that the source names, and (H, W) bool where it has data."""
    with open_file(path) as raster:
        bands = chosen_bands(str(path), _colours(raster), source.bands)
        check_scale(str(path), raster, bands, source.value_max)
        values = raster.read(bands)
        return on_disk(values, source.value_max), known_pixels(raster, values)


def _colours(raster: Any) -> list[str]:
    return [colour.name.lower() for colour in raster.colorinterp]
