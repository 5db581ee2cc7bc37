"""A layer on its way to a Cloud Optimized GeoTIFF. Knows rasters, and nothing of blocks or of who asks."""

from __future__ import annotations

import functools
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio._err import CPLE_BaseError  # some of what GDAL says reaches us as it is
from rasterio.enums import Compression, Resampling
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile
from rasterio.windows import Window as RasterioWindow

from geoseg.durable import full_disk, replace_file
from geoseg.errors import InputError, RunError
from geoseg.legend import LEGEND, NODATA, Legend
from geoseg.ortho.facts import check_complete
from geoseg.ortho.ground import scaled
from geoseg.segment.halved import most_frequent, upper_left
from geoseg.segment.layers import CLASSES, CONFIDENCE, OFFSETS, Layer
from geoseg.segment.preview import PREVIEW
from geoseg.windows import Rect

__all__ = ["Sink", "discard", "publish", "writing"]

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
_CACHE_BYTES = 32 << 20
"""Of GDAL's block cache, one for the whole process; rasterio takes bytes where GDAL's option has megabytes."""
_GDAL_OPTIONS = {"GDAL_CACHEMAX": _CACHE_BYTES, "GDAL_TIFF_INTERNAL_MASK": True, "GDAL_NUM_THREADS": "1"}


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Write rasters to a folder, with bounded memory and one message for a full disk.

    Raises:
        RunError: If the disk is full.
    """
    with full_disk(folder, RasterioError, CPLE_BaseError), rasterio.Env(**_GDAL_OPTIONS):
        yield


def publish(cog: Path, path: Path, layer: Layer) -> None:
    """Let a finished file take its place."""
    replace_file(cog, path)
    _write_category_names(path, LEGEND if layer == CLASSES else None)


def discard(path: Path, mark: str) -> None:
    """Remove all temporary files with a mark beside a destination, whoever wrote them."""
    for leftover in path.parent.glob(f".*{mark}*"):
        with suppress(PermissionError):  # Windows keeps what is open
            leftover.unlink(missing_ok=True)


class Sink:
    """A layer on its way to a COG: `write` its parts, `finish` the file, `publish` it; `discard` what is left.

    Attributes:
        cog: The file under its temporary name, there once it is finished.
    """

    def __init__(
        self, path: Path, grid: GeoBox, layer: Layer, tags: Mapping[str, str], block_px: int, mark: str = ""
    ) -> None:
        """Begin a draft beside the destination, under a name that nobody else has, on no machine.

        Args:
            path: The destination.
            grid: The working grid.
            layer: What is written.
            tags: Provenance, kept as TIFF metadata.
            block_px: Side of the rectangles that will be written, in pixels of the working grid.
            mark: Part of the names of temporary files, by which another process can `discard` them.
        """
        self._path, self._layer, self._own = path, layer, f"{mark}{uuid.uuid4().hex[:12]}"
        self._legend = LEGEND if layer == CLASSES else None
        self._tags = {**tags, **_TAGS.get(layer.name, {})}
        self._draft = path.with_name(f".{path.stem}.draft{self._own}.tif")
        self.cog = path.with_name(f".{path.stem}.cog{self._own}.tif")
        self._ovr = self._draft.with_name(f"{self._draft.name}.ovr")  # where GDAL looks for overviews
        self._file = rasterio.open(self._draft, "w", **_draft_profile(grid, layer, block_px))
        self._small = self._file.width * self._file.height * layer.bands <= SMALL
        self._half = None
        if block_px % (2 * layer.scale) == 0 and _levels(self._file.shape) and self._halves_faster():
            half = replace(layer, scale=2 * layer.scale)
            self._half = rasterio.open(self._ovr, "w", **_draft_profile(grid, half, block_px))

    @property
    def wanted(self) -> bool:
        """False once somebody else has discarded the draft: then there is no use in going on."""
        return self._draft.exists()

    def write(self, rect: Rect, pixels: np.ndarray) -> None:
        """Put the layer's part of a rectangle of the working grid in its place."""
        _put(self._file, self._layer, rect, pixels)
        if self._half is not None:
            half = most_frequent(pixels, NODATA) if self._layer == CLASSES else upper_left(pixels)
            _put(self._half, replace(self._layer, scale=2 * self._layer.scale), rect, half)

    def finish(self) -> None:
        """Make the COG of what has been written; from any one thread.

        Raises:
            RunError: If it was not written whole, or somebody else has discarded it.
        """
        temporary = {"COG_TMP_COMPRESSION": "NONE"} if self._small else {}
        with rasterio.Env(**_GDAL_OPTIONS, **temporary):
            self._file.update_tags(**self._tags)
            if self._legend is not None:
                self._file.write_colormap(1, self._legend.colormap)
            for number, text in enumerate(_DESCRIPTIONS.get(self._layer.name, ()), start=1):
                self._file.set_band_description(number, text)
            self._close()
            if self._half is not None:
                _add_overviews(self._ovr, _levels(self._file.shape)[:-1], _RESAMPLING.get(self._layer.name, "NEAREST"))
            _to_cog(self._draft, self.cog, self._layer, use_overviews=self._half is not None)
            _check_whole(self.cog)
        self._ovr.unlink(missing_ok=True)
        try:
            self._draft.unlink()  # the one who removes it decides what becomes of the COG
        except FileNotFoundError:
            raise RunError(f"{self._path} is not wanted any more") from None

    def publish(self) -> None:
        """Let the finished file take its place."""
        publish(self.cog, self._path, self._layer)

    def discard(self) -> None:
        """Remove what is not finished."""
        self._close()
        discard(self._path, self._own)

    def _halves_faster(self) -> bool:
        """Whether GDAL takes longer for the first overview than we do; what comes out is the same."""
        return self._layer == CLASSES or (self._layer.name not in _RESAMPLING and not self._small)

    def _close(self) -> None:
        self._file.close()
        if self._half is not None:
            self._half.close()


