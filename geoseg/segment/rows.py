"""Crop rows over the whole field, from the positions of its plants: heading, spacing, and every plant's place in a row.

The field is cut into coarse patches. In each one the direction and spacing at which plants repeat is the highest peak
of their power spectrum (`rowspectrum`); the spacing on which patches agree decides the size of the patches of a second
pass; there a phase is fitted and joined across patches (`rowphase`), and rows are traced along it (`rowlines`).
"No row structure" is an answer, with a reason. Headings are degrees clockwise from the grid north of the plants' CRS.
Headlands and other parts with a heading of their own become parts of their own. Knows no files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geoseg.errors import ConfigError
from geoseg.segment.rowlines import PlantRows, RowTable, select, trace
from geoseg.segment.rowmodel import RowModel, RowPart, parts_of
from geoseg.segment.rowphase import PhaseField, fit_phase
from geoseg.segment.rowspectrum import Lattice, Peak, find_peak, lattice_over

__all__ = ["RowConfig", "RowModel", "RowPart", "Rows", "find_rows"]

Floats = NDArray[np.float64]

_MIN_PLANTS = 30
_MIN_PATCH = 8
_MIN_ROWS = 3
_SURVEY_PATCHES = 64
_MIN_SHARE = 0.3
"""Share of the plants that must stand where patches agree on the spacing."""


@dataclass(frozen=True)
class RowConfig:
    """How crop rows are looked for (YAML section ``rows``).

    Attributes:
        min_spacing_m: Smallest distance between rows.
        max_spacing_m: Largest distance between rows.
        max_offset: A plant farther from the line than this share of the spacing belongs to no row.
        min_plants: A row of fewer plants is no row.
        split_m: Where a row has no plant over more than this, metres, it ends and another one begins: a path between
            plots, a headland, a wet spot. Shorter empty stretches are gaps in the row.
        gap_factor: An empty stretch longer than this times the row's median spacing is a gap (1.5: the miss index).
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    min_spacing_m: float = 0.1
    max_spacing_m: float = 2.0
    max_offset: float = 0.3
    min_plants: int = 4
    split_m: float = 10.0
    gap_factor: float = 1.5

    def __post_init__(self) -> None:
        """Refuse values that make no sense.

        Raises:
            ConfigError: With the key, its value and what is expected.
        """
        limits = {
            "min_spacing_m": (0.02, self.max_spacing_m / 1.2, "metres, well below rows.max_spacing_m"),
            "max_spacing_m": (0.05, 20, "metres, 0.05 to 20"),
            "max_offset": (0.01, 0.5, "a share of the spacing, 0.01 to 0.5"),
            "min_plants": (2, 1e6, "2 or more"),
            "split_m": (0.1, 1e6, "metres, 0.1 or more"),
            "gap_factor": (1.0, 100, "a multiple of the plant spacing, 1 or more"),
        }
        for name, (low, high, expected) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"rows.{name} is {value}; expected {expected}")


@dataclass(frozen=True)
class Rows:
    """The result of `find_rows`.

    Attributes:
        model: Heading, spacing and how sure they are.
        plants: Each plant's row and its place in it, in the order of the plants given.
        table: The rows themselves.
    """

    model: RowModel
    plants: PlantRows
    table: RowTable


def find_rows(x: ArrayLike, y: ArrayLike, area_m2: ArrayLike | None = None, config: RowConfig | None = None) -> Rows:
    """The crop rows among plants.

    The order of the plants does not matter, and neither does where on the earth they stand.

    Args:
        x: (n,) eastings, metres.
        y: (n,) northings, metres.
        area_m2: (n,) areas; larger plants count more, by the root of their area. None: all alike.
        config: What is looked for; None: the defaults.
    """
    config = config or RowConfig()
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if len(x) < _MIN_PLANTS:
        return _nothing(len(x), f"{len(x)} plants are too few to tell; at least {_MIN_PLANTS} are needed")
    area = np.ones(len(x)) if area_m2 is None else np.asarray(area_m2, np.float64)
    order = np.lexsort((area, y, x))  # sums do not depend on the order of the plants
    origin = float(x[order].mean()), float(y[order].mean())
    east, north = (np.round(values[order] - offset, 6) for values, offset in ((x, origin[0]), (y, origin[1])))
    weight = np.clip(np.sqrt(area[order] / np.median(area)), 0.3, 3.0)
    weight /= weight.mean()
    survey = _survey(east, north, weight, config)
    if isinstance(survey, str):
        return _nothing(len(x), survey)
    lattice, field = _phase(east, north, weight, survey, config)
    plants, table = trace(east, north, lattice.of, field, config.max_offset, config.min_plants, config.split_m)
    parts = parts_of(lattice, field, table)
    keep = [part for part in parts if part[1].rows >= _MIN_ROWS]
    if not keep:
        rows = max((part.rows for _, part in parts), default=0)
        return _nothing(len(x), f"the plants stand in {rows} {'row' if rows == 1 else 'rows'}; a pattern needs three")
    plants, table = select(plants, table, [number for number, _ in keep], origin)
    back = np.argsort(order)
    inside = int(np.count_nonzero(plants.row_id))
    reason = f"{inside:,} of {len(x):,} plants stand in {len(table.row_id):,} rows"
    found = RowModel(True, reason, len(x), inside, tuple(part for _, part in keep))
    return Rows(found, plants.take(back), table)


