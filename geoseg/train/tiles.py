"""Tile sets: small labelled images on disk, cut by place or by date and never at random.

A tile set is a folder that people can look through: ``images/*.tif``, ``labels/*.tif`` and, where single plants are
known, ``instances/*.tif`` with the same names, ``index.csv`` with one line a tile, and a README. Tiles of the training
part and of the validation part never share a pixel, and training looks at nothing outside a tile, so no context leaks
either.
"""

from __future__ import annotations

import csv
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
from rasterio.windows import Window as RasterioWindow
from rasterio.windows import transform as window_transform

from geoseg.errors import LabelError
from geoseg.legend import CROP, LEGEND, NODATA, SOIL, WEED
from geoseg.train.labelfiles import LabelConfig
from geoseg.train.labels import image_grid, open_labels
from geoseg.train.tilebands import check_scale, chosen_bands, in_memory, on_disk
from geoseg.train.tileinstances import InstanceSource
from geoseg.windows import Rect, windows

__all__ = [
    "Moments",
    "Tile",
    "TileConfig",
    "TileSource",
    "excess_green",
    "make_tiles",
    "read_index",
    "read_tile",
    "write_set",
]

TRAIN, VALIDATION = "train", "validation"
INSTANCES = "instances"
_COLUMNS = ("name", "split", "source", "row", "col", "height", "width", "gsd_m", "soil_px", "crop_px", "weed_px")
_README = """\
# Tile set

`images/` holds GeoTIFFs of 8 bits, or of 16 with 65535 as the full scale,
`labels/` class rasters of the same names (soil 0, crop 1, weed 2, 255 left out),
`instances/`, where single plants are known, their ids (from 1 in each tile, 0 where there is none),
`index.csv` one line a tile: its split (train or validation), where it was cut (row, col of its source in pixels), its
ground sampling distance and its pixels per class. `geoseg train` reads this format and `geoseg tile` writes it.
"""


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


@dataclass(frozen=True)
class Moments:
    """Statistics of the bands of an ortho.

    Attributes:
        mean: (C,) as a fraction of the full scale.
        covariance: (C, C), of the same.
    """

    mean: np.ndarray
    covariance: np.ndarray


@dataclass(frozen=True)
class Tile:
    """One labelled image.

    Attributes:
        name: Name without suffix, unique in its set.
        split: ``train`` or ``validation``.
        source: Where it comes from.
        row: First row in its source, pixels.
        col: First column in its source, pixels.
        gsd_m: Metres per pixel.
        image: (C, H, W) uint8 (0..255 is the full scale) or float32 (0..1).
        labels: (H, W) uint8.
        profile: Georeference: crs and transform, may be empty.
        instances: (H, W) uint16 plant ids from 1, 0 where there is none; None where nobody knows.
        moments: Statistics of the ortho that it is a window of; None takes its own.
    """

    name: str
    split: str
    source: str
    row: int
    col: int
    gsd_m: float
    image: np.ndarray
    labels: np.ndarray
    profile: dict[str, Any] = field(default_factory=dict)
    instances: np.ndarray | None = None
    moments: Moments | None = None


def excess_green(image: np.ndarray) -> np.ndarray:
    """(H, W) float32 excess green index (2 G - R - B) / (R + G + B) of a (3, H, W) image, 0 where it is black.

    Reference: Woebbecke et al. 1995, https://doi.org/10.13031/2013.27838
    """
    red, green, blue = image.astype(np.float32)
    total = red + green + blue
    index: np.ndarray = np.divide(2 * green - red - blue, total, out=np.zeros_like(total), where=total > 0)
    return index


def make_tiles(config: TileConfig, out: Path) -> int:
    """Cut all sources into one tile set and return the number of tiles.

    Raises:
        LabelError: If images and labels do not fit, or a class code is unknown.
    """
    if not config.sources:
        raise LabelError("a tile set needs at least one source; see configs/tiles_default.yaml")
    return write_set((tile for source in config.sources for tile in _cut(source, config.tile_px)), out)