def _put(file: Any, layer: Layer, rect: Rect, pixels: np.ndarray) -> None:
    part = layer.rect(rect)
    window = RasterioWindow(part.col0, part.row0, part.shape[1], part.shape[0])
    file.write(pixels.reshape(layer.bands, *part.shape), window=window)


@functools.cache
def _draft_compression() -> dict[str, Any]:
    """Zstandard takes a tenth of the time of LZW; a GDAL that was built without it has LZW."""
    fast = {"compress": "zstd", "zstd_level": 1}
    somewhere = Affine.translation(1, 1)  # without it there is a warning, and filters of warnings are no thread's own
    with MemoryFile() as memory:
        try:
            memory.open(
                driver="GTiff", width=16, height=16, count=1, dtype="uint8", transform=somewhere, **fast
            ).close()
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


def _levels(shape: tuple[int, int]) -> list[int]:
    """Factors of the overviews of a raster, until one fits into a tile; those that GDAL chooses.

    Example:
        >>> _levels((1025, 700)), _levels((512, 512))
        ([2], [])
    """
    levels: list[int] = []
    while max(shape) // 2 ** len(levels) > TILE_PX:
        levels.append(2 ** (len(levels) + 1))
    return levels


def _add_overviews(path: Path, levels: list[int], resampling: str) -> None:
    if levels:
        with rasterio.open(path, "r+") as file:
            file.build_overviews(levels, Resampling[resampling.lower()])


def _to_cog(draft: Path, cog: Path, layer: Layer, *, use_overviews: bool) -> None:
    rasterio.shutil.copy(
        draft,
        cog,
        driver="COG",
        blocksize=TILE_PX,
        compress="DEFLATE",
        level=3,  # against 6: a third of the time, 5 % more bytes
        predictor="YES" if layer.name == PREVIEW else "NO",
        bigtiff="IF_SAFER",
        overviews="FORCE_USE_EXISTING" if use_overviews else "IGNORE_EXISTING",
        overview_resampling=_RESAMPLING.get(layer.name, "NEAREST"),
        sparse_ok=True,
        num_threads=1,  # GDAL's own threads wait for one another for ever when several files are made in one process
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
