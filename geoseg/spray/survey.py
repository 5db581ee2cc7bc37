"""A field laid out in cells for a machine, with all that is known of each cell: what a rule then decides on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from shapely import MultiPolygon, Polygon

from geoseg.errors import PrescriptionError
from geoseg.spray.aggregate import CellCounts, aggregate, raster_geobox
from geoseg.spray.grid import field_share, lattice
from geoseg.spray.ground import headland_cells, read_exclusions, touched_cells
from geoseg.spray.heading import Heading, choose_heading
from geoseg.spray.machine import Machine
from geoseg.spray.plants import count_plants
from geoseg.spray.rules import Seen
from geoseg.spray.settings import SprayConfig, resolved

__all__ = ["Survey", "survey"]


@dataclass(frozen=True, eq=False)
class Survey:
    """A field in cells.

    Attributes:
        config: The rule, with all that the machine fills in.
        machine: The machine; None: none was named.
        boundary: The field.
        heading: Driving direction.
        box: The lattice of cells.
        counts: Pixels and plants per cell.
        share: (rows, cols) float32, share of each cell in the field.
        edge: (rows, cols) bool, cells that the field's edge runs through.
        seen: The same for the rule, with headlands and excluded cells.
        exclusions: Ground that is never sprayed; None: there is none.
    """

    config: SprayConfig
    machine: Machine | None
    boundary: Polygon | MultiPolygon
    heading: Heading
    box: GeoBox
    counts: CellCounts
    share: NDArray[np.float32]
    edge: NDArray[np.bool_]
    seen: Seen
    exclusions: Polygon | MultiPolygon | None


def survey(
    classes: Path | str,
    boundary: Polygon | MultiPolygon,
    config: SprayConfig,
    *,
    package: Path | str | None = None,
    rows_heading_deg: float | None = None,
) -> Survey:
    """Lay the cells and count what is in them.

    Args:
        classes: Class raster as `geoseg segment` writes it.
        boundary: The field in the raster's CRS.
        config: The machine and the rule.
        package: ``field.gpkg`` of the run, for plants per cell; None: none are counted.
        rows_heading_deg: Heading of the crop rows from grid north, if they were found.

    Raises:
        PrescriptionError: If the raster, the boundary or the machine cannot be used, or the lattice would be too large.
    """
    config, machine = resolved(config)
    boundary = _usable(boundary)
    crs = raster_geobox(classes).crs
    heading = choose_heading(config, crs, boundary, rows_heading_deg)
    box = lattice(boundary, crs, config.cell_m, heading.degrees)
    counts = aggregate(classes, box, boundary)
    if package is not None:
        plants = count_plants(package, box, boundary)
        counts = dataclasses.replace(counts, weed_plants=plants.weed, crop_plants=plants.crop)
    share, edge = field_share(boundary, box)
    headland = headland_cells(boundary, box, share, config.headland_m) if config.headland_m > 0 else None
    exclusions, excluded = None, None
    if config.exclusions is not None:
        exclusions = read_exclusions(config.exclusions, crs, config.exclusion_buffer_m)
        excluded = touched_cells(exclusions, box)
    seen = Seen(counts.weed, counts.valid, share, counts.pixel_area_m2, counts.weed_plants, headland, excluded)
    return Survey(config, machine, boundary, heading, box, counts, share, edge, seen, exclusions)


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
