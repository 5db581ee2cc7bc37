"""Stage `prescribe`: classes.tif -> prescription/<profile>/, layer `prescription` of field.gpkg."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import shapely

from geoseg.config import Config, to_dict
from geoseg.durable import drafted_folder
from geoseg.errors import PrescriptionError
from geoseg.progress import bar
from geoseg.results import CLASSES, FIELD, PRESCRIPTION
from geoseg.rundir import RunDirectory
from geoseg.stages.exports import export_checked

if TYPE_CHECKING:
    from geoseg.spray.prescription import Prescription
    from geoseg.spray.settings import SprayConfig

__all__ = ["plan_of", "prescribe_stage"]


def prescribe_stage(directory: RunDirectory, config: Config, *, required: bool) -> None:
    """Plan, write and read back the files of every profile.

    Raises:
        PrescriptionError: If `required` and the position on the ground is not known, or the rule cannot be obeyed.
    """
    from geoseg.export.geopackage import replace_layer
    from geoseg.spray.curves import map_curve
    from geoseg.spray.settings import file_hashes

    field = directory.facts("segment")["field"]
    if field["nominal"]:
        reason = "the ortho has no georeference, so nobody can tell where on the ground this prescription would spray"
        if required:
            raise PrescriptionError(f"{reason}; export the ortho with coordinates")
        directory.record["refused"] = reason
        return
    parts = {
        "segment": directory.key("segment"),
        "rows": directory.key("rows"),
        "spray": to_dict(config.spray),
        "spray_files": file_hashes(config.spray),
        "profiles": config.profiles,
    }
    with directory.stage("prescribe", parts) as stage:
        if stage.done:
            return
        directory.supersede("prescribe")
        with bar("prescribe", 2 + len(config.profiles), "step") as progress:
            prescription = plan_of(directory, config.spray)
            progress.update()
            checks, losses = {}, {}
            with drafted_folder(directory / PRESCRIPTION) as draft:
                for profile in config.profiles:
                    found = export_checked(prescription, draft / profile, profile)
                    checks[profile] = found["check"]
                    if "loss" in found:
                        losses[profile] = found["loss"]
                    progress.update()
            replace_layer(directory / FIELD, "prescription", prescription.zones)
            progress.update()
        stage.facts |= {
            "totals": dataclasses.asdict(prescription.totals),
            "heading": {
                "heading_deg": prescription.heading_deg,
                "heading_from": prescription.heading.source,
                "heading_not_taken": list(prescription.heading.others),
            },
            "machine": prescription.machine and prescription.machine.title,
            "spray": to_dict(config.spray),
            "curve": [] if prescription.seen is None else map_curve(prescription.config, prescription.seen),
            "checks": checks,
            "losses": losses,
        }
        stage.outputs += [path for path in sorted((directory / PRESCRIPTION).rglob("*")) if path.is_file()]
        stage.outputs.append(directory / FIELD)


def plan_of(directory: RunDirectory, spray: SprayConfig) -> Prescription:
    """The prescription of a run that holds classes, plants and rows.

    Raises:
        PrescriptionError: If the rule cannot be obeyed.
    """
    from geoseg.spray.prescription import plan

    rows = directory.facts("rows").get("rows", {})
    return plan(
        directory / CLASSES,
        shapely.from_wkt(directory.facts("segment")["field"]["boundary"]),
        spray,
        package=directory / FIELD,
        rows_heading_deg=rows["heading_deg"] if rows.get("confident") else None,
    )
