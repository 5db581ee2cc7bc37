"""Labels as files that people correct and programs train on: vector layers for QGIS. Knows formats, no model.

Vectors hold the regions of a class along pixel edges, so that burning them by pixel centres gives the same raster.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from affine import Affine

from geoseg.errors import LabelError
from geoseg.export.columns import Column, Layer
from geoseg.export.geopackage import FieldPackage, add_styles
from geoseg.export.labeltiles import Shapes, cut, draft, write_coco, write_yolo
from geoseg.qgis.fieldstyles import by_class
from geoseg.qgis.forms import Form
from geoseg.qgis.styles import Categories, Label, Style
from geoseg.qgis.symbols import RGB, Symbol, outline, polygon, ringed

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["LABELS", "SUSPICIOUS", "check_replaceable", "write_any", "write_suspicious", "write_vector"]

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
_GREY = (120, 120, 120)
_RANK = Label('if("rank" <= 20 or @map_scale <= 50, "rank", null)', 8, inside=False)
"""Numbers of the first twenty from afar, of all when looked at closely."""
_FORM = Form(
    aliases={
        "rank": "Rank", "suspicion": "Suspicion (0 to 1)", "kind": "Kind", "text": "Finding", "class": "Labelled as",
        "area_px": "Size (pixels)", "done": "Looked at",
    },
    checkboxes=("done",),
    sort_by='"rank"',
    display="\"rank\" || ': ' || \"text\"",
)  # fmt: skip


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
    if labels.grid.crs is not None:
        return write_vector(labels.frames(), out, labels.grid.crs.proj)
    down = labels.grid.affine == Affine.identity()
    return write_vector(map(_as_in_qgis, labels.frames()) if down else labels.frames(), out, None)


def _as_in_qgis(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Outlines on an image without georeference where QGIS draws the image: its rows lie below 0."""
    return frame.set_geometry(frame.scale(1, -1, origin=(0, 0)))


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
        add_styles(out, {LABELS.name: _style()})
        return count
    if out.suffix != ".geojson":
        raise LabelError(f"{out} ends in {out.suffix or 'nothing'}; expected .gpkg or .geojson")
    if crs is None:
        raise LabelError("the image has no CRS and GeoJSON needs longitude and latitude; write a .gpkg")
    count = 0
    with draft(out) as file:
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


def check_replaceable(out: Path) -> None:
    """Refuse to replace a file by findings in which something else would be lost: other layers, or what was looked at.

    Raises:
        LabelError: Naming what it is.
    """
    import pyogrio
    from pyogrio.errors import DataSourceError

    if not out.exists():
        return
    try:
        layers = set(pyogrio.list_layers(out)[:, 0]) - {"layer_styles"}
    except DataSourceError:
        raise LabelError(f"{out} is there already and holds no findings; choose another --out") from None
    if layers != {SUSPICIOUS.name}:
        raise LabelError(f"{out} holds {', '.join(sorted(layers))}, which would be lost; choose another --out")
    found = pyogrio.read_dataframe(out, layer=SUSPICIOUS.name, read_geometry=False)
    done = int((found["done"] == 1).sum()) if "done" in found else 0
    if done:
        raise LabelError(
            f"{done} findings in {out} are marked as done, which would be lost; rename it, or choose another --out"
        )


def write_suspicious(findings: gpd.GeoDataFrame, out: Path) -> None:
    """Write the findings of a label check as a GeoPackage with a style by kind, in their order."""
    with FieldPackage(out, findings.crs, {SUSPICIOUS.name: SUSPICIOUS}) as package:
        if len(findings):
            columns = {name: findings[name].to_numpy() for name in SUSPICIOUS.names}
            package.append(SUSPICIOUS.name, columns, _multi(findings))
    found = set(findings["kind"]) if len(findings) else set()
    categories = [(kind, kind.replace("_", " "), _mark(kind, rgb)) for kind, rgb in _KINDS if kind in found]
    add_styles(out, {SUSPICIOUS.name: Style(Categories("kind", categories), _RANK, form=_FORM)})


def _style() -> Style:
    plants = by_class("class", lambda rgb: polygon(rgb, 40))
    return Style(Categories(plants.column, [*plants.entries, ("ignore", "ignore (left out)", polygon(_GREY, 60))]))


def _mark(kind: str, rgb: RGB) -> Symbol:
    return ringed(rgb, 0.4, 5) if kind == "sliver" else outline(rgb, 0.4)


def _multi(frame: gpd.GeoDataFrame) -> np.ndarray:
    shapes = frame.geometry.to_numpy()
    out = np.empty(len(shapes), object)
    out[:] = [shapely.multipolygons(shapely.get_parts(shape)) for shape in shapes]
    return out
