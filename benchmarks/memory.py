"""Peak memory, open files and Python objects against the size of the ortho, with a network that costs nothing.

Usage: python benchmarks/memory.py ORTHO [--repeat 1 4] [--sparse 66000] [--window PX]

ORTHO is repeated N x N times through a VRT. ``--sparse S`` adds a file of S x S pixels, nearly all of one value, which
is predicted in full. Every size runs in a process of its own; the peak of a stage is the kernel's VmHWM, which is reset
as the stage begins. Objects are the blocks that the interpreter has allocated, their most while the run lasted, looked
at five times a second.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

STAGES = ("segment", "vectorize", "rows", "prescribe", "picture")


class CheapSegmenter:
    """Green things are plants, those with much green weeds, in cells of 16 pixels."""

    backend = "cheap"

    def __init__(self, window_px: int | None) -> None:
        from geoseg.models.card import read_card

        card = read_card("default")
        tiling = card.tiling.model_copy(update={} if window_px is None else {"write_px": window_px})
        self.card = card.model_copy(update={"name": "cheap", "tiling": tiling, "instances": "none"})

    def classify(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Codes and confidence."""
        cells = images[:, :, 8::16, 8::16].astype(np.int16)
        excess = 2 * cells[:, 1] - cells[:, 0] - cells[:, 2]
        codes = ((excess > 30).astype(np.uint8) + (excess > 60)).repeat(16, 1).repeat(16, 2)
        return codes, np.full_like(codes, 90)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Probabilities."""
        return np.stack([self.classify(images)[0] == code for code in range(3)], 1).astype(np.float32)


def repeated(ortho: Path, times: int, folder: Path) -> Path:
    """A VRT with the ortho side by side."""
    import rasterio

    with rasterio.open(ortho) as raster:
        height, width, count, transform, wkt = *raster.shape, raster.count, raster.transform, raster.crs.to_wkt()
        colours = [colour.name.capitalize() for colour in raster.colorinterp]
        nodata = raster.nodata
        dtype = "Byte"
        block = raster.block_shapes[0]
    bands = []
    for band in range(count):
        sources = "".join(
            f"<SimpleSource><SourceFilename relativeToVRT='0'>{ortho}</SourceFilename>"
            f"<SourceBand>{band + 1}</SourceBand>"
            f"<SourceProperties RasterXSize='{width}' RasterYSize='{height}' DataType='{dtype}' "
            f"BlockXSize='{block[1]}' BlockYSize='{block[0]}'/>"
            f"<SrcRect xOff='0' yOff='0' xSize='{width}' ySize='{height}'/>"
            f"<DstRect xOff='{col * width}' yOff='{row * height}' xSize='{width}' ySize='{height}'/></SimpleSource>"
            for row in range(times)
            for col in range(times)
        )
        empty = "" if nodata is None else f"<NoDataValue>{nodata:g}</NoDataValue>"
        bands.append(
            f"<VRTRasterBand dataType='{dtype}' band='{band + 1}'>{empty}<ColorInterp>{colours[band]}</ColorInterp>"
            f"{sources}</VRTRasterBand>"
        )
    path = folder / f"repeated{times}.vrt"
    place = ", ".join(str(value) for value in transform.to_gdal())
    path.write_text(
        f"<VRTDataset rasterXSize='{width * times}' rasterYSize='{height * times}'><SRS>{wkt.replace('<', '')}</SRS>"
        f"<GeoTransform>{place}</GeoTransform>{''.join(bands)}</VRTDataset>"
    )
    return path


def sparse(ortho: Path, side: int, folder: Path) -> Path:
    """A sparse file whose pixels count all, with a picture in the middle: a square of side / 8."""
    import rasterio
    from rasterio.windows import Window

    path = folder / "sparse.tif"
    with rasterio.open(ortho) as source:
        profile = {
            "driver": "GTiff", "dtype": "uint8", "count": 4, "height": side, "width": side, "crs": source.crs,
            "transform": source.transform, "tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "lzw",
            "sparse_ok": True, "bigtiff": "yes", "photometric": "rgb", "alpha": "unassociated",
        }  # fmt: skip
        part = source.read([1, 2, 3], window=Window(1000, 1000, 2048, 2048), boundless=True)
    start, stop = side * 7 // 16 // 512 * 512, side * 9 // 16 // 512 * 512
    with rasterio.open(path, "w", **profile) as sink:
        for row in range(start, stop, 2048):
            for col in range(start, stop, 2048):
                sink.write(part, [1, 2, 3], window=Window(col, row, 2048, 2048))
                sink.write(np.full((2048, 2048), 255, np.uint8), 4, window=Window(col, row, 2048, 2048))
    return path


def status(name: str) -> int:
    """A line of the kernel's status of this process, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) >> 10
    raise KeyError(name)


