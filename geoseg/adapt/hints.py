"""A person's few clicks: points and polygons with a class, as tiles in which nothing else is labelled.

A point names the plant under it, or the nearest green within a few centimetres; a point of soil names the ground around
it. A polygon names the green inside it, or all of it where it is soil.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from geoseg.adapt.field import Field
from geoseg.adapt.fieldrule import FieldRule
from geoseg.adapt.pseudo import network_bands
from geoseg.errors import LabelError
from geoseg.legend import NODATA, SOIL
from geoseg.train.labelfiles import LabelConfig, class_code
from geoseg.train.tiles import TRAIN, Tile
from geoseg.windows import Rect

__all__ = ["HINT_REACH_M", "hint_tiles", "read_hints"]

HINT_REACH_M = 0.05
"""How far from a point its plant may be, metres."""

Hint = tuple[int, Any]
"""Class code and shape; shapely's stubs know no attributes of a shape in general."""


def read_hints(path: Path, where: Field, config: LabelConfig | None = None) -> list[Hint]:
    """Class codes and shapes, in pixels (col, row) of the field's grid.

    Args:
        path: Vector file of points or polygons; its CRS may be any.
        where: The field.
        config: Name of the class column, and classes by other names.

    Raises:
        LabelError: If it cannot be read, has no class column, or lies elsewhere.
    """
    import geopandas as gpd

    config = config or LabelConfig()
    try:
        frame = gpd.read_file(path)
    except (OSError, RuntimeError, ValueError) as error:
        raise LabelError(f"{path} cannot be read as points or polygons: {error}") from error
    column = config.column if config.column in frame.columns else None
    if column is None:
        raise LabelError(f"{path} has no column {config.column!r} with soil, crop or weed; name it with --set column=")
    if frame.crs is None:
        raise LabelError(f"{path} has no CRS; save it from QGIS with the CRS of the ortho")
    frame = frame.to_crs(str(where.grid.crs)).explode(index_parts=False)
    inverse = ~where.grid.affine
    shapes = shapely.transform(
        frame.geometry.to_numpy(), lambda p: np.column_stack([inverse.a * p[:, 0] + inverse.b * p[:, 1] + inverse.c,
                                                              inverse.d * p[:, 0] + inverse.e * p[:, 1] + inverse.f])
    )  # fmt: skip
    whole = shapely.box(0, 0, where.shape[1], where.shape[0])
    hints = [
        (class_code(value, config.classes, str(path)), shape)
        for value, shape in zip(frame[column], shapes, strict=True)
        if shape is not None and not shape.is_empty and shape.intersects(whole)
    ]
    if not hints:
        raise LabelError(f"no shape of {path} lies on {where.source.name}")
    return hints


def hint_tiles(where: Field, rule: FieldRule, hints: list[Hint], tile_px: int) -> list[Tile]:
    """Tiles around the hints, labelled by them alone.

    Args:
        where: The field.
        rule: What was found in it.
        hints: As `read_hints` gives them.
        tile_px: Side of the tiles.
    """
    bands = network_bands(where.bands) or where.bands
    order = [where.bands.index(band) for band in bands]
    cells = {(int(point.y) // tile_px, int(point.x) // tile_px) for point in (shape.centroid for _, shape in hints)}
    tiles = []
    with where.source.reader(where.grid, where.outline) as reader:
        for row, col in sorted(cells):
            rect = Rect(row * tile_px, col * tile_px, (row + 1) * tile_px, (col + 1) * tile_px)
            image, valid = reader.read(rect.grow(rule.margin_px))
            greenness = rule.vegetation.greenness(image, rect.grow(rule.margin_px))
            inner = slice(rule.margin_px, -rule.margin_px or None)
            labels = _burn(hints, rect, greenness[inner, inner] > 0.5, HINT_REACH_M / where.gsd_m)
            labels[~valid[inner, inner]] = NODATA
            pixels = image[order][:, inner, inner]
            if pixels.dtype != np.uint8:
                pixels = np.rint(pixels * 255).astype(np.uint8)
            if (labels != NODATA).any():
                name = f"hint_{rect.row0:06d}_{rect.col0:06d}"
                tiles.append(Tile(name, TRAIN, "hints", rect.row0, rect.col0, where.gsd_m, pixels, labels))
    return tiles


def _burn(hints: list[Hint], rect: Rect, green: NDArray[np.bool_], reach_px: float) -> NDArray[np.uint8]:
    """Labels of a tile from the hints that touch it."""
    labels = np.full(rect.shape, NODATA, np.uint8)
    plants, _ = ndimage.label(green, np.ones((3, 3)))
    rows, cols = np.mgrid[rect.row0 : rect.row1, rect.col0 : rect.col1] + 0.5
    for code, shape in hints:
        near = shape.buffer(reach_px)
        left, top, right, bottom = near.bounds
        part = Rect(max(int(top), 0), max(int(left), 0), max(int(bottom) + 2, 0), max(int(right) + 2, 0))
        part = part.relative_to(rect).clip(rect.shape) if part.row1 and part.col1 else Rect(0, 0, 0, 0)
        if not part.size:
            continue
        y, x = rows[part.slices], cols[part.slices]
        if shape.geom_type == "Point":
            distance = np.hypot(x - shape.x, y - shape.y)
            if code == SOIL:
                labels[part.slices][(distance <= reach_px) & ~green[part.slices]] = SOIL
                continue
            found = plants[part.slices]
            reached = np.where((found > 0) & (distance <= reach_px), distance, np.inf)
            if np.isfinite(reached).any():
                labels[plants == found.flat[int(np.argmin(reached))]] = code
        else:
            inside = shapely.contains_xy(shape, x, y) & ((code == SOIL) | green[part.slices])
            labels[part.slices][inside] = code
    return labels
