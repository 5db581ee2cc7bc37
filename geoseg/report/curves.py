"""The savings curves of the report: what other thresholds would treat and miss, with and without a machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from geoseg.report.wording import area, figure, litres, percent, table

__all__ = ["curve_parts", "simulation_section"]

Section = dict[str, Any]


def curve_parts(
    curve: Sequence[Mapping[str, float]], threshold: float, field_ha: float
) -> tuple[list[Section], list[Section]]:
    """The chart and the table of the map's own curve; both empty where the run has none.

    Args:
        curve: What `geoseg.spray.curves.map_curve` gave.
        threshold: The one that the prescription was made with.
        field_ha: Area of the field.
    """
    if not curve or not field_ha:
        return [], []
    treated = [_ratio(row["treated_ha"], field_ha) for row in curve]
    missed = [_ratio(row["missed_weed_ha"], row["weed_ha"]) for row in curve]
    chosen = next((nth for nth, row in enumerate(curve) if row["threshold_cover"] == threshold), None)
    chart = {
        "key": "thresholds",
        "kind": "lines",
        "beside": "thresholds",
        "title": "What another threshold would treat and miss",
        "x_label": "threshold: weed cover from which a cell is sprayed, %",
        "y_label": "%",
        "x": [f"{100 * row['threshold_cover']:g}" for row in curve],
        "series": [
            {"label": "field treated", "values": [100 * value for value in treated]},
            {"label": "weed area missed", "values": [100 * value for value in missed]},
        ],
        "mark": None if chosen is None else {"at": chosen, "label": "this map"},
        "note": "Planned on the map, buffer included; `geoseg simulate` says what a machine and its valves make of it.",
    }
    rows = [
        [
            percent(row["threshold_cover"]), percent(share), litres(row["litres"]), percent(row["saved_percent"] / 100),
            percent(lost),
        ]
        for row, share, lost in zip(curve, treated, missed, strict=True)
    ]  # fmt: skip
    heads = ["Threshold", "#Treated", "#Liquid", "#Saved", "#Weed missed"]
    return [chart], [table("thresholds", "The same in figures", heads, rows, curve)]


def simulation_section(facts: Mapping[str, Any] | None) -> Section | None:
    """What a machine makes of the map, from ``simulation/simulation.json``; None where nobody asked."""
    if not facts:
        return None
    totals = facts["totals"]
    field, weed = totals["field_ha"], totals["weed_ha"]
    missed = _ratio(totals["missed_weed_ha"], weed)
    figures = [
        figure("machine", "Machine", facts["machine"].get("title"), str(facts["machine"].get("title"))),
        figure("sprayed_ha", "Really sprayed", totals["sprayed_ha"], area(totals["sprayed_ha"]),
               f"{percent(_ratio(totals['sprayed_ha'], field))} of the field"),
        figure("over_sprayed_ha", "Beyond the map", totals["over_sprayed_ha"], area(totals["over_sprayed_ha"])),
        figure("not_sprayed_ha", "Mapped, not sprayed", totals["not_sprayed_ha"], area(totals["not_sprayed_ha"])),
        figure("simulated_missed", "Weed area missed", missed, percent(missed)),
        figure("simulated_litres", "Spray liquid", totals["litres"], litres(totals["litres"])),
        figure("simulated_saved", "Saved", totals["saved_percent"], percent(totals["saved_percent"] / 100)),
    ]  # fmt: skip
    charts = [_machine_chart(name, rows) for name, rows in facts["curves"].items() if rows and name in _VARIED]
    return {
        "id": "simulation", "title": "What the machine makes of it", "figures": figures, "tables": [], "charts": charts,
        "notes": ["Computed by `geoseg simulate`: sections, valves, lead and lag of the machine over this map."],
    }  # fmt: skip


_VARIED = {
    "threshold_cover": ("Threshold and machine", "threshold: weed cover of a cell, %", 100),
    "section_m": ("Width of a section", "width of a section, m", 1),
}


def _machine_chart(name: str, rows: Sequence[Mapping[str, Any]]) -> Section:
    title, label, scale = _VARIED[name]
    series = {
        "saved": [row["saved_percent"] for row in rows],
        "weed area missed": [100 * _ratio(row["missed_weed_ha"], row["weed_ha"]) for row in rows],
        "beyond the map": [100 * _ratio(row["over_sprayed_ha"], row["field_ha"]) for row in rows],
    }
    return {
        "key": f"simulated_{name}",
        "kind": "lines",
        "beside": None,
        "title": title,
        "x_label": label,
        "y_label": "%",
        "x": [f"{row[name] * scale:g}" for row in rows],
        "series": [{"label": key, "values": values} for key, values in series.items()],
        "mark": None,
        "note": "",
    }


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
