"""Render a tile set of synthetic fields of many looks; the same count gives the same tiles.

Usage: python tools/synthetic_tiles.py OUT [COUNT] [--infrared]

With --infrared the bands are near infrared, red and green, of other fields.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from geoseg.train.synthetic import infrared_spec, random_spec, render
from geoseg.train.tiles import TRAIN, VALIDATION, Tile, write_set

FIRST_SEED, FIRST_INFRARED_SEED = 1000, 3000
"""The demo and the tests use other seeds."""
SIDE_PX = 896


def tiles(count: int, *, infrared: bool = False) -> Iterator[Tile]:
    """One tile a seed; every eighth validates."""
    for number in range(count):
        seed = number + (FIRST_INFRARED_SEED if infrared else FIRST_SEED)
        spec = random_spec(seed, SIDE_PX, SIDE_PX)
        field = render(infrared_spec(spec) if infrared else spec)
        split = VALIDATION if number % 8 == 7 else TRAIN
        source = "synthetic_infrared" if infrared else "synthetic"
        gsd_m, layers = field.spec.gsd_m, (field.image, field.labels)
        yield Tile(f"{source}_{seed}", split, source, 0, 0, gsd_m, *layers, {}, field.instances)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("count", type=int, nargs="?", default=48)
    parser.add_argument("--infrared", action="store_true")
    given = parser.parse_args()
    made = write_set(tiles(given.count, infrared=given.infrared), given.out)
    sys.stdout.write(f"{made} tiles in {given.out}\n")
