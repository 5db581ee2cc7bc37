"""Algorithm `prescribe`: another prescription from a run directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputFolder,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterFile,
    QgsProcessingParameterNumber,
)

from geoseg_qgis.algorithms.base import CONFIG, SET, GeosegAlgorithm, say_project
from geoseg_qgis.algorithms.ortho import INPUTS
from geoseg_qgis.compat import LINES, POLYGONS
from geoseg_qgis.core import commands
from geoseg_qgis.core.catalogue import machines, profiles
from geoseg_qgis.core.errors import InputError

__all__ = ["PrescribeAlgorithm"]

OUTPUTS = (
    "BOUNDARY", "PLANTS", "ROWS", "WEEDS", "PRESCRIPTION", "QUICKLOOK", "REPORT", "PROJECT", "SUMMARY", "FIELD_HA",
    "CROP_PLANTS", "TREATED_HA", "LITRES", "SAVED_PERCENT",
)  # fmt: skip


class PrescribeAlgorithm(GeosegAlgorithm):
    """`geoseg prescribe`."""

    NAME, TITLE, GROUP = "prescribe", "Prescription from a run directory", "Field"
    TAGS = ("prescription", "sprayer", "rate")
    HELP = (
        "Makes the prescription of a run directory, with another sprayer, rate or rule than the first time if you "
        "like; the class map stays. Plants and weed patches are made first where they are missing, so it also takes "
        'what "Segment" has made.\n\nThe prescription that was there is replaced.'
    )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:  # noqa: N802, ARG002
        """Declare parameters and outputs."""
        folder, double = QgsProcessingParameterFile.Behavior.Folder, QgsProcessingParameterNumber.Type.Double
        self.addParameter(QgsProcessingParameterFile("RUN", "Run directory", behavior=folder))
        self.addParameter(QgsProcessingParameterEnum(
            "MACHINE", "Sprayer", list(machines()), optional=True, usesStaticStrings=True,
        ))  # fmt: skip
        self.addParameter(QgsProcessingParameterFile(
            "MACHINE_FILE", "Or the file of your own sprayer", optional=True, fileFilter="YAML (*.yaml *.yml)",
        ))  # fmt: skip
        for name, title, highest in (
            ("RATE", "Full rate, litres per hectare", 10_000.0),
            ("SECTION", "Width of a section or nozzle, metres", 100.0),
            ("HEADING", "Driving direction, degrees from north (empty: the rows)", 360.0),
        ):
            self.addParameter(
                QgsProcessingParameterNumber(name, title, double, optional=True, minValue=0.0, maxValue=highest)
            )
        self.addParameter(QgsProcessingParameterFeatureSource("AB_LINE", "AB line", [LINES], optional=True))
        self.addParameter(QgsProcessingParameterFeatureSource(
            "EXCLUDE", "Ground that is never sprayed", [POLYGONS], optional=True,
        ))  # fmt: skip
        self.addParameter(QgsProcessingParameterEnum(
            "PROFILES", "Terminals to write files for (empty: any that loads shapefiles)", list(profiles()),
            allowMultiple=True, optional=True, usesStaticStrings=True,
        ))  # fmt: skip
        self.add_common(model=False)
        self.addOutput(QgsProcessingOutputFolder("OUTPUT", "Run directory"))
        self.addOutput(QgsProcessingOutputFolder("FILES", "Folder of the files for terminals"))
        self.add_results(OUTPUTS)

    def shortHelpString(self) -> str:  # noqa: N802
        """The text beside the form, with the sprayers."""
        return f"{self.HELP}\n\n" + "\n".join(f"{name}: {title}" for name, title in machines().items())

    def work(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Run it."""
        run = Path(self.text(parameters, "RUN", context))
        if not (run / "run.json").is_file():
            raise InputError(f"{run} is no run directory; choose the folder that Run or Segment has made")
        words = commands.prescribe(str(run), self._choice(parameters, context, run))
        self.call(words, feedback, "prescribe")
        say_project(run, feedback.pushInfo)
        found = self.deliver(parameters, run, OUTPUTS, context)
        return {"OUTPUT": str(run), "FILES": str(run / "prescription"), **found}

    def _choice(self, parameters: dict[str, Any], context: QgsProcessingContext, run: Path) -> commands.SprayChoice:
        machine, file = self.choices(parameters, "MACHINE", context), self.text(parameters, "MACHINE_FILE", context)
        if machine and file:
            raise InputError(f"both the sprayer {machine[0]} and the file {file} are given; choose one")
        folder = run / INPUTS
        return commands.SprayChoice(
            machine=machine[0] if machine else file,
            heading_deg=self.number(parameters, "HEADING", context),
            rate_l_ha=self.number(parameters, "RATE", context),
            section_m=self.number(parameters, "SECTION", context),
            ab_line=self.vector_file(parameters, "AB_LINE", context, folder, "ab_line"),
            exclude=self.vector_file(parameters, "EXCLUDE", context, folder, "exclude"),
            profiles=self.choices(parameters, "PROFILES", context),
            config=self.text(parameters, CONFIG, context),
            settings=self.text(parameters, SET, context),
        )
