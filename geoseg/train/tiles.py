"""Tile sets: small labelled images on disk, cut by place or by date and never at random.

A tile set is a folder that people can look through: ``images/*.tif``, ``labels/*.tif`` and, where single plants are
known, ``instances/*.tif`` with the same names, ``index.csv`` with one line a tile, and a README. Tiles of the training
part and of the validation part never share a pixel, and training looks at nothing outside a tile, so no context leaks
either. Where tiles come from is not known here: see `geoseg.train.tilecutting`.
"""

from __future__ import annotations

import csv
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning

from geoseg.durable import drafted
from geoseg.errors import LabelError
from geoseg.legend import CROP, LEGEND, NODATA, SOIL, WEED
from geoseg.train.labelraster import open_file
from geoseg.train.tilebands import in_memory

__all__ = [
    "TRAIN",
    "VALIDATION",
    "Moments",
    "Tile",
    "check_bands",
    "read_index",
    "read_tile",
    "summary_lines",
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


def write_set(tiles: Iterator[Tile] | Sequence[Tile], out: Path) -> int:
    """Write tiles as a tile set and return their number.

    The index comes last: a folder without one is no tile set, and the same command goes over it again.

    Raises:
        LabelError: If two tiles have the same name, or the folder holds a tile set already.
    """
    if (out / "index.csv").exists():
        raise LabelError(f"{out} holds a tile set already; remove it or choose another --out")
    for kind in ("images", "labels"):
        (out / kind).mkdir(parents=True, exist_ok=True)
    lines: dict[str, list[Any]] = {}
    for tile in tiles:
        if tile.name in lines:
            raise LabelError(f"two tiles are called {tile.name}; give the sources different names")
        _write_tile(tile, out)
        counts = [int((tile.labels == code).sum()) for code in (SOIL, CROP, WEED)]
        place = (tile.name, tile.split, tile.source, tile.row, tile.col, *tile.labels.shape)
        lines[tile.name] = [*place, f"{tile.gsd_m:.6g}", *counts]
    (out / "README.md").write_text(_README, encoding="utf-8")
    with drafted(out / "index.csv") as draft, draft.open("w", newline="", encoding="utf-8") as file:
        index = csv.writer(file, lineterminator="\n")
        index.writerow(_COLUMNS)
        index.writerows(lines.values())
    return len(lines)


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


def summary_lines(folder: Path) -> list[str]:
    """What each part of a tile set holds, for people, with a word where something is missing."""
    lines, lacking = [], []
    index = read_index(folder)
    for split in (TRAIN, VALIDATION):
        part = [line for line in index if line["split"] == split]
        pixels = {name: sum(int(line[f"{name}_px"]) for line in part) for name in ("soil", "crop", "weed")}
        total = max(sum(pixels.values()), 1)
        shares = ", ".join(f"{name} {count / total:.2%}" for name, count in pixels.items())
        lines.append(f"{split:<12}{len(part):>6} tiles{f'  {shares}' if part else ''}")
        lacking += [f"{split} holds no {name}" for name in ("crop", "weed") if part and not pixels[name]]
        lacking += [] if part else [f"nothing is left for {split}"]
    return [*lines, *(f"look: {one}" for one in lacking)]


def read_tile(folder: Path, line: dict[str, str]) -> Tile:
    """A tile of a set by its line in the index.

    Raises:
        LabelError: If a file cannot be read, or image and labels differ in size.
    """
    name = f"{line['name']}.tif"
    image = _read_image(folder / "images" / name)
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


def check_bands(tile: Tile, bands: int) -> None:
    """Refuse a tile that has not as many bands as the model takes.

    Raises:
        LabelError: Naming both numbers.
    """
    if len(tile.image) != bands:
        raise LabelError(
            f"tile {tile.name} has {len(tile.image)} bands, the card names {bands}; cut the set with these bands in "
            "its sources, or take another model"
        )


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
            sink.write_colormap(1, LEGEND.colormap)  # before the pixels: libtiff cannot change the kind of file later
            sink.write(tile.labels, 1)
        path = out / INSTANCES / f"{tile.name}.tif"
        if tile.instances is None:
            path.unlink(missing_ok=True)  # of a set that was never finished
        else:
            path.parent.mkdir(exist_ok=True)
            with rasterio.open(path, "w", count=1, nodata=0, **(shared | {"dtype": "uint16"})) as sink:
                sink.write(tile.instances.astype(np.uint16), 1)


def _read_image(path: Path) -> np.ndarray:
    """(C, H, W) image as it is on disk, without alpha."""
    with open_file(path) as raster:
        bands = [number for number, kind in enumerate(raster.colorinterp, start=1) if kind != ColorInterp.alpha]
        pixels: np.ndarray = raster.read(bands)
        return pixels


def _read(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    with open_file(path) as raster:
        profile = {} if raster.crs is None else {"crs": raster.crs, "transform": raster.transform}
        return raster.read(), profile
