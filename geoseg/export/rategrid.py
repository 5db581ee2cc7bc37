"""Rates on an axis-aligned grid of longitude and latitude, as ISOXML and spray drones take them. Knows no file format.

Such a grid cannot follow the machine's cells, so it is conservative: a cell has the highest rate of the ground that it
meets. No treated ground is lost; what is sprayed too much lies within one cell of treated ground, and is reported.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geoseg.errors import PrescriptionError
from geoseg.export.planned import Planned
from geoseg.export.shapefile import to_lonlat
from geoseg.spray.grid import field_share

__all__ = ["EDGE_M", "RateGrid", "sample", "usual_side_m"]

EDGE_M = 25.0
"""Edges are cut to this length before they are moved: a straight one on the plane is not quite straight in degrees."""
_CELLS_PER_SIDE = 2
_STEP_DIGITS = 10  # those of a world file; steps are even in the last, so that pixel centres have no more
_ORIGIN_DIGITS = 9  # a tenth of a millimetre
_MOST_RASTER = 64_000_000


@dataclass(frozen=True, eq=False)
class RateGrid:
    """Rates in cells of longitude and latitude on WGS84.

    Attributes:
        rates: (rows, cols) float64, litres per hectare; the first row is the northernmost, as in a picture.
        south: Latitude of the lower edge.
        west: Longitude of the left edge.
        step_lat: Height of a cell, degrees.
        step_lon: Width of a cell, degrees.
    """

    rates: NDArray[np.float64]
    south: float
    west: float
    step_lat: float
    step_lon: float

    @property
    def north(self) -> float:
        """Latitude of the upper edge."""
        return self.south + int(self.rates.shape[0]) * self.step_lat

    @property
    def east(self) -> float:
        """Longitude of the right edge."""
        return self.west + int(self.rates.shape[1]) * self.step_lon

    @property
    def affine(self) -> Affine:
        """From (column, row) to (longitude, latitude), corner of the upper left cell first."""
        return Affine(self.step_lon, 0, self.west, 0, -self.step_lat, self.north)

    def sides_m(self, crs: Any) -> tuple[float, float]:
        """Width and height of the middle cell on the plane of a metric CRS."""
        (x, y) = self._middle_cell(crs)
        return math.hypot(x[1] - x[0], y[1] - y[0]), math.hypot(x[3] - x[0], y[3] - y[0])

    def row_areas(self, crs: Any) -> NDArray[np.float64]:
        """(rows,) area of a cell of each row on the plane of a metric CRS, in square metres."""
        from pyproj import Transformer

        rows, cols = self.rates.shape
        edges = self.north - self.step_lat * np.arange(rows + 1)
        west = self.west + self.step_lon * (cols // 2)
        transform = Transformer.from_crs(4326, crs, always_xy=True).transform
        left = np.stack(transform(np.full(rows + 1, west), edges), axis=1)
        right = np.stack(transform(np.full(rows + 1, west + self.step_lon), edges), axis=1)
        corners = np.stack([left[:-1], left[1:], right[1:], right[:-1]], axis=1)
        return np.asarray(shapely.area(shapely.polygons(corners)))

    def _middle_cell(self, crs: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        from pyproj import Transformer

        rows, cols = self.rates.shape
        west, south = self.west + self.step_lon * (cols // 2), self.south + self.step_lat * (rows // 2)
        lon = np.array([west, west + self.step_lon, west + self.step_lon, west])
        lat = np.array([south, south, south + self.step_lat, south + self.step_lat])
        x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)
        return x, y


def usual_side_m(plan: Planned) -> float:
    """Side of a cell of the grid where no limit says otherwise: half the machine's cell."""
    return min(plan.config.cell_m) / _CELLS_PER_SIDE


def sample(plan: Planned, max_cells: int | None, side_m: float | None = None) -> RateGrid:
    """The prescription on a grid with half the machine's cell, or with larger cells where that would be too many.

    Args:
        plan: What to sample.
        max_cells: Most rows times columns.
        side_m: Side of a cell; None: `usual_side_m`.

    Raises:
        PrescriptionError: If `max_cells` is too few for any grid.
    """
    zones = plan.zones
    geometry = to_lonlat(shapely.segmentize(np.asarray(zones.geometry.values), EDGE_M), zones.crs)
    grid = _empty(shapely.total_bounds(geometry), side_m or usual_side_m(plan), max_cells)
    box = GeoBox(grid.rates.shape, grid.affine, 4326)
    planned = zones["rate_l_ha"].to_numpy(np.float64)
    for rate in np.unique(planned[planned > 0]):
        treated: Any = shapely.multipolygons(shapely.get_parts(geometry[planned == rate]))
        share, edge = field_share(treated, box)
        grid.rates[edge | (share > 0.5)] = rate  # a cell without an edge in it is wholly in or out
    return grid


def _empty(bounds: NDArray[np.float64], side_m: float, max_cells: int | None) -> RateGrid:
    """A grid of zeros over `bounds` (degrees) and at least one cell around."""
    west, south, east, north = bounds
    m_lon, m_lat = _metres_per_degree((south + north) / 2)
    most = min(max_cells or _MOST_RASTER, _MOST_RASTER)
    while True:
        step_lon, step_lat = _even(side_m / m_lon), _even(side_m / m_lat)
        west0, south0 = _floor(west - step_lon), _floor(south - step_lat)
        cols = math.ceil((east - west0) / step_lon) + 1
        rows = math.ceil((north - south0) / step_lat) + 1
        if rows * cols <= most:
            return RateGrid(np.zeros((rows, cols)), south0, west0, step_lat, step_lon)
        if rows * cols <= 16:
            raise PrescriptionError(
                f"a grid of at most {most} cells cannot hold a field; expected a limit of 16 or more"
            )
        side_m *= max(math.sqrt(rows * cols / most), 1.001)


def _even(degrees: float) -> float:
    return round(2 * round(degrees / 2, _STEP_DIGITS), _STEP_DIGITS)


def _floor(degrees: float) -> float:
    return float(round(math.floor(degrees * 10**_ORIGIN_DIGITS) / 10**_ORIGIN_DIGITS, _ORIGIN_DIGITS))


def _metres_per_degree(latitude: float) -> tuple[float, float]:
    """Of longitude and of latitude, on WGS84."""
    from pyproj import Geod

    geod, half = Geod(ellps="WGS84"), 5e-4
    lon = geod.inv(-half, latitude, half, latitude)[2]
    lat = geod.inv(0, latitude - half, 0, latitude + half)[2]
    return float(lon) / (2 * half), float(lat) / (2 * half)
