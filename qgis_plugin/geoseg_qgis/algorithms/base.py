"""What all algorithms share: parameters, the call of geoseg with progress and cancel, the layers that are loaded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingFeedback,
    QgsProcessingOutputFile,
    QgsProcessingOutputNumber,
    QgsProcessingOutputRasterLayer,
    QgsProcessingOutputVectorLayer,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterFile,
    QgsProcessingParameterString,
)
from qgis.PyQt.QtGui import QIcon

from geoseg_qgis.compat import ADVANCED
from geoseg_qgis.core import results
from geoseg_qgis.core.environment import child_environment
from geoseg_qgis.core.errors import PluginError
from geoseg_qgis.core.events import SHARES, Listener, Report, failure
from geoseg_qgis.core.locate import version_of
from geoseg_qgis.core.process import Outcome, run_child
from geoseg_qgis.inputs import is_whole_file, write_copy
from geoseg_qgis.settings import find_geoseg, prefix

__all__ = ["ICON", "GeosegAlgorithm", "advanced"]

ICON = Path(__file__).resolve().parents[1] / "icon.svg"
LOAD, MODEL, CONFIG, SET = "LOAD", "MODEL", "CONFIG", "SET"


def advanced(parameter: QgsProcessingParameterDefinition) -> QgsProcessingParameterDefinition:
    """The parameter, behind "Advanced parameters"."""
    parameter.setFlags(parameter.flags() | ADVANCED)
    return parameter


class GeosegAlgorithm(QgsProcessingAlgorithm):
    """An algorithm that is a geoseg command. Subclasses give the five class attributes, parameters and `work`."""

    NAME = TITLE = GROUP = HELP = ""
    TAGS: tuple[str, ...] = ()

    def createInstance(self) -> GeosegAlgorithm:  # noqa: N802
        """A fresh one; QGIS asks for it before each use."""
        return type(self)()

    def name(self) -> str:
        """The part of the id behind ``geoseg:``."""
        return self.NAME

    def displayName(self) -> str:  # noqa: N802
        """What the toolbox shows."""
        return self.TITLE

    def group(self) -> str:
        """The heading that it stands under."""
        return self.GROUP

    def groupId(self) -> str:  # noqa: N802
        """The heading's id."""
        return self.GROUP.lower()

    def shortHelpString(self) -> str:  # noqa: N802
        """The text beside the form."""
        return self.HELP

    def tags(self) -> list[str]:
        """Further words that find it."""
        return ["geoseg", "weed", "crop", "spray", *self.TAGS]

    def icon(self) -> QIcon:
        """The plugin's icon."""
        return QIcon(str(ICON))

    def canExecute(self) -> tuple[bool, str]:  # noqa: N802
        """Whether geoseg was found, and if not, what to do."""
        try:
            find_geoseg()
        except PluginError as error:
            return False, str(error)
        return True, ""

    def processAlgorithm(  # noqa: N802
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Do the work; an error becomes the one line that Processing shows."""
        try:
            return self.work(parameters, context, feedback)
        except PluginError as error:
            raise QgsProcessingException(str(error)) from error

    def work(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """The outputs by name.

        Raises:
            PluginError: With one line for the person.
        """
        raise NotImplementedError

    def add_common(self, *, model: bool) -> None:
        """The parameters that most commands have."""
        if model:
            self.addParameter(QgsProcessingParameterFile(
                MODEL, "Model folder (empty: the model that comes with geoseg)",
                behavior=QgsProcessingParameterFile.Behavior.Folder, optional=True,
            ))  # fmt: skip
        self.addParameter(advanced(QgsProcessingParameterFile(
            CONFIG, "File of parameters (YAML)", optional=True, fileFilter="YAML (*.yaml *.yml)",
        )))  # fmt: skip
        self.add_settings()

    def add_settings(self) -> None:
        """The free text of parameters."""
        self.addParameter(advanced(QgsProcessingParameterString(
            SET, "Further parameters, one key=value a line", multiLine=True, optional=True,
        )))  # fmt: skip

    def add_results(self, names: Iterable[str]) -> None:
        """Declare outputs by the names that `results` knows, and the switch that loads the layers."""
        for name in names:
            if name in results.RASTERS:
                self.addOutput(QgsProcessingOutputRasterLayer(name, results.RASTERS[name][1]))
            elif name in results.LAYERS:
                self.addOutput(QgsProcessingOutputVectorLayer(name, results.LAYERS[name][1]))
            elif name in results.RUN_FILES:
                self.addOutput(QgsProcessingOutputFile(name, results.RUN_FILES[name][1]))
            else:
                self.addOutput(QgsProcessingOutputNumber(name, results.FIGURES[name][0]))
        self.addParameter(QgsProcessingParameterBoolean(LOAD, "Open the results in the project", True, optional=True))

    def call(
        self, words: Sequence[str], feedback: QgsProcessingFeedback, shares: str = "", *, show_stdout: bool = True
    ) -> Outcome:
        """Run geoseg; its lines go to the log, its progress to the bar.

        Args:
            words: What follows the program.
            feedback: That of the algorithm.
            shares: Key of `SHARES`.
            show_stdout: Whether stdout is for people.

        Raises:
            PluginError: If geoseg is not found, fails or is stopped.
        """
        geoseg = find_geoseg()
        version = version_of(geoseg, os.environ, prefix())
        feedback.pushInfo(f"geoseg {version}, found through {geoseg.source}")
        feedback.pushCommandInfo(" ".join(_quoted(word) for word in (*geoseg.command, *words)))
        report = Report(feedback.setProgress, feedback.setProgressText, feedback.pushInfo, feedback.pushWarning)
        listener = Listener(report, SHARES.get(shares, {}), show_stdout)
        clean = child_environment(os.environ, geoseg.command[0], prefix())
        try:
            outcome = run_child([*geoseg.command, *words], clean, listener.line, feedback.isCanceled)
        except OSError as error:
            raise PluginError(f"{geoseg.command[0]} does not start: {error.strerror}") from error
        if outcome.cancelled:
            raise PluginError("stopped; what was finished is kept, and the same algorithm goes on from there")
        if outcome.code:
            raise PluginError(failure(outcome))
        listener.flush()
        return outcome

    def vector_file(
        self, parameters: Mapping[str, Any], name: str, context: QgsProcessingContext, folder: Path, stem: str
    ) -> str:
        """The file of a vector parameter; a layer that is no file of its own is copied to ``folder/stem.gpkg``."""
        if parameters.get(name) in (None, ""):
            return ""
        given = parameters[name]
        selected = isinstance(given, QgsProcessingFeatureSourceDefinition) and given.selectedFeaturesOnly
        whole = is_whole_file(self.parameterAsVectorLayer(parameters, name, context), selected)
        if whole is not None:
            return whole
        source = self.parameterAsSource(parameters, name, context)
        if source is None:
            raise PluginError(self.invalidSourceError(parameters, name))
        return write_copy(source, folder / f"{stem}.gpkg", context)

    def deliver(
        self, parameters: Mapping[str, Any], run: Path, names: Sequence[str], context: QgsProcessingContext
    ) -> dict[str, Any]:
        """The outputs of a run directory; its layers are opened in the project if that is wanted."""
        found: dict[str, Any] = dict(results.outputs(run, dict.fromkeys(names)))
        figures = results.figures(run)
        found |= {name: figures[name] for name in names if name in figures}
        if self.parameterAsBool(parameters, LOAD, context) and context.project() is not None:
            titles = {**results.RASTERS, **results.LAYERS}
            for name in names:
                if name in titles and found[name]:
                    details = QgsProcessingContext.LayerDetails(titles[name][1], context.project(), name)
                    details.forceName = True
                    if hasattr(details, "groupName"):
                        details.groupName = run.name
                    context.addLayerToLoadOnCompletion(found[name], details)
        return found

    def text(self, parameters: Mapping[str, Any], name: str, context: QgsProcessingContext) -> str:
        """A text, empty where none is given."""
        return str(self.parameterAsString(parameters, name, context) or "").strip()

    def number(self, parameters: Mapping[str, Any], name: str, context: QgsProcessingContext) -> float | None:
        """A number, None where none is given."""
        return None if parameters.get(name) in (None, "") else float(self.parameterAsDouble(parameters, name, context))

    def choices(self, parameters: Mapping[str, Any], name: str, context: QgsProcessingContext) -> tuple[str, ...]:
        """The chosen entries of a list."""
        if parameters.get(name) in (None, "", []):
            return ()
        return tuple(self.parameterAsEnumStrings(parameters, name, context))


def say_project(run: Path, say: Callable[[str], None]) -> None:
    """Tell of the QGIS project that lies in a run directory."""
    if (run / "field.qgz").is_file():
        say(f"the whole run as a QGIS project: {run / 'field.qgz'}")


def _quoted(word: str) -> str:
    return f'"{word}"' if " " in word or not word else word
