"""The parameters that say which ortho is read and how, shared by the algorithms that read one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterCrs,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
)

from geoseg_qgis.algorithms.base import CONFIG, MODEL, SET, GeosegAlgorithm, advanced
from geoseg_qgis.compat import POLYGONS
from geoseg_qgis.core.commands import OrthoChoice
from geoseg_qgis.inputs import raster_file

__all__ = ["INPUTS", "OrthoAlgorithm"]

INPUTS = "inputs"
"""Folder of a run directory for copies of layers that are no files of their own."""


class OrthoAlgorithm(GeosegAlgorithm):
    """An algorithm that reads an ortho."""

    GROUP = "Field"

    def add_ortho(self) -> None:
        """Declare the parameters."""
        self.addParameter(QgsProcessingParameterRasterLayer("ORTHO", "Orthomosaic"))
        self.addParameter(QgsProcessingParameterFeatureSource(
            "BOUNDARY", "Field boundary (empty: outline of the valid pixels)", [POLYGONS], optional=True,
        ))  # fmt: skip

    def add_reading(self) -> None:
        """Declare the advanced parameters."""
        self.addParameter(advanced(QgsProcessingParameterCrs("CRS", "CRS of an ortho that has none", optional=True)))
        self.addParameter(advanced(QgsProcessingParameterNumber(
            "GSD", "Metres per pixel of an ortho without georeference",
            QgsProcessingParameterNumber.Type.Double, optional=True, minValue=0.0,
        )))  # fmt: skip
        self.addParameter(advanced(QgsProcessingParameterBoolean(
            "FORCE", "Go on although the resolution does not fit the model", defaultValue=False, optional=True,
        )))  # fmt: skip

    def ortho_file(self, parameters: Mapping[str, Any], context: QgsProcessingContext) -> str:
        """The file of the ortho."""
        layer = self.parameterAsRasterLayer(parameters, "ORTHO", context)
        return raster_file(layer, "the orthomosaic")

    def ortho_choice(self, parameters: Mapping[str, Any], context: QgsProcessingContext, folder: Path) -> OrthoChoice:
        """What the person has filled in; `folder` takes copies of layers."""
        crs = self.parameterAsCrs(parameters, "CRS", context)
        return OrthoChoice(
            self.ortho_file(parameters, context),
            boundary=self.vector_file(parameters, "BOUNDARY", context, folder, "boundary"),
            model=self.text(parameters, MODEL, context),
            config=self.text(parameters, CONFIG, context),
            crs=(crs.authid() or crs.toWkt()) if crs.isValid() else "",
            gsd_m=self.number(parameters, "GSD", context) or 0.0,
            force=self.parameterAsBool(parameters, "FORCE", context),
            settings=self.text(parameters, SET, context),
        )
