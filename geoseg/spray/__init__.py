"""From a class raster to rates: cells in the machine's frame, rules, zones and totals.

`rules` holds the parameters and decides; `grid` lays the cells; `aggregate` counts pixels in them; `zones` draws the
polygons; `prescription` puts the steps together. Import from those modules: this one stays light on purpose.
"""

from __future__ import annotations

from geoseg.spray.rules import SprayConfig

__all__ = ["SprayConfig"]
