"""Polygons of the regions of an array. Knows pixels and affine transforms, no file.

Polygons follow pixel edges exactly, so their area is their number of pixels times the area of a pixel. Outer rings run
counter-clockwise in the CRS and holes clockwise; rings hold corners only, and the same region gives the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import Polygon

from geoseg.vectors.outlines import Rings, Sweep
from geoseg.vectors.runs import find_stacks

if TYPE_CHECKING:
    from affine import Affine

__all__ = ["polygonize", "polygons"]


def polygons(rings: Rings, transform: Affine) -> NDArray[np.object_]:
    """Polygons in CRS units; a transform that mirrors the other way than north-up turns the rings round."""
    corners, offsets = rings.corners, rings.ring_offsets
    if transform.determinant > 0:
        turned = np.repeat(offsets[1:] + offsets[:-1] - 1, np.diff(offsets)) - np.arange(len(corners))
        corners = corners[turned]
    col, row = corners[:, 0].astype(np.float64), corners[:, 1].astype(np.float64)
    points = np.empty((len(corners), 2))
    points[:, 0] = transform.c + col * transform.a + row * transform.b
    points[:, 1] = transform.f + col * transform.d + row * transform.e
    made = shapely.from_ragged_array(shapely.GeometryType.POLYGON, points, (offsets, rings.polygon_offsets))
    return np.asarray(made, dtype=object)


def polygonize(
    labels: NDArray[Any], transform: Affine, *, mask: NDArray[np.bool_] | None = None
) -> list[tuple[int, Polygon]]:
    """The 4-connected regions of an array with their values, in the order of their first pixels.

    Args:
        labels: (H, W) integers or bool. Every value makes regions, zero too.
        transform: From (col, row) lattice corners to the CRS; may be rotated.
        mask: (H, W) bool; pixels that are False are in no region.

    Raises:
        ValueError: If the array is not two-dimensional and integer, or the mask has another shape.
    """
    if labels.ndim != 2 or labels.dtype.kind not in "biu":
        raise ValueError(f"labels are {labels.dtype} of shape {labels.shape}; expected (H, W) integers")
    if mask is not None and mask.shape != labels.shape:
        raise ValueError(f"the mask is {mask.shape}; expected {labels.shape} like the labels")
    if not labels.size:
        return []
    keep = np.ones(labels.shape, np.bool_) if mask is None else mask.astype(np.bool_)
    released = Sweep(labels.shape[1]).feed(find_stacks(labels, keep), labels.shape[0])
    return list(zip(released.stats.code.tolist(), polygons(released.rings, transform).tolist(), strict=True))
