"""Edges of classes, and which of them lie near those of another raster: what the boundary F1 counts.

Reference: Csurka et al. 2013, What is a good evaluation measure for semantic segmentation?, BMVC,
https://doi.org/10.5244/C.27.32
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

__all__ = ["edge_pixels", "near"]


def edge_pixels(inside: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(n, 2) rows and columns of pixels of a class with a neighbour of another class above, below, left or right.

    Args:
        inside: (H, W) bool, the class.
        known: (H, W) bool; where it is False is no class and no neighbour.
    """
    inside, other = inside & known, ~inside & known
    edge = np.zeros(inside.shape, bool)
    edge[1:] |= inside[1:] & other[:-1]
    edge[:-1] |= inside[:-1] & other[1:]
    edge[:, 1:] |= inside[:, 1:] & other[:, :-1]
    edge[:, :-1] |= inside[:, :-1] & other[:, 1:]
    return np.argwhere(edge)


def near(points: np.ndarray, others: np.ndarray, reach: float) -> np.ndarray:
    """(n,) bool: which points have one of the others within reach.

    Args:
        points: (n, 2) rows and columns.
        others: (m, 2) rows and columns.
        reach: Farthest distance, pixels.
    """
    if not len(others):
        return np.zeros(len(points), bool)
    distance, _ = cKDTree(others).query(points, distance_upper_bound=reach * (1 + 1e-9))
    return np.asarray(np.isfinite(distance))
