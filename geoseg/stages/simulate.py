"""What the sprayer makes of a prescription: RUN/simulation/, beside the stages, because it changes none of them."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import shapely

from geoseg.config import build, to_dict
from geoseg.durable import drafted_folder
from geoseg.errors import InputError, PrescriptionError
from geoseg.progress import bar
from geoseg.results import CLASSES, FIELD
from geoseg.rundir import RECORD, RunDirectory, write_json

if TYPE_CHECKING:
    from geoseg.spray.curves import Simulation
    from geoseg.spray.settings import SprayConfig

__all__ = ["SECTIONS_M", "SIMULATION", "THRESHOLDS", "prescribed", "simulate_run"]

SIMULATION = "simulation"
THRESHOLDS = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
SECTIONS_M = (0.25, 0.5, 1.0, 2.0, 3.0, 6.0)


def simulate_run(
    out: str | Path,
    *,
    spray: SprayConfig | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
    sections_m: Sequence[float] = SECTIONS_M,
    offset_m: float = 0.0,
) -> dict[str, Any]:
    """Drive a machine over a run directory that holds a class raster, and write what it does to ``simulation/``.

    Args:
        out: The run directory.
        spray: The machine and the rule; None: those of the prescription.
        thresholds: Shares of weed cover for the first curve; none: no curve.
        sections_m: Widths of a section for the second curve; none: no curve.
        offset_m: How far the machine drives to the right of where the map expects it, metres.

    Returns:
        What is in ``simulation.json``: ``machine``, ``totals``, and the rows of both curves.

    Raises:
        InputError: If the folder is no run directory, or holds no plants and rows.
        PrescriptionError: If no machine is named, the position is not known, or the rule cannot be obeyed.
    """
    from geoseg.spray.curves import over_sections, over_thresholds, simulate

    config = spray or prescribed(out)
    with RunDirectory(Path(out)) as directory:
        directory.key("vectorize")
        field = directory.facts("segment")["field"]
        rows = directory.facts("rows").get("rows", {})
        if field["nominal"]:
            raise PrescriptionError(
                "the ortho has no georeference, so no machine can follow a map of it; export the ortho with coordinates"
            )
        with bar("simulate", 2 + len(thresholds) + len(sections_m), "step") as progress:
            simulation, look = simulate(
                directory / CLASSES,
                shapely.from_wkt(field["boundary"]),
                config,
                package=directory / FIELD,
                rows_heading_deg=rows["heading_deg"] if rows.get("confident") else None,
                offset_m=offset_m,
            )
            progress.update()
            curves: dict[str, list[dict[str, Any]]] = {}
            if thresholds and config.rates.rule == "spot":
                curves["threshold_cover"] = _counted(over_thresholds(simulation, thresholds), progress)
            if sections_m:
                curves["section_m"] = _counted(over_sections(directory / CLASSES, config, look, sections_m), progress)
            facts = {
                "segment": directory.key("segment"),
                "machine": to_dict(simulation.machine),
                "spray": to_dict(simulation.survey.config),
                "heading": dataclasses.asdict(simulation.survey.heading),
                "offset_m": offset_m,
                "totals": dataclasses.asdict(simulation.totals),
                "curves": curves,
            }
            _write(directory / SIMULATION, simulation, facts, Path(field["ortho"]).stem)
            progress.update()
        return facts


def prescribed(out: str | Path) -> SprayConfig:
    """The machine and the rule with which the prescription of a run was made; the defaults where there is none.

    Args:
        out: The run directory.

    Raises:
        InputError: If it is none.
    """
    from geoseg.spray.settings import SprayConfig

    if not (Path(out) / RECORD).is_file():
        raise InputError(f"{out} is no run directory: it has no {RECORD}; give the folder that `geoseg run` made")
    with RunDirectory(Path(out)) as directory:
        found = directory.facts("prescribe").get("spray")
    return SprayConfig() if found is None else build(SprayConfig, found, RECORD)


def _counted(rows: Iterable[dict[str, Any]], progress: Any) -> list[dict[str, Any]]:
    found = []
    for row in rows:
        found.append(row)
        progress.update()
    return found


def _write(folder: Path, simulation: Simulation, facts: Mapping[str, Any], title: str) -> None:
    """The folder, whole or not at all."""
    from geoseg.report.sprayed import draw_curves, draw_sprayed

    with drafted_folder(folder) as draft:
        draft.mkdir()
        draw_sprayed(simulation, draft / "simulation.png", title)
        curves = facts["curves"]
        for name, file in (("threshold_cover", "thresholds.csv"), ("section_m", "sections.csv")):
            if curves.get(name):
                _write_csv(draft / file, curves[name])
        if curves:
            draw_curves(curves, draft / "curves.png", title)
        write_json(draft / "simulation.json", facts)


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as sink:
        table = csv.DictWriter(sink, list(rows[0]), lineterminator="\r\n")
        table.writeheader()
        table.writerows({key: f"{value:.10g}" for key, value in row.items()} for row in rows)
