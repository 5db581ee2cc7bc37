"""What to know about an ortho before a long run: does it fit the model, is it any good, what will the run take.

Plain data, nothing is printed. What an ortho cannot be opened with is an exception of `Ortho.open`; `from_error` turns
it into a finding like the others.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from odc.geo.geobox import GeoBox
from shapely.geometry import MultiPolygon, Polygon

from geoseg.errors import BoundaryError, GeosegError, GeosegWarning, GsdError, OrthoError
from geoseg.models.card import ModelCard, Tiling
from geoseg.ortho import Ortho
from geoseg.windows import Rect

__all__ = ["Estimate", "Finding", "estimate", "from_error", "preflight"]

Level = Literal["ok", "note", "warning", "error"]
_Result = TypeVar("_Result")

_SHARP = 0.03  # potato and maize fields at 3 mm have 0.3 to 2; smeared over 5 pixels they have 0.03 to 0.07
_SAMPLE_PX = 256

# Measured on the potato field (61 Mpx, windows of 2048 px, OpenVINO, default model): memory as the kernel's VmHWM after
# loading, after one pass and after the run; disk as the most that lay in the run directory; processor time of all but
# the network on one core, which the second core halves.
_BASE_MB = 960.0  # torch, OpenVINO and the rest 700; GDAL's cache 256
_NETWORK_BYTES_PER_PX = {"openvino-bf16": 177.0}
_OTHER_NETWORK_BYTES_PER_PX = 353.0  # openvino-f32
_LOOP_BYTES_PER_PX = 80.0
_DISK_BYTES_PER_PX = 0.85
_SECONDS_PER_MPX = 0.14  # reading, blocks and stitching 0.09; plants, rows, prescription and picture 0.05
_START_SECONDS = 5.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: "ok", "note" (good to know), "warning" (results may suffer), "error" (a run would stop).
        topic: What was looked at, one or two words.
        text: What was found.
        remedy: What to do about it; empty if nothing.
    """

    level: Level
    topic: str
    text: str
    remedy: str = ""


@dataclass(frozen=True)
class Estimate:
    """What a run will take, roughly.

    Attributes:
        pixels: Pixels of the working grid in the field.
        hectares: Area of the field.
        forwarded_pixels: Pixels that go through the network, margins included.
        seconds: Time for the whole run, by the rate that was given.
        memory_mb: Peak memory.
        disk_mb: Most disk space in use, temporary files included.
    """

    pixels: int
    hectares: float
    forwarded_pixels: int
    seconds: float
    memory_mb: float
    disk_mb: float


def preflight(ortho: Ortho, card: ModelCard, boundary: str | Path | None = None) -> tuple[Finding, ...]:
    """Everything that is worth knowing, in a fixed order of topics.

    Args:
        ortho: An ortho that could be opened.
        card: Card of the model that is meant to be used.
        boundary: Vector file of the field, or None.
    """
    findings = [
        *_bands(ortho, card),
        *_resolution(ortho, card),
        *_georeference(ortho, card),
        *_field(ortho, card, boundary),
        *_layout(ortho, card),
        *_picture(ortho),
    ]
    return tuple(findings)


def estimate(
    ortho: Ortho,
    tiling: Tiling,
    field: Polygon | MultiPolygon,
    grid: GeoBox,
    mpx_per_s: float,
    backend: str = "openvino-f32",
) -> Estimate:
    """What a run will take.

    Args:
        ortho: The ortho.
        tiling: How the grid is cut.
        field: The field in the CRS of `grid`.
        grid: The working grid.
        mpx_per_s: Million pixels that this machine gets through the network in a second.
        backend: What runs the network.
    """
    pixel_m2 = abs(grid.affine.a * grid.affine.e)
    pixels = round(min(field.area / pixel_m2, grid.shape[0] * grid.shape[1]))
    rows, cols = (_read_side(int(side), tiling) for side in grid.shape)
    forwarded = pixels * rows * cols / (grid.shape[0] * grid.shape[1])
    side_px = tiling.write_px + 2 * tiling.margin_px
    window_px = min(rows, side_px) * min(cols, side_px)
    pixel_bytes = len(ortho.bands) * (1 if ortho.dtype == "uint8" else 4)
    network = _NETWORK_BYTES_PER_PX.get(backend, _OTHER_NETWORK_BYTES_PER_PX)
    return Estimate(
        pixels=pixels,
        hectares=pixels * pixel_m2 / 1e4,
        forwarded_pixels=round(forwarded),
        seconds=_START_SECONDS + forwarded / 1e6 / mpx_per_s + pixels / 1e6 * _SECONDS_PER_MPX,
        memory_mb=_BASE_MB + window_px * (network + _LOOP_BYTES_PER_PX + 8 * pixel_bytes) / 1e6,
        disk_mb=pixels * _DISK_BYTES_PER_PX / 1e6,
    )


