"""Render the tile set in this folder: ``python tiles/make_tiles.py [OUT]``. The same code gives the same pixels.

For each of three crops a strip of 192 x 576 pixels trains and another field of 192 x 192 pixels validates. They go
through `geoseg.train.tilecutting.make_tiles`, as real orthos do: this is exactly what ``geoseg tile`` writes.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import rasterio

from geoseg.train.synthetic import FieldSpec, render, write
from geoseg.train.tilecutting import TileConfig, TileSource, make_tiles

HERE = Path(__file__).parent
SIDE_PX = 192
FIELD = FieldSpec(
    height_px=SIDE_PX,
    gsd_m=0.004,
    weeds_per_m2=20,
    weed_diameter_m=0.05,
    weed_clustering=0.3,
    margin_share=0.0,
    noise=0.5,
    blur_px=0.7,
)
LOOKS = {
    "potato": replace(FIELD, crop="potato", plant_diameter_m=0.16, row_spacing_m=0.75, heading_deg=8),
    "beet": replace(FIELD, crop="beet", plant_diameter_m=0.12, row_spacing_m=0.45, ridges=0, soil_rgb=(112, 92, 74)),
    "maize": replace(FIELD, crop="maize", plant_diameter_m=0.20, row_spacing_m=0.50, ridges=0, heading_deg=75),
}


NOTE = """
This one shows rendered fields, not real ones, and comes with the source for lessons, tests and the quickstart. It was
made by `python tiles/make_tiles.py`. Per crop one field trains and another one, of the same look and another seed,
validates (`potato_other` and so on). Licence: as the source, Apache-2.0.
"""


def make(out: Path) -> int:
    """Write the tile set, in place of an older one, and return the number of tiles."""
    (out / "index.csv").unlink(missing_ok=True)
    for kind in ("images", "labels", "instances"):
        shutil.rmtree(out / kind, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        sources = []
        for seed, (crop, look) in enumerate(LOOKS.items(), start=100):
            train = _source(crop, replace(look, seed=seed, width_px=3 * SIDE_PX), Path(folder))
            other = _source(f"{crop}_other", replace(look, seed=seed + 100, width_px=SIDE_PX), Path(folder))
            sources += [train, replace(other, validation_cols=(0, SIDE_PX))]
        count = make_tiles(TileConfig(sources=tuple(sources), tile_px=SIDE_PX), out)
    with (out / "README.md").open("a", encoding="utf-8") as readme:
        readme.write(NOTE)
    return count


def _source(name: str, spec: FieldSpec, folder: Path) -> TileSource:
    field = render(spec)
    write(field, folder / name)
    paths = [str(folder / name / f"{kind}.tif") for kind in ("ortho", "labels", "instances")]
    with rasterio.open(paths[1]) as labels:
        profile = labels.profile | {"dtype": "uint16", "nodata": 0}
    with rasterio.open(paths[2], "w", **profile) as sink:
        sink.write(field.instances.astype("uint16"), 1)
    return TileSource(name, *paths)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    print(f"{make(target)} tiles in {target}")
