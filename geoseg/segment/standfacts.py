"""What is said of a field's stand as a whole: plain numbers for ``summary.json`` and for people. Knows no files."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.segment.rows import RowModel, Rows
from geoseg.segment.stand import Gaps, RowStand, count_interval, spacing_indices

__all__ = ["row_facts", "stand_facts"]

Floats = NDArray[np.float64]


def row_facts(model: RowModel) -> dict[str, Any]:
    """Heading, spacing and parts, as plain data."""
    return {
        "found": model.found,
        "reason": model.reason,
        "confident": model.confident,
        "heading_deg": model.heading_deg,
        "spacing_m": model.spacing_m,
        "plants_in_rows": model.plants_in_rows,
        "parts": [dataclasses.asdict(part) for part in model.parts],
    }


def stand_facts(
    x: Floats,
    y: Floats,
    area_m2: float,
    found: tuple[Rows, RowStand, Gaps],
    *,
    theoretical_m: float | None = None,
    seeds_per_ha: float | None = None,
) -> dict[str, Any]:
    """Counts, spacing and gaps of a field.

    Args:
        x: (n,) eastings of the plants, metres.
        y: (n,) northings.
        area_m2: Area in which they were counted.
        found: Rows, their stand and their gaps.
        theoretical_m: The spacing that was meant; None: estimated.
        seeds_per_ha: Seeds sown per hectare, for the emergence.
    """
    rows, stand, gaps = found
    steps = rows.plants.next_m[np.isfinite(rows.plants.next_m)]
    per_m2 = len(x) / area_m2 if area_m2 else 0.0
    length, gap = float(rows.table.length_m.sum()), float(stand.gap_m.sum())
    interval = count_interval(x, y)
    spacing = spacing_indices(steps, theoretical_m)
    facts: dict[str, Any] = {
        "plants": len(x),
        "plants_95": list(interval) if interval else None,
        "plants_95_from": "bootstrap over blocks of 5 m: how the stand varies, not what the model overlooks",
        "plants_per_m2": per_m2,
        "plants_per_ha": per_m2 * 1e4,
        "rows": len(rows.table.row_id),
        "row_length_m": length,
        "gaps": len(gaps.row_id),
        "gap_m": gap,
        "gap_share": gap / length if length else None,
        "missing": int(gaps.missing.sum()),
        "spacing": dataclasses.asdict(spacing) if spacing else None,
    }
    if seeds_per_ha is not None:
        facts |= {"seeds_per_ha": seeds_per_ha, "emergence": per_m2 * 1e4 / seeds_per_ha}
    return facts
