"""A run as a QGIS project: its layers, choices of them, pages with its main figures. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pyproj
import shapely

from geoseg import __version__
from geoseg.qgis.layout import Page, page
from geoseg.qgis.project import Bounds, Group, Project, Theme
from geoseg.report.wording import area, litres, percent
from geoseg.rundir import RunDirectory
from geoseg.stages.maplayers import map_groups
from geoseg.stages.picture import field_title

__all__ = ["build_project", "figures"]

_THEMES = (
    ("Weeds and plants", ("weed_plants", "weeds", "gaps", "plants", "plant_outlines", "rows")),
    ("Prescription", ("prescription",)),
    ("Classes", ("classes",)),
)
_PRINTED = ("Weeds and plants", "Prescription", "Classes")
_GROUND = ("boundary", "ortho", "preview")


def build_project(directory: RunDirectory) -> Project:
    """The project of a run directory; what the run does not have is left out."""
    field = directory.facts("segment")["field"]
    crs = pyproj.CRS.from_user_input(field["crs"])
    groups = tuple(map_groups(directory, crs))
    themes = tuple(_themes(groups))
    bounds: Bounds = shapely.from_wkt(field["boundary"]).bounds
    title, footer = field_title(field["ortho"], directory.path), _footer(directory)
    facts = tuple(figures(directory))
    pages = [
        page(Page(f"{theme.name} (A4)", title, theme.name, facts, footer, theme, _legend(groups, theme), bounds))
        for theme in themes
        if theme.name in _PRINTED
    ]
    about = "\n".join([*(f"{name}: {value}" for name, value in facts), footer])
    return Project(title, about, crs, _padded(bounds), groups, themes, pages)


def figures(directory: RunDirectory) -> Iterator[tuple[str, str]]:
    """The main figures of a run, name and value."""
    first, vectors = directory.facts("segment"), directory.facts("vectorize")
    rows, prescribed = directory.facts("rows"), directory.facts("prescribe").get("totals")
    seen_m2 = sum(entry["area_m2"] for entry in first["classes"].values())
    yield "Field area", area(first["field"]["area_m2"] / 1e4)
    for name in ("crop", "weed"):
        yield f"{name.capitalize()} cover", percent(first["classes"][name]["area_m2"] / seen_m2 if seen_m2 else 0.0)
    if vectors:
        plants = vectors["plants"]["kept"]
        yield "Crop plants", f"{plants:,}" + (f" ({plants / seen_m2:.2f} per m²)" if seen_m2 else "")
        yield "Weed plants", f"{vectors['weed_plants']['kept']:,}"
    if rows and rows["rows"]["found"]:
        yield "Crop rows", f"{rows['stand']['rows']:,}, {rows['rows']['spacing_m']:.2f} m apart"
        yield "Gaps in rows", f"{rows['stand']['gaps']:,} ({percent(rows['stand']['gap_share'] or 0.0)})"
    if prescribed:
        share = prescribed["treated_ha"] / prescribed["field_ha"] if prescribed["field_ha"] else 0.0
        yield "To be sprayed", f"{area(prescribed['treated_ha'])} ({percent(share)})"
        yield "Spray liquid", f"{litres(prescribed['litres'])} of {litres(prescribed['broadcast_litres'])}"
        yield "Saved", f"{prescribed['saved_percent']:.1f} %"
    elif "refused" in directory.record:
        yield "Prescription", "none"
    yield "Resolution", f"{first['field']['gsd_m'] * 1000:.1f} mm per pixel"


def _themes(groups: Sequence[Group]) -> Iterator[Theme]:
    layers = {layer.key: layer for group in groups for layer in group.layers}
    ground = tuple(key for key in _GROUND if key in layers)
    yield Theme("Overview", tuple(key for key, layer in layers.items() if layer.visible))
    for name, keys in _THEMES:
        if shown := tuple(key for key in keys if key in layers):
            yield Theme(name, (*shown, *ground))
    if ground:
        yield Theme("Photo", ground)


def _legend(groups: Sequence[Group], theme: Theme) -> list[Group]:
    """What a page explains: the layers of its theme but the photo and what is too small for paper."""
    keys = set(theme.keys) - {"ortho", "preview", "plant_outlines"}
    shown = [replace(group, layers=tuple(one for one in group.layers if one.key in keys)) for group in groups]
    return [group for group in shown if group.layers]


def _footer(directory: RunDirectory) -> str:
    model = directory.record["inputs"]["model"]
    nominal = " · place and scale are nominal" if directory.facts("segment")["field"]["nominal"] else ""
    return f"geoseg {__version__} · model {model['name']} {model['version']}{nominal}"


def _padded(bounds: Bounds) -> Bounds:
    left, bottom, right, top = bounds
    edge = 0.04 * max(right - left, top - bottom)
    return left - edge, bottom - edge, right + edge, top + edge
