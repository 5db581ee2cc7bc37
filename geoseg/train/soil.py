"""The bare field: soil with clods, cracks, ridges and wheel tracks, and the light on it. Plants come later.

What is fine (grain, clods, cracks) is built once on textures that repeat without a seam and have different periods;
what is coarse (moisture, ridges, tracks, light) is computed on a coarse grid and enlarged. Both are put together strip
by strip, so that memory holds one image and no stack of layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from geoseg.train.synthetic import FieldSpec

__all__ = ["COARSE", "enlarge", "illumination", "row_frame", "soil", "sun_shift"]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

COARSE = 4
"""Pixels per cell of the coarse grid."""
_STRIP = 256


def row_frame(spec: FieldSpec) -> tuple[float, float]:
    """(sine, cosine) of the heading: a pixel lies ``row * sine + col * cosine`` pixels across the rows."""
    heading = np.deg2rad(spec.heading_deg)
    return float(np.sin(heading)), float(np.cos(heading))


def sun_shift(spec: FieldSpec) -> tuple[float, float]:
    """(row, col) of the unit vector that shadows point along."""
    azimuth = np.deg2rad(spec.sun_azimuth_deg)
    return float(np.cos(azimuth)), float(-np.sin(azimuth))


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


def _clods(spec: FieldSpec, size: int, rng: np.random.Generator) -> Floats:
    """(size, size) seamless light and shade of clods lying on each other, standard deviation 1."""
    height = np.zeros((size, size), np.float32)
    for radius_m, share in ((0.004, 0.8), (0.007, 0.6), (0.012, 0.25), (0.02, 0.07), (0.03, 0.016)):
        radius = radius_m / spec.gsd_m
        if radius < 1:
            continue  # finer than the pixels: the grain stands for it
        count = int(share * spec.clods * size * size / (np.pi * radius * radius)) + 1
        for scale in (0.75, 1.0, 1.3):
            height = np.maximum(height, _bumps(size, radius * scale, count // 3 + 1, rng))
    height = _crumple(height, 0.006 / spec.gsd_m, rng)
    rough = _rough(size, 0.03 / spec.gsd_m, rng)
    height = ndimage.gaussian_filter(height, 0.4 + spec.blur_px, mode="wrap")
    rough = ndimage.gaussian_filter(rough, 0.3 + spec.blur_px, mode="wrap")
    hollow = height - ndimage.gaussian_filter(height, 0.012 / spec.gsd_m, mode="wrap")
    cloddy = min(1.5, spec.clods)
    lit = 0.9 * cloddy * _unit(_slope(height, spec)) + 0.9 * _unit(_slope(rough, spec))
    return _unit(
        1.3 * np.tanh(lit / 1.8) * (0.5 + 0.5 * spec.shadow) + 0.65 * cloddy * _unit(hollow) + 0.45 * _unit(rough)
    )


def _slope(height: Floats, spec: FieldSpec) -> Floats:
    """How much the ground faces the sun."""
    down, right = sun_shift(spec)
    facing = down * ndimage.sobel(height, 0, mode="wrap") + right * ndimage.sobel(height, 1, mode="wrap")
    return np.asarray(facing, np.float32)


def _crumple(layer: Floats, amount_px: float, rng: np.random.Generator) -> Floats:
    """A seamless layer with every pixel shifted a little, so that nothing round stays round."""
    at = np.indices(layer.shape, np.float32)
    for axis in (0, 1):
        for sigma in (1.2 * amount_px, 0.5 * amount_px):
            white = rng.standard_normal(layer.shape, dtype=np.float32)
            shift = ndimage.gaussian_filter(white, max(0.6, sigma), mode="wrap")
            at[axis] += shift / shift.std() * np.float32(min(0.4 * sigma, 3.0))
    return np.asarray(ndimage.map_coordinates(layer, at, order=1, mode="grid-wrap"), np.float32)


def _rough(size: int, longest_px: float, rng: np.random.Generator) -> Floats:
    """(size, size) seamless heights of broken ground: every scale up to the longest, the shorter the lower."""
    spectrum = np.fft.rfft2(rng.standard_normal((size, size), dtype=np.float32))
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    spectrum *= np.maximum(frequency, 1 / longest_px) ** -1.5 * (frequency > 0.5 / longest_px)
    return np.asarray(np.fft.irfft2(spectrum, s=(size, size)), np.float32)


def _bumps(size: int, radius: float, count: int, rng: np.random.Generator) -> Floats:
    """(size, size) heights of `count` round bumps thrown at random, on a torus; the higher one counts."""
    reach = int(np.ceil(radius)) + 1
    field = np.zeros((size + 2 * reach, size + 2 * reach), np.float32)
    axis = np.arange(-reach, reach + 1, dtype=np.float32)
    angle, distance = np.arctan2(axis[:, None], axis[None]), np.hypot(axis[:, None], axis[None])
    shapes = []
    for _ in range(12):
        wobble = sum(rng.uniform(0, 0.36 / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4, 5, 7))
        bump = np.clip(1 - (distance / radius * (1.12 + wobble)) ** 2.6, 0, None) ** 0.5
        shapes.append(np.asarray(bump * radius * rng.uniform(0.45, 0.75), np.float32))
    rows, cols = rng.integers(0, size, (2, count))
    heights = rng.uniform(0.5, 1.1, count).astype(np.float32)
    for index in range(count):
        window = field[rows[index] : rows[index] + 2 * reach + 1, cols[index] : cols[index] + 2 * reach + 1]
        shape = shapes[index % 12][: window.shape[0], : window.shape[1]]
        np.maximum(window, shape * heights[index], out=window)
    for axis_number in (0, 1):  # fold what reaches over the edge back in on the other side
        field = np.moveaxis(field, axis_number, 0)
        field[size : size + reach] = np.maximum(field[size : size + reach], field[:reach])
        field[reach : 2 * reach] = np.maximum(field[reach : 2 * reach], field[size + reach :])
        field = np.moveaxis(field[reach : size + reach], 0, axis_number)
    return field


def _cracks(spec: FieldSpec, size: int, rng: np.random.Generator) -> Floats:
    """(size, size) seamless crust: plates of different tone with dark cracks between and within them."""
    coarse, tone = _plates(size, 0.13 / spec.gsd_m, rng)
    fine, shade = _plates(size, 0.05 / spec.gsd_m, rng)
    gaping = ndimage.gaussian_filter(rng.standard_normal((size, size)), 0.05 / spec.gsd_m, mode="wrap")
    gaping = np.clip(0.5 + 0.6 * gaping / gaping.std(), 0, 1.6)
    crust = 0.28 * tone + 0.22 * shade
    for gap, width_m, depth in ((coarse, 0.0052 * gaping, 3.4), (fine, 0.0024 * gaping, 1.7)):
        width = np.maximum(width_m / spec.gsd_m, 0.02)
        crust -= depth * np.clip(1.2 * (1 - gap / np.maximum(width, 1.1)), 0, 1) * np.clip(width, 0, 1)
        crust -= 0.10 * depth * np.exp(-gap / np.maximum(1.5, 2.5 * width)) * np.minimum(gaping, 1)
    return ndimage.gaussian_filter(np.asarray(crust, np.float32), 0.25 + spec.blur_px / 2, mode="wrap")


def _plates(size: int, plate_px: float, rng: np.random.Generator) -> tuple[Doubles, Doubles]:
    """Distance to the nearest border between plates in pixels, and a tone per plate; both (size, size), seamless."""
    half = size // 2
    plate = plate_px / 2
    points = rng.uniform(0, half, (max(4, int((half / plate) ** 2)), 2))
    grid = np.stack(np.mgrid[0:half, 0:half], axis=-1).astype(np.float64)
    for sigma, amount in ((0.8, 0.35), (2.0, 0.7), (plate * 0.25, 0.10 * plate)):
        for axis in (0, 1):
            warp = ndimage.gaussian_filter(rng.standard_normal((half, half)), sigma, mode="wrap")
            grid[..., axis] += warp / warp.std() * amount
    distance, nearest = cKDTree(points, boxsize=half).query(np.mod(grid, half).reshape(-1, 2), k=2)
    gap = (distance[:, 1] - distance[:, 0]).reshape(half, half)  # per pixel of the half-size grid: both sides count
    tone = rng.standard_normal(len(points))[nearest[:, 0]].reshape(half, half)
    return _double(gap), _double(ndimage.gaussian_filter(tone, 0.7, mode="wrap"))


def _double(layer: Doubles) -> Doubles:
    """A seamless layer at twice the resolution."""
    for axis in (0, 1):
        middle = 0.5 * (layer + np.roll(layer, -1, axis))
        fine = np.empty((layer.shape[0] * (2 - axis), layer.shape[1] * (1 + axis)))
        even, odd = ((slice(start, None, 2), slice(None))[:: 1 - 2 * axis] for start in (0, 1))
        fine[even], fine[odd] = layer, middle
        layer = fine
    return layer


def _unit(layer: Floats) -> Floats:
    """Shifted and scaled to mean 0 and standard deviation 1; nothing but zeros where it is flat."""
    return np.asarray((layer - layer.mean()) / max(float(layer.std()), 1e-6), np.float32)


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
    clods, crust = _clods(spec, sizes[0], rng), _cracks(spec, sizes[1], rng)
    grain = rng.standard_normal((sizes[2], sizes[2]), dtype=np.float32)
    grain = _unit(ndimage.gaussian_filter(grain, 0.5 + spec.blur_px, mode="wrap"))
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
        level = _spread(clods, rows, width) * (0.72 - 0.30 * plates) + 0.18 * _spread(grain, rows, width)
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
