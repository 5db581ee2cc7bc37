"""Files for terminals from a plan, each read back; also later, from a run directory whose prescription is there."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import shapely

from geoseg.config import build
from geoseg.durable import drafted_folder
from geoseg.errors import GeosegWarning, InputError
from geoseg.results import FIELD, PRESCRIPTION
from geoseg.rundir import RunDirectory

if TYPE_CHECKING:
    from geoseg.export.planned import Plan, Planned

__all__ = ["export_checked", "export_further", "open_finished", "stored_plan"]


def export_checked(plan: Planned, folder: Path, profile: str, name: str = "SPRAY") -> dict[str, Any]:
    """Write a plan for a terminal and read it back; returns the ``check`` and, if it was made coarser, the ``loss``.

    Raises:
        PrescriptionError: If the terminal takes no such plan, not even a coarser one.
        CheckError: If a file does not read back as written.
    """
    from geoseg.export import check, write

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeosegWarning)  # the loss says the same
        written = write(plan, folder, profile, name=name)
    facts: dict[str, Any] = {"check": check(folder, written.plan, profile=profile).to_dict()}
    if written.loss is not None:
        facts["loss"] = dataclasses.asdict(written.loss) | {"lines": written.loss.lines()}
    return facts


def export_further(
    run: Path, profiles: Sequence[str], out: Path | None = None, name: str = "SPRAY"
) -> dict[str, dict[str, Any]]:
    """Write the prescription of a run directory for further terminals; nothing is computed anew.

    Args:
        run: The run directory.
        profiles: Names of terminals.
        out: A folder for each profile is made here; None: beside the others in the run directory.
        name: Base name of the files.

    Returns:
        By profile: ``folder``, ``check`` and, where the plan had to be made coarser, ``loss``.

    Raises:
        InputError: If the run directory holds no prescription.
        PrescriptionError: If a terminal takes no such plan.
        CheckError: If a file does not read back as written.
    """
    from geoseg.export.profiles import read_profile

    for profile in profiles:
        read_profile(profile)  # an unknown name is said before anything is written
    found = {}
    with open_finished(run) as directory:
        plan = stored_plan(directory)
        for profile in profiles:
            folder = (out or directory / PRESCRIPTION) / profile
            with drafted_folder(folder) as draft:
                facts = export_checked(plan, draft, profile, name)
            found[profile] = {"folder": str(folder), **facts}
            if out is None:
                _note(directory, folder, profile, facts)
    return found


def open_finished(run: Path) -> RunDirectory:
    """A run directory that exists; entering another would make it.

    Raises:
        InputError: If there is no run in the folder.
    """
    if not (run / FIELD).is_file():
        raise InputError(
            f"{run} holds no {FIELD}; expected the directory of a finished run: "
            "run geoseg run or geoseg vectorize first"
        )
    return RunDirectory(run)


def stored_plan(directory: RunDirectory) -> Plan:
    """The prescription that a run directory holds, as the writers need it.

    Raises:
        InputError: If there is none.
    """
    import geopandas as gpd

    from geoseg.export.planned import Plan
    from geoseg.spray.grid import lattice, true_heading
    from geoseg.spray.ground import read_exclusions, touched_cells
    from geoseg.spray.settings import SprayConfig, resolved
    from geoseg.spray.totals import Totals

    directory.key("prescribe")  # raises where the stage is not done
    facts, field = directory.facts("prescribe"), directory.facts("segment")["field"]
    config, _ = resolved(build(SprayConfig, facts["spray"], "run.json"))
    boundary = shapely.from_wkt(field["boundary"])
    heading = facts["heading"]["heading_deg"]
    box = lattice(boundary, field["crs"], config.cell_m, heading)
    excluded = None
    if config.exclusions is not None:
        ground = read_exclusions(config.exclusions, field["crs"], config.exclusion_buffer_m)
        excluded = touched_cells(ground, box)
    return Plan(
        zones=gpd.read_file(directory / FIELD, layer="prescription"),
        boundary=boundary,
        box=box,
        heading_deg=heading,
        true_heading_deg=true_heading(box, heading),
        config=config,
        totals=Totals(**facts["totals"]),
        excluded=excluded,
    )


def _note(directory: RunDirectory, folder: Path, profile: str, facts: dict[str, Any]) -> None:
    """Put the new files into the record, so that they go when the prescription is made anew."""
    stage = directory.record["stages"]["prescribe"]
    place = folder.relative_to(directory.path).as_posix()
    kept = {path: size for path, size in stage["outputs"].items() if not path.startswith(f"{place}/")}
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    new = {path.relative_to(directory.path).as_posix(): path.stat().st_size for path in files}
    stage["outputs"] = kept | new
    stage["facts"]["checks"][profile] = facts["check"]
    losses = stage["facts"].setdefault("losses", {})
    losses.pop(profile, None)
    if "loss" in facts:
        losses[profile] = facts["loss"]
    directory.save()
