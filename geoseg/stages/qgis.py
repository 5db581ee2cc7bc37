"""Stage `qgis`: what the run holds -> field.qgz, a style beside each raster."""

from __future__ import annotations

from geoseg.durable import write_file
from geoseg.results import CLASSES, CONFIDENCE, PREVIEW, PROJECT
from geoseg.rundir import RunDirectory

__all__ = ["qgis_stage"]

_BUILDS_ON = ("segment", "vectorize", "rows", "prescribe")
_VERSION = 1
"""Another number makes the project of a finished run anew."""


def qgis_stage(directory: RunDirectory) -> None:
    """Write the project from what the run holds already."""
    done = {name: directory.key(name) for name in _BUILDS_ON if directory.facts(name)}
    with directory.stage("qgis", {"version": _VERSION} | done) as stage:
        if stage.done:
            return
        from geoseg.qgis.fieldstyles import CLASSES_STYLE, CONFIDENCE_STYLE
        from geoseg.stages.maplayers import preview_style
        from geoseg.stages.project import build_project

        styles = {CLASSES: CLASSES_STYLE, CONFIDENCE: CONFIDENCE_STYLE, PREVIEW: preview_style(directory)}
        found = {name: style for name, style in styles.items() if (directory / name).is_file()}
        files = {f"{name.removesuffix('.tif')}.qml": style.qml().encode() for name, style in found.items()}
        files[PROJECT] = build_project(directory).packed(PROJECT.removesuffix(".qgz"))
        stage.outputs += [write_file(directory / name, content) for name, content in files.items()]
