"""Labels in the files that people and programs make: outlines with a class, brought onto the grid of an image.

Read are vector files (GeoPackage, shapefile, GeoJSON: polygons, or points with a radius), COCO instance files and YOLO
polygons. All become one frame of instances: columns ``instance`` (from 1), ``code``, ``class`` and the geometry in the
CRS of the grid; where the image has no CRS, in the coordinates of its transform, which are pixels for
a plain photograph.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyproj
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.errors import GeosegWarning, LabelError
from geoseg.legend import LEGEND, NODATA
from geoseg.ortho.ground import apply
from geoseg.ortho.place import IDENTITIES
from geoseg.train.cocofile import coco_annotations, read_coco
from geoseg.train.yolofile import YOLO_CLASSES, yolo_outlines
from geoseg.vectors import polygonize

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["LabelConfig", "class_code", "make_frame", "moved", "polygonal", "read_instances"]

_EDGE_M = 50.0  # longer edges are split before they change CRS


@dataclass(frozen=True)
class LabelConfig:
    """How label files are to be understood.

    Attributes:
        column: Column of a vector file that holds the class, as name or code.
        classes: What the file calls a class, to its name (soil, crop, weed) or code; for names that are not ours.
            YOLO's number 0 is crop and 1 is weed unless said otherwise here.
        layer: Layer of a GeoPackage; None: the only one, or the one called ``labels``.
        radius_m: Radius of points in metres, where the file has no column ``radius_m``.
        on_top: Class that wins where crop and weed overlap.
        corners: What the corners of YOLO and COCO outlines are: places on the image (``edges``), or the outermost
            pixels themselves (``centres``), as OpenCV's contours give them; the outline is then half a pixel larger.
        labelled_area: Vector file: only what lies inside its polygons was labelled, and nothing is known of the rest.
            None: all of the image, so that what has no label is soil.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    column: str = "class"
    classes: dict[str, str | int] = field(default_factory=dict)
    layer: str | None = None
    radius_m: float | None = None
    on_top: str = "weed"
    corners: str = "edges"
    labelled_area: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            LabelError: If a class is unknown or the radius is not positive.
        """
        if self.on_top not in ("crop", "weed"):
            raise LabelError(f"on_top is {self.on_top!r}; expected crop or weed")
        if self.corners not in ("edges", "centres"):
            raise LabelError(f"corners is {self.corners!r}; expected edges or centres")
        if self.radius_m is not None and not self.radius_m > 0:
            raise LabelError(f"radius_m is {self.radius_m}; expected metres above 0")
        for name in self.classes.values():
            class_code(name, {}, "the option classes")


def class_code(value: Any, classes: dict[str, str | int], where: str) -> int:
    """The code of a class that a file calls `value`.

    Raises:
        LabelError: If no class is called so.
    """
    text = str(int(value)) if isinstance(value, float | np.floating) and value == int(value) else str(value)
    text = str(classes.get(text.strip(), text)).strip().lower()
    names = {entry.name: entry.code for entry in LEGEND.entries} | {"ignore": NODATA}
    codes = {str(code): code for code in names.values()}
    if text not in names and text not in codes:
        raise LabelError(
            f"{where} holds the class {value!r}; expected {', '.join(names)} or their codes, or say what it is "
            "with the option classes"
        )
    return names[text] if text in names else codes[text]


def read_instances(
    path: Path, grid: GeoBox, config: LabelConfig | None = None, *, pixels: Affine | None = None
) -> gpd.GeoDataFrame:
    """The instances of a label file, in the CRS of the grid.

    Args:
        path: Vector file, COCO file, YOLO file or folder of YOLO files.
        grid: Grid of the image that the labels belong to.
        config: How to understand the file.
        pixels: From the pixels of an image without georeference to the grid's CRS; vectors without CRS are on them.

    Raises:
        LabelError: If the file cannot be read, holds unknown classes or cannot be placed on the grid.
    """
    config = config or LabelConfig()
    if path.is_dir() or path.suffix.lower() == ".txt":
        names = YOLO_CLASSES | config.classes
        found = [
            (class_code(name, names, where), _ring(points, config.corners))
            for name, points, where in yolo_outlines(path, (int(grid.shape[0]), int(grid.shape[1])), frozenset(names))
        ]
    elif path.suffix.lower() == ".json" and (content := read_coco(path)) is not None:
        found = [
            (class_code(name, config.classes, str(path)), _area(part, offset, config.corners))
            for name, part, offset in coco_annotations(content, (int(grid.shape[0]), int(grid.shape[1])), str(path))
        ]
    else:
        return _read_vector(path, grid, config, pixels)
    codes, shapes = [code for code, _ in found], np.array([shape for _, shape in found], dtype=object)
    return make_frame(codes, moved(shapes, grid.affine), grid)


def make_frame(codes: Sequence[int], geometry: Any, grid: GeoBox) -> gpd.GeoDataFrame:
    """A frame of instances; what has no area is left out."""
    import geopandas as gpd

    shapes, values = np.asarray(geometry, dtype=object), np.asarray(codes, np.int64)
    broken = ~shapely.is_valid(shapes)
    if broken.any():
        shapes[broken] = [polygonal(shapely.make_valid(shape)) for shape in shapes[broken]]
    kept = shapely.area(shapes) > 0
    shapes, values = shapes[kept], values[kept]
    names = {entry.code: entry.name for entry in LEGEND.entries} | {NODATA: "ignore"}
    columns = {
        "instance": np.arange(1, len(values) + 1),
        "code": values,
        "class": [names[code] for code in values.tolist()],
    }
    return gpd.GeoDataFrame(columns, geometry=shapes, crs=None if grid.crs is None else grid.crs.proj)


def moved(shapes: Any, affine: Affine) -> Any:
    """Geometries through an affine transform; an array stays an array."""
    return shapely.transform(shapes, lambda points: np.stack(apply(affine, *points.T), axis=1))


def polygonal(shape: Any) -> Any:
    """The part of a geometry that has an area, a polygon or multipolygon."""
    if shape is None or shape.geom_type in ("Polygon", "MultiPolygon"):
        return shape
    parts = shapely.get_parts(shapely.get_parts(np.array([shape], dtype=object)))
    return shapely.union_all(parts[shapely.get_type_id(parts) == 3])


def _read_vector(path: Path, grid: GeoBox, config: LabelConfig, pixels: Affine | None) -> gpd.GeoDataFrame:
    import geopandas as gpd
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError

    try:
        layers = pyogrio.list_layers(path)[:, 0].tolist()
        usable = [name for name in layers if name != "layer_styles"]
        layer = config.layer or ("labels" if "labels" in usable else usable[0] if len(usable) == 1 else None)
        if layer is None:
            raise LabelError(f"{path} holds the layers {', '.join(usable)}; name the one with labels (option layer)")
        frame = gpd.read_file(path, layer=layer)
    except (DataSourceError, DataLayerError) as error:
        raise LabelError(f"{path} cannot be read as a vector file: {error}") from error
    if not len(frame):
        return make_frame([], [], grid)
    if config.column not in frame.columns:
        columns = ", ".join(str(name) for name in frame.columns.drop("geometry", errors="ignore"))
        raise LabelError(f"{path} has no column {config.column!r} with the class; its columns are {columns}")
    empty = frame.geometry.isna() | frame.geometry.is_empty
    if empty.any():
        warnings.warn(f"{path}: {int(empty.sum())} features have no geometry", GeosegWarning, stacklevel=3)
        frame = frame[~empty]
    nameless = frame[config.column].isna()
    if nameless.any():
        raise LabelError(
            f"{path}: {int(nameless.sum())} of {len(frame)} features have nothing in the column {config.column!r}; "
            "give them a class, ignore if you cannot tell, or delete them"
        )
    several = frame.geom_type == "MultiPoint"
    if several.any():
        import pandas as pd

        frame = pd.concat([frame[~several], frame[several].explode()], ignore_index=True)
    codes = [class_code(value, config.classes, str(path)) for value in frame[config.column]]
    return make_frame(codes, _placed(frame, grid, config, path, pixels), grid)


def _rows_down(shapes: np.ndarray) -> np.ndarray:
    """Geometries on an image without georeference, y as rows from its top; QGIS draws these below 0."""
    _, low, _, high = shapely.total_bounds(shapes)
    return np.asarray(moved(shapes, Affine.scale(1, -1)) if low + high < 0 else shapes, dtype=object)


def _placed(
    frame: gpd.GeoDataFrame, grid: GeoBox, config: LabelConfig, path: Path, pixels: Affine | None
) -> np.ndarray:
    """Polygons in the CRS of the grid; points become discs. Without CRS they are on the pixels of the image."""
    kinds = set(frame.geom_type)
    if kinds - {"Point", "Polygon", "MultiPolygon"}:
        raise LabelError(f"{path} holds {', '.join(sorted(kinds))}; expected polygons, or points with a radius")
    target = None if grid.crs is None else grid.crs.proj
    points = (frame.geom_type == "Point").to_numpy()
    bare = target is None and grid.affine in IDENTITIES
    onto = grid.affine if bare else pixels if frame.crs is None else None
    if onto is not None:
        frame = frame.set_geometry(moved(_rows_down(frame.geometry.to_numpy()), onto), crs=target)
    if target is not None and frame.crs is None:
        raise LabelError(f"{path} has no CRS; save it with its CRS, or with that of the image ({target.name})")
    if points.any() and bare:
        raise LabelError(
            f"{path} holds points, and the image has no georeference that says how large they are on it; draw outlines"
        )
    shapes = np.asarray(shapely.force_2d(frame.geometry.to_numpy()), dtype=object)
    if points.any():
        metric = frame[points].to_crs(frame[points].estimate_utm_crs()) if target is not None else frame[points]
        discs = shapely.buffer(metric.geometry.to_numpy(), _radii(frame[points], config, path), quad_segs=16)
        back = type(metric)(geometry=discs, crs=metric.crs)
        shapes[points] = (back.to_crs(frame.crs) if target is not None else back).geometry.to_numpy()
    if target is None or frame.crs == target:
        return shapes
    crs = pyproj.CRS(frame.crs)
    step = _EDGE_M / 111_000 if crs.is_geographic else _EDGE_M / crs.axis_info[0].unit_conversion_factor
    world = type(frame)(geometry=shapely.segmentize(shapes, step), crs=frame.crs)
    return np.asarray(world.to_crs(target).geometry.to_numpy(), dtype=object)


def _radii(points: gpd.GeoDataFrame, config: LabelConfig, path: Path) -> np.ndarray:
    import pandas as pd

    if "radius_m" in points.columns:
        radii = pd.to_numeric(points["radius_m"], errors="coerce")
        if (radii > 0).all():
            return np.asarray(radii, float)
    if config.radius_m is None:
        raise LabelError(
            f"{path} holds points; give their radius in metres, as numbers above 0 in a column radius_m or as the "
            "option radius_m"
        )
    return np.full(len(points), config.radius_m)


def _area(part: Any, offset: tuple[int, int], corners: str) -> Any:
    """The area of one COCO annotation in pixels of the grid: of its polygons, or of its mask."""
    if isinstance(part, np.ndarray):
        shapes = [shape for value, shape in polygonize(part, Affine.identity()) if value]
    else:
        shapes = [_ring(np.asarray(ring, float).reshape(-1, 2), corners) for ring in part]
    return shapely.transform(shapely.union_all(shapes), lambda points: np.add(points, offset[::-1]))


def _ring(points: np.ndarray, corners: str) -> Any:
    """The area of an outline; one that touches itself, to go round a hole, by the even-odd rule."""
    shape: Any = shapely.Polygon(points)
    if not shape.is_valid:
        shape = _even_odd(points)
    if corners == "centres":  # a quarter of a pixel: enough to hold these centres, not enough to reach others
        shape = shapely.transform(shapely.buffer(shape, 0.25, join_style="mitre"), lambda corner: corner + 0.5)
    return polygonal(shape)


def _even_odd(points: np.ndarray) -> Any:
    """The places that an outline goes round an odd number of times."""
    ring = np.concatenate([points, points[:1]])
    faces = shapely.get_parts(shapely.polygonize([shapely.union_all(shapely.LineString(ring))]))
    inside = shapely.get_coordinates(shapely.point_on_surface(faces))
    (x0, y0), (x1, y1) = ring[:-1].T[..., None], ring[1:].T[..., None]
    x, y = inside.T
    spans = (y0 > y) != (y1 > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        crossed = spans & (x < x0 + (y - y0) / (y1 - y0) * (x1 - x0))
    return shapely.union_all(faces[crossed.sum(axis=0) % 2 == 1])
