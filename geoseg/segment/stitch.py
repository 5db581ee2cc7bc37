"""Blocks to one Cloud Optimized GeoTIFF for every layer. Each pixel is written once, by the block that holds it."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from odc.geo.geobox import GeoBox
from rasterio._err import CPLE_BaseError  # some of what GDAL says reaches us as it is
from rasterio.enums import Compression
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import InputError, RunError
from geoseg.legend import LEGEND, NODATA, Legend
from geoseg.ortho.facts import check_complete
from geoseg.ortho.ground import scaled
from geoseg.segment.blocks import BlockStore
from geoseg.segment.durable import full_disk, replace_file
from geoseg.segment.layers import CLASSES, CONFIDENCE, OFFSETS, Layer
from geoseg.segment.preview import PREVIEW
from geoseg.windows import Rect

__all__ = ["Sink", "stitch"]

TILE_PX = 512
SMALL = 1 << 26
"""Up to so many values GDAL's temporary overviews are not compressed: it halves the time, and the disk has room."""
_TAGS = {
    CLASSES.name: {"CLASSES": ", ".join(f"{entry.code} {entry.name}" for entry in LEGEND.entries)},
    CONFIDENCE.name: {"UNIT": "percent"},
    OFFSETS.name: {"UNIT": "pixels of this raster, from the middle of a pixel to the centre of its plant"},
}
_DESCRIPTIONS = {OFFSETS.name: ("down", "right")}
_RESAMPLING = {CLASSES.name: "MODE", PREVIEW: "AVERAGE"}
_GDAL_OPTIONS = {"GDAL_CACHEMAX": 128, "GDAL_TIFF_INTERNAL_MASK": True}


def stitch(store: BlockStore, grid: GeoBox, files: Mapping[str, Path], tags: Mapping[str, str]) -> dict[int, int]:
    """Write a COG of every layer from all blocks.

    What is empty or failed keeps the layer's fill. Files are written under temporary names beside their destinations,
    made into COGs side by side, and take their places when all are whole.

    Args:
        store: The blocks.
        grid: The working grid.
        files: Destination of every layer, by its name.
        tags: Provenance, kept as TIFF metadata.

    Raises:
        CorruptBlockError: If a block is damaged; no file is touched then.
        RunError: If a block has not been done, or the disk is full.

    Returns:
        Number of pixels by class code; nodata is counted inside blocks that are done only.
    """
    counts = np.zeros(256, np.int64)
    first = next(iter(files.values()))
    with rasterio.Env(**_GDAL_OPTIONS), full_disk(first.parent, RasterioError, CPLE_BaseError), ExitStack() as stack:
        sinks = [Sink(files[layer.name], grid, layer, tags, store.block_px) for layer in store.layers]
        for sink in sinks:
            stack.callback(sink.discard)
        for block in store:
            arrays = store.load(block)
            if arrays is not None:
                for sink, pixels in zip(sinks, arrays, strict=True):
                    sink.write(block, pixels)
                counts += _histogram(arrays[store.layers.index(CLASSES)])
        with ThreadPoolExecutor(len(sinks), "geoseg-cog") as threads:
            for future in [threads.submit(sink.finish) for sink in sinks]:
                future.result()
        for sink in sinks:
            sink.publish()
    return {code: int(count) for code, count in enumerate(counts) if count}


def _histogram(classes: np.ndarray) -> np.ndarray:
    """(256,) number of pixels of every value."""
    found = np.zeros(256, np.int64)
    for code in (*(entry.code for entry in LEGEND.entries), NODATA):
        found[code] = np.count_nonzero(classes == code)
    if found.sum() != classes.size:  # a model with codes of its own
        found = np.bincount(classes.ravel(), minlength=256)
    return found


