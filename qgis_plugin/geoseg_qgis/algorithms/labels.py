"""Algorithm `labelscheck`: what may be wrong with labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsMapLayer,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterFile,
    QgsProcessingParameterMapLayer,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
    QgsProcessingUtils,
    QgsRasterLayer,
)

from geoseg_qgis.algorithms.base import MODEL, SET, GeosegAlgorithm
from geoseg_qgis.compat import POLYGONS, RASTERS, VECTORS
from geoseg_qgis.core import commands
from geoseg_qgis.core.errors import InputError
from geoseg_qgis.inputs import is_whole_file, raster_file, write_copy

__all__ = ["LabelsCheckAlgorithm"]


class LabelsCheckAlgorithm(GeosegAlgorithm):
    """`geoseg labels check`."""

    NAME, TITLE, GROUP = "labelscheck", "Check labels", "Labels"
    TAGS = ("labels", "training", "annotation", "quality")
    HELP = (
        "Looks for what may be wrong with labels of an orthomosaic: plants with two classes, overlaps, green without "
        "a label, labels without green, shifted labels and slivers. The result is a layer to go through, the most "
        "suspicious first.\n\nLabels are polygons or points with a column for the class, or a raster with soil 0, "
        "crop 1 and weed 2. Where only some places were labelled, give their outlines: nothing is told of the rest. "
        "With a model it also tells where the model disagrees and is sure."
    )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:  # noqa: N802, ARG002
        """Declare parameters and outputs."""
        self.addParameter(QgsProcessingParameterRasterLayer("ORTHO", "Orthomosaic"))
        self.addParameter(QgsProcessingParameterMapLayer("LABELS", "Labels", types=[VECTORS, RASTERS]))
        self.addParameter(QgsProcessingParameterString(
            "COLUMN", "Column with the class (empty: class)", optional=True,
        ))  # fmt: skip
        self.addParameter(QgsProcessingParameterFeatureSource(
            "AREA", "What was labelled (empty: all of the image)", [POLYGONS], optional=True,
        ))  # fmt: skip
        self.addParameter(QgsProcessingParameterFile(
            MODEL, "Model folder (empty: without a model)", optional=True,
            behavior=QgsProcessingParameterFile.Behavior.Folder,
        ))  # fmt: skip
        self.add_settings()
        self.addParameter(QgsProcessingParameterVectorDestination("OUTPUT", "Suspicious labels", POLYGONS))
        self.addOutput(QgsProcessingOutputNumber("FOUND", "Number of suspicious labels"))

    def work(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Run it."""
        out = self.parameterAsOutputLayer(parameters, "OUTPUT", context)
        if Path(out).suffix.lower() != ".gpkg":
            raise InputError(f"{out} is no GeoPackage; choose a file that ends in .gpkg")
        ortho = raster_file(self.parameterAsRasterLayer(parameters, "ORTHO", context), "the orthomosaic")
        labels, layer = self._labels(self.parameterAsLayer(parameters, "LABELS", context), context)
        model = self.text(parameters, MODEL, context)
        settings, column = self.text(parameters, SET, context), self.text(parameters, "COLUMN", context)
        scratch = Path(QgsProcessingUtils.generateTempFilename("area")).parent
        area = self.vector_file(parameters, "AREA", context, scratch, "area")
        words = commands.labels_check(ortho, labels, out, model, settings, column, layer, area)
        done = self.call(words, feedback, "labels" if model else "labels without model", show_stdout=False)
        counts = json.loads("\n".join(done.stdout))
        for kind, count in counts.items():
            feedback.pushInfo(f"{count:6d}  {kind}")
        return {"OUTPUT": out, "FOUND": sum(counts.values())}

    def _labels(self, layer: QgsMapLayer | None, context: QgsProcessingContext) -> tuple[str, str]:
        """The file with the labels and the layer in it, empty where it has only one."""
        if layer is None or not layer.isValid():
            raise InputError("the labels cannot be opened; choose a vector or raster layer")
        if isinstance(layer, QgsRasterLayer):
            return raster_file(layer, "the layer of labels"), ""
        whole = is_whole_file(layer, selected_only=False)
        if whole is not None:
            return whole, ""
        path = Path(QgsProcessingUtils.generateTempFilename("labels.gpkg"))
        source = QgsProcessingUtils.variantToSource(layer, context)
        return write_copy(source, path, context, attributes=True), path.stem
