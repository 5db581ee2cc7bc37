"""One picture of a run: the ortho's preview, the classes and the prescription side by side; never opens the ortho."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio
from matplotlib.axes import Axes
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from shapely import MultiPolygon, Polygon

from geoseg.durable import drafted
from geoseg.legend import CROP, LEGEND, SOIL, WEED
from geoseg.ortho.source import environment
from geoseg.report.cover import FAINTEST, class_cover, coarser, cover_image
from geoseg.report.figure import OUTLINE, Key, Panel, compose, draw_polygons, panel_size, rate_colors, save_png

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["preview_image", "quicklook"]


def quicklook(
    preview: Path,
    classes: Path,
    zones: gpd.GeoDataFrame | None,
    boundary: Polygon | MultiPolygon,
    out_png: Path,
    totals: Mapping[str, float],
    title: str,
) -> Path:
    """Draw the picture of a run and return where it is.

    A weed is far smaller than a pixel of the picture. So the class panel shows cover and not the commonest class: the
    crop and weed colours are mixed into the soil colour by the share of the pixel that they take, and the faintest
    trace of weed still shows with a third of its colour. It tells where weeds are, not how much area they take.

    Args:
        preview: The ortho, reduced, as red, green, blue and alpha.
        classes: The class raster on the working grid.
        zones: Polygons with the column ``rate_l_ha`` in any CRS; None leaves the prescription panel out.
        boundary: The field in the CRS of the class raster.
        out_png: Destination; written under a temporary name first.
        totals: ``field_ha``, ``treated_ha``, ``litres``, ``broadcast_litres``, ``saved_percent``, as far as known.
        title: Name of the field.
    """
    count = 2 if zones is None else 3
    grid, cover = class_cover(classes, boundary.bounds)
    fit = panel_size(count, grid.shape[1] / grid.shape[0])
    grid, cover = coarser(grid, cover, max(math.ceil(side / px) for side, px in zip(grid.shape, fit, strict=True)))
    sharp = grid.zoom_to(_fitted(grid, count))
    photo = preview_image(preview, sharp)
    detail = sharp.resolution.x / 3
    panels = [
        Panel("Orthomosaic", functools.partial(_draw_image, photo, grid, boundary, detail)),
        Panel("Weeds and crop", functools.partial(_draw_image, cover_image(cover), grid, boundary, detail)),
    ]
    keys = _class_keys()
    if zones is not None:
        zones = zones.to_crs(grid.crs)
        colors = rate_colors(zones["rate_l_ha"].tolist())
        panels.append(Panel("Prescription", functools.partial(_draw_zones, zones, colors, boundary, detail)))
        keys += _rate_keys(colors)
    box = grid.boundingbox
    extent = (box.left, box.bottom, box.right, box.top)
    figure = compose(panels, keys, extent, (title, _headline(totals, boundary)))
    with drafted(out_png) as draft, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # a name in a script that the font lacks
        save_png(figure, draft, {"Title": title})
    return out_png


def preview_image(preview: Path, grid: GeoBox) -> np.ndarray:
    """(H, W, 4) uint8 of the preview on the grid of the picture."""
    with (
        environment(),
        rasterio.open(preview) as source,
        WarpedVRT(
            source,
            crs=str(grid.crs),
            transform=grid.affine,
            width=int(grid.shape[1]),
            height=int(grid.shape[0]),
            resampling=Resampling.average,
            NUM_THREADS="2",
        ) as warped,
    ):
        bands = warped.read()
    colours, valid = bands[:3], bands[3] > 0
    if colours.dtype != np.uint8 and valid.any():
        low, high = np.percentile(colours[:, valid], (2, 98))
        colours = np.clip((colours - low) / max(high - low, 1e-9), 0, 1) * 255
    return np.dstack([*colours, np.where(valid, 255, 0)]).astype(np.uint8)


def _fitted(grid: GeoBox, panels: int) -> tuple[int, int]:
    """(height, width) of the grid's image when it fills its panel."""
    rows, cols = grid.shape
    height, width = panel_size(panels, cols / rows)
    scale = min(height / rows, width / cols)
    return max(1, round(rows * scale)), max(1, round(cols * scale))


def _draw_image(image: np.ndarray, grid: GeoBox, boundary: Polygon | MultiPolygon, detail: float, axes: Axes) -> None:
    box = grid.boundingbox
    axes.imshow(image, extent=(box.left, box.right, box.bottom, box.top), interpolation="nearest")
    draw_polygons(axes, [boundary], detail, fill=False, edgecolor=OUTLINE, linewidth=1.2)


def _draw_zones(
    zones: gpd.GeoDataFrame, colors: Mapping[float, str], boundary: Polygon | MultiPolygon, detail: float, axes: Axes
) -> None:
    for rate, color in colors.items():
        shapes = zones.geometry[zones["rate_l_ha"] == rate].to_numpy()
        draw_polygons(axes, shapes, detail, facecolor=color, edgecolor=color, linewidth=0.4)
    draw_polygons(axes, [boundary], detail, fill=False, edgecolor=OUTLINE, linewidth=1.2)


def _headline(totals: Mapping[str, float], boundary: Polygon | MultiPolygon) -> str:
    field_ha = totals.get("field_ha", boundary.area / 1e4)
    unit, scale = ("ha", 1.0) if field_ha >= 0.1 else ("m²", 1e4)
    parts = [f"{field_ha * scale:.4g} {unit}"]
    if "treated_ha" in totals:
        parts.append(f"{totals['treated_ha'] * scale:.4g} {unit} treated")
    if {"litres", "broadcast_litres"} <= totals.keys():
        parts.append(f"{totals['litres']:.4g} L instead of {totals['broadcast_litres']:.4g} L")
    if "saved_percent" in totals:
        parts.append(f"{totals['saved_percent']:.1f} % saved")
    return "  ·  ".join(parts)


def _class_keys() -> list[Key]:
    ramps = {}
    for code in (CROP, WEED):
        strengths = np.linspace(FAINTEST, 1, 4)
        soil, color = (np.array(LEGEND[c].rgb) for c in (SOIL, code))
        ramps[code] = ["#{:02x}{:02x}{:02x}".format(*np.rint(soil + s * (color - soil)).astype(int)) for s in strengths]
    return [
        Key("soil", [LEGEND[SOIL].hex]),
        Key("crop, sparse to dense", ramps[CROP]),
        Key("weed, trace to dense", ramps[WEED]),
    ]


def _rate_keys(colors: Mapping[float, str]) -> list[Key]:
    rates = sorted(colors)
    if len(rates) <= 3:
        return [Key(f"{rate:g} L/ha", [colors[rate]]) for rate in rates]
    positive = [rate for rate in rates if rate > 0]
    ramp = Key(f"{positive[0]:g} to {positive[-1]:g} L/ha", [colors[rate] for rate in positive])
    return [Key("0 L/ha", [colors[0.0]]), ramp]
