"""Vectorization against GDAL's polygonizer on the whole raster: medians and ratios of one run, arms interleaved.

    python benchmarks/vectorize.py ../shared/fields/potato/labels.tif

Without a raster, or with --synthetic, made-up ones: blobs, speckle, and the worst cases (a checkerboard, a comb).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from rasterio import features
from rasterio.transform import from_origin
from scipy import ndimage

from geoseg.export.geopackage import FieldPackage
from geoseg.segment.plantbatch import Rasters
from geoseg.segment.plants import PlantConfig, collect
from geoseg.vectors import batches, components


def gdal_dicts(path: Path) -> int:
    """The whole raster read and polygonized to GeoJSON dictionaries."""
    with rasterio.open(path) as source:
        values = source.read(1)
        return len(list(features.shapes(values, (values == 1) | (values == 2), 4, source.transform)))


def gdal_polygons(path: Path) -> list[tuple[shapely.Polygon, int]]:
    """The same, made shapely polygons."""
    with rasterio.open(path) as source:
        values = source.read(1)
        found = features.shapes(values, (values == 1) | (values == 2), 4, source.transform)
        return [(shapely.geometry.shape(shape), int(code)) for shape, code in found]


def gdal_package(path: Path, folder: Path) -> int:
    """The same, written to a GeoPackage with geopandas."""
    polygons, codes = zip(*gdal_polygons(path), strict=True)
    with rasterio.open(path) as source:
        crs = source.crs
    frame = gpd.GeoDataFrame({"code": codes}, geometry=list(polygons), crs=crs)
    frame["area_m2"] = frame.area
    frame.to_file(folder / "gdal.gpkg", layer="weeds", driver="GPKG")
    return len(frame)


def geoseg_package(path: Path, folder: Path) -> int:
    """Plants, outlines and weed patches with centres and areas, three layers with styles."""
    with rasterio.open(path) as source:
        crs = source.crs
    with FieldPackage(folder / "field.gpkg", crs) as package:
        stats = collect(Rasters(path), PlantConfig(method="components", min_plant_m2=0), package)
    return stats.plants.kept + stats.weeds.kept


def synthetic(folder: Path, size: int) -> list[Path]:
    """Rasters of the kinds that segmentation gives, and of the worst kinds."""
    rng = np.random.default_rng(0)
    rows, cols = np.indices((size, size), sparse=True)
    kinds = {
        "blobs": (ndimage.gaussian_filter(rng.random((size, size)), 6) > 0.52).astype(np.uint8),
        "speckle": (rng.random((size, size)) > 0.98).astype(np.uint8),
        "checkerboard": ((rows + cols) % 2 + 1).astype(np.uint8)[: size // 4, : size // 4],
        "comb": ((cols % 2 == 0) | (rows == size - 1)).astype(np.uint8),
    }
    made = []
    for name, values in kinds.items():
        made.append(folder / f"{name}.tif")
        profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "crs": "EPSG:32632", "compress": "deflate"}
        profile |= {"tiled": True, "blockxsize": 512, "blockysize": 512}
        profile |= {"height": values.shape[0], "width": values.shape[1]}
        with rasterio.open(made[-1], "w", transform=from_origin(690_000, 5_360_000, 0.003, 0.003), **profile) as target:
            target.write(values, 1)
    return made


def compare(path: Path, folder: Path, rounds: int) -> None:
    """Print the medians of one raster and their ratios to the first arm."""
    arms: dict[str, Callable[[], int]] = {
        "GDAL, whole raster, dictionaries": lambda: gdal_dicts(path),
        "GDAL, whole raster, polygons": lambda: len(gdal_polygons(path)),
        "geoseg, columns": lambda: sum(len(batch) for batch in batches(path)),
        "geoseg, objects": lambda: sum(len(list_) for list_ in components(path)),
        "GDAL, polygons to one layer": lambda: gdal_package(path, folder),
        "geoseg, three layers": lambda: geoseg_package(path, folder),
    }
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    counts: dict[str, int] = {}
    for _ in range(rounds):
        for name, arm in arms.items():
            start = time.perf_counter()
            counts[name] = arm()
            seconds[name].append(time.perf_counter() - start)
    print(f"\n{path.name}: {next(iter(counts.values()))} regions, {rounds} rounds")
    package = counts.pop("geoseg, three layers")  # plants and patches, of which some are put together or left out
    if len(set(counts.values())) > 1:
        raise SystemExit(f"the arms disagree: {counts}")
    print(f"  {package} plants and patches in the package")
    first = statistics.median(seconds[next(iter(arms))])
    for name, values in seconds.items():
        median = statistics.median(values)
        print(f"  {name:34} {median:8.3f} s  [{min(values):.3f}-{max(values):.3f}]  x{median / first:.2f}")


def main() -> None:
    """Parse the command line and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("raster", nargs="*", type=Path, help="uint8 class rasters")
    parser.add_argument("--synthetic", type=int, metavar="PX", help="also made-up rasters of this side")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = synthetic(folder, options.synthetic or 2048) if options.synthetic or not options.raster else []
        for path in [*options.raster, *made]:
            compare(path, folder, options.rounds)


if __name__ == "__main__":
    main()
