"""Stage `picture`: preview.tif, classes.tif, prescription -> quicklook.png."""

from __future__ import annotations

from pathlib import Path

import shapely

from geoseg.errors import InputError
from geoseg.results import CLASSES, PREVIEW, QUICKLOOK, Run
from geoseg.rundir import RunDirectory

__all__ = ["field_title", "picture_stage"]


def picture_stage(directory: RunDirectory) -> None:
    """Draw the picture from what the run holds already.

    Raises:
        InputError: If the preview is missing.
    """
    from geoseg.report.quicklook import quicklook

    field = directory.facts("segment")["field"]
    zones = None
    parts = {"segment": directory.key("segment")}
    if directory.facts("prescribe"):
        parts["prescribe"] = directory.key("prescribe")
    with directory.stage("picture", parts) as stage:
        if stage.done:
            return
        if not (directory / PREVIEW).is_file():
            raise InputError(f"{directory / PREVIEW} is missing; `geoseg run` makes it, with --fresh if need be")
        if "prescribe" in parts:
            zones = Run(directory.path, {}).prescription
        quicklook(
            directory / PREVIEW,
            directory / CLASSES,
            zones,
            shapely.from_wkt(field["boundary"]),
            directory / QUICKLOOK,
            directory.facts("prescribe").get("totals", {}),
            field_title(field["ortho"], directory.path),
        )
        stage.outputs.append(directory / QUICKLOOK)


def field_title(ortho: str, run: Path) -> str:
    """What a person calls the field: the ortho's name, or the run directory's if that name says nothing."""
    stem = Path(ortho).stem
    return run.resolve().name if stem.lower() in ("ortho", "orthomosaic", "odm_orthophoto") else stem
