"""What the writers need of a prescription: zones, field, lattice, machine and totals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from shapely import MultiPolygon, Polygon

from geoseg.spray import SprayConfig

if TYPE_CHECKING:
    import geopandas as gpd

    from geoseg.spray.prescription import Totals

__all__ = ["Plan", "Planned"]


class Planned(Protocol):
    """A field with a rate everywhere, as far as a file can hold it."""

    @property
    def zones(self) -> gpd.GeoDataFrame:
        """One polygon a row with the columns ``zone``, ``rate_l_ha`` and ``area_m2``, in a metric CRS."""

    @property
    def boundary(self) -> Polygon | MultiPolygon:
        """The field, in the same CRS."""

    @property
    def box(self) -> GeoBox:
        """The lattice of the machine's cells."""

    @property
    def heading_deg(self) -> float:
        """Driving direction, degrees clockwise from grid north."""

    @property
    def true_heading_deg(self) -> float:
        """The same from true north."""

    @property
    def config(self) -> SprayConfig:
        """The machine and the rule."""

    @property
    def totals(self) -> Totals:
        """What it adds up to."""

    @property
    def rates(self) -> tuple[float, ...]:
        """The rates in use, litres per hectare, ascending."""

    @property
    def excluded(self) -> NDArray[np.bool_] | None:
        """(rows, cols) cells of the lattice that are never sprayed; None: there are none."""


@dataclass(frozen=True, eq=False)
class Plan:
    """A prescription without the pixels that it came from; attributes as in `Planned`."""

    zones: gpd.GeoDataFrame
    boundary: Polygon | MultiPolygon
    box: GeoBox
    heading_deg: float
    true_heading_deg: float
    config: SprayConfig
    totals: Totals
    excluded: NDArray[np.bool_] | None = None

    @classmethod
    def of(cls, planned: Planned, **changes: Any) -> Plan:
        """The same plan, with something else in it."""
        names = ("zones", "boundary", "box", "heading_deg", "true_heading_deg", "config", "totals", "excluded")
        return cls(**{name: getattr(planned, name) for name in names} | changes)

    @property
    def rates(self) -> tuple[float, ...]:
        """The rates in use, litres per hectare, ascending."""
        return tuple(sorted(float(rate) for rate in self.zones["rate_l_ha"].unique()))
