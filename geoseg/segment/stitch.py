"""Blocks to one Cloud Optimized GeoTIFF on the working grid. Each pixel is written once, by the block that holds it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import InputError, RunError
from geoseg.legend import LEGEND, NODATA, Legend
from geoseg.ortho.facts import check_complete
from geoseg.segment.blocks import BlockStore, full_disk, replace_file
from geoseg.windows import Rect

__all__ = ["stitch", "write_raster"]

TILE_PX = 512
_GDAL_OPTIONS = {"GDAL_CACHEMAX": 128, "GDAL_TIFF_INTERNAL_MASK": True}


def stitch(store: BlockStore, grid: GeoBox, classes: Path, confidence: Path, tags: dict[str, str]) -> dict[int, int]:
    """Write the class COG and the confidence COG from all blocks.

    Blocks that are empty or failed stay nodata. Each file is written under a temporary name beside its destination
    and takes its place when it is whole.

    Args:
        store: The blocks.
        grid: The working grid.
        classes: Destination of the class raster (uint8, palette, 255 nodata).
        confidence: Destination of the confidence raster (uint8 percent, 255 nodata).
        tags: Provenance, kept as TIFF metadata.

    Raises:
        CorruptBlockError: If a block is damaged; neither file is touched then.
        RunError: If a block has not been done, or the disk is full.

    Returns:
        Number of pixels by code; nodata is counted inside blocks that are done only.
    """
    counts = np.zeros(256, np.int64)
    with rasterio.Env(**_GDAL_OPTIONS), full_disk(classes.parent, RasterioError), ExitStack() as stack:
        names = tags | {"CLASSES": ", ".join(f"{entry.code} {entry.name}" for entry in LEGEND.entries)}
        class_sink = stack.enter_context(write_raster(classes, grid, names, LEGEND))
        confidence_sink = stack.enter_context(write_raster(confidence, grid, tags | {"UNIT": "percent"}))
        for block in store:
            arrays = store.load(block)
            if arrays is not None:
                class_sink(block, arrays[0])
                confidence_sink(block, arrays[1])
                counts += np.bincount(arrays[0].ravel(), minlength=256)
    return {code: int(count) for code, count in enumerate(counts) if count}


@contextmanager
def write_raster(path: Path, grid: GeoBox, tags: dict[str, str], legend: Legend | None = None) -> Iterator[Any]:
    """A function ``(rect, (H, W) uint8)`` that writes into a raster, which becomes a COG at `path` at the end.

    Nothing appears at `path` if the block that uses it raises.
    """
    draft = path.with_name(f".{path.stem}.draft{os.getpid()}.tif")
    cog = path.with_name(f".{path.stem}.cog{os.getpid()}.tif")
    try:
        with rasterio.open(draft, "w", **_draft_profile(grid)) as sink:

            def write(rect: Rect, pixels: np.ndarray) -> None:
                window = RasterioWindow(rect.col0, rect.row0, rect.shape[1], rect.shape[0])
                sink.write(pixels, 1, window=window)

            yield write
            sink.update_tags(**tags)
            if legend is not None:
                sink.write_colormap(1, legend.colormap)
        _to_cog(draft, cog, mode=legend is not None)
        _check_whole(cog)
        replace_file(cog, path)
        _write_category_names(path, legend)
    finally:
        for leftover in (draft, cog):
            leftover.unlink(missing_ok=True)
            leftover.with_name(leftover.name + ".aux.xml").unlink(missing_ok=True)


def _draft_profile(grid: GeoBox) -> dict[str, Any]:
    height, width = grid.shape
    return {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": 1,
        "height": height,
        "width": width,
        "crs": str(grid.crs),
        "transform": grid.affine,
        "nodata": NODATA,
        "tiled": True,
        "blockxsize": TILE_PX,
        "blockysize": TILE_PX,
        "compress": "lzw",
        "bigtiff": "if_safer",
        "sparse_ok": True,
    }


def _to_cog(draft: Path, cog: Path, *, mode: bool) -> None:
    rasterio.shutil.copy(
        draft,
        cog,
        driver="COG",
        blocksize=TILE_PX,
        compress="DEFLATE",
        level=6,
        bigtiff="IF_SAFER",
        overviews="IGNORE_EXISTING",
        overview_resampling="MODE" if mode else "NEAREST",
        sparse_ok=True,
        num_threads=2,
    )


def _check_whole(path: Path) -> None:
    """GDAL reports some failed writes to nobody; a block that ends behind the file's end tells of them all.

    Raises:
        RunError: If the file is cut off.
    """
    try:
        with rasterio.open(path) as raster:
            check_complete(raster, str(path))
    except (InputError, RasterioError) as error:
        raise RunError(f"{path} was not written whole, perhaps for lack of disk space: {error}") from error


def _write_category_names(path: Path, legend: Legend | None) -> None:
    """Class names beside the raster, where GDAL and QGIS look for them."""
    sidecar = path.with_name(path.name + ".aux.xml")
    if legend is None:
        sidecar.unlink(missing_ok=True)
        return
    names = "".join(f"<Category>{entry.name}</Category>" for entry in legend.entries)
    text = f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{names}</CategoryNames></PAMRasterBand></PAMDataset>\n'
    draft = path.with_name(f".{sidecar.name}.tmp{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    replace_file(draft, sidecar)
