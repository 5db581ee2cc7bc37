"""Where a file says that it lies: its CRS, transform or ground control points, or what the user says instead."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyproj
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.errors import OrthoError
from geoseg.ortho.ground import code_crs, fit_gcps, nominal_geobox

__all__ = ["IDENTITIES", "earth_crs", "place"]

IDENTITIES = (Affine(1, 0, 0, 0, 1, 0), Affine(1, 0, 0, 0, -1, 0))
"""Transforms that say nothing of a place: pixels, with rows counted down or, as QGIS does, below 0."""


def place(dataset: Any, name: str, crs_text: str | None, gsd_m: float | None) -> tuple[GeoBox, bool]:
    """The file's GeoBox, and whether its place is invented.

    Args:
        dataset: An open rasterio dataset.
        name: The file, for messages.
        crs_text: CRS given by the user, for a file that has none.
        gsd_m: Metres per pixel given by the user, for a file without georeference.

    Raises:
        OrthoError: If the place is missing, or the file knows better than the user.
    """
    crs, gcp_crs = earth_crs(dataset.crs), earth_crs(dataset.gcps[1])
    given = _given_crs(crs_text)
    gcps = dataset.gcps[0]
    known = crs or gcp_crs
    if known is not None and given is not None and not known.equals(given, ignore_axis_order=True):
        raise OrthoError(f"{name} has its own CRS, {known.name}; leave out --crs {crs_text}, or correct the file")
    shape = (int(dataset.height), int(dataset.width))
    if dataset.transform in IDENTITIES and not gcps:
        if dataset.rpcs is not None:
            raise OrthoError(f"{name} is placed by RPCs, so it is no orthomosaic; rectify it first with gdalwarp -rpc")
        if gsd_m is None:
            raise OrthoError(
                f"{name} has no georeference; pass --gsd with its metres per pixel (for example --gsd 0.005), "
                "and --crs if its UTM zone is known"
            )
        if not gsd_m > 0:
            raise OrthoError(f"--gsd is {gsd_m}; expected metres per pixel, above 0")
        return nominal_geobox(shape, float(gsd_m), known or given), True
    if gsd_m is not None:
        raise OrthoError(f"{name} has a georeference of its own; leave out --gsd {gsd_m}, or correct the file")
    known = known or given
    if known is None:
        raise OrthoError(f"{name} has no CRS; pass --crs, for example --crs EPSG:32632")
    if dataset.transform in IDENTITIES:
        pixels = [(point.col, point.row) for point in gcps]
        return fit_gcps(name, shape, known, pixels, np.array([(point.x, point.y) for point in gcps])), False
    return GeoBox(shape, dataset.transform, code_crs(known)), False


def earth_crs(crs: Any) -> pyproj.CRS | None:
    """The horizontal CRS of a dataset; None for none, and for local CRSs that are not tied to the earth."""
    if not crs:
        return None
    return _horizontal(pyproj.CRS.from_wkt(crs.to_wkt()))


def _given_crs(text: str | None) -> pyproj.CRS | None:
    if text is None:
        return None
    try:
        crs = _horizontal(pyproj.CRS.from_user_input(text))
    except pyproj.exceptions.CRSError as error:
        raise OrthoError(f"--crs {text} is not a CRS; expected something like EPSG:32632") from error
    if crs is None:
        raise OrthoError(f"--crs {text} is not tied to the earth; expected something like EPSG:32632")
    return crs


def _horizontal(crs: pyproj.CRS) -> pyproj.CRS | None:
    if crs.is_compound:
        return _horizontal(crs.sub_crs_list[0])
    if crs.is_bound and crs.source_crs is not None:
        return _horizontal(crs.source_crs)
    return crs.to_2d() if crs.is_projected or crs.is_geographic else None
