"""The bare field: soil with clods, cracks, ridges and wheel tracks, and the light on it. Plants come later.

What is fine (grain, clods, cracks) is built once on textures that repeat without a seam and have different periods;
what is coarse (moisture, ridges, tracks, light) is computed on a coarse grid and enlarged. Both are put together strip
by strip, so that memory holds one image and no stack of layers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geoseg.train.fieldspec import FieldSpec, row_frame, sun_shift
from geoseg.train.texture import clods, cracks, unit

__all__ = ["COARSE", "enlarge", "illumination", "soil"]

Floats = NDArray[np.float32]

COARSE = 4
"""Pixels per cell of the coarse grid."""
_STRIP = 256


def noise(shape: tuple[int, int], cell_px: float, rng: np.random.Generator) -> Floats:
    """Smooth noise of mean 0 and standard deviation 1, one bump per `cell_px` or so; (H, W) float32."""
    coarse = (int(shape[0] / cell_px) + 5, int(shape[1] / cell_px) + 5)
    grid = ndimage.gaussian_filter(rng.standard_normal(coarse, dtype=np.float32), 0.7) * 2.4
    rows = 1 + np.arange(shape[0]) / cell_px
    cols = 1 + np.arange(shape[1]) / cell_px
    return _interpolate(_interpolate(grid, rows).T, cols).T


def _interpolate(grid: Floats, at: NDArray[np.float64]) -> Floats:
    """Rows of `grid` at fractional row numbers."""
    low = np.minimum(at.astype(np.intp), grid.shape[0] - 2)
    share = (at - low).astype(np.float32)[:, None]
    return np.asarray(grid[low] * (1 - share) + grid[low + 1] * share, np.float32)


def enlarge(coarse: Floats, rows: slice, width: int, factor: int = COARSE) -> Floats:
    """Some rows of a coarse grid enlarged linearly.

    Args:
        coarse: (h, w) float32, values at the pixels (0, factor, 2 factor, ...).
        rows: Rows of the fine grid.
        width: Columns of the fine grid.
        factor: How many fine pixels a coarse one is wide.
    """
    strip = _interpolate(coarse, np.arange(rows.start, rows.stop) / factor)
    cells = -(-width // factor)
    left, right = strip[:, :cells], strip[:, 1 : cells + 1]
    fine = np.empty((strip.shape[0], cells * factor), np.float32)
    for phase in range(factor):
        share = np.float32(phase / factor)
        fine[:, phase::factor] = left * (1 - share) + right * share
    return fine[:, :width]


def _coarse_shape(spec: FieldSpec, factor: int = COARSE) -> tuple[int, int]:
    return spec.height_px // factor + 2, spec.width_px // factor + 2


def _relief(spec: FieldSpec, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Tone and crustiness on the coarse grid: moisture, ridges with their sunny side, wheel tracks."""
    shape = _coarse_shape(spec)
    rows, cols = np.ogrid[0 : shape[0], 0 : shape[1]]
    sine, cosine = row_frame(spec)
    across = ((rows * sine + cols * cosine) * COARSE * spec.gsd_m).astype(np.float32)
    along = ((cols * sine - rows * cosine) * COARSE * spec.gsd_m).astype(np.float32)
    cell = COARSE * spec.gsd_m
    across = across + 0.012 * noise(shape, max(1.0, 0.10 / cell), rng) + 0.02 * noise(shape, max(1.0, 0.5 / cell), rng)
    phase = across / spec.row_spacing_m
    number = np.floor(phase).astype(np.int64)
    phase = phase - number  # 0.5 in the middle between two rows
    furrow = np.exp(-(((phase - 0.5) / 0.15) ** 2))
    down, right = sun_shift(spec)
    slope = np.sin(2 * np.pi * phase) * (down * sine + right * cosine)
    track = (np.mod(number, spec.track_every) == 0) if spec.track_every else np.zeros_like(number, bool)
    wheel = track * np.clip(1.4 - abs(phase - 0.5) / 0.17, 0, 1)
    tread = np.sin(2 * np.pi * (along / 0.11 + 1.1 * abs(phase - 0.5) / 0.17))
    moist = sum((weight * noise(shape, max(1.0, size / cell), rng)) for size, weight in
                ((12.0, 0.16), (3.0, 0.16), (0.8, 0.20), (0.25, 0.20)))  # fmt: skip
    tone = moist - spec.ridges * (1.25 * furrow - 0.45 * slope - 0.3) - wheel * (0.7 + 0.25 * tread)
    patch = noise(shape, max(1.0, 0.6 / cell), rng)
    crust = spec.cracks * np.clip(0.75 + 0.45 * patch - furrow * min(1.0, spec.ridges) - wheel, 0, 1.3)
    return np.asarray(tone, np.float32), np.asarray(crust, np.float32)


