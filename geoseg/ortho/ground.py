"""Metres: how large a pixel is on the ground, and on which grid to compute. Knows coordinates, no files and no pixels.

True ground metres are geodesic distances on the ellipsoid of the CRS (Karney 2013, doi 10.1007/s00190-012-0578-z),
measured around the centre of the raster, so that degrees, feet, Web Mercator and rotated rasters all come out right.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyproj
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj.aoi import AreaOfInterest
from pyproj.database import query_utm_crs_info

from geoseg.errors import GeosegWarning, GsdError, OrthoError

__all__ = [
    "GsdLimits",
    "PixelSize",
    "apply",
    "check_gsd",
    "code_crs",
    "fit_gcps",
    "is_metric",
    "local_utm",
    "map_points",
    "nominal_geobox",
    "pixel_size",
    "scaled",
    "shifted",
    "working_grid",
]

_SCALE_ERROR = 1e-3  # a CRS whose metres are at most this wrong counts as metric
_SQUARE_ERROR = 1e-3
_GSD_SLACK = 5e-3  # an ortho of 8.01 mm is not outside a range that ends at 8 mm
_GCP_RESIDUAL_PX = 2.0


class GsdLimits(Protocol):
    """Ground sampling distances in metres per pixel; `geoseg.models.card.GsdRange` is one."""

    @property
    def min_m(self) -> float:
        """The finest that the model was trained for."""

    @property
    def max_m(self) -> float:
        """The coarsest that the model was trained for."""


@dataclass(frozen=True)
class PixelSize:
    """One pixel in true ground metres.

    Attributes:
        x_m: Length of the step from column to column.
        y_m: Length of the step from row to row.
        area_m2: Area.
        x_scale: Units of the CRS per metre along x_m; 1 where the CRS is true to scale.
        y_scale: The same along y_m.
    """

    x_m: float
    y_m: float
    area_m2: float
    x_scale: float
    y_scale: float

    @property
    def gsd_m(self) -> float:
        """Side of the square of the same area: the geometric mean of both axes."""
        return math.sqrt(self.area_m2)


def apply(affine: Affine, x: Any, y: Any) -> tuple[Any, Any]:
    """The transform of coordinates, numbers or arrays (the operator for it differs between versions of affine)."""
    return affine.a * x + affine.b * y + affine.c, affine.d * x + affine.e * y + affine.f


def scaled(affine: Affine, cols: float, rows: float) -> Affine:
    """The transform of pixels that are `cols` and `rows` times as large, from the same corner."""
    return Affine(affine.a * cols, affine.b * rows, affine.c, affine.d * cols, affine.e * rows, affine.f)


def shifted(affine: Affine, col: float, row: float) -> Affine:
    """The transform of pixels counted from `col`, `row`."""
    x, y = apply(affine, col, row)
    return Affine(affine.a, affine.b, x, affine.d, affine.e, y)


def code_crs(crs: pyproj.CRS) -> CRS:
    """The CRS as its EPSG code where it is exactly that, so that it prints and writes short."""
    code = crs.to_authority(min_confidence=100)
    if code is not None and pyproj.CRS.from_authority(*code).equals(crs, ignore_axis_order=True):
        return CRS(":".join(code))
    return CRS(crs)


def pixel_size(geobox: GeoBox) -> PixelSize:
    """The size of the centre pixel on the ground, whatever the CRS and the transform.

    Raises:
        OrthoError: If the coordinates cannot lie in the CRS.
    """
    crs = _crs(geobox)
    a = geobox.affine
    rows, cols = geobox.shape
    steps = (100.0, 0.0), (0.0, 100.0)
    centre = np.array([[cols / 2, rows / 2]])
    ends = np.concatenate([centre + sign * np.array(step) / 2 for step in steps for sign in (-1, 1)])
    x, y = apply(a, ends[:, 0], ends[:, 1])
    lon, lat = _to_geographic(crs, x, y)
    ellipsoid = crs.get_geod() or pyproj.Geod(ellps="WGS84")
    azimuth, _, metres = ellipsoid.inv(lon[::2], lat[::2], lon[1::2], lat[1::2])
    x_m, y_m = (float(value) / 100.0 for value in metres)
    area = x_m * y_m * abs(math.sin(math.radians(azimuth[1] - azimuth[0])))
    if not (x_m > 0 and y_m > 0 and area > 0):
        raise OrthoError(f"the transform {tuple(a)[:6]} gives pixels without area; correct it with gdal_edit -a_ullr")
    return PixelSize(x_m, y_m, area, math.hypot(a.a, a.d) / x_m, math.hypot(a.b, a.e) / y_m)


def is_metric(size: PixelSize) -> bool:
    """True if a metre of the CRS is a metre on the ground to 0.1 %, in both directions."""
    return max(abs(size.x_scale - 1), abs(size.y_scale - 1)) <= _SCALE_ERROR


def check_gsd(name: str, gsd_m: float, gsd: GsdLimits, force: bool) -> None:
    """Warn if the ortho is outside the model's range; refuse if it is more than twice outside, unless forced.

    Raises:
        GsdError: If it is more than twice finer or coarser, and `force` is not set.
    """
    if gsd.min_m * (1 - _GSD_SLACK) <= gsd_m <= gsd.max_m * (1 + _GSD_SLACK):
        return
    text = f"{name} is {gsd_m * 1e3:.3g} mm per pixel; this model needs {gsd.min_m * 1e3:.3g} to {gsd.max_m * 1e3:.3g}"
    if (gsd_m < gsd.min_m / 2 or gsd_m > gsd.max_m * 2) and not force:
        raise GsdError(f"{text}; pass --force, or another --model")
    warnings.warn(f"{text}; it is resampled, expect more mistakes", GeosegWarning, stacklevel=3)


def working_grid(geobox: GeoBox, gsd: GsdLimits) -> GeoBox:
    """The grid that everything is computed on: metric, north-up, square pixels, within the model's range.

    The ortho's own grid if it is all of that already. Else in the ortho's own CRS if that is metric (true to 0.1 %),
    or in the local UTM zone on the same datum, at the ortho's GSD clamped to the model's range.
    """
    size, a = pixel_size(geobox), geobox.affine
    in_range = gsd.min_m * (1 - _GSD_SLACK) <= size.gsd_m <= gsd.max_m * (1 + _GSD_SLACK)
    north_up = a.b == 0 and a.d == 0 and a.a > 0 and a.e < 0
    square = abs(size.x_m / size.y_m - 1) <= _SQUARE_ERROR
    if is_metric(size):
        if north_up and square and in_range:
            return geobox
        step = math.sqrt(abs(a.determinant)) if in_range else min(max(size.gsd_m, gsd.min_m), gsd.max_m)
        crs = _crs(geobox)
    else:
        step = min(max(size.gsd_m, gsd.min_m), gsd.max_m)
        crs = local_utm(geobox)
    left, bottom, right, top = _bounds(geobox, crs)
    if not (north_up and is_metric(size)):  # nothing to keep: pixel corners on whole multiples
        left, top = math.floor(left / step) * step, math.ceil(top / step) * step
    shape = (max(1, math.ceil((top - bottom) / step - 1e-6)), max(1, math.ceil((right - left) / step - 1e-6)))
    return GeoBox(shape, Affine(step, 0, left, 0, -step, top), code_crs(crs))


def local_utm(geobox: GeoBox) -> pyproj.CRS:
    """The UTM zone of the centre, on the datum of the CRS where such a zone is registered, else on WGS 84.

    Raises:
        OrthoError: If there is none, near the poles.
    """
    crs = _crs(geobox)
    rows, cols = geobox.shape
    x, y = apply(geobox.affine, cols / 2, rows / 2)
    return _utm_at(crs, x, y)


def map_points(source: pyproj.CRS, target: pyproj.CRS, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of points in another CRS, (east, north) order on both sides; inf where there are none."""
    if source == target:
        return np.asarray(x, float), np.asarray(y, float)
    moved = pyproj.Transformer.from_crs(source, target, always_xy=True).transform(x, y)
    return np.asarray(moved[0], float), np.asarray(moved[1], float)


