"""Styles and projects for QGIS 3.22 and later, written without QGIS.

    xml        elements and documents
    symbols    how one feature is drawn
    styles     how a layer is drawn: one description for .qml files, GeoPackages and projects
    fieldstyles  the styles of what a run writes
    project    layers, groups and themes in one .qgz
    layout     the page to print

Nothing here opens a raster or a vector file.
"""
