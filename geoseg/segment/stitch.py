"""Blocks to one Cloud Optimized GeoTIFF for every layer. Each pixel is written once, by the block that holds it.

The file of a layer is one task: it reads that layer's part of every block, and leaves the finished file under a
temporary name. Tasks run side by side on whatever executor is given, threads of this process or workers of a cluster.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed, wait
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from odc.geo.geobox import GeoBox

from geoseg.errors import RunError
from geoseg.legend import LEGEND, NODATA
from geoseg.segment.blocks import BlockStore, CorruptBlockError, MissingBlockError
from geoseg.segment.cog import Sink, discard, publish, writing
from geoseg.segment.layers import CLASSES, Layer

__all__ = ["Assembly", "assemble_layer", "stitch"]


@dataclass(frozen=True)
class Assembly:
    """What the files of all layers are made from; small, because it travels with every task.

    Attributes:
        store: The blocks.
        grid: The working grid.
        files: Destination of every layer, by its name.
        tags: Provenance, kept as TIFF metadata.
        mark: Part of the names of all temporary files, by which they are found whoever wrote them.
    """

    store: BlockStore
    grid: GeoBox
    files: Mapping[str, Path]
    tags: Mapping[str, str]
    mark: str


def stitch(
    store: BlockStore,
    grid: GeoBox,
    files: Mapping[str, Path],
    tags: Mapping[str, str],
    executor: Executor | None = None,
) -> dict[int, int]:
    """Write a COG of every layer from all blocks.

    What is empty or failed keeps the layer's fill. Files are written under temporary names beside their destinations,
    side by side, and take their places when all are whole.

    Args:
        store: The blocks.
        grid: The working grid.
        files: Destination of every layer, by its name.
        tags: Provenance, kept as TIFF metadata.
        executor: Who does it; its workers must see the files. Threads of this process unless given.

    Raises:
        CorruptBlockError: If a block is damaged; no file is touched then.
        MissingBlockError: If a block has not been done.
        RunError: If the disk is full.

    Returns:
        Number of pixels by class code; nodata is counted inside blocks that are done only.
    """
    assembly = Assembly(store, grid, files, tags, f"m{uuid.uuid4().hex}")
    folders = {path.parent: path for path in files.values()}
    with ExitStack() as stack:
        for path in folders.values():
            stack.enter_context(writing(path.parent))  # here too: GDAL's memory is one for all threads
            stack.callback(discard, path, assembly.mark)
        if executor is None:
            executor = stack.enter_context(ThreadPoolExecutor(len(store.layers), "geoseg-cog"))
        made = _all_of(assembly, executor)
        for layer, (cog, _) in zip(store.layers, made, strict=True):
            publish(cog, files[layer.name], layer)
    counts = made[store.layers.index(CLASSES)][1]
    return {code: int(count) for code, count in enumerate(counts) if count}


def _all_of(assembly: Assembly, executor: Executor) -> list[tuple[Path, np.ndarray]]:
    """What `assemble_layer` gives for every layer; where one fails the others end early and leave nothing."""
    tasks = [executor.submit(assemble_layer, assembly, layer) for layer in assembly.store.layers]
    try:
        for task in as_completed(tasks):
            task.result()
    except BaseException as error:
        for task in tasks:
            task.cancel()
        for path in assembly.files.values():
            discard(path, assembly.mark)
        if isinstance(error, MissingBlockError):  # perhaps removed by another task, which knows better what it was
            wait(tasks)
            errors = [task.exception() for task in tasks if not task.cancelled()]
            raise next((other for other in errors if isinstance(other, CorruptBlockError)), error) from None
        raise
    return [task.result() for task in tasks]


def assemble_layer(assembly: Assembly, layer: Layer) -> tuple[Path, np.ndarray]:
    """Make the whole file of one layer, on any machine that sees the blocks.

    Returns:
        The file under its temporary name, and (256,) number of its pixels by value, for the classes only.

    Raises:
        RunError: As in `stitch`, or if nobody wants the file any more.
    """
    store, path = assembly.store, assembly.files[layer.name]
    counts = np.zeros(256, np.int64)
    store.must_be_seen()
    with writing(path.parent), ExitStack() as undo:
        sink = Sink(path, assembly.grid, layer, assembly.tags, store.block_px, assembly.mark)
        undo.callback(sink.discard)
        for block in store:
            if not sink.wanted:
                raise RunError(f"{path} is not wanted any more")
            found = store.load(block, layer)
            if found is not None:
                sink.write(block, found[0])
                if layer == CLASSES:
                    counts += _histogram(found[0])
        sink.finish()
        undo.pop_all()
    return sink.cog, counts


def _histogram(classes: np.ndarray) -> np.ndarray:
    """(256,) number of pixels of every value."""
    found = np.zeros(256, np.int64)
    for code in (*(entry.code for entry in LEGEND.entries), NODATA):
        found[code] = np.count_nonzero(classes == code)
    if found.sum() != classes.size:  # a model with codes of its own
        found = np.bincount(classes.ravel(), minlength=256)
    return found
