"""The answers of a run in a few lines of text, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["summary_lines"]

_FILES = (
    ("prescription", "what goes on the stick, one folder per terminal"),
    ("field.gpkg", "boundary, plants, weed patches, prescription for QGIS"),
    ("classes.tif", "soil 0, crop 1, weed 2, nodata 255"),
    ("confidence.tif", "confidence of each pixel, percent"),
    ("quicklook.png", "the field at a glance"),
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
    if prescription := summary.get("prescription"):
        yield from _prescription_lines(prescription)
    for warning in summary.get("warnings", ()):
        yield f"warning       {warning}"
    if directory is not None:
        found = [(name, text) for name, text in _FILES if (directory / name).exists()]
        yield f"files in      {directory}"
        for name, text in found:
            yield f"  {name:<15} {text}"


def _plant_lines(plants: Mapping[str, Any], valid_ha: float) -> Iterator[str]:
    crop, weeds = plants["plants"], plants["weeds"]
    per_m2 = crop["kept"] / (valid_ha * 1e4) if valid_ha else 0.0
    yield f"crop plants   {crop['kept']:,} ({per_m2:.2f} per m²), plants that touch count as one"
    yield f"weed patches  {weeds['kept']:,}, {_area(weeds['area_m2'] / 1e4)} in all"


def _prescription_lines(found: Mapping[str, Any]) -> Iterator[str]:
    if refused := found.get("refused"):
        yield f"prescription  none: {refused}"
        return
    yield (
        f"prescription  {_area(found['treated_ha'])} of {_area(found['field_ha'])} sprayed, {found['litres']:.1f} L "
        f"instead of {found['broadcast_litres']:.1f} L: {found['saved_percent']:.1f} % saved"
    )


def _area(hectares: float) -> str:
    return f"{hectares:.2f} ha" if hectares >= 0.1 else f"{hectares * 1e4:.1f} m²"
