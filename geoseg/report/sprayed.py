"""Pictures of a simulated machine: what it sprayed where, and curves to choose threshold and sections by."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.transforms import Affine2D
from numpy.typing import NDArray

from geoseg.durable import drafted
from geoseg.report.figure import INK, OUTLINE, Key, Panel, compose, draw_polygons, save_png

if TYPE_CHECKING:
    from geoseg.spray.curves import Simulation

__all__ = ["draw_curves", "draw_sprayed"]

_GROUND, _ASKED, _MORE, _SKIPPED = "#ececec", "#6baed6", "#fdae6b", "#9e9ac8"
_WEED, _MISSED = "#006d2c", "#d7301f"
_SIDE_PX = 1500
_DETAIL_M = 24.0
_DETAIL_SHARE = 0.4


def draw_sprayed(simulation: Simulation, out_png: Path, title: str) -> tuple[Path, ...]:
    """Draw the whole field, and a piece of it so close that every section is seen.

    Args:
        simulation: What was sprayed.
        out_png: Destination of the whole field; the detail gets ``_detail`` behind its name.
        title: Name of the field.

    Returns:
        Both files.
    """
    ground = simulation.ground
    rows, cols = ground.box.shape
    field = simulation.survey.boundary
    row0, col0, height, width = _busiest(simulation)
    pieces = [(0, 0, rows, cols), (row0, col0, height, width)]
    corners = ((col0, row0), (col0 + width, row0), (col0 + width, row0 + height), (col0, row0 + height))
    detail = shapely.Polygon([_world(simulation, *corner) for corner in corners])
    keys = [
        Key("sprayed as mapped", [_ASKED]),
        Key("sprayed beyond the map", [_MORE]),
        Key("mapped, not sprayed", [_SKIPPED]),
        Key("weed, sprayed", [_WEED]),
        Key("weed, missed", [_MISSED]),
    ]
    totals = simulation.totals
    line = (
        f"{_percent(totals.sprayed_ha, totals.field_ha)} sprayed, {_percent(totals.over_sprayed_ha, totals.field_ha)} "
        f"beyond the map, {_percent(totals.missed_weed_ha, totals.weed_ha)} of the weeds missed, "
        f"{totals.saved_percent:.1f} % saved"
    )
    close_png = out_png.with_name(f"{out_png.stem}_detail{out_png.suffix}")
    whole = Panel("Whole field", functools.partial(_draw, simulation, pieces[0], field, detail))
    close = Panel("Where it switches most", functools.partial(_draw, simulation, pieces[1], field, None))
    for path, panel, bounds in ((out_png, whole, field.bounds), (close_png, close, detail.bounds)):
        _save(compose([panel], keys, _padded(bounds), (f"{title}: {simulation.machine.title}", line)), path)
    return out_png, close_png


def draw_curves(curves: Mapping[str, Sequence[Mapping[str, Any]]], out_png: Path, title: str) -> Path:
    """Draw savings, missed weeds and ground sprayed beyond the map, one panel for each curve.

    Args:
        curves: Rows of totals under the name of what is varied: ``threshold_cover`` or ``section_m``.
        out_png: Destination; written under a temporary name first.
        title: Name of the field.
    """
    names = {"threshold_cover": "threshold, % weed cover of a cell", "section_m": "width of a section, m"}
    figure = Figure(figsize=(6.4 * len(curves), 5.2), dpi=110, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=14, color=INK)
    for nth, (name, rows) in enumerate(curves.items()):
        axes = figure.add_subplot(1, len(curves), nth + 1)
        x = np.array([row[name] for row in rows]) * (100 if name == "threshold_cover" else 1)
        lines = {
            "saved against broadcast": ([row["saved_percent"] for row in rows], "#08509b"),
            "weed area missed": ([100 * _share(row["missed_weed_ha"], row["weed_ha"]) for row in rows], _MISSED),
            "field sprayed beyond the map": (
                [100 * _share(row["over_sprayed_ha"], row["field_ha"]) for row in rows],
                "#e6550d",
            ),
        }
        for label, (values, color) in lines.items():
            axes.plot(x, values, "o-", color=color, label=label, markersize=4)
        axes.set_xlabel(names[name])
        axes.set_ylabel("percent")
        if x.min() > 0:
            axes.set_xscale("log")
        else:
            axes.set_xscale("symlog", linthresh=float(x[x > 0].min()) if (x > 0).any() else 1.0)
        axes.set_xticks(x, [f"{value:g}" for value in x], minor=False)
        axes.minorticks_off()
        axes.grid(visible=True, color="#dddddd", linewidth=0.6)
        axes.set_ylim(min(0.0, *lines["saved against broadcast"][0]) - 2, 102)
        axes.legend(fontsize=9)
    _save(figure, out_png)
    return out_png


def _draw(
    simulation: Simulation,
    piece: tuple[int, int, int, int],
    field: shapely.Geometry,
    detail: shapely.Geometry | None,
    axes: Axes,
) -> None:
    """A piece of the ground (first row, first column, rows, columns), turned into its place."""
    row0, col0, height, width = piece
    picture = _colours(simulation, piece)
    a = simulation.ground.box.affine
    to_world = Affine2D(np.array([[a.a, a.b, a.c], [a.d, a.e, a.f], [0, 0, 1]])) + axes.transData
    extent = (col0, col0 + width, row0 + height, row0)
    axes.imshow(picture, extent=extent, transform=to_world, interpolation="none", origin="upper")
    draw_polygons(axes, [field], 0.0, facecolor="none", edgecolor=OUTLINE, linewidth=1.4)
    if detail is not None:
        draw_polygons(axes, [detail], 0.0, facecolor="none", edgecolor=INK, linewidth=2.0)


def _colours(simulation: Simulation, piece: tuple[int, int, int, int]) -> NDArray[np.float32]:
    """(h, w, 4) colours of a piece, bins averaged where there are more than the picture shows."""
    row0, col0, height, width = piece
    ground, driven = simulation.ground, simulation.driven
    rows, cols = slice(row0, row0 + height), slice(col0, col0 + width)
    step = max(-(-height // _SIDE_PX), 1), max(-(-width // _SIDE_PX), 1)
    share = ground.share[rows, cols]
    cover = driven.cover[rows, cols]
    told = driven.told[row0 // ground.bins : -(-(row0 + height) // ground.bins), cols] > 0
    asked = np.repeat(told, ground.bins, axis=0)[row0 % ground.bins :][:height]
    weed = np.minimum(ground.weed[rows, cols] * ground.pixel_area_m2 / ground.bin_m2, 1)
    parts = {
        _ASKED: share * cover * asked,
        _MORE: cover * ~asked,
        _SKIPPED: share * (1 - cover) * asked,
    }
    mixed = {color: _averaged(value, step) for color, value in parts.items()}
    inside = np.maximum(_averaged((share > 0).astype(np.float32), step), sum(mixed.values()))
    picture = np.zeros((*inside.shape, 4), np.float32)
    rest = np.clip(inside - sum(mixed.values()), 0, 1)
    for color, value in ({_GROUND: rest} | mixed).items():
        picture[..., :3] += value[..., None] * np.array(to_rgb(color), np.float32)
    picture[..., :3] /= np.maximum(inside, 1e-6)[..., None]
    for color, value in ((_WEED, weed * cover), (_MISSED, weed * (1 - cover))):
        strength = np.where(_averaged(value, step) > 1e-5, np.clip(0.35 + 3 * _averaged(value, step), 0, 1), 0)
        picture[..., :3] += strength[..., None] * (np.array(to_rgb(color), np.float32) - picture[..., :3])
    picture[..., 3] = np.clip(inside, 0, 1)
    return np.clip(picture, 0, 1)


def _averaged(values: NDArray[Any], step: tuple[int, int]) -> NDArray[np.float32]:
    """Means over blocks of `step` rows and columns."""
    height, width = values.shape
    padded = np.pad(values.astype(np.float32), ((0, -height % step[0]), (0, -width % step[1])))
    means: NDArray[np.float32] = padded.reshape(
        padded.shape[0] // step[0], step[0], padded.shape[1] // step[1], step[1]
    ).mean((1, 3))
    return means


def _busiest(simulation: Simulation) -> tuple[int, int, int, int]:
    """The square piece in which valves open most: first row, first column, rows, columns."""
    ground = simulation.ground
    rows, cols = ground.box.shape
    a = ground.box.affine
    bin_length, section = np.hypot(a.b, a.e), np.hypot(a.a, a.d)
    side = min(_DETAIL_M, _DETAIL_SHARE * simulation.survey.boundary.area**0.5)
    height = int(min(rows, max(round(side / bin_length), 1)))
    width = int(min(cols, max(round(height * bin_length / section), 1)))
    starts = simulation.runs.start
    track = np.broadcast_to(np.arange(cols), starts.shape)[~np.isnan(starts)]
    at = np.clip(starts[~np.isnan(starts)] / bin_length, 0, rows - 1)
    blocks = np.zeros((-(-rows // height), -(-cols // width)), np.int64)
    np.add.at(blocks, ((at // height).astype(int), track // width), 1)
    row, col = np.unravel_index(int(blocks.argmax()), blocks.shape)
    return min(int(row) * height, rows - height), min(int(col) * width, cols - width), height, width


def _world(simulation: Simulation, col: float, row: float) -> tuple[float, float]:
    a = simulation.ground.box.affine
    return a.a * col + a.b * row + a.c, a.d * col + a.e * row + a.f


def _padded(bounds: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    left, bottom, right, top = bounds
    edge = 0.02 * max(right - left, top - bottom)
    return left - edge, bottom - edge, right + edge, top + edge


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _percent(part: float, whole: float) -> str:
    return f"{100 * _share(part, whole):.1f} %"


def _save(figure: Figure, out_png: Path) -> None:
    with drafted(out_png) as draft:
        save_png(figure, draft)
