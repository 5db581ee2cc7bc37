"""The input raster: opened, understood and checked once, then read window by window on the working grid.

Reading order: `bands` (which bands, what scale), `ground` (metres, CRS, working grid), `place` (where the file lies),
`boundary` (the field), `source` (the file as GDAL sees it), `facts` (what it says about itself), `warp` (the file on
another grid), `reader` (pixels as a model wants them) and `orthomosaic`, where they meet. Importing this package does
not import rasterio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from geoseg.ortho.orthomosaic import Ortho, OrthoConfig

if TYPE_CHECKING:
    from geoseg.ortho.reader import Reader

__all__ = ["Ortho", "OrthoConfig", "Reader"]


def __getattr__(name: str) -> object:
    """`Reader`, only when somebody asks for it: it imports rasterio."""
    if name == "Reader":
        from geoseg.ortho.reader import Reader

        return Reader
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
