"""Exact polygons of the connected regions of a raster.

Read in this order: `runs` (what a raster becomes), `outlines` (components and their rings), `polygons` (arrays),
`stream` (files), `coverage` and `groups` (fewer corners, neighbours together), `grid` (pixels on the ground).
"""

from __future__ import annotations

from geoseg.vectors.coverage import simplify
from geoseg.vectors.grid import PixelGrid, pixel_grid
from geoseg.vectors.groups import simplified
from geoseg.vectors.polygons import polygonize
from geoseg.vectors.stream import Component, ComponentBatch, batches, components

__all__ = [
    "Component",
    "ComponentBatch",
    "PixelGrid",
    "batches",
    "components",
    "pixel_grid",
    "polygonize",
    "simplified",
    "simplify",
]
