"""Cover per spray cell: geoseg against exactextract and rasterstats on the same turned cells, in one run.

    python benchmarks/aggregate.py CLASSES.tif [--section 0.5] [--heading 7] [--rounds 3]

Prints the median seconds of each, the ratios, and the largest difference of weed cover among the cells that lie at
least half in the raster. rasterstats takes part where it is installed; it is no dependency of geoseg.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
import warnings
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
    """Run all, alternating, and print one line each."""
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
    works: dict[str, Callable[[], Any]] = {
        "geoseg": lambda: aggregate(options.classes, box, field),
        "exactextract": lambda: exact_extract(options.classes, cells, ["unique", "frac"], output="pandas"),
    }
    if importlib.util.find_spec("rasterstats"):
        works["rasterstats"] = lambda: zonal(options.classes, cells)
    seconds: dict[str, list[float]] = {name: [] for name in works}
    found: dict[str, Any] = {}
    for _ in range(options.rounds):
        for name, work in works.items():
            took, found[name] = timed(work)
            seconds[name].append(took)
    inside = share > 0.5
    counts, table = found["geoseg"], found["exactextract"]
    cover = {
        "geoseg": (counts.weed / np.maximum(counts.valid, 1))[inside],
        "exactextract": np.array(
            [dict(zip(u, f, strict=True)).get(WEED, 0.0) for u, f in zip(table["unique"], table["frac"], strict=True)]
        ),
    }
    if "rasterstats" in found:
        cover["rasterstats"] = np.array([row.get(WEED, 0) / max(sum(row.values()), 1) for row in found["rasterstats"]])
    pixels = raster.shape[0] * raster.shape[1] / 1e6
    print(f"{pixels:.1f} Mpx, {np.count_nonzero(inside):,} cells of {options.section:g} m, heading {options.heading:g}")
    ours = statistics.median(seconds["geoseg"])
    for name, each in seconds.items():
        spread = f"{min(each):.2f} to {max(each):.2f}"
        ratio = f"{statistics.median(each) / ours:6.1f} times geoseg's"
        apart = np.abs(cover[name] - cover["geoseg"]).max()
        middle = f"{statistics.median(each):7.2f} s median of {options.rounds} ({spread}), {ratio}"
        print(f"{name:<13} {middle}; cover differs by at most {apart:.1e}")


def zonal(classes: Path, cells: gpd.GeoDataFrame) -> list[dict[int, int]]:
    """Pixels of each class in each cell, by rasterstats."""
    from rasterstats import zonal_stats

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return zonal_stats(cells.geometry, str(classes), categorical=True, nodata=255)


if __name__ == "__main__":
    main()
