"""Stage `prescribe`: classes.tif -> prescription/<profile>/, layer `prescription` of field.gpkg."""

from __future__ import annotations

import dataclasses
import os
import shutil

import shapely

from geoseg.config import Config, to_dict
from geoseg.errors import PrescriptionError
from geoseg.progress import bar
from geoseg.results import CLASSES, FIELD, PRESCRIPTION
from geoseg.rundir import RunDirectory
from geoseg.segment.blocks import remove_folder

__all__ = ["prescribe_stage"]


def prescribe_stage(directory: RunDirectory, config: Config, *, required: bool) -> None:
    """Plan, write and read back the files of every profile.

    Raises:
        PrescriptionError: If `required` and the position on the ground is not known, or the rule cannot be obeyed.
    """
    from geoseg.export import check, write
    from geoseg.export.geopackage import replace_layer
    from geoseg.spray.prescription import plan

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
        "profiles": config.profiles,
    }
    with directory.stage("prescribe", parts) as stage:
        if stage.done:
            return
        directory.supersede("prescribe")
        with bar("prescribe", 2 + len(config.profiles), "step") as progress:
            boundary = shapely.from_wkt(field["boundary"])
            heading, heading_from = _heading(directory, config)
            prescription = plan(directory / CLASSES, boundary, dataclasses.replace(config.spray, heading_deg=heading))
            progress.update()
            checks = {}
            draft = directory / f".{PRESCRIPTION}.tmp"
            shutil.rmtree(draft, ignore_errors=True)
            for profile in config.profiles:
                folder = draft / profile
                write(prescription, folder, profile)
                checks[profile] = check(folder, prescription).to_dict()
                progress.update()
            remove_folder(directory / PRESCRIPTION)
            os.replace(draft, directory / PRESCRIPTION)
            replace_layer(directory / FIELD, "prescription", prescription.zones)
            progress.update()
        stage.facts |= {
            "totals": dataclasses.asdict(prescription.totals),
            "heading": {"heading_deg": prescription.heading_deg, "heading_from": heading_from},
            "checks": checks,
        }
        stage.outputs += [path for path in sorted((directory / PRESCRIPTION).rglob("*")) if path.is_file()]
        stage.outputs.append(directory / FIELD)


def _heading(directory: RunDirectory, config: Config) -> tuple[float | None, str]:
    """Driving direction for the prescription, None for the field's longest side, and where it comes from."""
    if config.spray.heading_deg is not None:
        return config.spray.heading_deg, "configuration"
    rows = directory.facts("rows").get("rows", {})
    if rows.get("confident"):
        return rows["heading_deg"], "crop rows"
    return None, "longest side of the field"
