"""Time and memory from class and offset rasters to files, for very many plants that touch along their rows.

    python benchmarks/plants.py [--plants 1000000] [--block 3072]

Discs of 12 pixels stand 11 pixels apart in rows 24 pixels apart, each with exact offsets. Printed are seconds of the
clock and of the processor: for grouping with outlines and GeoPackage, for rows, GeoParquet and ``panoptic.tif``; the
peak of memory after each; and what joining across blocks and strips takes, which is done because the raster is cut.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.windows import Window

from geoseg.export.geopackage import FieldPackage
from geoseg.export.geoparquet import write_geoparquet
from geoseg.export.panoptic import write_panoptic
from geoseg.export.rowlayers import read_plants, write_rows
from geoseg.segment import voteblocks
from geoseg.segment.plantbatch import Rasters
from geoseg.segment.plants import PlantConfig, collect
from geoseg.segment.rows import RowConfig, find_rows
from geoseg.segment.stand import find_gaps, row_stand
from geoseg.vectors import stream

GSD, ROW_PX, PLANT_PX = 0.01, 24, 11
SPENT: dict[str, float] = {}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plants", type=int, default=1_000_000)
    parser.add_argument("--block", type=int, default=None, help="side of the blocks in pixels")
    given = parser.parse_args()
    for module, name in ((stream, "join_runs"), (voteblocks.Held, "add")):
        setattr(module, name, _timed(name, getattr(module, name)))
    with tempfile.TemporaryDirectory() as folder:
        _measure(Path(folder), given.plants, given.block)


def _measure(folder: Path, plants: int, block_px: int | None) -> None:
    side = round((plants * ROW_PX * PLANT_PX) ** 0.5) // 264 * 264
    rasters = _field(folder, side)
    marks = [("", time.perf_counter(), time.process_time(), _peak_mb())]

    def mark(what: str) -> None:
        marks.append((what, time.perf_counter(), time.process_time(), _peak_mb()))

    package = folder / "field.gpkg"
    with FieldPackage(package, "EPSG:32632") as sink:
        stats = collect(rasters, PlantConfig(max_plant_m=0.3, scatter_m=0.02), sink, block_px=block_px)
    mark("group, outlines, field.gpkg")
    points = read_plants(package)
    rows = find_rows(points.x, points.y, points.area_m2, RowConfig())
    stand = row_stand(rows.plants, rows.table, 1.5)
    write_rows(package, points.fid, rows.plants, rows.table, stand, find_gaps(rows.plants, stand, 1.5), "EPSG:32632")
    mark("rows, gaps, attributes")
    write_geoparquet(package, folder / "plants.parquet")
    mark("plants.parquet")
    write_panoptic(package, Path(rasters.classes), folder / "panoptic.tif")
    mark("panoptic.tif")
    print(f"{side} x {side} px, {stats.grouping}")
    print(f"{stats.plants.kept:,} crop plants, {len(rows.table.row_id):,} rows")
    print("    wall, s  processor, s  peak so far, MiB")
    for (_, wall, busy, _), (what, wall_end, busy_end, peak) in pairwise(marks):
        print(f"{wall_end - wall:11.1f} {busy_end - busy:13.1f} {peak:17.0f}  {what}")
    print(f"{marks[-1][1] - marks[0][1]:11.1f} {marks[-1][2] - marks[0][2]:13.1f} {marks[-1][3]:17.0f}  in all")
    for what, seconds in SPENT.items():
        print(f"{seconds:25.3f}  of it in {what}")


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*given: Any, **named: Any) -> Any:
        start = time.process_time()
        try:
            return function(*given, **named)
        finally:
            SPENT[name] = SPENT.get(name, 0.0) + time.process_time() - start

    return wrapped


def _field(folder: Path, side: int) -> Rasters:
    """Rasters of the field, written strip by strip from one period of the pattern."""
    row, col = np.mgrid[: 2 * ROW_PX, : 2 * PLANT_PX]
    down, right = (row + 0.5) % ROW_PX - ROW_PX / 2, (col + 0.5) % PLANT_PX - PLANT_PX / 2
    classes = (np.hypot(down, right) <= 6).astype(np.uint8)
    at_row, at_col = np.mgrid[:ROW_PX, :PLANT_PX] * 2 + 1.0
    pointing = np.stack([ROW_PX / 2 - at_row % ROW_PX, PLANT_PX / 2 - at_col % PLANT_PX]) / 2
    offsets = np.rint(pointing).astype(np.int8)
    for name, pattern, scale in (("classes", classes[None], 1), ("offsets", offsets, 2)):
        period = pattern.shape[1:]
        strip = np.tile(pattern, (1, 528 // scale // period[0] + 1, side // scale // period[1] + 1))
        profile = {"count": len(pattern), "height": side // scale, "width": side // scale, "dtype": pattern.dtype.name}
        transform = Affine(GSD * scale, 0, 690_000, 0, -GSD * scale, 5_360_000)
        with rasterio.open(
            folder / f"{name}.tif", "w", driver="GTiff", crs="EPSG:32632", transform=transform, tiled=True,
            blockxsize=512, blockysize=512, compress="lzw", **profile,
        ) as file:  # fmt: skip
            step = 528 // scale
            for top in range(0, side // scale, step):
                rows = min(step, side // scale - top)
                file.write(strip[:, :rows, : side // scale], window=Window(0, top, side // scale, rows))
    return Rasters(folder / "classes.tif", None, folder / "offsets.tif")


if __name__ == "__main__":
    main()