def write_set(tiles: Iterator[Tile] | Sequence[Tile], out: Path) -> int:
    """Write tiles as a tile set and return their number.

    Raises:
        LabelError: If two tiles have the same name, or the folder holds a tile set already.
    """
    if (out / "index.csv").exists():
        raise LabelError(f"{out} holds a tile set already; remove it or choose another --out")
    for kind in ("images", "labels"):
        (out / kind).mkdir(parents=True, exist_ok=True)
    names: set[str] = set()
    with (out / "index.csv").open("w", newline="", encoding="utf-8") as file:
        index = csv.writer(file, lineterminator="\n")
        index.writerow(_COLUMNS)
        for tile in tiles:
            if tile.name in names:
                raise LabelError(f"two tiles are called {tile.name}; give the sources different names")
            names.add(tile.name)
            _write_tile(tile, out)
            counts = [int((tile.labels == code).sum()) for code in (SOIL, CROP, WEED)]
            place = (tile.name, tile.split, tile.source, tile.row, tile.col, *tile.labels.shape)
            index.writerow([*place, f"{tile.gsd_m:.6g}", *counts])
    (out / "README.md").write_text(_README, encoding="utf-8")
    return len(names)


def read_index(folder: Path) -> list[dict[str, str]]:
    """The lines of a tile set's index.

    Raises:
        LabelError: If the folder is no tile set or a column is missing.
    """
    try:
        with (folder / "index.csv").open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
    except OSError as error:
        raise LabelError(f"{folder} is no tile set: {error.strerror}: index.csv; make one with geoseg tile") from error
    missing = [name for name in _COLUMNS if lines and name not in lines[0]]
    if missing or not lines:
        raise LabelError(f"{folder / 'index.csv'} has no {', '.join(missing) or 'tiles'}")
    return lines


def read_tile(folder: Path, line: dict[str, str]) -> Tile:
    """A tile of a set by its line in the index.

    Raises:
        LabelError: If a file cannot be read, or image and labels differ in size.
    """
    name = f"{line['name']}.tif"
    image, _ = _read_image(folder / "images" / name)
    labels, profile = _read(folder / "labels" / name)
    if image.shape[1:] != labels.shape[1:]:
        raise LabelError(f"{folder}/images/{name} has shape {image.shape}, its labels {labels.shape[1:]}")
    place = int(line["row"]), int(line["col"])
    known = folder / INSTANCES / name
    instances = _read(known)[0][0] if known.exists() else None
    if instances is not None and instances.shape != labels.shape[1:]:
        raise LabelError(f"{known} has shape {instances.shape}, its labels {labels.shape[1:]}")
    about = line["name"], line["split"], line["source"], *place, float(line["gsd_m"])
    return Tile(*about, in_memory(image), labels[0], profile, instances)


def _cut(source: TileSource, tile_px: int) -> Iterator[Tile]:
    path = Path(source.images)
    if path.is_dir():
        yield from _cut_folder(source, path)
    elif path.is_file():
        yield from _cut_ortho(source, path, tile_px)
    else:
        raise LabelError(f"{path} is neither an image nor a folder of images")


