"""One picture of a run: the ortho's preview, the classes and the prescription side by side; never opens the ortho."""

from __future__ import annotations

import functools
import math
import os
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
from rasterio.windows import Window as RasterioWindow
from shapely import MultiPolygon, Polygon

from geoseg.legend import CROP, LEGEND, SOIL, WEED
from geoseg.report.figure import OUTLINE, Key, Panel, compose, draw_polygons, panel_size, rate_colors, save_png
from geoseg.windows import Rect

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["class_cover", "cover_image", "preview_image", "quicklook", "strengths"]

READ_PX = 400_000_000
"""Above this many pixels the class raster is read through its overviews."""
FULL_WEED, FULL_CROP = 0.10, 0.60
"""Cover of a panel pixel from which on it has the full colour of the class."""
FAINTEST = 0.35
"""Strength of the weed colour where there is hardly any weed."""


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
    grid, cover = class_cover(classes, boundary.bounds, count)
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
    draft = out_png.with_name(f".{out_png.name}.tmp{os.getpid()}")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # a name in a script that the font lacks
        save_png(figure, draft, {"Title": title})
    os.replace(draft, out_png)
    return out_png


def class_cover(
    classes: Path, bounds: tuple[float, float, float, float], panels: int = 3, side_px: int | None = None
) -> tuple[GeoBox, np.ndarray]:
    """How much of each picture pixel each class takes.

    Args:
        classes: Class raster; codes as in `geoseg.legend.LEGEND`, anything else counts as nodata.
        bounds: (left, bottom, right, top) of the field in the raster's CRS; two percent more are shown.
        panels: Number of panels in the figure; sets the size of a picture pixel.
        side_px: Longest side of the picture, instead of that of a panel.

    Returns:
        The grid of the picture, and (K + 1, H, W) float32: the share of every class and, last, of valid pixels.
    """
    with rasterio.open(classes) as source:
        full = GeoBox(source.shape, source.transform, source.crs)
        view = _view(full, bounds)
        panel = (side_px, side_px) if side_px else panel_size(panels, view.shape[1] / view.shape[0])
        factor = max(1, *(math.ceil(side / px) for side, px in zip(view.shape, panel, strict=True)))
        step = _overview(source.overviews(1), factor, view.size)
        factor = step * math.ceil(factor / step)
        height, width = (math.ceil(side / factor) for side in view.shape)
        cover = np.zeros((len(LEGEND) + 1, height, width), np.float32)
        for row in range(height):
            rows = min(factor, view.shape[0] - row * factor)
            window = RasterioWindow(view.col0, view.row0 + row * factor, view.shape[1], rows)
            strip = source.read(1, window=window, out_shape=(-(-rows // step), -(-view.shape[1] // step)))
            cover[:, row] = _shares(strip, width, factor // step)
    padded = full[view.slices].crop((height * factor, width * factor))
    return padded.zoom_to((height, width)), cover


def cover_image(cover: np.ndarray) -> np.ndarray:
    """The (H, W, 4) uint8 picture of a (K + 1, H, W) cover; see `quicklook` for the mixing rule."""
    valid = cover[-1]
    crop, weed = strengths(cover)
    rgb = np.empty((*valid.shape, 3), np.float32)
    rgb[:] = LEGEND[SOIL].rgb
    for strength, code in ((crop, CROP), (weed, WEED)):
        rgb += strength[..., None] * (np.array(LEGEND[code].rgb, np.float32) - rgb)
    alpha = np.where(valid > 0, 255, 0)
    return np.dstack([np.rint(rgb), alpha]).astype(np.uint8)


def strengths(cover: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) strength of the crop's and of the weeds' colour, 0..1, of a (K + 1, H, W) cover."""
    valid = cover[-1]
    share = np.divide(cover[:-1], valid, out=np.zeros_like(cover[:-1]), where=valid > 0)
    weed = np.sqrt(np.clip(share[WEED] / FULL_WEED, 0, 1))
    weed = np.where(share[WEED] > 0, np.maximum(weed, FAINTEST), 0)
    return np.sqrt(np.clip(share[CROP] / FULL_CROP, 0, 1)), weed


def _overview(available: list[int], factor: int, pixels: int) -> int:
    """The finest decimation that keeps the read below `READ_PX`, of those that do not exceed `factor`."""
    steps = [1, *(step for step in available if step <= factor)]
    return next((step for step in steps if pixels / step**2 <= READ_PX), steps[-1])


def _shares(strip: np.ndarray, width: int, factor: int) -> np.ndarray:
    """(K + 1, width) shares of classes and of valid pixels in a (rows, cols) strip, per `factor` columns."""
    counts = np.zeros((len(LEGEND), width * factor), np.uint32)
    for entry in LEGEND.entries:
        counts[entry.code, : strip.shape[1]] = (strip == entry.code).sum(axis=0, dtype=np.uint32)
    cells = counts.reshape(len(LEGEND), width, factor).sum(axis=2)
    shares = (cells / (strip.shape[0] * factor)).astype(np.float32)
    return np.concatenate([shares, shares.sum(axis=0, keepdims=True)])


def preview_image(preview: Path, grid: GeoBox) -> np.ndarray:
    """(H, W, 4) uint8 of the preview on the grid of the picture."""
    with (
        rasterio.open(preview) as source,
        WarpedVRT(
            source,
            crs=str(grid.crs),
            transform=grid.affine,
            width=int(grid.shape[1]),
            height=int(grid.shape[0]),
            resampling=Resampling.average,
        ) as warped,
    ):
        bands = warped.read()
    colours, valid = bands[:3], bands[3] > 0
    if colours.dtype != np.uint8 and valid.any():
        low, high = np.percentile(colours[:, valid], (2, 98))
        colours = np.clip((colours - low) / max(high - low, 1e-9), 0, 1) * 255
    return np.dstack([*colours, np.where(valid, 255, 0)]).astype(np.uint8)


def _view(full: GeoBox, bounds: tuple[float, float, float, float]) -> Rect:
    """The pixels that the maps show: the boundary and two percent around it, inside the grid."""
    (left, top), (right, bottom) = (
        ~full.affine * corner for corner in ((bounds[0], bounds[3]), (bounds[2], bounds[1]))
    )
    pad = 0.02 * max(right - left, bottom - top)
    rect = Rect(*(math.floor(value - pad) for value in (top, left)), *(math.ceil(v + pad) for v in (bottom, right)))
    view = rect.clip((full.shape[0], full.shape[1]))
    return view if view.size else Rect(0, 0, *full.shape)


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
