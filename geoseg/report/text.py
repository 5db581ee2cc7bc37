"""The answers of a run in a few lines of text, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geoseg.spray.machine import Machine

__all__ = ["FILES", "card_lines", "machine_lines", "simulation_lines", "stand_lines", "summary_lines"]

FILES = (
    ("prescription", "what goes on the stick, one folder per terminal"),
    ("field.qgz", "double-click: everything in QGIS, with pages to print"),
    ("field.gpkg", "boundary, plants, weed patches, prescription for QGIS"),
    ("classes.tif", "soil 0, crop 1, weed 2, nodata 255"),
    ("confidence.tif", "confidence of each pixel, percent"),
    ("preview.tif", "the ortho in true colours, reduced"),
    ("panoptic.tif", "number of each pixel's plant; panoptic.csv says what it is"),
    ("plants.parquet", "outlines of plants with all attributes"),
    ("quicklook.png", "the field at a glance"),
    ("report.html", "all of this with a map, for the browser and for paper"),
    ("report.json", "the same for programs"),
    ("summary.json", "these figures, for programs"),
)


def summary_lines(summary: Mapping[str, Any], directory: Path | None = None) -> Iterator[str]:
    """The answers, a line each, and where the files lie.

    Args:
        summary: What ``summary.json`` holds.
        directory: The run directory; names the files that exist in it.
    """
    gsd = summary["gsd_m"] * 1000
    seen = _area(summary["valid_ha"])
    yield f"field         {_area(summary['field_ha'])}, of which {seen} seen, at {gsd:.1f} mm per pixel"
    shares = ", ".join(f"{name} {entry['share']:.2%}" for name, entry in summary["classes"].items())
    yield f"cover         {shares}"
    if plants := summary.get("plants"):
        yield from _plant_lines(plants, summary["valid_ha"])
    if rows := summary.get("rows"):
        yield from _row_lines(rows, summary["stand"])
    if prescription := summary.get("prescription"):
        yield from _prescription_lines(prescription)
    for warning in summary.get("warnings", ()):
        yield f"warning       {warning}"
    if directory is not None:
        found = [(name, text) for name, text in FILES if (directory / name).exists()]
        yield f"files in      {directory}"
        for name, text in found:
            yield f"  {name:<15} {text}"


def stand_lines(stand: Mapping[str, Any]) -> Iterator[str]:
    """The stand as `geoseg.export.standfiles.count` gives it."""
    yield f"crop plants   {stand['plants']:,}"
    if interval := stand["plants_validated"]:
        yield f"  likely      {interval[0]:,.0f} to {interval[1]:,.0f}: {stand['plants_validated_from']}"
    else:
        yield f"  likely      not known: {stand['plants_validated_from']}"
    if interval := stand["plants_95"]:
        yield f"  spread      {interval[0]:,.0f} to {interval[1]:,.0f}: {stand['plants_95_from']}"
    yield f"weed plants   {stand['weed_plants']:,}"
    yield f"density       {stand['plants_per_m2']:.2f} per m², {stand['plants_per_ha']:,.0f} per ha"
    if "emergence" in stand:
        yield f"emergence     {stand['emergence']:.1%} of {stand['seeds_per_ha']:,.0f} seeds per ha"
    if spacing := stand["spacing"]:
        yield (
            f"spacing       mean {spacing['mean_m']:.3f} m, SD {spacing['sd_m']:.3f} m, CV (SD over mean) "
            f"{spacing['cv']:.0%}, {stand['rows']:,} rows, {stand['row_length_m']:.0f} m"
        )
        precision = f"{spacing['precision']:.1%}" if spacing["precision"] is not None else "unknown"
        yield (
            f"feed          multiples {spacing['multiples']:.1%}, misses {spacing['misses']:.1%}, quality of feed "
            f"{spacing['quality_of_feed']:.1%}, precision {precision}; theoretical spacing "
            f"{spacing['theoretical_m']:.3f} m ({spacing['theoretical_from']})"
        )
    if stand["gap_share"] is not None:
        yield (
            f"gaps          {stand['gaps']:,}, {stand['gap_m']:.0f} m ({stand['gap_share']:.0%} of the rows), "
            f"{stand['missing']:,} plants missing"
        )
    for plot in stand.get("plots", ()):
        per_ha = "outside the field" if plot["plants_per_ha"] is None else f"{plot['plants_per_ha']:,.0f} per ha"
        yield f"plot {plot['plot']!s:<9}{plot['plants']:,} plants on {plot['area_m2']:.1f} m², {per_ha}"


def card_lines(card: Mapping[str, Any]) -> Iterator[str]:
    """A model card for people."""
    from geoseg.models.card import GsdRange

    yield f"{card['name']} {card['version']}  {card['description']}"
    yield f"  bands       {', '.join(card['bands'])}"
    yield f"  resolution  {GsdRange.model_validate(card['gsd']).span}"
    yield f"  licence     {card['licence']}"
    for name, found in card["scores"].items():
        classes = ", ".join(
            f"{key} {value['iou']:.3f}" for key, value in found["classes"].items() if value["iou"] is not None
        )
        yield f"  IoU         {name}: {classes}; mean {found['miou']:.3f}"
    yield from (f"  limit       {text}" for text in card["limits"])
    yield from (f"  source      {text}" for text in card["attribution"])


def machine_lines(name: str, machine: Machine, *, full: bool) -> Iterator[str]:
    """A machine for people.

    Args:
        name: Its name.
        machine: The machine.
        full: Every value with how well it is known, instead of one line.
    """
    yield f"{name:<20}{machine.title}"
    if full:
        for key, note in machine.evidence.items():
            yield f"  {key:<13} {getattr(machine, key)!s:<26} {note}"


def simulation_lines(facts: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """What a machine sprays, as `geoseg.stages.simulate.simulate_run` gives it.

    Args:
        facts: What ``simulation.json`` holds.
        folder: Where the files are.
    """
    totals, weed = facts["totals"], facts["totals"]["weed_ha"]
    missed = f"{totals['missed_weed_ha'] / weed:.2%} of it missed" if weed else "none mapped"
    passes = f"{totals['passes']} passes, valves open {totals['switchings']:,} times"
    yield f"machine       {facts['machine']['title']}, {passes}"
    yield f"heading       {facts['heading']['degrees']:.2f}° from grid north, from: {facts['heading']['source']}"
    yield f"mapped        {_area(totals['mapped_ha'])} of {_area(totals['field_ha'])}"
    yield (
        f"sprayed       {_area(totals['sprayed_ha'])}, of which {_area(totals['over_sprayed_ha'])} beyond the map; "
        f"{_area(totals['not_sprayed_ha'])} of the map not sprayed; {totals['off_field_m2']:.1f} m² outside the field"
    )
    yield f"weeds         {_area(weed)}, {missed}"
    if totals["excluded_sprayed_m2"] > 0:
        yield f"WARNING       {totals['excluded_sprayed_m2']:.1f} m² of excluded ground are sprayed"
    saved = f"{totals['saved_percent']:.1f} % saved"
    yield f"liquid        {totals['litres']:.1f} L instead of {totals['broadcast_litres']:.1f} L: {saved}"
    for name, rows in facts["curves"].items():
        yield f"{name:<16} {'saved %':>8} {'missed %':>9} {'beyond the map %':>17}"
        for row in rows:
            share = [100 * row[part] / row[whole] if row[whole] else 0.0 for part, whole in _SHARES]
            yield f"{row[name]:<16g} {row['saved_percent']:8.1f} {share[0]:9.2f} {share[1]:17.1f}"
    yield f"files in      {folder}: simulation.png, simulation_detail.png, curves.png, tables and simulation.json"
    yield f"in the report after   geoseg report {folder.parent}"


_SHARES = (("missed_weed_ha", "weed_ha"), ("over_sprayed_ha", "field_ha"))


def _plant_lines(plants: Mapping[str, Any], valid_ha: float) -> Iterator[str]:
    crop, weeds = plants["plants"], plants["weeds"]
    per_m2 = crop["kept"] / (valid_ha * 1e4) if valid_ha else 0.0
    touch = ", plants that touch count as one" if plants["grouping"]["method"] == "components" else ""
    yield f"crop plants   {crop['kept']:,} ({per_m2:.2f} per m²){touch}"
    yield f"weed plants   {plants['weed_plants']['kept']:,}"
    yield f"weed patches  {weeds['kept']:,}, {_area(weeds['area_m2'] / 1e4)} in all"


def _row_lines(rows: Mapping[str, Any], stand: Mapping[str, Any]) -> Iterator[str]:
    if not rows["found"]:
        yield f"crop rows     none: {rows['reason'].removeprefix('no row structure: ')}"
        return
    for part in rows["parts"][:3]:
        yield (
            f"crop rows     {part['rows']:,} at {part['heading_deg']:.2f}° ± {part['heading_se_deg']:.2f}°, "
            f"{part['spacing_m']:.3f} m apart, {part['plants']:,} plants in them"
        )
    gaps = f"{stand['gaps']:,} of {stand['gap_m']:.0f} m in all, {stand['missing']:,} plants missing"
    yield f"gaps          {gaps} ({stand['gap_share']:.0%} of the rows' length)"


def _prescription_lines(found: Mapping[str, Any]) -> Iterator[str]:
    if refused := found.get("refused"):
        yield f"prescription  none: {refused}"
        return
    yield (
        f"prescription  {_area(found['treated_ha'])} of {_area(found['field_ha'])} sprayed, {found['litres']:.1f} L "
        f"instead of {found['broadcast_litres']:.1f} L: {found['saved_percent']:.1f} % saved"
    )
    if found["weed_ha"]:
        reached = 1 - found["missed_weed_ha"] / found["weed_ha"]
        yield f"              reaches {reached:.1%} of the mapped weed area"
    yield from _machine_lines(found)


def _machine_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Heading, machine, product and tank, as far as a prescription knows them."""
    if "heading_deg" in found:
        others = "".join(f"; not taken: {other}" for other in found.get("heading_not_taken", ()))
        yield f"heading       {found['heading_deg']:.2f}° from grid north, from: {found['heading_from']}{others}"
    if found.get("machine"):
        yield f"machine       {found['machine']}"
    if found.get("product") is not None:
        yield f"product       {found['product']:.2f} {found['product_unit']}"
    if found.get("tank_fills"):
        yield (
            f"tank          {found['tank_fills']} fills, the last with {found['last_fill_litres']:.0f} L; "
            f"{found['residual_litres']:g} L stay in the machine"
        )
    if found.get("excluded_ha"):
        yield f"never sprayed {_area(found['excluded_ha'])} of excluded ground"


def _area(hectares: float) -> str:
    return f"{hectares:.2f} ha" if hectares >= 0.1 else f"{hectares * 1e4:.1f} m²"
