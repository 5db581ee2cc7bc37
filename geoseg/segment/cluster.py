"""The same work as tasks on dask.distributed: worker processes of this machine, or a cluster that runs already.

A task is one block, and in the end the file of one layer. That of a block carries all that a worker needs to open the
ortho and the model itself, and the worker writes its block into the folder of blocks, which all must see under the same
path. So nothing large travels, a lost worker costs what it had in hand, and the result is that of one process. Needs
the extra ``cluster``.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from odc.geo.geobox import GeoBox
from shapely import MultiPolygon, Polygon

from geoseg import host
from geoseg.errors import ConfigError, GeosegError, RunError
from geoseg.models.card import Segmenter
from geoseg.ortho import Ortho
from geoseg.segment.blocks import BlockStore
from geoseg.segment.layers import Layer
from geoseg.segment.predict import PredictStats, SegmentConfig, predict
from geoseg.segment.stitch import stitch
from geoseg.windows import Rect

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["BlockJob", "ClusterConfig", "connect", "predict_on", "stitch_on"]

IN_FLIGHT = 4
"""Blocks per worker that the scheduler knows of; the rest wait here, so that 100,000 blocks are no graph."""
RETRIES = 3


@dataclass(frozen=True)
class ClusterConfig:
    """Where blocks are done (YAML section ``cluster``); in this process unless something is set.

    Attributes:
        workers: Worker processes to start on this machine; never more than it has processors.
        scheduler: Address of a dask.distributed scheduler whose workers see the same files, e.g. tcp://10.0.0.1:8786.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    workers: int | None = None
    scheduler: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: If both are set, or there are less than one workers.
        """
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"cluster.workers is {self.workers}; expected 1 or more")
        if self.workers is not None and self.scheduler is not None:
            raise ConfigError("cluster.workers and cluster.scheduler are both set; expected one of them")

    @property
    def wanted(self) -> bool:
        """True if blocks are to be done elsewhere."""
        return self.workers is not None or self.scheduler is not None


@dataclass(frozen=True)
class BlockJob:
    """All that a worker needs for any block of a run; small, because it travels with every task.

    Attributes:
        ortho: The ortho; its path must be good on the worker.
        grid: The working grid.
        field: The boundary in the CRS of `grid`.
        model: Name or directory of the model, or a segmenter that can be pickled.
        backend: What runs it; the one that this process chose, so that all workers do the same.
        config: How to cut and feed.
        folder: Folder of the blocks.
        parts: What the blocks are made from.
        block_px: Side of a block.
        layers: What is kept of every block.
        fallbacks: Backends that take over when the device of a worker fails.
    """

    ortho: Ortho
    grid: GeoBox
    field: Polygon | MultiPolygon
    model: str | Segmenter
    backend: str
    config: SegmentConfig
    folder: Path
    parts: dict[str, Any]
    block_px: int
    layers: tuple[Layer, ...]
    fallbacks: tuple[str, ...] = ()

    def store(self) -> BlockStore:
        """The blocks, as they are."""
        shape = int(self.grid.shape[0]), int(self.grid.shape[1])
        return BlockStore(self.folder, shape, self.block_px, self.parts, self.layers, create=False)


@contextmanager
def connect(config: ClusterConfig) -> Iterator[Client]:
    """A client of the cluster; workers that were started for it end with it.

    Raises:
        ConfigError: If dask.distributed is not installed.
        RunError: If there is no scheduler at the address.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ConfigError("a cluster needs dask.distributed; pip install 'geoseg[cluster]'") from error
    if config.scheduler is not None:
        try:
            client = Client(config.scheduler, timeout="20s")
        except (OSError, ValueError) as error:
            raise RunError(f"no scheduler answers at {config.scheduler}: {error}") from error
        with client:
            yield client
        return
    cores = host.cores()
    count = min(config.workers or 1, cores)
    options = {"n_workers": count, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    threads = {"OMP_NUM_THREADS": str(max(1, cores // count))}
    with LocalCluster(**options, env=threads, memory_limit=0) as cluster, Client(cluster) as client:
        yield client


def predict_on(client: Client, job: BlockJob, progress: Callable[[int], None] = lambda pixels: None) -> PredictStats:
    """Bring every pending block to its end on the workers of a cluster; see `geoseg.segment.predict.predict`.

    Raises:
        RunError: If a worker's disk is full, its files are not ours, or the scheduler has gone.
    """
    from distributed import as_completed

    store = job.store()
    total = PredictStats()
    waiting = store.pending()
    blocks: dict[Any, Rect] = {}
    running = as_completed()

    def submit_more() -> None:
        # Counted again each time: the workers of a cluster come and go while a run is under way.
        workers = max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
        for block in islice(waiting, max(0, IN_FLIGHT * workers - len(blocks))):
            future = client.submit(_do_block, job, block, pure=False, retries=RETRIES)
            blocks[future] = block
            running.add(future)

    with _scheduler_needed():
        submit_more()
        for future in running:
            block = blocks.pop(future)
            total += _ended(future, block, store)
            progress(block.size)
            submit_more()
    return total


def stitch_on(
    client: Client, store: BlockStore, grid: GeoBox, files: Mapping[str, Path], tags: Mapping[str, str]
) -> dict[int, int]:
    """Make the files of all layers on the workers of a cluster; see `geoseg.segment.stitch.stitch`.

    Raises:
        RunError: As there, if workers die over a file, or the scheduler has gone.
    """
    from distributed import KilledWorker

    # No retries: they are for errors, and what a worker had that has gone is done by another one without.
    try:
        with _scheduler_needed():
            return stitch(store, grid, files, tags, client.get_executor(pure=False))
    except KilledWorker as error:
        raise RunError(
            "workers died while they assembled the rasters, perhaps for lack of memory; finished blocks are kept: run "
            "the same command again, with larger workers or without the cluster"
        ) from error


@contextmanager
def _scheduler_needed() -> Iterator[None]:
    """Say it when the scheduler has gone.

    Raises:
        RunError: If it has.
    """
    try:
        yield
    except _LOST as error:
        if isinstance(error, GeosegError):
            raise
        raise RunError(
            f"the scheduler does not answer any more ({type(error).__name__}); finished blocks are kept: run the same "
            "command again when it is back, or without it"
        ) from error


_LOST = OSError, TimeoutError, CancelledError, asyncio.CancelledError
"""What calls to a scheduler raise that has gone."""


def _ended(future: Any, block: Rect, store: BlockStore) -> PredictStats:
    error = future.exception()
    if error is None:
        stats: PredictStats = future.result()
        return stats
    if isinstance(error, (GeosegError, CancelledError, asyncio.CancelledError)):
        raise error
    store.save_failed(block, f"{type(error).__name__}: {' '.join(str(error).split())}")
    return PredictStats()


_lock = threading.Lock()


def _do_block(job: BlockJob, block: Rect) -> PredictStats:
    """One block, on a worker; its threads take turns, because a network uses all processors that it gets."""
    with _lock:
        return predict(
            lambda: job.ortho.reader(job.grid, job.field),
            _segmenter(job.model, job.backend) if isinstance(job.model, str) else job.model,
            job.store().only(block),
            job.config,
            fallbacks=[functools.partial(_segmenter, str(job.model), backend) for backend in job.fallbacks],
        )


@functools.lru_cache(maxsize=3)
def _segmenter(model: str, backend: str) -> Segmenter:
    from geoseg.models import load

    if backend.startswith("torch-cuda"):
        _own_gpu()
    return load(model, backend)


def _own_gpu() -> None:
    """A GPU for each worker that was started here; those are numbered, and the workers of a cluster have names."""
    from distributed import get_worker

    from geoseg.models.gpus import take_gpu

    name = get_worker().name
    if isinstance(name, int):
        take_gpu(name)
