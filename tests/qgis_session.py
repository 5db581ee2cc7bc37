"""Starts QGIS without a window in the Python that has it, with Processing and the plugin; helper of test_qgis_process.

Run as ``python3 qgis_session.py JOBS FOLDER`` with the plugins on PYTHONPATH; its last line is what it found, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from processing.core.Processing import Processing
from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsGeometry,
    QgsProcessingContext,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingFeedback,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelOutput,
    QgsProcessingModelParameter,
    QgsProcessingParameterEnum,
    QgsProcessingParameterRasterLayer,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)
from qgis.gui import QgsMessageBar
from qgis.PyQt.QtWidgets import QMainWindow

from geoseg_qgis.plugin import GeosegPlugin


class Log(QgsProcessingFeedback):
    """Keeps the log."""

    def __init__(self) -> None:
        super().__init__(False)

    @property
    def lines(self) -> str:
        return self.textLog()


def child(model: QgsProcessingModelAlgorithm, name: str, algorithm: str, **sources: Any) -> None:
    """Add a step to a model."""
    step = QgsProcessingModelChildAlgorithm(algorithm)
    step.setChildId(name)
    step.setDescription(name)
    for parameter, source in sources.items():
        step.addParameterSources(parameter, [source])
    model.addChildAlgorithm(step)


def make_model(folder: Path) -> dict[str, Any]:
    """Write a model: an ortho is segmented, prescribed and exported for the terminals that are chosen."""
    source = QgsProcessingModelChildParameterSource
    model = QgsProcessingModelAlgorithm("Spot spray map", "geoseg")
    for parameter in (
        QgsProcessingParameterRasterLayer("ortho", "Orthomosaic"),
        QgsProcessingParameterEnum("terminals", "Terminals", ["isoxml", "geojson"], True, ["isoxml"], False, True),
    ):
        model.addModelParameter(parameter, QgsProcessingModelParameter(parameter.name()))
    child(
        model, "segment", "geoseg:segment", ORTHO=source.fromModelParameter("ortho"), LOAD=source.fromStaticValue(False)
    )
    child(
        model, "prescribe", "geoseg:prescribe", RUN=source.fromChildOutput("segment", "OUTPUT"),
        RATE=source.fromStaticValue(150), LOAD=source.fromStaticValue(False),
    )  # fmt: skip
    child(
        model, "export", "geoseg:export", RUN=source.fromChildOutput("prescribe", "OUTPUT"),
        PROFILES=source.fromModelParameter("terminals"), NAME=source.fromStaticValue("SPRAY"),
    )  # fmt: skip
    for step, title in (("segment", "Run directory"), ("export", "Files for terminals")):
        output = QgsProcessingModelOutput(title)
        output.setChildId(step)
        output.setChildOutputName("OUTPUT")
        output.setDescription(title)
        model.childAlgorithm(step).setModelOutputs({title: output})
    model.updateDestinationParameters()
    ok, errors = model.validate()
    path = folder / "spot_spray.model3"
    return {"valid": ok, "errors": errors, "written": model.toFile(str(path)), "path": str(path)}


def batch(folder: Path) -> dict[str, Any]:
    """Two orthos one after the other with the same algorithm, as the batch dialog does it."""
    from processing.gui.BatchAlgorithmDialog import BatchAlgorithmDialog  # noqa: F401 - it loads

    algorithm = QgsApplication.processingRegistry().createAlgorithmById("geoseg:segment")
    found = {}
    for ortho in sorted((folder / "batch").glob("*.tif")):
        context, log = QgsProcessingContext(), Log()
        given = {"ORTHO": str(ortho), "OUTPUT": str(folder / "batch" / ortho.stem), "LOAD": False}
        results, ok = algorithm.create().run(given, context, log)
        found[ortho.stem] = {"ok": ok, "results": results, "log": log.lines}
    return found


def layers(folder: Path) -> dict[str, Any]:
    """A run with a boundary drawn in QGIS and selected there, and the layers that it opens in the project."""
    project = QgsProject.instance()
    ortho = QgsRasterLayer(str(next((folder / "batch").glob("*.tif"))), "ortho")
    drawn = QgsVectorLayer("Polygon?crs=EPSG:32632&field=fid:string", "drawn", "memory")
    drawn.setCrs(ortho.crs() if ortho.crs().isValid() else QgsCoordinateReferenceSystem("EPSG:32632"))
    whole = ortho.extent()
    left = QgsRectangle(whole.xMinimum(), whole.yMinimum(), whole.center().x(), whole.yMaximum())
    features = []
    for extent in (left, QgsRectangle(whole.xMaximum() + 900, 0, whole.xMaximum() + 901, 1)):
        feature = QgsFeature(drawn.fields())
        feature.setGeometry(QgsGeometry.fromRect(extent))
        feature.setAttribute("fid", "not a number")
        features.append(feature)
    drawn.dataProvider().addFeatures(features)
    drawn.selectByIds([1])
    project.addMapLayers([ortho, drawn])
    context, log = QgsProcessingContext(), Log()
    context.setProject(project)
    given = {
        "ORTHO": ortho, "BOUNDARY": QgsProcessingFeatureSourceDefinition(drawn.id(), True),
        "OUTPUT": str(folder / "drawn run"), "SET": "spray.section_m=0.2\nspray.length_m=0.2",
        "PROFILES": ["generic"], "LOAD": True,
    }  # fmt: skip
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("geoseg:run")
    results, ok = algorithm.run(given, context, log)
    opened = {}
    for source, details in context.layersToLoadOnCompletion().items():
        make = QgsVectorLayer if "|layername=" in source else QgsRasterLayer
        layer = make(source, details.name)
        loaded = layer.loadDefaultStyle()[1]
        opened[details.name] = {
            "valid": layer.isValid(), "styled": loaded,
            "renderer": layer.renderer().type(),
        }  # fmt: skip
    return {
        "ok": ok, "results": results, "log": log.lines, "opened": opened, "area_m2": left.area(),
        "percent": log.progress(),
    }  # fmt: skip


def cancel(folder: Path) -> dict[str, Any]:
    """A run that is stopped as soon as it tells of its progress."""

    class Impatient(Log):
        def setProgressText(self, text: str) -> None:  # noqa: N802 - QGIS's name
            self.cancel()

    context, log = QgsProcessingContext(), Impatient()
    ortho = next((folder / "batch").glob("*.tif"))
    given = {"ORTHO": str(ortho), "OUTPUT": str(folder / "cancelled"), "LOAD": False}
    _, ok = QgsApplication.processingRegistry().createAlgorithmById("geoseg:run").run(given, context, log)
    return {"ok": ok, "log": log.lines, "whole": (folder / "cancelled" / "summary.json").exists()}


def dialogs(folder: Path) -> dict[str, Any]:
    """The set-up page and the form of `run`, as pictures."""
    from qgis.PyQt.QtCore import QEventLoop

    from geoseg_qgis.dialog import SetupDialog

    dialog = SetupDialog()
    dialog.show()
    while dialog._work is not None:
        QgsApplication.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 100)
    dialog.grab().save(str(folder / "setup.png"))
    return {"status": dialog.status.text(), "log": dialog.log.toPlainText()}


class Interface:
    """What the plugin uses of the interface of QGIS."""

    def __init__(self) -> None:
        self.window, self.bar = QMainWindow(), QgsMessageBar()
        self.menu: dict[str, str] = {}

    def mainWindow(self) -> QMainWindow:  # noqa: N802 - QGIS's name
        return self.window

    def messageBar(self) -> QgsMessageBar:  # noqa: N802 - QGIS's name
        return self.bar

    def addPluginToMenu(self, name: str, action: Any) -> None:  # noqa: N802 - QGIS's name
        self.menu[action.text()] = name

    def removePluginMenu(self, name: str, action: Any) -> None:  # noqa: N802 - QGIS's name
        del self.menu[action.text()]


def first_use(folder: Path) -> dict[str, Any]:
    """The plugin in a window, on a machine without geoseg: the menu, the hint, the setting, the way out again."""
    from processing.core.ProcessingConfig import ProcessingConfig

    os.environ["GEOSEG_EXECUTABLE"] = ""
    interface = Interface()
    plugin = GeosegPlugin(interface)
    plugin.initGui()
    hint = interface.bar.currentItem()
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("geoseg:run")
    can, why = algorithm.canExecute()
    found = {
        "menu": dict(interface.menu), "hint": hint.text() if hint else "", "can": can, "why": why,
        "setting": "GEOSEG_EXECUTABLE" in ProcessingConfig.settings,
    }  # fmt: skip
    plugin.unload()
    return found | {
        "menu_after": dict(interface.menu),
        "setting_after": "GEOSEG_EXECUTABLE" in ProcessingConfig.settings,
    }


JOBS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "make_model": make_model, "batch": batch, "layers": layers, "dialogs": dialogs, "cancel": cancel,
    "first_use": first_use,
}  # fmt: skip


def main() -> None:
    """Do the jobs that the first argument names, in the folder that the second names."""
    application = QgsApplication([], True)
    application.initQgis()
    Processing.initialize()
    plugin = GeosegPlugin(None)
    plugin.initProcessing()
    jobs = sys.argv[1].split(",")
    found = {name: JOBS[name](Path(sys.argv[2])) for name in jobs if name != "first_use"}
    plugin.unload()
    if "first_use" in jobs:
        found["first_use"] = first_use(Path(sys.argv[2]))
    sys.stdout.write("\n" + json.dumps(found, default=str) + "\n")
    sys.stdout.flush()
    QgsProject.instance().clear()
    application.exitQgis()


if __name__ == "__main__":
    main()
