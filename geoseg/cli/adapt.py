"""The command `geoseg adapt`, and `geoseg run --adapt`, which does it on the way. Heavy imports come late."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.options import PATH, complete_files, complete_models, set_option

if TYPE_CHECKING:
    from geoseg.config import Config

__all__ = ["adapt", "adapted"]


@click.command()
@click.argument("ortho", type=str, shell_complete=complete_files)
@click.option("--out", "-o", type=PATH, required=True, help="The model directory to make.")
@click.option("--config", "config_file", type=PATH, help="YAML file of parameters; see configs/adapt.yaml.")
@click.option(
    "--model",
    "-m",
    shell_complete=complete_models,
    help="The model that is taught; a shipped one or a model directory.",
)
@set_option("adapt", "tune.steps=120")
@click.option("--boundary", "-b", type=PATH, help="Polygon file of the field (GPKG, shapefile, GeoJSON).")
@click.option("--hints", type=PATH, help="Points or polygons with a column `class`, clicked in QGIS.")
@click.option("--json", "as_json", is_flag=True, help="Print the card as JSON.")
def adapt(
    ortho: str, out: Path, config_file: Path | None, overrides: tuple[str, ...], as_json: bool, **given: Any
) -> None:
    """Teach a model the field of ORTHO from its own crop rows, without labels."""
    from geoseg.adapt.adaptation import AdaptConfig
    from geoseg.adapt.adaptation import adapt as teach
    from geoseg.config import load_as

    model = given.pop("model")
    extra = [f"model={json.dumps(model)}"] if model else []
    found = teach(ortho, out, load_as(AdaptConfig, config_file, [*extra, *overrides]), **given)
    click.echo(found.card.model_dump_json(indent=2) if as_json else "\n".join(found.lines()))
    if not as_json:
        click.echo(f"use it with   geoseg run ORTHO --model {out}")


def adapted(ortho: str, out: Path, config: Config, boundary: Path | None) -> Config:
    """The configuration of a run with a model that has been taught its field; taught once, then found in `out`.

    Args:
        ortho: The ortho.
        out: The run directory; the model is kept in its folder ``model``.
        config: The configuration of the run.
        boundary: Polygon file of the field.
    """
    from geoseg.adapt.adaptation import AdaptConfig
    from geoseg.adapt.adaptation import adapt as teach

    folder = out / "model"
    if not folder.exists():
        settings = AdaptConfig(model=config.model, ortho=config.ortho, rows=config.rows)
        found = teach(ortho, folder, settings, boundary=boundary)
        click.echo("\n".join(found.lines()), err=True)
    return replace(config, model=str(folder))