def fit_gcps(
    name: str, shape: tuple[int, int], crs: pyproj.CRS, pixels: Sequence[tuple[float, float]], world: np.ndarray
) -> GeoBox:
    """The GeoBox of a raster that is placed by ground control points, if a plane transform explains them.

    An orthomosaic is rectified already, so an affine transform must fit. It is fitted in the CRS of the points and in
    the local UTM zone (lon/lat points of a rectified image are not affine), and the better fit is kept.

    Args:
        name: The file, for messages.
        shape: (height, width).
        crs: CRS of the points.
        pixels: (col, row) of every point.
        world: (n, 2) x and y of every point.

    Raises:
        OrthoError: If there are fewer than 3 points or the worst residual is over 2 pixels.
    """
    cols_rows = np.column_stack([np.asarray(pixels, float).reshape(-1, 2), np.ones(len(pixels))])
    if np.linalg.matrix_rank(cols_rows) < 3:
        raise OrthoError(f"{name} has {len(pixels)} ground control points; expected 3 or more that are not in a line")
    best: tuple[float, Affine, pyproj.CRS] | None = None
    middle = world.mean(axis=0)
    for target in (crs, _utm_at(crs, *middle)):
        there = np.column_stack(map_points(crs, target, world[:, 0], world[:, 1]))
        offset = there.mean(axis=0)
        solution = np.linalg.lstsq(cols_rows, there - offset, rcond=None)[0]
        miss = there - offset - cols_rows @ solution
        (a, d), (b, e), (c, f) = (solution + np.vstack([np.zeros((2, 2)), offset])).tolist()
        affine = Affine(a, b, c, d, e, f)
        residual = float(np.hypot(*miss.T).max()) / max(math.sqrt(abs(affine.determinant)), 1e-300)
        if best is None or residual < 0.5 * best[0]:
            best = residual, affine, target
    if best is None or best[0] > _GCP_RESIDUAL_PX:
        raise OrthoError(
            f"the ground control points of {name} miss a plane by {best[0] if best else math.inf:.1f} pixels; "
            "rectify it first with gdalwarp"
        )
    return GeoBox(shape, best[1], code_crs(best[2]))


