"""How good a class raster is, measured against labels over a whole data set and not as a mean of tiles."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import LabelError
from geoseg.legend import LEGEND, NODATA
from geoseg.train.labelgrid import check_grid, check_one_band
from geoseg.windows import Rect, windows

__all__ = ["Scores", "confusion", "evaluate_raster", "match_pairs", "match_points", "scores"]


@dataclass(frozen=True)
class Scores:
    """Scores per class, in the order of the legend; NaN where a class occurs neither in labels nor in predictions.

    Attributes:
        matrix: (K, K) int64 pixels, rows are labels and columns predictions.
        iou: Intersection over union.
        precision: Share of the predicted pixels that are right.
        recall: Share of the labelled pixels that are found.
        f1: Harmonic mean of the two.
    """

    matrix: np.ndarray
    iou: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray

    @property
    def miou(self) -> float:
        """Mean of the classes' IoU, classes that do not occur left out."""
        return float(np.nanmean(self.iou))

    def to_dict(self, digits: int = 4) -> dict[str, Any]:
        """Plain data for cards and JSON."""
        per_class = {
            name: {key: _rounded(getattr(self, key)[code], digits) for key in ("iou", "precision", "recall", "f1")}
            for code, name in enumerate(LEGEND.names)
        }
        return {"miou": _rounded(self.miou, digits), "pixels": int(self.matrix.sum()), "classes": per_class}

    def lines(self) -> list[str]:
        """A table for people."""
        rows = [f"{'class':<8}{'IoU':>8}{'precision':>11}{'recall':>8}{'F1':>8}{'pixels':>14}"]
        for code, name in enumerate(LEGEND.names):
            values = (self.iou[code], self.precision[code], self.recall[code], self.f1[code])
            rows.append("{:<8}{:>8.3f}{:>11.3f}{:>8.3f}{:>8.3f}{:>14,}".format(name, *values, self.matrix[code].sum()))
        return [*rows, f"mIoU    {self.miou:>8.3f}"]


def confusion(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """(K, K) int64 counts of pixels, rows are labels and columns predictions; what is 255 in either is left out.

    Args:
        labels: Integer array of class codes.
        classes: The same shape, predicted.

    Raises:
        LabelError: If the shapes differ or a code is not in the legend.
    """
    if labels.shape != classes.shape:
        raise LabelError(f"labels of shape {labels.shape} against classes of shape {classes.shape}")
    known = (labels != NODATA) & (classes != NODATA)
    there, here = labels[known].astype(np.int64), classes[known].astype(np.int64)
    size = len(LEGEND)
    if there.size and max(there.max(), here.max()) >= size:
        raise LabelError(f"a class code is {max(there.max(), here.max())}; expected 0 to {size - 1}, or {NODATA}")
    return np.bincount(there * size + here, minlength=size * size).reshape(size, size)


def scores(matrix: np.ndarray) -> Scores:
    """Scores of a confusion matrix.

    Example:
        >>> found = scores(np.array([[8, 0, 0], [0, 3, 1], [0, 1, 2]]))
        >>> found.iou.round(2).tolist(), round(found.miou, 2)
        ([1.0, 0.6, 0.5], 0.7)
    """
    hits = np.diagonal(matrix).astype(float)
    labelled, predicted = matrix.sum(axis=1).astype(float), matrix.sum(axis=0).astype(float)
    return Scores(
        matrix,
        iou=_ratio(hits, labelled + predicted - hits),
        precision=_ratio(hits, predicted),
        recall=_ratio(hits, labelled),
        f1=_ratio(2 * hits, labelled + predicted),
    )


def evaluate_raster(classes: Path, labels: Path, part: Rect | None = None, block_px: int = 2048) -> Scores:
    """Scores of a class raster against a label raster on the same grid.

    Args:
        classes: Class raster; 255 is left out.
        labels: Label raster; 255 is left out.
        part: Only these pixels; None takes all.
        block_px: Side of the blocks that are read.

    Raises:
        LabelError: If a raster cannot be read or the grids differ.
    """
    try:
        with rasterio.open(classes) as found, rasterio.open(labels) as truth:
            check_one_band(labels, truth, "class codes")
            check_grid(labels, truth, GeoBox(found.shape, found.transform, found.crs))
            rect = (part or Rect(0, 0, *found.shape)).clip(found.shape)
            total = np.zeros((len(LEGEND), len(LEGEND)), np.int64)
            for window in windows(rect.shape, block_px, 0):
                row, col = rect.row0 + window.write.row0, rect.col0 + window.write.col0
                view = RasterioWindow(col, row, window.write.shape[1], window.write.shape[0])
                total += confusion(truth.read(1, window=view), found.read(1, window=view))
    except rasterio.errors.RasterioIOError as error:
        raise LabelError(f"a raster cannot be read: {error}") from error
    return scores(total)


def match_points(found: np.ndarray, truth: np.ndarray, radius: float | np.ndarray) -> tuple[int, int, int]:
    """True positives, false positives and false negatives of points, matched as in `match_pairs`."""
    hits = len(match_pairs(found, truth, radius))
    return hits, len(found) - hits, len(truth) - hits


def match_pairs(found: np.ndarray, truth: np.ndarray, radius: float | np.ndarray) -> np.ndarray:
    """(k, 2) int indices into `found` and `truth` of points matched one to one, nearest pairs first.

    Args:
        found: (n, 2) coordinates.
        truth: (m, 2) coordinates.
        radius: Farthest distance of a match, one for all or (m,) per true point; same unit.
    """
    from scipy.spatial import cKDTree

    if not len(found) or not len(truth):
        return np.zeros((0, 2), np.int64)
    limits = np.broadcast_to(np.asarray(radius, float), (len(truth),))
    near = cKDTree(found).query_ball_point(truth, limits)
    pairs = [
        (float(np.hypot(*(found[index] - truth[target]))), target, index)
        for target, candidates in enumerate(near)
        for index in candidates
    ]
    return np.array(_greedy(sorted(pairs)), np.int64).reshape(-1, 2)


def _greedy(pairs: Iterable[tuple[float, int, int]]) -> list[tuple[int, int]]:
    targets: set[int] = set()
    used: set[int] = set()
    chosen = []
    for _, target, index in pairs:
        if target not in targets and index not in used:
            targets.add(target)
            used.add(index)
            chosen.append((index, target))
    return chosen


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    ratio: np.ndarray = np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
    return ratio


def _rounded(value: float, digits: int) -> float | None:
    return None if np.isnan(value) else round(float(value), digits)
