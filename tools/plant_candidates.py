"""How well each way to group vegetation finds plants: one line per way, against outlines of single plants.

    python tools/plant_candidates.py RUN LABELS [RUN LABELS ...]

A RUN is a directory with ``classes.tif`` and ``offsets.tif``; LABELS are outlines of single plants: a vector file
with a column ``class``, or a YOLO polygon file with class 0 crop and 1 weed. Segments of all runs are scored as one. PQ
and F1 match at an intersection over union above one half; F1 is the panoptic RQ. The count is that of plants of at
least ``plants.min_plant_m2``. Seconds are those of grouping and outlines, per million pixels of the raster, all of it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from rasterio.features import rasterize

from geoseg.legend import CROP, WEED
from geoseg.models.card import CARD, ModelCard
from geoseg.segment.plantbatch import GroupStats, Rasters
from geoseg.segment.plants import PlantConfig, plants_of
from geoseg.train.panoptic_quality import SegmentPairs, count_scores
from geoseg.vectors import pixel_grid

CANDIDATES: dict[str, PlantConfig] = {
    "connected regions": PlantConfig(method="components"),
    **{
        f"watershed, middles {a:g} m apart": PlantConfig(method="watershed", apart_m=a) for a in (0.05, 0.1, 0.16, 0.24)
    },
    **{
        f"offsets, scatter {b * 100:g} cm, separation {s:g}": PlantConfig(method="offsets", scatter_m=b, separation=s)
        for b in (0.01, 0.015, 0.02, 0.03, 0.04)
        for s in (0.0, 0.6, 1.0)
    },
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", nargs="+", type=Path, metavar="RUN LABELS")
    parser.add_argument("--min-plant-m2", type=float, default=None)
    parser.add_argument("--only", default="", help="candidates with this text in their name")
    parser.add_argument(
        "--plot-m", type=float, help="print the scores of crop counts in squares of this side, for a card"
    )
    parser.add_argument("--card", nargs=2, metavar=("MODEL", "SOURCE"), help="and write them on the card of a model")
    given = parser.parse_args()
    sides = list(zip(given.pairs[::2], given.pairs[1::2], strict=True))
    if not given.plot_m:
        sys.stdout.write("| way | PQ crop | PQ weed | F1 crop | F1 weed | count crop | count weed | s/Mpx |\n")
        sys.stdout.write("| --- | --- | --- | --- | --- | --- | --- | --- |\n")
    if given.plot_m:
        counts = _counts(sides, given.plot_m)
        sys.stdout.write(json.dumps(counts, indent=2) + "\n")
        if given.card:
            _note(Path(given.card[0]) / CARD, f"validation of {given.card[1]}", counts)
        return
    for name, config in CANDIDATES.items():
        if given.only not in name:
            continue
        smallest = config.min_plant_m2 if given.min_plant_m2 is None else given.min_plant_m2
        sys.stdout.write(_line(name, config, smallest, sides) + "\n")
        sys.stdout.flush()


def _line(name: str, config: PlantConfig, smallest_m2: float, sides: list[tuple[Path, Path]]) -> str:
    pairs = SegmentPairs(true_classes := {}, found_classes := {})
    pairs._true, pairs._found = true_classes, found_classes  # filled while pixels pass
    seconds = pixels = 0.0
    for run, labels in sides:
        rasters = Rasters(run / "classes.tif", None, run / "offsets.tif")
        start = time.perf_counter()
        batches = list(plants_of(rasters, config, GroupStats()))
        seconds += time.perf_counter() - start
        pixel_m2 = pixel_grid(rasters.classes).pixel_m2
        kept = [batch.select(batch.area_px * pixel_m2 >= smallest_m2) for batch in batches]
        with rasterio.open(rasters.classes) as raster:
            shape, transform = raster.shape, raster.transform
            true = _burn(_outlines(labels, shape, transform), shape, transform, true_classes)
        shapes = ((geometry, CROP if crop else WEED) for part in kept for geometry, crop in _plants(part))
        pairs.add(true, _burn(shapes, shape, transform, found_classes))
        pixels += true.size
    crop, weed = pairs.quality(CROP), pairs.quality(WEED)
    counts = (f"{q.matched + q.false} of {q.matched + q.missed} ({_off(q):+.1%})" for q in (crop, weed))
    scores = (f"{value:.3f}" for value in (crop.pq, weed.pq, crop.rq, weed.rq) if value is not None)
    return f"| {name} | {' | '.join(scores)} | {' | '.join(counts)} | {seconds / pixels * 1e6:.3f} |"


def _counts(sides: list[tuple[Path, Path]], plot_m: float) -> dict[str, float | None]:
    """Scores of the counts of crop plants in squares, by the place of their centre."""
    config, true, found = PlantConfig(), [], []
    for run, labels in sides:
        rasters = Rasters(run / "classes.tif", None, run / "offsets.tif")
        with rasterio.open(rasters.classes) as raster:
            shape, transform = raster.shape, raster.transform
        grid = pixel_grid(rasters.classes)
        hand = [geometry.centroid for geometry, code in _outlines(labels, shape, transform) if code == CROP]
        places = [
            grid.centres(part.centroid[part.is_crop & (part.area_px * grid.pixel_m2 >= config.min_plant_m2)])
            for part in plants_of(rasters, config, GroupStats())
        ]
        left, top = transform.c, transform.f
        cols, rows = (max(int(size * grid.pixel_m2**0.5 / plot_m), 1) for size in shape[::-1])
        edges = left + np.arange(cols + 1) * plot_m, top - np.arange(rows, -1, -1) * plot_m
        one = shapely.get_x(hand), shapely.get_y(hand)
        other = (np.concatenate(part) for part in zip(*places, strict=True)) if places else ([], [])
        true.append(np.histogram2d(*one, edges)[0].ravel())
        found.append(np.histogram2d(*other, edges)[0].ravel())
    scores = count_scores(np.concatenate(true), np.concatenate(found))
    return dataclasses.asdict(scores) | {"plot_m2": plot_m**2}


def _note(path: Path, data_set: str, counts: dict[str, float | None]) -> None:
    card = ModelCard.read(path)
    short = {key: round(value, 4) if isinstance(value, float) else value for key, value in counts.items()}
    scores = {**card.scores, data_set: {**card.scores[data_set], "count": short}}
    card.model_copy(update={"scores": scores}).write(path)


def _off(quality) -> float:
    true = quality.matched + quality.missed
    return (quality.matched + quality.false - true) / true if true else 0.0


def _plants(part) -> Iterator[tuple[shapely.Geometry, bool]]:
    return zip(part.geometry, part.is_crop.tolist(), strict=True)


def _burn(shapes: Iterable[tuple[shapely.Geometry, int]], shape, transform, classes: dict[int, int]) -> np.ndarray:
    """(H, W) int32 numbers of segments, their classes entered into `classes`."""
    numbered = []
    for geometry, code in shapes:
        classes[len(classes) + 1] = code
        numbered.append((geometry, len(classes)))
    if not numbered:
        return np.zeros(shape, np.int32)
    return rasterize(numbered, out_shape=shape, transform=transform, dtype="int32")


def _outlines(path: Path, shape: tuple[int, int], transform) -> Iterator[tuple[shapely.Geometry, int]]:
    codes = {"crop": CROP, "weed": WEED}
    if path.suffix != ".txt":
        frame = gpd.read_file(path, bbox=rasterio.transform.array_bounds(*shape, transform))
        yield from zip(frame.geometry, frame["class"].map(codes), strict=True)
        return
    for line in path.read_text().splitlines():
        code, *numbers = (float(value) for value in line.split())
        points = np.array(numbers).reshape(-1, 2) * (shape[1], shape[0])
        yield shapely.Polygon([transform * tuple(point) for point in points]), int(code) + 1


if __name__ == "__main__":
    main()
