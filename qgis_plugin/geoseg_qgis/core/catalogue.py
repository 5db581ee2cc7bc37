"""The machines and terminals to choose from, as geoseg has them; ``build.py`` writes the list, a test compares it."""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["machines", "profiles"]

_FILE = Path(__file__).with_name("catalogue.json")


def _table(name: str) -> dict[str, str]:
    table: dict[str, str] = json.loads(_FILE.read_text(encoding="utf-8"))[name]
    return table


def machines() -> dict[str, str]:
    """Name to title of the machines that come with geoseg."""
    return _table("machines")


def profiles() -> dict[str, str]:
    """Name to title of the terminals that geoseg writes files for."""
    return _table("profiles")
