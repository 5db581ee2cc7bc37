"""Render a tile set of synthetic fields of many looks; the same count gives the same tiles.

Usage: python tools/synthetic_tiles.py OUT [COUNT]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from geoseg.train.synthetic import random_spec, render
from geoseg.train.tiles import TRAIN, VALIDATION, Tile, write_set

FIRST_SEED = 1000
"""The demo and the tests use other seeds."""
SIDE_PX = 896


def tiles(count: int) -> Iterator[Tile]:
    """One tile a seed; every eighth validates."""
    for number in range(count):
        field = render(random_spec(FIRST_SEED + number, SIDE_PX, SIDE_PX))
        split = VALIDATION if number % 8 == 7 else TRAIN
        name = f"synthetic_{FIRST_SEED + number}"
        yield Tile(name, split, "synthetic", 0, 0, field.spec.gsd_m, field.image, field.labels, {}, field.instances)


if __name__ == "__main__":
    out, count = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 48
    sys.stdout.write(f"{write_set(tiles(count), out)} tiles in {out}\n")
