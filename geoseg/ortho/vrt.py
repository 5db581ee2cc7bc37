"""A small file that stands for the ortho in a GIS, at the place where the run saw it. Knows GDAL's virtual format.

It names the ortho by a relative path where that lies near, so that both can be moved together. Programs open it also
when the ortho is gone, and then see nothing in it, where they would stop at a missing layer.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pyproj
import rasterio.shutil

from geoseg.durable import drafted
from geoseg.ortho.orthomosaic import Ortho
from geoseg.ortho.source import environment, open_dataset

__all__ = ["display_range", "pixel_m", "shown_bands", "write_vrt"]

NEAR = 2
"""Folders that a relative path climbs at most."""
_COLOURS = ("Red", "Green", "Blue")


def write_vrt(ortho: Ortho, names: Sequence[str], destination: Path) -> Path:
    """Write the file and return where it is.

    All bands of the ortho are in it; those that are seen as red, green and blue are marked so.

    Args:
        ortho: The ortho; its place comes from here, also where it is fitted or nominal.
        names: Names of ``ortho.bands``.
        destination: A ``.vrt``; written under a temporary name first.
    """
    with drafted(destination) as draft:
        with environment(), open_dataset(ortho.path) as dataset:
            rasterio.shutil.copy(dataset, draft, driver="VRT")
        tree = ElementTree.parse(draft)
        _place(tree.getroot(), ortho)
        _mark_colours(tree.getroot(), ortho.bands, names)
        for source in tree.getroot().iter("SourceFilename"):
            _name_source(source, ortho.path, destination.parent)
        tree.write(draft, encoding="utf-8")
    return destination


def shown_bands(path: Path) -> tuple[tuple[int, int, int], int | None]:
    """Numbers of the bands that are red, green and blue in a ``.vrt``, and of that which says what is opaque.

    Where there are no colours the first band is shown in grey. A mask counts as a band after the last one, as QGIS has
    it.
    """
    root = ElementTree.parse(path).getroot()
    found = {band.findtext("ColorInterp"): int(band.get("band", "0")) for band in root.findall("VRTRasterBand")}
    alpha = found.get("Alpha") or (
        len(root.findall("VRTRasterBand")) + 1 if root.find("MaskBand") is not None else None
    )
    red, green, blue = (found.get(colour, 0) for colour in _COLOURS)
    return ((red, green, blue) if red and green and blue else (1, 1, 1)), alpha


def display_range(preview: Path) -> tuple[float, float] | None:
    """Digital numbers between which all but two percent of a preview lie; None for one of 8 bits, shown as it is."""
    import numpy as np

    with rasterio.open(preview) as raster:
        if raster.dtypes[0] == "uint8":
            return None
        shape = tuple(max(1, side * 512 // max(raster.shape)) for side in raster.shape)
        values = raster.read(out_shape=(raster.count, *shape))
    seen = values[:3, values[3] > 0]
    if seen.size == 0:
        return None
    low, high = np.percentile(seen, (1, 99))
    return float(low), float(max(high, low + 1))


def pixel_m(path: Path) -> float:
    """Side of a pixel of a raster in a metric CRS."""
    with rasterio.open(path) as raster:
        return float(abs(raster.transform.determinant) ** 0.5)


def _place(root: ElementTree.Element, ortho: Ortho) -> None:
    """The ortho's grid as the run has it, instead of what the file says of itself."""
    for tag in ("SRS", "GeoTransform", "GCPList"):
        for found in root.findall(tag):
            root.remove(found)
    affine, crs = ortho.geobox.affine, ortho.geobox.crs
    transform = ElementTree.Element("GeoTransform")
    transform.text = ", ".join(repr(float(value)) for value in affine.to_gdal())
    root.insert(0, transform)
    if crs is not None:
        reference = ElementTree.Element(
            "SRS", {"dataAxisToSRSAxisMapping": "2,1" if _northing_first(crs.proj) else "1,2"}
        )
        reference.text = crs.proj.to_wkt()
        root.insert(0, reference)


def _northing_first(crs: pyproj.CRS) -> bool:
    return bool(crs.axis_info) and crs.axis_info[0].direction in ("north", "south")


def _mark_colours(root: ElementTree.Element, bands: Sequence[int], names: Sequence[str]) -> None:
    """Say which bands are the colours: those of that name, else the first three that were read."""
    named = dict(zip(names, bands, strict=True))
    wanted = [named.get(colour.lower()) for colour in _COLOURS]
    if None in wanted:
        wanted = list(bands[:3])
    if len(wanted) < 3:
        return
    for band in root.findall("VRTRasterBand"):
        number = int(band.get("band", "0"))
        colour = band.find("ColorInterp")
        if colour is None:
            colour = ElementTree.SubElement(band, "ColorInterp")
        if number in wanted:
            colour.text = _COLOURS[wanted.index(number)]
        elif colour.text in _COLOURS:
            colour.text = "Undefined"


def _name_source(source: ElementTree.Element, path: str, folder: Path) -> None:
    if not Path(path).exists():
        return  # an address that GDAL alone understands
    absolute = Path(path).resolve()
    try:
        relative = Path(os.path.relpath(absolute, folder.resolve())).as_posix()
    except ValueError:  # another drive
        relative = ""
    near = bool(relative) and relative.count("../") <= NEAR
    source.set("relativeToVRT", "1" if near else "0")
    source.text = relative if near else absolute.as_posix()
