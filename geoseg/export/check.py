"""Read a prescription back and say whether it is what was planned. Knows which reader takes which file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.errors import CheckError, PrescriptionError
from geoseg.export.compare import compare
from geoseg.export.compare_grid import compare_grid
from geoseg.export.csvtable import read_csv
from geoseg.export.dji_reader import compare_outline, is_outline, read_dji, read_outline
from geoseg.export.geojson import read_geojson
from geoseg.export.isoxml_reader import read_isoxml
from geoseg.export.readback import Finding, Readback
from geoseg.export.shapefile_reader import read_shapefile
from geoseg.export.zipped import read_zip

if TYPE_CHECKING:
    import geopandas as gpd

    from geoseg.spray.prescription import Prescription

__all__ = ["CheckReport", "FileReport", "check", "is_prescription", "read"]

_READERS: dict[str, Callable[[Path, str | None], Readback]] = {
    ".shp": read_shapefile,
    ".csv": read_csv,
    ".geojson": read_geojson,
    ".tif": lambda path, _: read_dji(path),
    ".zip": read_zip,
}
_TASKDATA = "taskdata.xml"


@dataclass(frozen=True)
class FileReport:
    """What was found in one file.

    Attributes:
        path: The file, relative to what was checked.
        format: Its format.
        facts: What it holds, by name.
        findings: What is not as it should be.
    """

    path: str
    format: str
    facts: dict[str, Any]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class CheckReport:
    """What was found in a folder of prescription files.

    Attributes:
        files: One report for each.
    """

    files: tuple[FileReport, ...]

    @property
    def errors(self) -> tuple[str, ...]:
        """All errors, one line each: file, code and message."""
        return tuple(
            f"{file.path}: {finding.code}: {finding.message}"
            for file in self.files
            for finding in file.findings
            if finding.severity == "error"
        )

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of all errors."""
        return tuple(f.code for file in self.files for f in file.findings if f.severity == "error")

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.errors

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        return {
            "ok": self.ok,
            "files": [
                {
                    "path": file.path,
                    "format": file.format,
                    "facts": file.facts,
                    "findings": [vars(finding) for finding in file.findings],
                }
                for file in self.files
            ],
        }

    def lines(self) -> Iterator[str]:
        """The report for people, line by line."""
        for file in self.files:
            yield f"{file.path} ({file.format})"
            for name, value in file.facts.items():
                yield f"  {name:<32} {_plain(value)}"
            for finding in file.findings:
                yield f"  {finding.severity.upper()} {finding.code}: {finding.message}"
        yield "OK: the files read back as planned" if self.ok else f"{len(self.errors)} errors"


def check(
    path: Path | str,
    prescription: Prescription | None = None,
    boundary: gpd.GeoSeries | None = None,
    *,
    rate_column: str | None = None,
    strict: bool = True,
) -> CheckReport:
    """Read prescription files back and compare them with the plan, as far as one is given.

    Args:
        path: A ``.shp``, ``.csv``, ``.geojson``, ``.tif``, ``.zip`` or ``TASKDATA.XML`` file, or a folder in which all
            are looked for.
        prescription: The plan. Without it only the file itself is looked at.
        boundary: The field with its CRS, where there is no plan.
        rate_column: Column with the rates; None: found by its name.
        strict: Raise if anything is wrong; otherwise the report says so.

    Raises:
        PrescriptionError: If there is nothing to check.
        CheckError: If `strict` and a file is not as planned or unfit; the message names every fault.
    """
    path = Path(path)
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    files = [file for file in files if is_prescription(file)]
    if not files:
        kinds = " or ".join((*_READERS, _TASKDATA.upper()))
        raise PrescriptionError(f"no prescription at {path}; expected a {kinds} file or a folder that holds one")
    reports = []
    for file in files:
        found = read(file, rate_column)
        if is_outline(file):
            compare_outline(found, prescription)
            reports.append(_report(file.relative_to(path) if path.is_dir() else Path(file.name), found))
            continue
        compare(found, prescription, boundary)
        compare_grid(found, prescription, boundary)
        if prescription is not None and found.grid is None and found.rates is None and not _has_errors(found):
            found.error("no-rate", "there are no rates in l/ha to compare with the plan")
        reports.append(_report(file.relative_to(path) if path.is_dir() else Path(file.name), found))
    report = CheckReport(tuple(reports))
    if strict and not report.ok:
        raise CheckError(f"{path} does not read back as planned: {'; '.join(report.errors)}")
    return report


def read(path: Path, rate_column: str | None = None) -> Readback:
    """What a prescription file holds, with its faults as findings.

    Args:
        path: A file of a kind that is known.
        rate_column: Column with the rates; None: found by its name.

    Raises:
        PrescriptionError: If the kind of file is not known.
    """
    reader = _reader(path)
    if reader is None:
        raise PrescriptionError(f"{path.name} is no prescription; expected {', '.join((*_READERS, _TASKDATA.upper()))}")
    return reader(path, rate_column)


def is_prescription(path: Path) -> bool:
    """Whether a file is one that `read` knows."""
    return path.is_file() and _reader(path) is not None


def _reader(path: Path) -> Callable[[Path, str | None], Readback] | None:
    if path.suffix.lower() == ".shp" and is_outline(path):
        return lambda file, _: read_outline(file)
    if path.suffix.lower() == ".tif" and not (path.parent.name.lower() == "rx" or path.with_suffix(".tfw").is_file()):
        return None  # any other raster, such as the class map
    if path.name.lower() == _TASKDATA:
        return lambda file, _: read_isoxml(file)  # rates have a dictionary number, no column
    return _READERS.get(path.suffix.lower())


def _has_errors(found: Readback) -> bool:
    return any(finding.severity == "error" for finding in found.findings)


def _report(path: Path, found: Readback) -> FileReport:
    return FileReport(path.as_posix(), found.format, found.facts, tuple(found.findings))


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        shown = ", ".join(_plain(item) for item in value[:12])
        return f"{shown}, ... ({len(value)})" if len(value) > 12 else shown
    return str(value)