def _read_side(side: int, tiling: Tiling) -> int:
    """Pixels that the windows along one side of the grid read together, margins included."""
    whole, rest = divmod(side, tiling.write_px)
    ragged = -(-rest // tiling.stride_px) * tiling.stride_px + 2 * tiling.margin_px if rest else 0
    return whole * (tiling.write_px + 2 * tiling.margin_px) + ragged


def from_error(error: GeosegError) -> Finding:
    """An exception as a finding; what stands behind its last semicolon is the remedy."""
    topics = {GsdError: "resolution", BoundaryError: "boundary", OrthoError: "ortho"}
    topic = next((name for kind, name in topics.items() if isinstance(error, kind)), "input")
    text, _, remedy = str(error).rpartition("; ")
    return Finding("error", topic, text or remedy, remedy if text else "")


def _bands(ortho: Ortho, card: ModelCard) -> Iterator[Finding]:
    pairs = ", ".join(f"{name} from {number}" for name, number in zip(card.bands, ortho.bands, strict=True))
    yield Finding("ok", "bands", f"{pairs}; {ortho.dtype}, {ortho.value_max:g} is full scale")


def _resolution(ortho: Ortho, card: ModelCard) -> Iterator[Finding]:
    _, caught = _attempt("resolution", lambda: ortho.working_grid(card.gsd))
    if caught is not None:
        yield caught
    else:
        span = f"{card.gsd.min_m * 1e3:.3g} to {card.gsd.max_m * 1e3:.3g}"
        yield Finding("ok", "resolution", f"{ortho.gsd_m * 1e3:.3g} mm per pixel; the model takes {span}")


def _georeference(ortho: Ortho, card: ModelCard) -> Iterator[Finding]:
    name = ortho.geobox.crs.proj.name if ortho.geobox.crs is not None else "none"
    if ortho.nominal:
        yield Finding(
            "warning",
            "georeference",
            f"the place is invented: the file has only {ortho.gsd_m * 1e3:.3g} mm per pixel, from --gsd",
            "areas and counts hold, positions do not: send nothing of this to a machine",
        )
        return
    grid = _quiet_grid(ortho, card)
    if grid is None:
        yield Finding("ok", "georeference", name)
    elif grid == ortho.geobox:
        yield Finding("ok", "georeference", f"{name}; computed on the ortho's own grid")
    else:
        target = grid.crs.proj.name if grid.crs is not None else name
        step = grid.affine.a * 1e3
        yield Finding("note", "georeference", f"{name}; resampled to {step:.3g} mm, north-up, in {target}")


def _field(ortho: Ortho, card: ModelCard, boundary: str | Path | None) -> Iterator[Finding]:
    grid = _quiet_grid(ortho, card) or ortho.geobox
    topic = "valid area" if boundary is None else "boundary"
    field, caught = _attempt(topic, lambda: ortho.boundary(boundary, grid))
    if caught is not None:
        yield caught
    if field is None:
        return
    share = min(1.0, field.area / ortho.area_m2)
    yield Finding("ok", topic, f"{field.area / 1e4:.3g} ha, {share:.0%} of the raster")


def _layout(ortho: Ortho, card: ModelCard) -> Iterator[Finding]:
    file = ortho.layout()
    rows, cols = (int(size) for size in ortho.geobox.shape)
    size = "" if file.size_bytes is None else f", {file.size_bytes / 1e6:.3g} MB"
    yield Finding("ok", "size", f"{cols} x {rows} pixels, {rows * cols / 1e6:.3g} Mpx{size}, {file.compression}")
    remedy = "write it again with gdal_translate -of COG"
    height, width = file.block
    if height < rows and width == cols and cols > 2048:
        level: Level = "warning" if rows * cols > 2e8 else "note"
        yield Finding(level, "tiling", f"stored in strips of {height} rows, which reads slowly", remedy)
    elif height * width > 2**24:
        yield Finding("warning", "tiling", f"stored in one piece of {width} x {height} pixels: slow and large", remedy)
    else:
        yield Finding("ok", "tiling", f"blocks of {width} x {height} pixels")
    grid = _quiet_grid(ortho, card)
    coarser = grid is not None and grid.affine.a > 1.9 * ortho.gsd_m
    if file.overviews:
        yield Finding("ok", "overviews", ", ".join(str(factor) for factor in file.overviews))
    elif max(rows, cols) > 4096:
        text = "none, so every pixel is decoded at full resolution" if coarser else "none; maps draw slowly"
        yield Finding("warning" if coarser else "note", "overviews", text, "gdaladdo -r average, or -of COG")


def _picture(ortho: Ortho) -> Iterator[Finding]:
    samples = list(_samples(ortho))
    if not samples:
        yield Finding("note", "sharpness", "no window with enough valid pixels to look at")
        return
    sharpness = float(np.median([_sharpness(image, valid) for image, valid in samples]))
    if sharpness < _SHARP:
        yield Finding(
            "warning",
            "sharpness",
            f"blurred: {sharpness:.2g} where sharp fields have {_SHARP} or more (median of {len(samples)} places)",
            "fly slower, in more light or lower; or the mosaic was enlarged from coarser pixels",
        )
    else:
        yield Finding("ok", "sharpness", f"{sharpness:.2g} (relative variance of the Laplacian, {len(samples)} places)")
    values = np.concatenate([image[:, valid].ravel() for image, valid in samples])
    bright, dark = float(np.mean(values >= 0.995)), float(np.mean(values < 0.02))
    if bright > 0.02 or dark > 0.2:
        text = f"{bright:.0%} of the values are saturated, {dark:.0%} are black"
        yield Finding("warning", "exposure", text, "check the camera's exposure, or ortho.value_max")
    else:
        low, high = np.percentile(values, (1, 99))
        yield Finding("ok", "exposure", f"values from {low:.0%} to {high:.0%} of the full scale")


def _samples(ortho: Ortho) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Up to 25 windows at the ortho's own resolution, (C, H, W) float32 0..1 and (H, W) bool, mostly valid."""
    rows, cols = (int(size) for size in ortho.geobox.shape)
    side = min(_SAMPLE_PX, max(24, min(rows, cols) // 8), rows, cols)
    with ortho.reader(ortho.geobox) as reader:
        for row in np.linspace(0, rows - side, 7).astype(int)[1:-1]:
            for col in np.linspace(0, cols - side, 7).astype(int)[1:-1]:
                rect = Rect(int(row), int(col), int(row) + side, int(col) + side)
                image, valid = reader.read(rect)
                if min(valid.shape) >= 3 and valid.mean() > 0.8:
                    yield (image / np.float32(255) if image.dtype == np.uint8 else image), valid


def _sharpness(image: np.ndarray, valid: np.ndarray) -> float:
    """Variance of the Laplacian by the variance of the grey image: 20 for white noise, near 0 for a blurred image.

    Reference: Pech-Pacheco et al. 2000, doi 10.1109/ICPR.2000.903548, made independent of contrast.
    """
    grey = image.mean(axis=0, dtype=np.float64)
    middle = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * middle
    inner = valid[1:-1, 1:-1] & valid[:-2, 1:-1] & valid[2:, 1:-1] & valid[1:-1, :-2] & valid[1:-1, 2:]
    spread = float(middle[inner].var()) if inner.any() else 0.0
    return float(laplacian[inner].var()) / spread if spread > 0 else 0.0


def _attempt(topic: str, action: Callable[[], _Result]) -> tuple[_Result | None, Finding | None]:
    """What an action gives, None if it fails; and what it complains about, its error or its first warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", GeosegWarning)
        try:
            result = action()
        except GeosegError as error:
            return None, replace(from_error(error), topic=topic)
    for entry in caught:
        if issubclass(entry.category, GeosegWarning):
            text, _, remedy = str(entry.message).rpartition("; ")
            return result, Finding("warning", topic, text or remedy, remedy if text else "")
    return result, None


def _quiet_grid(ortho: Ortho, card: ModelCard) -> GeoBox | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeosegWarning)
        try:
            return ortho.working_grid(card.gsd)
        except GsdError:
            return None
