"""Opens files in QGIS and says what it sees, as JSON. Run by the system's Python, which has PyQGIS; no test itself.

python3 qgis_reader.py project FIELD.qgz FOLDER     opens a project, draws it and prints its pages into FOLDER
python3 qgis_reader.py layers SOURCE...             opens single layers, with the styles that lie beside them
"""

from __future__ import annotations

import json
import sys

from qgis.core import (
    QgsApplication,
    QgsLayerTreeModel,
    QgsLayoutExporter,
    QgsMapRendererSequentialJob,
    QgsMapSettings,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor


def describe(layer, tree) -> dict:
    """What a layer is, as QGIS has it."""
    node, model = tree.findLayer(layer), QgsLayerTreeModel(tree)
    found = {
        "valid": layer.isValid(),
        "crs": layer.crs().authid(),
        "source": layer.source(),
        "legend": [entry.data(0) for entry in model.layerLegendNodes(node)],
        "visible": node.isVisible(),
        "renderer": layer.renderer().type(),
        "about": layer.abstract() or layer.metadata().abstract(),
    }
    if isinstance(layer, QgsVectorLayer):
        found["features"] = layer.featureCount()
        found["labels"] = layer.labelsEnabled()
        label = layer.labeling().settings() if layer.labeling() else None
        found["label"] = label.fieldName if label else None
        found["drawn"] = drawn(layer)
    return found


def drawn(layer) -> dict:
    """How many features each entry of the legend draws."""
    renderer = layer.renderer()
    if renderer.type() == "singleSymbol":
        return {}
    counts: dict[str, int] = {}
    for feature in layer.getFeatures():
        value = feature[renderer.classAttribute()]
        if renderer.type() == "graduatedSymbol":
            found = renderer.rangeForValue(value)
            label = found.label() if found else "?"
        else:
            index = renderer.categoryIndexForValue(value)
            label = renderer.categories()[index].label() if index >= 0 else "?"
        counts[label] = counts.get(label, 0) + 1
    return counts


def draw(layers, extent, crs, path, size=(800, 600)) -> list[str]:
    """A picture of layers, the uppermost first; returns what went wrong."""
    settings = QgsMapSettings()
    settings.setLayers(layers)
    settings.setDestinationCrs(crs)
    settings.setOutputSize(QSize(*size))
    settings.setExtent(extent)
    settings.setBackgroundColor(QColor(255, 255, 255))
    job = QgsMapRendererSequentialJob(settings)
    job.start()
    job.waitForFinished()
    job.renderedImage().save(path)
    return [error.message for error in job.errors()]


def see_project(path: str, folder: str) -> dict:
    project = QgsProject.instance()
    opened = project.read(path)
    tree = project.layerTreeRoot()
    order = [layer for layer in tree.layerOrder() if layer is not None]
    extent = QgsRectangle(project.viewSettings().defaultViewExtent())
    themes = project.mapThemeCollection()
    found = {
        "opened": opened,
        "title": project.title(),
        "crs": project.crs().authid(),
        "extent": [extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum()],
        "groups": [group.name() for group in tree.findGroups()],
        "layers": {layer.name(): describe(layer, tree) for layer in order if layer.isValid()},
        "invalid": [node.name() for node in tree.findLayers() if node.layer() is None or not node.layer().isValid()],
        "themes": {name: [one.name() for one in themes.mapThemeVisibleLayers(name)] for name in themes.mapThemes()},
    }
    shown = [layer for layer in order if layer in tree.checkedLayers()]
    found["errors"] = draw(shown, extent, project.crs(), f"{folder}/overview.png")
    for layer in order:
        name = layer.id().removeprefix("geoseg_layer_")
        found["errors"] += draw([layer], extent, project.crs(), f"{folder}/{name}.png")
    found["pages"] = {}
    for page in project.layoutManager().layouts():
        exporter = QgsLayoutExporter(page)
        picture = QgsLayoutExporter.ImageExportSettings()
        picture.dpi = 50
        stem = f"{folder}/{page.name().split(' (')[0]}"
        done = [
            exporter.exportToImage(f"{stem}.png", picture),
            exporter.exportToPdf(f"{stem}.pdf", QgsLayoutExporter.PdfExportSettings()),
        ]
        size = page.pageCollection().page(0).pageSize()
        found["pages"][page.name()] = {"done": done, "size": sorted((size.width(), size.height()))}
    project.clear()
    return found


def see_layers(sources: list[str]) -> dict:
    tree = QgsProject.instance().layerTreeRoot()
    found = {}
    for source in sources:
        raster = source.endswith((".tif", ".vrt"))
        layer = QgsRasterLayer(source, "raster", "gdal") if raster else QgsVectorLayer(source, "vector", "ogr")
        QgsProject.instance().addMapLayer(layer)
        found[source] = describe(layer, tree) if layer.isValid() else {"valid": False}
    return found


def main() -> None:
    application = QgsApplication([], False)
    application.initQgis()
    said: list[str] = []
    QgsApplication.messageLog().messageReceived.connect(lambda text, tag, level: said.append(f"{tag}: {text}"))
    seen = see_project(*sys.argv[2:4]) if sys.argv[1] == "project" else see_layers(sys.argv[2:])
    sys.stdout.write(json.dumps(seen | {"said": said}) + "\n")
    application.exitQgis()


if __name__ == "__main__":
    main()
