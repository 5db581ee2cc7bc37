"""Voting over a whole raster: squares with their surroundings, and plants held until all of their pieces are known."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoseg.segment.plantbatch import VEGETATION, Files, GroupStats
from geoseg.segment.voting import Voting, group_votes
from geoseg.vectors.grid import read_rect
from geoseg.vectors.outlines import Stats
from geoseg.vectors.runs import Runs, join, take
from geoseg.windows import Rect

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

__all__ = ["Held", "VoteLabels"]

Ints = NDArray[np.int64]


class VoteLabels:
    """Finds the centre of every vegetation pixel, square by square; a label is the place of the centre.

    Centres may lie outside the raster, where a plant is cut by its edge: places are counted on the offsets' grid with a
    border of the longest offset around it.
    """

    def __init__(self, files: Files, offsets: DatasetReader, voting: Voting, stats: GroupStats) -> None:
        """Take the opened files.

        Args:
            files: The rasters.
            offsets: Raster of offsets.
            voting: How votes become centres.
            stats: Pixels near no centre are added.
        """
        self._files = files
        self._offsets = offsets
        self._voting = voting
        self._stats = stats
        self._half = -(-files.classes.height // 2), -(-files.classes.width // 2)
        self._border = voting.longest_px + voting.smooth_px + 1
        self._width = self._half[1] + 2 * self._border
        self._lock = Lock()
        self.long = np.empty(0, np.int64)

    def last_row(self, code: Ints) -> Ints:
        """The last row of the class raster in which a pixel can belong to each centre."""
        row = code // self._width - self._border
        last = 2 * (row + self._voting.longest_px + self._voting.reach_px) + 1
        return np.asarray(np.minimum(last, self._files.classes.height - 1), np.int64)

    def runs(self, rect: Rect) -> Runs:
        """Runs of pixels with one centre; positions are counted in the rectangle, whose corner is on even pixels.

        May be called from several threads.
        """
        with self._lock:
            classes = read_rect(self._files.classes, rect)
        vegetation = VEGETATION[classes]
        if not vegetation.any():
            return Runs.none()
        half = Rect(rect.row0 // 2, rect.col0 // 2, -(-rect.row1 // 2), -(-rect.col1 // 2))
        frame = self._frame(half)
        grouped = group_votes(*self._around(frame), self._voting, half.relative_to(frame))
        height, width = rect.shape
        label = np.repeat(np.repeat(grouped.label, 2, axis=0)[:height], 2, axis=1)[:, :width] * vegetation
        unclaimed = int(np.count_nonzero(vegetation) - np.count_nonzero(label))
        place = (grouped.centres.row + frame.row0 + self._border) * self._width
        place = np.append(-1, place + grouped.centres.col + frame.col0 + self._border)
        long = place[np.unique(grouped.label[grouped.long])]
        with self._lock:
            self._stats.unclaimed_px += unclaimed
            self.long = np.union1d(self.long, long)
            runs = self._files.runs(rect, label, classes)
        return runs._replace(code=place[runs.code])

    def _frame(self, half: Rect) -> Rect:
        """What has a say in a rectangle of the offsets' grid; beyond the border of the raster no centre lies."""
        rect, border, (height, width) = half.grow(self._voting.halo_px), self._border, self._half
        least = max(rect.row0, -border), max(rect.col0, -border)
        return Rect(*least, min(rect.row1, height + border), min(rect.col1, width + border))

    def _around(self, frame: Rect) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
        """Vegetation pixels per pixel of the offsets' grid, and the offsets; 0 outside the raster."""
        offsets = np.zeros((2, *frame.shape), np.int8)
        weight = np.zeros(frame.shape, np.uint8)
        inside = frame.clip(self._half)
        place = inside.relative_to(frame)
        full = Rect(2 * inside.row0, 2 * inside.col0, 2 * inside.row1, 2 * inside.col1).clip(self._files.classes.shape)
        with self._lock:
            offsets[(slice(None), *place.slices)] = read_rect(self._offsets, inside, [1, 2])
            classes = read_rect(self._files.classes, full)
        plants = VEGETATION[classes].view(np.uint8)
        for row in (0, 1):
            for col in (0, 1):
                part = plants[row::2, col::2]
                weight[place.row0 : place.row0 + part.shape[0], place.col0 : place.col0 + part.shape[1]] += part
        return weight, offsets


class Held:
    """Pieces of plants that wait for others of the same centre."""

    def __init__(self, labels: VoteLabels, stats: GroupStats) -> None:
        """Start with none.

        Args:
            labels: What made the pieces.
            stats: Plants that reach too far are added.
        """
        self._labels = labels
        self._stats = stats
        self._pieces: Stats | None = None
        self._shapes = np.empty(0, object)

    def add(self, pieces: Stats, shapes: NDArray[np.object_], last_row: int) -> tuple[Stats, NDArray[np.object_]]:
        """Add pieces and give back those of plants that are whole, now that the raster is known up to `last_row`."""
        if self._pieces is not None:
            pieces, shapes = join(self._pieces, pieces), np.concatenate([self._shapes, shapes])
        whole = self._labels.last_row(pieces.code) < last_row
        self._pieces, self._shapes = take(pieces, ~whole), shapes[~whole]
        done = take(pieces, whole)
        long = np.isin(self._labels.long, done.code)
        self._stats.long += int(np.count_nonzero(long))
        self._labels.long = self._labels.long[~long]
        return done, shapes[whole]
