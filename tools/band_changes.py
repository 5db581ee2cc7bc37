"""What other bands, another exposure and another data type do to the scores of models, on places they have not seen.

Usage: python tools/band_changes.py [MODEL ...] [--backend openvino-f32] [--only CHANGE ...]

The tile sets must be there (see tools/make_default_model.sh). Every validation tile is changed, put on the scale that
the card of each model asks for, and scored; a tile is taken for an ortho of its own. In brackets are 95 % of 1,000
bootstrap samples of blocks of 320 x 320 pixels.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from ablation import blocks, lines
from scipy import ndimage

from geoseg.models import load
from geoseg.train.tiles import VALIDATION, read_index, read_tile

SETS = ("tilesets/fields", "tilesets/synthetic", "tilesets/synthetic_infrared")
_MIXTURE = ((-0.6, 2.0, -0.4), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
"""A band in which leaves are bright, as they are in near infrared, then red and green."""


def exposed(image: np.ndarray, gain: float, offset: float) -> np.ndarray:
    """The image as another exposure."""
    return np.rint((image * gain + offset).clip(0, 255)).astype(np.uint8)


def mixed(image: np.ndarray, weights: tuple[tuple[float, ...], ...]) -> np.ndarray:
    """Other bands, made of those there are."""
    values = np.einsum("ij,jhw->ihw", np.array(weights), image.astype(np.float64))
    return np.rint(values.clip(0, 255)).astype(np.uint8)


def toned(image: np.ndarray, *gains: float) -> np.ndarray:
    """The image in light of another colour."""
    return np.rint((image * np.array(gains)[:, None, None]).clip(0, 255)).astype(np.uint8)


def noisy(image: np.ndarray) -> np.ndarray:
    """The image of a camera at a high sensitivity."""
    noise = np.random.default_rng(0).normal(0, 5, image.shape)
    return np.rint((image + noise).clip(0, 255)).astype(np.uint8)


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda image: image,
    "bands 3, 1, 2": lambda image: image[[2, 0, 1]],
    "bands 2, 3, 1": lambda image: image[[1, 2, 0]],
    "a quarter of the light": lambda image: exposed(image, 0.25, 0),
    "low contrast": lambda image: exposed(image, 0.45, 90),
    "two thirds of the light": lambda image: exposed(image, 0.67, 0),
    "a third more light": lambda image: exposed(image, 1.33, 0),
    "bluer": lambda image: toned(image, 0.9, 1.0, 1.15),
    "redder": lambda image: toned(image, 1.12, 1.0, 0.88),
    "noisy": noisy,
    "soft": lambda image: np.rint(ndimage.gaussian_filter(image.astype(np.float32), (0, 1, 1))).astype(np.uint8),
    "2 G - 0.6 R - 0.4 B, R, G": lambda image: mixed(image, _MIXTURE),
}


def rows(model: str, backend: str, wanted: list[str]) -> Iterator[tuple[str, str, str, str]]:
    """Source, change, crop IoU and weed IoU."""
    segmenter = load(model, backend)
    for folder in map(Path, SETS):
        tiles = [read_tile(folder, line) for line in read_index(folder) if line["split"] == VALIDATION]
        for source in dict.fromkeys(tile.source for tile in tiles):
            for name, change in CHANGES.items():
                if name not in wanted or (source.startswith("synthetic") and name != "as it is"):
                    continue
                changed = [replace(tile, image=change(tile.image)) for tile in tiles if tile.source == source]
                crop, weed, _ = lines(blocks(segmenter, changed)[source])
                yield source, name, *(f"{one[1]:.3f} [{one[2]:.2f}-{one[3]:.2f}]" for one in (crop, weed))


def main() -> None:
    """Print a table for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["default", "any_three_bands"])
    parser.add_argument("--backend", default="openvino-f32")
    parser.add_argument("--only", nargs="+", default=list(CHANGES), choices=list(CHANGES))
    given = parser.parse_args()
    for model in given.models:
        sys.stdout.write(f"\n{model}\n| field | change | crop IoU | weed IoU |\n| --- | --- | --- | --- |\n")
        for row in rows(model, given.backend, given.only):
            sys.stdout.write(f"| {' | '.join(row)} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
