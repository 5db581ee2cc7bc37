"""Algorithm `export`: the prescription of a run directory for further terminals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFile,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterString,
)

from geoseg_qgis.algorithms.base import GeosegAlgorithm
from geoseg_qgis.core import commands
from geoseg_qgis.core.catalogue import profiles

__all__ = ["ExportAlgorithm"]


class ExportAlgorithm(GeosegAlgorithm):
    """`geoseg export write`."""

    NAME, TITLE, GROUP = "export", "Export a prescription for terminals", "Field"
    TAGS = ("isoxml", "isobus", "shapefile", "terminal", "dji")
    HELP = (
        "Writes the prescription of a run directory for further terminals, one folder each, and reads every file "
        "back to check it. Nothing is computed anew. The README.txt in each folder tells how to load the files.\n\n"
        "Without a folder the files go beside those that are there, in the run directory's folder prescription.\n\n"
    )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:  # noqa: N802, ARG002
        """Declare parameters and outputs."""
        self.addParameter(QgsProcessingParameterFile(
            "RUN", "Run directory", behavior=QgsProcessingParameterFile.Behavior.Folder,
        ))  # fmt: skip
        self.addParameter(QgsProcessingParameterEnum(
            "PROFILES", "Terminals", list(profiles()), allowMultiple=True, usesStaticStrings=True,
        ))  # fmt: skip
        self.addParameter(QgsProcessingParameterString("NAME", "Base name of the files", defaultValue="SPRAY"))
        self.addParameter(QgsProcessingParameterFolderDestination(
            "OUTPUT", "Folder (empty: in the run directory)", optional=True, createByDefault=False,
        ))  # fmt: skip

    def shortHelpString(self) -> str:  # noqa: N802
        """The text beside the form, with the terminals."""
        return self.HELP + "\n".join(f"{name}: {title}" for name, title in profiles().items())

    def work(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Run it."""
        run, out = Path(self.text(parameters, "RUN", context)), self.text(parameters, "OUTPUT", context)
        chosen = self.choices(parameters, "PROFILES", context)
        self.call(commands.export(str(run), chosen, out, self.text(parameters, "NAME", context)), feedback)
        feedback.setProgress(100)
        return {"OUTPUT": out or str(run / "prescription")}
