"""What a person reads first: a few sentences that say what the field needs and what is in the way. Plain text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from geoseg.report.wording import area, litres, number, percent, spacing

__all__ = ["verdict"]

LITTLE_SAVED = 5.0
"""Percent saved below which spot spraying is hardly worth its trouble."""
SEEN = 0.98
"""Share of the field that must be seen before nothing is said about the rest."""


def verdict(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """Sentences, each with its ``level`` (result, note, warning or stop) and ``text``.

    Args:
        summary: What ``summary.json`` holds.
    """
    parts = (_spraying(summary), _weeds(summary), _stand(summary), _seen(summary), _warned(summary))
    return [{"level": level, "text": text} for part in parts for level, text in part]


def _spraying(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    found = summary.get("prescription")
    if not found:
        yield "note", "No prescription has been made yet; `geoseg prescribe` makes one from this run."
        return
    if reason := found.get("refused"):
        yield "stop", f"No prescription: {reason}."
        return
    share = found["treated_ha"] / found["field_ha"] if found["field_ha"] else 0.0
    if not found["treated_ha"]:
        yield "result", "Nothing to spray: no cell holds enough weed for the rule."
    else:
        yield (
            "result" if found["saved_percent"] >= LITTLE_SAVED else "warning",
            f"Spraying where the weeds are treats {percent(share)} of the field ({area(found['treated_ha'])} of "
            f"{area(found['field_ha'])}) and takes {litres(found['litres'])} instead of "
            f"{litres(found['broadcast_litres'])}: {percent(found['saved_percent'] / 100)} saved"
            + (". Weeds stand nearly everywhere, so a map saves hardly anything here." if share > 0.9 else "."),
        )
    if found["weed_ha"]:
        missed = found["missed_weed_ha"] / found["weed_ha"]
        text = f"The prescription reaches {percent(1 - missed)} of the weed area on the map"
        rest = "; the rest lies in cells below the threshold, or on ground that is never sprayed"
        yield "result" if missed < 0.1 else "warning", f"{text}{rest if missed else ''}."


def _weeds(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    weed = summary["classes"]["weed"]
    text = f"Weeds cover {percent(weed['share'])} of the ground seen ({area(weed['area_m2'] / 1e4)})"
    if plants := summary.get("plants"):
        text += f", in {number(plants['weeds']['kept'])} patches"
    yield "result", f"{text}."


def _stand(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    stand, rows = summary.get("stand"), summary.get("rows")
    if not stand or not rows:
        return
    text = f"{number(round(stand['plants_per_ha']))} crop plants per hectare"
    if not rows["found"]:
        yield "note", f"{text}. No crop rows were found, so spacing and gaps are not known: {_reason(rows)}."
        return
    text += f" stand in {number(stand['rows'])} rows {spacing(rows['spacing_m'])} apart"
    if stand["gap_share"]:
        text += f"; gaps take {percent(stand['gap_share'])} of the rows' length"
    yield "result", f"{text}."


def _seen(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if summary.get("position_is_nominal"):
        yield "warning", "The ortho has no georeference: position and size on the ground are assumed, not known."
    if summary["field_ha"] and summary["valid_ha"] < SEEN * summary["field_ha"]:
        seen = percent(summary["valid_ha"] / summary["field_ha"])
        yield "warning", f"Only {seen} of the field was seen by the camera; nothing is known about the rest."


def _warned(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if count := len(summary.get("warnings", ())):
        warnings = "a warning" if count == 1 else f"{count} warnings"
        yield "warning", f"The run gave {warnings}; see the section Quality."


def _reason(rows: Mapping[str, Any]) -> str:
    return str(rows["reason"]).removeprefix("no row structure: ").rstrip(".")
