"""What the report's map draws, read from the layers of ``field.gpkg`` piece by piece, so that memory stays flat."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.report.mapdraw import Frame, outlines
from geoseg.vectors.package import GEOMETRY, open_package, shapes_of

__all__ = ["collect_paths", "read_pieces", "read_places"]

_AT_ONCE = 2000


def read_places(package: Path, layer: str) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Eastings and northings of the points of a layer."""
    with open_package(package) as database:
        cursor = database.execute(f'SELECT x, y FROM "{layer}"')
        while rows := cursor.fetchmany(50 * _AT_ONCE):
            found = np.array(rows, np.float64)
            yield found[:, 0], found[:, 1]


def collect_paths(
    package: Path, layer: str, frame: Frame, vertices: int, by: str | None = None
) -> dict[float, str] | None:
    """SVG path data by the value of a column, or None as soon as there are too many vertices."""
    paths: dict[float, list[str]] = {}
    total = 0
    for shapes, values in read_pieces(package, layer, frame, by):
        total += int(shapely.get_num_coordinates(shapes).sum())
        if total > vertices:
            return None
        for value in np.unique(values).tolist():
            paths.setdefault(value, []).append(outlines(frame, shapes[values == value]))
    return {value: "".join(parts) for value, parts in sorted(paths.items())}


def read_pieces(
    package: Path, layer: str, frame: Frame, by: str | None = None
) -> Iterator[tuple[NDArray[np.object_], NDArray[np.float64]]]:
    """Shapes without detail that the map cannot show, and the value of a column (0 without one), piece by piece."""
    with open_package(package) as database:
        value = f'"{by}"' if by else "0"
        cursor = database.execute(f'SELECT {GEOMETRY}, {value} FROM "{layer}" ORDER BY fid')
        while rows := cursor.fetchmany(_AT_ONCE):
            blobs, values = zip(*rows, strict=True)
            yield shapely.simplify(shapes_of(blobs), 0.4 * frame.grid.affine.a), np.array(values, np.float64)
