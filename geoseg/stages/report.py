"""Stage `report`: what all other stages found and made -> report.html and report.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import shapely

from geoseg.durable import write_file
from geoseg.errors import InputError
from geoseg.results import CLASSES, CONFIDENCE, FIELD, PRESCRIPTION, PREVIEW, REPORT, REPORT_DATA
from geoseg.rundir import RunDirectory, write_json
from geoseg.stages.picture import field_title
from geoseg.stages.simulate import SIMULATION
from geoseg.stages.summary import summary_of

if TYPE_CHECKING:
    from geoseg.report.fieldmap import MapLayer
    from geoseg.report.mapdraw import Frame

__all__ = ["report_stage"]


def report_stage(directory: RunDirectory) -> None:
    """Write the report of what the run holds.

    Raises:
        InputError: If the class raster is missing.
    """
    from geoseg.report.content import SCHEMA, report_content
    from geoseg.report.page import map_content, render_page, template_hash

    simulation, exports = _simulation(directory), _exports(directory)
    others = {name: one for name, one in directory.record["stages"].items() if name != "report"}
    parts = {
        "schema": SCHEMA,
        "page": template_hash(),
        "stages": {name: one["key"] for name, one in others.items()},
        "exports": exports,
        "refused": directory.record.get("refused"),
        "simulation": simulation and hashlib.sha256(json.dumps(simulation).encode()).hexdigest(),
    }
    with directory.stage("report", parts) as stage:
        if stage.done:
            return
        if not (directory / CLASSES).is_file():
            raise InputError(f"{directory / CLASSES} is missing; `geoseg run` makes it, with --fresh if need be")
        summary, field = summary_of(directory), directory.facts("segment")["field"]
        title = field_title(field["ortho"], directory.path)
        record = _with_card(directory.record)
        measured = _measured(directory, summary) | {"simulation": simulation}
        content = report_content(title, summary, record, measured, exports, _files(others))
        frame, layers = _map(directory)
        content["map"] = map_content(frame, layers, field["crs"], nominal=field["nominal"])
        page = render_page(content, layers).encode()
        write_json(directory / REPORT_DATA, content)
        write_file(directory / REPORT, page)
        stage.outputs += [directory / REPORT, directory / REPORT_DATA]


def _measured(directory: RunDirectory, summary: Mapping[str, Any]) -> dict[str, Any]:
    """What is counted for the report alone."""
    from geoseg.report.measure import confidence_histogram, rate_table, spacing_histogram

    found: dict[str, Any] = {}
    if (directory / CONFIDENCE).is_file():
        found["confidence"] = confidence_histogram(directory / CONFIDENCE, directory / CLASSES)
    if spacing := (summary.get("stand") or {}).get("spacing"):
        found["spacings"] = spacing_histogram(directory / FIELD, spacing["theoretical_m"])
    if directory.facts("prescribe"):
        found["rates"] = rate_table(directory / FIELD)
    return found


def _map(directory: RunDirectory) -> tuple[Frame, list[MapLayer]]:
    from geoseg.report.fieldmap import field_map

    names = {"classes": CLASSES, "preview": PREVIEW, "package": FIELD}
    files = {key: directory / name for key, name in names.items() if (directory / name).is_file()}
    vectors, stand = directory.facts("vectorize"), directory.facts("rows").get("stand", {})
    tables: dict[str, int] = {name: vectors[name]["kept"] for name in ("weeds", "plants", "weed_plants") if vectors}
    tables |= {name: stand[name] for name in ("rows", "gaps") if stand}
    if prescribed := directory.facts("prescribe"):
        tables["prescription"] = prescribed["totals"]["zones"]
    boundary = shapely.from_wkt(directory.facts("segment")["field"]["boundary"])
    return field_map(files, boundary, tables)


def _simulation(directory: RunDirectory) -> dict[str, Any] | None:
    """What `geoseg simulate` wrote; None if it was for another class raster."""
    try:
        found: dict[str, Any] = json.loads((directory / SIMULATION / "simulation.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return None
    return found if found.get("segment") == directory.key("segment") else None


def _exports(directory: RunDirectory) -> list[dict[str, Any]]:
    """The files for terminals as they were read back."""
    facts = directory.facts("prescribe")
    losses = facts.get("losses", {})
    rows = []
    for profile, check in facts.get("checks", {}).items():
        read: dict[str, Any] = check["files"][0] if check["files"] else {"format": "", "facts": {}}
        rows.append(
            {
                "profile": profile,
                "folder": f"{PRESCRIPTION}/{profile}",
                "format": read["format"],
                "files": len(check["files"]),
                "treated_ha": read["facts"].get("treated_ha"),
                "litres": read["facts"].get("litres"),
                "ok": check["ok"],
                "coarser": "; ".join(losses.get(profile, {}).get("lines", ())),
            }
        )
    return rows


def _files(stages: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The files that the stages noted, folders as one."""
    from geoseg.report.text import FILES

    sizes: dict[str, int] = {}
    for one in stages.values():
        sizes |= one["outputs"]
    rows = []
    for name, text in FILES:
        found = [size for path, size in sizes.items() if path == name or path.startswith(f"{name}/")]
        if found:
            rows.append({"name": name, "bytes": sum(found), "text": text})
    return rows


def _with_card(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with the model's card: runs of former versions did not keep it."""
    from geoseg.errors import ModelError
    from geoseg.models.card import read_card

    first = record["stages"]["segment"]
    if "card" in first["facts"]:
        return dict(record)
    try:
        card = read_card(Path(record["config"]["model"]))
    except (KeyError, ModelError):
        return dict(record)
    if card.weights_sha256 != record["inputs"]["model"].get("sha256"):
        return dict(record)
    facts = first["facts"] | {"card": card.model_dump(mode="json")}
    return dict(record) | {"stages": record["stages"] | {"segment": first | {"facts": facts}}}
