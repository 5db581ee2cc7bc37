"""What is said of a field's rows as a whole: parts with heading, spacing and how sure they are. Traces no rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geoseg.segment.rowlines import RowTable
from geoseg.segment.rowphase import PhaseField
from geoseg.segment.rowspectrum import Lattice

__all__ = ["RowModel", "RowPart", "parts_of"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RowPart:
    """A part of the field whose rows run side by side.

    Attributes:
        part: Its number from 1, the part with the most plants first.
        heading_deg: Mean direction of its rows, degrees from grid north in [0, 180).
        heading_se_deg: Standard error of that mean.
        turn_deg: How far the rows' direction varies over the part: 0 for straight rows.
        spacing_m: Mean distance between its rows.
        spacing_se_m: Standard error of that mean.
        rows: Number of its rows.
        plants: Plants in them.
    """

    part: int
    heading_deg: float
    heading_se_deg: float
    turn_deg: float
    spacing_m: float
    spacing_se_m: float
    rows: int
    plants: int


@dataclass(frozen=True)
class RowModel:
    """What is known of a field's rows.

    Attributes:
        found: Whether there is a row structure.
        reason: Why not, or what it rests on.
        plants: Plants that were looked at.
        plants_in_rows: Those that stand in a row.
        parts: The parts of the field, the largest first; empty without a row structure.
    """

    found: bool
    reason: str
    plants: int
    plants_in_rows: int = 0
    parts: tuple[RowPart, ...] = ()

    @property
    def heading_deg(self) -> float | None:
        """Direction of the rows of the largest part."""
        return self.parts[0].heading_deg if self.parts else None

    @property
    def spacing_m(self) -> float | None:
        """Distance between the rows of the largest part."""
        return self.parts[0].spacing_m if self.parts else None

    @property
    def confident(self) -> bool:
        """Whether a machine should follow the rows: most plants stand in rows of the largest part, nearly straight."""
        if not self.parts:
            return False
        main = self.parts[0]
        return main.plants >= 0.6 * self.plants and main.heading_se_deg < 0.5 and main.turn_deg < 20


def parts_of(lattice: Lattice, field: PhaseField, table: RowTable) -> list[tuple[int, RowPart]]:
    """The parts of a field with the numbers they have in `field`, the largest first."""
    parts = []
    for number in range(int(table.part.max(initial=-1)) + 1):
        mine = table.part == number
        count = int(table.plants[mine].sum())
        patches = np.flatnonzero((field.part == number) & np.isfinite(field.error[:, 0]))
        if not count or not len(patches):
            continue
        weight = lattice.counts[patches] * field.coherence[patches]
        place = np.stack([field.x[patches], field.y[patches]], axis=1)
        directions = np.degrees(field.direction[patches])
        heading, heading_se = _mean(directions, weight, np.degrees(field.error[patches, 0]), place)
        spacing, spacing_se = _mean(field.spacing_m[patches], weight, field.error[patches, 1], place)
        turn = float(np.ptp(directions))
        numbers = len(np.unique(table.number[mine]))
        parts.append((number, RowPart(0, heading % 180, heading_se, turn, spacing, spacing_se, numbers, count)))
    parts.sort(key=lambda item: -item[1].plants)
    return [(old, replace(part, part=new)) for new, (old, part) in enumerate(parts, 1)]


def _mean(values: Floats, weight: Floats, error: Floats, place: Floats) -> tuple[float, float]:
    """Weighted mean over patches and its standard error: the larger of what their own errors and their scatter say.

    The scatter is that about a plane over the field, because curved rows turn steadily and are not uncertain for it.
    """
    mean = float(np.average(values, weights=weight))
    own = float(np.sqrt(np.sum((weight * error) ** 2)) / weight.sum())
    rest = values - mean
    if len(values) > 5:
        design = np.column_stack([np.ones(len(values)), place - place.mean(axis=0)]) * np.sqrt(weight)[:, None]
        found = np.linalg.lstsq(design, rest * np.sqrt(weight), rcond=None)[0]
        rest = rest - np.column_stack([np.ones(len(values)), place - place.mean(axis=0)]) @ found
    scatter = float(np.sqrt(np.sum((weight * rest) ** 2)) / weight.sum())
    return mean, max(own, scatter)
