"""summary.json, the answers, from what the stages found."""

from __future__ import annotations

from typing import Any

from geoseg.progress import emit
from geoseg.results import SUMMARY
from geoseg.rundir import RunDirectory, write_json

__all__ = ["summarise", "summary_of"]


def summarise(directory: RunDirectory) -> dict[str, Any]:
    """The answers of all stages that are done, written to ``summary.json``."""
    summary = summary_of(directory)
    write_json(directory / SUMMARY, summary)
    directory.save()
    emit("run_finished", run=str(directory.path), worked=directory.worked)
    return summary


def summary_of(directory: RunDirectory) -> dict[str, Any]:
    """The answers of all stages that are done."""
    first = directory.facts("segment")
    field = first["field"]
    valid_m2 = sum(entry["area_m2"] for entry in first["classes"].values())
    summary: dict[str, Any] = {
        "ortho": field["ortho"],
        "field_ha": field["area_m2"] / 1e4,
        "valid_ha": valid_m2 / 1e4,
        "gsd_m": field["gsd_m"],
        "position_is_nominal": field["nominal"],
        "classes": {
            name: entry | {"share": entry["area_m2"] / valid_m2 if valid_m2 else 0.0}
            for name, entry in first["classes"].items()
        },
        "model": directory.record["inputs"]["model"],
        "warnings": first["warnings"],
    }
    if vectors := directory.facts("vectorize"):
        summary["plants"] = vectors
        summary["warnings"] = [*summary["warnings"], *vectors["grouping"]["notes"]]
    if rows := directory.facts("rows"):
        summary |= {"rows": rows["rows"], "stand": rows["stand"]}
    if totals := directory.facts("prescribe").get("totals"):
        facts = directory.facts("prescribe")
        losses = facts.get("losses", {})
        summary["prescription"] = totals | facts.get("heading", {}) | {"machine": facts.get("machine")}
        summary["prescription"]["made_coarser"] = losses
        summary["warnings"] = [
            *summary["warnings"], *(f"{profile}: {'; '.join(loss['lines'])}" for profile, loss in losses.items())
        ]  # fmt: skip
    elif refused := directory.record.get("refused"):
        summary["prescription"] = {"refused": refused}
    return summary
