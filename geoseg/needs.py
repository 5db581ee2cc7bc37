"""What a run will take on this machine: time, memory and disk, and whether there is as much."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from odc.geo.geobox import GeoBox
from shapely.geometry import MultiPolygon, Polygon

from geoseg.finding import Finding
from geoseg.models.card import Tiling
from geoseg.ortho import Ortho

__all__ = ["Estimate", "estimate", "room"]

# Measured on the potato field (61 Mpx, windows of 2048 px, OpenVINO, default model): memory as the kernel's VmHWM after
# loading, after one pass and after the run; disk as the most that lay in the run directory; processor time of all but
# the network on one core, which the second core halves.
_BASE_MB = 920.0  # torch, OpenVINO and the rest 700; GDAL's cache 64
_NETWORK_BYTES_PER_PX = {"openvino-int8": 66.0, "openvino-bf16": 177.0}
_OTHER_NETWORK_BYTES_PER_PX = 395.0  # openvino-f32
_LOOP_BYTES_PER_PX = 80.0
_DISK_BYTES_PER_PX = 0.85
_SECONDS_PER_MPX = 0.14  # reading, blocks and stitching 0.09; plants, rows, prescription and picture 0.05
_START_SECONDS = 5.0


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


def room(needs: Estimate, free_memory_mb: float | None, free_disk_mb: float) -> Iterator[Finding]:
    """Whether memory and disk are enough.

    Args:
        needs: What the run takes.
        free_memory_mb: Memory that is free; None where nobody knows.
        free_disk_mb: Space where the run directory will be.
    """
    wanted = f"a run takes about {needs.memory_mb / 1000:.1f} GB"
    if free_memory_mb is None:
        yield Finding("ok", "memory", f"{wanted}; this system does not say how much is free")
    elif free_memory_mb < needs.memory_mb:
        yield Finding(
            "warning",
            "memory",
            f"{wanted}, {free_memory_mb / 1000:.1f} GB are free",
            "close other programs, or take smaller windows: --set segment.write_px=512 gives the same result",
        )
    else:
        yield Finding("ok", "memory", f"{wanted}, {free_memory_mb / 1000:.1f} GB are free")
    wanted = f"a run takes about {_size(needs.disk_mb)}"
    if free_disk_mb < needs.disk_mb:
        text = f"{wanted}, {_size(free_disk_mb)} are free here"
        yield Finding("error", "disk", text, "make room, or write to another disk with --out")
    else:
        yield Finding("ok", "disk", f"{wanted}, {_size(free_disk_mb)} are free here")


def _size(megabytes: float) -> str:
    """Megabytes as people say it.

    >>> _size(52), _size(52_000)
    ('52 MB', '52 GB')
    """
    return f"{megabytes:.0f} MB" if megabytes < 1000 else f"{megabytes / 1000:.3g} GB"
