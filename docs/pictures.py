"""Make the pictures of these pages anew, from the demo field, the labelled fields and the default model.

``python docs/pictures.py --runs FOLDER --fields FOLDER [NAME ...]`` writes ``docs/images/NAME.*``, all without a name.
FOLDER of ``--runs`` keeps the two runs (`geoseg-demo`, `potato`) and a rendered field; what is missing is made.
FOLDER of ``--fields`` holds the labelled fields `potato` (MIT, PrecisionAg Lab) and `maize` (CC BY 4.0, WeedsGalore).
Places are not chosen by hand where a picture shows an error: they are the windows with most wrong pixels.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from rasterio.features import rasterize
from rasterio.windows import Window
from scipy import ndimage

import geoseg
from geoseg.legend import CROP, LEGEND, SOIL, WEED
from geoseg.train.synthetic import FieldSpec, render, write

IMAGES = Path(__file__).resolve().parent / "images"
VALIDATION = slice(8320, 9600)  # columns of the potato field that the default model was not trained on
SPRAY = "#08519c"


@dataclass(frozen=True)
class Sources:
    """Where everything comes from.

    Attributes:
        runs: Folder of runs.
        fields: Folder of labelled fields.
    """

    runs: Path
    fields: Path

    @cached_property
    def demo(self) -> Path:
        """The run of the demo field."""
        if not (self.runs / "geoseg-demo" / "summary.json").exists():
            subprocess.run([sys.executable, "-m", "geoseg", "demo"], cwd=self.runs, check=True)
        return self.runs / "geoseg-demo"

    @cached_property
    def potato(self) -> Path:
        """The run of the potato field."""
        return self.run("potato", self.fields / "potato" / "ortho.tif")

    @cached_property
    def canopy(self) -> Path:
        """A rendered field whose plants have grown together; its truth lies in `input`."""
        folder = self.runs / "canopy"
        if not folder.exists():
            spec = FieldSpec(
                seed=11, height_px=1500, width_px=1500, gsd_m=0.004, plant_diameter_m=0.42, margin_share=0.0
            )
            write(render(spec), folder / "input")
        return self.run("canopy", folder / "input" / "ortho.tif")

    def run(self, name: str, ortho: Path) -> Path:
        """A run directory, made if it is missing."""
        if not (self.runs / name / "summary.json").exists():
            geoseg.run(ortho, self.runs / name)
        return self.runs / name


def read(path: Path, window: Window | None = None) -> np.ndarray:
    """The first band, or red, green and blue, as (H, W) or (H, W, 3)."""
    with rasterio.open(path) as source:
        if source.count < 3:
            return source.read(1, window=window)
        return np.moveaxis(source.read([1, 2, 3], window=window), 0, -1)


def painted(image: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The image in grey with crop and weed in their colours."""
    grey = image.mean(axis=-1, keepdims=True).repeat(3, axis=-1) * 0.6 + 90
    for code in (CROP, WEED):
        grey[classes == code] = LEGEND[code].rgb
    return np.clip(grey, 0, 255).astype(np.uint8)


def figure(columns: int, rows: int = 1, width: float = 10.0, aspect: float = 1.0) -> tuple[Figure, Any]:
    """A figure of panels without axes; `aspect` is height by width of a panel."""
    height = width / columns * aspect * rows + 0.16 * rows + 0.16
    fig = Figure(figsize=(width, height), dpi=110, layout="constrained")
    panels = fig.subplots(rows, columns, squeeze=False)
    for panel in panels.flat:
        panel.set_xticks([])
        panel.set_yticks([])
    return fig, panels


def show(panel: Any, image: np.ndarray, title: str = "") -> None:
    """An image in a panel."""
    panel.imshow(image, interpolation="nearest" if max(image.shape[:2]) < 300 else "antialiased")
    panel.set_title(title, fontsize=11)


def save(fig: Figure, name: str, quality: int = 84) -> None:
    """Write `name`; photographs as JPEG, drawings as PNG."""
    options = {"quality": quality, "optimize": True} if name.endswith(".jpg") else {"optimize": True}
    fig.savefig(IMAGES / name, pil_kwargs=options)
    size = (IMAGES / name).stat().st_size
    print(f"{name}: {size / 1000:.0f} kB")
    if size > 300_000:
        raise SystemExit(f"{name} has {size:,} bytes; pages should not need more than 300,000")


