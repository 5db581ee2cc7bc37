"""Labels cut into tiles: COCO instance files and folders of YOLO polygons.

Tiles cover the image without overlap. Where a tile lies is written beside the outlines, so that they can be read back
onto the whole image.
"""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from affine import Affine
from rasterio.features import rasterize

from geoseg.durable import drafted
from geoseg.errors import GeosegWarning, LabelError
from geoseg.legend import CROP, LEGEND, NODATA, WEED
from geoseg.windows import Rect, blocks

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["Shapes", "TileShapes", "cut", "draft", "write_coco", "write_yolo"]

_STRIP_PX = 2**24


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
    """Labels cut into tiles that cover the image without overlap: crop, weed, and what is left out.

    Args:
        labels: Labels on the grid of an image.
        name: Starts the names of the tiles; row and column follow. One tile for the whole image is called so itself.
        tile_px: Largest side of a tile; None: one tile.
    """
    height, width = (int(size) for size in labels.grid.shape)
    for rect in blocks((height, width), tile_px or max(height, width)):
        shapes = [(code, shape) for code, shape in labels.shapes(rect) if code in (CROP, WEED, NODATA)]
        tile = name if tile_px is None else f"{name}_{rect.row0:06d}_{rect.col0:06d}"
        yield TileShapes(tile, (rect.row0, rect.col0, *rect.shape), shapes)


def write_coco(tiles: Iterable[TileShapes], out: Path, suffix: str = ".png") -> int:
    """Write labels as a COCO instance file and return their number.

    Polygons with holes become run lengths, which COCO's polygons cannot say. What is left out becomes crowds of the
    category ``ignore``, which programs that train leave out as well. Every image entry has its ``row`` and ``col`` in
    the whole image.

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
                {"id": len(annotations) + 1, "image_id": number, "category_id": code, "iscrowd": int(code == NODATA)}
                | {"bbox": [left, top, right - left, bottom - top], "area": shape.area}
                | {"segmentation": _segmentation(shape, (height, width), code == NODATA)}
            )
    categories = [{"id": code, "name": LEGEND[code].name, "supercategory": "plant"} for code in (CROP, WEED)]
    if any(one["category_id"] == NODATA for one in annotations):
        categories.append({"id": NODATA, "name": "ignore", "supercategory": "none"})
    with draft(out) as file:
        json.dump({"images": images, "categories": categories, "annotations": annotations}, file)
        file.write("\n")
    return len(annotations)


def write_yolo(tiles: Iterable[TileShapes], out: Path) -> int:
    """Write labels as a folder of YOLO polygon files with ``index.csv`` and return their number.

    Class 0 is crop and 1 is weed. An outline with holes goes round them and back on its own track. The format cannot
    say what is left out.

    Raises:
        LabelError: If the folder holds labels already.

    Warns:
        GeosegWarning: If something is left out, with its size.
    """
    if (out / "index.csv").exists():
        raise LabelError(f"{out} holds labels already; remove it or choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    count, places, left_out = 0, [], 0.0
    for tile in tiles:
        size = (tile.place[3], tile.place[2])
        lines = []
        for code, shape in tile.shapes:
            if code == NODATA:
                left_out += shape.area
                continue
            points = (_one_ring(shape) / size).clip(0, 1)
            lines.append(" ".join([str(code - 1), *(f"{value:.9f}" for value in points.ravel())]) + "\n")
        count += len(lines)
        (out / f"{tile.name}.txt").write_text("".join(lines), encoding="utf-8")
        places.append((tile.name, *tile.place))
    with (out / "index.csv").open("w", newline="", encoding="utf-8") as file:
        index = csv.writer(file, lineterminator="\n")
        index.writerow(("name", "row", "col", "height", "width"))
        index.writerows(places)
    if left_out:
        warnings.warn(
            f"{left_out:.0f} px are left out of the labels (255 or ignore), which YOLO files cannot say: whoever "
            "trains on them takes these pixels for soil; write COCO or a vector file to keep them",
            GeosegWarning,
            stacklevel=2,
        )
    return count


def _segmentation(shape: Any, size: tuple[int, int], crowd: bool) -> Any:
    """A polygon as COCO keeps it: its corners, or run lengths where it has holes or is a crowd."""
    if not shape.interiors and not crowd:
        return [np.asarray(shape.exterior.coords)[:-1].ravel().tolist()]
    runs = _runs(shape, size)
    joined = runs[1:, 0] == runs[:-1, 1]  # what reaches the last row may go on in the first one of the next column
    edges = np.delete(runs.ravel(), np.concatenate([2 * np.flatnonzero(joined) + side for side in (1, 2)]))
    counts = np.diff(np.concatenate([[0], edges, [size[0] * size[1]]])).tolist()
    return {"size": list(size), "counts": counts if counts[-1] else counts[:-1]}


def _runs(shape: Any, size: tuple[int, int]) -> np.ndarray:
    """(n, 2) first and last + 1 pixel of the runs of a polygon, counted down the columns of an image."""
    left, top, right, bottom = (int(value) for value in (*np.floor(shape.bounds[:2]), *np.ceil(shape.bounds[2:])))
    rows, cols = range(max(top, 0), min(bottom, size[0])), range(max(left, 0), min(right, size[1]))
    found = [np.zeros((0, 2), np.int64)]
    width = max(1, _STRIP_PX // max(len(rows), 1))
    for col in cols[::width] if rows else ():
        part = len(rows), min(width, cols.stop - col)
        inside = rasterize([shape], part, transform=Affine.translation(col, rows.start), dtype="uint8")
        steps = np.diff(inside.T.astype(np.int8), axis=1, prepend=0, append=0)
        ends = [(place[0] + col) * size[0] + place[1] + rows.start for place in map(np.nonzero, (steps > 0, steps < 0))]
        found.append(np.stack(ends, axis=1))
    return np.concatenate(found)


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
def draft(path: Path) -> Iterator[Any]:
    """A text file that is in place when it is whole, and not at all after an exception."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with drafted(path) as part, part.open("w", encoding="utf-8") as file:
        yield file
