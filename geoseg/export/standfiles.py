"""The stand of a finished run as tables: stand.csv, rows.csv, plots.csv, grid.csv. Counts what ``field.gpkg`` holds."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from geoseg.errors import InputError
from geoseg.segment.standfacts import RowTotals, stand_facts

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["count"]

_PLOT_IDS = ("plot_id", "plot", "id", "name")
_MAX_CELLS = 1_000_000


def count(
    run: Path | str,
    *,
    plots: Path | None = None,
    grid_m: float | None = None,
    theoretical_m: float | None = None,
    seeds_per_ha: float | None = None,
) -> dict[str, Any]:
    """The stand of a run, also written into its directory.

    Args:
        run: A run directory with plants and rows.
        plots: Polygon file in any CRS; plots are named by the column plot_id, plot, id or name, else numbered.
        grid_m: Side of the cells of ``grid.csv``, metres; None writes none.
        theoretical_m: Spacing that was meant along the rows, metres; None: estimated.
        seeds_per_ha: Seeds sown per hectare, for the emergence.

    Returns:
        The facts of `stand_facts`, and ``plots``: a list of rows.

    Raises:
        InputError: If the run has no rows stage, a number makes no sense or the plots cannot be used.
    """
    import geopandas as gpd

    for name, value in (("grid", grid_m), ("theoretical-spacing", theoretical_m), ("seeds-per-ha", seeds_per_ha)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InputError(f"--{name} is {value}; expected a number over 0")
    folder = Path(run)
    summary = _summary(folder)
    file = folder / "field.gpkg"
    plants = gpd.read_file(file, layer="plants")
    rows, gaps = gpd.read_file(file, layer="rows"), gpd.read_file(file, layer="gaps")
    boundary = gpd.read_file(file, layer="boundary").geometry.iloc[0]
    totals = RowTotals(
        len(rows), float(rows.length_m.sum()), len(gaps), float(gaps.length_m.sum()), int(gaps.missing.sum())
    )
    x, y = plants.x.to_numpy(), plants.y.to_numpy()
    steps = plants.row_next_m.dropna().to_numpy(np.float64)
    facts = stand_facts(
        x, y, summary["valid_ha"] * 1e4, steps, totals, theoretical_m=theoretical_m, seeds_per_ha=seeds_per_ha
    )
    _write(folder / "stand.csv", ({"what": name, "value": value} for name, value in _flat(facts)))
    spacing = {part["part"]: part["spacing_m"] for part in summary["rows"]["parts"]}
    _write(folder / "rows.csv", _row_lines(rows, spacing))
    if plots is not None:
        facts["plots"] = _plot_lines(plots, plants, boundary, seeds_per_ha)
        _write(folder / "plots.csv", facts["plots"])
    if grid_m is not None:
        _write(folder / "grid.csv", _cells(x, y, boundary, grid_m))
    return facts


def _summary(folder: Path) -> dict[str, Any]:
    try:
        summary: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{folder} is no run directory: it has no summary.json") from error
    if "stand" not in summary:
        raise InputError(f"{folder} holds no rows yet; run geoseg vectorize {folder} first")
    return summary


def _row_lines(rows: gpd.GeoDataFrame, spacing: Mapping[int, float]) -> Iterable[dict[str, Any]]:
    """Plants per square metre of a row: its plants over its length times the distance between rows."""
    for row in rows.itertuples():
        yield {
            "row_id": row.row_id,
            "plants": row.plants,
            "length_m": row.length_m,
            "plants_per_m2": row.plants / (row.length_m * spacing[row.part]) if row.length_m else None,
            "spacing_m": row.spacing_m,
            "spacing_cv": row.spacing_cv,
            "gap_m": row.gap_m,
            "gap_share": row.gap_share,
        }


def _plot_lines(
    file: Path, plants: gpd.GeoDataFrame, boundary: shapely.Geometry, seeds_per_ha: float | None
) -> list[dict[str, Any]]:
    """One line a plot; its area is what of it lies in the field."""
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
    shapes = frame.to_crs(plants.crs).geometry.to_numpy()
    tree = shapely.STRtree(shapely.points(plants.x.to_numpy(), plants.y.to_numpy()))
    counts = np.bincount(tree.query(shapes, predicate="contains")[0], minlength=len(shapes))
    lines = []
    for name, plot, number in zip(names, shapes, counts.tolist(), strict=True):
        area = shapely.area(shapely.intersection(plot, boundary))
        per_ha = number / area * 1e4 if area else None
        line = {"plot": name, "area_m2": float(area), "plants": number, "plants_per_ha": per_ha}
        line["plants_per_m2"] = per_ha / 1e4 if per_ha is not None else None
        if seeds_per_ha is not None:
            line["emergence"] = per_ha / seeds_per_ha if per_ha is not None else None
        lines.append(line)
    return lines


def _cells(x: Any, y: Any, boundary: shapely.Geometry, side_m: float) -> Iterable[dict[str, Any]]:
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


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield from ((f"{prefix}{name}.{nth}", part) for nth, part in zip(("low", "high"), value, strict=True))
        else:
            yield f"{prefix}{name}", value


def _write(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    lines = list(lines)
    with path.open("w", encoding="utf-8", newline="") as file:
        if lines:
            writer = csv.DictWriter(file, list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)