def _cut_ortho(source: TileSource, path: Path, tile_px: int) -> Iterator[Tile]:
    grid = image_grid(path)
    labels_of = open_labels(source.labels, grid, source.label)
    plants = InstanceSource(Path(source.instances), grid, source.label) if source.instances else None
    with _open(path) as ortho, labels_of as labels:
        gsd_m = source.gsd_m or abs(ortho.transform.determinant) ** 0.5
        bands = chosen_bands(source.images, _colours(ortho), source.bands)
        check_scale(source.images, ortho, bands, source.value_max)
        for split, part in _parts(source, ortho.shape):
            for window in windows(part.shape, tile_px, 0):
                row, col = part.row0 + window.write.row0, part.col0 + window.write.col0
                view = RasterioWindow(col, row, window.write.shape[1], window.write.shape[0])
                rect = Rect(row, col, row + window.write.shape[0], col + window.write.shape[1])
                classes = labels.read(rect)
                classes[ortho.dataset_mask(window=view) == 0] = NODATA
                if (classes == NODATA).all():
                    continue
                profile = {"crs": ortho.crs, "transform": window_transform(view, ortho.transform)}
                name = f"{source.name}_{row:06d}_{col:06d}"
                image = on_disk(ortho.read(bands, window=view), source.value_max)
                ids = None if plants is None else plants.read(rect)
                yield _tile(source, Tile(name, split, source.name, row, col, gsd_m, image, classes, profile, ids))


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
    if source.gsd_m is None:
        raise LabelError(f"source {source.name} is a folder of images; give gsd_m, their metres per pixel")
    paths = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".tif", ".tiff")
    )
    if not paths:
        raise LabelError(f"{folder} holds no images")
    for path in paths:
        masks = [mask for mask in sorted(Path(source.labels).glob(f"{path.stem}.*")) if mask.suffix != ".xml"]
        if not masks:
            raise LabelError(f"{path.name} has no mask in {source.labels}")
        image, _ = _read_image(path, source)
        whole = Rect(0, 0, *image.shape[1:])
        with open_labels(masks[0], image_grid(path), source.label) as opened:
            labels = opened.read(whole)
        ids = None
        if source.instances:
            ids = InstanceSource(Path(source.instances) / f"{path.stem}.txt", image_grid(path), source.label).read(
                whole
            )
        split = VALIDATION if any(fnmatch(path.stem, pattern) for pattern in source.validation_names) else TRAIN
        name = f"{source.name}_{path.stem}"
        yield _tile(source, Tile(name, split, source.name, 0, 0, source.gsd_m, image, labels, {}, ids))


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


def _write_tile(tile: Tile, out: Path) -> None:
    height, width = tile.labels.shape
    shared = {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "dtype": "uint8",
        "compress": "deflate",
    } | tile.profile
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        look = {"dtype": tile.image.dtype, "photometric": "RGB" if len(tile.image) == 3 else "MINISBLACK"}
        path = out / "images" / f"{tile.name}.tif"
        with rasterio.open(path, "w", count=len(tile.image), predictor=2, **(shared | look)) as sink:
            sink.write(tile.image)
        with rasterio.open(out / "labels" / f"{tile.name}.tif", "w", count=1, nodata=NODATA, **shared) as sink:
            sink.write(tile.labels, 1)
            sink.write_colormap(1, LEGEND.colormap)
        if tile.instances is not None:
            path = out / INSTANCES / f"{tile.name}.tif"
            path.parent.mkdir(exist_ok=True)
            with rasterio.open(path, "w", count=1, nodata=0, **(shared | {"dtype": "uint16"})) as sink:
                sink.write(tile.instances.astype(np.uint16), 1)


def _open(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            return rasterio.open(path)
    except RasterioIOError as error:
        raise LabelError(f"{path} cannot be read as a raster: {error}") from error


def _read_image(path: Path, source: TileSource | None = None) -> tuple[np.ndarray, dict[str, Any]]:
    """Image as it is on disk and its georeference: of a tile set, or of a source with the bands that it names."""
    with _open(path) as raster:
        if source is None:
            bands = [number for number, colour in enumerate(_colours(raster), start=1) if colour != "alpha"]
            return raster.read(bands), {}
        bands = chosen_bands(str(path), _colours(raster), source.bands)
        check_scale(str(path), raster, bands, source.value_max)
        return on_disk(raster.read(bands), source.value_max), {}


def _colours(raster: Any) -> list[str]:
    return [colour.name.lower() for colour in raster.colorinterp]


def _read(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    with _open(path) as raster:
        profile = {} if raster.crs is None else {"crs": raster.crs, "transform": raster.transform}
        return raster.read(), profile
