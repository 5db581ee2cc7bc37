"""Cover per spray cell: geoseg against exactextract on the same turned cells, in one run.

    python benchmarks/aggregate.py CLASSES.tif [--section 0.5] [--heading 7] [--rounds 3]

Prints the median seconds of both, their ratio, and the largest difference of weed cover among the cells that lie at
least half in the raster.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from exactextract import exact_extract
from odc.geo.geobox import GeoBox

from geoseg.legend import WEED
from geoseg.spray.aggregate import aggregate, raster_geobox
from geoseg.spray.grid import field_share, lattice


def cells_of(box: GeoBox, wanted: np.ndarray) -> gpd.GeoDataFrame:
    """The wanted cells of a lattice as polygons."""
    row, col = np.nonzero(wanted)
    corners = np.stack([np.stack([col + i, row + j], 1) for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))], 1)
    a = box.affine
    x = a.a * corners[..., 0] + a.b * corners[..., 1] + a.c
    y = a.d * corners[..., 0] + a.e * corners[..., 1] + a.f
    return gpd.GeoDataFrame({"n": range(row.size)}, geometry=shapely.polygons(np.stack([x, y], -1)), crs=str(box.crs))


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that `work` took, and its result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def main() -> None:
    """Run both, alternating, and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("classes", type=Path)
    parser.add_argument("--section", type=float, default=0.5)
    parser.add_argument("--heading", type=float, default=7.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    raster = raster_geobox(options.classes)
    field = shapely.box(*raster.extent.boundingbox.bbox)
    box = lattice(field, raster.crs, (options.section, options.section), options.heading)
    share, _ = field_share(field, box)
    cells = cells_of(box, share > 0.5)
    ours, theirs = [], []
    for _ in range(options.rounds):
        seconds, counts = timed(lambda: aggregate(options.classes, box, field))
        ours.append(seconds)
        seconds, table = timed(lambda: exact_extract(options.classes, cells, ["unique", "frac"], output="pandas"))
        theirs.append(seconds)
    weed = [dict(zip(u, f, strict=True)).get(WEED, 0.0) for u, f in zip(table["unique"], table["frac"], strict=True)]
    cover = (counts.weed / np.maximum(counts.valid, 1))[share > 0.5]
    pixels = raster.shape[0] * raster.shape[1] / 1e6
    print(f"{pixels:.1f} Mpx, {np.count_nonzero(share):,} cells of {options.section:g} m, heading {options.heading:g}")
    for name, seconds in (("geoseg", ours), ("exactextract", theirs)):
        spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
        print(f"{name:<13} {statistics.median(seconds):6.2f} s median of {options.rounds} ({spread})")
    print(f"ratio         {statistics.median(theirs) / statistics.median(ours):6.1f}")
    print(f"largest difference of weed cover  {np.abs(cover - np.array(weed)).max():.1e}")


if __name__ == "__main__":
    main()
