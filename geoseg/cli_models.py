"""Commands about models: how good, how fast, and to and from other programs. Imports nothing heavy until one runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from geoseg.cli_options import PATH, complete_models, set_option
from geoseg.errors import ConfigError

__all__ = ["benchmark", "evaluate", "models"]

SET: dict[str, Any] = {"multiple": True, "metavar": "KEY=VALUE"}


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
@click.option("--label-set", "label_overrides", help="How to understand LABELS, e.g. column=species.", **SET)
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
    from geoseg.models.card import CARD, ModelCard
    from geoseg.train.evaluate_tiles import tile_pairs
    from geoseg.train.evaluate_tune import margins_of, tune_card

    folder = Path(how["model"] or "default")
    if not (folder / CARD).is_file():
        raise ConfigError(f"--tune-recall writes to the card of a model directory; copy {folder} and name the copy")
    pairs = tile_pairs(found, load(folder), None if how["split"] == "all" else how["split"])
    margins = margins_of(pairs, _settings(how["overrides"]).spray)
    card = ModelCard.read(folder / CARD)
    card = tune_card(card, margins, how["tune_recall"], how["tune_on"], apply=how["apply"])
    card.write(folder / CARD)
    name, point = next(reversed(card.thresholds.items()))
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
    from geoseg.config import load_as
    from geoseg.train.evaluate_settings import EvaluateConfig

    return load_as(EvaluateConfig, None, overrides)


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


class _Models(click.Group):
    """Understands ``geoseg models`` and ``geoseg models NAME`` as well, which list and show."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        if context.resilient_parsing and not args:  # a shell asks what may follow
            return super().parse_args(context, args)
        first = args[0] if args else ""
        if not first or (first.startswith("-") and first not in ("-h", "--help")):
            args = ["list", *args]
        elif first not in self.commands and not first.startswith("-"):
            args = ["show", *args]
        return super().parse_args(context, args)

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
        """Shipped models beside the commands."""
        found = complete_models(context, click.Argument(["name"]), incomplete)
        named = [item for item in found if item.type == "plain"]
        return [*named, *super().shell_complete(context, incomplete)]


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
@click.argument("name", shell_complete=complete_models)
@click.option("--json", "as_json", is_flag=True, help="Print the card as JSON.")
@click.option("--stac", is_flag=True, help="Print it as a STAC item with the Machine Learning Model extension.")
def show_model(name: str, as_json: bool, stac: bool) -> None:
    """The card of the model NAME, a shipped model or a model directory."""
    if stac:
        from geoseg.models.stac import stac_item

        click.echo(json.dumps(stac_item(name), indent=2, ensure_ascii=False))
        return
    from geoseg.models.card import read_card

    _print_cards([read_card(name).model_dump(mode="json")], as_json)


@models.command("export")
@click.argument("name", shell_complete=complete_models)
@click.option("--to", "form", type=click.Choice(["onnx", "stac"]), default="onnx", show_default=True)
@click.option(
    "--out", "-o", type=PATH, help="The file to write; a STAC item lies beside the card unless said otherwise."
)
@click.option("--image", type=PATH, help="ONNX: an ortho on whose windows the file must agree with torch.")
@click.option("--size", "size_px", type=int, default=512, show_default=True, help="ONNX: side of the tiles, pixels.")
def export_model(name: str, form: str, out: Path | None, image: Path | None, size_px: int) -> None:
    """Write the model NAME for other programs: ONNX for QGIS' Deepness plugin, or a STAC item for a catalogue.

    An ONNX file is written only if it gives 99.9 % of the pixels of IMAGE the same class as the model itself.
    """
    if form == "stac":
        from geoseg.models.stac import write_stac

        click.echo(f"{write_stac(name, out)}")
        return
    if out is None or image is None:
        raise ConfigError("an ONNX file needs --out, where to write it, and --image, an ortho to compare on")
    from geoseg.models.onnx import card_for, export_onnx, real_windows
    from geoseg.models.storage import load_module

    card, module = load_module(name)
    card = card_for(card, image)
    images = real_windows(image, card, size_px)
    parity = export_onnx(card, module, images, out, size_px)
    click.echo(f"{out}: same class as torch on {parity:.4%} of {len(images) * size_px**2:,} pixels")


