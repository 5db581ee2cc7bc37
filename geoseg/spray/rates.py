"""How the rate follows the weeds: full or nothing, by steps, or by zones. Knows values per cell, no raster and no file.

Rates below the full one are not offered unless a person asks for them by name (`allow_reduced_rates`): weeds that
survive a low dose pass on what let them survive (Neve and Powles 2005, Heredity 95, 485). They are meant for products
whose label gives a range.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import PrescriptionError
from geoseg.spray.breaks import distinct, natural_breaks, quantile_breaks

__all__ = ["MAX_RATE_L_HA", "RateConfig", "breaks_of", "offered_rates", "within"]

MAX_RATE_L_HA = 5000.0
"""Highest rate taken as meant: five times the largest carrier volumes in use, and far inside every file's range."""

_MAX_CLASSES = 9
_MAX_STEPS = 100


@dataclass(frozen=True)
class RateConfig:
    """How the rate follows the weeds. The YAML section ``spray.rates``.

    Attributes:
        rule: ``spot``: the full rate or nothing; ``stepped``: a rate from each given value on; ``zones``: the field in
            classes of similar value, a rate for each.
        by: The value: ``cover``, weed cover of the cell (0 to 1), or ``plants``, weed plants per square metre.
        steps: Stepped: pairs of a value and the rate from there on, ascending; they take the place of the thresholds.
        classes: Zones: number of classes.
        method: Zones: cut by ``quantile`` (equal areas), ``jenks`` (natural breaks) or at the ``given`` breaks.
        breaks: Zones, given: the lower limit of every class but the first, ascending.
        class_rates: Zones: the rate of each class in litres per hectare, lowest class first.
        over_m: Zones: the value of a cell is that of the square of this side around it; 0: of the cell alone.
        min_zone_m2: Zones: smaller ones join the neighbour with which they share the longest border.
        allow_reduced_rates: Permit rates above 0 and below the full rate, which select for resistant weeds.
        step_l_ha: Rates are rounded up to a multiple of this; 0: as they are.
        min_l_ha: Lowest rate above 0 that the machine can do.
        max_l_ha: Highest rate that it can do; None: no limit.
        below_min: Rates between 0 and the lowest go ``up`` to it or ``down`` to 0.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    rule: Literal["spot", "stepped", "zones"] = "spot"
    by: Literal["cover", "plants"] = "cover"
    steps: tuple[tuple[float, float], ...] = ()
    classes: int = 3
    method: Literal["quantile", "jenks", "given"] = "jenks"
    breaks: tuple[float, ...] = ()
    class_rates: tuple[float, ...] = ()
    over_m: float = 0.0
    min_zone_m2: float = 0.0
    allow_reduced_rates: bool = False
    step_l_ha: float = 0.0
    min_l_ha: float = 0.0
    max_l_ha: float | None = None
    below_min: Literal["up", "down"] = "up"

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            PrescriptionError: With the field's name, its value and what is expected.
        """
        for name, words in _WORDS.items():
            if getattr(self, name) not in words:
                raise PrescriptionError(f"spray.rates.{name} is {getattr(self, name)!r}; expected {' or '.join(words)}")
        within("spray.rates.over_m", self.over_m, 0, 1000, "a side in metres")
        within("spray.rates.min_zone_m2", self.min_zone_m2, 0, 1e6, "an area in square metres")
        within("spray.rates.step_l_ha", self.step_l_ha, 0, MAX_RATE_L_HA, "litres per hectare")
        within("spray.rates.min_l_ha", self.min_l_ha, 0, MAX_RATE_L_HA, "litres per hectare")
        if self.max_l_ha is not None:
            within("spray.rates.max_l_ha", self.max_l_ha, self.min_l_ha, MAX_RATE_L_HA, "litres per hectare")
        if self.rule == "stepped":
            self._check_steps()
        if self.rule == "zones":
            self._check_zones()

    def _check_steps(self) -> None:
        values = [value for value, _ in self.steps]
        if not 1 <= len(values) <= _MAX_STEPS or values != sorted(set(values)) or not _usable(values):
            raise PrescriptionError(
                f"spray.rates.steps is {[list(step) for step in self.steps]}; expected 1 to {_MAX_STEPS} pairs of a "
                "value and a rate, values ascending, such as [[0.002, 150], [0.02, 200]]"
            )

    def _check_zones(self) -> None:
        count = len(self.breaks) + 1 if self.method == "given" else self.classes
        if not 2 <= count <= _MAX_CLASSES:
            raise PrescriptionError(f"spray.rates: {count} classes; expected 2 to {_MAX_CLASSES}")
        if list(self.breaks) != sorted(set(self.breaks)) or not _usable(self.breaks):
            raise PrescriptionError(f"spray.rates.breaks is {list(self.breaks)}; expected values that ascend")
        if len(self.class_rates) != count:
            raise PrescriptionError(
                f"spray.rates.class_rates is {list(self.class_rates)}; expected {count} rates, one for each class"
            )

    def check(self, full_l_ha: float) -> None:
        """Refuse rates above the full one, and lower ones unless they are asked for.

        Args:
            full_l_ha: The full rate.

        Raises:
            PrescriptionError: With the rate, and what to do.
        """
        for rate in self.given_rates():
            if not math.isfinite(rate) or rate < 0 or rate > full_l_ha:
                raise PrescriptionError(
                    f"spray.rates: {rate:g} l/ha; expected 0 to the full rate of {full_l_ha:g} l/ha (spray.rate_l_ha)"
                )
        rates = [self.possible(rate) for rate in (*self.given_rates(), full_l_ha)]
        if max(rates) > full_l_ha * (1 + 1e-9):
            raise PrescriptionError(
                f"spray.rates: the machine's steps and limits raise a rate to {max(rates):g} l/ha, above the full rate "
                f"of {full_l_ha:g} l/ha; change step_l_ha or min_l_ha, or spray.rate_l_ha"
            )
        if rates[-1] == 0:
            raise PrescriptionError(
                f"spray.rates: the machine's limits leave nothing of the full rate of {full_l_ha:g} l/ha; change "
                "min_l_ha or below_min"
            )
        too_low = [rate for rate in rates if 0 < rate < full_l_ha]
        if too_low and not self.allow_reduced_rates:
            raise PrescriptionError(
                f"spray.rates: {too_low[0]:g} l/ha is below the full rate of {full_l_ha:g} l/ha, and low doses select "
                "for resistant weeds; use 0 or the full rate, or set spray.rates.allow_reduced_rates: true if the "
                "product's label permits it"
            )

    def given_rates(self) -> tuple[float, ...]:
        """The rates that the rule names, in its order."""
        if self.rule == "stepped":
            return tuple(rate for _, rate in self.steps)
        return self.class_rates if self.rule == "zones" else ()

    def possible(self, rate_l_ha: float) -> float:
        """The rate that the machine can do: rounded up to its step, between its limits, or 0.

        Args:
            rate_l_ha: The rate that is wanted.
        """
        if rate_l_ha <= 0:
            return 0.0
        rate = rate_l_ha
        if self.step_l_ha > 0:
            rate = math.ceil(rate / self.step_l_ha - 1e-9) * self.step_l_ha
        if rate < self.min_l_ha:
            rate = self.min_l_ha if self.below_min == "up" else 0.0
        return rate if self.max_l_ha is None else min(rate, self.max_l_ha)


