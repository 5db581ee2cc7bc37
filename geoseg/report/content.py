"""All that the report says, as plain data: what ``report.json`` holds and what ``report.html`` shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from geoseg.report.curves import curve_parts, simulation_section
from geoseg.report.quality import provenance_section, quality_section
from geoseg.report.sections import headline, prescription_section, stand_section, weed_section
from geoseg.report.verdict import verdict

__all__ = ["SCHEMA", "report_content"]

SCHEMA = 1
"""Rises when keys of the document change their meaning or go."""


def report_content(
    title: str,
    summary: Mapping[str, Any],
    record: Mapping[str, Any],
    measured: Mapping[str, Any],
    exports: Sequence[Mapping[str, Any]],
    files: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """The document.

    Args:
        title: Name of the field.
        summary: What ``summary.json`` holds; kept in the document as it is.
        record: What ``run.json`` holds.
        measured: ``confidence``, ``spacings``, ``rates`` and ``simulation``, as far as the run has them.
        exports: The files for terminals, as `geoseg.report.sections.prescription_section` takes them.
        files: ``name``, ``bytes`` and ``text`` of the files of the run directory.
    """
    stages = record["stages"]
    prescribed = stages.get("prescribe", {}).get("facts", {})
    prescription = prescription_section(summary, measured.get("rates", ()), exports)
    if "refused" not in prescription:
        threshold = prescribed["spray"]["threshold_cover"]
        charts, tables = curve_parts(prescribed.get("curve", ()), threshold, summary["field_ha"])
        prescription["charts"] += charts
        prescription["tables"] += tables
    sections = (
        prescription,
        simulation_section(measured.get("simulation")),
        weed_section(summary),
        stand_section(summary, measured.get("spacings")),
        quality_section(summary, stages["segment"]["facts"], measured.get("confidence")),
        provenance_section(record, files),
    )
    return {
        "schema": SCHEMA,
        "title": title,
        "ortho": summary["ortho"],
        "finished": max(one["finished"] for name, one in stages.items() if name != "report"),
        "geoseg": record.get("versions", {}).get("geoseg"),
        "verdict": verdict(summary),
        "headline": headline(summary),
        "sections": [section for section in sections if section is not None],
        "summary": dict(summary),
    }