@models.command("quantize")
@click.argument("folder", type=PATH)
@click.argument("sets", type=PATH, nargs=-1, required=True)
@click.option("--set", "overrides", help="Change a setting, e.g. images=200.", **SET)
def quantize_model(folder: Path, sets: tuple[Path, ...], overrides: Sequence[str]) -> None:
    """Add a version in 8 bits to the model directory FOLDER; tile sets SETS show it what flows through the network.

    On processors that multiply bytes (VNNI) it is faster than 16 bits, and is taken by itself. It is written only if
    99.5 % of the pixels of the validation tiles keep their class and no source loses more than 0.002 of mIoU.
    """
    from geoseg.config import load_as
    from geoseg.train.quantize import BACKEND, QuantizeConfig, quantize

    card = quantize(folder, sets, load_as(QuantizeConfig, None, overrides))
    click.echo(f"{folder}: same class as torch on {card.parity[BACKEND]:.4%} of the validation pixels")


@models.command("import")
@click.argument("weights", type=PATH)
@click.option("--out", "-o", type=PATH, required=True, help="The model directory to make.")
@click.option("--name", required=True, help="Short name, lower case.")
@click.option("--mean", required=True, help="Per band, subtracted from pixels brought to 0..1, e.g. 0.5,0.5,0.5.")
@click.option("--std", required=True, help="Per band, divided by, e.g. 0.5,0.5,0.5.")
@click.option("--gsd", required=True, help="Finest, commonest and coarsest metres per pixel, e.g. 0.002,0.003,0.005.")
@click.option("--licence", required=True, help="SPDX name of the weights' licence, e.g. CC-BY-4.0.")
@click.option("--classes", default="soil,crop,weed", show_default=True, help="Classes in the order of the outputs.")
@click.option("--bands", default="red,green,blue", show_default=True, help="Bands in order.")
@click.option("--architecture", help="Plain weights: its name; see docs/models.md.")
@click.option("--param", "params", help="Plain weights: an argument of the architecture, e.g. encoder=resnet18.", **SET)
@click.option("--description", default="Imported.", help="One sentence.")
@click.option("--attribution", multiple=True, help="Where data or weights come from.")
def import_weights(weights: Path, out: Path, **facts: Any) -> None:
    """Make a model directory of WEIGHTS: a checkpoint of a torchgeo SemanticSegmentationTask, or plain weights."""
    from geoseg.models.imports import Known, import_model

    for name in ("mean", "std", "gsd"):
        facts[name] = _numbers(name, facts[name])
    for name in ("classes", "bands"):
        facts[name] = tuple(word.strip() for word in facts[name].split(","))
    if len(facts["gsd"]) != 3:
        raise ConfigError(f"--gsd holds {len(facts['gsd'])} numbers; expected finest, commonest and coarsest")
    facts["gsd_m"] = facts.pop("gsd")
    card = import_model(weights, out, Known(**facts | {"params": _params(facts["params"])}))
    _print_cards([card.model_dump(mode="json")], as_json=False)
    click.echo(f"score it with   geoseg evaluate TILES --model {out}")


def _numbers(name: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise ConfigError(f"--{name} is {text!r}; expected numbers with commas between, e.g. 0.5,0.5,0.5") from None


@dataclass(frozen=True)
class _Params:
    params: dict[str, Any] = field(default_factory=dict)


def _params(pairs: Sequence[str]) -> dict[str, Any]:
    from geoseg.config import load_as

    return load_as(_Params, None, [f"params.{pair}" for pair in pairs]).params


def _print_cards(cards: list[dict[str, Any]], as_json: bool) -> None:
    from geoseg.report.text import card_lines

    click.echo(json.dumps(cards, indent=2) if as_json else "\n\n".join("\n".join(card_lines(card)) for card in cards))