def close_up(demo: Path, row: int = 2660, col: int = 2250, size: int = 700) -> Window:
    """Where the tutorial looks closely: around the densest patch of weeds of the demo field."""
    weeds = read(demo / "classes.tif") == WEED
    dense = ndimage.uniform_filter(weeds.astype(np.float32), size)
    row, col = np.unravel_index(dense.argmax(), dense.shape)
    row, col = (
        int(np.clip(place - size // 2, 0, top - size)) for place, top in zip((row, col), weeds.shape, strict=True)
    )
    return Window(col, row, size, size)


def tutorial_flight(sources: Sources) -> None:
    """The whole demo field, and a part of it."""
    window = close_up(sources.demo)
    whole = read(sources.demo / "preview.tif")
    ortho = sources.demo / "input" / "ortho.tif"
    with rasterio.open(ortho) as source:
        scale, valid = whole.shape[1] / source.width, source.dataset_mask(out_shape=whole.shape[:2])
    whole[valid == 0] = 255
    fig, panels = figure(2, aspect=0.75)
    show(panels[0, 0], whole, "the whole field")
    place = (window.col_off * scale, window.row_off * scale)
    panels[0, 0].add_patch(
        Rectangle(place, window.width * scale, window.height * scale, fill=False, ec="white", lw=1.5)
    )
    show(panels[0, 1], read(ortho, window), "the white square, 2.8 m wide")
    save(fig, "tutorial_flight.jpg")


def tutorial_classes(sources: Sources) -> None:
    """The same part as a photograph, as classes, and as plants with their rows."""
    window = close_up(sources.demo)
    image = read(sources.demo / "input" / "ortho.tif", window)
    classes = read(sources.demo / "classes.tif", window)
    fig, panels = figure(3)
    show(panels[0, 0], image, "photograph")
    show(panels[0, 1], painted(image, classes), "crop and weed")
    grey = painted(image, np.zeros_like(classes))
    show(panels[0, 2], grey, "plants, rows and gaps")
    with rasterio.open(sources.demo / "classes.tif") as source:
        back = ~source.window_transform(window)
    for layer, style in (
        ("rows", {"color": "black", "lw": 0.8}),
        ("gaps", {"color": "#cc79a7", "lw": 4, "alpha": 0.8}),
    ):
        for line in gpd.read_file(sources.demo / "field.gpkg", layer=layer).geometry.explode():
            panels[0, 2].plot(*(back * np.array(line.coords.xy)), **style)
    for layer, code in (("plants", CROP), ("weed_plants", WEED)):
        points = gpd.read_file(sources.demo / "field.gpkg", layer=layer).geometry
        panels[0, 2].plot(
            *(back * (points.x.to_numpy(), points.y.to_numpy())), "o", ms=5, mec="white", mew=0.5, c=LEGEND[code].hex
        )
    panels[0, 2].set(xlim=(0, window.width), ylim=(window.height, 0))
    save(fig, "tutorial_classes.jpg")


def tutorial_prescription(sources: Sources) -> None:
    """Weeds, what triggers and what is sprayed, on a part of the demo field."""
    field = sources.demo / "field.gpkg"
    zones, weeds, edge = (gpd.read_file(field, layer=name) for name in ("prescription", "weeds", "boundary"))
    fig, panels = figure(1, width=8, aspect=0.72)
    panel = panels[0, 0]
    zones[zones.rate_l_ha > 0].plot(ax=panel, color="#9ecae1", edgecolor=SPRAY, lw=0.8)
    centres = weeds.geometry.centroid
    panel.scatter(centres.x, centres.y, s=np.maximum(2, weeds.area_m2 * 3000), c=LEGEND[WEED].hex, lw=0)
    edge.boundary.plot(ax=panel, color="black", lw=1)
    panel.set(xticks=[], yticks=[], xlabel="", ylabel="", frame_on=False)
    save(fig, "tutorial_prescription.png")


def tutorial_curves(sources: Sources) -> None:
    """What other thresholds and sections would save and miss: the picture of `geoseg simulate`."""
    subprocess.run(
        [sys.executable, "-m", "geoseg", "simulate", str(sources.demo), "--machine", "spot_24m_nozzles"],
        check=True,
        capture_output=True,
    )
    with Image.open(sources.demo / "simulation" / "curves.png") as picture:
        picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=64).save(
            IMAGES / "tutorial_curves.png", optimize=True
        )


def instances(potato: Path, window: Window) -> tuple[np.ndarray, gpd.GeoDataFrame]:
    """Plant outlines of a part of a run, and the same as a raster of numbers from 1."""
    with rasterio.open(potato / "classes.tif") as source:
        transform = source.window_transform(window)
        bounds = source.window_bounds(window)
    plants = gpd.read_file(potato / "field.gpkg", layer="plant_outlines", bbox=bounds).reset_index(drop=True)
    shapes = [(shape, number + 1) for number, shape in enumerate(plants.geometry)]
    raster = rasterize(shapes, (int(window.height), int(window.width)), transform=transform, dtype="int32")
    plants["col"], plants["row"] = ~transform * (plants.geometry.centroid.x, plants.geometry.centroid.y)
    return raster, plants


def segmentation_kinds(sources: Sources) -> None:
    """The same plants as boxes, classes, instances, and instances with classes."""
    window = Window(9010, 2440, 420, 420)
    image = read(sources.fields / "potato" / "ortho.tif", window)
    classes = read(sources.potato / "classes.tif", window)
    numbers, plants = instances(sources.potato, window)
    fig, panels = figure(4, width=11)
    show(panels[0, 0], image, "detection: boxes")
    for number, box in enumerate(ndimage.find_objects(numbers)):
        if box is not None:
            code = CROP if plants["class"][number] == "crop" else WEED
            place, size = (box[1].start, box[0].start), (box[1].stop - box[1].start, box[0].stop - box[0].start)
            panels[0, 0].add_patch(Rectangle(place, *size, fill=False, ec=("#00ffb0", "#ff9040")[code == WEED], lw=1.3))
    show(panels[0, 1], painted(image, classes), "semantic: a class per pixel")
    colours = np.vstack([[0, 0, 0], colormaps["tab20"].colors * 20])[:, :3] * 255
    grey = painted(image, np.zeros_like(classes))
    some = np.where(numbers[..., None] > 0, colours[numbers % 20 + (numbers > 0)], grey).astype(np.uint8)
    show(panels[0, 2], some, "instance: one plant, one colour")
    whole = painted(image, classes)
    whole[ndimage.grey_dilation(numbers, 5) != ndimage.grey_erosion(numbers, 5)] = 255
    show(panels[0, 3], whole, "panoptic: both")
    save(fig, "segmentation_kinds.jpg")


def segmentation_labels(sources: Sources) -> None:
    """What an outline two or three pixels beside the plant does to the score of a perfect map."""
    window = Window(8690, 4980, 180, 180)
    image = read(sources.fields / "potato" / "ortho.tif", window)
    labels = read(sources.fields / "potato" / "labels.tif")
    fig, panels = figure(3)
    show(panels[0, 0], image, "drawn with care")
    outline(panels[0, 0], labels[window.toslices()], "white")
    for panel, (title, made) in zip(panels[0, 1:], sloppy(labels).items(), strict=True):
        show(panel, image, f"{title}: weed IoU {iou(made == WEED, labels == WEED):.2f}")
        outline(panel, labels[window.toslices()], "white")
        outline(panel, made[window.toslices()], "#ff40ff")
    save(fig, "segmentation_labels.jpg")


def outline(panel: Any, classes: np.ndarray, colour: str) -> None:
    """The edges of crop and weed as lines."""
    panel.contour(classes > SOIL, levels=[0.5], colors=[colour], linewidths=1.6)


def sloppy(labels: np.ndarray) -> dict[str, np.ndarray]:
    """Labels drawn without care."""
    wide = labels.copy()
    for code in (CROP, WEED):
        wide[ndimage.binary_dilation(labels == code, iterations=3) & (labels == SOIL)] = code
    return {"3 pixels aside": np.roll(labels, (3, 0), (0, 1)), "3 pixels too wide": wide}


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two masks."""
    return float((one & other).sum() / (one | other).sum())


def worst(wrong: np.ndarray, size: int, number: int) -> list[Window]:
    """The windows with most wrong pixels, apart from each other; columns are those of the whole field."""
    density = ndimage.uniform_filter(wrong.astype(np.float32), size, mode="constant")
    density = density[size // 2 : wrong.shape[0] - size // 2, size // 2 : wrong.shape[1] - size // 2]
    found = []
    for _ in range(number):
        row, col = (int(place) for place in np.unravel_index(density.argmax(), density.shape))
        density[max(0, row - size) : row + size, max(0, col - size) : col + size] = 0
        there = np.argwhere(wrong[row : row + size, col : col + size]).mean(axis=0).astype(int) - size // 2
        row, col = (
            int(np.clip(place + shift, 0, top - size))
            for place, shift, top in zip((row, col), there, wrong.shape, strict=True)
        )
        found.append(Window(col + VALIDATION.start, row, size, size))
    return found


def potato_errors(sources: Sources, name: str, wrong: Callable[..., np.ndarray], titles: tuple[str, str]) -> None:
    """Photograph, labels and prediction where an error is commonest, with its pixels circled."""
    part = Window(VALIDATION.start, 0, VALIDATION.stop - VALIDATION.start, 6400)
    ortho, labels = (sources.fields / "potato" / file for file in ("ortho.tif", "labels.tif"))
    found = sources.potato / "classes.tif"
    places = worst(wrong(read(labels, part), read(found, part), read(ortho, part)), 330, 2)
    fig, panels = figure(3, 2, width=9)
    for row, window in zip(panels, places, strict=True):
        image, truth, given = (read(path, window) for path in (ortho, labels, found))
        for panel, shown, title in zip(
            row, (image, painted(image, truth), painted(image, given)), ("photograph", *titles), strict=True
        ):
            show(panel, shown, title if window is places[0] else "")
            circle(panel, wrong(truth, given, image))
    save(fig, f"failure_{name}.jpg")


def circle(panel: Any, wrong: np.ndarray, least: int = 60) -> None:
    """Rings around the regions that are wrong."""
    regions, _ = ndimage.label(ndimage.binary_dilation(wrong, iterations=4))
    for number, box in enumerate(ndimage.find_objects(regions), 1):
        if wrong[box][regions[box] == number].sum() >= least:
            middle = [(side.start + side.stop) / 2 for side in box]
            radius = max(side.stop - side.start for side in box) / 2 + 6
            angle = np.linspace(0, 2 * np.pi, 60)
            panel.plot(middle[1] + radius * np.cos(angle), middle[0] + radius * np.sin(angle), c="black", lw=1.6)
            panel.plot(middle[1] + radius * np.cos(angle), middle[0] + radius * np.sin(angle), c="white", lw=0.8)
    panel.set(xlim=(0, wrong.shape[1]), ylim=(wrong.shape[0], 0))


def overlooked(truth: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Labelled weeds of which less than a quarter was found, as a mask."""
    regions, number = ndimage.label(truth == WEED)
    seen = ndimage.mean(given > SOIL, regions, np.arange(number + 1))
    return (regions > 0) & (np.asarray(seen)[regions] < 0.25)


def failure_missed(sources: Sources) -> None:
    """Labelled weeds that are called soil."""
    potato_errors(sources, "missed", lambda truth, given, _: overlooked(truth, given), ("labels", "found"))


def failure_swapped(sources: Sources) -> None:
    """Labelled crop plants that are called weed."""
    potato_errors(sources, "swapped", lambda truth, given, _: (truth == CROP) & (given == WEED), ("labels", "found"))


def failure_unlabelled(sources: Sources) -> None:
    """Green that is called weed and has no label."""

    def wrong(truth: np.ndarray, given: np.ndarray, image: np.ndarray) -> np.ndarray:
        red, green, blue = np.moveaxis(image.astype(np.int16), -1, 0)
        return (truth == SOIL) & (given == WEED) & (2 * green - red - blue > 25)

    potato_errors(sources, "unlabelled", wrong, ("labels", "found"))


def classified(image: np.ndarray) -> np.ndarray:
    """Classes of an (H, W, 3) image by the default model."""
    model = geoseg.load_model("default")
    stride = model.card.tiling.stride_px
    sides = [(0, -side % stride) for side in image.shape[:2]]
    padded = np.pad(image, (*sides, (0, 0)), mode="reflect")
    scores = model(np.ascontiguousarray(np.moveaxis(padded, -1, 0))[None])[0]
    return scores[:3].argmax(axis=0)[: image.shape[0], : image.shape[1]].astype(np.uint8)


def failure_maize(sources: Sources) -> None:
    """Small weeds of a maize field: photograph, labels and prediction."""
    maize = sources.fields / "maize"
    fig, panels = figure(3, 2, width=9)
    for row, (name, place) in zip(
        panels, (("2023-05-25_0786", (150, 100)), ("2023-05-30_0750", (100, 250))), strict=True
    ):
        image = np.asarray(Image.open(maize / "images" / f"{name}.png").convert("RGB"))
        truth = np.asarray(Image.open(maize / "masks" / f"{name}.png"))
        given = classified(image)
        part = tuple(slice(first, first + 340) for first in place)
        for panel, shown, title in zip(
            row, (image, painted(image, truth), painted(image, given)), ("photograph", "labels", "found"), strict=True
        ):
            show(panel, shown[part], title if row is panels[0] else "")
            circle(panel, overlooked(truth, given)[part], least=15)
    save(fig, "failure_maize.jpg")


def failure_canopy(sources: Sources) -> None:
    """A rendered field whose plants have grown together: plants that are there, and plants that are found."""
    window = Window(300, 300, 900, 900)
    image = read(sources.canopy / "input" / "ortho.tif", window)
    truth = gpd.read_file(sources.canopy / "input" / "plants.gpkg")
    found = gpd.read_file(sources.canopy / "field.gpkg", layer="plants")
    with rasterio.open(sources.canopy / "input" / "ortho.tif") as source:
        back = ~source.window_transform(window)
    fig, panels = figure(3)
    show(panels[0, 0], image, "photograph (rendered)")
    for panel, points, what in zip(
        panels[0, 1:],
        (truth[truth["class"] == "crop"].to_crs(found.crs), found),
        ("are there", "are found"),
        strict=True,
    ):
        show(panel, painted(image, np.zeros(image.shape[:2], np.uint8)))
        col, row = back * (points.geometry.x.to_numpy(), points.geometry.y.to_numpy())
        inside = (col >= 0) & (col < window.width) & (row >= 0) & (row < window.height)
        panel.plot(col[inside], row[inside], "o", ms=6, mec="white", mew=0.6, c=LEGEND[CROP].hex)
        panel.set(xlim=(0, window.width), ylim=(window.height, 0))
        panel.set_title(f"{inside.sum()} crop plants {what}", fontsize=11)
    save(fig, "failure_canopy.jpg")


def failure_light(sources: Sources) -> None:
    """The same part of the potato field as flown, in a shadow and blurred, and what the model finds in each."""
    window = Window(8700, 3300, 512, 512)
    image = read(sources.fields / "potato" / "ortho.tif", window).astype(np.float32)
    shade = np.clip((np.arange(512)[None, :] + 0.5 * np.arange(512)[:, None] - 300) / 24, 0, 1)[..., None]
    dark = image * (1 - shade * (1 - np.array([0.22, 0.24, 0.30])))
    blurred = ndimage.gaussian_filter(image, (3, 3, 0))
    fig, panels = figure(3, 2, width=9)
    for column, (made, title) in enumerate(
        ((image, "as flown"), (dark, "deep shadow"), (blurred, "blurred by 3 pixels"))
    ):
        photo = made.clip(0, 255).astype(np.uint8)
        classes = classified(photo)
        show(panels[0, column], photo, title)
        weed, crop = ((classes == code).mean() for code in (WEED, CROP))
        show(panels[1, column], painted(photo, classes), f"crop {crop:.1%}, weed {weed:.1%}")
    save(fig, "failure_light.jpg")


PICTURES: dict[str, Callable[[Sources], None]] = {
    made.__name__: made
    for made in (
        tutorial_flight,
        tutorial_classes,
        tutorial_prescription,
        tutorial_curves,
        segmentation_kinds,
        segmentation_labels,
        failure_missed,
        failure_swapped,
        failure_unlabelled,
        failure_maize,
        failure_canopy,
        failure_light,
    )
}


def main() -> None:
    """Make the pictures that are named, or all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", choices=[[], *PICTURES], help="default: all")
    parser.add_argument("--runs", type=Path, required=True, help="folder that keeps the runs")
    parser.add_argument("--fields", type=Path, default=IMAGES.parents[2] / "shared" / "fields")
    chosen = parser.parse_args()
    for name in chosen.names or PICTURES:
        PICTURES[name](Sources(chosen.runs, chosen.fields))


if __name__ == "__main__":
    main()
