"""QGIS styles (QML), small enough to read. Colours come from the legend; everything else QGIS fills with defaults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

from geoseg.legend import LEGEND

__all__ = ["STYLES", "Symbol", "categorised", "line", "marker", "polygon", "single"]

_DOCUMENT = """<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22" styleCategories="Symbology">
  <renderer-v2 type="{renderer}" symbollevels="0" enableorderby="0"{attribute}>{categories}
    <symbols>
{symbols}
    </symbols>
  </renderer-v2>
</qgis>
"""

_SYMBOL = """      <symbol name="{name}" type="{kind}" alpha="1" clip_to_extent="1">
        <layer class="{layer}" enabled="1" locked="0" pass="0">
          <Option type="Map">
{options}
          </Option>
{props}
        </layer>
      </symbol>"""

RGB = tuple[int, int, int]


@dataclass(frozen=True)
class Symbol:
    """How one kind of feature is drawn.

    Attributes:
        kind: ``fill``, ``line`` or ``marker``.
        layer: QGIS's name of the symbol layer.
        options: Its properties.
    """

    kind: str
    layer: str
    options: dict[str, str]

    def xml(self, name: str) -> str:
        """The symbol element; properties in both spellings, for QGIS before and after 3.20."""
        options = (
            f'            <Option name="{key}" type="QString" value="{value}"/>' for key, value in self.options.items()
        )
        props = (f'          <prop k="{key}" v="{value}"/>' for key, value in self.options.items())
        return _SYMBOL.format(
            name=name, kind=self.kind, layer=self.layer, options="\n".join(options), props="\n".join(props)
        )


def polygon(rgb: RGB, fill_alpha: int = 110) -> Symbol:
    """A filled polygon with an outline of the same colour; 0 leaves it empty."""
    return Symbol(
        "fill",
        "SimpleFill",
        {
            "color": _rgba(rgb, fill_alpha),
            "outline_color": _rgba(rgb),
            "outline_style": "solid",
            "outline_width": "0.3",
            "outline_width_unit": "MM",
            "style": "solid" if fill_alpha else "no",
        },
    )


def marker(rgb: RGB, size_mm: float = 1.6) -> Symbol:
    """A round marker with a white rim."""
    return Symbol(
        "marker",
        "SimpleMarker",
        {
            "name": "circle",
            "color": _rgba(rgb),
            "outline_color": "255,255,255,255",
            "outline_style": "solid",
            "outline_width": "0.2",
            "outline_width_unit": "MM",
            "size": str(size_mm),
            "size_unit": "MM",
        },
    )


def line(rgb: RGB, width_mm: float = 0.4) -> Symbol:
    """A solid line."""
    return Symbol(
        "line",
        "SimpleLine",
        {
            "capstyle": "flat",
            "line_color": _rgba(rgb),
            "line_style": "solid",
            "line_width": str(width_mm),
            "line_width_unit": "MM",
        },
    )


def single(symbol: Symbol) -> str:
    """A style that draws every feature alike."""
    return _DOCUMENT.format(renderer="singleSymbol", attribute="", categories="", symbols=symbol.xml("0"))


def categorised(expression: str, categories: Sequence[tuple[str, str, Symbol]]) -> str:
    """A style by the value of an expression.

    Args:
        expression: QGIS expression or column name.
        categories: Value, label and symbol of each.
    """
    entries = "".join(
        f'\n      <category symbol="{index}" value={quoteattr(value)} label={quoteattr(label)} render="true"/>'
        for index, (value, label, _) in enumerate(categories)
    )
    return _DOCUMENT.format(
        renderer="categorizedSymbol",
        attribute=f" attr={quoteattr(expression)}",
        categories=f"\n    <categories>{entries}\n    </categories>",
        symbols="\n".join(symbol.xml(str(index)) for index, (_, _, symbol) in enumerate(categories)),
    )


def _rgba(rgb: RGB, alpha: int = 255) -> str:
    return ",".join(str(value) for value in (*rgb, alpha))


_CROP, _WEED = LEGEND["crop"].rgb, LEGEND["weed"].rgb

STYLES: dict[str, str] = {
    "boundary": single(polygon((40, 40, 40), fill_alpha=0)),
    "plants": single(marker(_CROP)),
    "weed_plants": single(marker(_WEED)),
    "plant_outlines": categorised("class", [("crop", "crop", polygon(_CROP)), ("weed", "weed", polygon(_WEED))]),
    "weeds": single(polygon(_WEED)),
    "rows": single(line(_CROP)),
    "gaps": single(line((230, 60, 30), 0.9)),
    "prescription": categorised(
        'if("rate_l_ha" > 0, 1, 0)',
        [("1", "spray", polygon(_WEED, 90)), ("0", "do not spray", polygon((160, 160, 160), 30))],
    ),
}
"""Style by layer of ``field.gpkg``."""
