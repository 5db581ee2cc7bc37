"""What was found in a prescription file, whatever its format: polygons with rates, facts and findings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from geoseg.export.rategrid import RateGrid

__all__ = ["Finding", "Readback"]


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.

    Attributes:
        code: Short name of the fault, the same for every file.
        severity: An ``error`` could cause a wrong dose or a refused file; a ``warning`` is worth knowing.
        message: One line with what was found and what was expected.
    """

    code: str
    severity: Literal["error", "warning"]
    message: str


@dataclass
class Readback:
    """What a reader got out of a file. Readers fill it in as far as they come; the comparison goes on from there.

    Attributes:
        format: Name of the format.
        facts: What there is to say about the file, by name.
        findings: Faults, in the order found.
        polygons: (n,) polygons, or None where nothing could be read.
        rates: (n,) rate of each in l/ha, NaN where there is none.
        zones: (n,) zone numbers, or None.
        crs: CRS of the polygons, anything that pyproj takes.
        grid: Rates on a grid instead of polygons.
        any_crs: Whether the format is for programs that take any CRS.
        merged: Whether all ground of one rate is one polygon.
    """

    format: str
    facts: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    polygons: NDArray[Any] | None = None
    rates: NDArray[np.float64] | None = None
    zones: NDArray[np.int64] | None = None
    crs: Any = None
    grid: RateGrid | None = None
    any_crs: bool = False
    merged: bool = False

    def add(self, code: str, severity: Literal["error", "warning"], message: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(code, severity, message))

    def error(self, code: str, message: str) -> None:
        """Add a finding that makes the file unfit."""
        self.add(code, "error", message)

    def warn(self, code: str, message: str) -> None:
        """Add a finding that is worth knowing."""
        self.add(code, "warning", message)
