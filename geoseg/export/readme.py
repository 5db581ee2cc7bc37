"""The README.txt beside every export: what the numbers mean, what they add up to and how to load them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from geoseg.export.coarsen import Loss
from geoseg.export.planned import Planned
from geoseg.export.profiles import Profile
from geoseg.export.readback import Readback
from geoseg.spray import SprayConfig

__all__ = ["readme"]

_KINDS = {
    "rate": "rate of the spray liquid",
    "zone": "number of the zone",
    "area_m2": "area",
    "zero": "0, not used",
    "label": "name of the zone",
    "colour": "colour of the rate",
    "fixed": "always the same",
}
DISCLAIMER = "Structurally verified: the files were read back and agree with the plan. NOT TESTED ON A TERMINAL."


def readme(
    prescription: Planned, profile: Profile, name: str, written: Readback | None = None, loss: Loss | None = None
) -> str:
    """The text for people who load the files, ASCII only, with CR LF line ends for any computer.

    Args:
        prescription: What the files hold.
        profile: Whom it was written for.
        name: Base name of the files.
        written: What a file with a grid holds, compared with the plan.
        loss: What was made coarser than planned.
    """
    lines = [
        f"SPRAY PRESCRIPTION {name}",
        f"For: {profile.title}",
        f"Profile: {profile.name}",
        "",
        DISCLAIMER,
        *((f"EXPERIMENTAL: {profile.experimental}",) if profile.experimental else ()),
        "Compare the totals below with what the terminal shows before you spray.",
        "",
        *(_loss(loss, profile) if loss else ()),
        *_totals(prescription),
        "",
        *(() if written else _columns(prescription, profile)),
        *(_grid(prescription, written.facts) if written else ()),
        "HOW TO LOAD",
        *(f"  {nth}. {step}" for nth, step in enumerate(profile.steps, 1)),
        "",
    ]
    return "\r\n".join(lines).encode("ascii", "replace").decode("ascii")


def _loss(loss: Loss, profile: Profile) -> Iterator[str]:
    """What a person must know before all else: this is not the map that was planned."""
    yield "COARSER THAN PLANNED"
    yield f"  {profile.title} does not take the prescription as it was planned:"
    for line in loss.lines():
        yield f"  {line}"
    yield ""


def _totals(prescription: Planned) -> Iterator[str]:
    totals, config = prescription.totals, prescription.config
    width, length = config.cell_m
    yield "TOTALS"
    yield f"  field area          {totals.field_ha:.4f} ha"
    yield f"  treated area        {totals.treated_ha:.4f} ha"
    yield f"  spray liquid        {totals.litres:.1f} litres"
    yield f"  whole field         {totals.broadcast_litres:.1f} litres at {config.rate_l_ha:g} l/ha"
    yield f"  saved               {totals.saved_percent:.1f} percent"
    if totals.product is not None:
        yield f"  product             {totals.product:.2f} {totals.product_unit}"
    if totals.tank_fills:
        yield f"  tank                {totals.tank_fills} fills, the last with {totals.last_fill_litres:.0f} litres,"
        yield f"                      of which {totals.residual_litres:g} litres stay in the machine"
    yield f"  cells with weeds    {totals.triggered_ha:.4f} ha: what was mapped, without the safety buffer"
    if totals.excluded_ha:
        yield f"  never sprayed       {totals.excluded_ha:.4f} ha of excluded ground"
    if totals.unseen_cells:
        done = "sprayed at the full rate" if config.unseen == "spray" else "NOT SPRAYED"
        yield f"  not seen by camera  {totals.unseen_ha:.4f} ha, {done}"
    if totals.dropped_spots:
        yield f"  spots left out      {totals.dropped_spots} under {config.min_spot_m2:g} m2"
    yield ""
    yield "MACHINE AND RULE"
    yield f"  cells               {width:g} m across the track, {length:g} m along it"
    yield f"  heading             {prescription.true_heading_deg:.3f} degrees from true north"
    yield f"                      {prescription.heading_deg:.3f} degrees from grid north of the map"
    yield f"  rule                {_rule(config)}"
    yield f"  safety buffer       {config.buffer_m:g} m"


def _rule(config: SprayConfig) -> str:
    rates = config.rates
    unit = "weed cover" if rates.by == "cover" else "weed plants per m2"
    if rates.rule == "stepped":
        return ", ".join(f"{rate:g} l/ha from {value:g} {unit}" for value, rate in rates.steps)
    if rates.rule == "zones":
        return f"{len(rates.class_rates)} zones by {unit}, {rates.method}"
    plants = config.threshold_plants_m2
    more = "" if plants is None else f" or {plants:g} weed plants per m2"
    return f"sprayed from {100 * config.threshold_cover:g} percent weed cover in a cell{more}"


def _columns(prescription: Planned, profile: Profile) -> Iterator[str]:
    yield "COLUMNS" if profile.columns else "CONTENT"
    for column in profile.columns:
        yield f"  {column.name:<10} {_KINDS[column.kind]}{f' in {column.unit}' if column.unit else ''}"
    rates = ", ".join(f"{rate:g}" for rate in prescription.rates)
    yield f"  rates in use: {rates} l/ha (litres of spray liquid per hectare)"
    yield f"  polygons: {len(prescription.zones)}; they cover the whole field, with rate 0 where nothing is sprayed"
    yield ""


def _grid(prescription: Planned, facts: dict[str, Any]) -> Iterator[str]:
    """What the file holds, read back from it: a grid cannot agree with the plan to the square metre."""
    width, height = facts["cell_m"]
    yield "AS WRITTEN (READ BACK FROM THE FILE)"
    yield f"  grid cells          {width:.3f} m to the east, {height:.3f} m to the north"
    yield f"  treated area        {facts['treated_ha']:.4f} ha"
    difference = facts["litres_difference_percent"]
    yield f"  spray liquid        {facts['litres']:.1f} litres, {difference:+.2f} percent to the plan"
    yield f"  treated too much    {facts['over_treated_m2']:.1f} m2, {facts['over_treated_litres']:.1f} litres"
    yield f"  treated too little  {facts['under_treated_m2']:.1f} m2"
    yield "  A cell of the grid is treated as soon as it meets treated ground, so that none is lost."
    if min(prescription.config.cell_m) < max(width, height):
        yield "  THE GRID IS COARSER THAN THE MACHINE'S CELLS: more is sprayed than the map needs."
    rates = ", ".join(f"{rate:g}" for rate in prescription.rates)
    yield f"  rates in use: {rates} l/ha (litres of spray liquid per hectare)"
    yield ""
