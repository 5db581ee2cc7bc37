"""Rows into a finished ``field.gpkg``: the plants' columns, the layers rows and gaps. Knows no agronomy."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.durable import replace_file
from geoseg.export.columns import LAYERS
from geoseg.export.geopackage import _draft_path, _remove, _wkt, _write
from geoseg.segment.rowlines import PlantRows, RowTable
from geoseg.segment.stand import Gaps, RowStand

__all__ = ["PlantPoints", "read_plants", "write_rows"]

_UPDATE = "UPDATE plants SET row_id = ?, row_position_m = ?, row_next_m = ?, row_offset_m = ? WHERE fid = ?"
_AT_ONCE = 100_000
_TRIGGER_FUNCTIONS = {"ST_IsEmpty": 1, "ST_MinX": 1, "ST_MaxX": 1, "ST_MinY": 1, "ST_MaxY": 1}
"""What the triggers of a spatial index call when a geometry changes. Here none does, but SQLite wants to know them."""


class PlantPoints(NamedTuple):
    """The plants of a file, in its order.

    Attributes:
        fid: (n,) number of the feature.
        x: (n,) easting, metres.
        y: (n,) northing, metres.
        area_m2: (n,) area.
    """

    fid: NDArray[np.int64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    area_m2: NDArray[np.float64]


def read_plants(path: Path | str) -> PlantPoints:
    """The plants of ``field.gpkg``."""
    from pyogrio.raw import read

    columns = ["x", "y", "area_m2"]
    meta, fid, _, data = read(path, layer="plants", columns=columns, read_geometry=False, return_fids=True)
    found = dict(zip(meta["fields"], data, strict=True))
    return PlantPoints(fid, found["x"], found["y"], found["area_m2"])


def write_rows(
    path: Path | str, fid: NDArray[np.int64], plants: PlantRows, table: RowTable, stand: RowStand, gaps: Gaps, crs: Any
) -> None:
    """Enter rows into ``field.gpkg``, in one atomic step.

    Args:
        path: The file, with all layers of `LAYERS`.
        fid: (n,) features of the plants.
        plants: Their places.
        table: The rows.
        stand: The rows' stand.
        gaps: The gaps.
        crs: CRS of the file.
    """
    path = Path(path)
    draft = _draft_path(path)
    columns = {
        "row_id": table.row_id, "part": table.part, "number": table.number, "heading_deg": table.heading_deg,
        "length_m": table.length_m, "plants": table.plants, "spacing_m": stand.spacing_m,
        "spacing_sd_m": stand.spacing_sd_m, "spacing_cv": stand.spacing_cv, "gap_m": stand.gap_m,
        "gap_share": stand.gap_share,
    }  # fmt: skip
    empty = {"row_id": gaps.row_id, "length_m": gaps.length_m, "missing": gaps.missing}
    try:
        shutil.copyfile(path, draft)
        with closing(sqlite3.connect(draft)) as database, database:
            _enter_plants(database, fid, plants)
            for layer in ("rows", "gaps"):
                database.execute(f"DELETE FROM {layer}")
        _write(draft, LAYERS["rows"], columns, table.line, _wkt(crs))
        _write(draft, LAYERS["gaps"], empty, gaps.line, _wkt(crs))
        replace_file(draft, path)
    finally:
        _remove(draft)


def _enter_plants(database: sqlite3.Connection, fid: NDArray[np.int64], plants: PlantRows) -> None:
    database.execute("PRAGMA synchronous = OFF")  # a draft is made durable once, when it is whole
    for name, arguments in _TRIGGER_FUNCTIONS.items():
        database.create_function(name, arguments, lambda *_: None)
    for start in range(0, len(fid), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        values = [plants.position_m[part], plants.next_m[part], plants.off_row_m[part]]  # SQLite stores NaN as null
        ids = [row or None for row in plants.row_id[part].tolist()]
        database.executemany(_UPDATE, zip(ids, *(v.tolist() for v in values), fid[part].tolist(), strict=True))