def measure(ortho: str, window_px: int | None) -> None:
    """One run in this process; prints a line of JSON."""
    from geoseg import job
    from geoseg.progress import listen

    base = status("VmRSS")
    peaks: dict[str, int] = {}
    seconds: dict[str, float] = {}
    files, objects = [0], [0]
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.2):
            files[0] = max(files[0], len(list(Path("/proc/self/fd").iterdir())))
            objects[0] = max(objects[0], sys.getallocatedblocks())

    def heard(event: dict) -> None:
        if event["event"] == "stage_started":
            Path("/proc/self/clear_refs").write_text("5")
        if event["event"] == "stage_finished":
            peaks[event["stage"]] = status("VmHWM")
            seconds[event["stage"]] = event["seconds"]

    watcher = threading.Thread(target=watch)
    watcher.start()
    with tempfile.TemporaryDirectory(dir=os.environ.get("GEOSEG_SCRATCH")) as folder, listen(heard):
        started = time.perf_counter()
        job.run(ortho, Path(folder) / "run", model=CheapSegmenter(window_px))
        total = time.perf_counter() - started
    stop.set()
    watcher.join()
    counts = {"files": files[0], "objects": objects[0]}
    print(json.dumps({"base": base, "peaks": peaks, "seconds": seconds, "total": total} | counts))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ortho", type=Path)
    parser.add_argument("--repeat", type=int, nargs="*", default=[1, 4])
    parser.add_argument("--sparse", type=int, default=0)
    parser.add_argument("--window", type=int)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(str(arguments.ortho), arguments.window)
        return
    folder = Path(tempfile.mkdtemp())
    try:
        orthos = [repeated(arguments.ortho.resolve(), times, folder) for times in arguments.repeat]
        orthos += [sparse(arguments.ortho, arguments.sparse, folder)] if arguments.sparse else []
        print(
            "ortho            Gpx  base MiB  "
            + "".join(f"{name:>11}" for name in STAGES)
            + "   files  objects    seconds"
        )
        for ortho in orthos:
            _print_row(ortho, arguments.window)
    finally:
        shutil.rmtree(folder)


def _print_row(ortho: Path, window_px: int | None) -> None:
    import rasterio

    with rasterio.open(ortho) as raster:
        gpx = raster.width * raster.height / 1e9
    extra = [] if window_px is None else ["--window", str(window_px)]
    found = subprocess.run(
        [sys.executable, __file__, str(ortho), "--measure", *extra], stdout=subprocess.PIPE, check=True, text=True
    )
    row = json.loads(found.stdout.splitlines()[-1])
    peaks = "".join(f"{row['peaks'].get(name, 0):>11}" for name in STAGES)
    times = " ".join(f"{row['seconds'].get(name, 0):.0f}" for name in STAGES)
    counts = f"{row['files']:>7} {row['objects']:>8}"
    print(f"{ortho.name:<15} {gpx:5.2f} {row['base']:>9}  {peaks} {counts}    {row['total']:.0f} ({times})")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
