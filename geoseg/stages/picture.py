"""Stage `picture`: quicklook.png."""

from __future__ import annotations

from pathlib import Path

import shapely

from geoseg.errors import OrthoError
from geoseg.ortho import OrthoConfig
from geoseg.results import CLASSES, QUICKLOOK, Run
from geoseg.rundir import RunDirectory

__all__ = ["picture_stage"]


def picture_stage(directory: RunDirectory) -> None:
    """The picture, with the ortho as it was read; without the ortho there is none, and the summary says so."""
    from geoseg.report.quicklook import quicklook

    field = directory.facts("segment")["field"]
    ortho_config = directory.record["config"]["ortho"]
    bands = ortho_config["bands"]
    zones = None
    parts = {"segment": directory.key("segment")}
    if directory.facts("prescribe"):
        parts["prescribe"] = directory.key("prescribe")
    directory.record.pop("picture", None)
    try:
        with directory.stage("picture", parts) as stage:
            if stage.done:
                return
            if "prescribe" in parts:
                zones = Run(directory.path, {}).prescription
            quicklook(
                Path(field["ortho"]),
                directory / CLASSES,
                zones,
                shapely.from_wkt(field["boundary"]),
                directory / QUICKLOOK,
                directory.facts("prescribe").get("totals", {}),
                _title(field["ortho"], directory.path),
                ortho_config=OrthoConfig(**ortho_config | {"bands": bands and tuple(bands)}),
            )
            stage.outputs.append(directory / QUICKLOOK)
    except OrthoError:
        directory.record["picture"] = f"no {QUICKLOOK}, because {field['ortho']} is no longer there"


def _title(ortho: str, run: Path) -> str:
    """What a person calls the field: the ortho's name, or the run directory's if that name says nothing."""
    stem = Path(ortho).stem
    return run.resolve().name if stem.lower() in ("ortho", "orthomosaic", "odm_orthophoto") else stem
