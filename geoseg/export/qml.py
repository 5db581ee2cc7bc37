"""QGIS styles (QML), small enough to read. Colours come from the legend; everything else QGIS fills with defaults."""

from __future__ import annotations

from geoseg.legend import LEGEND

__all__ = ["STYLES", "line", "marker", "polygon"]

_DOCUMENT = """<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22" styleCategories="Symbology">
  <renderer-v2 type="singleSymbol" symbollevels="0" enableorderby="0">
    <symbols>
      <symbol name="0" type="{kind}" alpha="1" clip_to_extent="1">
        <layer class="{symbol}" enabled="1" locked="0" pass="0">
          <Option type="Map">
{options}
          </Option>
        </layer>
      </symbol>
    </symbols>
  </renderer-v2>
</qgis>
"""


def _document(kind: str, symbol: str, options: dict[str, str]) -> str:
    lines = (f'            <Option name="{key}" type="QString" value="{value}"/>' for key, value in options.items())
    return _DOCUMENT.format(kind=kind, symbol=symbol, options="\n".join(lines))


def _rgba(rgb: tuple[int, int, int], alpha: int = 255) -> str:
    return ",".join(str(value) for value in (*rgb, alpha))


def polygon(rgb: tuple[int, int, int], fill_alpha: int = 110) -> str:
    """A filled polygon with an outline of the same colour."""
    options = {
        "color": _rgba(rgb, fill_alpha),
        "outline_color": _rgba(rgb),
        "outline_style": "solid",
        "outline_width": "0.2",
        "outline_width_unit": "MM",
        "style": "solid",
    }
    return _document("fill", "SimpleFill", options)


def line(rgb: tuple[int, int, int], width_mm: float = 0.6) -> str:
    """A polygon drawn as its outline only."""
    options = {
        "color": _rgba(rgb, 0),
        "outline_color": _rgba(rgb),
        "outline_style": "solid",
        "outline_width": str(width_mm),
        "outline_width_unit": "MM",
        "style": "no",
    }
    return _document("fill", "SimpleFill", options)


def marker(rgb: tuple[int, int, int], size_mm: float = 1.6) -> str:
    """A round marker with a white rim."""
    options = {
        "name": "circle",
        "color": _rgba(rgb),
        "outline_color": "255,255,255,255",
        "outline_style": "solid",
        "outline_width": "0.2",
        "outline_width_unit": "MM",
        "size": str(size_mm),
        "size_unit": "MM",
    }
    return _document("marker", "SimpleMarker", options)


_CROP, _WEED = LEGEND["crop"].rgb, LEGEND["weed"].rgb

STYLES: dict[str, str] = {
    "boundary": line((40, 40, 40)),
    "plants": marker(_CROP),
    "plant_outlines": polygon(_CROP),
    "weeds": polygon(_WEED),
}
"""Style by layer of ``field.gpkg``."""
