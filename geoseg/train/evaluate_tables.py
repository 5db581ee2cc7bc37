"""Counts of right and wrong per block of ground, from one pass over labels and predictions.

Every score of `geoseg.train.evaluate_scores` is a function of sums over blocks, so that a bootstrap over blocks only
weighs them anew. A block is a square of ground, or a plot; pixels of one block are not independent, blocks nearly are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from geoseg.legend import LEGEND, NODATA, SOIL
from geoseg.train.evaluate_cells import CellPass
from geoseg.train.evaluate_edges import edge_pixels, near
from geoseg.train.evaluate_ground import Ground, Plots, Squares
from geoseg.train.evaluate_objects import Matches, ObjectPass, match_objects
from geoseg.train.evaluate_settings import EvaluateConfig, Opened, Pair, Patch
from geoseg.windows import Rect

__all__ = ["Tables", "count_pair", "counted", "join_tables", "sized"]

_STRIP_PX = 2**21
_LARGEST_M, _ENOUGH = 2.0, 10


@dataclass(frozen=True)
class Tables:
    """Counts per block, in order of place; K classes.

    Attributes:
        matrix: (B, K, K) pixels, rows are labels.
        edges: (B, K, 4) predicted edge pixels near a labelled edge, predicted, labelled near predicted, labelled.
        bins: (B, K, bins, 3) pixels, sum of confidence 0..1 and right pixels by predicted class and confidence.
        near: (B, K, 3) plants found by centre, predicted in vain, and missed.
        whole: (B, K, 4) the same by overlap of more than a half, and the sum of the overlaps found.
        counts: (B, K, 2) labelled and predicted plants, without those that the labels cannot judge.
        spray: (B, 9) as `geoseg.train.evaluate_cells.SPRAY` names them.
        cells: (cells, 4) block, share of weed predicted, labelled weed m2, m2 seen.
        where: The pair and rectangle of each block.
        names: Name of each block, empty where its place says all.
        sides_m: Sides of the blocks that are squares, each once; empty where all are plots.
    """

    matrix: np.ndarray
    edges: np.ndarray
    bins: np.ndarray
    near: np.ndarray
    whole: np.ndarray
    counts: np.ndarray
    spray: np.ndarray
    cells: np.ndarray
    where: tuple[tuple[Pair, Rect], ...]
    names: tuple[str, ...]
    sides_m: tuple[float, ...]

    def __len__(self) -> int:
        """Number of blocks."""
        return len(self.where)

    @property
    def blocks(self) -> str:
        """What the blocks are, for people: ``squares of 2 m`` or ``plots``."""
        return f"squares of {' and '.join(f'{side:g}' for side in self.sides_m)} m" if self.sides_m else "plots"


_PER_BLOCK = ("matrix", "edges", "bins", "near", "whole", "counts", "spray")


def join_tables(tables: list[Tables]) -> Tables:
    """Blocks of several pairs as one table."""
    start = np.cumsum([0, *(len(one) for one in tables[:-1])])
    cells = [one.cells + np.array([first, 0, 0, 0]) for one, first in zip(tables, start, strict=True)]
    parts = {name: np.concatenate([getattr(one, name) for one in tables]) for name in _PER_BLOCK}
    where, names = (tuple(entry for one in tables for entry in getattr(one, key)) for key in ("where", "names"))
    sides = tuple(sorted({side for one in tables for side in one.sides_m}))
    return Tables(**parts, cells=np.concatenate(cells), where=where, names=names, sides_m=sides)


def counted(pair: Pair, part: Rect | None) -> Rect:
    """The pixels of a pair that count: those of `part`; None takes all."""
    return (part or Rect(0, 0, *pair.shape)).clip(pair.shape)


def sized(config: EvaluateConfig, pairs: Sequence[Pair], part: Rect | None = None) -> EvaluateConfig:
    """The settings with a side of the squares: as it is set, else one that gives ten of them on this ground.

    Three images of 1.6 m are three squares of 2 m: too few for an interval, so they are cut into squares of 1 m.
    """
    if config.block_m is not None:
        return config
    side = _LARGEST_M
    shapes = [(counted(one, part).shape, one.gsd_m) for one in pairs]
    smallest = max((gsd for _, gsd in shapes), default=side)
    while side / 2 > smallest and sum(len(Squares(shape, side / gsd)) for shape, gsd in shapes) < _ENOUGH:
        side /= 2
    return replace(config, block_m=side)


def count_pair(
    pair: Pair,
    config: EvaluateConfig,
    part: Rect | None = None,
    plots: Plots | None = None,
    progress: Callable[[int], None] = lambda pixels: None,
) -> Tables:
    """Counts of one pair, strip by strip.

    Args:
        pair: Labels and prediction.
        config: How scores are taken.
        part: Only these pixels; None takes all.
        plots: Count in these instead of squares, and leave out what lies in none.
        progress: Called with the number of pixels that were counted.
    """
    rect = counted(pair, part)
    ground = Squares(rect.shape, (config.block_m or _LARGEST_M) / pair.gsd_m) if plots is None else plots.of_part(rect)
    counts = _Counts(pair, config, rect, ground)
    with pair.open() as opened:
        for strip in _strips(rect):
            counts.add(opened, strip)
            progress(strip.size)
    return counts.finish()


def _strips(rect: Rect) -> Iterator[Rect]:
    rows = max(64, _STRIP_PX // max(rect.shape[1], 1))
    for row in range(rect.row0, rect.row1, rows):
        yield Rect(row, rect.col0, min(row + rows, rect.row1), rect.col1)


class _Counts:
    """The counts of one pair while strips pass by; places are counted from the corner of `rect`."""

    def __init__(self, pair: Pair, config: EvaluateConfig, rect: Rect, ground: Ground) -> None:
        self.pair, self.config, self.rect, self.ground = pair, config, rect, ground
        self.size = len(ground)
        classes = len(LEGEND)
        self.matrix = np.zeros((self.size, classes, classes), np.int64)
        self.edges = np.zeros((self.size, classes, 4), np.int64)
        self.bins = np.zeros((self.size, classes, config.bins, 3))
        self.objects = ObjectPass()
        self.cells = CellPass(rect.shape, pair.gsd_m, config.spray)
        self.reach = max(1.0, config.tolerance_m / pair.gsd_m)

    def add(self, opened: Opened, strip: Rect) -> None:
        """Count the pixels of a strip."""
        halo = math.ceil(self.reach) + 1
        wide = Rect(
            max(strip.row0 - halo, self.rect.row0), strip.col0, min(strip.row1 + halo, self.rect.row1), strip.col1
        )
        patch = opened.read(wide)
        known = (patch.labels != NODATA) & (patch.classes != NODATA)
        inner = slice(strip.row0 - wide.row0, strip.row1 - wide.row0)
        row0 = strip.row0 - self.rect.row0
        self._edges(patch, known, inner, row0)
        labels, classes, seen = patch.labels[inner], patch.classes[inner], known[inner]
        block = self.ground.pixels(row0, labels.shape)
        counted = seen & (block >= 0)
        percent = None if patch.confidence is None else patch.confidence[inner][counted]
        self._pixels(labels[counted], classes[counted], block[counted], percent)
        self.cells.add(row0, labels, classes, counted)
        guessed = classes != NODATA
        there, here = np.where(seen, labels, SOIL), np.where(guessed, classes, SOIL)
        truth, found = (
            None if ids is None else np.where(mask, ids[inner], 0)
            for ids, mask in ((patch.truth_ids, seen), (patch.found_ids, guessed))
        )
        self.objects.add(row0, there, here, truth, found, labels == NODATA)

    def _pixels(self, labels: np.ndarray, classes: np.ndarray, block: np.ndarray, percent: np.ndarray | None) -> None:
        size = len(LEGEND)
        pairs = (block * size + labels) * size + classes
        self.matrix += np.bincount(pairs, minlength=self.matrix.size).reshape(self.matrix.shape)
        if percent is None:
            return
        bins = self.config.bins
        level = np.minimum(percent.astype(np.int64) * bins // 100, bins - 1)
        index = (block * size + classes) * bins + level
        for nth, weights in enumerate((None, percent / 100, labels == classes)):
            found = np.bincount(index, weights, self.bins[..., 0].size)
            self.bins[..., nth] += found.reshape(self.bins.shape[:3])

    def _edges(self, patch: Patch, known: np.ndarray, inner: slice, row0: int) -> None:
        for code in range(len(LEGEND)):
            found, truth = (edge_pixels(raster == code, known) for raster in (patch.classes, patch.labels))
            for nth, (one, other) in enumerate(((found, truth), (truth, found))):
                inside = one[(one[:, 0] >= inner.start) & (one[:, 0] < inner.stop)]
                if not len(inside):
                    continue
                block = self.ground.of(inside[:, 0] - inner.start + row0, inside[:, 1])
                inside, block = inside[block >= 0], block[block >= 0]
                hit = near(inside, other, self.reach)
                self.edges[:, code, 2 * nth] += np.bincount(block[hit], minlength=self.size)
                self.edges[:, code, 2 * nth + 1] += np.bincount(block, minlength=self.size)

    def finish(self) -> Tables:
        """The table, without blocks in which nothing was seen."""
        pixel_m2 = self.pair.gsd_m**2
        truth, found, shared = self.objects.finish(self.config.min_object_m2 / pixel_m2)
        by_centre, whole, counts = self._objects(match_objects(truth, found, shared, self.reach))
        spray, cells = self.cells.finish(self.ground.nearest, self.size)
        kept = self.matrix.any(axis=(1, 2)) | spray.any(axis=1) | counts.any(axis=(1, 2))
        cells[:, 0] = (np.cumsum(kept) - 1)[cells[:, 0].astype(np.int64)]
        counted = (self.matrix, self.edges, self.bins, by_centre, whole, counts, spray)
        per_block = {name: one[kept] for name, one in zip(_PER_BLOCK, counted, strict=True)}
        blocks = np.flatnonzero(kept).tolist()
        where = tuple((self.pair, self._place(block)) for block in blocks)
        names = tuple(self.ground.name(block) for block in blocks)
        side = self.ground.side_px
        sides = () if side is None else (round(side * self.pair.gsd_m, 6),)
        return Tables(**per_block, cells=cells, where=where, names=names, sides_m=sides)

    def _objects(self, matches: Matches) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        by_centre = np.zeros((self.size, len(LEGEND), 3))
        whole = np.zeros((self.size, len(LEGEND), 4))
        counts = np.zeros((self.size, len(LEGEND), 2))
        truth, found = matches.truth, matches.found
        there, here = self.ground.of(*truth.centre.T), self.ground.of(*found.centre.T)
        one, two = there >= 0, here >= 0  # an object belongs to the block that holds its centre, or to none
        labelled, predicted = (there[one], truth.code[one]), (here[two], found.code[two])
        np.add.at(counts[..., 0], labelled, 1)
        np.add.at(counts[..., 1], predicted, (matches.centre_found | found.judged)[two])
        for table, hit, other in (
            (by_centre, matches.centre_truth[one], matches.centre_found[two]),
            (whole, matches.iou_truth[one] > 0, matches.iou_found[two] > 0),
        ):
            np.add.at(table[..., 0], labelled, hit)
            np.add.at(table[..., 1], predicted, ~other & found.judged[two])
            np.add.at(table[..., 2], labelled, ~hit)
        np.add.at(whole[..., 3], labelled, matches.iou_truth[one])
        return by_centre, whole, counts

    def _place(self, block: int) -> Rect:
        inside = self.ground.rect(block)
        return Rect(
            inside.row0 + self.rect.row0,
            inside.col0 + self.rect.col0,
            inside.row1 + self.rect.row0,
            inside.col1 + self.rect.col0,
        )
