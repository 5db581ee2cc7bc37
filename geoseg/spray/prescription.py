"""The prescription: what the sprayer does where and what that adds up to, from grid, counts, rule and zones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from shapely import MultiPolygon, Polygon

from geoseg.spray.aggregate import CellCounts
from geoseg.spray.grid import apply, true_heading
from geoseg.spray.heading import Heading
from geoseg.spray.machine import Machine
from geoseg.spray.rules import Decision, Seen, SprayConfig, decide
from geoseg.spray.survey import survey
from geoseg.spray.totals import Totals, add_up
from geoseg.spray.zones import partition

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["Prescription", "Totals", "plan"]

_CELLS_AT_ONCE = 200_000


@dataclass(frozen=True, eq=False)
class Prescription:
    """A field with a rate everywhere.

    Attributes:
        zones: One polygon a row with the columns ``zone`` (1 and up), ``rate_l_ha`` and ``area_m2``, in the working
            CRS. They cover the field without gap or overlap; rate 0 is written as 0.
        box: The lattice of cells in the machine's frame.
        heading_deg: Driving direction, degrees clockwise from the grid north of the working CRS.
        true_heading_deg: The same from true north.
        counts: Pixels per cell.
        share: (rows, cols) float32, share of each cell in the field.
        decision: What the rule said per cell.
        boundary: The field.
        config: The rule, with all that the machine fills in.
        totals: What it adds up to.
        heading: Where the heading comes from.
        machine: The machine; None: none was named.
        excluded: (rows, cols) bool, cells that are never sprayed; None: there are none.
        seen: What the rule was told of each cell; None: not kept.
    """

    zones: gpd.GeoDataFrame
    box: GeoBox
    heading_deg: float
    true_heading_deg: float
    counts: CellCounts
    share: NDArray[np.float32]
    decision: Decision
    boundary: Polygon | MultiPolygon
    config: SprayConfig
    totals: Totals
    heading: Heading
    machine: Machine | None = None
    excluded: NDArray[np.bool_] | None = None
    seen: Seen | None = None

    @property
    def rates(self) -> tuple[float, ...]:
        """The rates in use, litres per hectare, ascending."""
        return tuple(sorted(float(rate) for rate in self.zones["rate_l_ha"].unique()))

    def rate_grid(self) -> NDArray[np.float32]:
        """(rows, cols) rate of each cell in litres per hectare; NaN outside the field."""
        rate = self.decision.rate_grid()
        return np.where(self.share > 0, rate, np.float32(np.nan))

    def cells(self, *, only_seen_or_treated: bool = True) -> Iterator[gpd.GeoDataFrame]:
        """The cells as whole rectangles, in pieces of bounded size, for a layer to look at.

        Args:
            only_seen_or_treated: Leave out cells with neither weeds nor a rate: they are most of a field.

        Yields:
            Frames with row, col, rate_l_ha, weed_cover, crop_cover, seen (share of the cell with valid pixels).
        """
        wanted = self.share > 0
        if only_seen_or_treated:
            wanted &= (self.decision.level > 0) | (self.counts.weed > 0)
        index = np.flatnonzero(wanted)
        for start in range(0, index.size, _CELLS_AT_ONCE):
            yield self._cell_frame(index[start : start + _CELLS_AT_ONCE])

    def _cell_frame(self, index: NDArray[np.int64]) -> gpd.GeoDataFrame:
        import geopandas as gpd

        row, col = np.divmod(index, self.box.shape[1])
        corners = np.stack([np.stack([col + i, row + j], 1) for i, j in ((0, 0), (0, 1), (1, 1), (1, 0))], 1)
        affine = self.box.affine
        x, y = apply(affine, corners[..., 0], corners[..., 1])
        valid = np.maximum(self.counts.valid[row, col], 1)
        cell_px = abs(affine.determinant) / self.counts.pixel_area_m2
        table: dict[str, Any] = {
            "row": row,
            "col": col,
            "rate_l_ha": np.array(self.decision.rates)[self.decision.level[row, col]],
            "weed_cover": self.counts.weed[row, col] / valid,
            "crop_cover": self.counts.crop[row, col] / valid,
            "seen": np.minimum(self.counts.valid[row, col] / cell_px, 1.0),
        }
        return gpd.GeoDataFrame(table, geometry=shapely.polygons(np.stack([x, y], -1)), crs=str(self.box.crs))


def plan(
    classes: Path | str,
    boundary: Polygon | MultiPolygon,
    config: SprayConfig | None = None,
    *,
    package: Path | str | None = None,
    rows_heading_deg: float | None = None,
) -> Prescription:
    """The prescription for a field from its class raster.

    Args:
        classes: Class raster as `geoseg segment` writes it: soil 0, crop 1, weed 2, nodata 255, metric CRS.
        boundary: The field in the raster's CRS. What the raster does not cover of it is unseen.
        config: The machine and the rule; None: the defaults.
        package: ``field.gpkg`` of the run, for plants per cell; None: none are counted.
        rows_heading_deg: Heading of the crop rows from grid north, if they were found.

    Raises:
        PrescriptionError: If the raster, the boundary or the rule cannot be used, or the lattice would be too large.

    Example:
        >>> prescription = plan(Path("run/classes.tif"), field, SprayConfig(section_m=0.5))  # doctest: +SKIP
        >>> prescription.totals.saved_percent  # doctest: +SKIP
        71.3
    """
    found = survey(classes, boundary, config or SprayConfig(), package=package, rows_heading_deg=rows_heading_deg)
    decision = decide(found.config, found.seen)
    excluded, box, share = found.seen.excluded, found.box, found.share
    split = found.config.holes == "split"
    polygons, levels = partition(
        decision.level + np.uint8(1), share, found.edge, box, found.boundary, split_holes=split, firm=excluded
    )
    zones = _frame(polygons, np.array([0.0, *decision.rates])[levels], box)
    return Prescription(
        zones=zones,
        box=box,
        heading_deg=found.heading.degrees,
        true_heading_deg=true_heading(box, found.heading.degrees),
        counts=found.counts,
        share=share,
        decision=decision,
        boundary=found.boundary,
        config=found.config,
        totals=add_up(zones, found.boundary, found.config, found.machine, found.counts, share, decision, excluded),
        heading=found.heading,
        machine=found.machine,
        excluded=excluded,
        seen=found.seen,
    )


def _frame(polygons: NDArray[np.object_], rates: NDArray[np.float64], box: GeoBox) -> gpd.GeoDataFrame:
    import geopandas as gpd

    return gpd.GeoDataFrame(
        {"zone": np.arange(1, len(polygons) + 1), "rate_l_ha": rates, "area_m2": shapely.area(polygons)},
        geometry=polygons,
        crs=str(box.crs),
    )
