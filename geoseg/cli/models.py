"""Models: those that come with geoseg, their cards, and to and from other programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from geoseg.cli.options import PAIRS, PATH, complete_models, image_config, keep_inputs
from geoseg.errors import ConfigError

__all__ = ["models"]


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
@click.option("--crs", help="ONNX: CRS of an ortho that has none, e.g. EPSG:32632.")
@click.option("--gsd", type=float, help="ONNX: metres per pixel of an ortho that has no georeference.")
@click.option("--set", "overrides", help="ONNX: how to read the ortho, e.g. ortho.bands=[5,3,2].", **PAIRS)
def export_model(
    name: str,
    form: str,
    out: Path | None,
    image: Path | None,
    size_px: int,
    crs: str | None,
    gsd: float | None,
    overrides: Sequence[str],
) -> None:
    """Write the model NAME for other programs: ONNX for QGIS' Deepness plugin, or a STAC item for a catalogue.

    An ONNX file is written only if it gives 99.9 % of the pixels of IMAGE the same class as the model itself.
    """
    if form == "stac":
        from geoseg.models.stac import write_stac

        click.echo(f"{write_stac(name, out)}")
        return
    if out is None or image is None:
        raise ConfigError("an ONNX file needs --out, where to write it, and --image, an ortho to compare on")
    keep_inputs(out, image)
    if out.suffix.lower() != ".onnx":
        raise ConfigError(f"--out {out} does not end in .onnx, by which other programs know such files")
    from geoseg.models.onnx import card_for, export_onnx, real_windows
    from geoseg.models.storage import load_module

    reading = image_config(overrides, crs, gsd)
    card, module = load_module(name)
    card = card_for(card, image, reading)
    images = real_windows(image, card, size_px, config=reading)
    parity = export_onnx(card, module, images, out, size_px)
    click.echo(f"{out}: same class as torch on {parity:.4%} of {len(images) * size_px**2:,} pixels")


@models.command("quantize")
@click.argument("folder", type=PATH)
@click.argument("sets", type=PATH, nargs=-1, required=True)
@click.option("--set", "overrides", help="Change a setting, e.g. images=200.", **PAIRS)
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
@click.option("--param", "params", help="Plain weights: its argument, e.g. encoder=resnet18.", **PAIRS)
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
