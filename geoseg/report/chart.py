"""Where lines, bars and labels of a chart stand, in the units of its drawing. The template only writes them down."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from geoseg.cartography import nice_length

__all__ = ["HEIGHT", "WIDTH", "chart_geometry"]

WIDTH, HEIGHT = 440, 280
_LEFT, _RIGHT, _TOP, _LEGEND, _BOTTOM = 46, 14, 36, 20, 52
_SWATCH, _LETTER = 44, 6.6
"""Width of a legend's line with its gaps, and of a letter on average."""
_TICKS = 9
"""Labels on the lower axis at most; of more every second, third, ... is written."""


def chart_geometry(chart: Mapping[str, Any]) -> dict[str, Any]:
    """Everything with its place.

    Args:
        chart: ``kind`` (lines or bars), ``x`` labels, ``series`` of ``label`` and ``values``, ``mark`` or None.

    Returns:
        ``width``, ``height``, ``plot`` (left, top, right, bottom), ``grid`` and ``ticks`` as (place, label), ``legend``
        (whether one is needed), ``series`` with ``look``, ``key`` (place of its legend) and ``points`` or ``bars``,
        ``mark`` as (x, label) or None.
    """
    legend = len(chart["series"]) > 1
    plot = (_LEFT, _TOP + _LEGEND * legend, WIDTH - _RIGHT, HEIGHT - _BOTTOM)
    count = len(chart["x"])
    highest = max((value for one in chart["series"] for value in one["values"]), default=0.0)
    step = nice_length(max(highest, 1e-9) / 3)
    top = step * max(math.ceil(highest / step - 1e-9), 1)
    bars = chart["kind"] == "bars"
    pitch = (plot[2] - plot[0]) / (count if bars else max(count - 1, 1))

    def y(value: float) -> float:
        return round(plot[3] - (plot[3] - plot[1]) * value / top, 1)

    def x(place: float) -> float:
        return round(plot[0] + place * pitch, 1)

    every = math.ceil(count / _TICKS)
    mark = chart.get("mark")
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "plot": plot,
        "legend": legend,
        "grid": [(y(value), f"{value:,g}") for value in (step * nth for nth in range(round(top / step) + 1))],
        "ticks": [(x(nth), label) for nth, label in enumerate(chart["x"]) if nth % every == 0],
        "series": [
            {"label": one["label"], "look": _look(one["label"], nth), "key": _key(chart["series"][:nth])}
            | (_bars(one, nth, chart, x, y, pitch) if bars else _points(one, x, y))
            for nth, one in enumerate(chart["series"])
        ],
        "mark": mark and (x(min(mark["at"], count if bars else count - 1)), mark["label"]),
    }


def _key(before: Sequence[Mapping[str, Any]]) -> float:
    """Where the legend of a series begins, beside those before it."""
    return _LEFT + sum(_SWATCH + _LETTER * len(one["label"]) for one in before)


def _look(label: str, nth: int) -> str:
    return f"c-{label}" if label in ("crop", "weed") else f"s{nth}"


def _points(one: Mapping[str, Any], x: Any, y: Any) -> dict[str, Any]:
    points = [(x(nth), y(value)) for nth, value in enumerate(one["values"])]
    return {"points": points, "line": " ".join(f"{left},{top}" for left, top in points)}


def _bars(one: Mapping[str, Any], nth: int, chart: Mapping[str, Any], x: Any, y: Any, pitch: float) -> dict[str, Any]:
    series: Sequence[Any] = chart["series"]
    width = 0.84 * pitch / len(series)
    foot = y(0)
    bars = [
        (round(x(place) + 0.08 * pitch + nth * width, 1), y(value), round(width, 1), round(foot - y(value), 1))
        for place, value in enumerate(one["values"])
        if value > 0
    ]
    return {"bars": bars}
