"""GeoPackages read as the databases that they are: row by row in flat memory. Knows no layer."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

__all__ = ["GEOMETRY", "open_package", "shapes_of"]

GEOMETRY = "geom"
"""Name of the geometry column, GDAL's default."""
_ENVELOPE = (0, 32, 48, 48, 64)
"""Bytes of the envelope in the header of a GeoPackage geometry, by its code."""


@contextmanager
def open_package(package: Path) -> Iterator[sqlite3.Connection]:
    """A GeoPackage as a database, for reading."""
    with closing(sqlite3.connect(f"{package.resolve().as_uri()}?mode=ro", uri=True)) as database:
        yield database


def shapes_of(blobs: Iterable[bytes]) -> NDArray[np.object_]:
    """Shapes from geometries as a GeoPackage stores them: WKB after a header of its own."""
    return np.asarray(shapely.from_wkb([blob[8 + _ENVELOPE[blob[3] >> 1 & 7] :] for blob in blobs]), dtype=object)
