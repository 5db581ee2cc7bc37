"""Labels as files that people correct and programs train on: vector polygons, COCO and YOLO. Knows formats, no model.

Vectors hold the regions of a class along pixel edges, so that burning them by pixel centres gives the same raster.
COCO and YOLO are cut into tiles that cover the image without overlap; where a tile lies is written beside the outlines,
so that they can be read back onto the whole image.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import shapely

from geoseg.errors import LabelError
from geoseg.export.columns import Column, Layer
from geoseg.export.geopackage import FieldPackage, add_styles
from geoseg.export.qml import categorised, polygon
from geoseg.legend import CROP, LEGEND, WEED
from geoseg.windows import Rect, blocks

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = [
    "LABELS",
    "SUSPICIOUS",
    "TileShapes",
    "cut",
    "write_any",
    "write_coco",
    "write_suspicious",
    "write_vector",
    "write_yolo",
]

LABELS = Layer(
    "labels",
    "MultiPolygon",
    "Labels: one outline a plant or patch, with its class",
    (
        Column("instance", "int64", "", "Number of the outline"),
        Column("class", "str", "", "Name of the class: crop, weed, or ignore for what is left out of training"),
    ),
)
SUSPICIOUS = Layer(
    "suspicious",
    "MultiPolygon",
    "Labels to look at, the most suspicious first",
    (
        Column("rank", "int64", "", "1 is the most suspicious"),
        Column("suspicion", "float64", "", "How likely the labels are wrong here, 0 to 1; an order, no probability"),
        Column("kind", "str", "", "What was found"),
        Column("text", "str", "", "What was found, in words"),
        Column("class", "str", "", "Class of the label, empty where there is none"),
        Column("area_px", "int64", "", "Size in pixels of the image"),
        Column("done", "int64", "", "0; set it to 1 when you have looked"),
    ),
)
_KINDS = (
    ("two_classes", (204, 0, 119)), ("overlap", (153, 51, 204)), ("unlabelled", (0, 114, 178)),
    ("no_green", (230, 159, 0)), ("shift", (0, 0, 0)), ("sliver", (120, 120, 120)), ("model", (86, 180, 233)),
)  # fmt: skip


class Shapes(Protocol):
    """What `cut` needs of labels."""

    grid: Any

    def shapes(self, rect: Rect) -> list[tuple[int, Any]]:
        """Codes and polygons in a rectangle, in pixels from its corner."""
        ...

    def frames(self) -> Iterable[gpd.GeoDataFrame]:
        """All of them in batches."""
        ...


class TileShapes(NamedTuple):
    """A tile and what is in it.

    Attributes:
        name: Name without suffix, unique.
        place: (row, col, height, width) in the image, pixels.
        shapes: Code and polygon of every instance; x and y in pixels from the corner of the tile.
    """

    name: str
    place: tuple[int, int, int, int]
    shapes: list[tuple[int, Any]]


def cut(labels: Shapes, name: str, tile_px: int | None = None) -> Iterator[TileShapes]:
    """Labels cut into tiles that cover the image without overlap, crop and weed alone.

    Args:
        labels: Labels on the grid of an image.
        name: Starts the names of the tiles; row and column follow. One tile for the whole image is called so itself.
        tile_px: Largest side of a tile; None: one tile.
    """
    height, width = (int(size) for size in labels.grid.shape)
    for rect in blocks((height, width), tile_px or max(height, width)):
        shapes = [(code, shape) for code, shape in labels.shapes(rect) if code in (CROP, WEED)]
        tile = name if tile_px is None else f"{name}_{rect.row0:06d}_{rect.col0:06d}"
        yield TileShapes(tile, (rect.row0, rect.col0, *rect.shape), shapes)


def write_any(labels: Shapes, out: Path, image: Path, tile_px: int | None = None) -> int:
    """Write labels in the format that the name of the file says, a folder as YOLO, and return their number.

    Args:
        labels: Labels on the grid of an image.
        out: The file, ``.gpkg``, ``.geojson`` or ``.json`` (COCO), or a folder.
        image: The image; COCO and YOLO name tiles after it.
        tile_px: Side of the tiles of COCO and YOLO; None: one for the whole image.

    Raises:
        LabelError: If the suffix is another one.
    """
    if out.suffix == ".json":
        return write_coco(cut(labels, image.stem, tile_px), out, image.suffix if tile_px is None else ".tif")
    if not out.suffix:
        return write_yolo(cut(labels, image.stem, tile_px), out)
    return write_vector(labels.frames(), out, None if labels.grid.crs is None else labels.grid.crs.proj)


def write_vector(frames: Iterable[gpd.GeoDataFrame], out: Path, crs: Any) -> int:
    """Write labels as ``.gpkg`` or ``.geojson`` and return their number.

    Args:
        frames: Batches with the columns ``class`` and geometry, all in `crs`.
        out: The file.
        crs: CRS of the image.

    Raises:
        LabelError: If the suffix is another one, or GeoJSON is wanted of an image without CRS.
    """
    if out.suffix == ".gpkg":
        count = 0
        with FieldPackage(out, crs, {LABELS.name: LABELS}) as package:
            for frame in frames:
                numbers = np.arange(count + 1, count + 1 + len(frame))
                count += len(frame)
                package.append(LABELS.name, {"instance": numbers, "class": frame["class"].to_numpy()}, _multi(frame))
        named = (LEGEND["crop"], LEGEND["weed"])
        style = categorised("class", [(entry.name, entry.name, polygon(entry.rgb, 40)) for entry in named])
        add_styles(out, {LABELS.name: style})
        return count
    if out.suffix != ".geojson":
        raise LabelError(f"{out} ends in {out.suffix or 'nothing'}; expected .gpkg or .geojson")
    if crs is None:
        raise LabelError("the image has no CRS and GeoJSON needs longitude and latitude; write a .gpkg")
    count = 0
    with _draft(out) as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for frame in frames:
            world = frame.to_crs(4326)
            for name, shape in zip(world["class"], world.geometry, strict=True):
                count += 1
                feature = {"type": "Feature", "properties": {"instance": count, "class": name}}
                feature["geometry"] = json.loads(shapely.to_geojson(shape))
                file.write(("," if count > 1 else "") + "\n" + json.dumps(feature))
        file.write("\n]}\n")
    return count


def write_coco(tiles: Iterable[TileShapes], out: Path, suffix: str = ".png") -> int:
    """Write labels as a COCO instance file and return their number.

    Polygons with holes become run lengths, which COCO's polygons cannot say. Every image entry has its ``row`` and
    ``col`` in the whole image.

    Args:
        tiles: Tiles with their instances.
        out: The JSON file.
        suffix: Suffix of the image files.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for tile in tiles:
        row, col, height, width = tile.place
        number = len(images) + 1
        images.append(
            {"id": number, "file_name": tile.name + suffix, "height": height, "width": width, "row": row, "col": col}
        )
        for code, shape in tile.shapes:
            left, top, right, bottom = shape.bounds
            annotations.append(
                {"id": len(annotations) + 1, "image_id": number, "category_id": code, "iscrowd": 0}
                | {"bbox": [left, top, right - left, bottom - top], "area": shape.area}
                | {"segmentation": _segmentation(shape, (height, width))}
            )
    categories = [{"id": code, "name": LEGEND[code].name, "supercategory": "plant"} for code in (CROP, WEED)]
    with _draft(out) as file:
        json.dump({"images": images, "categories": categories, "annotations": annotations}, file)
        file.write("\n")
    return len(annotations)


