"""What a person says about the machine and the rule: the YAML section ``spray``. Decides nothing."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from geoseg.errors import PrescriptionError
from geoseg.spray.machine import Machine, machine_text, read_machine
from geoseg.spray.rates import MAX_RATE_L_HA, RateConfig, within

__all__ = ["SprayConfig", "file_hashes", "resolved"]

_RANGES: dict[str, tuple[float, float, str]] = {
    "rate_l_ha": (0, MAX_RATE_L_HA, "a rate in litres per hectare"),
    "dose_per_ha": (0, 1e4, "an amount of product per hectare"),
    "section_m": (0.01, 100, "a section width in metres"),
    "length_m": (0.01, 100, "a cell length in metres"),
    "heading_deg": (0, 360, "degrees clockwise from grid north"),
    "threshold_cover": (0, 1, "a share of the valid pixels; 0.01 is one percent"),
    "threshold_over_m2": (0, 1e4, "an area in square metres"),
    "threshold_plants_m2": (0, 1e4, "weed plants per square metre"),
    "buffer_m": (0, 100, "a distance in metres"),
    "min_spot_m2": (0, 1e4, "an area in square metres"),
    "min_gap_m": (0, 100, "a distance in metres"),
    "min_seen": (0, 1, "a share of the cell"),
    "headland_m": (0, 1000, "a width in metres"),
    "headland_passes": (0, 20, "a number of passes"),
    "exclusion_buffer_m": (0, 1000, "a distance in metres"),
}
_MORE_THAN_LOW = {"rate_l_ha", "dose_per_ha", "threshold_over_m2", "threshold_plants_m2"}
_WORDS = {"unseen": ("spray", "skip"), "holes": ("keep", "split"), "positioning": ("rtk", "sbas")}


@dataclass(frozen=True)
class SprayConfig:
    """How the field is sprayed. The YAML section ``spray``.

    Attributes:
        machine: Name of a shipped machine or path of a machine file; it fills in what is not given here.
        positioning: How well the machine knows where it is: ``rtk`` or ``sbas``; chooses the machine's buffer.
        rate_l_ha: Full rate of the spray liquid, litres per hectare; what the label asks for.
        dose_per_ha: Product per hectare at the full rate, in `dose_unit`; None: not known.
        dose_unit: Unit of the product, for the totals.
        section_m: Width of a section (or of a nozzle's band), metres: the cell across the track; None: the machine's,
            or 0.5 without a machine.
        length_m: Cell along the track, metres; None: the machine's, or the section width but at least 0.5.
        heading_deg: Driving direction, degrees clockwise from the grid north of the working CRS; None: along the AB
            line, else along the crop rows where most plants stand in rows of one direction, else along the longest
            side of the field.
        ab_points: Two points on the AB line: longitude and latitude of A, longitude and latitude of B, degrees.
        ab_line: File with the AB line: GeoPackage, shapefile, GeoJSON, KML, or ``TASKDATA.XML`` with a guidance line.
        threshold_cover: A cell triggers when weeds are at least this share of its valid pixels; 0: any weed pixel. The
            default is one seedling of 2.5 cm in a cell of half a metre.
        threshold_over_m2: In larger cells, the share of an area this large is enough, so that a wide section never
            overlooks the weeds for which a narrow one would open; None: always the share of the whole cell.
        threshold_plants_m2: A cell triggers also when it has this many weed plants per square metre; None: cover alone.
        buffer_m: Every cell nearer than this to a triggered cell is treated as well, metres. 0 adds nothing. None: the
            machine's for the positioning in use, or 0.5 without a machine.
        min_spot_m2: Treated spots smaller than this are dropped, square metres; after the buffer.
        min_gap_m: Gaps along the track shorter than this are sprayed through, metres; None: what the machine's
            valves need, or 0 without a machine.
        unseen: What happens to cells that the camera did not see: ``spray`` at the full rate or ``skip``.
        min_seen: A cell without a trigger counts as unseen when less than this share of it has valid pixels.
        headland_m: Ground nearer than this to the field's edge is sprayed at the full rate, metres.
        headland_passes: The same, in widths of the machine; the wider of the two counts.
        exclusions: Polygon file of ground that is never sprayed (water, paths); a cell that it touches has rate 0.
        exclusion_buffer_m: Ground nearer than this to an exclusion is not sprayed either, metres.
        holes: Whether zones ``keep`` their holes or are ``split`` into more zones without any, for old terminals.
        rates: How the rate follows the weeds.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    machine: str | None = None
    positioning: Literal["rtk", "sbas"] = "rtk"
    rate_l_ha: float = 200.0
    dose_per_ha: float | None = None
    dose_unit: str = "l"
    section_m: float | None = None
    length_m: float | None = None
    heading_deg: float | None = None
    ab_points: tuple[float, float, float, float] | None = None
    ab_line: str | None = None
    threshold_cover: float = 0.002
    threshold_over_m2: float | None = 0.25
    threshold_plants_m2: float | None = None
    buffer_m: float | None = None
    min_spot_m2: float = 0.0
    min_gap_m: float | None = None
    unseen: Literal["spray", "skip"] = "spray"
    min_seen: float = 0.5
    headland_m: float = 0.0
    headland_passes: int = 0
    exclusions: str | None = None
    exclusion_buffer_m: float = 0.0
    holes: Literal["keep", "split"] = "keep"
    rates: RateConfig = field(default_factory=RateConfig)

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            PrescriptionError: With the field's name, its value and what is expected.
        """
        for name, (low, high, what) in _RANGES.items():
            value = getattr(self, name)
            if value is not None:
                within(f"spray.{name}", value, low, high, what, open_low=name in _MORE_THAN_LOW)
        for name, words in _WORDS.items():
            if getattr(self, name) not in words:
                raise PrescriptionError(f"spray.{name} is {getattr(self, name)!r}; expected {' or '.join(words)}")
        if self.ab_points is not None and not _two_places(self.ab_points):
            raise PrescriptionError(
                f"spray.ab_points is {list(self.ab_points)}; expected longitude and latitude of two different points, "
                "such as [9.1, 48.5, 9.2, 48.6]"
            )
        self.rates.check(self.rate_l_ha)

    @property
    def cell_m(self) -> tuple[float, float]:
        """(width across the track, length along it) of a cell in metres, as far as it is known without the machine."""
        width = 0.5 if self.section_m is None else self.section_m
        return width, max(width, 0.5) if self.length_m is None else self.length_m


def resolved(config: SprayConfig) -> tuple[SprayConfig, Machine | None]:
    """The configuration with everything filled in that the machine knows, and the machine.

    Args:
        config: As a person gave it; what it says wins over the machine.

    Raises:
        PrescriptionError: If the machine cannot be read, or the two do not fit.
    """
    if config.machine is None:
        if config.headland_passes:
            raise PrescriptionError(
                f"spray.headland_passes is {config.headland_passes}, but no machine is named; give spray.machine, or "
                "spray.headland_m in metres"
            )
        return dataclasses.replace(
            config,
            section_m=config.cell_m[0],
            length_m=config.cell_m[1],
            buffer_m=0.5 if config.buffer_m is None else config.buffer_m,
            min_gap_m=config.min_gap_m or 0.0,
        ), None
    machine = read_machine(config.machine)
    section = machine.section_m if config.section_m is None else config.section_m
    length = config.length_m or (machine.length_m if config.section_m is None else None) or max(section, 0.5)
    full = dataclasses.replace(
        config,
        section_m=section,
        length_m=length,
        buffer_m=machine.buffer_m[config.positioning] if config.buffer_m is None else config.buffer_m,
        min_gap_m=machine.shortest_gap_m if config.min_gap_m is None else config.min_gap_m,
        headland_m=max(config.headland_m, config.headland_passes * machine.width_m),
    )
    return full, machine.with_sections(section)


def file_hashes(config: SprayConfig) -> dict[str, str]:
    """What the files hold that the configuration names, so that a change in one of them is seen.

    Args:
        config: The configuration.

    Raises:
        PrescriptionError: If the machine does not exist.
    """
    texts: dict[str, bytes] = {}
    if config.machine is not None:
        texts["machine"] = machine_text(config.machine).encode()
    for name in ("ab_line", "exclusions"):
        if (path := getattr(config, name)) is not None:
            beside = sorted(file for file in Path(path).parent.glob("*") if file.stem == Path(path).stem)
            texts[name] = b"".join(file.read_bytes() for file in beside if file.is_file())  # a shapefile is several
    return {name: hashlib.sha256(text).hexdigest() for name, text in texts.items()}


def _two_places(points: tuple[float, ...]) -> bool:
    inside = all(math.isfinite(value) for value in points) and all(abs(lon) <= 180 for lon in points[::2])
    return inside and all(abs(lat) <= 90 for lat in points[1::2]) and points[:2] != points[2:]
