"""From labelled imagery to a model: tile sets and training."""

from __future__ import annotations

from pathlib import Path

import click

from geoseg.cli.options import PATH, set_option

__all__ = ["tile", "train"]


@click.command()
@click.argument("config_file", type=PATH)
@click.option("--out", "-o", type=PATH, required=True, help="The tile set to make.")
@set_option("tile", "tile_px=512")
def tile(config_file: Path, out: Path, overrides: tuple[str, ...]) -> None:
    """Cut labelled imagery into a tile set for training, as CONFIG_FILE says."""
    from geoseg.config import load_as
    from geoseg.train.tilecutting import TileConfig, make_tiles
    from geoseg.train.tiles import summary_lines

    count = make_tiles(load_as(TileConfig, config_file, overrides), out)
    click.echo("\n".join([f"{count} tiles in {out}", *summary_lines(out)]))


@click.command()
@click.argument("config_file", type=PATH)
@click.option("--out", "-o", type=PATH, required=True, help="The model directory to make.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Where to train.  [default: auto]")
@set_option("train", "steps=400")
def train(config_file: Path, out: Path, device: str | None, overrides: tuple[str, ...]) -> None:
    """Train a model on tile sets, as CONFIG_FILE says."""
    from geoseg.config import load_as
    from geoseg.report.text import card_lines
    from geoseg.train.checkpoint import CHECKPOINT
    from geoseg.train.fit import TrainConfig, fit

    given = overrides if device is None else (*overrides, f"device={device}")
    try:
        card = fit(load_as(TrainConfig, config_file, given), out)
    except KeyboardInterrupt:
        if (out / CHECKPOINT).exists():
            click.echo("\nstopped; the same command goes on at the last checkpoint", err=True)
        raise
    click.echo("\n".join(card_lines(card.model_dump(mode="json"))))
    click.echo(f"use it with   geoseg run ORTHO --model {out}")
