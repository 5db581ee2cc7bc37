"""The table of terminals: what each accepts and how well that is known. Reads ``profiles.yaml`` and writes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Literal

from geoseg.errors import PrescriptionError

__all__ = ["EVIDENCE", "LIMITS", "Column", "Limit", "Profile", "profile_names", "read_profile"]

LIMITS = {
    "name_chars": "characters of the files' base name",
    "rates": "different rates, rate 0 included",
    "polygons": "polygons",
    "vertices": "vertices of one polygon",
    "bytes": "bytes of all files together",
    "cells": "rows times columns of a grid",
    "area_ha": "hectares of the field",
}
"""What a limit counts."""

EVIDENCE = {
    "V": "vendor's own text",
    "D": "real vendor or farm-system file",
    "C": "source code of the reader",
    "P": "third party's text",
    "T": "tested with independent readers",
    "I": "inference",
}


@dataclass(frozen=True)
class Column:
    """An attribute of the written polygons.

    Attributes:
        name: ASCII, at most 10 characters.
        kind: What is written: a number of the plan (``rate``, ``zone``, ``area_m2``), the number 0 for a product that
            is not used (``zero``), or text: the zone's name (``label``), the rate's colour (``colour``), ``fixed``.
        unit: Unit, for the README; the file holds none.
        width: Characters of the DBF field.
        decimals: Those after the point.
        text: What a column of kind ``fixed`` holds.
    """

    name: str
    kind: Literal["rate", "zone", "area_m2", "zero", "label", "colour", "fixed"]
    unit: str
    width: int
    decimals: int = 0
    text: str = ""

    @property
    def source(self) -> str:
        """The column of the plan's zones that is written."""
        return {"rate": "rate_l_ha", "zone": "zone", "area_m2": "area_m2"}[self.kind]

    @property
    def is_text(self) -> bool:
        """Whether it holds text."""
        return self.kind in ("label", "colour", "fixed")


@dataclass(frozen=True)
class Limit:
    """A limit and how well it is known.

    Attributes:
        value: The largest that is accepted; None where there is none or none is known.
        evidence: One of `EVIDENCE`.
        source: Where it comes from.
    """

    value: int | None
    evidence: str
    source: str


@dataclass(frozen=True)
class Profile:
    """A terminal.

    Attributes:
        name: Key in the table, and name of the folder in the run directory.
        title: For people.
        format: Name of the module in `geoseg.export` that writes it.
        folders: Where the files lie below the export folder; a copy in each.
        columns: Attributes in order.
        limits: By name, see `LIMITS`.
        steps: How to load it.
        options: What else the writer of the format wants to know.
        experimental: What is not known about it and could spoil the result; empty where files of it are understood.
    """

    name: str
    title: str
    format: str
    folders: tuple[str, ...]
    columns: tuple[Column, ...]
    limits: dict[str, Limit]
    steps: tuple[str, ...]
    options: dict[str, str] = field(default_factory=dict)
    experimental: str = ""

    def limit(self, name: str) -> int | None:
        """The value of a limit; None where there is none."""
        found = self.limits.get(name)
        return None if found is None else found.value


def profile_names() -> tuple[str, ...]:
    """The names of all profiles, in the order of the table."""
    return tuple(_table())


def read_profile(name: str) -> Profile:
    """A profile by its name.

    Raises:
        PrescriptionError: If there is none of that name; the message lists those that exist.
    """
    table = _table()
    if name not in table:
        raise PrescriptionError(f"no export profile {name!r}; the profiles are {', '.join(table)}")
    return table[name]


@cache
def _table() -> dict[str, Profile]:
    import yaml

    text = resources.files("geoseg.export").joinpath("profiles.yaml").read_text(encoding="utf-8")
    return {name: _profile(name, row) for name, row in yaml.safe_load(text).items()}


def _profile(name: str, row: dict[str, Any]) -> Profile:
    return Profile(
        name=name,
        title=row["title"],
        format=row["format"],
        folders=tuple(row["folders"]),
        columns=tuple(Column(**column) for column in row["columns"]),
        limits={key: Limit(**limit) for key, limit in row["limits"].items()},
        steps=tuple(row["steps"]),
        options={key: str(value) for key, value in row.get("options", {}).items()},
        experimental=row.get("experimental", ""),
    )
