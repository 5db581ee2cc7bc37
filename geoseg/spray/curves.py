"""How savings and missed weeds change with the threshold and with the width of sections: the figures to choose by."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from shapely import MultiPolygon, Polygon

from geoseg.errors import PrescriptionError
from geoseg.spray.machine import Machine
from geoseg.spray.rules import Seen, decide
from geoseg.spray.settings import SprayConfig, resolved
from geoseg.spray.simulate import Driven, Ground, SimulationTotals, drive, lay_ground, sum_up
from geoseg.spray.survey import Survey, survey
from geoseg.spray.valves import Runs

__all__ = ["MAP_THRESHOLDS", "Simulation", "map_curve", "over_sections", "over_thresholds", "simulate"]

MAP_THRESHOLDS = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)

Surveyor = Callable[[SprayConfig], Survey]


@dataclass(frozen=True, eq=False)
class Simulation:
    """A map and what a machine makes of it.

    Attributes:
        survey: The field in cells.
        machine: The machine.
        ground: The field in the machine's frame.
        driven: What was sprayed where.
        runs: The runs of liquid along each track.
        totals: What it adds up to.
    """

    survey: Survey
    machine: Machine
    ground: Ground
    driven: Driven
    runs: Runs
    totals: SimulationTotals


def simulate(
    classes: Path | str,
    boundary: Polygon | MultiPolygon,
    config: SprayConfig,
    *,
    package: Path | str | None = None,
    rows_heading_deg: float | None = None,
    offset_m: float = 0.0,
) -> tuple[Simulation, Surveyor]:
    """Plan a field and drive the machine over it.

    Args:
        classes: Class raster as `geoseg segment` writes it.
        boundary: The field in the raster's CRS.
        config: The rule; names the machine.
        package: ``field.gpkg`` of the run; None: plants are not counted.
        rows_heading_deg: Heading of the crop rows from grid north, if they were found.
        offset_m: How far the machine drives to the right of where the map expects it, metres.

    Returns:
        The simulation, and a function that surveys the same field for another configuration.

    Raises:
        PrescriptionError: If no machine is named, or the map cannot be made.
    """

    def look(other: SprayConfig) -> Survey:
        return survey(classes, boundary, other, package=package, rows_heading_deg=rows_heading_deg)

    found = look(config)
    if found.machine is None:
        raise PrescriptionError("no machine is named; give spray.machine, such as boom_24m_sections")
    ground = _ground(classes, found, found.machine, offset_m)
    return _driven(found, found.machine, ground), look


def map_curve(config: SprayConfig, seen: Seen, thresholds: Iterable[float] = MAP_THRESHOLDS) -> list[dict[str, float]]:
    """What the map alone would treat and miss with each threshold of weed cover; no machine drives it.

    Args:
        config: The rule, with all that the machine fills in.
        seen: What is known of each cell.
        thresholds: Shares of weed cover, 0 to 1; that of the rule is added.

    Returns:
        By rising threshold ``threshold_cover``, ``treated_ha``, ``litres``, ``saved_percent``, ``missed_weed_ha`` and
        ``weed_ha``; none for a rule that has no threshold of cover.
    """
    if config.rates.rule != "spot" or config.threshold_plants_m2 is not None:
        return []
    cell_ha = config.cell_m[0] * config.cell_m[1] / 1e4
    pixel_ha = seen.pixel_area_m2 / 1e4
    broadcast = float(seen.share.sum(dtype=np.float64)) * cell_ha * config.rate_l_ha
    rows = []
    for threshold in sorted({*thresholds, config.threshold_cover}):
        decision = decide(dataclasses.replace(config, threshold_cover=threshold), seen)
        area = seen.share * np.float64(cell_ha)
        litres = float((area * decision.rate_grid()).sum())
        rows.append(
            {
                "threshold_cover": threshold,
                "treated_ha": float(area[decision.treated].sum()),
                "litres": litres,
                "saved_percent": 100 * (1 - litres / broadcast) if broadcast else 0.0,
                "missed_weed_ha": float(seen.weed[~decision.treated].sum()) * pixel_ha,
                "weed_ha": float(seen.weed.sum()) * pixel_ha,
            }
        )
    return rows


def over_thresholds(simulation: Simulation, thresholds: Iterable[float]) -> Iterator[dict[str, Any]]:
    """The totals for each threshold of weed cover, the same machine and buffer.

    Args:
        simulation: The field and the machine; its rule must be ``spot``.
        thresholds: Shares of weed cover, 0 to 1.

    Yields:
        ``threshold_cover`` and the fields of `SimulationTotals`.

    Raises:
        PrescriptionError: If the rule has no threshold.
    """
    found = simulation.survey
    if found.config.rates.rule != "spot":
        raise PrescriptionError(f"the rule {found.config.rates.rule!r} has no threshold; expected spot")
    for threshold in sorted(set(thresholds)):
        config = dataclasses.replace(found.config, threshold_cover=threshold)
        one = _driven(dataclasses.replace(found, config=config), simulation.machine, simulation.ground)
        yield {"threshold_cover": threshold} | dataclasses.asdict(one.totals)


def over_sections(
    classes: Path | str, config: SprayConfig, look: Surveyor, widths_m: Iterable[float]
) -> Iterator[dict[str, Any]]:
    """The totals for each width of sections, with a map made for it.

    Args:
        classes: Class raster.
        config: The rule; names the machine.
        look: Surveys the field, from `simulate`.
        widths_m: Widths of a section, metres. Cells are as long as the machine's, or as given.

    Yields:
        ``section_m`` and the fields of `SimulationTotals`.
    """
    length = resolved(config)[0].cell_m[1]
    for width in sorted(set(widths_m)):
        found = look(dataclasses.replace(config, section_m=width, length_m=length))
        if found.machine is None:
            raise PrescriptionError("no machine is named; give spray.machine, such as boom_24m_sections")
        one = _driven(found, found.machine, _ground(classes, found, found.machine, 0.0))
        yield {"section_m": width} | dataclasses.asdict(one.totals)


def _ground(classes: Path | str, found: Survey, machine: Machine, offset_m: float) -> Ground:
    return lay_ground(classes, found.box, found.boundary, machine, excluded=found.exclusions, offset_m=offset_m)


def _driven(found: Survey, machine: Machine, ground: Ground) -> Simulation:
    rates = decide(found.config, found.seen).rate_grid()
    driven, runs = drive(rates, found.box, ground, machine)
    totals = sum_up(driven, runs, ground, machine, found.config.rate_l_ha)
    return Simulation(found, machine, ground, driven, runs, totals)
