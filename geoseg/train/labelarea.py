"""Labels of some places of an image: outside of them nothing is known, instead of everything being soil."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyproj
import shapely
from odc.geo.geobox import GeoBox

from geoseg.errors import LabelError
from geoseg.legend import NODATA
from geoseg.ortho.boundary import PixelMask, read_boundary
from geoseg.train.labelfiles import make_frame, moved
from geoseg.windows import Rect

if TYPE_CHECKING:
    import geopandas as gpd

    from geoseg.train.labels import Labels

__all__ = ["LabelsWithin"]


class LabelsWithin:
    """Other labels inside the polygons of a file; a pixel is inside if its centre is, an instance if a part of it is.

    Attributes:
        grid: The grid of the image.
    """

    def __init__(self, labels: Labels, area: Path) -> None:
        """Read the polygons.

        Args:
            labels: The labels.
            area: Vector file of what was labelled.

        Raises:
            LabelError: If the image has no CRS, or no polygon lies on it.
            BoundaryError: If the file cannot be read or holds no polygons.
        """
        self.grid: GeoBox = labels.grid
        if self.grid.crs is None:
            raise LabelError(f"the image has no CRS, so {area} cannot be placed on it; save the image with its CRS")
        self._labels = labels
        self._area = read_boundary(area, pyproj.CRS(self.grid.crs.to_wkt()))
        self._mask = PixelMask(self._area, self.grid)
        height, width = (int(size) for size in self.grid.shape)
        if self._mask.state(Rect(0, 0, height, width)) is False:
            raise LabelError(f"no polygon of {area} lies on the image; expected the places that were labelled on it")
        self._in_pixels = moved(self._area, ~self.grid.affine)
        shapely.prepare([self._area, self._in_pixels])

    def read(self, rect: Rect) -> np.ndarray:
        """(H, W) uint8 codes of a rectangle, 255 outside."""
        return np.where(self._mask.pixels(rect), self._labels.read(rect), np.uint8(NODATA))

    def overlap(self, rect: Rect) -> np.ndarray:
        """(H, W) bool: pixels inside that the labels give to crop and to weed."""
        return np.asarray(self._labels.overlap(rect) & self._mask.pixels(rect), bool)

    def shapes(self, rect: Rect) -> list[tuple[int, Any]]:
        """Instances of which a part is inside, whole, and the places outside as what is left out."""
        found = self._labels.shapes(rect)
        area = shapely.transform(self._in_pixels, lambda points: points - (rect.col0, rect.row0))
        shapely.prepare(area)
        inside = shapely.intersects(area, [shape for _, shape in found])
        height, width = rect.shape
        there = shapely.difference(shapely.box(0, 0, width, height), area)
        return [
            *(one for one, kept in zip(found, inside.tolist(), strict=True) if kept),
            *((NODATA, part) for part in shapely.get_parts(there) if part.area > 0),
        ]

    def frames(self) -> Iterator[gpd.GeoDataFrame]:
        """All instances of which a part is inside, in batches, and the places outside as what is left out."""
        for frame in self._labels.frames():
            yield frame[shapely.intersects(self._area, frame.geometry.to_numpy())]
        height, width = (int(size) for size in self.grid.shape)
        outside = shapely.difference(moved(shapely.box(0, 0, width, height), self.grid.affine), self._area)
        yield make_frame([NODATA], [outside], self.grid)

    def cuts(self, shape: Any) -> bool:
        """Whether a geometry in the CRS of the grid lies within a pixel of the edge of what was labelled."""
        return bool(shapely.dwithin(self._in_pixels.boundary, moved(shape, ~self.grid.affine), 1.0))

    def __enter__(self) -> Self:
        """Itself, with its labels opened."""
        self._labels.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files."""
        self._labels.__exit__(kind, value, trace)
