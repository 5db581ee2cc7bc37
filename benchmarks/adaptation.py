"""How far a field without labels gets: model as it was, row rule and adapted model, against labels that none saw.

    python benchmarks/adaptation.py drawn [--only NAME ...] [--model MODEL]
    python benchmarks/adaptation.py field ORTHO LABELS --model MODEL --out FOLDER [--cols 8320 9600]

`drawn` renders fields over row spacing, weeds, growth stage and more, and tells where the row rule breaks; with a
model, also what adapting it brings. `field` adapts MODEL to ORTHO without looking at LABELS and then scores all three
on them. Both print Markdown.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from scipy import ndimage

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
from geoseg.train.evaluate_objects import Matches, ObjectPass, match_objects
from geoseg.train.fieldspec import FieldSpec, infrared_spec
from geoseg.train.synthetic import SyntheticField, render, write
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
    "small weeds": {"weed_diameter_m": 0.018},
    "near infrared, red, green": {"infrared": True},
    "camera tilted by 15 degrees": {"tilt": 0.155},
    "camera tilted by 30 degrees": {"tilt": 0.333},
}
LEAST_OBJECT_M2 = 1e-4


def rendered(changes: dict[str, Any]) -> SyntheticField:
    """A field of `DRAWN`; a tilt is how much larger than in the middle the ground looks at the lower edge."""
    changes = PLAIN | changes
    tilt = changes.pop("tilt", 0.0)
    spec = FieldSpec(**{key: value for key, value in changes.items() if key != "infrared"})
    field = render(infrared_spec(spec) if changes.get("infrared") else spec)
    return tilted(field, tilt) if tilt else field


def tilted(field: SyntheticField, tilt: float) -> SyntheticField:
    """The field as a tilted camera sees it, with the georeference of an upright one.

    Args:
        field: As rendered.
        tilt: Tangent of the camera's tilt times that of half its angle of view.
    """
    height, width = field.labels.shape
    down, right = np.mgrid[0:height, 0:width] - np.array([height - 1, width - 1])[:, None, None] / 2
    scale = (1 - tilt) / (1 + tilt * down / (height / 2))  # the upper edge stays as it is
    places = np.stack([down * scale + (height - 1) / 2, right * scale + (width - 1) / 2])

    def moved(pixels: np.ndarray, order: int) -> np.ndarray:
        return np.asarray(ndimage.map_coordinates(pixels, places, order=order, mode="nearest"))

    image = np.stack([moved(band, 1) for band in field.image])
    return replace(field, image=image, labels=moved(field.labels, 0), instances=moved(field.instances, 0))


@dataclass(frozen=True)
class Found:
    """How good one is: scores of pixels, and F1 of (crop, weed) objects matched by their centres."""

    pixels: Scores
    objects: tuple[float, float]


def raster_scores(field: Field, labels: np.ndarray, part: Rect, what: FieldRule | Segmenter) -> Found:
    """Scores of a rule or a network on a part of a field, in windows.

    Objects are 4-connected regions of one class of a square centimetre or more.
    """
    margin = what.margin_px if isinstance(what, FieldRule) else what.card.tiling.margin_px
    truth, classes = np.full(part.shape, 255, np.uint8), np.zeros(part.shape, np.uint8)
    with field.source.reader(field.grid, field.outline) as reader:
        for window in windows(part.shape, 1024, margin, 16):
            read, to = (_moved(rect, part) for rect in (window.read, window.write))
            image, valid = reader.read(read)
            crop = window.crop.slices
            truth[window.write.slices] = np.where(valid[crop], labels[to.slices], 255)
            classes[window.write.slices] = _classes(what, image, read)[crop]
    known = truth != 255
    objects = ObjectPass()
    objects.add(0, np.where(known, truth, SOIL), np.where(known, classes, SOIL))
    matches = match_objects(*objects.finish(LEAST_OBJECT_M2 / field.gsd_m**2), 1.0)
    return Found(scores(confusion(truth, classes)), (_object_f1(matches, CROP), _object_f1(matches, WEED)))


def _object_f1(matches: Matches, code: int) -> float:
    there, here = matches.truth.code == code, matches.found.code == code
    hits = np.count_nonzero(matches.centre_truth[there])
    return 2 * hits / max(np.count_nonzero(there) + np.count_nonzero(here), 1)


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

    side, edge = min(640, *part.shape) // 32 * 32, 64  # networks take multiples of their stride
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


def row(name: str, found: Found, more: str = "") -> str:
    """A line of the table."""
    pixels = found.pixels
    values = (*pixels.f1[1:], np.nanmean(pixels.f1), *pixels.iou[1:], *found.objects)
    return f"| {name} | {' | '.join(f'{value:.3f}' for value in values)} | {more} |"


HEAD = (
    "| | crop F1 | weed F1 | macro F1 | crop IoU | weed IoU | crop objects F1 | weed objects F1 | |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def drawn(options: argparse.Namespace) -> None:
    """The row rule on rendered fields, and what adapting a model to them brings."""
    print(HEAD)
    for name in options.only or DRAWN:
        field = rendered(DRAWN[name])
        with tempfile.TemporaryDirectory() as folder:
            write(field, folder)
            try:
                _drawn(name, field, Path(folder), options)
            except InputError as error:
                print(f"| {name} | | | | | | | | refused: {str(error).partition(': ')[2]} |", flush=True)


def _drawn(name: str, field: SyntheticField, folder: Path, options: argparse.Namespace) -> None:
    """Lines of one rendered field."""
    started = time.perf_counter()
    where = open_field(folder / "ortho.tif")
    rule, whole = survey(where), Rect(0, 0, *where.shape)
    found = raster_scores(where, field.labels, whole, rule)
    more = f"{time.perf_counter() - started:.0f} s, contrast {rule.rule.contrast:.0f}"
    print(row(f"{name}: row rule" if options.model else name, found, more), flush=True)
    if options.model:
        print(row(f"{name}: model as it was", raster_scores(where, field.labels, whole, load(options.model))))
        started = time.perf_counter()
        config = load_as(AdaptConfig, None, [f"model={options.model}", *options.overrides])
        kept = adapt(folder / "ortho.tif", folder / "adapted", config).kept
        more = f"{(time.perf_counter() - started) / 60:.1f} minutes, kept: {kept}"
        taught = rule if kept == "row_rule" else load(str(folder / "adapted"))
        print(row(f"{name}: adapted", raster_scores(where, field.labels, whole, taught), more), flush=True)


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
    for model in options.supervised:
        print(row(f"with labels: {Path(model).name}", raster_scores(where, labels, part, load(model))), flush=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    rows = commands.add_parser("drawn")
    rows.add_argument("--only", nargs="+", choices=list(DRAWN))
    rows.add_argument("--model", help="adapt this one to each field, too")
    rows.set_defaults(run=drawn)
    field = commands.add_parser("field")
    for name in ("ortho", "labels", "--model", "--out"):
        field.add_argument(name, type=str if name == "--model" else Path, **({"required": True} if "-" in name else {}))
    field.add_argument("--supervised", nargs="+", default=[], help="models that have learnt labels of the field")
    field.add_argument("--picture", type=Path, help="draw a square of the field as each one sees it")
    field.add_argument("--cols", type=int, nargs=2)
    for one in (rows, field):
        one.add_argument("--set", dest="overrides", action="append", default=[])
    field.set_defaults(run=real)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
