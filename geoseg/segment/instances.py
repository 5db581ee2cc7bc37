"""Vegetation of a class raster grouped into plants, streamed from the files. Knows rasters; crop or weed is a vote.

Crop and weed are grouped together: a plant of which a leaf was taken for a weed is one plant, and its class is that of
most of its pixels. What is held is a strip of the raster and the plants that reach out of it, and the result does not
depend on how the raster is read.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.segment.plantbatch import VEGETATION, Files, GroupStats, PlantBatch, Rasters, assemble, open_files
from geoseg.segment.splitting import Splitting, split_regions
from geoseg.segment.voteblocks import Held, VoteLabels
from geoseg.segment.voting import Voting
from geoseg.vectors.grid import read_rect
from geoseg.vectors.outlines import Released, Stats, Sweep
from geoseg.vectors.polygons import polygons
from geoseg.vectors.runs import Runs, join, join_runs, place_runs, take
from geoseg.vectors.stream import rows_of_runs, strip_rows
from geoseg.windows import Rect

__all__ = ["components_of", "split_of", "votes_of"]

LARGEST_PX = 4096
"""Longest side of a region that is cut; a larger one stays whole."""
BLOCK_PX = 3072
"""Side of the squares in which votes are counted; their surroundings are read as well."""
_THREADS = 2
"""Squares in which votes are counted side by side: what is held grows with them, and the outlines wait for no more."""
_GROUP_PX = 1024
"""Regions that begin in one square of this side are cut together."""


def components_of(rasters: Rasters, stats: GroupStats, block_px: int = 2048) -> Iterator[PlantBatch]:
    """Connected regions of vegetation as they are.

    Args:
        rasters: The files.
        stats: Counts; what is found is added.
        block_px: Side of the blocks that are read.

    Raises:
        InputError: If a raster cannot be used.
    """
    with open_files(rasters) as files:
        for released in _regions(files, block_px):
            found = released.stats
            stats.regions += found.id.size
            whole = found._replace(code=found.id)
            yield from _plants(whole, polygons(released.rings, files.transform), stats)


def split_of(rasters: Rasters, stats: GroupStats, splitting: Splitting, block_px: int = 2048) -> Iterator[PlantBatch]:
    """Connected regions of vegetation, cut where they are narrow between two middles.

    Regions that cannot hold two centres stay as they are and cost nothing more.

    Args:
        rasters: The files.
        stats: Counts; what is found is added.
        splitting: How regions are cut.
        block_px: Side of the blocks that are read.

    Raises:
        InputError: If a raster cannot be used.
    """
    with open_files(rasters) as files:
        for released in _regions(files, block_px):
            found = released.stats
            height, width = found.row1 - found.row0, found.col1 - found.col0
            large = np.maximum(height, width) > LARGEST_PX
            cut = splitting.holds_two(height, width) & ~large
            stats.regions += found.id.size
            stats.uncut += int(np.count_nonzero(large))
            whole = take(found, ~cut)
            pieces = [whole._replace(code=whole.id)]
            shapes = [polygons(released.rings, files.transform)[~cut]]
            for number, group in enumerate(_groups(take(found, cut))):
                parts = _cut(files, group, splitting)
                pieces.append(parts.stats._replace(code=-parts.stats.code - number * 2**32))
                shapes.append(polygons(parts.rings, files.transform))
            yield from _plants(join(*pieces), np.concatenate(shapes), stats)


def votes_of(rasters: Rasters, stats: GroupStats, voting: Voting, block_px: int = BLOCK_PX) -> Iterator[PlantBatch]:
    """Vegetation grouped by the centres for which its pixels vote; a plant may be of several pieces.

    Args:
        rasters: The files, offsets among them.
        stats: Counts; what is found is added.
        voting: How votes become centres.
        block_px: Side of the squares in which votes are counted; an odd one is made even.

    Raises:
        InputError: If a raster cannot be used.
    """
    with open_files(rasters) as files:
        if files.offsets is None:
            raise InputError(f"{rasters.classes} has no offsets beside it; take plants.method watershed or components")
        shape = files.classes.shape
        labels = VoteLabels(files, files.offsets, voting, stats)
        sweep, regions, held = Sweep(shape[1]), Sweep(shape[1], outlines=False), Held(labels, stats)
        side = block_px + block_px % 2
        rows = rows_of_runs(shape, side, side, labels.runs, threads=_THREADS)
        for last_row, runs in itertools.chain(rows, [(shape[0], Runs.none())]):
            released = sweep.feed(runs, last_row)
            as_one = join_runs([runs._replace(code=np.ones_like(runs.code)), Runs.none()], shape[1])
            stats.regions += regions.feed(as_one, last_row).stats.id.size
            whole = held.add(released.stats, polygons(released.rings, files.transform), last_row)
            yield from _plants(*whole, stats)


def _plants(pieces: Stats, shapes: NDArray[np.object_], stats: GroupStats) -> Iterator[PlantBatch]:
    """Pieces as plants, if there are any, and counted."""
    if not pieces.id.size:
        return
    plants = assemble(pieces, shapes)
    stats.pieces += pieces.id.size
    stats.plants += len(plants)
    stats.longest_px = max(stats.longest_px, int((plants.bbox[:, 2:] - plants.bbox[:, :2]).max()))
    yield plants


def _regions(files: Files, block_px: int) -> Iterator[Released]:
    """Connected regions of vegetation with their outlines."""
    if block_px <= 0:
        raise InputError(f"block_px is {block_px}; expected a positive number of pixels")

    def find(rect: Rect) -> Runs:
        classes = read_rect(files.classes, rect)
        return files.runs(rect, VEGETATION[classes].view(np.int8), classes)

    shape = files.classes.shape
    sweep = Sweep(shape[1])
    rows = rows_of_runs(shape, strip_rows(files.classes, block_px), block_px, find)
    for last_row, runs in itertools.chain(rows, [(shape[0], Runs.none())]):
        released = sweep.feed(runs, last_row)
        if released.stats.id.size:
            yield released


def _groups(regions: Stats) -> Iterator[Stats]:
    """Regions that lie near one another."""
    square = regions.row0 // _GROUP_PX * 2**32 + regions.col0 // _GROUP_PX
    order = np.argsort(square, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(square[order]) != 0)[: order.size])
    for group in np.split(order, starts[1:]) if order.size else ():
        yield take(regions, group)


def _cut(files: Files, regions: Stats, splitting: Splitting) -> Released:
    """Regions read again and cut; the code of a piece is the number of its plant, from 1."""
    shape = files.classes.shape
    around = Rect(int(regions.row0.min()), int(regions.col0.min()), int(regions.row1.max()), int(regions.col1.max()))
    rect = around.grow(1).clip(shape)
    classes = read_rect(files.classes, rect)
    first = regions.id // shape[1] - rect.row0, regions.id % shape[1] - rect.col0
    label = split_regions(VEGETATION[classes], first, splitting)
    runs = place_runs(files.runs(rect, label, classes), rect.shape[1], (rect.row0, rect.col0), shape[1])
    return Sweep(shape[1]).feed(runs, shape[0])