class Sink:
    """A layer on its way to a COG: `write` its parts, `finish` the file, `publish` it; `discard` what is left."""

    def __init__(self, path: Path, grid: GeoBox, layer: Layer, tags: Mapping[str, str], block_px: int) -> None:
        """Begin a draft beside the destination.

        Args:
            path: The destination.
            grid: The working grid.
            layer: What is written.
            tags: Provenance, kept as TIFF metadata.
            block_px: Side of the rectangles that will be written, in pixels of the working grid.
        """
        self._path, self._layer = path, layer
        self._legend = LEGEND if layer == CLASSES else None
        self._tags = {**tags, **_TAGS.get(layer.name, {})}
        self._draft = path.with_name(f".{path.stem}.draft{os.getpid()}.tif")
        self._cog = path.with_name(f".{path.stem}.cog{os.getpid()}.tif")
        self._file = rasterio.open(self._draft, "w", **_draft_profile(grid, layer, block_px))

    def write(self, rect: Rect, pixels: np.ndarray) -> None:
        """Put the layer's part of a rectangle of the working grid in its place."""
        part = self._layer.rect(rect)
        window = RasterioWindow(part.col0, part.row0, part.shape[1], part.shape[0])
        self._file.write(pixels.reshape(self._layer.bands, *part.shape), window=window)

    def finish(self) -> None:
        """Make the COG of what has been written; from any one thread.

        Raises:
            RunError: If it was not written whole.
        """
        small = self._file.width * self._file.height * self._layer.bands <= SMALL
        temporary = {"COG_TMP_COMPRESSION": "NONE"} if small else {}
        with rasterio.Env(**_GDAL_OPTIONS, **temporary):
            self._file.update_tags(**self._tags)
            if self._legend is not None:
                self._file.write_colormap(1, self._legend.colormap)
            for number, text in enumerate(_DESCRIPTIONS.get(self._layer.name, ()), start=1):
                self._file.set_band_description(number, text)
            self._file.close()
            _to_cog(self._draft, self._cog, self._layer)
            _check_whole(self._cog)

    def publish(self) -> None:
        """Let the finished file take its place."""
        replace_file(self._cog, self._path)
        _write_category_names(self._path, self._legend)

    def discard(self) -> None:
        """Remove what is not finished."""
        self._file.close()
        for leftover in (self._draft, self._cog):
            leftover.unlink(missing_ok=True)
            leftover.with_name(leftover.name + ".aux.xml").unlink(missing_ok=True)


@functools.cache
def _draft_compression() -> dict[str, Any]:
    """Zstandard takes a tenth of the time of LZW; a GDAL that was built without it has LZW."""
    fast = {"compress": "zstd", "zstd_level": 1}
    with warnings.catch_warnings(), MemoryFile() as memory:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            memory.open(driver="GTiff", width=16, height=16, count=1, dtype="uint8", **fast).close()
        except RasterioError:
            return {"compress": "lzw"}
        with memory.open() as raster:
            return fast if raster.compression == Compression.zstd else {"compress": "lzw"}


def _aligned_px(block_px: int) -> int:
    """Side of tiles of which a block holds whole ones, so that none is written in parts.

    Example:
        >>> _aligned_px(3840), _aligned_px(960), _aligned_px(250)
        (960, 960, 512)
    """
    return next((px for px in range(min(block_px, 1024) // 16 * 16, 255, -16) if block_px % px == 0), TILE_PX)


def _draft_profile(grid: GeoBox, layer: Layer, block_px: int) -> dict[str, Any]:
    tile_px = _aligned_px(block_px // layer.scale)
    rect = layer.rect(Rect(0, 0, int(grid.shape[0]), int(grid.shape[1])))
    colours = {"photometric": "RGB", "alpha": "YES"} if layer.name == PREVIEW else {}
    return colours | {
        "driver": "GTiff",
        "dtype": layer.dtype,
        "count": layer.bands,
        "height": rect.shape[0],
        "width": rect.shape[1],
        "crs": str(grid.crs),
        "transform": scaled(grid.affine, layer.scale, layer.scale),
        "nodata": NODATA if layer.fill == NODATA else None,
        "tiled": True,
        "blockxsize": tile_px,
        "blockysize": tile_px,
        **_draft_compression(),
        "bigtiff": "if_safer",
        "sparse_ok": True,
    }


def _to_cog(draft: Path, cog: Path, layer: Layer) -> None:
    rasterio.shutil.copy(
        draft,
        cog,
        driver="COG",
        blocksize=TILE_PX,
        compress="DEFLATE",
        level=3,  # against 6: a third of the time, 5 % more bytes
        predictor="YES" if layer.name == PREVIEW else "NO",
        bigtiff="IF_SAFER",
        overviews="IGNORE_EXISTING",
        overview_resampling=_RESAMPLING.get(layer.name, "NEAREST"),
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
