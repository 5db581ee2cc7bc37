"""``panoptic.tif``: which plant each pixel belongs to, burnt from the outlines, and the same as COCO panoptic files.

Outlines follow pixel edges, so that burning them by pixel centres gives back the very pixels of each plant. Soil and
weed cover that is no plant are stuff, plants are things; no pixel is two of them.

Reference:
    COCO data format, panoptic segmentation, https://cocodataset.org/#format-data: a PNG whose pixels hold
    R + 256 G + 256² B, and a JSON file that says what each number is.
"""

from __future__ import annotations

import csv
import json
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.durable import drafted
from geoseg.errors import InputError
from geoseg.export.labeltiles import draft
from geoseg.legend import CROP, LEGEND, SOIL, WEED
from geoseg.ortho.source import environment
from geoseg.segment.layers import Layer
from geoseg.vectors.package import open_package
from geoseg.windows import Rect, blocks

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

__all__ = ["PANOPTIC", "write_coco_panoptic", "write_panoptic"]

PANOPTIC = Layer("panoptic", dtype="uint32")
"""Number of each pixel's plant, its row in the layer ``plant_outlines``, from 1; 0 where there is none."""
_BLOCK_PX = 2048
_AT_ONCE = 100_000
_CATEGORIES = (
    {"id": 1, "name": LEGEND[CROP].name, "supercategory": "plant", "isthing": 1, "color": list(LEGEND[CROP].rgb)},
    {"id": 2, "name": LEGEND[WEED].name, "supercategory": "plant", "isthing": 1, "color": list(LEGEND[WEED].rgb)},
    {"id": 3, "name": LEGEND[SOIL].name, "supercategory": "ground", "isthing": 0, "color": list(LEGEND[SOIL].rgb)},
    {"id": 4, "name": "weed cover", "supercategory": "ground", "isthing": 0, "color": [150, 20, 20]},
)
_STUFF = {3: SOIL, 4: WEED}
"""Class of the pixels in no plant that are a stuff category; crop in no plant is left void."""


def write_panoptic(package: Path, classes: Path, out: Path) -> int:
    """Write the raster of plants and the table of their classes beside it, suffix ``.csv``; give their number.

    Args:
        package: ``field.gpkg`` with the layer ``plant_outlines``.
        classes: Class raster, for its grid.
        out: The raster to write, a COG of uint32.
    """
    import rasterio
    from odc.geo.geobox import GeoBox

    from geoseg.segment.cog import Sink

    with rasterio.open(classes) as source:
        grid = GeoBox(source.shape, source.transform, source.crs)
    tags = {"UNIT": f"row of the plant in layer plant_outlines of {package.name}, from 1"}
    count = _write_table(package, out.with_suffix(".csv"))
    with ExitStack() as stack:
        sink = Sink(out, grid, PANOPTIC, tags, _BLOCK_PX)
        stack.callback(sink.discard)
        for rect in blocks((int(grid.shape[0]), int(grid.shape[1])), _BLOCK_PX):
            numbers = _burn(package, grid.affine, rect)
            if numbers is not None:
                sink.write(rect, numbers)
        sink.finish()
        sink.publish()
    return count


def _burn(package: Path, transform: Any, rect: Rect) -> NDArray[np.uint32] | None:
    """(H, W) numbers of the plants in a rectangle, None without one."""
    from affine import Affine
    from pyogrio.raw import read
    from rasterio.features import rasterize

    here = transform @ Affine.translation(rect.col0, rect.row0)
    height, width = rect.shape
    corners = np.array([here @ corner for corner in ((0, 0), (width, 0), (0, height), (width, height))])
    box = (*corners.min(axis=0), *corners.max(axis=0))
    _, number, shapes, _ = read(package, layer="plant_outlines", columns=[], bbox=box, return_fids=True)
    if not len(number):
        return None
    pairs = zip(shapely.from_wkb(shapes), number.tolist(), strict=True)
    found: NDArray[np.uint32] = rasterize(pairs, out_shape=rect.shape, transform=here, dtype="uint32")
    return found


def _write_table(package: Path, out: Path) -> int:
    """One line a plant: its number in the raster, its class and its id."""
    count = 0
    with draft(out) as file, open_package(package) as database:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(("id", "class", "plant_id"))
        plants = database.execute('SELECT fid, "class", plant_id FROM plant_outlines ORDER BY fid')
        while some := plants.fetchmany(_AT_ONCE):
            lines.writerows(some)
            count += len(some)
    return count


