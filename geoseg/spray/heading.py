"""Which way the machine drives: one answer from up to five sources, and which one it was. Knows no raster.

What is said outright wins over what is found: a given heading, two given points, an AB line from a file; then the
detected crop rows; then the longest side of the field.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from shapely import MultiPolygon, Polygon

from geoseg.errors import PrescriptionError
from geoseg.spray.grid import heading_of
from geoseg.spray.settings import SprayConfig

__all__ = ["Heading", "choose_heading", "read_ab_line"]

_BEND_DEG = 2.0
"""How far a line may turn away from the straight line between its ends and still be taken for straight."""
_MAX_XML_BYTES = 50_000_000


@dataclass(frozen=True)
class Heading:
    """A driving direction.

    Attributes:
        degrees: Clockwise from the grid north of the CRS of the map, in [0, 360).
        source: Where it comes from, for people.
        others: What else was known and not taken: a text for each.
    """

    degrees: float
    source: str
    others: tuple[str, ...] = ()


def choose_heading(
    config: SprayConfig, crs: Any, boundary: Polygon | MultiPolygon, rows_deg: float | None = None
) -> Heading:
    """The driving direction by the order of precedence.

    Args:
        config: What was said.
        crs: CRS of the map, in metres.
        boundary: The field in `crs`.
        rows_deg: Heading of the crop rows from grid north; None: none were found, or not enough of one direction.

    Raises:
        PrescriptionError: If the AB line cannot be used.
    """
    found: list[tuple[str, float]] = []
    if config.heading_deg is not None:
        found.append(("configuration", config.heading_deg % 360))
    if config.ab_points is not None:
        points = np.array(config.ab_points).reshape(2, 2)
        found.append(("two points of the AB line", _direction(_moved(points, 4326, crs), "spray.ab_points")))
    if config.ab_line is not None:
        found.append((f"AB line of {Path(config.ab_line).name}", read_ab_line(config.ab_line, crs)))
    if rows_deg is not None:
        found.append(("crop rows", rows_deg % 360))
    if not found:
        found.append(("longest side of the field", heading_of(boundary)))
    (source, degrees), *rest = found
    return Heading(degrees, source, tuple(f"{name} {value:.2f}°" for name, value in rest))


def read_ab_line(path: Path | str, crs: Any) -> float:
    """The direction of an AB line from its file, degrees clockwise from the grid north of `crs`, in [0, 360).

    Args:
        path: A vector file with a line, or ISOBUS task data with a guidance line.
        crs: CRS of the map, in metres.

    Raises:
        PrescriptionError: If there is no line, there are several of different directions, or it is not straight.
    """
    path = Path(path)
    if not path.is_file():
        raise PrescriptionError(f"spray.ab_line: {path} does not exist; expected a file with an AB line")
    lines, source = _isoxml_lines(path) if path.suffix.lower() == ".xml" else _vector_lines(path)
    if not lines:
        raise PrescriptionError(f"spray.ab_line: {path.name} holds no line; expected an AB line from A to B")
    headings = [_direction(_moved(line, source, crs), path.name) for line in lines]
    apart = [abs((other - headings[0] + 90) % 180 - 90) for other in headings]
    if max(apart) > _BEND_DEG:
        listed = ", ".join(f"{value:.1f}°" for value in headings[:6])
        raise PrescriptionError(
            f"spray.ab_line: {path.name} holds {len(lines)} lines of different directions ({listed}); keep the one to "
            "drive along, or give spray.heading_deg"
        )
    return headings[0]


def _direction(points: NDArray[np.float64], name: str) -> float:
    """Direction from the first to the last point, which all others must follow."""
    steps = np.diff(points, axis=0)
    steps = steps[np.hypot(*steps.T) > 1e-3]
    dx, dy = points[-1] - points[0]
    if not steps.size or not math.isfinite(dx + dy) or math.hypot(dx, dy) < 1:
        raise PrescriptionError(f"spray.ab_line: the line in {name} is shorter than a metre; expected A and B apart")
    turned = np.degrees(np.arctan2(steps[:, 0], steps[:, 1]) - math.atan2(dx, dy))
    bend = float(np.abs((turned + 180) % 360 - 180).max())
    if bend > _BEND_DEG:
        raise PrescriptionError(
            f"spray.ab_line: the line in {name} bends by {bend:.1f}°; cells lie along one straight direction, so give "
            "the AB line of the main block, or spray.heading_deg"
        )
    return math.degrees(math.atan2(dx, dy)) % 360


def _moved(points: NDArray[np.float64], source: Any, crs: Any) -> NDArray[np.float64]:
    target = pyproj.CRS(str(crs))
    x, y = pyproj.Transformer.from_crs(pyproj.CRS(source), target, always_xy=True).transform(points[:, 0], points[:, 1])
    moved = np.stack([x, y], axis=1)
    if not np.isfinite(moved).all():
        raise PrescriptionError(f"spray.ab_line: a point of the line has no place in {target.name}")
    return moved


def _vector_lines(path: Path) -> tuple[list[NDArray[np.float64]], Any]:
    from pyogrio.errors import DataLayerError, DataSourceError
    from pyogrio.raw import read

    try:
        meta, _, wkb, _ = read(path, columns=[])
    except (DataSourceError, DataLayerError) as error:
        raise PrescriptionError(
            f"spray.ab_line: {path.name} cannot be read as lines: {' '.join(str(error).split())}"
        ) from error
    if wkb is None or meta["crs"] is None:
        raise PrescriptionError(f"spray.ab_line: {path.name} has no geometry or no CRS; save it with both")
    parts = shapely.get_parts(shapely.force_2d(shapely.from_wkb(wkb)))
    lines = parts[np.isin(shapely.get_type_id(parts), (1, 2))]
    return [shapely.get_coordinates(line) for line in lines], meta["crs"]


def _isoxml_lines(path: Path) -> tuple[list[NDArray[np.float64]], Any]:
    """Guidance lines of task data: line strings of type 5 with their points in longitude and latitude."""
    import xml.etree.ElementTree as ElementTree

    if path.stat().st_size > _MAX_XML_BYTES:
        raise PrescriptionError(f"spray.ab_line: {path.name} is larger than {_MAX_XML_BYTES // 1_000_000} MB")
    text = path.read_bytes()
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise PrescriptionError(f"spray.ab_line: {path.name} declares a document type, which task data never does")
    try:
        root = ElementTree.fromstring(text)
        strings = [line for line in root.iter("LSG") if line.get("A") == "5"]
        lines = [
            np.array([(float(point.get("D", "nan")), float(point.get("C", "nan"))) for point in line.iter("PNT")])
            for line in strings
        ]
    except (ElementTree.ParseError, ValueError) as error:
        raise PrescriptionError(f"spray.ab_line: {path.name} is no task data that can be read: {error}") from error
    return [line for line in lines if len(line) >= 2], 4326