_WORDS = {
    "rule": ("spot", "stepped", "zones"),
    "by": ("cover", "plants"),
    "method": ("quantile", "jenks", "given"),
    "below_min": ("up", "down"),
}


def offered_rates(config: RateConfig, full_l_ha: float) -> tuple[float, ...]:
    """All rates that a cell may get, ascending: 0, those of the rule, and the full one.

    Args:
        config: The rule.
        full_l_ha: The full rate.
    """
    return tuple(sorted({0.0, *(config.possible(rate) for rate in (*config.given_rates(), full_l_ha))}))


def breaks_of(config: RateConfig, values: NDArray[Any], weights: NDArray[Any]) -> NDArray[np.float64]:
    """The lower limits of all classes of zones but the first.

    Args:
        config: The rule.
        values: (n,) the value of each cell.
        weights: (n,) its area.

    Raises:
        PrescriptionError: If the values cannot be told apart in so many classes.
    """
    if config.method == "given":
        return np.array(config.breaks)
    levels, mass = distinct(values.astype(np.float64), weights.astype(np.float64))
    cut = natural_breaks if config.method == "jenks" else quantile_breaks
    return cut(levels, mass, config.classes)


def within(name: str, value: float, low: float, high: float, what: str, *, open_low: bool = False) -> None:
    """Refuse a value outside its range.

    Args:
        name: Key of the value.
        value: The value.
        low: Smallest that is taken.
        high: Largest that is taken.
        what: What it should be, in words.
        open_low: Whether it must be more than `low`.

    Raises:
        PrescriptionError: With the key, the value and what is expected.
    """
    if not math.isfinite(value) or not low <= value <= high or (open_low and value == low):
        bounds = f"{'more than' if open_low else 'from'} {low:g} {'and at most' if open_low else 'to'} {high:g}"
        raise PrescriptionError(f"{name} is {value:g}; expected {what}, {bounds}")


def _usable(values: Any) -> bool:
    return all(math.isfinite(value) and value >= 0 for value in values)
