"""What lies in a run directory, as Processing hands it on: files, layers and figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geoseg_qgis.core.errors import FailedError

__all__ = ["FIGURES", "LAYERS", "RASTERS", "RUN_FILES", "figures", "layers_of", "outputs"]

RASTERS = {"CLASSES": ("classes.tif", "Classes"), "CONFIDENCE": ("confidence.tif", "Confidence")}
"""Output to file and title."""
LAYERS = {
    "BOUNDARY": ("boundary", "Field boundary"),
    "PLANTS": ("plants", "Crop plants"),
    "ROWS": ("rows", "Crop rows"),
    "GAPS": ("gaps", "Gaps in the rows"),
    "WEEDS": ("weeds", "Weed patches"),
    "PRESCRIPTION": ("prescription", "Prescription"),
}
"""Output to layer of ``field.gpkg`` and title."""
RUN_FILES = {
    "QUICKLOOK": ("quicklook.png", "Picture of the field"),
    "REPORT": ("report.html", "Report"),
    "PROJECT": ("field.qgz", "QGIS project of the run"),
    "SUMMARY": ("summary.json", "Answers as JSON"),
}
"""Output to file and title; given where the file is there."""
FIGURES = {
    "FIELD_HA": ("Field, hectares", ("field_ha",)),
    "WEED_SHARE": ("Weed cover, share of the area seen", ("classes", "weed", "share")),
    "CROP_PLANTS": ("Crop plants", ("plants", "plants", "kept")),
    "TREATED_HA": ("Sprayed, hectares", ("prescription", "treated_ha")),
    "LITRES": ("Spray volume, litres", ("prescription", "litres")),
    "SAVED_PERCENT": ("Saved against the whole field, percent", ("prescription", "saved_percent")),
}
"""Output to title and the keys that lead to it in ``summary.json``."""
_PACKAGE = "field.gpkg"


def layers_of(run: Path) -> set[str]:
    """Names of the layers in the run directory's GeoPackage."""
    import sqlite3
    from contextlib import closing

    if not (run / _PACKAGE).is_file():
        return set()
    address = f"{(run / _PACKAGE).resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True)) as package:
        return {row[0] for row in package.execute("SELECT table_name FROM gpkg_contents")}


def outputs(run: Path, names: Mapping[str, Any]) -> dict[str, str | None]:
    """The outputs of `names` that are files or layers: where they are, or None where the run has none."""
    there = layers_of(run)
    found: dict[str, str | None] = {}
    for name in names:
        if name in LAYERS:
            layer = LAYERS[name][0]
            found[name] = f"{run / _PACKAGE}|layername={layer}" if layer in there else None
        elif name in RASTERS or name in RUN_FILES:
            path = run / {**RASTERS, **RUN_FILES}[name][0]
            found[name] = str(path) if path.is_file() else None
    return found


def figures(run: Path) -> dict[str, float | None]:
    """The figures of ``summary.json``; None for what was not computed.

    Raises:
        FailedError: If the file is missing or broken.
    """
    path = run / "summary.json"
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FailedError(f"{path} cannot be read: {error}") from error
    return {name: _at(summary, keys) for name, (_, keys) in FIGURES.items()}


def _at(document: Any, keys: tuple[str, ...]) -> float | None:
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return float(document) if isinstance(document, (int, float)) else None
