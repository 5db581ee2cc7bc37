"""How far every pixel of a field is from a crop row, from the row lines that `geoseg.segment.rows` finds in its green.

The points that rows are found from are small cells of ground with vegetation, not plants: where neighbours touch a
plant has no centre, but the row is still there. Knows no classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from geoseg.adapt.field import Field
from geoseg.adapt.vegetation import VegetationRule
from geoseg.segment.rows import RowConfig, RowModel, Rows, find_rows

__all__ = ["NO_ROW", "GreenCells", "RowField", "green_cells", "row_field"]

Floats = NDArray[np.float64]

NO_ROW = 9.0
"""Distance, in row spacings, where there is no row nearby."""
SURVEY_GSD_M = 0.008
_FINEST_CELL_M, _MOST_CELLS = 0.03, 1_000_000
_MIN_SHARE = 0.25
_SIDE_PX = 1024


@dataclass(frozen=True)
class GreenCells:
    """Cells of ground with vegetation.

    Attributes:
        x: (n,) eastings of their middles, metres.
        y: (n,) northings.
        area_m2: (n,) vegetation in them.
        cell_m: Their side.
    """

    x: Floats
    y: Floats
    area_m2: Floats
    cell_m: float


@dataclass(frozen=True)
class RowField:
    """The rows of a field.

    Attributes:
        model: What is known of them as a whole.
        x: (n,) eastings of points on the rows, not more than half a spacing apart.
        y: (n,) northings.
        east: (n,) eastern part of the row's unit direction at the point.
        north: (n,) its northern part.
        spacing_m: (n,) distance between rows there.
    """

    model: RowModel
    x: Floats
    y: Floats
    east: Floats
    north: Floats
    spacing_m: Floats

    def __post_init__(self) -> None:
        """Build the search tree."""
        object.__setattr__(self, "_tree", cKDTree(np.column_stack([self.x, self.y])) if len(self.x) else None)

    def off_row(self, x: Floats, y: Floats) -> Floats:
        """Distance from the nearest row, in spacings; `NO_ROW` beyond 0.75 of them and past the rows' ends.

        Args:
            x: (n,) eastings, metres.
            y: (n,) northings, metres.
        """
        tree: cKDTree | None = self._tree  # type: ignore[attr-defined]  # made after __init__
        if tree is None:
            return np.full(len(x), NO_ROW)
        _, nearest = tree.query(np.column_stack([x, y]), k=min(4, len(self.x)))
        nearest = nearest.reshape(len(x), -1)
        right, ahead = x[:, None] - self.x[nearest], y[:, None] - self.y[nearest]
        east, north, spacing = self.east[nearest], self.north[nearest], self.spacing_m[nearest]
        across = np.abs(right * north - ahead * east) / spacing
        along = np.abs(right * east + ahead * north) / spacing
        return np.asarray(np.where((along <= 1.0) & (across <= 0.75), across, NO_ROW).min(axis=1))

    def facts(self) -> dict[str, Any]:
        """For records and cards."""
        parts = [
            {
                "heading_deg": round(part.heading_deg, 2), "spacing_m": round(part.spacing_m, 4),
                "spacing_se_m": round(part.spacing_se_m, 5), "rows": part.rows,
            }
            for part in self.model.parts
        ]  # fmt: skip
        return {"found": self.model.found, "reason": self.model.reason, "confident": self.model.confident,
                "parts": parts}  # fmt: skip


def green_cells(field: Field, rule: VegetationRule) -> GreenCells:
    """The cells with vegetation, in one pass over the field at about 8 mm.

    Args:
        field: The field on the rule's own grid.
        rule: What is green.
    """
    coarse = field.coarser(SURVEY_GSD_M)
    here = rule.at(coarse, field)
    area_m2 = coarse.outline.area
    cell_m = max(_FINEST_CELL_M, math.sqrt(area_m2 * rule.cut.cover / _MOST_CELLS), 1.5 * coarse.gsd_m)
    cell = max(round(cell_m / coarse.gsd_m), 1)
    side = -(-_SIDE_PX // cell) * cell
    parts: list[Floats] = []
    for rect, image, valid in coarse.read(side):
        green = (here.greenness(image, rect) > 0.5) & valid
        height, width = (-(-length // cell) for length in rect.shape)
        padded = np.zeros((height * cell, width * cell), np.float32)
        padded[: rect.shape[0], : rect.shape[1]] = green
        share = padded.reshape(height, cell, width, cell).mean(axis=(1, 3))
        rows, cols = np.nonzero(share >= _MIN_SHARE)
        affine = coarse.grid.affine
        x = affine.c + affine.a * (rect.col0 + (cols + 0.5) * cell)
        y = affine.f + affine.e * (rect.row0 + (rows + 0.5) * cell)
        area = share[rows, cols].astype(np.float64) * (cell * coarse.gsd_m) ** 2
        parts.append(np.stack([x, y, area]).astype(np.float64))
    found = np.concatenate([np.zeros((3, 0)), *parts], axis=1)
    return GreenCells(found[0], found[1], found[2], cell * coarse.gsd_m)


def row_field(cells: GreenCells, config: RowConfig | None = None) -> RowField:
    """The rows among green cells.

    Args:
        cells: Where vegetation is.
        config: What is looked for; None: the defaults.
    """
    rows = find_rows(cells.x, cells.y, cells.area_m2, config)
    if not rows.model.found:
        nothing = np.zeros(0)
        return RowField(rows.model, nothing, nothing, nothing, nothing, nothing)
    return RowField(rows.model, *_points(rows))


def _points(rows: Rows) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Middles of the rows' pieces, their directions and spacings."""
    spacing = {part.part: part.spacing_m for part in rows.model.parts}
    found = []
    for line, part in zip(rows.table.line, rows.table.part.tolist(), strict=True):
        step = spacing.get(part, rows.model.spacing_m or 1.0)
        if line.length == 0:
            continue
        ends = shapely.get_coordinates(shapely.segmentize(line, step / 2))
        middle, way = (ends[1:] + ends[:-1]) / 2, np.diff(ends, axis=0)
        length = np.hypot(*way.T)
        way = _steady(way / length[:, None], length, step)
        found.append(np.column_stack([middle, way, np.full(len(middle), step)]))
    x, y, east, north, steps = np.concatenate(found).T
    return x, y, east, north, steps


def _steady(way: Floats, length: Floats, step: float) -> Floats:
    """Directions smoothed over some spacings along the row."""
    reach = max(2 * step / max(float(np.median(length)), 1e-9), 0.5)
    smooth = ndimage.gaussian_filter1d(way, reach, axis=0, mode="nearest")
    return np.asarray(smooth / np.hypot(*smooth.T)[:, None])
