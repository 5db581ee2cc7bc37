"""What the sprayer makes of labels and of predictions: cells as wide as a section, along the rows of the raster."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from geoseg.legend import WEED
from geoseg.spray.rules import Seen, SprayConfig, decide

__all__ = ["SPRAY", "CellPass", "savings_curve"]

SPRAY = (
    "weed_m2", "missed_m2", "seen_m2", "needed_m2", "treated_m2", "both_m2",
    "needed_cells", "treated_cells", "both_cells",
)  # fmt: skip
"""Labelled weed, the part of it in cells that are not treated, ground seen, ground that the labels would have treated,
ground treated, both; and the cells of the last three."""


class CellPass:
    """Takes strips of full width and gives what each cell holds."""

    def __init__(self, shape: tuple[int, int], gsd_m: float, config: SprayConfig) -> None:
        """Lay the lattice of cells over a raster.

        Args:
            shape: (height, width) in pixels.
            gsd_m: Metres per pixel.
            config: The machine and its rule.
        """
        width_m, length_m = config.cell_m
        self.config, self.gsd_m = config, gsd_m
        self.cell_px = length_m / gsd_m, width_m / gsd_m
        rows, cols = (max(1, math.ceil(size / side)) for size, side in zip(shape, self.cell_px, strict=True))
        self.shape = rows, cols
        self.truth, self.found, self.seen = (np.zeros((rows, cols), np.int64) for _ in range(3))

    def add(self, row: int, labels: np.ndarray, classes: np.ndarray, seen: np.ndarray) -> None:
        """Count a strip that starts at `row`; `seen` says which of its pixels count."""
        self.truth += self._weeds(row, (labels == WEED) & seen)
        self.found += self._weeds(row, (classes == WEED) & seen)
        starts = np.flatnonzero(np.diff(self._axis(np.arange(seen.shape[1]), 1), prepend=-1))
        by_col = np.add.reduceat(seen, starts, axis=1, dtype=np.int64)
        lines = self._axis(np.arange(len(seen)) + row, 0)
        np.add.at(self.seen, lines, np.pad(by_col, ((0, 0), (0, self.shape[1] - by_col.shape[1]))))

    def finish(
        self, block_of: Callable[[np.ndarray, np.ndarray], np.ndarray], blocks: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """(blocks, 9) sums named by `SPRAY`, and (cells, 4): block, share predicted, weed m2, m2 seen.

        Args:
            block_of: Block of pixels, given rows and columns.
            blocks: Number of blocks.
        """
        pixel_m2 = self.gsd_m**2
        share = np.minimum(1.0, self.seen / (self.cell_px[0] * self.cell_px[1]))
        needed, treated = (
            decide(self.config, Seen(weed, self.seen, share, pixel_m2)).treated for weed in (self.truth, self.found)
        )
        area, weed = self.seen * pixel_m2, self.truth * pixel_m2
        columns = (
            weed, weed * ~treated, area, area * needed, area * treated, area * (needed & treated),
            needed, treated, needed & treated,
        )  # fmt: skip
        rows, cols = np.nonzero(self.seen)
        block = block_of(*(self._middle(index, axis) for axis, index in enumerate((rows, cols))))
        sums = np.stack([np.bincount(block, column[rows, cols], blocks) for column in columns], axis=1)
        predicted = self.found[rows, cols] / self.seen[rows, cols]
        return sums, np.stack([block, predicted, weed[rows, cols], area[rows, cols]], axis=1)

    def _middle(self, index: np.ndarray, axis: int) -> np.ndarray:
        return np.asarray((index + 0.5) * self.cell_px[axis] - 0.5)

    def _axis(self, pixels: np.ndarray, axis: int) -> np.ndarray:
        index = ((pixels + 0.5) / self.cell_px[axis]).astype(np.int64)
        return np.asarray(np.minimum(index, self.shape[axis] - 1))

    def _weeds(self, row: int, mask: np.ndarray) -> np.ndarray:
        rows, cols = np.nonzero(mask)
        cells = self._axis(rows + row, 0) * self.shape[1] + self._axis(cols, 1)
        return np.bincount(cells, minlength=self.truth.size).reshape(self.shape)


def savings_curve(predicted: np.ndarray, weed_m2: np.ndarray, area_m2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of the weed area reached against share of the ground treated, as more and more cells are treated.

    Cells with the most predicted weed come first. Cells of the same share come together, so the line between two points
    is what treating some of them at random gives; cells without any predicted weed come last.

    Args:
        predicted: (n,) share of predicted weed of each cell.
        weed_m2: (n,) labelled weed.
        area_m2: (n,) ground.

    Returns:
        (m,) share treated and (m,) share of the weed reached, both from 0 to 1.

    Example:
        >>> treated, reached = savings_curve(np.array([0.5, 0.0, 0.1]), np.array([3.0, 0, 1]), np.array([1.0, 1, 2]))
        >>> treated.tolist(), reached.tolist()
        ([0.0, 0.25, 0.75, 1.0], [0.0, 0.75, 1.0, 1.0])
    """
    order = np.argsort(-predicted, kind="stable")
    last = np.append(np.flatnonzero(np.diff(predicted[order])), len(order) - 1)
    treated, reached = (np.concatenate([[0.0], np.cumsum(values[order])[last]]) for values in (area_m2, weed_m2))
    return treated / max(treated[-1], 1e-300), reached / max(reached[-1], 1e-300)
