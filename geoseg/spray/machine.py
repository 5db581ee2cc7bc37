"""Machines: what a boom, a spot sprayer or a spray drone can switch, how fast, and how it errs. Knows no map.

A machine is a YAML file; those that come with geoseg lie in ``geoseg/spray/machines``, inside the package, because the
wheel carries nothing else and a machine must be found by its name wherever geoseg is installed. Copy one, change it,
and name it by its path. Every value has an evidence mark beside it: these are examples, not data sheets.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from geoseg.errors import PrescriptionError

__all__ = ["Machine", "machine_names", "read_machine"]

_SUFFIX = ".yaml"


@dataclass(frozen=True)
class Machine:
    """A machine. All values that the valves depend on are times; distances follow from the speed.

    Attributes:
        title: For people.
        kind: ``boom``, ``spot`` (every nozzle alone) or ``drone``.
        width_m: Width of a pass: the boom, or the drone's swath, metres.
        section_m: Width of what can be switched alone, a section or a nozzle's band, metres.
        length_m: Cell of the map along the track, metres.
        speed_km_h: Speed at work, kilometres per hour.
        lead_s: How long before the mapped ground begins the terminal switches on, seconds.
        lead_m: The same as a distance, metres; both add up.
        lag_s: How long after the mapped ground ends it switches off, seconds.
        lag_m: The same as a distance, metres; both add up.
        open_s: From the command until liquid reaches the ground, seconds; what the terminal does not make up for.
        close_s: From the command until none does, seconds; the same.
        min_run_m: Shortest stretch that is sprayed; the terminal holds a shorter command for as long, metres.
        buffer_m: Safety margin around weeds for each kind of positioning, metres.
        tank_l: What the tank holds, litres.
        residual_l: What stays in tank and lines and cannot be sprayed evenly, litres.
        evidence: How well each value is known, by its name.
    """

    title: str
    kind: Literal["boom", "spot", "drone"]
    width_m: float
    section_m: float
    length_m: float
    speed_km_h: float
    min_run_m: float
    buffer_m: dict[str, float]
    tank_l: float
    lead_s: float = 0.0
    lead_m: float = 0.0
    lag_s: float = 0.0
    lag_m: float = 0.0
    open_s: float = 0.0
    close_s: float = 0.0
    residual_l: float = 0.0
    evidence: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            PrescriptionError: With the field's name, its value and what is expected.
        """
        for name, (low, high, open_low) in _RANGES.items():
            value = getattr(self, name)
            if not _number(value) or not low <= value <= high or (open_low and value == low):
                bounds = f"{'more than' if open_low else 'from'} {low:g} {'and at most' if open_low else 'to'} {high:g}"
                raise PrescriptionError(f"machine {self.title!r}: {name} is {value!r}; expected a number {bounds}")
        if self.kind not in _KINDS:
            raise PrescriptionError(f"machine {self.title!r}: kind is {self.kind!r}; expected {' or '.join(_KINDS)}")
        margins: Any = self.buffer_m
        if not isinstance(margins, dict) or set(margins) != {"rtk", "sbas"}:
            raise PrescriptionError(
                f"machine {self.title!r}: buffer_m is {self.buffer_m!r}; expected metres for rtk and for sbas"
            )
        for name, value in self.buffer_m.items():
            if not _number(value) or not 0 <= value <= 100:
                raise PrescriptionError(f"machine {self.title!r}: buffer_m.{name} is {value!r}; expected 0 to 100 m")
        count = self.width_m / self.section_m
        if abs(count - round(count)) > 1e-6 or round(count) < 1:
            raise PrescriptionError(
                f"machine {self.title!r}: a width of {self.width_m:g} m is no whole number of sections of "
                f"{self.section_m:g} m; change one of them"
            )

    @property
    def speed_m_s(self) -> float:
        """Speed at work, metres per second."""
        return self.speed_km_h / 3.6

    @property
    def sections(self) -> int:
        """How many sections or nozzles there are."""
        return round(self.width_m / self.section_m)

    @property
    def lead_total_m(self) -> float:
        """How far before the mapped ground the terminal switches on, metres."""
        return self.lead_m + self.lead_s * self.speed_m_s

    @property
    def lag_total_m(self) -> float:
        """How far behind the mapped ground it switches off, metres."""
        return self.lag_m + self.lag_s * self.speed_m_s

    @property
    def open_m(self) -> float:
        """How far the machine drives from the command until it sprays, metres."""
        return self.open_s * self.speed_m_s

    @property
    def close_m(self) -> float:
        """How far it drives from the command until it no longer sprays, metres."""
        return self.close_s * self.speed_m_s

    @property
    def shortest_gap_m(self) -> float:
        """The shortest gap that it can leave: the valves close and open again, and no run is shorter than a minimum."""
        return max(self.min_run_m, self.open_m + self.close_m)

    def with_sections(self, section_m: float) -> Machine:
        """The same machine with other sections; its width becomes the next whole number of them.

        Args:
            section_m: Width of a section, metres.
        """
        if section_m == self.section_m:
            return self
        count = math.ceil(self.width_m / section_m - 1e-6)
        return dataclasses.replace(self, section_m=section_m, width_m=count * section_m)


