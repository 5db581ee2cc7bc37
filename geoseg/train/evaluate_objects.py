"""Plants and patches of labels and of predictions, compared one by one, from one pass over strips of pixels.

An object is a 4-connected region of one class, or what a raster of ids calls one. All that is kept of it is its
class, area and centre, and how many pixels it shares with which object of the other side; so memory grows with the
number of objects and not with pixels.

Predicted objects may reach into ground of which the labels say nothing (void). What lies there counts for nothing, and
an object that matches none and lies there for more than a half is not held against the prediction.

Reference:
    A. Kirillov et al. (2019), Panoptic segmentation, CVPR, section 4.2, https://arxiv.org/abs/1801.00868
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import label
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geoseg.legend import CROP, LEGEND, SOIL, WEED
from geoseg.train.evaluate import match_pairs

__all__ = ["Matches", "ObjectPass", "Objects", "match_objects"]


@dataclass(frozen=True)
class Objects:
    """Objects of one side.

    Attributes:
        code: (n,) classes.
        area_px: (n,) pixels outside of the void.
        void_px: (n,) pixels in the void.
        centre: (n, 2) mean row and column of the pixels outside of the void; the centre of pixel (0, 0) is (0, 0).
    """

    code: np.ndarray
    area_px: np.ndarray
    void_px: np.ndarray
    centre: np.ndarray

    @property
    def judged(self) -> np.ndarray:
        """(n,) bool: those that lie in the void for no more than a half."""
        return np.asarray(self.void_px <= self.area_px)


@dataclass(frozen=True)
class Matches:
    """Which objects of the labels were found.

    Attributes:
        truth: Objects of the labels.
        found: Objects of the prediction.
        centre_truth: (n,) bool, a predicted centre of the class lies in reach.
        centre_found: (m,) bool, the other side of those pairs.
        iou_truth: (n,) float, the intersection over union with a predicted object of the class where it is more than
            a half, else 0.
        iou_found: (m,) the same for predicted objects.
    """

    truth: Objects
    found: Objects
    centre_truth: np.ndarray
    centre_found: np.ndarray
    iou_truth: np.ndarray
    iou_found: np.ndarray


@dataclass
class _Side:
    """Objects of one raster while it passes by."""

    sums: list[np.ndarray] = field(default_factory=list)
    joins: list[np.ndarray] = field(default_factory=list)
    last: tuple[np.ndarray, np.ndarray] | None = None
    count: int = 0

    def add(self, row: int, classes: np.ndarray, ids: np.ndarray | None, void: np.ndarray | None) -> np.ndarray:
        """(H, W) int64 provisional ids of the strip."""
        marks = self._regions(classes) if ids is None else ids.astype(np.int64)
        rows, cols = np.nonzero(marks)
        which, codes = marks[rows, cols], classes[rows, cols].astype(np.int64)
        keys, first = np.unique(which * len(LEGEND) + codes, return_inverse=True)
        known = np.ones(len(rows)) if void is None else 1.0 - void[rows, cols]
        sums = (
            np.bincount(first, values, len(keys)) for values in (known, 1 - known, known * (rows + row), known * cols)
        )
        self.sums.append(np.stack([keys.astype(np.float64), *sums]))
        return marks

    def _regions(self, classes: np.ndarray) -> np.ndarray:
        marks = np.zeros(classes.shape, np.int64)
        for code in (CROP, WEED):
            found, count = label(classes == code)
            marks += np.where(found > 0, found.astype(np.int64) + self.count, 0)
            self.count += count
        if self.last is not None:
            above, above_classes = self.last
            same = (above > 0) & (marks[0] > 0) & (above_classes == classes[0])
            self.joins.append(np.stack([above[same], marks[0][same]]))
        self.last = marks[-1].copy(), classes[-1].copy()
        return marks

    def finish(self, min_px: float, marks: np.ndarray) -> tuple[Objects, np.ndarray]:
        """The objects, and for each of `marks`, provisional ids, the index of its object or -1."""
        sums = np.concatenate([np.zeros((5, 0)), *self.sums], axis=1)
        known, which = np.unique(sums[0].astype(np.int64) // len(LEGEND), return_inverse=True)
        code = sums[0].astype(np.int64) % len(LEGEND)
        joins = np.searchsorted(known, np.concatenate([np.zeros((2, 0), np.int64), *self.joins], axis=1))
        graph = coo_array((np.ones(joins.shape[1], bool), (joins[0], joins[1])), shape=(len(known), len(known)))
        count, of = connected_components(graph, directed=False) if len(known) else (0, np.zeros(0, np.int64))
        votes = np.zeros((count, len(LEGEND)))
        np.add.at(votes, (of[which], code), sums[1])
        area, void, row, col = (np.bincount(of[which], values, count) for values in sums[1:])
        votes[:, SOIL] = -1  # a plant is crop or weed, whatever soil lies inside its outline
        kept = (area >= max(min_px, 1) * (1 - 1e-9)) & (votes[:, 1:].max(axis=1) > 0)
        index = np.where(kept, np.cumsum(kept) - 1, -1)
        centre = np.stack([row[kept], col[kept]], axis=1) / area[kept, None]
        found = Objects(votes.argmax(axis=1)[kept], area[kept], void[kept], centre)
        return found, index[of[np.searchsorted(known, marks)]]


@dataclass
class ObjectPass:
    """Takes strips of full width from top to bottom and gives the objects of both sides."""

    _truth: _Side = field(default_factory=_Side)
    _found: _Side = field(default_factory=_Side)
    _shared: list[np.ndarray] = field(default_factory=list)

    def add(
        self,
        row: int,
        labels: np.ndarray,
        classes: np.ndarray,
        truth_ids: np.ndarray | None = None,
        found_ids: np.ndarray | None = None,
        void: np.ndarray | None = None,
    ) -> None:
        """Take the next strip.

        Args:
            row: Its first row.
            labels: (H, W) uint8, soil in the void.
            classes: (H, W) uint8 predicted.
            truth_ids: (H, W) ids of the labelled plants over the whole raster, 0 is none; None: connected regions.
            found_ids: The same of the prediction.
            void: (H, W) bool, pixels of which the labels say nothing; None: there are none.
        """
        there, here = self._truth.add(row, labels, truth_ids, None), self._found.add(row, classes, found_ids, void)
        both = (there > 0) & (here > 0)
        if both.any():
            pairs, pixels = np.unique(np.stack([there[both], here[both]]), axis=1, return_counts=True)
            self._shared.append(np.vstack([pairs, pixels]))

    def finish(self, min_px: float) -> tuple[Objects, Objects, np.ndarray]:
        """Objects of the labels, of the prediction, and (3, p): index, index and shared pixels of those that meet.

        Args:
            min_px: Smaller objects are left out on both sides.
        """
        shared = np.concatenate([np.zeros((3, 0), np.int64), *self._shared], axis=1)
        truth, one = self._truth.finish(min_px, shared[0])
        found, two = self._found.finish(min_px, shared[1])
        kept = (one >= 0) & (two >= 0)
        if not kept.any():
            return truth, found, np.zeros((3, 0), np.int64)
        size = len(truth.code), len(found.code)
        summed = coo_array((shared[2][kept], (one[kept], two[kept])), shape=size).tocsr().tocoo()
        return truth, found, np.stack([*summed.coords, summed.data])


def match_objects(truth: Objects, found: Objects, shared: np.ndarray, least_reach_px: float) -> Matches:
    """Pairs of labelled and predicted objects of one class, by centre and by overlap.

    By centre: nearest pairs first, one to one, within the radius of a circle as large as the labelled object. By
    overlap: an intersection over union of more than a half, which no object can have with two others.

    Args:
        truth: Objects of the labels.
        found: Objects of the prediction.
        shared: (3, p) index, index and pixels in common.
        least_reach_px: Reach of the smallest objects.
    """
    by_centre = np.zeros(len(truth.code), bool), np.zeros(len(found.code), bool)
    for code in (CROP, WEED):
        there, here = np.flatnonzero(truth.code == code), np.flatnonzero(found.code == code)
        reach = np.maximum(np.sqrt(truth.area_px[there] / np.pi), least_reach_px)
        pairs = match_pairs(found.centre[here], truth.centre[there], reach)
        by_centre[1][here[pairs[:, 0]]] = True
        by_centre[0][there[pairs[:, 1]]] = True
    one, two, pixels = shared
    iou = pixels / (truth.area_px[one] + found.area_px[two] - pixels)
    good = (iou > 0.5) & (truth.code[one] == found.code[two])
    best = np.zeros(len(truth.code)), np.zeros(len(found.code))
    best[0][one[good]] = iou[good]
    best[1][two[good]] = iou[good]
    return Matches(truth, found, *by_centre, *best)
