"""How far a field without labels gets: model as it was, row rule and adapted model, against labels that none saw.

    python benchmarks/adaptation.py drawn
    python benchmarks/adaptation.py field ORTHO LABELS --model MODEL --out FOLDER [--cols 8320 9600]

`drawn` renders fields over row spacing, weeds, growth stage and more, and tells where the row rule breaks. `field`
adapts MODEL to ORTHO without looking at LABELS and then scores all three on them. Both print Markdown.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from geoseg.adapt.adaptation import AdaptConfig, adapt
from geoseg.adapt.field import Field, open_field
from geoseg.adapt.fieldrule import FieldRule, survey
from geoseg.config import load_as
from geoseg.errors import InputError
from geoseg.legend import CROP, LEGEND, SOIL, WEED
from geoseg.models import load
from geoseg.models.card import Segmenter
from geoseg.segment.forward import classify
from geoseg.train.evaluate import Scores, confusion, scores
from geoseg.train.fieldspec import FieldSpec
from geoseg.train.synthetic import render, write
from geoseg.windows import Rect, windows

PLAIN: dict[str, Any] = {
    "seed": 11, "height_px": 1200, "width_px": 1200, "gsd_m": 0.005, "heading_deg": 25.0, "margin_share": 0.0,
    "row_spacing_m": 0.5, "plant_spacing_m": 0.2, "plant_diameter_m": 0.12, "weeds_per_m2": 8.0,
    "weed_diameter_m": 0.035, "weed_clustering": 0.3, "in_row_weed_share": 0.0, "missing_share": 0.05, "noise": 5.0,
}  # fmt: skip
DRAWN: dict[str, dict[str, Any]] = {
    "plain: rows 0.5 m, 8 weeds/m²": {},
    "rows 0.25 m": {"row_spacing_m": 0.25, "plant_spacing_m": 0.12, "plant_diameter_m": 0.07},
    "rows 0.75 m": {"row_spacing_m": 0.75},
    "2 weeds/m²": {"weeds_per_m2": 2.0},
    "40 weeds/m²": {"weeds_per_m2": 40.0},
    "weeds in patches": {"weed_clustering": 1.0},
    "half of the weeds in the row": {"in_row_weed_share": 0.5},
    "weeds as large as the crop": {"weed_diameter_m": 0.10},
    "seedlings": {"plant_diameter_m": 0.04, "weed_diameter_m": 0.02},
    "40 % of the plants missing": {"missing_share": 0.4},
    "large plants, rows nearly closed": {"plant_diameter_m": 0.38},
    "closed canopy": {"plant_diameter_m": 0.7},
    "no rows: weeds only": {"plant_spacing_m": 9.9, "weeds_per_m2": 60.0},
}


def raster_scores(field: Field, labels: np.ndarray, part: Rect, what: FieldRule | Segmenter) -> Scores:
    """Scores of a rule or a network on a part of a field, in windows."""
    margin = what.margin_px if isinstance(what, FieldRule) else what.card.tiling.margin_px
    matrix = np.zeros((3, 3), np.int64)
    with field.source.reader(field.grid, field.outline) as reader:
        for window in windows(part.shape, 1024, margin, 16):
            read, to = (_moved(rect, part) for rect in (window.read, window.write))
            image, valid = reader.read(read)
            crop = window.crop.slices
            truth = np.where(valid[crop], labels[to.slices], 255)
            matrix += confusion(truth, _classes(what, image, read)[crop])
    return scores(matrix)


def _classes(what: FieldRule | Segmenter, image: np.ndarray, read: Rect) -> np.ndarray:
    """(H, W) classes of an image whose place in the field is `read`."""
    if isinstance(what, FieldRule):
        return what.classify(image, read)[0]
    if hasattr(what, "classify"):
        return np.asarray(what.classify(image[None])[0][0])
    return np.asarray(classify(what(image[None]))[0][0])


def picture(path: Path, field: Field, labels: np.ndarray, part: Rect, all_of: dict[str, FieldRule | Segmenter]) -> None:
    """The same square of the field as a picture, as labelled and as each one sees it, written as an image."""
    from matplotlib import pyplot as plt
    from matplotlib.colors import ListedColormap

    side, edge = 640, 64
    row, col = (part.row0 + part.row1 - side) // 2, (part.col0 + part.col1 - side) // 2
    square = Rect(row, col, row + side, col + side)
    with field.source.reader(field.grid, field.outline) as reader:
        image = reader.read(square)[0]
        panels = {"picture": image[:3].transpose(1, 2, 0), "labels": labels[square.slices]}
        for name, what in all_of.items():
            margin = what.margin_px if isinstance(what, FieldRule) else edge
            around = square.grow(margin)
            inner = slice(margin, -margin)
            panels[name] = _classes(what, reader.read(around)[0], around)[inner, inner]
    colours = ListedColormap([[part / 255 for part in LEGEND[code].rgb] for code in (SOIL, CROP, WEED)])
    figure, axes = plt.subplots(1, len(panels), figsize=(3 * len(panels), 3.3), layout="constrained")
    for axis, (name, pixels) in zip(axes, panels.items(), strict=True):
        axis.imshow(pixels, **({} if pixels.ndim == 3 else {"cmap": colours, "vmin": 0, "vmax": 2}))
        axis.set_title(name)
        axis.set_axis_off()
    figure.savefig(path, dpi=100, pil_kwargs={"quality": 85} if path.suffix == ".jpg" else None)


def _moved(rect: Rect, part: Rect) -> Rect:
    return Rect(rect.row0 + part.row0, rect.col0 + part.col0, rect.row1 + part.row0, rect.col1 + part.col0)


def row(name: str, found: Scores, more: str = "") -> str:
    """A line of the table."""
    f1 = " | ".join(f"{value:.3f}" for value in (*found.f1[1:], np.nanmean(found.f1)))
    iou = " | ".join(f"{value:.3f}" for value in found.iou[1:])
    return f"| {name} | {f1} | {iou} | {more} |"


HEAD = "| | crop F1 | weed F1 | macro F1 | crop IoU | weed IoU | |\n|---|---|---|---|---|---|---|"


def drawn() -> None:
    """The row rule on rendered fields."""
    print(HEAD)
    for name, changes in DRAWN.items():
        field = render(FieldSpec(**(PLAIN | changes)))
        with tempfile.TemporaryDirectory() as folder:
            write(field, folder)
            started = time.perf_counter()
            where = open_field(Path(folder) / "ortho.tif")
            try:
                rule = survey(where)
                found = raster_scores(where, field.labels, Rect(0, 0, *where.shape), rule)
                seconds = f"{time.perf_counter() - started:.0f} s, contrast {rule.rule.contrast:.0f}"
                print(row(name, found, seconds), flush=True)
            except InputError as error:
                print(f"| {name} | | | | | | refused: {str(error).partition(': ')[2]} |", flush=True)


def real(options: argparse.Namespace) -> None:
    """All three on a field with labels."""
    config = load_as(AdaptConfig, None, [f"model={options.model}", *options.overrides])
    started = time.perf_counter()
    found = adapt(options.ortho, options.out, config)
    minutes = (time.perf_counter() - started) / 60
    where = open_field(options.ortho)
    with rasterio.open(options.labels) as raster:
        labels = raster.read(1)
    cols = options.cols or (0, where.shape[1])
    part = Rect(0, cols[0], where.shape[0], cols[1])
    print("\n".join(found.lines()))
    print(f"kept: {found.kept}; {minutes:.1f} minutes; label noise {found.card.training.get('label_noise')}\n{HEAD}")
    kinds = {"model as it was": load(options.model), "row rule": survey(where)}
    if found.kept != "row_rule":
        kinds["adapted"] = load(options.out)
    for name, what in kinds.items():
        more = f"{minutes:.1f} min" if name == "adapted" else ""
        print(row(name, raster_scores(where, labels, part, what), more), flush=True)
    if options.picture:
        picture(options.picture, where, labels, part, kinds)
    if options.supervised:
        print(row("supervised", raster_scores(where, labels, part, load(options.supervised))), flush=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    commands.add_parser("drawn").set_defaults(run=lambda _: drawn())
    field = commands.add_parser("field")
    for name in ("ortho", "labels", "--model", "--out"):
        field.add_argument(name, type=str if name == "--model" else Path, **({"required": True} if "-" in name else {}))
    field.add_argument("--supervised")
    field.add_argument("--picture", type=Path, help="draw a square of the field as each one sees it")
    field.add_argument("--cols", type=int, nargs=2)
    field.add_argument("--set", dest="overrides", action="append", default=[])
    field.set_defaults(run=real)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
