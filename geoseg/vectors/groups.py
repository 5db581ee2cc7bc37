"""Components of a class raster with fewer corners, streamed. Neighbours are simplified together, so nothing opens.

Components that lie within reach of one another form a group, and a group is simplified as a whole when it is complete:
none of its members is within reach of a component that goes on below the rows that are known. No outline moves further
than half of the reach, so groups cannot meet afterwards, and as a group does not depend on how the raster was cut, its
simplified outlines do not either. What is held at a time are the groups that are not complete.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from geoseg.legend import CROP, WEED
from geoseg.vectors.coverage import simplify
from geoseg.vectors.grid import pixel_grid
from geoseg.vectors.stream import ComponentBatch, batches_and_open

__all__ = ["simplified"]

REACH = 4.0
"""Distance within which components are simplified together, in tolerances; no outline moves further than half of it."""
TRIES = 4
"""How often the tolerance of a group is halved because an outline would move too far; then it stays as it is."""
SLACK = 1e-3
"""What is added to that distance, in pixels."""


def simplified(
    classes: Path | str,
    tolerance_m: float,
    *,
    codes: Collection[int] = (CROP, WEED),
    block_px: int = 2048,
    confidence: Path | str | None = None,
) -> Iterator[ComponentBatch]:
    """The components as `geoseg.vectors.batches` gives them, with simplified outlines; areas stay those of the pixels.

    Args:
        classes: Raster of uint8 classes.
        tolerance_m: In the unit of the CRS; about the square root of the area of the triangles that go.
        codes: Classes that are wanted.
        block_px: Side of the blocks that are read. Changes the order and nothing else.
        confidence: Raster of uint8 confidences 0..100 (255 where there is none) on the same grid.

    Raises:
        InputError: If a raster cannot be used as it is.
        ValueError: If the tolerance is negative.
    """
    if not (tolerance_m >= 0 and math.isfinite(tolerance_m)):
        raise ValueError(f"tolerance_m is {tolerance_m}; expected 0 or more")
    transform = pixel_grid(classes).transform
    scale = np.linalg.svd([[transform.a, transform.b], [transform.d, transform.e]], compute_uv=False).min()
    # Corners of neighbours on a turned grid lie off one another's sides by rounding, so no reach is ever nothing.
    reach, reach_px = REACH * tolerance_m + SLACK * scale, REACH * tolerance_m / scale + 1
    held: ComponentBatch | None = None
    for batch, open_boxes in batches_and_open(classes, codes=codes, block_px=block_px, confidence=confidence):
        held = batch if held is None else held.join(batch)
        group = _groups(held.geometry, reach)
        blocked = np.unique(group[_near(held.bbox, open_boxes, reach_px)])
        ready = ~np.isin(group, blocked)
        if ready.any():
            yield _simplify(held.select(ready), group[ready], tolerance_m, reach / 2)
        held = held.select(~ready)


def _groups(geometries: NDArray[np.object_], reach: float) -> NDArray[np.int64]:
    """The group of every polygon: those within reach of one another, and on from there."""
    first, second = shapely.STRtree(geometries).query(geometries, predicate="dwithin", distance=reach)
    size = len(geometries)
    links = csr_matrix((np.ones(first.size, np.int8), (first, second)), shape=(size, size))
    return np.asarray(connected_components(links, directed=False)[1], np.int64)


def _near(boxes: NDArray[np.int64], others: NDArray[np.int64], reach_px: float) -> NDArray[np.int64]:
    """Indices of the rectangles (row0, col0, row1, col1) that lie within reach of any of the others."""
    if not len(others):
        return np.empty(0, np.int64)
    low, high = others[:, :2] - reach_px, others[:, 2:] + reach_px
    tree = shapely.STRtree(shapely.box(low[:, 1], low[:, 0], high[:, 1], high[:, 0]))
    own = shapely.box(boxes[:, 1], boxes[:, 0], boxes[:, 3], boxes[:, 2])
    return np.unique(tree.query(own, predicate="intersects")[0])


def _simplify(batch: ComponentBatch, group: NDArray[Any], tolerance: float, limit: float) -> ComponentBatch:
    """The groups of a batch, one by one, members in the order of their ids."""
    order = np.lexsort((batch.id, group))
    batch, group = batch.select(order), group[order]
    starts = np.flatnonzero(np.append(True, group[1:] != group[:-1]))
    done = [_simplify_group(members, tolerance, limit) for members in np.split(batch.geometry, starts[1:])]
    return batch.with_geometry(np.concatenate(done))


def _simplify_group(members: NDArray[np.object_], tolerance: float, limit: float) -> NDArray[np.object_]:
    for attempt in range(TRIES):
        found = np.array(simplify(members, tolerance / 2**attempt), dtype=object)
        moved = shapely.hausdorff_distance(shapely.boundary(members), shapely.boundary(found))
        if (moved <= limit).all() and shapely.is_valid(found).all():
            return found
    return np.array(simplify(members, 0.0), dtype=object)