def _nothing(plants: int, reason: str) -> Rows:
    return Rows(RowModel(False, f"no row structure: {reason}", plants), PlantRows.empty(plants), RowTable.empty())


def _survey(x: Floats, y: Floats, weight: Floats, config: RowConfig) -> float | str:
    """The row spacing on which parts of the field agree, or why there is none."""
    coarse = lattice_over(x, y, 8.0)
    occupied = coarse.counts[coarse.counts > 0]
    area_m2 = max(np.ptp(x) * np.ptp(y), 1.0) * len(occupied) / len(coarse.counts)
    side = float(np.clip(math.sqrt(200 * area_m2 / len(x)), 8.0, 40.0))
    lattice = lattice_over(x, y, side)
    rich = np.flatnonzero(lattice.counts >= min(_MIN_PLANTS, lattice.counts.max()))
    chosen = rich[np.unique(np.linspace(0, len(rich) - 1, min(len(rich), _SURVEY_PATCHES)).round().astype(np.int64))]
    peaks = _peaks(x, y, weight, lattice, chosen, (config.min_spacing_m, config.max_spacing_m), 240)
    good = [(peaks[patch], int(lattice.counts[patch])) for patch in chosen]
    sure = [(peak.spacing_m, plants) for peak, plants in good if peak and peak.significant]
    if not sure:
        best = max((peak.power / peak.threshold for peak, _ in good if peak), default=0.0)
        return f"nowhere do plants repeat more than by chance (the best patch reaches {best:.0%} of what is needed)"
    spacings, plants = (np.array(values, float) for values in zip(*sure, strict=True))
    near = np.abs(np.log(spacings[:, None] / spacings)) < 0.12
    agreeing = near @ plants
    best_one = int(np.argmax(agreeing))
    share = agreeing[best_one] / sum(count for _, count in good)
    if share < _MIN_SHARE:
        return f"only {share:.0%} of the plants stand where parts of the field agree on a spacing"
    return float(np.average(spacings[near[best_one]], weights=plants[near[best_one]]))


def _peaks(
    x: Floats,
    y: Floats,
    weight: Floats,
    lattice: Lattice,
    chosen: NDArray[np.int64],
    band_m: tuple[float, float],
    headings: int,
) -> dict[int, Peak | None]:
    """Peaks of the chosen patches; spacings at which a row would hold fewer than three plants are left out."""
    peaks: dict[int, Peak | None] = {}
    for patch in chosen.tolist():
        index = lattice.plants(patch)
        peaks[patch] = None
        if len(index) < _MIN_PATCH:
            continue
        across = math.sqrt(max(np.ptp(x[index]) * np.ptp(y[index]), 1e-9))
        band = max(band_m[0], 3 * across / len(index)), band_m[1]
        peaks[patch] = find_peak(x[index], y[index], weight[index], band, headings)
    return peaks


def _phase(x: Floats, y: Floats, weight: Floats, spacing: float, config: RowConfig) -> tuple[Lattice, PhaseField]:
    """The second pass: patches that fit the spacing, and the phase over all of them."""
    coarse = lattice_over(x, y, 8.0)
    area_m2 = max(np.ptp(x) * np.ptp(y), 1.0) * np.count_nonzero(coarse.counts) / len(coarse.counts)
    side = max(16 * spacing, min(math.sqrt(100 * area_m2 / len(x)), 40 * spacing))
    lattice = lattice_over(x, y, side)
    band = max(spacing / 1.25, config.min_spacing_m), min(spacing * 1.25, config.max_spacing_m)
    found = _peaks(x, y, weight, lattice, np.arange(len(lattice.counts)), band, 120)
    peaks = [peak if peak and peak.significant else None for peak in found.values()]
    field = fit_phase(x, y, weight, lattice, peaks)
    return lattice, field.spread(lattice, x, y)
