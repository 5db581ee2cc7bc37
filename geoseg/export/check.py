"""Read a prescription back and say whether it is what was planned, and whether a terminal takes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from geoseg.errors import CheckError, PrescriptionError
from geoseg.export.compare import compare
from geoseg.export.compare_grid import compare_grid
from geoseg.export.detect import detect
from geoseg.export.limits import check_limits
from geoseg.export.outline import compare_outline, is_outline
from geoseg.export.profiles import Profile, read_profile
from geoseg.export.readback import Finding, Readback
from geoseg.export.readers import KINDS, is_prescription, read
from geoseg.export.zipped import unpack

if TYPE_CHECKING:
    import geopandas as gpd

    from geoseg.export.planned import Planned

__all__ = ["CheckReport", "FileReport", "check"]


@dataclass(frozen=True)
class FileReport:
    """What was found in one file.

    Attributes:
        path: The file, relative to what was checked.
        format: Its format.
        facts: What it holds, by name.
        findings: What is not as it should be.
        profile: Terminal whose limits were looked at; None where it is not known.
        limits: What it takes and what there is, by name of the limit.
    """

    path: str
    format: str
    facts: dict[str, Any]
    findings: tuple[Finding, ...]
    profile: str | None = None
    limits: dict[str, dict[str, Any]] = field(default_factory=dict)


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
                    "profile": file.profile,
                    "limits": file.limits,
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
            yield f"  {'profile':<32} {file.profile or 'not known'}"
            for name, limit in file.limits.items():
                yield f"  {f'limit of {name}':<32} {limit['found']:,.10g} of {limit['most']:,} [{limit['evidence']}]"
            for name, value in file.facts.items():
                yield f"  {name:<32} {_plain(value)}"
            for finding in file.findings:
                yield f"  {finding.severity.upper()} {finding.code}: {finding.message}"
        warnings = sum(finding.severity == "warning" for file in self.files for finding in file.findings)
        yield f"{'OK' if self.ok else 'NOT OK'}: {len(self.errors)} errors, {warnings} warnings"


def check(
    path: Path | str,
    prescription: Planned | None = None,
    boundary: gpd.GeoSeries | None = None,
    *,
    rate_column: str | None = None,
    strict: bool = True,
    profile: Profile | str | None = None,
) -> CheckReport:
    """Read prescription files back and compare them with the plan and a terminal's limits, as far as they are given.

    Args:
        path: A file of a prescription, a zip, or a folder in which all are looked for.
        prescription: The plan, as `geoseg.export.write` returns it. Without it only the file itself is looked at.
        boundary: The field with its CRS, where there is no plan.
        rate_column: Column with the rates; None: found by its name.
        strict: Raise if anything is wrong; otherwise the report says so.
        profile: The terminal, or its name; None: as README.txt says, or guessed, and then limits are only warnings.

    Raises:
        PrescriptionError: If there is nothing to check.
        CheckError: If `strict` and a file is not as planned or unfit; the message names every fault.
    """
    path = Path(path)
    terminal = read_profile(profile) if isinstance(profile, str) else profile
    inside = path.is_dir()
    files = [file for file in sorted(path.rglob("*")) if _counts(file)] if inside else [path] if path.is_file() else []
    if not files:
        raise PrescriptionError(f"no prescription at {path}; expected {', '.join(KINDS)} or a folder that holds one")
    reports = []
    with ExitStack() as stack:
        for file in files:
            label = file.relative_to(path) if inside else Path(file.name)
            if file.suffix.lower() == ".zip":
                found = _read_zip(file, rate_column, Path(stack.enter_context(TemporaryDirectory())))
            else:
                found = [(Path(), file, read(file, rate_column))]
            for within, source, one in found:
                top, packed = path if inside else path.parent, None if source == file else file
                against = _Against(prescription, boundary, terminal, top, packed)
                reports.append(_report(label / within, source, one, against))
    report = CheckReport(tuple(reports))
    if strict and not report.ok:
        raise CheckError(f"{path} does not read back as planned: {'; '.join(report.errors)}")
    return report


@dataclass(frozen=True)
class _Against:
    """What a file is compared with."""

    prescription: Planned | None
    boundary: gpd.GeoSeries | None
    profile: Profile | None
    top: Path
    packed: Path | None


def _counts(path: Path) -> bool:
    return path.is_file() and (path.suffix.lower() == ".zip" or is_prescription(path))


def _read_zip(path: Path, rate_column: str | None, folder: Path) -> list[tuple[Path, Path, Readback]]:
    """Each prescription in a zip: its name in it, where it was unpacked, and what it holds."""
    refused = unpack(path, folder)
    files = [file for file in sorted(folder.rglob("*")) if is_prescription(file)]
    if not files and not refused.findings:
        refused.error("zip-content", f"the zip holds no prescription; expected {', '.join(KINDS)} in it")
    if refused.findings:
        return [(Path(), path, refused)]
    found = []
    for file in files:
        one, within = read(file, rate_column), file.relative_to(folder)
        if one.format == "shapefile" and within.parent.name not in ("", "Rx"):
            one.warn("zip-folders", f"{within.name} lies in the folder {within.parent}; most clouds want none")
        one.format += " in a zip"
        found.append((within, file, one))
    return found


def _report(label: Path, source: Path, found: Readback, against: _Against) -> FileReport:
    plan = against.prescription
    if is_outline(source):
        compare_outline(found, plan)
    else:
        compare(found, plan, against.boundary)
        compare_grid(found, plan, against.boundary)
        errors = any(finding.severity == "error" for finding in found.findings)
        if plan is not None and found.grid is None and found.rates is None and not errors:
            found.error("no-rate", "there are no rates in l/ha to compare with the plan")
    profile, sure = (against.profile, True) if against.profile else detect(found, source, against.top, against.packed)
    limits = {}
    if profile is not None and not is_outline(source):
        severity: Literal["error", "warning"] = "error" if sure else "warning"
        limits = check_limits(found, source, profile, severity, against.packed)
    name = profile.name if profile else None
    return FileReport(label.as_posix(), found.format, found.facts, tuple(found.findings), name, limits)


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        shown = ", ".join(_plain(item) for item in value[:12])
        return f"{shown}, ... ({len(value)})" if len(value) > 12 else shown
    return str(value)
