"""The one setting, the geoseg program, kept where Processing's own options page shows it; and geoseg as it is found."""

from __future__ import annotations

import os
from pathlib import Path

from qgis.core import QgsApplication, QgsSettings

from geoseg_qgis.core.locate import Geoseg, find

__all__ = ["SETTING", "executable", "find_geoseg", "prefix", "set_executable"]

SETTING = "GEOSEG_EXECUTABLE"
_KEY = f"Processing/Configuration/{SETTING}"


def executable() -> str:
    """What the person has chosen; empty if nothing."""
    return str(QgsSettings().value(_KEY, "") or "")


def set_executable(path: str) -> None:
    """Keep a choice, also on the options page of Processing when that is loaded."""
    QgsSettings().setValue(_KEY, path)
    try:
        from processing.core.ProcessingConfig import ProcessingConfig
    except ImportError:
        return
    if SETTING in ProcessingConfig.settings:
        ProcessingConfig.settings[SETTING].value = path


def prefix() -> str:
    """The folder that QGIS is installed in."""
    return str(QgsApplication.prefixPath())


def find_geoseg() -> Geoseg:
    """The geoseg that the algorithms use.

    Raises:
        GeosegNotFoundError: If there is none.
    """
    return find(os.environ, executable(), Path.home())
