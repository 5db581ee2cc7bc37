"""Plants that are crop on one side of a straight line and weed on the other: labels that were put together from tiles.

Plants that touch meet along a ragged line; a seam is straight. Seams are looked for along rows and columns of pixels.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from geoseg.legend import CROP, WEED

__all__ = ["Seam", "class_edges", "find_seams"]

_NEAR_PX = 4  # other edges of the contact lie within this distance, if it is ragged


class Seam(NamedTuple):
    """A straight contact of two classes.

    Attributes:
        down: True for a seam between two columns, False between two rows.
        line: First column or row behind the seam.
        start: First pixel along the seam.
        stop: One past the last.
        length: Pixels along which the classes touch.
        straight: Share of the contact that lies on the line, 0..1.
        others: Seams on the same line.
    """

    down: bool
    line: int
    start: int
    stop: int
    length: int
    straight: float
    others: int = 0


def class_edges(classes: np.ndarray, row0: int = 0, col0: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pixel edges between crop and weed: (n, 2) (row, col) of the lower pixel, and (m, 2) of the right one."""

    def differ(one: np.ndarray, two: np.ndarray) -> np.ndarray:
        return np.asarray(((one == CROP) & (two == WEED)) | ((one == WEED) & (two == CROP)), bool)

    across = np.add(np.argwhere(differ(classes[:-1], classes[1:])), (row0 + 1, col0))
    down = np.add(np.argwhere(differ(classes[:, :-1], classes[:, 1:])), (row0, col0 + 1))
    return across, down


def find_seams(across: np.ndarray, down: np.ndarray, min_px: int = 6, gap_px: int = 32) -> list[Seam]:
    """Straight contacts, the longest first.

    Args:
        across: (n, 2) edges between rows, as `class_edges` gives them.
        down: (m, 2) edges between columns.
        min_px: Shortest contact.
        gap_px: Contacts on one line with no more than this between them are one.
    """
    seams = []
    turned = across[:, ::-1], down[:, ::-1]  # a seam between columns is one between rows of the picture turned over
    for vertical, own, other in ((False, across, down), (True, turned[1], turned[0])):
        seams += [seam._replace(down=vertical) for seam in _on_lines(own, other, min_px, gap_px)]
    return sorted(_with_others(seams), key=lambda seam: (-seam.length, seam.line, seam.start))


def _on_lines(edges: np.ndarray, strange: np.ndarray, min_px: int, gap_px: int) -> Iterable[Seam]:
    """Runs of edges (line, place) on one line; `strange` are edges across, (line, place) as well."""
    if not len(edges):
        return
    edges = edges[np.lexsort((edges[:, 1], edges[:, 0]))]
    breaks = (np.diff(edges[:, 0]) != 0) | (np.diff(edges[:, 1]) > gap_px)
    for run in np.split(edges, np.flatnonzero(breaks) + 1):
        if len(run) < min_px:
            continue
        line, start, stop = int(run[0, 0]), int(run[0, 1]), int(run[-1, 1]) + 1
        beside = _count(edges, line, start, stop) - len(run)
        crossing = _count(strange, line, start, stop) if len(strange) else 0
        yield Seam(False, line, start, stop, len(run), len(run) / (len(run) + beside + crossing))


def _count(edges: np.ndarray, line: int, start: int, stop: int) -> int:
    near = np.abs(edges[:, 0] - line) <= _NEAR_PX
    return int((near & (edges[:, 1] >= start - _NEAR_PX) & (edges[:, 1] < stop + _NEAR_PX)).sum())


def _with_others(seams: list[Seam]) -> list[Seam]:
    keys = [(seam.down, seam.line) for seam in seams]
    return [seam._replace(others=keys.count(key) - 1) for seam, key in zip(seams, keys, strict=True)]
