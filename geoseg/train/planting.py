"""Where the plants of a rendered field stand and how big they are: rows with gaps, weeds in patches. No pixels here."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from geoseg.legend import CROP, WEED
from geoseg.train.fieldspec import FieldSpec, row_frame
from geoseg.train.leaves import WEEDS

__all__ = ["Planting", "plant"]

Planting = NDArray[np.void]
"""One record a plant: row, col (pixels), class, kind, diameter_px."""

_RECORD = np.dtype([("row", "i4"), ("col", "i4"), ("class", "u1"), ("kind", "U9"), ("diameter_px", "f4")])


def plant(spec: FieldSpec) -> Planting:
    """All plants that stand in the image, the small ones first, so that the big ones can be laid over them.

    Args:
        spec: What to render.
    """
    rng = np.random.default_rng([spec.seed, 3])
    every = np.concatenate([_crop(spec, rng), _weeds(spec, rng)])
    inside = (every["row"] >= 0) & (every["row"] < spec.height_px)
    every = every[inside & (every["col"] >= 0) & (every["col"] < spec.width_px)]
    return every[np.argsort(every["diameter_px"], kind="stable")]


def _records(rows: NDArray[np.float64], cols: NDArray[np.float64], code: int) -> Planting:
    records = np.zeros(len(rows), _RECORD)
    records["row"], records["col"], records["class"] = np.floor(rows), np.floor(cols), code
    return records


def _line_numbers(spec: FieldSpec) -> tuple[NDArray[np.int64], float, float]:
    """Numbers of the rows that meet the image, and the range along them in pixels."""
    sine, cosine = row_frame(spec)
    corners = [(r, c) for r in (0, spec.height_px) for c in (0, spec.width_px)]
    across = [r * sine + c * cosine for r, c in corners]
    along = [c * sine - r * cosine for r, c in corners]
    pitch = spec.row_spacing_m / spec.gsd_m
    numbers = np.arange(np.ceil(min(across) / pitch), np.floor(max(across) / pitch) + 1)
    return numbers.astype(np.int64), min(along), max(along)


def _crop(spec: FieldSpec, rng: np.random.Generator) -> Planting:
    """Plants in rows, with gaps that hold several plants, and late ones among the others."""
    numbers, first, last = _line_numbers(spec)
    step = spec.plant_spacing_m / spec.gsd_m
    places = int((last - first) / step) + 2
    shape = (len(numbers), places)
    along = first + (np.arange(places)[None] + rng.uniform(0, 1, (len(numbers), 1)) - 1) * step
    along = along + rng.normal(0, 0.10 * step, shape)
    across = numbers[:, None] * (spec.row_spacing_m / spec.gsd_m) + rng.normal(0, 0.010 / spec.gsd_m, shape)
    luck = ndimage.gaussian_filter1d(rng.standard_normal(shape), 0.6, axis=1, mode="wrap")
    growing = luck / luck.std() >= special.ndtri(spec.missing_share) if luck.size else luck > 0
    size = spec.plant_diameter_m / spec.gsd_m * np.exp(rng.normal(0, 0.20, shape))
    size = np.where(rng.random(shape) < spec.late_share, size * rng.uniform(0.25, 0.65, shape), size)
    sine, cosine = row_frame(spec)
    records = _records((across * sine - along * cosine)[growing], (across * cosine + along * sine)[growing], CROP)
    records["kind"] = spec.crop
    records["diameter_px"] = np.maximum(size[growing], 4.0)
    return records


def _weeds(spec: FieldSpec, rng: np.random.Generator) -> Planting:
    """Weeds in patches of one kind each, scattered ones between them, and some in the rows."""
    height, width = spec.height_px, spec.width_px
    count = int(rng.poisson(spec.weeds_per_m2 * height * width * spec.gsd_m**2))
    rows, cols = rng.uniform(0, height, count), rng.uniform(0, width, count)
    kinds = rng.choice(len(WEEDS), count, p=rng.dirichlet(np.full(len(WEEDS), 1.5)))
    nests = max(1, int(count * spec.weed_clustering / 14))
    nest = rng.choice(nests, count, p=rng.dirichlet(np.full(nests, 0.6)))
    spread = (rng.uniform(0.08, 0.45, nests) / spec.gsd_m)[nest]
    drawn = rng.random(count) < spec.weed_clustering
    centre_rows, centre_cols = rng.uniform(0, height, nests)[nest], rng.uniform(0, width, nests)[nest]
    rows = np.where(drawn, np.mod(centre_rows + spread * rng.standard_normal(count), height), rows)
    cols = np.where(drawn, np.mod(centre_cols + spread * rng.standard_normal(count), width), cols)
    kinds = np.where(drawn & (rng.random(count) < 0.85), rng.integers(0, len(WEEDS), nests)[nest], kinds)
    rows, cols = _into_rows(spec, rows, cols, rng)
    records = _records(rows, cols, WEED)
    records["kind"] = np.array(WEEDS)[kinds]
    stage = np.exp(rng.normal(0, 0.35, nests))[nest]
    size = spec.weed_diameter_m / spec.gsd_m * np.where(drawn, stage, 1.0) * np.exp(rng.normal(0, 0.42, count))
    records["diameter_px"] = np.clip(size, 3.0, max(3.0, 0.25 / spec.gsd_m))
    return records


def _into_rows(
    spec: FieldSpec, rows: NDArray[np.float64], cols: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions of which a share is shifted, at right angles, to the nearest crop row."""
    sine, cosine = row_frame(spec)
    pitch = spec.row_spacing_m / spec.gsd_m
    across = rows * sine + cols * cosine
    target = np.rint(across / pitch) * pitch + rng.normal(0, 0.03 / spec.gsd_m, len(rows))
    shift = np.where(rng.random(len(rows)) < spec.in_row_weed_share, target - across, 0.0)
    moved_rows, moved_cols = rows + shift * sine, cols + shift * cosine
    fits = (moved_rows >= 0) & (moved_rows < spec.height_px) & (moved_cols >= 0) & (moved_cols < spec.width_px)
    return np.where(fits, moved_rows, rows), np.where(fits, moved_cols, cols)
