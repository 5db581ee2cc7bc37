"""QGIS plugin: geoseg as Processing algorithms, run in an environment of its own. Imports nothing until QGIS asks."""

from __future__ import annotations

from typing import Any

__all__ = ["classFactory"]


def classFactory(iface: Any) -> Any:  # noqa: N802 - QGIS looks for this name
    """The plugin; QGIS calls this."""
    from geoseg_qgis.plugin import GeosegPlugin

    return GeosegPlugin(iface)
