"""The styles of what a run writes: colours of the legend, sizes that suit a sheet of paper and a plant alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from geoseg.cartography import rate_colors
from geoseg.legend import LEGEND, SOIL
from geoseg.qgis.styles import Categories, Label, Palette, Ranges, Single, Steps, Style
from geoseg.qgis.symbols import BLACK, RGB, Symbol, cased, contour, marker, outline, polygon

__all__ = [
    "CLASSES_OVER_PHOTO",
    "CLASSES_STYLE",
    "CONFIDENCE_STYLE",
    "LAYER_STYLES",
    "by_class",
    "rate_raster_style",
    "rate_style",
]

MOST_RATES = 8
"""With more different rates than these, the legend shows ranges."""
_CROP, _WEED = LEGEND["crop"].rgb, LEGEND["weed"].rgb
_ROW, _GAP = (255, 255, 255), (240, 228, 66)
_NEAR, _MIDDLE = 300, 1500
"""Scales from which on single plants, and rows of them, can be told apart."""


def by_class(column: str, draw: Callable[[RGB], Symbol]) -> Categories:
    """Crop and weed in their colours.

    Args:
        column: The column with the name of the class.
        draw: Makes the symbol of a colour.
    """
    return Categories(column, [(name, name, draw(LEGEND[name].rgb)) for name in ("crop", "weed")])


LAYER_STYLES: dict[str, Style] = {
    "boundary": Style(Single(outline(BLACK, 0.4))),
    "plants": Style(Single(marker(_CROP, "circle", 0.07, 0.45, 2.0)), from_scale=_MIDDLE),
    "weed_plants": Style(Single(marker(_WEED, "diamond", 0.07, 0.9, 2.2))),
    "plant_outlines": Style(by_class("class", lambda rgb: contour(rgb, 0.004, 0.12, 0.45)), from_scale=_NEAR),
    "weeds": Style(Single(polygon(_WEED, 170, 0.15))),
    "rows": Style(Single(cased(_ROW, 0.22, BLACK, 0.09, 110)), from_scale=2 * _MIDDLE),
    "gaps": Style(Single(cased(_GAP, 0.55, BLACK, 0.15, 170)), from_scale=2 * _MIDDLE),
}
"""Style by layer of ``field.gpkg``, without that of the prescription, which depends on its rates."""


def rate_style(rates: Iterable[float], column: str = "rate_l_ha") -> Style:
    """The style of a prescription: pale where nothing is sprayed, blue by rate, the rate as label.

    Args:
        rates: The rates that occur, in l/ha.
        column: The column that holds them.
    """
    found = sorted({0.0, *(float(rate) for rate in rates)})
    colours = rate_colors(found)
    label = Label(f'format_number("{column}", if("{column}" = round("{column}"), 0, 1)) || \' L/ha\'')
    if len(found) - 1 <= MOST_RATES:
        entries = [(rate, _words(rate), _zone(rate, colours)) for rate in found]
        return Style(Categories(column, entries), label)
    return Style(Ranges(column, _ranges(found, colours)), label)


def rate_raster_style(rates: Iterable[float]) -> Style:
    """The style of a raster of rates, in the colours of `rate_style`.

    Args:
        rates: The rates that occur, in l/ha.
    """
    found = sorted({0.0, *(float(rate) for rate in rates)})
    colours = rate_colors(found)
    return Style(Steps([(rate, _words(rate), _rgb(colours[rate])) for rate in found]))


def _ranges(rates: Sequence[float], colours: dict[float, str]) -> list[tuple[float, float, str, Symbol]]:
    """Zero by itself, then ranges with about as many rates in each."""
    positive = rates[1:]
    parts = [positive[len(positive) * nth // 6 : len(positive) * (nth + 1) // 6] for nth in range(6)]
    entries = [(0.0, 0.0, _words(0.0), _zone(0.0, colours))]
    for part in parts:
        low, high = part[0], part[-1]
        text = _words(high) if low == high else f"{low:g} to {high:g} L/ha"
        entries.append((low, high, text, _zone(high, colours)))
    return entries


def _zone(rate: float, colours: dict[float, str]) -> Symbol:
    if not rate > 0:
        return polygon((225, 225, 225), 0, 0.2, 200)
    return polygon(_rgb(colours[rate]), 95, 0.35)


def _rgb(colour: str) -> RGB:
    red, green, blue = bytes.fromhex(colour.lstrip("#"))
    return red, green, blue


def _words(rate: float) -> str:
    return f"{rate:g} L/ha" if rate > 0 else "0 L/ha, not sprayed"


def _classes(soil_alpha: int) -> Style:
    alphas = {SOIL: soil_alpha}
    return Style(
        Palette([(entry.code, entry.name, entry.rgb, alphas.get(entry.code, 255)) for entry in LEGEND.entries])
    )


CLASSES_STYLE = _classes(255)
"""The class raster by itself."""
CLASSES_OVER_PHOTO = _classes(70)
"""The class raster over the photo, which shows through where there is soil."""
CONFIDENCE_STYLE = Style(
    Steps(
        [
            (50, "50 % and less", (84, 39, 143)),
            (70, "51 to 70 %", (158, 154, 200)),
            (90, "71 to 90 %", (218, 218, 235)),
            (float("inf"), "91 to 100 %", (247, 245, 251)),
        ]
    )
)
