"""Layers as files that another program can open: the file itself where it says the same, a copy where it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsFeature,
    QgsFeatureSink,
    QgsFields,
    QgsProcessingFeatureSource,
    QgsProviderRegistry,
    QgsRasterLayer,
    QgsVectorFileWriter,
    QgsVectorLayer,
)

from geoseg_qgis.core.errors import InputError

__all__ = ["is_whole_file", "raster_file", "write_copy"]


def raster_file(layer: QgsRasterLayer | None, what: str) -> str:
    """What GDAL opens for a raster layer.

    Args:
        layer: A layer of the project or of a file.
        what: What it is for, in an error.

    Raises:
        InputError: If the layer is no raster that lies in a file, or is broken.
    """
    if layer is None or not layer.isValid():
        raise InputError(f"{what} cannot be opened as a raster; choose a raster file such as a GeoTIFF")
    if layer.dataProvider().name() != "gdal":
        raise InputError(f"{what} is a {layer.dataProvider().name()} layer; save it as a GeoTIFF and choose that")
    parts = QgsProviderRegistry.instance().decodeUri("gdal", layer.source())
    return str(layer.source() if parts.get("layerName") else parts.get("path") or layer.source())


def is_whole_file(layer: QgsVectorLayer | None, selected_only: bool) -> str | None:
    """The file of a vector layer, if the file has only this layer and the layer shows all of it as it is saved."""
    if layer is None or selected_only or layer.dataProvider().name() != "ogr" or layer.subsetString():
        return None
    if layer.isEditable() and layer.isModified():
        return None
    parts = QgsProviderRegistry.instance().decodeUri("ogr", layer.source())
    path = str(parts.get("path", ""))
    if not Path(path).is_file() or len(layer.dataProvider().subLayers()) > 1:
        return None
    return path


def write_copy(source: QgsProcessingFeatureSource, path: Path, context: Any, *, attributes: bool = False) -> str:
    """Write the features of a source, as they are seen or selected in QGIS, to a GeoPackage; returns its path.

    Args:
        source: The features.
        path: The file to make or replace; its name is that of the layer.
        context: That of the algorithm.
        attributes: Whether columns are kept.

    Raises:
        InputError: If it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName, options.layerName, options.fileEncoding = "GPKG", path.stem, "UTF-8"
    options.layerOptions = ["FID=geoseg_fid"]  # a column fid of the source may hold anything
    fields = source.fields() if attributes else QgsFields()
    writer = QgsVectorFileWriter.create(
        str(path), fields, source.wkbType(), source.sourceCrs(), context.transformContext(), options
    )
    if writer.hasError() != QgsVectorFileWriter.WriterError.NoError:
        raise InputError(f"{source.sourceName()} cannot be written to {path}: {writer.errorMessage()}")
    for feature in source.getFeatures():
        copy = QgsFeature(fields)
        copy.setGeometry(feature.geometry())
        if attributes:
            copy.setAttributes(feature.attributes())
        if not writer.addFeature(copy, QgsFeatureSink.Flag.FastInsert):
            raise InputError(f"{source.sourceName()} cannot be written to {path}: {writer.errorMessage()}")
    del writer  # closes the file
    return str(path)
