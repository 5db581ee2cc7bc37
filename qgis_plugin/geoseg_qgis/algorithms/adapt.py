"""Algorithms `adapt` and `check`: a model taught by a field's rows, and what a run of an ortho would need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterFolderDestination,
    QgsProcessingUtils,
)

from geoseg_qgis.algorithms.base import CONFIG, MODEL, SET
from geoseg_qgis.algorithms.ortho import OrthoAlgorithm
from geoseg_qgis.compat import VECTORS
from geoseg_qgis.core import commands
from geoseg_qgis.core.errors import InputError
from geoseg_qgis.inputs import write_copy

__all__ = ["AdaptAlgorithm", "CheckAlgorithm"]


def _scratch() -> Path:
    return Path(QgsProcessingUtils.generateTempFilename("inputs"))


class AdaptAlgorithm(OrthoAlgorithm):
    """`geoseg adapt`."""

    NAME, TITLE = "adapt", "Teach a model a field"
    TAGS = ("train", "model")
    HELP = (
        "Teaches a model the field of an orthomosaic from its own crop rows, without labels: what stands in a row is "
        'crop, green between the rows is weed. The result is a model folder for "Run" and "Segment".\n\nHints are '
        "points or polygons with a column class (crop, weed or soil), clicked in QGIS. It takes minutes to an hour."
    )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:  # noqa: N802, ARG002
        """Declare parameters and outputs."""
        self.add_ortho()
        self.addParameter(QgsProcessingParameterFeatureSource("HINTS", "Hints", [VECTORS], optional=True))
        self.add_common(model=True)
        self.addParameter(QgsProcessingParameterFolderDestination("OUTPUT", "Model folder"))

    def work(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Run it."""
        folder, out = _scratch(), Path(self.text(parameters, "OUTPUT", context))
        if out.is_dir() and not any(out.iterdir()):
            out.rmdir()  # Processing makes temporary folders itself; geoseg wants to make the model's
        hints = ""
        if parameters.get("HINTS") not in (None, ""):
            source = self.parameterAsSource(parameters, "HINTS", context)
            if source is None:
                raise InputError(self.invalidSourceError(parameters, "HINTS"))
            hints = write_copy(source, folder / "hints.gpkg", context, attributes=True)
        words = commands.adapt(
            self.ortho_file(parameters, context), str(out),
            self.vector_file(parameters, "BOUNDARY", context, folder, "boundary"),
            self.text(parameters, MODEL, context), hints, self.text(parameters, CONFIG, context),
            self.text(parameters, SET, context),
        )  # fmt: skip
        self.call(words, feedback, "adapt")
        return {"OUTPUT": str(out)}


class CheckAlgorithm(OrthoAlgorithm):
    """`geoseg check`."""

    NAME, TITLE = "check", "Check an orthomosaic"
    TAGS = ("preflight", "resolution")
    HELP = "What an orthomosaic is, whether it fits the model, and how much time, memory and disk a run needs."

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:  # noqa: N802, ARG002
        """Declare parameters."""
        self.add_ortho()
        self.add_common(model=True)
        self.add_reading()

    def work(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Run it."""
        self.call(commands.check(self.ortho_choice(parameters, context, _scratch())), feedback)
        return {}
