"""A plan made to fit what a terminal takes: as it is, or as little coarser as will do. Never less treated, never cut.

Too many rates are raised to fewer. Where there are too many polygons, vertices or bytes, gaps between treated spots
are closed or cells made larger, whichever takes less liquid; a grid with too many bytes takes larger cells. What no
coarser plan can mend is an error.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from geoseg.errors import PrescriptionError
from geoseg.export.coarsen import Loss, closed_gaps, fewer_rates, larger_cells, loss_between
from geoseg.export.limits import excess, refuse_name
from geoseg.export.planned import Planned
from geoseg.export.profiles import Profile

__all__ = ["Fitted", "Maker", "fit"]

Maker = Callable[[Planned, Profile, str], dict[str, bytes]]
"""Writes a format: the files by name."""

_FEWEST_CELLS = 16


@dataclass(frozen=True)
class Fitted:
    """A plan that a terminal takes.

    Attributes:
        plan: It, as planned or coarser.
        files: Its files.
        reason: What did not hold; empty where all did.
        loss: What being coarser costs; None where nothing was changed, or where a grid has yet to be measured.
    """

    plan: Planned
    files: dict[str, bytes]
    reason: str = ""
    loss: Loss | None = None


def fit(plan: Planned, profile: Profile, name: str, make: Maker) -> Fitted:
    """The plan and its files within the limits of a profile.

    Raises:
        PrescriptionError: If the name, the field or a rate does not suit the terminal at all.
    """
    refuse_name(profile, name)
    _refuse_field(plan, profile)
    rated, reasons, details = plan, [], []
    most_rates = profile.limit("rates")
    if most_rates is not None and len(plan.rates) > most_rates:
        reasons.append(str(excess(plan, profile)))
        rated = fewer_rates(plan, most_rates)
        details.append("rates are raised to the next one that is kept")
    attempt = _fit_grid if "cells" in profile.limits else _fit_zones
    found = attempt(rated, profile, name, make)
    if found.reason:
        reasons.append(found.reason)
    if found.detail:
        details.append(found.detail)
    if found.plan is plan:  # nothing changed, or only a grid: what its cells cost is measured in the file
        return Fitted(plan, found.files, "; ".join(reasons))
    loss = loss_between(plan, found.plan, "; ".join(reasons), "; ".join(details))
    return Fitted(found.plan, found.files, loss.reason, loss)


@dataclass(frozen=True)
class _Attempt:
    """A plan and its files, what did not hold before, and what was done."""

    plan: Planned
    files: dict[str, bytes]
    reason: str = ""
    detail: str = ""


def _refuse_field(plan: Planned, profile: Profile) -> None:
    most, area = profile.limit("area_ha"), plan.totals.field_ha
    if most is not None and area > most:
        raise PrescriptionError(f"the field has {area:.1f} ha; {profile.title} takes {most}; cut the field in parts")


def _fit_grid(plan: Planned, profile: Profile, name: str, make: Maker) -> _Attempt:
    """Fewer cells until the bytes hold; the limit of cells itself is kept by the grid."""
    files, most, reason = make(plan, profile, name), profile.limit("bytes"), ""
    cells = profile.limit("cells")
    while most is not None and (size := _size(files)) > most:
        reason = reason or str(excess(plan, profile, size))
        held = cells if cells is not None else size
        cells = int(min(held, size) * most / size * 0.9)
        if cells < _FEWEST_CELLS:
            raise PrescriptionError(f"{reason}, which holds no grid of this field; choose another profile")
        limit = dataclasses.replace(profile.limits["cells"], value=cells)
        files = make(plan, dataclasses.replace(profile, limits=profile.limits | {"cells": limit}), name)
    return _Attempt(plan, files, reason=reason)


def _fit_zones(plan: Planned, profile: Profile, name: str, make: Maker) -> _Attempt:
    """The plan as it is, or of two ways to make it coarser the one that takes less liquid."""
    files, reason = _made(plan, profile, name, make)
    if not reason:
        return _Attempt(plan, files)
    width, length = plan.config.cell_m
    found = []
    for coarser in (closed_gaps, larger_cells):
        attempt, size = _least(plan, coarser, lambda one: _made(one, profile, name, make))
        if attempt is None:
            continue
        if coarser is closed_gaps:
            detail = f"gaps of up to {size * max(width, length):g} m between treated spots are sprayed"
        else:
            detail = f"cells are {(size + 1) * width:g} x {(size + 1) * length:g} m, each with its highest rate"
        found.append(_Attempt(*attempt, reason, detail))
    if not found:
        raise PrescriptionError(f"{reason}, and no coarser prescription has less; choose another profile")
    return min(found, key=lambda one: one.plan.totals.litres)


def _least(
    plan: Planned, coarser: Callable[[Planned, int], Planned], made: Callable[[Planned], tuple[dict[str, bytes], str]]
) -> tuple[tuple[Planned, dict[str, bytes]] | None, int]:
    """The least coarse plan with which everything holds, found by doubling and halving; None where there is none."""
    low, high, found = 0, 1, None
    while found is None:
        found = _attempt(coarser(plan, high), made)
        if found is None:
            if high > max(plan.box.shape):
                return None, 0
            low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        better = _attempt(coarser(plan, middle), made)
        if better is None:
            low = middle
        else:
            high, found = middle, better
    return found, high


def _attempt(
    plan: Planned, made: Callable[[Planned], tuple[dict[str, bytes], str]]
) -> tuple[Planned, dict[str, bytes]] | None:
    files, too_much = made(plan)
    return None if too_much else (plan, files)


def _made(plan: Planned, profile: Profile, name: str, make: Maker) -> tuple[dict[str, bytes], str]:
    """The files and what is too much; no files where that is known without them."""
    if found := excess(plan, profile):
        return {}, found
    files = make(plan, profile, name)
    return files, excess(plan, profile, _size(files)) or ""


def _size(files: dict[str, bytes]) -> int:
    return sum(map(len, files.values()))
