"""A page to print: title, map, legend, figures, scale bar and north arrow on A4, upright or on its side."""

from __future__ import annotations

import uuid
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from geoseg.cartography import nice_length
from geoseg.qgis.project import Bounds, Group, Theme, layer_tree
from geoseg.qgis.symbols import WHITE, line, polygon
from geoseg.qgis.xml import Element, element

__all__ = ["Page", "page"]

Box = tuple[float, float, float, float]
"""Left, top, width and height in millimetres of the page."""
_MAP, _PICTURE, _LABEL, _LEGEND, _PAPER, _SCALE = 65639, 65640, 65641, 65642, 65638, 65646
"""QGIS's numbers of the items."""
_HEIGHTS = {_PAPER: 0, _MAP: 1}
"""What lies below the others."""
_ARROW = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 60"><path d="M20 2 L33 38 L20 30 L7 38 Z" fill="#222"/>'
    '<path d="M12 58 V43 H16 L24 53 V43 H28 V58 H24 L16 48 V58 Z" fill="#222"/></svg>'
)
_INK = {"red": 34, "green": 34, "blue": 34, "alpha": 255}


@dataclass(frozen=True)
class Page:
    """What stands on a page.

    Attributes:
        name: What the menu calls the layout.
        title: The large line.
        subtitle: The line below.
        figures: Name and value, a line each.
        footer: The small line at the foot.
        theme: The layers of the map.
        legend: The layers of the legend, in groups.
        bounds: What the map shows at least, in metres.
    """

    name: str
    title: str
    subtitle: str
    figures: Sequence[tuple[str, str]]
    footer: str
    theme: Theme
    legend: Sequence[Group]
    bounds: Bounds


@dataclass(frozen=True)
class _Places:
    """Where things stand on a page."""

    paper: tuple[float, float]
    title: Box
    subtitle: Box
    map: Box
    names: Box
    values: Box
    legend: Box
    arrow: Box
    scale: Box
    footer: Box


_UPRIGHT = _Places(
    paper=(210, 297),
    title=(12, 10, 186, 9),
    subtitle=(12, 19.5, 186, 6),
    map=(12, 28, 186, 178),
    names=(112, 212, 34, 60),
    values=(147, 212, 51, 60),
    legend=(10, 210, 90, 60),
    arrow=(88, 211, 10, 15),
    scale=(10, 272, 90, 12),
    footer=(12, 286, 186, 5),
)
_SIDEWAYS = _Places(
    paper=(297, 210),
    title=(12, 9, 273, 9),
    subtitle=(12, 18.5, 273, 6),
    map=(12, 27, 196, 171),
    names=(213, 27, 31, 62),
    values=(245, 27, 40, 62),
    legend=(211, 84, 74, 88),
    arrow=(274, 180, 11, 16.5),
    scale=(211, 185, 60, 12),
    footer=(12, 200, 273, 5),
)


def page(content: Page) -> Element:
    """The layout as XML."""
    left, bottom, right, top = content.bounds
    places = _SIDEWAYS if right - left > 1.05 * (top - bottom) else _UPRIGHT
    extent = _widened(content.bounds, places.map[2] / places.map[3])
    width, height = places.paper
    map_id = _number(content.name, "map")
    items = [
        _label(content.name, "title", content.title, places.title, 20, bold=True),
        _label(content.name, "subtitle", content.subtitle, places.subtitle, 11),
        _label(content.name, "names", "\n".join(name for name, _ in content.figures), places.names, 9.5),
        _label(content.name, "values", "\n".join(value for _, value in content.figures), places.values, 9.5, bold=True),
        _label(content.name, "footer", content.footer, places.footer, 7),
        _arrow(content.name, map_id, places.arrow),
        _scale_bar(content.name, map_id, places.scale, (extent[2] - extent[0]) / places.map[2]),
        _legend(content, map_id, places.legend),
        _map(content, map_id, places.map, extent),
    ]  # fmt: skip
    paper = _item(content.name, "paper", _PAPER, (0, 0, width, height), {"background": "true"})
    paper.append(polygon(WHITE, 255, 0, 0).element(""))
    pages = element("PageCollection", {}, [polygon(WHITE, 255, 0, 0).element(""), paper])
    return element(
        "Layout", {"name": content.name, "units": "mm", "printResolution": 300, "worldFileMap": map_id}, [pages, *items]
    )


def _map(content: Page, map_id: str, box: Box, extent: Bounds) -> Element:
    names = ("xmin", "ymin", "xmax", "ymax")
    made = _item(
        content.name,
        "map",
        _MAP,
        box,
        {
            "frame": "true",
            "outlineWidthM": "0.2,mm",
            "background": "true",
            "followPreset": "true",
            "followPresetName": content.theme.name,
            "mapRotation": 0,
            "drawCanvasItems": "true",
            "keepLayerSet": "false",
            "uuid": map_id,
            "templateUuid": map_id,
        },
    )
    made.append(element("Extent", dict(zip(names, extent, strict=True))))
    made.append(element("LayerSet"))
    return made