def nominal_geobox(shape: tuple[int, int], gsd_m: float, crs: pyproj.CRS | None) -> GeoBox:
    """A GeoBox of the right size at an invented place: the centre of the CRS's area of use, or of UTM zone 31 north.

    Raises:
        OrthoError: If the CRS does not count in metres.
    """
    crs = pyproj.CRS(32631) if crs is None else crs
    if not crs.is_projected or any(abs(axis.unit_conversion_factor - 1) > _SCALE_ERROR for axis in crs.axis_info[:2]):
        raise OrthoError(
            f"an ortho without georeference needs a CRS in metres, found {crs.name}; pass --crs with a UTM zone"
        )
    area = crs.area_of_use
    lon, lat = ((area.west + area.east) / 2, (area.south + area.north) / 2) if area else (3.0, 42.0)
    x, y = map_points(pyproj.CRS(4326), crs, np.array([lon]), np.array([lat]))
    left, top = (round(float(value[0])) if np.isfinite(value[0]) else 0 for value in (x, y))
    return GeoBox(shape, Affine(gsd_m, 0, left, 0, -gsd_m, top), code_crs(crs))


def _utm_at(crs: pyproj.CRS, x: float, y: float) -> pyproj.CRS:
    lon, lat = (float(v[0]) for v in map_points(crs, pyproj.CRS(4326), np.array([x]), np.array([y])))
    if np.isfinite([lon, lat]).all():
        geographic = crs.geodetic_crs.name if crs.geodetic_crs is not None else "WGS 84"
        for datum in (geographic, "WGS 84"):
            found = query_utm_crs_info(datum_name=datum, area_of_interest=AreaOfInterest(lon, lat, lon, lat))
            if found:
                return pyproj.CRS.from_authority(found[0].auth_name, found[0].code)
    raise OrthoError(f"no UTM zone at longitude {lon:.6g}, latitude {lat:.6g}; warp the ortho to a CRS in metres first")


def _to_geographic(crs: pyproj.CRS, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    geographic = crs.geodetic_crs
    if geographic is None:
        raise OrthoError(f"the CRS {crs.name} is not tied to the earth; pass --crs with its real one")
    lon, lat = map_points(crs, geographic, x, y)
    if not (np.isfinite(lon).all() and np.isfinite(lat).all() and (abs(lat) <= 90).all() and (abs(lon) <= 540).all()):
        raise OrthoError(
            f"the coordinates (x {x[0]:.6g}, y {y[0]:.6g}) cannot lie in {crs.name}; "
            "correct the CRS with gdal_edit -a_srs"
        )
    return lon, lat


def _bounds(geobox: GeoBox, crs: pyproj.CRS) -> tuple[float, float, float, float]:
    rows, cols = geobox.shape
    t = np.linspace(0, 1, 65)
    zero, one = np.zeros_like(t), np.ones_like(t)
    x, y = np.concatenate([t, t, zero, one]) * cols, np.concatenate([zero, one, t, t]) * rows
    x, y = apply(geobox.affine, x, y)
    x, y = map_points(_crs(geobox), crs, x, y)
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


def _crs(geobox: GeoBox) -> pyproj.CRS:
    if geobox.crs is None:
        raise OrthoError("the grid has no CRS; pass --crs")
    return geobox.crs.proj
