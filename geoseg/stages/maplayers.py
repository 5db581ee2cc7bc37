"""What a run holds, as layers of a map in groups; what it does not hold, or holds empty, is left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyproj

from geoseg.export.columns import LAYERS
from geoseg.ortho.vrt import display_range, pixel_m, shown_bands
from geoseg.qgis.fieldstyles import CLASSES_OVER_PHOTO, CONFIDENCE_STYLE, LAYER_STYLES, rate_style
from geoseg.qgis.project import Group, Layer
from geoseg.qgis.styles import Image, Style
from geoseg.results import CLASSES, CONFIDENCE, FIELD, ORTHO_VRT, PREVIEW
from geoseg.rundir import RunDirectory
from geoseg.vectors.package import open_package

__all__ = ["map_groups", "preview_style"]

_RATES = "prescription"
_SCREEN_M = 0.000265
"""Side of a pixel of the screen, as QGIS has it for its scales (96 per inch)."""
_NAMES = {
    "boundary": "Field boundary",
    "weed_plants": "Weed plants",
    "weeds": "Weed patches",
    "gaps": "Gaps in rows",
    "plants": "Crop plants",
    "plant_outlines": "Plant outlines",
    "rows": "Crop rows",
    _RATES: "Prescription",
}
_TREE = (
    ("", ("boundary",)),
    ("Weeds", ("weed_plants", "weeds")),
    ("Plants and rows", ("gaps", "plants", "plant_outlines", "rows")),
    ("Prescription", (_RATES,)),
)
"""Groups and their layers of ``field.gpkg``, the uppermost first: what is smaller lies above."""
_KINDS: dict[str, Literal["Point", "Line", "Polygon"]] = {
    "Point": "Point", "LineString": "Line", "Polygon": "Polygon", "MultiPolygon": "Polygon"
}  # fmt: skip


@dataclass(frozen=True)
class _Content:
    """What the package of a run holds.

    Attributes:
        names: Layers that are not empty.
        rates: Rates of the prescription.
    """

    names: frozenset[str]
    rates: tuple[float, ...]


def map_groups(directory: RunDirectory, crs: pyproj.CRS) -> Iterator[Group]:
    """The layers of a run directory in groups, the uppermost first.

    Args:
        directory: The run.
        crs: The CRS of its working grid.
    """
    content = _content(directory / FIELD)
    styles = LAYER_STYLES | {_RATES: rate_style(content.rates)}
    groups = [
        Group(heading, tuple(_vector(name, styles[name], crs) for name in names if name in content.names))
        for heading, names in _TREE
    ]
    groups.append(Group("Classes", tuple(_classes(directory, crs, visible=not content.names))))
    groups.append(Group("Imagery", tuple(_imagery(directory, crs))))
    yield from (group for group in groups if group.layers)


def preview_style(directory: RunDirectory) -> Style:
    """The preview in true colours, stretched where it has more than 8 bits."""
    stretch = display_range(directory / PREVIEW) if (directory / PREVIEW).is_file() else None
    return Style(Image((1, 2, 3), 4, stretch))


def _vector(name: str, style: Style, crs: pyproj.CRS) -> Layer:
    geometry, about = "Polygon", "Zones with the rate of each; they cover the whole field"
    if name in LAYERS:
        geometry, about = LAYERS[name].geometry, LAYERS[name].description
    source = f"./{FIELD}|layername={name}"
    return Layer(name, _NAMES[name], source, _KINDS[geometry], style, crs, about, expanded=name == _RATES)


def _classes(directory: RunDirectory, crs: pyproj.CRS, *, visible: bool) -> Iterator[Layer]:
    """The class raster, switched on where there are no outlines that show the same, and its confidence."""
    if (directory / CLASSES).is_file():
        about = "What each pixel is: soil, crop or weed. From afar a pixel shows the commonest class, so weeds get lost"
        source, style = f"./{CLASSES}", CLASSES_OVER_PHOTO
        yield Layer("classes", "Classes", source, "raster", style, crs, about, visible, True, (1, 2, 3))
    if (directory / CONFIDENCE).is_file():
        about = "How sure the model is of each pixel, in percent"
        source, style = f"./{CONFIDENCE}", CONFIDENCE_STYLE
        yield Layer("confidence", "Confidence", source, "raster", style, crs, about, False, False, (1, 2, 3, 4))


def _imagery(directory: RunDirectory, crs: pyproj.CRS) -> Iterator[Layer]:
    """The ortho, drawn from where it shows more than the preview, and the preview below it."""
    preview, ortho = directory / PREVIEW, directory / ORTHO_VRT
    style = preview_style(directory)
    if ortho.is_file():
        scale = float(f"{2 * pixel_m(preview) / _SCREEN_M:.2g}") if preview.is_file() else None
        name = "Orthomosaic" if scale is None else f"Orthomosaic, closer than 1:{scale:.0f}"
        about = f"The original, {directory.facts('segment')['field']['ortho']}"
        drawn = Style(_ortho_image(directory, style), from_scale=scale)
        yield Layer("ortho", name, f"./{ORTHO_VRT}", "raster", drawn, crs, about, entries=())
    if preview.is_file():
        about = "The orthomosaic in true colours, reduced"
        yield Layer("preview", "Orthomosaic, reduced", f"./{PREVIEW}", "raster", style, crs, about, entries=())


def _ortho_image(directory: RunDirectory, preview: Style) -> Image:
    """The ortho as bright as its preview, which keeps 65535 for the full scale."""
    bands, alpha = shown_bands(directory / ORTHO_VRT)
    levels = directory.record["inputs"]["ortho"].get("levels")
    if levels is not None:  # five standard deviations to either side of the mean, of which two are shown
        low, high = min(pair[0] for pair in levels), max(pair[1] for pair in levels)
        return Image(bands, alpha, (0.7 * low + 0.3 * high, 0.3 * low + 0.7 * high))
    stretch = preview.renderer.stretch if isinstance(preview.renderer, Image) else None
    if stretch is None:
        return Image(bands, alpha)
    full = float(directory.record["inputs"]["ortho"]["value_max"]) / 65535
    return Image(bands, alpha, (stretch[0] * full, stretch[1] * full))


def _content(package: Path) -> _Content:
    """What there is in ``field.gpkg``; nothing where there is no such file."""
    if not package.is_file():
        return _Content(frozenset(), ())
    with open_package(package) as database:
        tables = {name for (name,) in database.execute("SELECT table_name FROM gpkg_geometry_columns")} & set(_NAMES)
        full = {name for name in tables if database.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone()}
        rates: list[tuple[float]] = []
        if _RATES in full:
            rates = database.execute(f"SELECT DISTINCT rate_l_ha FROM {_RATES}").fetchall()
    return _Content(frozenset(full), tuple(sorted(rate for (rate,) in rates)))
