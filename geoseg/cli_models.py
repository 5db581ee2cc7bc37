"""Commands about models: how good, how fast, and to and from other programs. Imports nothing heavy until one runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from geoseg.errors import ConfigError

__all__ = ["evaluate", "models"]

PATH = click.Path(path_type=Path)
SET = {"multiple": True, "metavar": "KEY=VALUE"}


@click.command()
@click.argument("found", type=PATH)
@click.argument("labels", type=PATH, required=False)
@click.option("--labels", "labels_option", type=PATH, help="The same as LABELS.")
@click.option("--instances", type=PATH, help="Outlines of single plants, where LABELS is a raster.")
@click.option("--model", "-m", help="Tile sets: shipped model or model directory.  [default: default]")
@click.option("--split", default="validation", show_default=True, help="Tile sets: validation, train or all.")
@click.option("--cols", nargs=2, type=int, metavar="FIRST END", help="Only these columns, counted from 0.")
@click.option("--rows", nargs=2, type=int, metavar="FIRST END", help="Only these rows, counted from 0.")
@click.option("--gsd", type=float, help="Metres per pixel of a raster that does not say it.")
@click.option("--out", "-o", type=PATH, help="Folder for evaluation.json, evaluation.md and pictures.")
@click.option("--set", "overrides", help="One setting, e.g. block_m=5 or spray.section_m=3.", **SET)
@click.option("--label-set", "label_overrides", help="How to understand LABELS, e.g. column=species.", **SET)
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

    Scores of pixels, edges, plants, counts, confidence and of what the sprayer would do, with intervals.
    """
    from geoseg.train.evaluate_report import evaluate_pairs, evaluation_dict, evaluation_lines, write_report
    from geoseg.windows import Rect

    labels = labels or labels_option
    pairs, title = _pairs(found, labels, how)
    whole = (0, 2**62)
    (row0, row1), (col0, col1) = rows or whole, cols or whole
    scored = evaluate_pairs(pairs, _settings(how["overrides"]), Rect(row0, col0, row1, col1))
    if out is not None:
        write_report(scored, out, title)
    if as_json:
        click.echo(json.dumps(evaluation_dict(scored), indent=2))
        return
    click.echo("\n".join(evaluation_lines(scored)))
    if out is not None:
        click.echo(f"all figures and pictures in {out}")


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


def _settings(overrides: Sequence[str]) -> Any:
    from geoseg.config import load_as
    from geoseg.train.evaluate_settings import EvaluateConfig

    return load_as(EvaluateConfig, None, overrides)


class _Models(click.Group):
    """Understands ``geoseg models`` and ``geoseg models NAME`` as well, which list and show."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        first = args[0] if args else ""
        if not first or (first.startswith("-") and first not in ("-h", "--help")):
            args = ["list", *args]
        elif first not in self.commands and not first.startswith("-"):
            args = ["show", *args]
        return super().parse_args(context, args)


@click.group(cls=_Models)
def models() -> None:
    """Models: those that come with geoseg, the card of one, and to and from other programs."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the cards as JSON.")
def list_models(as_json: bool) -> None:
    """The models that come with geoseg."""
    from geoseg.models.card import shipped_models

    _print_cards([card.model_dump(mode="json") for card in shipped_models()], as_json)


@models.command("show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print the card as JSON.")
def show_model(name: str, as_json: bool) -> None:
    """The card of the model NAME, a shipped model or a model directory."""
    from geoseg.models.card import read_card

    _print_cards([read_card(name).model_dump(mode="json")], as_json)


def _print_cards(cards: list[dict[str, Any]], as_json: bool) -> None:
    from geoseg.report.text import card_lines

    click.echo(json.dumps(cards, indent=2) if as_json else "\n\n".join("\n".join(card_lines(card)) for card in cards))
