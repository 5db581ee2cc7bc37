"""How much of each pixel of a picture is soil, crop and weed, and how it is coloured. Reads the class raster once."""

from __future__ import annotations

import functools
import math
from pathlib import Path

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.windows import Window as RasterioWindow

from geoseg.legend import CROP, LEGEND, SOIL, WEED
from geoseg.ortho.ground import apply
from geoseg.ortho.source import environment
from geoseg.segment.layers import coarse_sum
from geoseg.windows import Rect

__all__ = ["SIDE_PX", "class_cover", "coarser", "cover_image", "strengths"]

SIDE_PX = 1800
"""Longest side of the cover, unless told otherwise; all pictures of a run are made from one."""
READ_PX = 400_000_000
"""Above this many pixels the class raster is read through its overviews."""
FULL_WEED, FULL_CROP = 0.10, 0.60
"""Cover of a pixel from which on it has the full colour of the class."""
FAINTEST = 0.35
"""Strength of the weed colour where there is hardly any weed."""
_ROWS_AT_ONCE = 512


def class_cover(
    classes: Path, bounds: tuple[float, float, float, float], side_px: int = SIDE_PX
) -> tuple[GeoBox, np.ndarray]:
    """How much of each picture pixel each class takes. The last result is remembered.

    Args:
        classes: Class raster; codes as in `geoseg.legend.LEGEND`, anything else counts as nodata.
        bounds: (left, bottom, right, top) of the field in the raster's CRS; two percent more are shown.
        side_px: Longest side of the picture, at most.

    Returns:
        The grid of the picture, and (K + 1, H, W) float32, not to be written to: the share of every class and, last,
        of valid pixels.
    """
    stat = classes.stat()
    return _class_cover(classes.resolve(), (stat.st_mtime_ns, stat.st_size), bounds, side_px)


@functools.lru_cache(maxsize=1)
def _class_cover(
    classes: Path, _version: tuple[int, int], bounds: tuple[float, float, float, float], side_px: int
) -> tuple[GeoBox, np.ndarray]:
    with environment(), rasterio.open(classes, num_threads=2) as source:
        full = GeoBox(source.shape, source.transform, source.crs)
        view = _view(full, bounds)
        factor = max(1, math.ceil(max(view.shape) / side_px))
        step = _overview(source.overviews(1), factor, view.size)
        factor = step * math.ceil(factor / step)
        height, width = (math.ceil(side / factor) for side in view.shape)
        cover = np.zeros((len(LEGEND) + 1, height, width), np.float32)
        at_once = max(1, _ROWS_AT_ONCE // factor)
        for row in range(0, height, at_once):
            rows = min(at_once * factor, view.shape[0] - row * factor)
            window = RasterioWindow(view.col0, view.row0 + row * factor, view.shape[1], rows)
            strip = source.read(1, window=window, out_shape=(-(-rows // step), -(-view.shape[1] // step)))
            cover[:-1, row : row + at_once] = _shares(strip, factor // step)
    cover[:-1].sum(axis=0, out=cover[-1])
    cover.flags.writeable = False
    padded = full[view.slices].crop((height * factor, width * factor))
    return padded.zoom_to((height, width)), cover


def coarser(grid: GeoBox, cover: np.ndarray, factor: int) -> tuple[GeoBox, np.ndarray]:
    """The cover of pixels `factor` times as large; those that reach over the edge have nothing there."""
    count, height, width = cover.shape
    padded = np.pad(cover, ((0, 0), (0, -height % factor), (0, -width % factor)))
    shape = padded.shape[1] // factor, padded.shape[2] // factor
    means = padded.reshape(count, shape[0], factor, shape[1], factor).mean(axis=(2, 4))
    return grid.crop((shape[0] * factor, shape[1] * factor)).zoom_to(shape), means


def cover_image(cover: np.ndarray) -> np.ndarray:
    """The (H, W, 4) uint8 picture of a (K + 1, H, W) cover; see `geoseg.report.quicklook` for the mixing rule."""
    valid = cover[-1]
    crop, weed = strengths(cover)
    rgb = np.empty((*valid.shape, 3), np.float32)
    rgb[:] = LEGEND[SOIL].rgb
    for strength, code in ((crop, CROP), (weed, WEED)):
        rgb += strength[..., None] * (np.array(LEGEND[code].rgb, np.float32) - rgb)
    alpha = np.where(valid > 0, 255, 0)
    return np.dstack([np.rint(rgb), alpha]).astype(np.uint8)


def strengths(cover: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) strength of the crop's and of the weeds' colour, 0..1, of a (K + 1, H, W) cover."""
    valid = cover[-1]
    share = np.divide(cover[:-1], valid, out=np.zeros_like(cover[:-1]), where=valid > 0)
    weed = np.sqrt(np.clip(share[WEED] / FULL_WEED, 0, 1))
    weed = np.where(share[WEED] > 0, np.maximum(weed, FAINTEST), 0)
    return np.sqrt(np.clip(share[CROP] / FULL_CROP, 0, 1)), weed


def _overview(available: list[int], factor: int, pixels: int) -> int:
    """The finest decimation that keeps the read below `READ_PX`, of those that do not exceed `factor`."""
    steps = [1, *(step for step in available if step <= factor)]
    return next((step for step in steps if pixels / step**2 <= READ_PX), steps[-1])


def _shares(strip: np.ndarray, factor: int) -> np.ndarray:
    """(K, h, w) shares of the classes in squares of `factor` pixels of a (H, W) strip of classes."""
    found = [coarse_sum((strip == entry.code)[None].view(np.uint8), factor)[0] for entry in LEGEND.entries]
    return (np.stack(found) / np.float32(factor**2)).astype(np.float32)


def _view(full: GeoBox, bounds: tuple[float, float, float, float]) -> Rect:
    """The pixels that the maps show: the boundary and two percent around it, inside the grid."""
    west, south, east, north = bounds
    (left, right), (top, bottom) = apply(~full.affine, np.array((west, east)), np.array((north, south)))
    pad = 0.02 * max(right - left, bottom - top)
    rect = Rect(*(math.floor(value - pad) for value in (top, left)), *(math.ceil(v + pad) for v in (bottom, right)))
    view = rect.clip((full.shape[0], full.shape[1]))
    return view if view.size else Rect(0, 0, *full.shape)
