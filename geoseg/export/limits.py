"""Limits of a terminal against a plan before it is written, and against files that were read. Knows no format."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.durable import usable_name
from geoseg.errors import PrescriptionError
from geoseg.export.planned import Planned
from geoseg.export.profiles import LIMITS, Profile
from geoseg.export.readback import Readback

__all__ = ["check_limits", "excess", "refuse_name"]

_SIDECARS = (".shp", ".shx", ".dbf", ".prj", ".cpg", ".tif", ".tfw")
_TASKDATA = "TASKDATA"


def refuse_name(profile: Profile, name: str) -> None:
    """Refuse a base name that the terminal might not read; it cannot be shortened without a person's choice.

    Raises:
        PrescriptionError: If it is too long, holds other characters than ASCII capitals, digits and _, or is reserved.
    """
    most = profile.limit("name_chars") or 8
    if not (_fit_for_all(name) and len(name) <= most):
        raise PrescriptionError(
            f"the file name {name!r} does not suit {profile.title}; expected at most {most} ASCII capitals, digits or _"
        )
    if usable_name(name) != name:
        raise PrescriptionError(f"{name!r} is the name of a device on Windows, not of a file; choose another --name")


def excess(plan: Planned, profile: Profile, size: int | None = None) -> str | None:
    """What of the plan is more than the terminal takes, in words; None where all is well.

    Args:
        plan: What shall be written.
        profile: For whom.
        size: Bytes of all files, where they are known.
    """
    found = {"rates": len(plan.rates), "bytes": size}
    if not _is_grid(profile):
        found |= {"polygons": len(plan.zones), "vertices": _most_vertices(np.asarray(plan.zones.geometry.values))}
    for name, amount in found.items():
        most = profile.limit(name)
        if most is not None and amount is not None and amount > most:
            return f"{amount:,} {LIMITS[name]}; {profile.title} takes {most:,}"
    return None


def check_limits(
    found: Readback, path: Path, profile: Profile, severity: Literal["error", "warning"], packed: Path | None = None
) -> dict[str, dict[str, Any]]:
    """Add a finding for each limit of a terminal that files do not keep; returns limits with what there is.

    Args:
        found: What was read and compared.
        path: The file that was read.
        profile: For whom it is meant to be.
        severity: ``error`` where it is known to be for this terminal, ``warning`` where that is a guess.
        packed: The zip that it was in.
    """
    limits = {}
    for name, amount in _amounts(found, path, packed).items():
        most = profile.limit(name)
        if most is None:
            continue
        limit = profile.limits[name]
        limits[name] = {"found": amount, "most": most, "evidence": limit.evidence, "source": limit.source}
        if amount > most:
            message = f"{amount:,.6g} {LIMITS[name]}; {profile.title} takes {most:,} [{limit.evidence}: {limit.source}]"
            found.add(f"limit-{name.replace('_', '-')}", severity, message)
    if not path.stem.isascii() or not path.stem.replace("_", "").replace("-", "").isalnum():
        found.warn("limit-name", f"the file name {path.stem!r} holds more than ASCII letters, digits, _ and -")
    _check_columns(found, profile, severity)
    return limits


def _amounts(found: Readback, path: Path, packed: Path | None) -> dict[str, float]:
    """What there is of everything that a limit counts."""
    amounts: dict[str, float] = {
        "bytes": sum(file.stat().st_size for file in ([packed] if packed else _together(path)))
    }
    name = found.facts.get("task") if path.stem.upper() == _TASKDATA else path.stem.removesuffix("_Prescription")
    if name is not None:
        amounts["name_chars"] = len(name)
    if found.polygons is not None:
        amounts |= {"polygons": len(found.polygons), "vertices": _most_vertices(found.polygons)}
    if found.grid is not None:
        amounts["cells"] = found.grid.rates.size
    if "rates_l_ha" in found.facts:
        amounts["rates"] = len(found.facts["rates_l_ha"])
    if "field_ha" in found.facts:
        amounts["area_ha"] = found.facts["field_ha"]
    return amounts


def _check_columns(found: Readback, profile: Profile, severity: Literal["error", "warning"]) -> None:
    """Whether a table has the columns of a terminal that wants exactly those, in their order."""
    if profile.options.get("columns") != "exact" or "columns" not in found.facts:
        return
    names = [str(column).split()[0] for column in found.facts["columns"]]
    wanted = [column.name for column in profile.columns]
    if names != wanted:
        found.add("limit-columns", severity, f"the columns are {', '.join(names)}; {profile.title} takes {wanted}")


def _together(path: Path) -> list[Path]:
    """The file and those that belong to it."""
    if path.stem.upper() == _TASKDATA and path.suffix.lower() == ".xml":
        return [path, *(file for file in path.parent.iterdir() if file.suffix.lower() == ".bin")]
    if path.suffix.lower() not in _SIDECARS:
        return [path]
    return [file for file in path.parent.iterdir() if file.stem == path.stem and file.suffix.lower() in _SIDECARS]


def _is_grid(profile: Profile) -> bool:
    return "cells" in profile.limits


def _fit_for_all(name: str) -> bool:
    return name.isascii() and name.replace("_", "").isalnum() and name.isupper()


def _most_vertices(polygons: NDArray[Any]) -> int:
    return int(shapely.get_num_coordinates(polygons).max(initial=0))
