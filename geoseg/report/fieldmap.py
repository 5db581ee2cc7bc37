"""The layers of the report's map, from the files of a run: pictures of bounded size, vectors only where they are few.

Every layer is read in pieces; none is larger in the report than its budget, however large the field.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import shapely
from odc.geo.geobox import GeoBox
from rasterio.features import rasterize
from shapely import MultiPolygon, Polygon

from geoseg.cartography import rate_colors
from geoseg.legend import CROP, LEGEND, WEED
from geoseg.report.cover import SIDE_PX, class_cover, strengths
from geoseg.report.mapdraw import Frame, dots, outlines, picture
from geoseg.report.mapread import collect_paths, read_pieces, read_places
from geoseg.report.quicklook import preview_image
from geoseg.vectors.package import open_package

__all__ = ["Budget", "MapLayer", "Shape", "field_map"]

ROWS, GAPS = "#ffffff", "#f0e442"
_STEPS = 15
_PER_CELL = 12
"""Plants in a cell of the density picture, on average."""


@dataclass(frozen=True)
class Budget:
    """How much the map may hold.

    Attributes:
        side_px: Longest side of the pictures.
        photo_bytes: Size of the picture of the ortho.
        points: Plants of a kind that are drawn one by one; more become a density.
        vertices: Vertices of a layer of outlines or lines; a layer with more becomes a picture.
    """

    side_px: int = SIDE_PX
    photo_bytes: int = 1_200_000
    points: int = 12_000
    vertices: int = 50_000


@dataclass(frozen=True)
class Shape:
    """Outlines, lines or points of one colour.

    Attributes:
        path: SVG path data in map units.
        color: Hexadecimal.
        title: What it is, if its colour alone does not say.
    """

    path: str
    color: str
    title: str = ""


@dataclass(frozen=True)
class MapLayer:
    """One layer that a person switches.

    Attributes:
        name: Name for programs.
        label: Name for people.
        kind: ``picture``, ``area``, ``line`` or ``point``.
        keys: Legend: colour and text.
        count: Number of features; None for pictures of something continuous.
        shown: Whether it is switched on at first.
        opacity: 0..1 at first.
        picture: Data URI, in place of `shapes`.
        shapes: What is drawn as vectors.
    """

    name: str
    label: str
    kind: str
    keys: tuple[tuple[str, str], ...] = ()
    count: int | None = None
    shown: bool = False
    opacity: float = 1.0
    picture: str | None = None
    shapes: tuple[Shape, ...] = field(default=())


def field_map(
    files: Mapping[str, Path], boundary: Polygon | MultiPolygon, tables: Mapping[str, int], budget: Budget | None = None
) -> tuple[Frame, list[MapLayer]]:
    """The frame of the map and its layers, the lowest first.

    Args:
        files: ``preview``, ``classes`` and ``package``; preview and package may be missing.
        boundary: The field in the CRS of the class raster.
        tables: Layers of the package that are drawn, and how many features each has.
        budget: How much the map may hold; None: the default.
    """
    budget = budget or Budget()
    grid, cover = class_cover(files["classes"], boundary.bounds, budget.side_px)
    frame = Frame(grid)
    package, sprayed = files.get("package"), "prescription" in tables
    layers = []
    if "preview" in files:
        layers.append(_photo(files["preview"], grid, budget))
    layers.append(_classes(cover, shown=not sprayed))
    if package is not None:
        makers: dict[str, Callable[[], MapLayer]] = {
            "prescription": lambda: _prescription(package, frame, budget, tables["prescription"]),
            "weeds": lambda: _weeds(package, frame, budget, tables["weeds"], cover, shown=sprayed),
            "rows": lambda: _lines(package, frame, budget, "rows", ("Crop rows", ROWS), tables["rows"]),
            "gaps": lambda: _lines(package, frame, budget, "gaps", ("Gaps in the rows", GAPS), tables["gaps"]),
            "plants": lambda: _points(package, frame, budget, "plants", ("Crop plants", CROP), tables["plants"]),
            "weed_plants": lambda: _points(
                package, frame, budget, "weed_plants", ("Weed plants", WEED), tables["weed_plants"]
            ),
        }
        layers += [make() for name, make in makers.items() if tables.get(name)]
    edge = Shape(outlines(frame, shapely.simplify(np.array([boundary]), 0.5 * grid.affine.a)), "#111111")
    keys = (("#111111", "edge of the field"),)
    return frame, [*layers, MapLayer("boundary", "Field boundary", "line", keys, 1, True, shapes=(edge,))]


def _photo(preview: Path, grid: GeoBox, budget: Budget) -> MapLayer:
    image = preview_image(preview, grid)
    return MapLayer("ortho", "Photo (orthomosaic)", "picture", shown=True, picture=picture(image, budget.photo_bytes))


def _classes(cover: np.ndarray, *, shown: bool) -> MapLayer:
    """Crop and weed in their colours, as opaque as they are dense; soil is left out so that the photo shows."""
    crop, weed = (np.ceil(part * _STEPS).astype(np.float32) / np.float32(_STEPS) for part in strengths(cover))
    opaque = 1 - (1 - crop) * (1 - weed)
    weight = np.divide(weed, opaque, out=np.zeros_like(weed), where=opaque > 0)[..., None]
    colors = (1 - weight) * np.array(LEGEND[CROP].rgb, np.float32) + weight * np.array(LEGEND[WEED].rgb, np.float32)
    rgba = np.where(opaque[..., None] > 0, np.dstack([colors, 255 * opaque]), 0)
    keys = ((LEGEND[CROP].hex, "crop"), (LEGEND[WEED].hex, "weed"))
    image = picture(np.rint(rgba).astype(np.uint8))
    return MapLayer("classes", "Crop and weed cover", "picture", keys, shown=shown, picture=image)


def _weeds(package: Path, frame: Frame, budget: Budget, count: int, cover: np.ndarray, *, shown: bool) -> MapLayer:
    color = LEGEND[WEED].hex
    keys, path = ((color, "weed patch"),), collect_paths(package, "weeds", frame, budget.vertices)
    if path is not None:
        shapes = tuple(Shape(data, color) for data in path.values())
        return MapLayer("weeds", "Weed patches", "area", keys, count, shown, 0.9, shapes=shapes)
    image = _mask(strengths(cover)[1], LEGEND[WEED].rgb)
    return MapLayer("weeds", "Weed patches", "picture", keys, count, shown, 0.9, picture=image)


def _lines(package: Path, frame: Frame, budget: Budget, layer: str, look: tuple[str, str], count: int) -> MapLayer:
    keys, path = ((look[1], look[0].lower()),), collect_paths(package, layer, frame, budget.vertices)
    if path is not None:
        shapes = tuple(Shape(data, look[1]) for data in path.values())
        return MapLayer(layer, look[0], "line", keys, count, shapes=shapes)
    hit = np.zeros(frame.grid.shape, np.uint8)
    for shapes_read, _ in read_pieces(package, layer, frame):
        rasterize(shapes_read, out=hit, transform=frame.grid.affine, default_value=1, all_touched=True)
    rgb = tuple(int(look[1][i : i + 2], 16) for i in (1, 3, 5))
    return MapLayer(layer, look[0], "picture", keys, count, picture=_mask(hit, rgb))


def _prescription(package: Path, frame: Frame, budget: Budget, count: int) -> MapLayer:
    with open_package(package) as database:
        rates = [rate for (rate,) in database.execute("SELECT DISTINCT rate_l_ha FROM prescription ORDER BY 1")]
    colors = rate_colors(rates)
    keys = tuple((colors[rate], f"{rate:g} L/ha") for rate in sorted(rates) if rate > 0)
    label, drawn = "Prescription", collect_paths(package, "prescription", frame, budget.vertices, "rate_l_ha")
    if drawn is not None:
        shapes = tuple(Shape(path, colors[rate], f"{rate:g} L/ha") for rate, path in drawn.items() if rate > 0)
        return MapLayer("prescription", label, "area", keys, count, True, 0.5, shapes=shapes)
    level = np.zeros(frame.grid.shape, np.uint8)
    places = {rate: place for place, rate in enumerate(sorted(rates))}
    for shapes_read, values in read_pieces(package, "prescription", frame, "rate_l_ha"):
        burnt = zip(shapes_read, (places[rate] for rate in values.tolist()), strict=True)
        rasterize(burnt, out=level, transform=frame.grid.affine)
    palette = np.array([[*(int(colors[rate][i : i + 2], 16) for i in (1, 3, 5)), 255 * (rate > 0)] for rate in places])
    image = picture(palette.astype(np.uint8)[level])
    return MapLayer("prescription", label, "picture", keys, count, True, 0.5, picture=image)


def _points(package: Path, frame: Frame, budget: Budget, layer: str, look: tuple[str, int], count: int) -> MapLayer:
    label, entry = look[0], LEGEND[look[1]]
    if count > budget.points:
        return _density(package, frame, layer, look, count)
    x, y = (np.concatenate(parts) for parts in zip(*read_places(package, layer), strict=True))
    shape = Shape(dots(frame, x, y), entry.hex)
    return MapLayer(layer, label, "point", ((entry.hex, label.lower()),), count, shapes=(shape,))


def _density(package: Path, frame: Frame, layer: str, look: tuple[str, int], count: int) -> MapLayer:
    """Plants per square metre in cells that hold a dozen of them on average, in the strength of the class's colour."""
    height, width = (int(side) for side in frame.grid.shape)
    step = max(1.0, (height * width * _PER_CELL / count) ** 0.5)
    shape = int(np.ceil(height / step)), int(np.ceil(width / step))
    cells = np.zeros(shape[0] * shape[1], np.int64)
    inverse = ~frame.grid.affine
    for x, y in read_places(package, layer):
        col, row = (np.floor(part / step).astype(np.int64) for part in inverse * (x, y))
        inside = (col >= 0) & (row >= 0) & (col < shape[1]) & (row < shape[0])
        cells += np.bincount(row[inside] * shape[1] + col[inside], minlength=cells.size)
    cell_m2 = (step * frame.grid.affine.a) ** 2
    most = float(np.percentile(cells[cells > 0], 98))
    strength = np.ceil(np.clip(cells / most, 0, 1) * _STEPS) / _STEPS
    rows = np.minimum((np.arange(height) / step).astype(np.int64), shape[0] - 1)
    cols = np.minimum((np.arange(width) / step).astype(np.int64), shape[1] - 1)
    image = _mask(strength.reshape(shape)[np.ix_(rows, cols)], LEGEND[look[1]].rgb)
    keys = ((LEGEND[look[1]].hex, f"full colour: {most / cell_m2:.2g} per m² and more"),)
    return MapLayer(layer, f"{look[0]}, density", "picture", keys, count, opacity=0.85, picture=image)


def _mask(strength: np.ndarray, rgb: tuple[int, ...]) -> str:
    """The picture of one colour, as opaque as `strength` 0..1 says."""
    steps = np.ceil(np.clip(strength, 0, 1) * _STEPS) / _STEPS
    rgba = np.zeros((*steps.shape, 4), np.uint8)
    rgba[steps > 0, :3] = rgb
    rgba[..., 3] = np.rint(255 * steps)
    return picture(rgba)
