"""A field of 100 ha in cells of 0.25 m: time and memory of the plan and of the simulated machine.

    python benchmarks/hundred_hectares.py FOLDER [--simulate]

Renders a class raster of 20,000 x 20,000 pixels of 5 cm into FOLDER once (patches of weeds and single ones, fixed
seed), plans it for nozzles of 0.25 m along 27 degrees and prints seconds, cells, totals and the peak of memory.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rasterio
import shapely
from affine import Affine
from rasterio.windows import Window

from geoseg.spray import SprayConfig
from geoseg.spray.prescription import plan

SIDE_PX, PIXEL_M, BLOCK = 20_000, 0.05, 2000
EAST, NORTH = 600_000.0, 5_400_000.0
PATCHES, SINGLES = 1500, 30_000


def render(path: Path) -> None:
    """Write the class raster, block by block; empty blocks take no room."""
    rng = np.random.default_rng(7)
    span = SIDE_PX * PIXEL_M
    radius = np.concatenate([rng.gamma(2.0, 1.2, PATCHES), rng.uniform(0.03, 0.12, SINGLES)])
    x, y = rng.uniform(0, span, (2, radius.size))
    tiles = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "lzw", "SPARSE_OK": "TRUE"}
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "height": SIDE_PX, "width": SIDE_PX, "nodata": 255}
    transform = Affine(PIXEL_M, 0, EAST, 0, -PIXEL_M, NORTH)
    with rasterio.open(path, "w", crs="EPSG:32632", transform=transform, **profile, **tiles) as sink:
        for row in range(0, SIDE_PX, BLOCK):
            for col in range(0, SIDE_PX, BLOCK):
                pixels = np.zeros((BLOCK, BLOCK), np.uint8)
                left, top, side = col * PIXEL_M, row * PIXEL_M, BLOCK * PIXEL_M
                near = (abs(x - left - side / 2) < side / 2 + radius) & (abs(y - top - side / 2) < side / 2 + radius)
                for cx, cy, r in zip(x[near] - left, y[near] - top, radius[near], strict=True):
                    disc(pixels, cx / PIXEL_M, cy / PIXEL_M, r / PIXEL_M)
                sink.write(pixels, 1, window=Window(col, row, BLOCK, BLOCK))


def disc(pixels: np.ndarray, x: float, y: float, radius: float) -> None:
    """Paint a disc of weed; a patch is half soil."""
    row0, row1 = (int(np.clip(v, 0, pixels.shape[0])) for v in (y - radius, y + radius + 1))
    col0, col1 = (int(np.clip(v, 0, pixels.shape[1])) for v in (x - radius, x + radius + 1))
    rows, cols = np.mgrid[row0:row1, col0:col1]
    inside = np.hypot(cols + 0.5 - x, rows + 0.5 - y) < radius
    pixels[row0:row1, col0:col1][inside & ((radius < 5) | ((rows // 3 + cols // 3) % 2 == 0))] = 2


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long something took and the peak of memory since the process began."""
    start = time.perf_counter()
    yield
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{what:<28} {time.perf_counter() - start:7.1f} s   peak {peak:.2f} GB", flush=True)


def main() -> None:
    """Render, plan and simulate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--simulate", action="store_true")
    options = parser.parse_args()
    path = options.folder / "hundred_hectares.tif"
    if not path.exists():
        options.folder.mkdir(parents=True, exist_ok=True)
        with timed("rendered"):
            render(path)
    span = SIDE_PX * PIXEL_M
    field = shapely.box(EAST, NORTH - span, EAST + span, NORTH)
    config = SprayConfig(machine="spot_24m_nozzles", length_m=0.25, heading_deg=27.0)
    print(f"{SIDE_PX**2 / 1e6:.0f} Mpx in {path.stat().st_size / 1e6:.1f} MB")
    if options.simulate:
        from geoseg.spray.curves import simulate

        with timed("plan and simulation"):
            simulation, _ = simulate(path, field, config)
        print(simulation.totals)
        return
    with timed("plan"):
        prescription = plan(path, field, config)
    print(f"lattice {prescription.box.shape}, {prescription.totals.cells:,} cells in the field")
    print(prescription.totals)


if __name__ == "__main__":
    main()
