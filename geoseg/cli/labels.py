"""Labels for training: look for mistakes in them, and bring them from one format into another."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from geoseg.cli.options import PATH, complete_models, image_config, keep_inputs, set_option
from geoseg.errors import ConfigError

__all__ = ["labels"]


@click.group()
def labels() -> None:
    """Labels for training: check them, and bring them from one format into another."""


def _label_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How to understand label files and the image, handed to the command as `label` and `image`."""

    @set_option("labels", "column=species, radius_m=0.03 or, of the image, ortho.value_max=4095")
    @click.option("--crs", help="CRS of an ortho that has none, e.g. EPSG:32632.")
    @click.option("--gsd", type=float, help="Metres per pixel of an ortho that has no georeference.")
    @functools.wraps(command)
    def wrapped(overrides: tuple[str, ...], crs: str | None, gsd: float | None, **options: Any) -> Any:
        from geoseg.config import load_as
        from geoseg.train.labelfiles import LabelConfig

        of_image = [one for one in overrides if one.startswith("ortho.")]
        label = load_as(LabelConfig, None, [one for one in overrides if one not in of_image])
        return command(label=label, image=image_config(of_image, crs, gsd), **options)

    return wrapped


def _area_of(how: dict[str, Any]) -> Path | None:
    area = how["label"].labelled_area
    return None if area is None else Path(area)


@labels.command("check")
@click.argument("ortho", type=PATH)
@click.argument("labels", type=PATH)
@click.option("--out", "-o", type=PATH, default=Path("suspicious.gpkg"), show_default=True, help="The layer to write.")
@click.option("--model", "-m", shell_complete=complete_models, help="Also tell where this model disagrees and is sure.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
@_label_options
def labels_check(ortho: Path, labels: Path, out: Path, model: str | None, as_json: bool, **how: Any) -> None:
    """What may be wrong with LABELS of ORTHO, as a layer for QGIS, the most suspicious first."""
    from geoseg.export.labels import check_replaceable, write_suspicious
    from geoseg.train.labelcheck import check_labels, count_kinds

    keep_inputs(out, ortho, labels, _area_of(how))
    check_replaceable(out)
    findings = check_labels(ortho, labels, model=model, **how)
    write_suspicious(findings, out)
    counts = count_kinds(findings)
    lines = [f"{count:6d}  {kind}" for kind, count in counts.items()]
    click.echo(json.dumps(counts, indent=2) if as_json else "\n".join([*lines, f"look at them in {out}"]))


@labels.command("convert")
@click.argument("labels", type=PATH)
@click.option("--ortho", type=PATH, required=True, help="The image that they belong to.")
@click.option(
    "--out", "-o", type=PATH, required=True, help="x.tif, x.gpkg, x.geojson, x.json (COCO) or a folder (YOLO)."
)
@click.option("--tile-px", type=click.IntRange(16), help="COCO and YOLO: cut the image into tiles of this side.")
@click.option("--overwrite", is_flag=True, help="Write over a file that is there, with all of its layers.")
@_label_options
def labels_convert(labels: Path, ortho: Path, out: Path, tile_px: int | None, overwrite: bool, **how: Any) -> None:
    """LABELS, or the classes of a run directory, in another format."""
    from geoseg.export.labels import write_any
    from geoseg.train.labels import labels_of, write_labels

    keep_inputs(out, ortho, labels, _area_of(how))
    if out.is_file() and not overwrite:
        raise ConfigError(
            f"{out} is there already, perhaps corrected by hand; choose another --out, or give --overwrite"
        )
    with labels_of(ortho, how["image"], labels, how["label"]) as opened:
        if out.suffix == ".tif":
            counts = write_labels(opened, out)
            click.echo(", ".join(f"{name} {count} px" for name, count in counts.items()))
        else:
            click.echo(f"{write_any(opened, out, ortho, tile_px)} labels in {out}")
