"""Train and validation never share ground: proven on the positions in index.csv, and on the pixels themselves."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.config import load_as
from geoseg.train.tilecutting import TileConfig, TileSource, make_tiles
from geoseg.train.tiles import read_index, read_tile
from geoseg.windows import Rect

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted((ROOT / "configs").glob("tiles_*.yaml"))


def footprints(lines):
    """Rectangles of train and of validation tiles, by source; nothing outside a tile is ever read with it."""
    parts = {}
    for line in lines:
        row, col, height, width = (int(line[name]) for name in ("row", "col", "height", "width"))
        rect = Rect(row, col, row + height, col + width)
        parts.setdefault(line["source"], {"train": [], "validation": []})[line["split"]].append(rect)
    return parts


def apart(one, other):
    """Pixels between two rectangles along the farther axis; negative where they share pixels."""
    rows = max(one.row0 - other.row1, other.row0 - one.row1)
    cols = max(one.col0 - other.col1, other.col0 - one.col1)
    return max(rows, cols)


def nearest(parts):
    return min((apart(*pair) for pair in product(parts["train"], parts["validation"])), default=None)


def field(folder, shape=(90, 110)):
    """An ortho whose every pixel has a colour of its own, and labels."""
    number = np.arange(shape[0] * shape[1], dtype=np.uint32).reshape(shape)
    image = np.stack([number >> 16, (number >> 8) & 255, number & 255]).astype(np.uint8)
    common = {"driver": "GTiff", "height": shape[0], "width": shape[1], "dtype": "uint8", "crs": "EPSG:32632"}
    common["transform"] = Affine(0.003, 0, 500000, 0, -0.003, 5400000)
    for name, bands in (("ortho.tif", image), ("labels.tif", np.ones((1, *shape), np.uint8))):
        with rasterio.open(folder / name, "w", count=len(bands), **common) as raster:
            raster.write(bands)
    return folder


spans = st.tuples(st.integers(0, 60), st.integers(1, 50)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@settings(max_examples=15)
@given(rows=st.none() | spans, cols=spans, tile_px=st.integers(16, 70), gap=st.integers(0, 12))
def test_no_pixel_trains_and_validates(tmp_path_factory, rows, cols, tile_px, gap):
    folder = field(tmp_path_factory.mktemp("split"))
    files = {"images": str(folder / "ortho.tif"), "labels": str(folder / "labels.tif")}
    source = TileSource("f", **files, validation_rows=rows, validation_cols=cols, validation_gap_px=gap)
    make_tiles(TileConfig((source,), tile_px), folder / "set")
    lines = read_index(folder / "set")
    parts = footprints(lines)["f"]
    assert parts["validation"]
    if parts["train"]:
        assert nearest(parts) >= gap
    seen = {"train": set(), "validation": set()}
    for line in lines:  # the colour of a pixel says where it comes from
        image = read_tile(folder / "set", line).image.astype(np.int64)
        seen[line["split"]] |= set(((image[0] << 16) | (image[1] << 8) | image[2]).ravel().tolist())
    assert not seen["train"] & seen["validation"]
    inside = Rect((rows or (0, 90))[0], cols[0], (rows or (0, 90))[1], cols[1]).clip((90, 110))
    assert len(seen["validation"]) == inside.size
    assert len(seen["train"]) == 90 * 110 - inside.grow(gap).clip((90, 110)).size


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_configured_sets_share_no_ground(path, fields, tmp_path, monkeypatch):
    monkeypatch.setattr("geoseg.train.tiles._write_tile", lambda tile, out: None)  # positions are enough
    monkeypatch.chdir(ROOT)
    make_tiles(load_as(TileConfig, path), tmp_path / "set")
    lines = read_index(tmp_path / "set")
    for source in load_as(TileConfig, path).sources:
        parts = footprints(lines)[source.name]
        assert parts["train"]
        assert parts["validation"]
        if Path(source.images).is_dir():  # images are the places: none may be in both parts, at any date
            places = {split: set() for split in parts}
            for line in lines:
                if line["source"] == source.name:
                    places[line["split"]].add(line["name"].rpartition("_")[2])
            assert not places["train"] & places["validation"]
        else:
            assert nearest(parts) >= source.validation_gap_px


def test_sources_of_one_set_are_different_files():
    for path in CONFIGS:
        images = [Path(source.images).resolve() for source in load_as(TileConfig, path).sources]
        assert len(set(images)) == len(images)
