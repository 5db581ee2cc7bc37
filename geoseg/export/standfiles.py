"""The stand of a finished run as tables: stand.csv, rows.csv, plots.csv, grid.csv. Counts what ``field.gpkg`` holds."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.errors import InputError
from geoseg.export.standlines import Stand, cell_lines, plot_lines, row_lines
from geoseg.segment.standfacts import RowTotals, stand_facts

__all__ = ["count"]

_PLANT_COLUMNS = ["x", "y", "row_id", "row_next_m"]


def count(
    run: Path | str,
    *,
    plots: Path | None = None,
    grid_m: float | None = None,
    theoretical_m: float | None = None,
    seeds_per_ha: float | None = None,
) -> dict[str, Any]:
    """The stand of a run, also written into its directory: field, rows, plots and cells of a grid.

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
    import pyogrio

    for name, value in (("grid", grid_m), ("theoretical-spacing", theoretical_m), ("seeds-per-ha", seeds_per_ha)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InputError(f"--{name} is {value}; expected a number over 0")
    folder = Path(run)
    summary = _summary(folder)
    file = folder / "field.gpkg"
    plants = pyogrio.read_dataframe(file, layer="plants", columns=_PLANT_COLUMNS, read_geometry=False)
    rows, gaps = gpd.read_file(file, layer="rows"), gpd.read_file(file, layer="gaps")
    boundary = gpd.read_file(file, layer="boundary").geometry.iloc[0]
    totals = RowTotals(
        len(rows), float(rows.length_m.sum()), len(gaps), float(gaps.length_m.sum()), int(gaps.missing.sum())
    )
    x, y = plants.x.to_numpy(), plants.y.to_numpy()
    steps = plants.row_next_m.dropna().to_numpy(np.float64)
    given = {"theoretical_m": theoretical_m, "seeds_per_ha": seeds_per_ha, "error": summary["stand"].get("count_error")}
    facts = stand_facts(x, y, summary["valid_ha"] * 1e4, steps, totals, **given)
    facts["weed_plants"] = int(pyogrio.read_info(file, layer="weed_plants")["features"])
    meant_m = facts["spacing"]["theoretical_m"] if facts["spacing"] else None
    _write(folder / "stand.csv", ({"what": name, "value": value} for name, value in _flat(facts)))
    spacing = {part["part"]: part["spacing_m"] for part in summary["rows"]["parts"]}
    _write(folder / "rows.csv", row_lines(rows, plants, spacing, meant_m))
    if plots is not None:
        field = Stand(plants, rows, gaps, boundary)
        facts["plots"] = plot_lines(plots, field, meant_m, seeds_per_ha)
        _write(folder / "plots.csv", facts["plots"])
    if grid_m is not None:
        _write(folder / "grid.csv", cell_lines(x, y, boundary, grid_m))
    return facts


def _summary(folder: Path) -> dict[str, Any]:
    try:
        summary: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{folder} is no run directory: it has no summary.json; give the folder that `geoseg run` made"
        ) from error
    if "stand" not in summary:
        raise InputError(f"{folder} holds no rows yet; run geoseg vectorize {folder} first")
    return summary


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
