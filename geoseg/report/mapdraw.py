"""The means of the report's map: the frame that turns metres into map units, outlines as SVG paths, arrays as pictures.

A map unit is a tenth of a pixel of the pictures, so that paths need whole numbers only.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

__all__ = ["UNITS", "Frame", "dots", "outlines", "picture"]

UNITS = 10
"""Map units in a pixel of the pictures."""
_QUALITIES = (82, 70, 55, 40)


@dataclass(frozen=True)
class Frame:
    """What the map shows.

    Attributes:
        grid: Pixels of the pictures, north up, metres.
    """

    grid: GeoBox

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in map units."""
        return int(self.grid.shape[1]) * UNITS, int(self.grid.shape[0]) * UNITS

    @property
    def unit_m(self) -> float:
        """Metres in a map unit."""
        return float(self.grid.affine.a) / UNITS

    @property
    def origin(self) -> tuple[float, float]:
        """(x, y) of the upper left corner, metres."""
        return float(self.grid.affine.c), float(self.grid.affine.f)

    def place(self, metres: NDArray[np.float64]) -> NDArray[np.int64]:
        """(n, 2) map units, y downwards, of (n, 2) metres."""
        left, top = self.origin
        placed = (metres - (left, top)) * (1 / self.unit_m, -1 / self.unit_m)
        return np.rint(placed).astype(np.int64)


def outlines(frame: Frame, shapes: NDArray[np.object_]) -> str:
    """SVG path data of polygons (holes included) or lines."""
    return "".join(_path(frame, shapes))


def dots(frame: Frame, x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    """SVG path data of points: strokes without length, which a round cap makes dots."""
    places = frame.place(np.column_stack([x, y]))
    steps = np.diff(places, axis=0, prepend=np.zeros((1, 2), np.int64))
    return "".join(f"m{dx} {dy}h0" for dx, dy in steps.tolist())


def picture(rgba: NDArray[np.uint8], most_bytes: int | None = None) -> str:
    """A data URI of a picture.

    Args:
        rgba: (H, W, 4) uint8.
        most_bytes: Size of a photograph, kept with a loss of quality; None keeps every pixel, for drawings.
    """
    from PIL import Image

    image = Image.fromarray(rgba)
    if most_bytes is None:
        return _uri(_webp(image, lossless=True, quality=50, method=2))
    content = b""
    for quality in _QUALITIES:
        content = _webp(image, quality=quality, method=2)
        if len(content) <= most_bytes:
            break
    return _uri(content)


def _webp(image: object, **options: int | bool) -> bytes:
    import_module("PIL.WebPImagePlugin")  # by name: Pillow's own search for it loads all its plugins
    sink = io.BytesIO()
    image.save(sink, "WEBP", **options)  # type: ignore[attr-defined]
    return sink.getvalue()


def _uri(content: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(content).decode('ascii')}"


def _path(frame: Frame, shapes: NDArray[np.object_]) -> Iterator[str]:
    parts = shapely.get_parts(shapes)
    areas = shapely.get_dimensions(parts) == 2
    rings = np.concatenate([shapely.get_rings(parts[areas]), parts[~areas]])
    closed = np.arange(len(rings)) < len(rings) - np.count_nonzero(~areas)
    coordinates, owner = shapely.get_coordinates(rings, return_index=True)
    places = frame.place(coordinates)
    starts = np.searchsorted(owner, np.arange(len(rings) + 1))
    for first, last, ring in zip(starts[:-1].tolist(), starts[1:].tolist(), closed.tolist(), strict=True):
        if last == first:
            continue
        steps = np.diff(places[first : last - 1 if ring else last], axis=0)
        moves = " ".join(f"{dx} {dy}" for dx, dy in steps[steps.any(axis=1)].tolist())
        yield f"M{places[first, 0]} {places[first, 1]}l{moves or '0 0'}{'z' if ring else ''}"
