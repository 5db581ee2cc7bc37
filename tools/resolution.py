"""How the scores of a model depend on the ground sampling distance of the flight, on places that it has not seen.

Usage: python tools/resolution.py OUT [MODEL] [--backend auto] [--factors 1 2 3] [--plants ../shared/.../plants.gpkg]

The tile set must be there (see tools/make_default_model.sh). What a coarser camera would have seen is made from the
validation images: each of its pixels is the mean of the area that it covers (a finer one, below 1, is interpolated and
sees nothing new). Each image goes through `geoseg segment` as it is, with the product's own rule of the working grid,
and its class raster is scored on the pixels of the labels: each takes the class of the pixel that holds its centre. In
brackets are 95 % of 1,000 bootstrap samples of blocks of 320 x 320 pixels of the labels. Plants are those that
`geoseg vectorize` counts, matched by their centre. OUT gets images and run directories; the same call goes on there.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import rasterio
from ablation import BLOCK_PX, FIELDS, lines
from rasterio.transform import Affine
from rasterio.warp import Resampling, reproject

from geoseg.config import Config
from geoseg.job import segment, vectorize
from geoseg.results import CLASSES, FIELD
from geoseg.train.evaluate import confusion
from geoseg.train.evaluate_pairs import RasterPair
from geoseg.train.evaluate_report import evaluate_pairs
from geoseg.train.evaluate_settings import EvaluateConfig
from geoseg.train.tiles import VALIDATION, Tile, read_index, read_tile

FACTORS = (0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5)
HEAD = (
    "flight, mm",
    "worked at, mm",
    "field",
    "crop IoU",
    "weed IoU",
    "crop plants: F1, counted",
    "weeds: F1, counted",
)
_CRS, _LEFT_TOP = "EPSG:32632", (690000.0, 5360000.0)
"""Where images lie that have no place: anywhere in a metric CRS will do."""


def whole_images(folder: Path) -> Iterator[Tile]:
    """The validation images; tiles of one source that lie in a column become one image again."""
    tiles = [read_tile(folder, line) for line in read_index(folder) if line["split"] == VALIDATION]
    columns: dict[tuple[str, int, str], list[Tile]] = {}
    for tile in tiles:
        alone = "" if tile.profile else tile.name
        columns.setdefault((tile.source, tile.col, alone), []).append(tile)
    for column in columns.values():
        column.sort(key=lambda tile: tile.row)
        first = column[0]
        place = {"crs": _CRS, "transform": Affine(first.gsd_m, 0, _LEFT_TOP[0], 0, -first.gsd_m, _LEFT_TOP[1])}
        image = np.concatenate([tile.image for tile in column], axis=1)
        labels = np.concatenate([tile.labels for tile in column])
        yield replace(first, image=image, labels=labels, profile=first.profile or place, instances=None)


def write(path: Path, values: np.ndarray, place: dict[str, object]) -> None:
    """(C, H, W) uint8 values as a GeoTIFF."""
    count, height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint8", count=count, height=height, width=width, tiled=True, **place
    ) as out:
        out.write(values)


def seen_at(tile: Tile, factor: float) -> tuple[np.ndarray, dict[str, object]]:
    """(C, h, w) uint8, the image with pixels `factor` times as large, and its place."""
    if factor == 1:
        return tile.image, tile.profile
    height, width = (math.ceil(side / factor - 1e-9) for side in tile.labels.shape)
    coarse = np.zeros((len(tile.image), height, width), np.uint8)
    crs, transform = tile.profile["crs"], tile.profile["transform"] * Affine.scale(factor)
    how = Resampling.average if factor > 1 else Resampling.cubic
    grids = {"src_transform": tile.profile["transform"], "dst_transform": transform, "src_crs": crs, "dst_crs": crs}
    reproject(tile.image, coarse, resampling=how, tolerance=0.0, **grids)
    return coarse, {"crs": crs, "transform": transform}


def on_labels(classes: Path, tile: Tile) -> tuple[np.ndarray, float]:
    """(H, W) uint8 classes on the pixels of the labels, and the pixel of the class raster in metres."""
    with rasterio.open(classes) as file:
        found, there = file.read(1), file.transform
    here = tile.profile["transform"]
    height, width = tile.labels.shape
    rows = np.floor((here.f + (np.arange(height) + 0.5) * here.e - there.f) / there.e + 1e-6).astype(int)
    cols = np.floor((here.c + (np.arange(width) + 0.5) * here.a - there.c) / there.a + 1e-6).astype(int)
    return found[np.ix_(rows, cols)], float(there.a)


def block_matrices(labels: np.ndarray, classes: np.ndarray) -> Iterator[np.ndarray]:
    """(K, K) confusion matrices of blocks."""
    for row in range(0, labels.shape[0], BLOCK_PX):
        for col in range(0, labels.shape[1], BLOCK_PX):
            part = np.s_[row : row + BLOCK_PX, col : col + BLOCK_PX]
            yield confusion(labels[part], classes[part])


def plant_scores(run: Path, tile: Tile, classes: np.ndarray, instances: Path, config: Config) -> Iterator[str]:
    """F1 by centre, plants counted and plants labelled, of crop and of weeds."""
    vectorize(run, config=config)
    here, truth = run.with_suffix(".classes.tif"), run.with_suffix(".labels.tif")
    write(here, classes[None], tile.profile)
    write(truth, tile.labels[None], tile.profile)
    shape = int(classes.shape[0]), int(classes.shape[1])
    pair = RasterPair(here, truth, tile.gsd_m, shape, instances=instances, found=run / FIELD)
    found = evaluate_pairs([pair], EvaluateConfig(resamples=0))["all"].scores
    for name in ("crop", "weed"):
        counted, labelled = (found[f"counts.{name}.{side}"] for side in ("predicted", "labelled"))
        yield f"{found[f'objects.{name}.f1']:.3f}, {counted:.0f} of {labelled:.0f}"


def table(given: argparse.Namespace, factor: float) -> Iterator[tuple[str, ...]]:
    """A line of the table for every field."""
    config = Config(model=given.model, backend=given.backend)
    matrices: dict[str, list[np.ndarray]] = {}
    plants: dict[str, tuple[str, ...]] = {}
    flown = worked = 0.0
    for tile in whole_images(Path(FIELDS)):
        image = given.out / f"{tile.name}_{factor:g}.tif"
        values, place = seen_at(tile, factor)
        write(image, values, place)
        run = segment(image, image.with_suffix(""), config=config).path
        classes, worked = on_labels(run / CLASSES, tile)
        matrices.setdefault(tile.source, []).extend(block_matrices(tile.labels, classes))
        flown = tile.gsd_m * factor
        if tile.source == "potato" and given.plants.is_file():
            plants[tile.source] = tuple(plant_scores(run, tile, classes, given.plants, config))
    for source, found in matrices.items():
        crop, weed, _ = lines(np.stack(found))
        ious = (f"{one[1]:.3f} [{one[2]:.2f}-{one[3]:.2f}]" for one in (crop, weed))
        yield f"{flown * 1e3:.4g}", f"{worked * 1e3:.4g}", source, *ious, *plants.get(source, ("", ""))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("model", nargs="?", default="default")
    parser.add_argument("--backend", default="auto", help="as in a run's configuration")
    parser.add_argument("--factors", type=float, nargs="+", default=FACTORS)
    parser.add_argument("--plants", type=Path, default=Path("../shared/fields/potato/plants.gpkg"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    sys.stdout.write(f"| {' | '.join(HEAD)} |\n|{' --- |' * len(HEAD)}\n")
    for factor in given.factors:
        for row in table(given, factor):
            sys.stdout.write(f"| {' | '.join(row)} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
