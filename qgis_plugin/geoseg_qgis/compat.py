"""Names that QGIS has moved between 3.22 and the versions with Qt 6."""

from __future__ import annotations

from qgis.core import Qgis, QgsProcessing, QgsProcessingParameterDefinition

__all__ = ["ADVANCED", "LINES", "POLYGONS", "RASTERS", "VECTORS"]

_flags = getattr(Qgis, "ProcessingParameterFlag", None)
ADVANCED = _flags.Advanced if _flags else QgsProcessingParameterDefinition.FlagAdvanced
_types = getattr(Qgis, "ProcessingSourceType", None)
POLYGONS = _types.VectorPolygon if _types else QgsProcessing.SourceType.TypeVectorPolygon
LINES = _types.VectorLine if _types else QgsProcessing.SourceType.TypeVectorLine
VECTORS = _types.Vector if _types else QgsProcessing.SourceType.TypeVector
RASTERS = _types.Raster if _types else QgsProcessing.SourceType.TypeRaster