def write_coco_panoptic(classes: Path, panoptic: Path, out: Path, tile_px: int = 1024) -> int:
    """Write tiles of a field as COCO panoptic files, ``panoptic.json`` and a PNG a tile, and give their number.

    Tiles cover the field without overlap; those without a valid pixel are left out. Every entry of an image has its
    ``row`` and ``col`` in the field, every plant its number in `panoptic` as ``plant``.

    Args:
        classes: Class raster.
        panoptic: Raster of plants, with its table beside it.
        out: The folder; made if it is missing.
        tile_px: Side of the tiles, at most 4096: a PNG holds 2²⁴ numbers.

    Raises:
        InputError: If the side is larger, or the folder holds such files already.
    """
    import rasterio

    if not 16 <= tile_px <= 4096:
        raise InputError(f"tile_px is {tile_px}; expected 16 to 4096")
    if (out / "panoptic.json").exists():
        raise InputError(f"{out} holds panoptic.json already; remove it or choose another folder")
    out.mkdir(parents=True, exist_ok=True)
    of = _classes_of(panoptic.with_suffix(".csv"))
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    with environment(), rasterio.open(classes) as source, rasterio.open(panoptic) as plants:
        for rect in blocks(source.shape, tile_px):
            numbers, segments = _tile(_read(source, rect), _read(plants, rect), of)
            if not segments:
                continue
            name = f"r{rect.row0:07d}_c{rect.col0:07d}.png"
            place = {"id": len(images) + 1, "row": rect.row0, "col": rect.col0}
            images.append(place | {"file_name": name, "height": rect.shape[0], "width": rect.shape[1]})
            annotations.append({"image_id": place["id"], "file_name": name, "segments_info": segments})
            _write_png(out / name, numbers)
    with draft(out / "panoptic.json") as file:
        json.dump({"images": images, "annotations": annotations, "categories": _CATEGORIES}, file)
        file.write("\n")
    return len(images)


def _classes_of(table: Path) -> NDArray[np.uint8]:
    """Class code by the number of a plant."""
    code_of = {name: LEGEND[name].code for name in LEGEND.names}
    pair = np.dtype([("number", np.int64), ("code", np.uint8)])
    with table.open(encoding="utf-8", newline="") as file:
        lines = ((int(line["id"]), code_of[line["class"]]) for line in csv.DictReader(file))
        found = np.fromiter(lines, pair)
    codes = np.zeros(found["number"].max(initial=0) + 1, np.uint8)
    codes[found["number"]] = found["code"]
    return codes


def _read(raster: DatasetReader, rect: Rect) -> NDArray[Any]:
    from geoseg.vectors.grid import read_rect

    return read_rect(raster, rect)


def _tile(
    classes: NDArray[np.uint8], plants: NDArray[np.uint32], of: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], list[dict[str, Any]]]:
    """(H, W) numbers of the segments of a tile from 1, void 0, and what they are; none without a valid pixel."""
    known, numbers = np.unique(plants, return_inverse=True)
    numbers = numbers.reshape(plants.shape).astype(np.int64) + (0 if known[0] == 0 else 1)
    of_segment = [(int(of[plant]), int(plant)) for plant in known.tolist() if plant]
    segments: list[dict[str, Any]] = [{"category_id": code, "iscrowd": 0, "plant": plant} for code, plant in of_segment]
    for category, code in _STUFF.items():
        cover = (plants == 0) & (classes == code)
        if cover.any():
            segments.append({"category_id": category, "iscrowd": 0})
            numbers[cover] = len(segments)
    rows, cols = np.nonzero(numbers)
    which = numbers[rows, cols] - 1
    area = np.bincount(which, minlength=len(segments))
    first, last = np.full((2, 2, len(segments)), [[[2**31], [2**31]], [[-1], [-1]]])
    for axis, place in enumerate((cols, rows)):
        np.minimum.at(first[axis], which, place)
        np.maximum.at(last[axis], which, place)
    for index, segment in enumerate(segments):
        (left, top), (right, bottom) = first[:, index].tolist(), last[:, index].tolist()
        segment |= {"id": index + 1, "area": int(area[index])}
        segment["bbox"] = [left, top, right - left + 1, bottom - top + 1]
    return numbers, segments


def _write_png(path: Path, numbers: NDArray[np.int64]) -> None:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    height, width = numbers.shape
    bands = np.stack([numbers & 255, numbers >> 8 & 255, numbers >> 16]).astype(np.uint8)
    with drafted(path) as draft, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(draft, "w", driver="PNG", width=width, height=height, count=3, dtype="uint8") as file:
            file.write(bands)
