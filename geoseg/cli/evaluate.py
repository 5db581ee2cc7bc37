"""How good a model is, and how fast."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from geoseg.cli.options import PAIRS, PATH, complete_models, set_option
from geoseg.errors import ConfigError

__all__ = ["benchmark", "evaluate"]


@click.command()
@click.argument("found", type=PATH)
@click.argument("labels", type=PATH, required=False)
@click.option("--labels", "labels_option", type=PATH, help="The same as LABELS.")
@click.option("--instances", type=PATH, help="Outlines of single plants, where LABELS is a raster.")
@click.option(
    "--model",
    "-m",
    shell_complete=complete_models,
    help="Tile sets: shipped model or model directory.  [default: default]",
)
@click.option("--split", default="validation", show_default=True, help="Tile sets: validation, train or all.")
@click.option("--cols", nargs=2, type=int, metavar="FIRST END", help="Only these columns, counted from 0.")
@click.option("--rows", nargs=2, type=int, metavar="FIRST END", help="Only these rows, counted from 0.")
@click.option("--plots", type=PATH, help="Polygons of plots: count in these, and leave out what lies in none.")
@click.option("--gsd", type=float, help="Metres per pixel of a raster that does not say it.")
@click.option("--out", "-o", type=PATH, help="Folder for evaluation.json, evaluation.md, blocks.csv and pictures.")
@set_option("evaluate", "block_m=5 or spray.section_m=3")
@click.option("--label-set", "label_overrides", help="How to understand LABELS, e.g. column=species.", **PAIRS)
@click.option(
    "--tune-recall", type=click.FloatRange(0, 1, True, True), help="Tile sets: find an operating point instead."
)
@click.option(
    "--tune-on", type=click.Choice(["cells", "pixels"]), default="cells", help="Recall of treated area or pixels."
)
@click.option("--apply", is_flag=True, help="Let the model work at that point from now on.")
@click.option("--json", "as_json", is_flag=True, help="Print all scores as JSON.")
def evaluate(
    found: Path,
    labels: Path | None,
    labels_option: Path | None,
    cols: tuple[int, int] | None,
    rows: tuple[int, int] | None,
    out: Path | None,
    as_json: bool,
    **how: Any,
) -> None:
    """How good FOUND is: a run directory or class raster against LABELS, or a tile set seen by a model.

    Scores of pixels, edges, plants, counts, confidence and of what the sprayer would do, with intervals. With
    --tune-recall it finds instead how far the weed score must be shifted to reach that share of the weeds, and notes it
    on the card of the model directory.
    """
    for word, span in (("--rows", rows), ("--cols", cols)):
        if span is not None and not 0 <= span[0] < span[1]:
            raise ConfigError(f"{word} is {span[0]} {span[1]}; expected the first and the last + 1, from 0")
    if how["apply"] and how["tune_recall"] is None:
        raise ConfigError("--apply is for --tune-recall, which finds the point to work at")
    if how["tune_recall"] is not None:
        _tune(found, how, as_json)
        return
    from geoseg.train.evaluate_report import evaluate_pairs, evaluation_dict, evaluation_lines, write_report
    from geoseg.windows import Rect

    labels = labels or labels_option
    pairs, title = _pairs(found, labels, how)
    plots = None if how["plots"] is None else _plots(found, how["plots"])
    whole = (0, 2**62)
    (row0, row1), (col0, col1) = rows or whole, cols or whole
    scored = evaluate_pairs(pairs, _settings(how["overrides"]), Rect(row0, col0, row1, col1), plots)
    if out is not None:
        write_report(scored, out, title)
    if as_json:
        click.echo(json.dumps(evaluation_dict(scored), indent=2))
        return
    click.echo("\n".join(evaluation_lines(scored)))
    if out is not None:
        click.echo(f"all figures and pictures in {out}")


def _tune(found: Path, how: dict[str, Any], as_json: bool) -> None:
    from geoseg.models import load
    from geoseg.models.card import CARD, ModelCard, own_folder
    from geoseg.train.evaluate_tiles import tile_pairs
    from geoseg.train.evaluate_tune import margins_of, tune_card

    folder = own_folder(how["model"] or "default")
    pairs = tile_pairs(found, load(folder), None if how["split"] == "all" else how["split"])
    margins = margins_of(pairs, _settings(how["overrides"]).spray)
    card = ModelCard.read(folder / CARD)
    scored = bool(card.scores)
    card, name = tune_card(card, margins, how["tune_recall"], how["tune_on"], apply=how["apply"])
    card.write(folder / CARD)
    point = card.thresholds[name]
    if scored and not card.scores:
        click.echo("its card had scores of another point, which are gone; geoseg evaluate takes new ones", err=True)
    if as_json:
        click.echo(json.dumps({name: point}, indent=2))
        return
    shift = point["logit_bias"][-1]
    used = "in use from now on" if how["apply"] else "noted on the card; --apply would use it"
    click.echo(f"{name}: weed score shifted by {shift:+.2f}, {used}")
    share = {key: f"{point[key]:.1%}" for key in ("pixel_recall", "pixel_precision", "area_reached", "ground_treated")}
    click.echo(
        f"pixels  {share['pixel_recall']} of the weeds found; {share['pixel_precision']} of what is found is weed"
    )
    click.echo(
        f"cells   {share['area_reached']} of the weed area reached, {share['ground_treated']} of the ground treated"
    )


def _pairs(found: Path, labels: Path | None, how: dict[str, Any]) -> tuple[list[Any], str]:
    """What to score, and its title."""
    if (found / "index.csv").is_file():
        from geoseg.models import load
        from geoseg.train.evaluate_tiles import tile_pairs

        if labels is not None:
            raise ConfigError(f"{found} is a tile set, which has its own labels; leave out {labels}")
        segmenter = load(how["model"] or "default")
        split = None if how["split"] == "all" else how["split"]
        return list(
            tile_pairs(found, segmenter, split)
        ), f"{segmenter.card.name} {segmenter.card.version} on {found.name}"
    from geoseg.config import load_as
    from geoseg.train.evaluate_pairs import raster_pair
    from geoseg.train.labelfiles import LabelConfig

    if labels is None:
        raise ConfigError(f"{found} needs labels: geoseg evaluate {found} LABELS; only a tile set has its own")
    if how["model"] is not None:
        raise ConfigError(f"{found} is predicted already; --model is for tile sets")
    label = load_as(LabelConfig, None, how["label_overrides"])
    pair = raster_pair(found, labels, instances=how["instances"], label=label, gsd_m=how["gsd"])
    return [pair], f"{found.name} against {labels.name}"


def _plots(found: Path, plots: Path) -> Any:
    from geoseg.train.evaluate_ground import read_plots
    from geoseg.train.evaluate_pairs import CLASSES
    from geoseg.train.labels import image_grid

    if (found / "index.csv").is_file():
        raise ConfigError(f"{found} is a tile set; --plots is for a run directory or a class raster")
    return read_plots(plots, image_grid(found / CLASSES if found.is_dir() else found))


def _settings(overrides: Sequence[str]) -> Any:
    """How scores are taken, with what a machine that is named says of its cells."""
    from dataclasses import replace

    from geoseg.config import load_as
    from geoseg.spray.settings import resolved
    from geoseg.train.evaluate_settings import EvaluateConfig

    settings = load_as(EvaluateConfig, None, overrides)
    return replace(settings, spray=resolved(settings.spray)[0])


@click.command()
@click.argument("models", nargs=-1, shell_complete=complete_models)
@click.option(
    "--backend", default="auto", show_default=True, help="What runs them: auto, openvino-bf16, torch-cpu, ..."
)
@click.option("--side", type=int, default=1024, show_default=True, help="Side of the image, pixels.")
@click.option("--on", help="Data set of the card's scores, or a part of its name.  [default: the first]")
@click.option("--out", "-o", type=PATH, help="Folder for benchmark.csv, benchmark.json and a picture.")
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the rows as CSV.")
def benchmark(
    models: tuple[str, ...], backend: str, side: int, on: str | None, out: Path | None, as_json: bool, as_csv: bool
) -> None:
    """Accuracy against speed of MODELS on this device: those that come with geoseg, if none are named."""
    from dataclasses import asdict

    from geoseg.models.card import shipped_models
    from geoseg.train.benchmark import benchmark as measure_all
    from geoseg.train.benchmark import rows_as_csv, table_lines, write_benchmark

    rows = measure_all(models or [card.name for card in shipped_models()], backend, side, on)
    if out is not None:
        write_benchmark(rows, out)
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=2))
    elif as_csv:
        click.echo(rows_as_csv(rows), nl=False)
    else:
        click.echo("\n".join([*table_lines(rows), f"on {rows[0].device}"]))
