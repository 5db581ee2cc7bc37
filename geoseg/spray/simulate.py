"""What a machine really sprays when it follows a map: pass by pass along the heading. Knows cells, no file format.

The ground is laid out in the machine's frame: columns are sections side by side, pass beside pass, and rows are short
bins along the track, shorter than a cell of the map, so that weeds keep their place. Passes are driven in turn forth
and back. A section is told to spray while any ground of the map under it has a rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from shapely import MultiPolygon, Polygon

from geoseg.errors import PrescriptionError
from geoseg.ortho.boundary import polygonal
from geoseg.spray.aggregate import aggregate, raster_geobox
from geoseg.spray.grid import MAX_CELLS, apply, field_share
from geoseg.spray.machine import Machine
from geoseg.spray.valves import Runs, coverage, runs_of, sprayed_runs

__all__ = ["Driven", "Ground", "SimulationTotals", "drive", "lay_ground", "sum_up"]

_BINS = 20_000_000
_STEP_M = 0.1
_EDGE = 1e-6


@dataclass(frozen=True, eq=False)
class Ground:
    """The field in the machine's frame.

    Attributes:
        box: Its lattice: a column for each section of each pass, rows of short bins along the track.
        bins: Bins in a cell of the map along the track.
        weed: (rows, columns) int32, weed pixels.
        share: (rows, columns) float32, share of each bin in the field.
        excluded: (rows, columns) float32, share of each bin on excluded ground; None: there is none.
        pixel_area_m2: Area of a pixel.
        offset_m: How far the first section lies to the right of the map's first column.
    """

    box: GeoBox
    bins: int
    weed: NDArray[np.int32]
    share: NDArray[np.float32]
    excluded: NDArray[np.float32] | None
    pixel_area_m2: float
    offset_m: float

    @property
    def bin_m2(self) -> float:
        """Area of a bin."""
        return float(abs(self.box.affine.determinant))


@dataclass(frozen=True, eq=False)
class Driven:
    """What was done to the ground.

    Attributes:
        told: (map rows, columns) float32, the rate that the map asks of each section, litres per hectare.
        cover: (rows, columns) float32, share of each bin that was sprayed.
        rate: (map rows, columns) float32, the rate at which a section sprays there if it sprays.
    """

    told: NDArray[np.float32]
    cover: NDArray[np.float32]
    rate: NDArray[np.float32]


@dataclass(frozen=True)
class SimulationTotals:
    """What a machine sprays, added up.

    Attributes:
        field_ha: Area of the field.
        mapped_ha: Area that the map asks for.
        sprayed_ha: Area of the field that is sprayed.
        over_sprayed_ha: Part of it that the map does not ask for.
        not_sprayed_ha: Area that the map asks for and that is not sprayed.
        off_field_m2: Ground outside the field that is sprayed.
        excluded_sprayed_m2: Ground that is never to be sprayed, and is.
        weed_ha: Area of the weeds.
        missed_weed_ha: Part of it that is not sprayed.
        clean_ha: Sprayed ground that no weed covers.
        litres: Liquid, outside the field included.
        broadcast_litres: Liquid that the same sections need at the full rate where all ground of the field is mapped;
            more than area times rate, because sections overlap the field's edge.
        saved_percent: How much less the map needs.
        passes: Number of passes.
        switchings: How often valves open.
    """

    field_ha: float
    mapped_ha: float
    sprayed_ha: float
    over_sprayed_ha: float
    not_sprayed_ha: float
    off_field_m2: float
    excluded_sprayed_m2: float
    weed_ha: float
    missed_weed_ha: float
    clean_ha: float
    litres: float
    broadcast_litres: float
    saved_percent: float
    passes: int
    switchings: int


def lay_ground(
    classes: Path | str,
    box: GeoBox,
    boundary: Polygon | MultiPolygon,
    machine: Machine,
    *,
    excluded: Polygon | MultiPolygon | None = None,
    offset_m: float = 0.0,
) -> Ground:
    """The field in the machine's frame, with its weeds.

    Args:
        classes: Class raster.
        box: The lattice of the map.
        boundary: The field.
        machine: Whose sections.
        excluded: Ground that is never to be sprayed.
        offset_m: How far the machine drives to the right of where the map expects it, metres.

    Raises:
        PrescriptionError: If the raster cannot be used, or there would be too many bins.
    """
    cell_width, cell_length = np.hypot(box.affine.a, box.affine.d), np.hypot(box.affine.b, box.affine.e)
    rows, cols = box.shape
    first = -np.ceil(max(offset_m, 0) / machine.section_m) * machine.section_m + offset_m
    columns = int(np.ceil((cols * cell_width - first) / machine.section_m - _EDGE))
    pixel = raster_geobox(classes).affine
    finest = max(_STEP_M, np.hypot(pixel.a, pixel.d), np.hypot(pixel.b, pixel.e))
    bins = int(max(min(cell_length / finest + _EDGE, _BINS / (rows * columns)), 1))
    if rows * bins * columns > MAX_CELLS:
        raise PrescriptionError(
            f"the machine's frame would need {rows * bins * columns:,} bins; at most {MAX_CELLS:,} are supported"
        )
    a = box.affine
    scale_x, scale_y, shift = machine.section_m / cell_width, 1 / bins, first / cell_width
    affine = Affine(a.a * scale_x, a.b * scale_y, a.c + a.a * shift, a.d * scale_x, a.e * scale_y, a.f + a.d * shift)
    frame = GeoBox((rows * bins, columns), affine, box.crs)
    counts = aggregate(classes, frame, boundary)
    share, _ = field_share(boundary, frame)
    off = None
    if excluded is not None:
        corners = [
            apply(affine, *corner) for corner in ((0, 0), (columns, 0), (columns, rows * bins), (0, rows * bins))
        ]
        within = polygonal(shapely.intersection(excluded, Polygon(corners)))
        off = field_share(within, frame)[0] if within.area > 0 else None
    return Ground(frame, bins, counts.weed, share, off, counts.pixel_area_m2, float(first))


def drive(rate_l_ha: NDArray[np.float32], map_box: GeoBox, ground: Ground, machine: Machine) -> tuple[Driven, Runs]:
    """Drive the passes over the map.

    Args:
        rate_l_ha: (rows, cols) the map: the rate of each cell, 0 and NaN where there is none.
        map_box: Its lattice.
        ground: The ground in the machine's frame, laid from the same lattice.
        machine: Which machine.

    Returns:
        What was done, and the runs of liquid along each track from row 0 on.
    """
    told = _told(np.nan_to_num(rate_l_ha), map_box, ground, machine)
    length = np.hypot(map_box.affine.b, map_box.affine.e)
    far = told.shape[0] * length
    forth = (np.arange(told.shape[1]) // machine.sections) % 2 == 0
    runs: list[Runs] = []
    for columns, ahead in ((forth, True), (~forth, False)):
        along = told[::-1, columns] if ahead else told[:, columns]  # row 0 is the farthest ahead
        found = sprayed_runs(runs_of(along > 0, length), machine)
        runs.append(Runs(far - found.end, far - found.start) if ahead else found)
    all_runs = _merged(runs, forth)
    cover = coverage(all_runs, told.shape[0] * ground.bins, length / ground.bins)
    return Driven(told, cover, _nearest(told)), all_runs


def sum_up(driven: Driven, runs: Runs, ground: Ground, machine: Machine, full_l_ha: float) -> SimulationTotals:
    """Add up what was sprayed.

    Args:
        driven: What was done.
        runs: The runs of liquid.
        ground: Where.
        machine: By which machine.
        full_l_ha: The full rate, for the comparison with the whole field.
    """
    shape = (driven.told.shape[0], ground.bins, driven.told.shape[1])
    asked = np.repeat(driven.told > 0, ground.bins, axis=0)
    bin_m2 = ground.bin_m2

    def area(values: NDArray[np.float32]) -> float:
        return float(values.sum(dtype=np.float64)) * bin_m2

    sprayed = driven.cover * ground.share
    field, wet = area(ground.share), area(sprayed)
    litres = float((driven.cover.reshape(shape).sum(axis=1, dtype=np.float64) * driven.rate).sum()) * bin_m2 / 1e4
    reached = float((ground.weed * driven.cover).sum(dtype=np.float64)) * ground.pixel_area_m2
    weed = float(ground.weed.sum(dtype=np.float64)) * ground.pixel_area_m2
    whole = int(np.count_nonzero(ground.share.reshape(shape).any(axis=1))) * ground.bins * bin_m2
    broadcast = whole / 1e4 * full_l_ha
    return SimulationTotals(
        field_ha=field / 1e4,
        mapped_ha=area(ground.share * asked) / 1e4,
        sprayed_ha=wet / 1e4,
        over_sprayed_ha=area(sprayed * ~asked) / 1e4,
        not_sprayed_ha=area((ground.share - sprayed) * asked) / 1e4,
        off_field_m2=area(driven.cover * (1 - ground.share)),
        excluded_sprayed_m2=0.0 if ground.excluded is None else area(driven.cover * ground.excluded),
        weed_ha=weed / 1e4,
        missed_weed_ha=(weed - reached) / 1e4,
        clean_ha=max(wet - reached, 0.0) / 1e4,
        litres=litres,
        broadcast_litres=broadcast,
        saved_percent=100 * (1 - litres / broadcast) if broadcast else 0.0,
        passes=-(-driven.told.shape[1] // machine.sections),
        switchings=int(np.count_nonzero(~np.isnan(runs.start))),
    )


def _told(rate: NDArray[np.float32], map_box: GeoBox, ground: Ground, machine: Machine) -> NDArray[np.float32]:
    """(map rows, columns) the highest rate of the cells under each section."""
    width = np.hypot(map_box.affine.a, map_box.affine.d)
    left = (ground.offset_m + np.arange(ground.box.shape[1]) * machine.section_m) / width
    first = np.clip(np.floor(left + _EDGE), 0, rate.shape[1]).astype(np.int64)
    last = np.clip(np.ceil(left + machine.section_m / width - _EDGE), 0, rate.shape[1]).astype(np.int64)
    told = np.zeros((rate.shape[0], left.size), np.float32)
    for step in range(int((last - first).max(initial=0))):
        column = first + step
        there = column < last
        told[:, there] = np.maximum(told[:, there], rate[:, column[there]])
    return told


def _nearest(told: NDArray[np.float32]) -> NDArray[np.float32]:
    """For each place along a track the rate of the nearest place that has one: what a section that runs on sprays."""
    rows = np.arange(told.shape[0])[:, None]
    before = np.maximum.accumulate(np.where(told > 0, rows, -1), axis=0)
    after = np.minimum.accumulate(np.where(told > 0, rows, told.shape[0])[::-1], axis=0)[::-1]
    none_before, none_after = before < 0, after >= told.shape[0]
    take_after = none_before | (~none_after & (after - rows < rows - before))
    place = np.where(take_after, after, before)
    found = np.take_along_axis(told, np.clip(place, 0, told.shape[0] - 1), axis=0)
    return np.where(none_before & none_after, np.float32(0), found)


def _merged(runs: list[Runs], forth: NDArray[np.bool_]) -> Runs:
    """Runs of the two directions, in the order of the columns."""
    most = max(each.start.shape[0] for each in runs)
    both = np.full((2, most, forth.size), np.nan)
    for each, columns in zip(runs, (forth, ~forth), strict=True):
        both[0, : each.start.shape[0], columns] = each.start.T
        both[1, : each.end.shape[0], columns] = each.end.T
    return Runs(both[0], both[1])
