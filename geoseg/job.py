"""The main job: the stages in order, each resumable, all into one run directory. `geoseg.stages` holds them.

segment     ortho -> classes.tif, confidence.tif, preview.tif, offsets.tif where the model gives offsets
vectorize   classes.tif -> field.gpkg (boundary, plants, plant outlines, weed patches)
rows        field.gpkg -> crop rows: its layers rows and gaps, each plant's place in its row
prescribe   classes.tif -> prescription/<profile>/, layer `prescription` of field.gpkg
picture     preview.tif, classes.tif, prescription -> quicklook.png
qgis        all of it -> field.qgz, a style beside each raster
report      all of it -> report.html, report.json
summary     summary.json, from what the stages found
"""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.config import Config
from geoseg.errors import GeosegWarning, InputError
from geoseg.finding import worst
from geoseg.models.card import Segmenter
from geoseg.ortho import Ortho
from geoseg.results import REPORT, Run
from geoseg.rundir import RECORD, RunDirectory
from geoseg.segment.forward import measure_speed
from geoseg.segment.settings import tiling_for
from geoseg.stages.ahead import look_ahead
from geoseg.stages.picture import picture_stage
from geoseg.stages.plantfiles import plantfiles_stages
from geoseg.stages.prescribe import prescribe_stage
from geoseg.stages.qgis import qgis_stage
from geoseg.stages.report import report_stage
from geoseg.stages.rows import rows_stage
from geoseg.stages.segment import load_segmenter, see_field, segment_stage
from geoseg.stages.summary import summarise
from geoseg.stages.vectorize import vectorize_stage

if TYPE_CHECKING:
    from geoseg.preflight import Preflight

__all__ = ["check", "load_segmenter", "plant_files", "prescribe", "report", "run", "segment", "vectorize"]


def run(
    ortho: str | Path,
    out: str | Path = "geoseg-out",
    *,
    boundary: str | Path | None = None,
    config: Config | None = None,
    model: Segmenter | None = None,
    fresh: bool = False,
    keep_blocks: bool = False,
) -> Run:
    """From an orthomosaic to a prescription, everything in one directory.

    The same call goes on where a killed one was, and finishes at once when all is there.

    Args:
        ortho: Any raster that GDAL opens.
        out: The run directory; made if it is missing.
        boundary: Polygon file of the field; None takes the outline of the ortho's valid pixels.
        config: All parameters.
        model: A segmenter to use instead of the one that ``config.model`` names.
        fresh: Discard what a former run left in `out`.
        keep_blocks: Keep the work in progress.

    Raises:
        InputError: If something given cannot be used.
        IncompleteError: If parts of the ortho could not be processed; call again to retry them.
    """
    config = config or Config()
    look_ahead(config, ortho, boundary, model=model is None)
    with RunDirectory(Path(out)) as directory:
        segment_stage(directory, ortho, boundary, config, model, fresh=fresh, keep_blocks=keep_blocks)
        vectorize_stage(directory, config)
        rows_stage(directory, config)
        plantfiles_stages(directory, panoptic=config.plants.panoptic, geoparquet=config.plants.geoparquet)
        prescribe_stage(directory, config, required=False)
        picture_stage(directory)
        qgis_stage(directory)
        report_stage(directory)
        return Run(directory.path, summarise(directory))


def segment(
    ortho: str | Path,
    out: str | Path,
    *,
    boundary: str | Path | None = None,
    config: Config | None = None,
    model: Segmenter | None = None,
    fresh: bool = False,
    keep_blocks: bool = False,
) -> Run:
    """The first stage alone: the class raster and its confidence. Arguments as in `run`."""
    with RunDirectory(Path(out)) as directory:
        segment_stage(directory, ortho, boundary, config or Config(), model, fresh=fresh, keep_blocks=keep_blocks)
        qgis_stage(directory)
        report_stage(directory)
        return Run(directory.path, summarise(directory))


def vectorize(out: str | Path, *, config: Config | None = None) -> Run:
    """Plants and weed patches of a run directory that holds a class raster."""
    config = config or Config()
    with RunDirectory(Path(out)) as directory:
        vectorize_stage(directory, config)
        rows_stage(directory, config)
        plantfiles_stages(directory, panoptic=config.plants.panoptic, geoparquet=config.plants.geoparquet)
        qgis_stage(directory)
        report_stage(directory)
        return Run(directory.path, summarise(directory))


def report(out: str | Path) -> Path:
    """Write the report of a run directory anew, with what `geoseg simulate` has added since.

    Returns:
        ``report.html``; ``report.json`` lies beside it.

    Raises:
        InputError: If the folder is no run directory, or holds no class raster.
    """
    if not (Path(out) / RECORD).is_file():
        raise InputError(f"{out} is no run directory: it has no {RECORD}")
    with RunDirectory(Path(out)) as directory:
        directory.key("segment")
        directory.supersede("report")
        report_stage(directory)
        return directory / REPORT


def plant_files(out: str | Path, *, panoptic: bool = False, geoparquet: bool = False) -> dict[str, int]:
    """Further files of the plants of a run directory, ``panoptic.tif`` and ``plants.parquet``.

    Returns:
        Number of plants by the name of the file.

    Raises:
        InputError: If the directory holds no plants.
    """
    with RunDirectory(Path(out)) as directory:
        return plantfiles_stages(directory, panoptic=panoptic, geoparquet=geoparquet)


def prescribe(out: str | Path, *, config: Config | None = None) -> Run:
    """The prescription of a run directory that holds a class raster.

    Raises:
        PrescriptionError: If the position on the ground is not known, or the rule cannot be obeyed.
    """
    config = config or Config()
    with RunDirectory(Path(out)) as directory:
        vectorize_stage(directory, config)
        rows_stage(directory, config)
        prescribe_stage(directory, config, required=True)
        picture_stage(directory)
        qgis_stage(directory)
        report_stage(directory)
        return Run(directory.path, summarise(directory))


def check(ortho: str | Path, *, boundary: str | Path | None = None, config: Config | None = None) -> Preflight:
    """What an ortho is, whether it fits the model, and what a run will need. Arguments as in `run`.

    Returns:
        Findings with their remedies, and the estimate; what would stop a run is a finding of the level "error".
    """
    from geoseg.host import free_memory_mb
    from geoseg.needs import estimate, room
    from geoseg.preflight import Preflight, from_error, preflight

    config = config or Config()
    segmenter = load_segmenter(config)
    name = f"{segmenter.card.name} {segmenter.card.version}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeosegWarning)  # the findings say the same
        try:
            segmenter = see_field(segmenter, ortho, boundary, config)
            card = segmenter.card
            source = Ortho.open(ortho, config.ortho, card.bands, card.scaling)
        except InputError as error:
            return Preflight(str(ortho), name, (from_error(error),))
        findings = preflight(source, card, boundary)
        if worst(findings) == "error":
            return Preflight(str(ortho), name, findings)
        grid = source.working_grid(card.gsd)
        tiling, backend = tiling_for(card, config.segment), getattr(segmenter, "backend", "openvino-f32")
        field, speed = source.boundary(boundary, grid), measure_speed(segmenter)
    needs = estimate(source, tiling, field, grid, speed, backend)
    enough = room(needs, free_memory_mb(), shutil.disk_usage(Path.cwd()).free / 1e6)
    return Preflight(str(ortho), name, (*findings, *enough), needs)
