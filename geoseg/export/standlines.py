"""The stand row by row, plot by plot and cell by cell, as lines of tables. Knows frames, writes no file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import shapely

from geoseg.errors import InputError
from geoseg.segment.stand import spacing_indices

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

__all__ = ["Stand", "cell_lines", "plot_lines", "row_lines"]

_PLOT_IDS = ("plot_id", "plot", "id", "name")
_MAX_CELLS = 1_000_000


class Stand(NamedTuple):
    """What a field holds.

    Attributes:
        plants: Crop plants: x, y, row_id, row_next_m.
        rows: Crop rows.
        gaps: Gaps in them.
        boundary: The field.
    """

    plants: pd.DataFrame
    rows: gpd.GeoDataFrame
    gaps: gpd.GeoDataFrame
    boundary: shapely.Geometry


def row_lines(
    rows: gpd.GeoDataFrame, plants: pd.DataFrame, spacing: Mapping[int, float], theoretical_m: float | None
) -> Iterable[dict[str, Any]]:
    """One line a row; plants per square metre are its plants over its length times the distance between rows.

    Args:
        rows: The rows.
        plants: The plants.
        spacing: Distance between the rows of each part.
        theoretical_m: The spacing that was meant along the rows.
    """
    steps = plants.dropna(subset=["row_id", "row_next_m"]).groupby("row_id").row_next_m
    of_row = {int(row): values.to_numpy(np.float64) for row, values in steps}
    for row in rows.itertuples():
        yield {
            "row_id": row.row_id,
            "part": row.part,
            "heading_deg": row.heading_deg,
            "plants": row.plants,
            "length_m": row.length_m,
            "plants_per_m": row.plants / row.length_m if row.length_m else None,
            "plants_per_m2": row.plants / (row.length_m * spacing[row.part]) if row.length_m else None,
            "gap_m": row.gap_m,
            "gap_share": row.gap_share,
            **_spacing_columns(of_row.get(row.row_id, np.empty(0)), theoretical_m),
        }


def _spacing_columns(steps: Any, theoretical_m: float | None) -> dict[str, Any]:
    """Spacing and the indices of Kachman and Smith, empty where there are too few spacings."""
    found = spacing_indices(steps, theoretical_m)
    names = {
        "spacing_m": "mean_m", "spacing_sd_m": "sd_m", "spacing_cv": "cv", "multiples": "multiples", "misses": "misses",
        "quality_of_feed": "quality_of_feed", "precision": "precision",
    }  # fmt: skip
    return {column: getattr(found, name) if found else None for column, name in names.items()}


def plot_lines(
    file: Path, stand: Stand, theoretical_m: float | None, seeds_per_ha: float | None
) -> list[dict[str, Any]]:
    """One line a plot; its area is what of it lies in the field.

    Args:
        file: Polygon file in any CRS; plots are named by the column plot_id, plot, id or name, else numbered.
        stand: What the field holds.
        theoretical_m: The spacing that was meant along the rows.
        seeds_per_ha: Seeds sown per hectare, for the emergence.

    Raises:
        InputError: If the file cannot be read or holds no polygons.
    """
    names, shapes = _plots(file, stand.rows.crs)
    tree = shapely.STRtree(shapely.points(stand.plants.x.to_numpy(), stand.plants.y.to_numpy()))
    plot, plant = tree.query(shapes, predicate="contains")
    counts = np.bincount(plot, minlength=len(shapes))
    steps = stand.plants.row_next_m.to_numpy(np.float64)
    row_m, gap_m = (_length_in(shapes, lines) for lines in (stand.rows, stand.gaps))
    lines = []
    for index, (name, shape) in enumerate(zip(names, shapes, strict=True)):
        area, number = float(shapely.area(shapely.intersection(shape, stand.boundary))), int(counts[index])
        per_ha = number / area * 1e4 if area else None
        line = {"plot": name, "area_m2": area, "plants": number, "plants_per_ha": per_ha}
        line["plants_per_m2"] = per_ha / 1e4 if per_ha is not None else None
        if seeds_per_ha is not None:
            line["emergence"] = per_ha / seeds_per_ha if per_ha is not None else None
        own = steps[plant[plot == index]]
        line |= {"row_m": row_m[index], "gap_m": gap_m[index]}
        line["gap_share"] = gap_m[index] / row_m[index] if row_m[index] else None
        lines.append(line | _spacing_columns(own[np.isfinite(own)], theoretical_m))
    return lines


def _plots(file: Path, crs: Any) -> tuple[list[Any], Any]:
    """Names and shapes of the plots, in a CRS."""
    import geopandas as gpd
    from pyogrio.errors import DataSourceError

    try:
        frame = gpd.read_file(file)
    except DataSourceError as error:
        raise InputError(f"{file} cannot be read as a polygon file; expected GPKG, shapefile or GeoJSON") from error
    if frame.crs is None or not len(frame) or not frame.geom_type.isin(["Polygon", "MultiPolygon"]).all():
        raise InputError(f"{file} must hold polygons in a known CRS; check the file")
    column = next((name for name in _PLOT_IDS if name in frame.columns), None)
    names = frame[column].tolist() if column else list(range(1, len(frame) + 1))
    return names, frame.to_crs(crs).geometry.to_numpy()


def _length_in(shapes: Any, lines: gpd.GeoDataFrame) -> list[float]:
    """Length of the lines inside each shape, metres."""
    found = np.zeros(len(shapes))
    drawn = lines.geometry.to_numpy()
    shape, line = shapely.STRtree(drawn).query(shapes, predicate="intersects")
    np.add.at(found, shape, shapely.length(shapely.intersection(shapes[shape], drawn[line])))
    return [float(length) for length in found]


def cell_lines(x: Any, y: Any, boundary: shapely.Geometry, side_m: float) -> Iterable[dict[str, Any]]:
    """One line a square cell that meets the field; its area is what of it lies in the field."""
    left, low, right, top = shapely.bounds(boundary)
    cols, rows = (max(math.ceil(extent / side_m - 1e-9), 1) for extent in (right - left, top - low))
    if cols * rows > _MAX_CELLS:
        raise InputError(f"--grid {side_m:g} makes {cols * rows:,} cells; at most {_MAX_CELLS:,}: take larger ones")
    col = np.clip(((x - left) // side_m).astype(np.int64), 0, cols - 1)
    row = np.clip(((y - low) // side_m).astype(np.int64), 0, rows - 1)
    counts = np.bincount(row * cols + col, minlength=rows * cols)
    row, col = (part.ravel() for part in np.mgrid[:rows, :cols])
    west, south = left + col * side_m, low + row * side_m
    areas = shapely.area(shapely.intersection(shapely.box(west, south, west + side_m, south + side_m), boundary))
    for index in np.flatnonzero((areas > 0) | (counts > 0)).tolist():
        number, area = int(counts[index]), float(areas[index])
        yield {
            "x": float(west[index] + side_m / 2),
            "y": float(south[index] + side_m / 2),
            "area_m2": area,
            "plants": number,
            "plants_per_m2": number / area if area else None,
        }
