"""The drawing of the quicklook: panels that share one scale, a strip with scale bar, north arrow and legend below.

Knows matplotlib and arrays, and no raster file. The object interface with the Agg canvas is used throughout, so that
nothing depends on a display or on state that other code left in pyplot.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Polygon, Rectangle
from matplotlib.path import Path as OutlinePath
from matplotlib.textpath import TextPath

from geoseg.cartography import nice_length, rate_colors

__all__ = ["Key", "Panel", "compose", "draw_polygons", "nice_length", "panel_size", "rate_colors", "save_png"]

DPI = 100
INK, OUTLINE = "#222222", "#444444"
PANEL_AREA_PX = 760 * 760
PANEL_MAX_PX, PANEL_MIN_PX = 1600, 200
SCALE_PX, SWATCH_PX, KEY_GAP_PX = 420, 36, 26
GAP_PX, HEAD_PX, STRIP_PX = 28, 156, 88
TITLE_PT, TEXT_PT, LABEL_PT = 25, 19, 16


@dataclass(frozen=True)
class Panel:
    """One map of the row.

    Attributes:
        title: Line above it.
        draw: Draws into axes whose data units are metres in the CRS of `bounds`.
    """

    title: str
    draw: Callable[[Axes], None]


@dataclass(frozen=True)
class Key:
    """One entry of the legend.

    Attributes:
        label: What it says.
        colors: One colour, or the steps of a ramp from weak to strong.
    """

    label: str
    colors: Sequence[str]


@dataclass(frozen=True)
class _Layout:
    """Pixel sizes of the figure; origin at the lower left."""

    columns: int
    rows: int
    panel: tuple[float, float]
    least_width: float = 0.0

    @classmethod
    def plan(cls, count: int, aspect: float, least_width: float = 0.0) -> _Layout:
        """Panels of about equal area for any field shape: in a row, or stacked when the field is wide."""
        width, height = math.sqrt(PANEL_AREA_PX * aspect), math.sqrt(PANEL_AREA_PX / aspect)
        shrink = min(1.0, PANEL_MAX_PX / max(width, height))
        panel = max(PANEL_MIN_PX, width * shrink), max(PANEL_MIN_PX, height * shrink)
        columns, rows = (1, count) if aspect > 2.2 else (count, 1)
        return cls(columns, rows, panel, least_width)

    @property
    def size(self) -> tuple[float, float]:
        """(width, height) of the figure."""
        width = self.columns * self.panel[0] + (self.columns + 1) * GAP_PX
        height = HEAD_PX + self.rows * (self.panel[1] + GAP_PX) + (self.rows - 1) * GAP_PX + STRIP_PX
        return max(width, self.least_width), height

    def place(self, index: int) -> tuple[float, float, float, float]:
        """(left, bottom, width, height) of a panel in pixels."""
        row, column = divmod(index, self.columns)
        used = self.columns * self.panel[0] + (self.columns - 1) * GAP_PX
        left = (self.size[0] - used) / 2 + column * (self.panel[0] + GAP_PX)
        top = self.size[1] - HEAD_PX - row * (self.panel[1] + 2 * GAP_PX)
        return left, top - self.panel[1], *self.panel


def panel_size(count: int, aspect: float) -> tuple[int, int]:
    """(height, width) in pixels that each of `count` panels gets for a field of `aspect` (width by height)."""
    width, height = _Layout.plan(count, aspect).panel
    return round(height), round(width)


def compose(
    panels: Sequence[Panel], keys: Sequence[Key], bounds: tuple[float, float, float, float], head: tuple[str, str]
) -> Figure:
    """The figure.

    Args:
        panels: Maps, left to right (or top to bottom when the field is wider than 2.2 times its height).
        keys: Legend entries.
        bounds: (left, bottom, right, top) of every map in metres.
        head: Title and the line below it.
    """
    left, bottom, right, top = bounds
    layout = _Layout.plan(len(panels), (right - left) / (top - bottom), SCALE_PX + sum(map(_key_width, keys)))
    width, height = layout.size
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    scale = 0.0
    for index, panel in enumerate(panels):
        x, y, w, h = layout.place(index)
        axes = figure.add_axes((x / width, y / height, w / width, h / height))
        axes.set_axis_off()
        panel.draw(axes)
        axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal", anchor="C")
        axes.set_title(panel.title, fontsize=TEXT_PT, color=INK, pad=8)
        scale = min(w / (right - left), h / (top - bottom))
    _text(figure, head[0], (GAP_PX, height - 20), fontsize=TITLE_PT, fontweight="bold")
    _text(figure, head[1], (GAP_PX, height - 66), fontsize=TEXT_PT)
    strip = figure.add_axes((0, 0, 1, STRIP_PX / height), xlim=(0, width), ylim=(0, STRIP_PX))
    strip.set_axis_off()
    _legend(strip, keys, _scale_bar(strip, scale, GAP_PX) + 40)
    return figure


def draw_polygons(axes: Axes, polygons: Sequence[shapely.Geometry], tolerance: float, **style: Any) -> None:
    """Draw polygons, holes left open, as one patch.

    Args:
        axes: Where to.
        polygons: Polygons or multipolygons.
        tolerance: Detail below this many data units is dropped.
        style: Arguments of `matplotlib.patches.PathPatch`.
    """
    outlines = list(_outlines(polygons, tolerance))
    if outlines:
        axes.add_patch(PathPatch(OutlinePath.make_compound_path(*outlines), **style))


def _outlines(polygons: Sequence[shapely.Geometry], tolerance: float) -> Iterator[OutlinePath]:
    parts = shapely.get_parts(np.asarray(polygons, dtype=object))
    # Outer rings one way and holes the other: Agg fills by the non-zero rule.
    for part in shapely.orient_polygons(shapely.simplify(parts, tolerance)):
        if shapely.is_empty(part):
            continue
        for ring in (part.exterior, *part.interiors):
            yield OutlinePath(shapely.get_coordinates(ring), closed=True)


def _text(figure: Figure, text: str, place_px: tuple[float, float], **style: Any) -> None:
    width, height = figure.get_size_inches() * DPI
    position = place_px[0] / width, place_px[1] / height
    figure.text(*position, text, ha="left", va="top", color=INK, parse_math=False, **style)


def _scale_bar(strip: Axes, px_per_metre: float, left: float) -> float:
    """Scale bar and north arrow; returns the x where the legend may begin."""
    metres = nice_length(250 / px_per_metre)
    length = metres * px_per_metre
    for half, color in ((0, INK), (1, "white")):
        corner = left + half * length / 2, 30.0
        strip.add_patch(Rectangle(corner, length / 2, 9, facecolor=color, edgecolor=INK, linewidth=1.2))
    strip.text(left, 45, "0", ha="center", va="bottom", fontsize=LABEL_PT, color=INK)
    strip.text(left + length, 45, f"{metres:g} m", ha="center", va="bottom", fontsize=LABEL_PT, color=INK)
    x = left + length + 70
    arrow = [(x, 68), (x - 11, 22), (x, 31), (x + 11, 22)]
    strip.add_patch(Polygon(arrow, closed=True, facecolor=INK))
    strip.text(x, 2, "N", ha="center", va="bottom", fontsize=LABEL_PT, fontweight="bold", color=INK)
    return x + 20


def _key_width(key: Key) -> float:
    """Width of a legend entry in pixels, the gap after it included."""
    text = TextPath((0, 0), key.label, size=LABEL_PT * DPI / 72)
    return SWATCH_PX + 9 + float(text.get_extents().width) + KEY_GAP_PX


def _legend(strip: Axes, keys: Sequence[Key], left: float) -> None:
    x = left
    for key in keys:
        step = SWATCH_PX / len(key.colors)
        for index, color in enumerate(key.colors):
            strip.add_patch(Rectangle((x + index * step, 24), step, 20, facecolor=color, linewidth=0))
        strip.add_patch(Rectangle((x, 24), SWATCH_PX, 20, fill=False, edgecolor=OUTLINE, linewidth=0.8))
        strip.text(x + SWATCH_PX + 9, 34, key.label, ha="left", va="center", fontsize=LABEL_PT, color=INK)
        x += _key_width(key)


def save_png(figure: Figure, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a figure; letters that the font lacks become boxes, which is nothing to warn about: they are in names."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(path, format="png", metadata={**(metadata or {}), "Software": None})
