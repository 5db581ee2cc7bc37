"""One thing that was looked at, how grave it is, and what to do about it: what check and doctor are made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding", "Level", "worst"]

Level = Literal["ok", "note", "warning", "error"]
_ORDER: tuple[Level, ...] = ("ok", "note", "warning", "error")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: "ok", "note" (good to know), "warning" (results may suffer), "error" (a run would stop).
        topic: What was looked at, one or two words.
        text: What was found.
        remedy: What to do about it; empty if nothing.
    """

    level: Level
    topic: str
    text: str
    remedy: str = ""


def worst(findings: Iterable[Finding]) -> Level:
    """The gravest level; "ok" where there is nothing.

    >>> worst([Finding("note", "overviews", "none"), Finding("ok", "size", "small")])
    'note'
    """
    return max((finding.level for finding in findings), key=_ORDER.index, default="ok")
