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

from geoseg.errors import PrescriptionError
from geoseg.spray.aggregate import CellCounts, aggregate, raster_geobox
from geoseg.spray.grid import apply, field_share, heading_of, lattice, true_heading
from geoseg.spray.rules import Decision, SprayConfig, decide
from geoseg.spray.zones import partition

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["Prescription", "Totals", "plan"]

_CELLS_AT_ONCE = 200_000


@dataclass(frozen=True)
class Totals:
    """What a prescription adds up to. Areas are those of the polygons on the plane of the working CRS.

    Attributes:
        field_ha: Area of the field.
        treated_ha: Area with a rate above 0.
        weed_ha: Area of the weed pixels in the field: what was mapped.
        litres: Spray liquid needed.
        broadcast_litres: Liquid for the whole field at the full rate.
        saved_percent: How much less that is, 0..100.
        overspray_factor: Treated area per mapped weed area; None where no weed was mapped.
        cells: Cells that lie in the field, wholly or partly.
        triggered_cells: Cells with enough weed.
        treated_cells: Cells sprayed.
        unseen_cells: Cells that the camera did not see.
        unseen_ha: Their area in the field, sprayed or not as the rule says.
        dropped_spots: Spots under the minimum that were left out.
        dropped_weed_ha: Weed area in their triggered cells.
        missed_weed_ha: Mapped weed area that is not sprayed: below the threshold, or dropped.
        zones: Number of polygons.
    """

    field_ha: float
    treated_ha: float
    weed_ha: float
    litres: float
    broadcast_litres: float
    saved_percent: float
    overspray_factor: float | None
    cells: int
    triggered_cells: int
    treated_cells: int
    unseen_cells: int
    unseen_ha: float
    dropped_spots: int
    dropped_weed_ha: float
    missed_weed_ha: float
    zones: int


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
        config: The machine and the rule.
        totals: What it adds up to.
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

    @property
    def rates(self) -> tuple[float, ...]:
        """The rates in use, litres per hectare, ascending."""
        return tuple(sorted(float(rate) for rate in self.zones["rate_l_ha"].unique()))

    def rate_grid(self) -> NDArray[np.float32]:
        """(rows, cols) rate of each cell in litres per hectare; NaN outside the field."""
        rate = np.where(self.decision.treated, np.float32(self.config.rate_l_ha), np.float32(0))
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
            wanted &= self.decision.treated | (self.counts.weed > 0)
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
            "rate_l_ha": self.decision.treated[row, col] * self.config.rate_l_ha,
            "weed_cover": self.counts.weed[row, col] / valid,
            "crop_cover": self.counts.crop[row, col] / valid,
            "seen": np.minimum(self.counts.valid[row, col] / cell_px, 1.0),
        }
        return gpd.GeoDataFrame(table, geometry=shapely.polygons(np.stack([x, y], -1)), crs=str(self.box.crs))


def plan(classes: Path | str, boundary: Polygon | MultiPolygon, config: SprayConfig | None = None) -> Prescription:
    """The prescription for a field from its class raster.

    Args:
        classes: Class raster as `geoseg segment` writes it: soil 0, crop 1, weed 2, nodata 255, metric CRS.
        boundary: The field in the raster's CRS. What the raster does not cover of it is unseen.
        config: The machine and the rule; None: the defaults.

    Raises:
        PrescriptionError: If the raster, the boundary or the rule cannot be used, or the lattice would be too large.

    Example:
        >>> prescription = plan(Path("run/classes.tif"), field, SprayConfig(section_m=0.5))  # doctest: +SKIP
        >>> prescription.totals.saved_percent  # doctest: +SKIP
        71.3
    """
    config = config or SprayConfig()
    boundary = _usable(boundary)
    crs = raster_geobox(classes).crs
    heading = heading_of(boundary) if config.heading_deg is None else config.heading_deg % 360
    box = lattice(boundary, crs, config.cell_m, heading)
    counts = aggregate(classes, box, boundary)
    share, edge = field_share(boundary, box)
    decision = decide(config, counts.weed, counts.valid, share, counts.pixel_area_m2)
    level = decision.treated.astype(np.uint8) + np.uint8(1)
    polygons, levels = partition(level, share, edge, box, boundary, split_holes=config.holes == "split")
    zones = _frame(polygons, np.array([0.0, 0.0, config.rate_l_ha])[levels], box)
    return Prescription(
        zones=zones,
        box=box,
        heading_deg=heading,
        true_heading_deg=true_heading(box, heading),
        counts=counts,
        share=share,
        decision=decision,
        boundary=boundary,
        config=config,
        totals=_totals(zones, boundary, config, counts, share, decision),
    )


def _usable(boundary: Polygon | MultiPolygon) -> Polygon | MultiPolygon:
    if boundary.is_empty or boundary.geom_type not in ("Polygon", "MultiPolygon"):
        found = f"{'an empty ' if boundary.is_empty else 'a '}{boundary.geom_type}"
        raise PrescriptionError(
            f"the field boundary is {found}; expected a polygon with an area, in the CRS of the map"
        )
    if not boundary.is_valid:
        raise PrescriptionError(
            f"the field boundary is not valid ({shapely.is_valid_reason(boundary)}); repair it first"
        )
    return shapely.force_2d(boundary)


def _frame(polygons: NDArray[np.object_], rates: NDArray[np.float64], box: GeoBox) -> gpd.GeoDataFrame:
    import geopandas as gpd

    return gpd.GeoDataFrame(
        {"zone": np.arange(1, len(polygons) + 1), "rate_l_ha": rates, "area_m2": shapely.area(polygons)},
        geometry=polygons,
        crs=str(box.crs),
    )


def _totals(
    zones: gpd.GeoDataFrame,
    boundary: Polygon | MultiPolygon,
    config: SprayConfig,
    counts: CellCounts,
    share: NDArray[np.float32],
    decision: Decision,
) -> Totals:
    cell_ha = config.cell_m[0] * config.cell_m[1] / 1e4
    litres = float((zones["area_m2"] * zones["rate_l_ha"]).sum()) / 1e4
    broadcast = boundary.area / 1e4 * config.rate_l_ha
    treated = float(zones.loc[zones["rate_l_ha"] > 0, "area_m2"].sum()) / 1e4
    weed = float(counts.weed.sum(dtype=np.int64)) * counts.pixel_area_m2 / 1e4
    return Totals(
        field_ha=boundary.area / 1e4,
        treated_ha=treated,
        weed_ha=weed,
        litres=litres,
        broadcast_litres=broadcast,
        saved_percent=min(max(100 * (1 - litres / broadcast), 0.0), 100.0),
        overspray_factor=treated / weed if weed else None,
        cells=int(np.count_nonzero(share)),
        triggered_cells=int(np.count_nonzero(decision.triggered)),
        treated_cells=int(np.count_nonzero(decision.treated)),
        unseen_cells=int(np.count_nonzero(decision.unseen)),
        unseen_ha=float(share[decision.unseen].sum(dtype=np.float64)) * cell_ha,
        dropped_spots=decision.dropped_spots,
        dropped_weed_ha=decision.dropped_weed_px * counts.pixel_area_m2 / 1e4,
        missed_weed_ha=int(counts.weed[~decision.treated].sum()) * counts.pixel_area_m2 / 1e4,
        zones=len(zones),
    )