def _spread(texture: Floats, rows: slice, width: int) -> Floats:
    """Rows of a repeated texture."""
    size = texture.shape[0]
    strip = texture[np.arange(rows.start, rows.stop) % size]
    return np.concatenate([strip] * (-(-width // size)), axis=1)[:, :width]


def _ridge_crack(spec: FieldSpec, rows: slice, jag: Floats) -> Floats:
    """Darkness of the crack that runs along the top of each ridge, for some rows of the image."""
    sine, cosine = row_frame(spec)
    row = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]
    col = np.arange(spec.width_px, dtype=np.float32)[None]
    spacing = spec.row_spacing_m / spec.gsd_m
    across = (row * np.float32(sine) + col * np.float32(cosine)) / np.float32(spacing)
    number = np.rint(across)
    at = (col * np.float32(sine) - row * np.float32(cosine)).astype(np.int32)
    at += number.astype(np.int32) * 7919  # another stretch of the same jagged line for every row
    offset = jag[at % len(jag)]
    return np.asarray(abs((across - number) * np.float32(spacing) - offset), np.float32)


def soil(spec: FieldSpec) -> NDArray[np.uint8]:
    """The bare field as (H, W, 3) uint8, in even light.

    Args:
        spec: What to render.
    """
    rng = np.random.default_rng([spec.seed, 1])
    height, width = spec.height_px, spec.width_px
    largest = max(height, width)
    sizes = [min(size, 2 * (-(-largest // 2))) for size in (1024, 1310, 730)]
    lumps, crust = clods(spec, sizes[0], rng), cracks(spec, sizes[1], rng)
    grain = rng.standard_normal((sizes[2], sizes[2]), dtype=np.float32)
    grain = unit(ndimage.gaussian_filter(grain, 0.5 + spec.blur_px, mode="wrap"))
    tone, crusty = _relief(spec, rng)
    hue = noise(_coarse_shape(spec), max(1.0, 1.5 / (COARSE * spec.gsd_m)), rng)
    jag = ndimage.gaussian_filter1d(rng.standard_normal(8192), 4, mode="wrap")
    wander = ndimage.gaussian_filter1d(rng.standard_normal(8192), 0.12 / spec.gsd_m, mode="wrap")
    jag = (0.006 * jag / jag.std() + 0.02 * wander / wander.std()).astype(np.float32) / np.float32(spec.gsd_m)
    base = np.array(spec.soil_rgb, np.float32)
    swing = np.array([1.0, 1.0, 0.93], np.float32) * np.float32(26 * spec.contrast * base.mean() / 112)
    out = np.empty((height, width, 3), np.uint8)
    for start in range(0, height, _STRIP):
        rows = slice(start, min(start + _STRIP, height))
        plates = enlarge(crusty, rows, width)
        level = _spread(lumps, rows, width) * (0.72 - 0.30 * plates) + 0.18 * _spread(grain, rows, width)
        level += plates * 0.75 * _spread(crust, rows, width)
        if spec.cracks and spec.ridges > 0.3:
            line = _ridge_crack(spec, rows, jag) * np.float32(spec.gsd_m / 0.006)
            level -= 2.0 * np.clip((plates - 0.45) * 2, 0, 1) * np.clip(1.2 - line, 0, 1)
        level += enlarge(tone, rows, width)
        warm = 1.4 * enlarge(hue, rows, width)
        for band, tint in enumerate((1.0, 0.0, -1.0)):
            out[rows, :, band] = np.clip(base[band] + swing[band] * level + tint * warm, 4, 250)
    return out


def illumination(spec: FieldSpec) -> Floats:
    """Light on the coarse grid (factor 4 * COARSE), 1 in full sun: slow changes of exposure and cast shadows."""
    rng = np.random.default_rng([spec.seed, 2])
    factor = 4 * COARSE
    shape = _coarse_shape(spec, factor)
    light = 1 + 0.035 * noise(shape, max(1.0, 6.0 / (factor * spec.gsd_m)), rng)
    if spec.shade_share:
        rows, cols = np.ogrid[0 : shape[0], 0 : shape[1]]
        angle = rng.uniform(0, 2 * np.pi)
        ramp = np.sin(angle) * rows + np.cos(angle) * cols
        ramp = ramp + 0.06 * max(shape) * noise(shape, max(2.0, 1.5 / (factor * spec.gsd_m)), rng)
        edge = np.quantile(ramp, spec.shade_share)
        light = light * (1 - 0.45 * spec.shadow * np.clip(0.5 + (edge - ramp) / 3, 0, 1))
    return np.asarray(light, np.float32)
