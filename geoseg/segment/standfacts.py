"""What is said of a field's stand as a whole: plain numbers for ``summary.json`` and for people. Knows no files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.segment.rows import RowModel
from geoseg.segment.stand import count_interval, spacing_indices

__all__ = ["RowTotals", "count_error", "row_facts", "stand_facts"]

Floats = NDArray[np.float64]


class RowTotals(NamedTuple):
    """Sums over all rows.

    Attributes:
        rows: Number of rows.
        length_m: Their length.
        gaps: Number of gaps.
        gap_m: Their length.
        missing: Plants missing in them.
    """

    rows: int
    length_m: float
    gaps: int
    gap_m: float
    missing: int


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


def count_error(scores: Mapping[str, Any]) -> dict[str, Any] | None:
    """How far a model's counts of crop plants were off where it was validated; None if its card does not say.

    Each data set may have ``count``: plots, plot_m2, ratio_low and ratio_high, the 2.5 % and 97.5 % quantiles of the
    true number over the counted one when plots are drawn anew. Of several data sets the widest bounds count.

    Args:
        scores: ``scores`` of the model's card.
    """
    found = [part["count"] for part in scores.values() if isinstance(part, Mapping) and "count" in part]
    found = [part for part in found if part.get("ratio_low") is not None and part.get("ratio_high") is not None]
    if not found:
        return None
    return {
        "low": min(part["ratio_low"] for part in found),
        "high": max(part["ratio_high"] for part in found),
        "plots": sum(part["plots"] for part in found),
        "plot_m2": min(part["plot_m2"] for part in found),
    }


def _explain(error: Mapping[str, Any] | None) -> str:
    if error is None:
        return "the card of the model has no validation counts"
    return (
        f"in {error['plots']} validation plots of {error['plot_m2']:.1f} m² and more there were {error['low']:.2f} to "
        f"{error['high']:.2f} times the plants that the model counted (95 % of draws of as many plots)"
    )


def stand_facts(
    x: Floats,
    y: Floats,
    area_m2: float,
    steps: Floats,
    totals: RowTotals,
    *,
    theoretical_m: float | None = None,
    seeds_per_ha: float | None = None,
    error: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Counts, spacing and gaps of a field.

    Args:
        x: (n,) eastings of the plants, metres.
        y: (n,) northings.
        area_m2: Area in which they were counted.
        steps: (m,) distances from plant to plant along the rows, metres.
        totals: Rows and gaps.
        theoretical_m: The spacing that was meant; None: estimated.
        seeds_per_ha: Seeds sown per hectare, for the emergence.
        error: How far the model's counts were off, as `count_error` gives it.
    """
    per_m2 = len(x) / area_m2 if area_m2 else 0.0
    interval = count_interval(x, y)
    spacing = spacing_indices(steps, theoretical_m)
    facts: dict[str, Any] = {
        "plants": len(x),
        "plants_validated": [len(x) * error["low"], len(x) * error["high"]] if error else None,
        "plants_validated_from": _explain(error),
        "count_error": dict(error) if error else None,
        "plants_95": list(interval) if interval else None,
        "plants_95_from": "bootstrap over blocks of 5 m: how the stand varies, not what the model overlooks",
        "plants_per_m2": per_m2,
        "plants_per_ha": per_m2 * 1e4,
        "rows": totals.rows,
        "row_length_m": totals.length_m,
        "gaps": totals.gaps,
        "gap_m": totals.gap_m,
        "gap_share": totals.gap_m / totals.length_m if totals.length_m else None,
        "missing": totals.missing,
        "spacing": dataclasses.asdict(spacing) if spacing else None,
    }
    if seeds_per_ha is not None:
        facts |= {"seeds_per_ha": seeds_per_ha, "emergence": per_m2 * 1e4 / seeds_per_ha}
    return facts