def _legend(content: Page, map_id: str, box: Box) -> Element:
    made = _item(
        content.name,
        "legend",
        _LEGEND,
        box,
        {
            "map_uuid": map_id,
            "resizeToContents": 1,
            "symbolWidth": 6,
            "symbolHeight": 3.5,
            "minSymbolSize": 1.6,
            "boxSpace": 2,
            "columnCount": 1,
            "rasterBorder": 1,
            "rasterBorderWidth": 0.1,
            "rasterBorderColor": "120,120,120,255",
            "fontColor": "#222222",
            "legendFilterByAtlas": 0,
        },
    )
    margins = {"group": 2.0, "subgroup": 2.0, "symbol": 1.2, "symbolLabel": 1.2}
    styles = [
        element(
            "style",
            {"name": name, "marginTop": margins.get(name, 0), "marginLeft": 2 if name == "symbolLabel" else 0},
            [element("styleFont", {"description": _font(9, bold=name in ("group", "subgroup")), "style": ""})],
        )
        for name in ("title", "group", "subgroup", "symbol", "symbolLabel")
    ]
    made.append(element("styles", {}, styles))
    made.append(layer_tree(content.legend, headings=False))
    return made


def _scale_bar(page_name: str, map_id: str, box: Box, metres_per_mm: float) -> Element:
    """A bar of two halves, at most 45 mm long, round in metres."""
    length = nice_length(45 * metres_per_mm)
    made = _item(
        page_name,
        "scale",
        _SCALE,
        box,
        {
            "mapUuid": map_id,
            "style": "Single Box",
            "unitType": "meters",
            "unitLabel": "m",
            "numMapUnitsPerScaleBarUnit": 1,
            "numSegments": 2,
            "numSegmentsLeft": 0,
            "numUnitsPerSegment": f"{length / 2:g}",
            "segmentMillimeters": f"{length / 2 / metres_per_mm:g}",
            "segmentSizeMode": 0,
            "height": 2,
            "labelBarSpace": 1,
            "boxContentSpace": 2,
            "outlineWidth": 0.2,
        },
    )
    colours = {"fontSize": 9, "fontSizeUnit": "Point", "textColor": "34,34,34,255", "textOpacity": 1}
    made.append(element("text-style", colours))
    made.append(element("lineSymbol", {}, [line((34, 34, 34), 0.2).element("")]))
    for name, rgb in (("fillSymbol1", (34, 34, 34)), ("fillSymbol2", WHITE)):
        made.append(element(name, {}, [polygon(rgb, 255, 0, 0).element("")]))
    return made


def _arrow(page_name: str, map_id: str, box: Box) -> Element:
    """An arrow that turns with the map."""
    picture = "base64:" + b64encode(_ARROW.encode("ascii")).decode("ascii")
    how = {"file": picture, "mode": 0, "resizeMode": 0, "mapUuid": map_id, "northMode": 0, "pictureRotation": 0}
    return _item(page_name, "north", _PICTURE, box, how)


def _label(page_name: str, name: str, text: str, box: Box, size_pt: float, *, bold: bool = False) -> Element:
    made = _item(
        page_name, name, _LABEL, box, {"labelText": text, "htmlState": 0, "marginX": 0, "marginY": 0, "valign": 32}
    )
    made.append(element("LabelFont", {"description": _font(size_pt, bold=bold), "style": ""}))
    made.append(element("FontColor", _INK))
    return made


def _item(page_name: str, name: str, kind: int, box: Box, attributes: dict[str, object]) -> Element:
    left, top, width, height = box
    number = _number(page_name, name)
    place = f"{left:g},{top:g},mm"
    common = {
        "type": kind,
        "id": name,
        "uuid": number,
        "templateUuid": number,
        "position": place,
        "positionOnPage": place,
        "size": f"{width:g},{height:g},mm",
        "referencePoint": 0,
        "itemRotation": 0,
        "visibility": 1,
        "opacity": 1,
        "blendMode": 0,
        "frame": "false",
        "background": "false",
        "zValue": _HEIGHTS.get(kind, 2),
    }
    return element(
        "LayoutItem",
        common | attributes,
        [
            element("FrameColor", {"red": 90, "green": 90, "blue": 90, "alpha": 255}),
            element("BackgroundColor", {"red": 255, "green": 255, "blue": 255, "alpha": 255}),
        ],
    )


def _font(size_pt: float, *, bold: bool) -> str:
    return f"Arial,{size_pt:g},-1,5,{75 if bold else 50},0,0,0,0,0"


def _number(*names: str) -> str:
    """An id that is the same each time."""
    return f"{{{uuid.uuid5(uuid.NAMESPACE_URL, '/'.join(('geoseg', *names)))}}}"


def _widened(bounds: Bounds, ratio: float) -> Bounds:
    """Bounds with three percent of room, made as wide by height as the map."""
    left, bottom, right, top = bounds
    width, height = 1.03 * (right - left), 1.03 * (top - bottom)
    width, height = max(width, height * ratio), max(height, width / ratio)
    x, y = (left + right) / 2, (bottom + top) / 2
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2
