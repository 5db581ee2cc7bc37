"""Algorithms `run` and `segment`: an ortho into a run directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFolderDestination,
    QgsProcessingUtils,
)

from geoseg_qgis.algorithms.base import advanced, say_project
from geoseg_qgis.algorithms.ortho import INPUTS, OrthoAlgorithm
from geoseg_qgis.core import commands, results
from geoseg_qgis.core.catalogue import machines, profiles

__all__ = ["RunAlgorithm", "SegmentAlgorithm"]


class SegmentAlgorithm(OrthoAlgorithm):
    """`geoseg segment`."""

    NAME, TITLE = "segment", "Segment soil, crop and weed"
    TAGS = ("classify", "classes")
    COMMAND = "segment"
    OUTPUTS: tuple[str, ...] = ("CLASSES", "CONFIDENCE", "FIELD_HA", "WEED_SHARE", "SUMMARY")
    HELP = (
        "The first step alone: the class of every pixel (soil 0, crop 1, weed 2, nodata 255) and how sure the model "
        'was of it.\n\nThe run directory that it makes is what "Prescription" takes. Started again with the same '
        "parameters after it was stopped, it goes on where it was."
    )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:  # noqa: N802, ARG002
        """Declare parameters and outputs."""
        self.add_ortho()
        self.add_choices()
        self.add_common(model=True)
        self.add_reading()
        self.addParameter(advanced(QgsProcessingParameterBoolean(
            "FRESH", "Discard what a former run left in the run directory", defaultValue=False, optional=True,
        )))  # fmt: skip
        self.addParameter(QgsProcessingParameterFolderDestination("OUTPUT", "Run directory"))
        self.add_results(self.OUTPUTS)

    def add_choices(self) -> None:
        """Declare what only one of the two has."""

    def more(self, parameters: dict[str, Any], context: QgsProcessingContext) -> list[str]:  # noqa: ARG002
        """Further words of the command."""
        return []

    def work(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Run it."""
        run = Path(self.parameterAsString(parameters, "OUTPUT", context))
        if Path(QgsProcessingUtils.tempFolder()) in run.parents:
            feedback.pushWarning(f"{run} is a temporary folder, gone when QGIS closes; choose another to keep the run")
        adapt = "ADAPT" in parameters and self.parameterAsBool(parameters, "ADAPT", context)
        words = commands.run(
            self.COMMAND, self.ortho_choice(parameters, context, run / INPUTS), str(run), adapt=adapt,
            fresh=self.parameterAsBool(parameters, "FRESH", context), more=self.more(parameters, context),
        )  # fmt: skip
        self.call(words, feedback, f"{self.COMMAND} --adapt" if adapt else self.COMMAND)
        say_project(run, feedback.pushInfo)
        return {"OUTPUT": str(run), **self.deliver(parameters, run, self.OUTPUTS, context)}


class RunAlgorithm(SegmentAlgorithm):
    """`geoseg run`."""

    NAME, TITLE = "run", "Run: from orthomosaic to prescription"
    TAGS = ("prescription", "orthomosaic", "plants", "rows")
    COMMAND = "run"
    OUTPUTS = (*results.RASTERS, *results.LAYERS, *results.RUN_FILES, *results.FIGURES)
    HELP = (
        "From a drone orthomosaic to class map, crop plants and rows, weed patches and a prescription for the "
        "sprayer, all in one run directory.\n\nStopped or failed, the same parameters with the same run directory go "
        "on where it was. In batch, give every orthomosaic a run directory of its own.\n\n"
        "Further parameters are those of the file formats page of geoseg, for example spray.buffer_m=1."
    )

    def add_choices(self) -> None:
        """Declare machine, terminals and adaptation."""
        self.addParameter(QgsProcessingParameterEnum(
            "MACHINE", "Sprayer (empty: sections and rate as configured)", list(machines()), optional=True,
            usesStaticStrings=True,
        ))  # fmt: skip
        self.addParameter(QgsProcessingParameterEnum(
            "PROFILES", "Terminals to write files for (empty: any that loads shapefiles)", list(profiles()),
            allowMultiple=True, optional=True, usesStaticStrings=True,
        ))  # fmt: skip
        self.addParameter(advanced(QgsProcessingParameterBoolean(
            "ADAPT", "First teach the model this field, from its crop rows", defaultValue=False, optional=True,
        )))  # fmt: skip

    def more(self, parameters: dict[str, Any], context: QgsProcessingContext) -> list[str]:
        """Machine and terminals."""
        machine = self.choices(parameters, "MACHINE", context)
        words = ["--set", f"spray.machine={machine[0]}"] if machine else []
        return [*words, *commands.profile_setting(self.choices(parameters, "PROFILES", context))]
