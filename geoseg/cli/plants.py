"""The command `geoseg plants`: further files of the plants of a finished run."""

from __future__ import annotations

from pathlib import Path

import click

from geoseg.cli.options import PATH

__all__ = ["plants"]


@click.command()
@click.argument("run_directory", type=PATH)
@click.option("--panoptic", is_flag=True, help="Write panoptic.tif, each pixel's plant, and panoptic.csv, what it is.")
@click.option("--geoparquet", is_flag=True, help="Write plants.parquet, outlines with all attributes.")
@click.option("--coco-panoptic", "coco", type=PATH, help="Write tiles as COCO panoptic files into this folder.")
@click.option("--tile-px", type=click.IntRange(16, 4096), default=1024, show_default=True, help="Side of those tiles.")
def plants(run_directory: Path, panoptic: bool, geoparquet: bool, coco: Path | None, tile_px: int) -> None:
    """Further files of the plants in RUN_DIRECTORY, which `geoseg run` or `geoseg vectorize` has found."""
    from geoseg import job
    from geoseg.results import CLASSES, PANOPTIC

    if not (panoptic or geoparquet or coco):
        raise click.UsageError("say what to write: --panoptic, --geoparquet or --coco-panoptic FOLDER")
    facts = job.plant_files(run_directory, panoptic=panoptic or coco is not None, geoparquet=geoparquet)
    for name, count in facts.items():
        click.echo(f"{count:,} plants in {run_directory / name}")
    if coco is not None:
        from geoseg.export.panoptic import write_coco_panoptic

        tiles = write_coco_panoptic(run_directory / CLASSES, run_directory / PANOPTIC, coco, tile_px)
        click.echo(f"{tiles:,} tiles in {coco}")
