"""The loop: read windows ahead, run the network, keep what it gives block by block.

Reader threads fetch windows before they are needed, one thread runs the network, the calling thread puts what it gave
into blocks meanwhile, and a writer thread compresses finished blocks. Memory is bounded by the windows in flight
and two open blocks, whatever the size of the ortho.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from typing import Protocol

import numpy as np

from geoseg.errors import OrthoError
from geoseg.models.card import Segmenter
from geoseg.progress import span
from geoseg.segment.blocks import BlockStore
from geoseg.segment.device import Loader, classify
from geoseg.segment.forward import Forward
from geoseg.segment.layers import coarse_any
from geoseg.segment.preview import PREVIEW, reduce_image
from geoseg.segment.settings import SegmentConfig, tiling_for
from geoseg.windows import Rect, Window, rect_windows

__all__ = ["PredictStats", "SegmentConfig", "WindowReader", "classify", "predict", "tiling_for"]

Layers = tuple[np.ndarray, ...]
Progress = Callable[[int], None]
"""Called with the number of pixels of the grid that are newly finished."""


class WindowReader(Protocol):
    """What `predict` needs to read; `geoseg.ortho.Reader` is one."""

    def valid(self, rect: Rect) -> np.ndarray:
        """(H, W) bool, True where the ortho has data inside the boundary."""
        ...

    def read(self, rect: Rect, fill: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """(C, H, W) image, uint8 or float32, with `fill` per band where there is no data, and (H, W) bool validity."""
        ...

    def close(self) -> None:
        """Release the files."""
        ...


@dataclass
class PredictStats:
    """What the loop did, for the record.

    Attributes:
        windows: Windows that went through the network.
        skipped: Windows without a valid pixel.
        forwarded_px: Pixels that went through the network, margins included.
        valid_px: Valid pixels written.
        forward_s: Seconds inside the network.
        wait_s: Seconds that the loop waited for a reader.
        total_s: Seconds of the whole loop.
        faults: What went wrong with the device, one line each.
    """

    windows: int = 0
    skipped: int = 0
    forwarded_px: int = 0
    valid_px: int = 0
    forward_s: float = 0.0
    wait_s: float = 0.0
    total_s: float = 0.0
    faults: list[str] = field(default_factory=list)

    def __add__(self, other: PredictStats) -> PredictStats:
        """Both together; seconds of workers side by side add up."""
        names = [entry.name for entry in fields(self)]
        return PredictStats(**{name: getattr(self, name) + getattr(other, name) for name in names})


def predict(
    open_reader: Callable[[], WindowReader],
    segmenter: Segmenter,
    store: BlockStore,
    config: SegmentConfig | None = None,
    progress: Progress = lambda pixels: None,
    fallbacks: Sequence[Loader] = (),
) -> PredictStats:
    """Bring every pending block of `store` to its end: done, empty or failed.

    Args:
        open_reader: Gives a reader of the working grid; called once per reader thread.
        segmenter: Gives class probabilities, or classes, confidence and offsets if it has `classify`.
        store: Where blocks are kept, and which layers; what it already holds is not done again.
        config: How to cut and feed.
        progress: Called as blocks are finished.
        fallbacks: Loaders of segmenters that take over, in order, when the device fails.

    Raises:
        RunError: If the device fails and nothing can take its place, or the disk is full.
    """
    return _Loop(open_reader, segmenter, store, config or SegmentConfig(), progress, fallbacks).run()


@dataclass(frozen=True)
class _Task:
    """A window of a block, read."""

    block: Rect
    window: Window
    last: bool
    image: np.ndarray | None = None
    valid: np.ndarray | None = None
    preview: np.ndarray | None = None
    error: str | None = None


@dataclass
class _OpenBlock:
    """A block that is being filled; `layers` as those of the store."""

    layers: tuple[np.ndarray, ...]
    error: str | None = None
    touched: bool = False


@dataclass
class _Loop:
    open_reader: Callable[[], WindowReader]
    segmenter: Segmenter
    store: BlockStore
    config: SegmentConfig
    progress: Progress
    fallbacks: Sequence[Loader] = ()
    stats: PredictStats = field(default_factory=PredictStats)
    open: dict[Rect, _OpenBlock] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tiling = tiling_for(self.segmenter.card, self.config)
        self.forward = Forward(self.segmenter, self.tiling.margin_px, self.fallbacks)
        self.stats.faults = self.forward.faults
        self.names = [layer.name for layer in self.forward.layers]
        self.preview = next((layer for layer in self.store.layers if layer.name == PREVIEW), None)
        self.local = threading.local()
        self.opened: list[WindowReader] = []

    def run(self) -> PredictStats:
        started = time.perf_counter()
        try:
            with (
                ThreadPoolExecutor(self.config.readers, "geoseg-read") as readers,
                ThreadPoolExecutor(1, "geoseg-network") as network,
                ThreadPoolExecutor(1, "geoseg-write") as writer,
            ):
                saves: deque[Future[None]] = deque()
                for task, found in self._results(readers, network):
                    block = self._paste(task, found)
                    if task.last:
                        saves.append(writer.submit(self._close_block, task.block, block))
                    while len(saves) > 2 or (saves and saves[0].done()):
                        saves.popleft().result()
                for save in saves:
                    save.result()
        finally:
            for reader in self.opened:
                reader.close()
        self.stats.total_s = time.perf_counter() - started
        return self.stats

    def _results(
        self, readers: ThreadPoolExecutor, network: ThreadPoolExecutor
    ) -> Iterator[tuple[_Task, Layers | None]]:
        """Windows in order with what the network gave, which is already at work on the next ones."""
        flight: deque[tuple[list[_Task], Future[Iterator[Layers]]]] = deque()
        for batch in self._batches(self._read_ahead(readers)):
            flight.append((batch, network.submit(self._forward, batch)))
            if len(flight) > 1:
                yield from self._matched(*flight.popleft())
        while flight:
            yield from self._matched(*flight.popleft())

    def _matched(self, batch: list[_Task], future: Future[Iterator[Layers]]) -> Iterator[tuple[_Task, Layers | None]]:
        found = future.result()
        for task in batch:
            if task.image is None:
                self.stats.skipped += task.error is None
                yield task, None
            else:
                yield task, next(found)

    def _read_ahead(self, readers: ThreadPoolExecutor) -> Iterator[_Task]:
        """Windows in order, read by the pool, with a bounded number in flight."""
        flight: deque[Future[_Task]] = deque()
        for task in self._tasks():
            flight.append(readers.submit(self._read, task))
            if len(flight) > self.config.readers + self.config.batch:
                yield self._wait(flight.popleft())
        while flight:
            yield self._wait(flight.popleft())

    def _tasks(self) -> Iterator[_Task]:
        tiling = self.tiling
        for block in self.store.pending():
            found = list(rect_windows(block, tiling.write_px, tiling.margin_px, tiling.stride_px))
            for window in found:
                yield _Task(block, window, last=window is found[-1])

    def _wait(self, future: Future[_Task]) -> _Task:
        started = time.perf_counter()
        task = future.result()
        self.stats.wait_s += time.perf_counter() - started
        return task

    def _read(self, task: _Task) -> _Task:
        """Fill a task with pixels; one without a valid pixel to write stays without an image."""
        try:
            with span("read"):
                reader = self._reader()
                if not reader.valid(task.window.write).any():
                    return task
                image, valid = reader.read(task.window.read, self.segmenter.card.mean)
        except OrthoError as error:
            return replace(task, error=str(error))
        crop = task.window.crop.slices
        preview = None
        if self.preview is not None:
            preview = reduce_image(image[(..., *crop)], valid[crop], self.segmenter.card.bands, self.preview)
        return replace(task, image=image, valid=valid[crop], preview=preview)

    def _reader(self) -> WindowReader:
        reader: WindowReader | None = getattr(self.local, "reader", None)
        if reader is None:
            reader = self.open_reader()
            own = getattr(self.segmenter, "reader", None)  # one that must know where its windows lie reads for itself
            reader = self.local.reader = reader if own is None else own(reader)
            self.opened.append(reader)
        return reader

    def _batches(self, tasks: Iterator[_Task]) -> Iterator[list[_Task]]:
        """Tasks grouped so that the images of a group have one shape and number at most `batch`."""
        group: list[_Task] = []
        for task in tasks:
            shapes = {one.image.shape for one in (*group, task) if one.image is not None}
            if group and (len(shapes) > 1 or sum(one.image is not None for one in group) >= self.config.batch):
                yield group
                group = []
            group.append(task)
        if group:
            yield group

    def _forward(self, batch: list[_Task]) -> Iterator[Layers]:
        """What the network gives for the windows of a batch that were read."""
        images = [task.image for task in batch if task.image is not None]
        if not images:
            return iter(())
        stack = images[0][None] if len(images) == 1 else np.stack(images)
        started = time.perf_counter()
        with span("forward", shape=stack.shape):
            results = zip(*self.forward(stack), strict=True)
        self.stats.forward_s += time.perf_counter() - started
        self.stats.windows += len(images)
        self.stats.forwarded_px = self.forward.forwarded_px
        return results

    def _paste(self, task: _Task, found: Layers | None) -> _OpenBlock:
        """Put a window's result into its block; the block leaves the open ones with its last window."""
        block = self.open.get(task.block)
        if block is None:
            block = _OpenBlock(tuple(layer.empty(task.block) for layer in self.store.layers))
            self.open[task.block] = block
        block.error = block.error or task.error
        if found is not None and task.valid is not None:
            block.touched = True
            self._fill(block, task, dict(zip(self.names, found, strict=True)), task.valid)
            self.stats.valid_px += int(np.count_nonzero(task.valid))
        if task.last:
            del self.open[task.block]
        return block

    def _fill(self, block: _OpenBlock, task: _Task, found: dict[str, np.ndarray], valid: np.ndarray) -> None:
        """Put the valid pixels of a window into the layers of its block."""
        window, full = task.window, bool(valid.all())
        for layer, pixels in zip(self.store.layers, block.layers, strict=True):
            into = layer.rect(window.write).relative_to(layer.rect(task.block)).slices
            if layer is self.preview:
                pixels[(..., *into)] = task.preview
            else:
                part = found[layer.name][(..., *layer.rect(window.crop).slices)]
                if full:
                    pixels[(..., *into)] = part
                else:
                    np.copyto(pixels[(..., *into)], part, where=coarse_any(valid, layer.scale))

    def _close_block(self, rect: Rect, block: _OpenBlock) -> None:
        with span("write"):
            if block.error:
                self.store.save_failed(rect, block.error)
            elif block.touched:
                self.store.save(rect, *block.layers)
            else:
                self.store.save_empty(rect)
        self.progress(rect.size)
