"""What a file adds up to, beside what the plan does: areas, litres, product, tank fills. Knows no geometry."""

from __future__ import annotations

from typing import Any

from geoseg.export.readback import Readback
from geoseg.spray.totals import Totals, fill_tank

__all__ = ["TOLERANCE_PERCENT", "add_as_written", "compare_totals"]

TOLERANCE_PERCENT = 0.1
"""Largest difference of area, litres or product between the file and the plan."""


def compare_totals(found: Readback, plan: Totals, field_ha: float, treated_ha: float, litres: float) -> None:
    """Add the totals as written to the facts, and each that is more than the tolerance off to the findings.

    Args:
        found: What a reader read.
        plan: The totals of the plan.
        field_ha: Area of all polygons of the file.
        treated_ha: Area of those with a rate.
        litres: Area times rate.
    """
    add_as_written(found, plan, treated_ha, litres)
    pairs = [("field_ha", field_ha, plan.field_ha), ("treated_ha", treated_ha, plan.treated_ha)]
    pairs.append(("litres", litres, plan.litres))
    if plan.product is not None:
        pairs.append(("product", found.facts["product"], plan.product))
    for name, value, expected in pairs:
        percent = 100 * (value - expected) / expected if expected else (0.0 if value == 0 else float("inf"))
        found.facts[f"{name}_difference_percent"] = float(percent)
        if abs(percent) > TOLERANCE_PERCENT:
            found.error(
                name.replace("_", "-"),
                f"{name} is {value:.4f} in the file and {expected:.4f} in the plan, {percent:+.3f} %; expected within "
                f"{TOLERANCE_PERCENT} %",
            )


def add_as_written(found: Readback, plan: Totals, treated_ha: float, litres: float) -> None:
    """Add what follows from area and litres of a file: savings, commanded by mapped area, product and tank fills.

    Args:
        found: What a reader read.
        plan: The totals of the plan: the whole field's litres, the mapped area, dose and tank.
        treated_ha: Area with a rate, in the file.
        litres: Area times rate, in the file.
    """
    facts: dict[str, Any] = {"saved_percent": 100 * (1 - litres / plan.broadcast_litres)}
    if plan.triggered_ha:
        facts["commanded_by_mapped"] = treated_ha / plan.triggered_ha
    if plan.product_per_litre is not None:
        facts |= {"product": litres * plan.product_per_litre, "product_unit": plan.product_unit}
    if plan.tank_litres is not None:
        tank = fill_tank(litres, plan.tank_litres, plan.residual_litres or 0.0)
        facts |= {"tank_fills": tank.fills, "last_fill_litres": tank.last_litres}
    found.facts |= facts
