"""Stages `panoptic` and `geoparquet`: field.gpkg -> panoptic.tif with its table, plants.parquet; when asked for."""

from __future__ import annotations

from geoseg.results import CLASSES, FIELD, PANOPTIC, PARQUET
from geoseg.rundir import RunDirectory

__all__ = ["plantfiles_stages"]


def plantfiles_stages(directory: RunDirectory, *, panoptic: bool, geoparquet: bool) -> dict[str, int]:
    """Write the further files of plants that are asked for, and give the number of plants in each.

    A second time they are found done.
    """
    made: dict[str, int] = {}
    parts = {"vectorize": directory.key("vectorize")}
    if panoptic:
        from geoseg.export.panoptic import write_panoptic

        with directory.stage("panoptic", parts) as stage:
            if not stage.done:
                out = directory / PANOPTIC
                stage.facts["plants"] = write_panoptic(directory / FIELD, directory / CLASSES, out)
                stage.outputs += [out, out.with_suffix(".csv")]
        made[PANOPTIC] = stage.facts["plants"]
    if geoparquet:
        from geoseg.export.geoparquet import write_geoparquet

        with directory.stage("geoparquet", parts | {"rows": directory.key("rows")}) as stage:
            if not stage.done:
                stage.facts["plants"] = write_geoparquet(directory / FIELD, directory / PARQUET)
                stage.outputs.append(directory / PARQUET)
        made[PARQUET] = stage.facts["plants"]
    return made
