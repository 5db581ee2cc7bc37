"""How one feature is drawn: fills, lines and markers. Whatever is not said here QGIS fills with its defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from geoseg.qgis.xml import Element, element, options, rgba

__all__ = ["BLACK", "WHITE", "Kind", "Symbol", "cased", "contour", "line", "marker", "outline", "polygon", "ringed"]

RGB = tuple[int, int, int]
Kind = Literal["fill", "line", "marker"]
BLACK, WHITE = (30, 30, 30), (255, 255, 255)


@dataclass(frozen=True)
class Symbol:
    """How one kind of feature is drawn.

    Attributes:
        kind: What it is drawn for: areas, lines or points.
        layers: QGIS's name and the properties of each of its layers, the lowest first.
        parts: Symbols that layers are made of, by the number of the layer.
    """

    kind: Kind
    layers: tuple[tuple[str, dict[str, str]], ...]
    parts: tuple[tuple[int, Symbol], ...] = ()

    def element(self, name: str) -> Element:
        """The symbol as XML."""
        layers = [
            element("layer", {"class": of, "enabled": 1, "locked": 0, "pass": 0}, options(properties))
            for of, properties in self.layers
        ]
        for index, part in self.parts:
            layers[index].append(part.element(f"@{name}@{index}"))
        return element("symbol", {"name": name, "type": self.kind, "alpha": 1, "clip_to_extent": 1}, layers)


def polygon(rgb: RGB, fill_alpha: int = 110, width_mm: float = 0.3, outline_alpha: int = 255) -> Symbol:
    """A filled area with an outline of the same colour; a fill of alpha 0 leaves it empty."""
    properties = {
        "color": rgba(rgb, fill_alpha),
        "joinstyle": "miter",
        "outline_color": rgba(rgb, outline_alpha),
        "outline_style": "solid",
        "outline_width": str(width_mm),
        "outline_width_unit": "MM",
        "style": "solid" if fill_alpha else "no",
    }
    return Symbol("fill", (("SimpleFill", properties),))


def contour(rgb: RGB, width_m: float, thinnest_mm: float, thickest_mm: float) -> Symbol:
    """The edge of a small thing, thin from afar and thicker where it is looked at closely."""
    symbol = polygon(rgb, 0, width_m)
    kept = {"outline_width_unit": "RenderMetersInMapUnits"}
    kept["outline_width_map_unit_scale"] = kept["border_width_map_unit_scale"] = _limits(thinnest_mm, thickest_mm)
    return Symbol("fill", tuple((of, properties | kept) for of, properties in symbol.layers))


def outline(rgb: RGB, width_mm: float) -> Symbol:
    """The edge of an area on a white casing, to be seen on dark and on light ground."""
    return Symbol("fill", cased(rgb, width_mm, WHITE).layers)


def ringed(rgb: RGB, width_mm: float, ring_mm: float) -> Symbol:
    """The edge of an area on a white casing, and a ring of a fixed size at its middle, seen at any scale."""
    ring = {"name": "circle", "size": f"{ring_mm:g}", "size_unit": "MM", "color": rgba(WHITE, 0)}
    ring |= {"outline_style": "solid", "outline_width_unit": "MM"}
    marks = tuple(
        ("SimpleMarker", ring | {"outline_color": rgba(colour), "outline_width": f"{wide:g}"})
        for colour, wide in ((WHITE, width_mm + 0.4), (rgb, width_mm))
    )
    layers = (*outline(rgb, width_mm).layers, ("CentroidFill", {"point_on_all_parts": "0"}))
    return Symbol("fill", layers, ((len(layers) - 1, Symbol("marker", marks)),))


def line(rgb: RGB, width_mm: float = 0.4, alpha: int = 255) -> Symbol:
    """A solid line."""
    return Symbol("line", (("SimpleLine", _line(rgb, width_mm, alpha)),))


def cased(rgb: RGB, width_mm: float, casing: RGB, casing_mm: float = 0.2, alpha: int = 200) -> Symbol:
    """A solid line on a casing, which shows that wide on either side."""
    below = _line(casing, width_mm + 2 * casing_mm, alpha)
    return Symbol("line", (("SimpleLine", below), ("SimpleLine", _line(rgb, width_mm, 255))))


def marker(rgb: RGB, shape: str, size_m: float, smallest_mm: float, largest_mm: float) -> Symbol:
    """A mark as large as a plant on the ground, and never smaller or larger on the screen than said.

    Args:
        rgb: Its colour.
        shape: QGIS's name: circle, diamond, triangle, ...
        size_m: Its size on the ground in metres.
        smallest_mm: Its least size on screen and paper.
        largest_mm: Its largest.
    """
    properties = {
        "name": shape,
        "color": rgba(rgb),
        "joinstyle": "miter",
        "outline_color": rgba(WHITE, 180),
        "outline_style": "solid",
        "outline_width": str(size_m / 10),
        "outline_width_unit": "RenderMetersInMapUnits",
        "outline_width_map_unit_scale": _limits(0, 0.2),
        "size": str(size_m),
        "size_unit": "RenderMetersInMapUnits",
        "size_map_unit_scale": _limits(smallest_mm, largest_mm),
    }
    return Symbol("marker", (("SimpleMarker", properties),))


def _limits(smallest_mm: float, largest_mm: float) -> str:
    """QGIS's spelling of the least and the largest size on screen and paper."""
    return f"3x:0,0,1,{smallest_mm:g},1,{largest_mm:g}"


def _line(rgb: RGB, width_mm: float, alpha: int) -> dict[str, str]:
    return {
        "capstyle": "flat",
        "joinstyle": "round",
        "line_color": rgba(rgb, alpha),
        "line_style": "solid",
        "line_width": f"{width_mm:g}",
        "line_width_unit": "MM",
    }