def write_yolo(tiles: Iterable[TileShapes], out: Path) -> int:
    """Write labels as a folder of YOLO polygon files with ``index.csv`` and return their number.

    Class 0 is crop and 1 is weed. An outline with holes goes round them and back on its own track.

    Raises:
        LabelError: If the folder holds labels already.
    """
    if (out / "index.csv").exists():
        raise LabelError(f"{out} holds labels already; remove it or choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    count, places = 0, []
    for tile in tiles:
        size = (tile.place[3], tile.place[2])
        lines = []
        for code, shape in tile.shapes:
            points = (_one_ring(shape) / size).clip(0, 1)
            lines.append(" ".join([str(code - 1), *(f"{value:.9f}" for value in points.ravel())]) + "\n")
        count += len(lines)
        (out / f"{tile.name}.txt").write_text("".join(lines), encoding="utf-8")
        places.append((tile.name, *tile.place))
    with (out / "index.csv").open("w", newline="", encoding="utf-8") as file:
        index = csv.writer(file, lineterminator="\n")
        index.writerow(("name", "row", "col", "height", "width"))
        index.writerows(places)
    return count


def write_suspicious(findings: gpd.GeoDataFrame, out: Path) -> None:
    """Write the findings of a label check as a GeoPackage with a style by kind, in their order."""
    with FieldPackage(out, findings.crs, {SUSPICIOUS.name: SUSPICIOUS}) as package:
        if len(findings):
            columns = {name: findings[name].to_numpy() for name in SUSPICIOUS.names}
            package.append(SUSPICIOUS.name, columns, _multi(findings))
    categories = [(kind, kind.replace("_", " "), polygon(rgb, 25)) for kind, rgb in _KINDS]
    add_styles(out, {SUSPICIOUS.name: categorised("kind", categories)})


def _multi(frame: gpd.GeoDataFrame) -> np.ndarray:
    shapes = frame.geometry.to_numpy()
    out = np.empty(len(shapes), object)
    out[:] = [shapely.multipolygons(shapely.get_parts(shape)) for shape in shapes]
    return out


def _segmentation(shape: Any, size: tuple[int, int]) -> Any:
    if not shape.interiors:
        return [np.asarray(shape.exterior.coords)[:-1].ravel().tolist()]
    rows, cols = np.mgrid[: size[0], : size[1]]
    mask = np.zeros(size, bool)
    left, top, right, bottom = (int(value) for value in (*np.floor(shape.bounds[:2]), *np.ceil(shape.bounds[2:])))
    part = np.s_[top:bottom, left:right]
    mask[part] = shapely.contains_xy(shape, cols[part] + 0.5, rows[part] + 0.5)
    flat = mask.T.ravel()
    changes = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    return {"size": list(size), "counts": [0, *counts] if flat[0] else counts}


def _one_ring(shape: Any) -> np.ndarray:
    """(n, 2) one outline of a polygon and its holes: out to each hole, around it and back on the same track."""
    ring = np.asarray(shape.exterior.coords)[:-1]
    for hole in sorted(shape.interiors, key=lambda hole: hole.bounds):
        inner = np.asarray(hole.coords)[:-1]
        distance = ((ring[:, None] - inner[None]) ** 2).sum(axis=2)
        here, there = np.unravel_index(int(distance.argmin()), distance.shape)
        around = np.concatenate([inner[there:], inner[: there + 1]])
        ring = np.concatenate([ring[: here + 1], around, ring[here:]])
    return ring


@contextmanager
def _draft(path: Path) -> Iterator[Any]:
    """A text file that is in place when it is whole, and not at all after an exception."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            yield file
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
