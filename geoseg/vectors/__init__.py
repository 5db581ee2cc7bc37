"""Exact polygons of the connected regions of a raster.

Read in this order: `runs` (what a raster becomes), `outlines` (components and their rings), `polygons` (files in,
shapely polygons out).
"""

from __future__ import annotations

from geoseg.vectors.polygons import Component, ComponentBatch, batches, components, polygonize, simplify

__all__ = ["Component", "ComponentBatch", "batches", "components", "polygonize", "simplify"]