_KINDS = ("boom", "spot", "drone")
_RANGES: dict[str, tuple[float, float, bool]] = {
    "width_m": (0, 100, True),
    "section_m": (0, 100, True),
    "length_m": (0, 100, True),
    "speed_km_h": (0, 100, True),
    "min_run_m": (0, 100, False),
    "tank_l": (0, 50_000, True),
    "lead_s": (0, 10, False),
    "lead_m": (0, 50, False),
    "lag_s": (0, 10, False),
    "lag_m": (0, 50, False),
    "open_s": (0, 10, False),
    "close_s": (0, 10, False),
    "residual_l": (0, 5_000, False),
}


def machine_names() -> tuple[str, ...]:
    """The names of the machines that come with geoseg, sorted."""
    files = (place.name for place in resources.files("geoseg.spray").joinpath("machines").iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in files if name.endswith(_SUFFIX)))


def read_machine(name: str | Path) -> Machine:
    """A machine by its name or from its file.

    Args:
        name: One of `machine_names`, or the path of a YAML file.

    Raises:
        PrescriptionError: If there is none, or its file cannot be understood; the message names the key.
    """
    return _machine(machine_text(name), str(name))


def machine_text(name: str | Path) -> str:
    """The text of a machine's file.

    Args:
        name: One of `machine_names`, or the path of a YAML file.

    Raises:
        PrescriptionError: If there is none.
    """
    if str(name) in machine_names():
        return resources.files("geoseg.spray").joinpath("machines", f"{name}{_SUFFIX}").read_text(encoding="utf-8")
    path = Path(name)
    if not path.is_file():
        known = ", ".join(machine_names())
        raise PrescriptionError(f"no machine {str(name)!r}; expected the path of a YAML file or one of {known}")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PrescriptionError(f"the machine {name} cannot be read: {error}") from error


def _machine(text: str, name: str) -> Machine:
    import yaml

    try:
        row = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise PrescriptionError(f"the machine {name} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(row, dict):
        raise PrescriptionError(f"the machine {name} holds a {type(row).__name__}; expected keys such as width_m")
    fields = {entry.name: entry for entry in dataclasses.fields(Machine)}
    if unknown := [str(key) for key in row if key not in fields]:
        raise PrescriptionError(f"the machine {name} has the key {unknown[0]!r}; expected {', '.join(fields)}")
    needed = [key for key, entry in fields.items() if _no_default(entry)]
    if missing := [key for key in needed if key not in row]:
        raise PrescriptionError(f"the machine {name} lacks {', '.join(missing)}; add it")
    return Machine(**row)


def _no_default(entry: dataclasses.Field[Any]) -> bool:
    return entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
