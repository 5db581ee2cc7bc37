"""Textures of bare ground that repeat without a seam: clods in the sun, crust with cracks. No field, no rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from geoseg.train.fieldspec import FieldSpec, sun_shift

__all__ = ["clods", "cracks", "unit"]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


def clods(spec: FieldSpec, size: int, rng: np.random.Generator) -> Floats:
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
    lit = 0.9 * cloddy * unit(_slope(height, spec)) + 0.9 * unit(_slope(rough, spec))
    return unit(
        1.3 * np.tanh(lit / 1.8) * (0.5 + 0.5 * spec.shadow) + 0.65 * cloddy * unit(hollow) + 0.45 * unit(rough)
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


def cracks(spec: FieldSpec, size: int, rng: np.random.Generator) -> Floats:
    """(size, size) seamless crust: plates of different tone with dark cracks between and within them."""
    coarse, tone = _plates(size, 0.13 / spec.gsd_m, rng)
    fine, shade = _plates(size, 0.05 / spec.gsd_m, rng)
    gaping = ndimage.gaussian_filter(rng.standard_normal((size, size)), 0.05 / spec.gsd_m, mode="wrap")
    gaping = np.clip(0.5 + 0.6 * gaping / gaping.std(), 0, 1.6)
    crust = 0.28 * tone + 0.22 * shade
    for gap, width_m, depth in ((coarse, 0.0058 * gaping, 3.4), (fine, 0.0024 * gaping, 1.7)):
        width = np.maximum(width_m / spec.gsd_m, 0.02)
        crust -= depth * np.clip(1.3 * (1 - gap / np.maximum(width, 1.1)), 0, 1) * np.clip(width, 0, 1)
        crust -= 0.10 * depth * np.exp(-gap / np.maximum(1.5, 2.5 * width)) * np.minimum(gaping, 1)
    soft: Floats = ndimage.gaussian_filter(np.asarray(crust, np.float32), 0.25 + spec.blur_px / 2, mode="wrap")
    return soft


def _plates(size: int, plate_px: float, rng: np.random.Generator) -> tuple[Doubles, Doubles]:
    """Distance to the nearest border between plates in pixels, and a tone per plate; both (size, size), seamless."""
    half = size // 2
    plate = plate_px / 2
    points = rng.uniform(0, half, (max(4, int((half / plate) ** 2)), 2))
    grid = np.stack(list(np.mgrid[0:half, 0:half]), axis=-1).astype(np.float64)
    for sigma, amount in ((0.8, 0.35), (2.0, 0.7), (plate * 0.25, 0.10 * plate)):
        for axis in (0, 1):
            warp = ndimage.gaussian_filter(rng.standard_normal((half, half)), sigma, mode="wrap")
            grid[..., axis] += warp / warp.std() * amount
    distance, nearest = cKDTree(points, boxsize=half).query(np.mod(grid, half).reshape(-1, 2), k=2)
    between = points[nearest[:, 1]] - points[nearest[:, 0]]
    apart = np.hypot(*np.abs(between - half * np.rint(between / half)).T)  # the short way round the torus
    gap = ((distance[:, 1] ** 2 - distance[:, 0] ** 2) / np.maximum(apart, 1e-6)).reshape(half, half)
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


def unit(layer: Floats) -> Floats:
    """Shifted and scaled to mean 0 and standard deviation 1; nothing but zeros where it is flat."""
    return np.asarray((layer - layer.mean()) / max(float(layer.std()), 1e-6), np.float32)
