"""What each part of the default recipe is worth: train variants of it for a few steps and score them on unseen places.

Usage: python tools/ablation.py OUT [--steps 400] [--seeds 0 1] [--only NAME ...]

Every variant starts from configs/train_default.yaml with the whole change of looks (`AugmentConfig`; the default model
has less of it) and changes one thing; the tile sets must be there (see tools/make_default_model.sh). A run that
OUT/results.csv already holds is not done again. The intervals are 95 % of 1,000 bootstrap samples of the validation
blocks of 320 x 320 pixels: neighbouring pixels are not independent, blocks nearly are.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from geoseg.config import load_as
from geoseg.models import load
from geoseg.models.card import Segmenter
from geoseg.segment.predict import classify
from geoseg.train.augment import AugmentConfig
from geoseg.train.evaluate import confusion, scores
from geoseg.train.evaluate_tiles import predict_tile
from geoseg.train.fit import SetShare, TrainConfig, fit
from geoseg.train.tiles import VALIDATION, Tile, read_index, read_tile

BLOCK_PX, SAMPLES = 320, 1000
FIELDS, RENDERED = "tilesets/fields", "tilesets/synthetic"
COLUMNS = ("variant", "seed", "source", "score", "value", "low", "high")


def variants(base: TrainConfig) -> dict[str, TrainConfig]:
    """The recipes that are compared, the whole one first."""
    potato, maize, rendered = (replace(one) for one in base.sets)
    still = AugmentConfig(brightness=0, channel=0, contrast=0, gamma=1, noise=0, blur=0, shadow=0)
    mild = AugmentConfig(brightness=0.12, channel=0.06, contrast=0.1, gamma=1.15, noise=0.015, blur=0.15, shadow=0.1)
    half = replace(base.augment, share=0.5)
    wide = replace(half, contrast=0.5, brightness=0.35)
    plain = {key: value for key, value in base.card.items() if key not in ("params", "instances")}
    everything = SetShare(FIELDS, 0.75)
    one_size = {**base.card, "gsd": {"train_m": 0.0027, "min_m": 0.0027, "max_m": 0.0027}}
    return {
        "recipe": base,
        "encoder from nothing": replace(base, encoder="random"),
        "no change of looks": replace(base, augment=still),
        "half the change of looks": replace(base, augment=mild),
        "looks of half of the crops": replace(base, augment=half),
        "looks of half of the crops, more light and haze": replace(base, augment=wide),
        "no rendered fields": replace(base, sets=(potato, maize)),
        "rendered fields alone": replace(base, sets=(rendered,)),
        "tiles by their number": replace(base, sets=(everything, rendered)),
        "no crops near weeds": replace(base, weedy=0.0),
        "no plant offsets": replace(base, card=plain),
        "no change of size": replace(base, card=one_size),
        "pasted plants": replace(base, paste=0.5),
        "cross-entropy": replace(base, loss="ce"),
        "weighted cross-entropy": replace(base, loss="weighted_ce"),
        "focal loss": replace(base, loss="focal"),
        "Lovasz loss": replace(base, loss="lovasz"),
        "Tversky loss": replace(base, loss="tversky"),
        "potato alone": replace(base, sets=(potato,)),
        "maize alone": replace(base, sets=(maize,)),
        "potato and rendered fields": replace(base, sets=(potato, rendered)),
        "maize and rendered fields": replace(base, sets=(maize, rendered)),
        "maize and rendered fields, no change of looks": replace(base, sets=(maize, rendered), augment=still),
        "maize and rendered fields, half the change of looks": replace(base, sets=(maize, rendered), augment=mild),
    }


def blocks(segmenter: Segmenter, tiles: list[Tile]) -> dict[str, np.ndarray]:
    """(n, K, K) confusion matrices of the blocks of tiles, by source."""
    found: dict[str, list[np.ndarray]] = {}
    for tile in tiles:
        height, width = tile.labels.shape
        classes = classify(predict_tile(segmenter, tile)[None])[0][0]
        for row in range(0, height, BLOCK_PX):
            for col in range(0, width, BLOCK_PX):
                part = np.s_[row : row + BLOCK_PX, col : col + BLOCK_PX]
                found.setdefault(tile.source, []).append(confusion(tile.labels[part], classes[part]))
    return {source: np.stack(matrices) for source, matrices in found.items()}


def lines(matrices: np.ndarray) -> Iterator[tuple[str, float, float, float]]:
    """Score, value and 95 % interval."""
    random = np.random.default_rng(0)
    samples = [scores(matrices[random.integers(0, len(matrices), len(matrices))].sum(axis=0)) for _ in range(SAMPLES)]
    whole = scores(matrices.sum(axis=0))
    for name, code in (("crop IoU", 1), ("weed IoU", 2)):
        low, high = np.nanpercentile([sample.iou[code] for sample in samples], [2.5, 97.5])
        yield name, float(whole.iou[code]), float(low), float(high)
    low, high = np.nanpercentile([sample.miou for sample in samples], [2.5, 97.5])
    yield "mIoU", whole.miou, float(low), float(high)


def main() -> None:
    """Train what is missing, score it, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--only", nargs="*")
    arguments = parser.parse_args()
    base = replace(load_as(TrainConfig, Path("configs/train_default.yaml")), augment=AugmentConfig())
    tiles = [read_tile(Path(FIELDS), line) for line in read_index(Path(FIELDS)) if line["split"] == VALIDATION]
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = arguments.out / "results.csv"
    if not results.exists():
        results.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    with results.open(newline="", encoding="utf-8") as file:
        done = {(line["variant"], int(line["seed"])) for line in csv.DictReader(file)}
    for seed in arguments.seeds:
        for name, config in variants(base).items():
            if (name, seed) in done or (arguments.only and name not in arguments.only):
                continue
            folder = arguments.out / f"{name.replace(' ', '_')}_{seed}"
            few = replace(config, seed=seed, steps=arguments.steps, batch=arguments.batch, save_every=0)
            fit(few, folder)
            with results.open("a", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                for source, matrices in blocks(load(folder, "torch-cpu"), tiles).items():
                    for score, *values in lines(matrices):
                        writer.writerow([name, seed, source, score, *(f"{value:.4f}" for value in values)])
    sys.stdout.write(results.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
