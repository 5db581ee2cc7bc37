"""How a layer is drawn: one description that becomes a ``.qml`` file, a row of a GeoPackage or a part of a project."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from geoseg.qgis.forms import Form
from geoseg.qgis.symbols import RGB, WHITE, Symbol
from geoseg.qgis.xml import Element, document, element, rgba

__all__ = ["QGIS", "Categories", "Image", "Label", "Palette", "Ranges", "Single", "Steps", "Style"]

QGIS = "3.22.0-Białowieża"
"""The version whose spelling is written; later ones read it without a word."""


class Renderer(Protocol):
    """What draws the features or the pixels of a layer."""

    def elements(self) -> list[Element]:
        """Its part of a style."""


@dataclass(frozen=True)
class Label:
    """Text at each feature.

    Attributes:
        expression: QGIS expression of the text; null gives no label.
        size_pt: Size of the letters.
        rgb: Their colour; they have a white rim.
        inside: Only where it fits into the feature; else beside its middle.
    """

    expression: str
    size_pt: float = 9
    rgb: RGB = (20, 20, 20)
    inside: bool = True

    def element(self) -> Element:
        """The labelling as XML: level, within the feature or not at all, in the font of the program."""
        rim = {"bufferDraw": 1, "bufferSize": 0.8, "bufferSizeUnits": "MM", "bufferColor": rgba(WHITE)}
        style = {
            "fieldName": self.expression,
            "isExpression": 1,
            "fontSize": f"{self.size_pt:g}",
            "fontSizeUnit": "Point",
            "fontWeight": 50,
            "textColor": rgba(self.rgb),
            "textOpacity": 1,
        }
        text = element("text-style", style, [element("text-buffer", rim | {"bufferNoFill": 1, "bufferOpacity": 1})])
        fit = {"fitInPolygonOnly": int(self.inside)}
        where = fit | ({"placement": 4} if self.inside else {"placement": 0, "dist": 3, "distUnits": "MM"})
        placement = element("placement", where | {"priority": 5, "centroidInside": 1})
        rendering = element("rendering", fit | {"drawLabels": 1, "obstacle": 0, "limitNumLabels": 0})
        return element(
            "labeling",
            {"type": "simple"},
            [element("settings", {"calloutType": "simple"}, [text, placement, rendering])],
        )


@dataclass(frozen=True)
class Style:
    """How a layer is drawn.

    Attributes:
        renderer: What draws it.
        label: Text at its features.
        from_scale: It is drawn at 1 to this number and closer; None: always.
        form: How its attributes are shown.
    """

    renderer: Renderer
    label: Label | None = None
    from_scale: float | None = None
    form: Form | None = None

    @property
    def attributes(self) -> dict[str, object]:
        """What a style says about the layer itself."""
        limited = self.from_scale is not None
        said: dict[str, object] = {"hasScaleBasedVisibilityFlag": int(limited), "maxScale": 0}
        said["minScale"] = self.from_scale or "1e+08"
        return said if self.label is None else said | {"labelsEnabled": 1}

    def elements(self) -> list[Element]:
        """What a style says about the drawing."""
        label = [] if self.label is None else [self.label.element()]
        form = [] if self.form is None else self.form.elements()
        return [*self.renderer.elements(), *label, *form, element("blendMode", text=0)]

    def qml(self) -> str:
        """The style as a file of its own."""
        more = "" if self.form is None else "|Fields|Forms|AttributeTable|MapTips"
        head = {"version": QGIS, "styleCategories": "Symbology|Labeling|Rendering" + more}
        return document(element("qgis", head | self.attributes, self.elements()))


@dataclass(frozen=True)
class Single:
    """Every feature alike."""

    symbol: Symbol

    def elements(self) -> list[Element]:
        """The renderer as XML."""
        return [_renderer("singleSymbol", {}, [], [self.symbol])]


@dataclass(frozen=True)
class Categories:
    """Features by the value of a column.

    Attributes:
        column: Its name, or an expression.
        entries: Value, label and symbol of each; a number is compared as one.
    """

    column: str
    entries: Sequence[tuple[str | float, str, Symbol]]

    def elements(self) -> list[Element]:
        """The renderer as XML."""
        entries = [
            element(
                "category",
                {
                    "symbol": index,
                    "value": value if isinstance(value, str) else f"{value:.12g}",
                    "type": "string" if isinstance(value, str) else "double",
                    "label": label,
                    "render": "true",
                },
            )
            for index, (value, label, _) in enumerate(self.entries)
        ]
        symbols = [symbol for *_, symbol in self.entries]
        return [_renderer("categorizedSymbol", {"attr": self.column}, [element("categories", {}, entries)], symbols)]


@dataclass(frozen=True)
class Ranges:
    """Features by the range that a number lies in.

    Attributes:
        column: Its name, or an expression.
        entries: Lower and upper bound, label and symbol of each.
    """

    column: str
    entries: Sequence[tuple[float, float, str, Symbol]]

    def elements(self) -> list[Element]:
        """The renderer as XML."""
        entries = [
            element(
                "range",
                {"symbol": index, "lower": f"{low:.12g}", "upper": f"{high:.12g}", "label": label, "render": "true"},
            )
            for index, (low, high, label, _) in enumerate(self.entries)
        ]
        how = {"attr": self.column, "graduatedMethod": "GraduatedColor"}
        symbols = [symbol for *_, symbol in self.entries]
        return [_renderer("graduatedSymbol", how, [element("ranges", {}, entries)], symbols)]


@dataclass(frozen=True)
class Palette:
    """A raster of codes.

    Attributes:
        entries: Code, label, colour and its alpha, 0 to 255.
    """

    entries: Sequence[tuple[int, str, RGB, int]]

    def elements(self) -> list[Element]:
        """The renderer as XML."""
        entries = [
            element("paletteEntry", {"value": code, "color": _hex(rgb), "alpha": alpha, "label": label})
            for code, label, rgb, alpha in self.entries
        ]
        return _pipe({"type": "paletted", "band": 1}, [element("colorPalette", {}, entries)])


@dataclass(frozen=True)
class Steps:
    """A raster of numbers, a colour for each step.

    Attributes:
        entries: Upper bound, label and colour of each step, upwards; the last bound may be infinite.
    """

    entries: Sequence[tuple[float, str, RGB]]

    def elements(self) -> list[Element]:
        """The renderer as XML."""
        items = [
            element("item", {"value": f"{top:g}", "color": _hex(rgb), "alpha": 255, "label": label})
            for top, label, rgb in self.entries
        ]
        ramp = {"colorRampType": "DISCRETE", "classificationMode": 1, "clip": 0}
        shader = element("rastershader", {}, [element("colorrampshader", ramp, items)])
        return _pipe({"type": "singlebandpseudocolor", "band": 1}, [shader])


@dataclass(frozen=True)
class Image:
    """Three bands in true colours.

    Attributes:
        bands: Numbers of red, green and blue, from 1.
        alpha: Number of the band that says what is opaque; None: none.
        stretch: Digital numbers of black and white; None: as they are, 0 to 255.
    """

    bands: tuple[int, int, int]
    alpha: int | None = None
    stretch: tuple[float, float] | None = None

    def elements(self) -> list[Element]:
        """The renderer as XML."""
        low, high = self.stretch or (0, 255)
        algorithm = "NoEnhancement" if self.stretch is None else "StretchToMinimumMaximum"
        contrasts = [
            element(
                f"{colour}ContrastEnhancement",
                {},
                [
                    element("minValue", text=f"{low:g}"),
                    element("maxValue", text=f"{high:g}"),
                    element("algorithm", text=algorithm),
                ],
            )
            for colour in ("red", "green", "blue")
        ]
        red, green, blue = self.bands
        kind = {"type": "multibandcolor", "redBand": red, "greenBand": green, "blueBand": blue}
        return _pipe(kind, contrasts, self.alpha or -1)


def _hex(rgb: RGB) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def _renderer(kind: str, attributes: dict[str, str], entries: list[Element], symbols: Sequence[Symbol]) -> Element:
    drawn = element("symbols", {}, [symbol.element(str(index)) for index, symbol in enumerate(symbols)])
    return element("renderer-v2", {"type": kind, "symbollevels": 0, "enableorderby": 0} | attributes, [*entries, drawn])


def _pipe(attributes: dict[str, object], children: list[Element], alpha: int = -1) -> list[Element]:
    """The pipe of a raster; from afar means of the pixels for pictures, the pixels themselves for codes."""
    picture = attributes["type"] == "multibandcolor"
    renderer = element("rasterrenderer", attributes | {"alphaBand": alpha, "opacity": 1}, children)
    resampler = {"maxOversampling": 2} | ({"zoomedOutResampler": "bilinear"} if picture else {})
    return [element("pipe", {}, [renderer, element("rasterresampler", resampler)])]
