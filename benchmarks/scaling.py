"""How a run scales over workers: measured on this machine, and simulated for more than it has.

    python benchmarks/scaling.py ORTHO [--crop 3840 3840] [--workers 1 2] [--gigapixels 4.4]

The seconds that one block needs are measured one by one: reading and decoding, network, compressing and writing, the
scheduler's share of a task, and the assembly of the class and confidence rasters, which one process does at the end. A
simulation lets 1 to 64 workers share one scheduler and one storage of `--storage-mb-s`, event by event, and says what
limits them. Simulated figures are no measurements: they say where it saturates if the parts cost what they cost here.
Last the segment stage is timed in one process and with `--workers N`.

With `--overhead` instead of all that many small blocks go through a network that costs nothing, in this process and on
worker processes over TCP, and the files are compared: what a block costs more as a task.
"""

from __future__ import annotations

import argparse
import heapq
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
from crop import cropped
from memory import CheapSegmenter

from geoseg import job
from geoseg.config import load_config
from geoseg.models import load
from geoseg.ortho import Ortho
from geoseg.segment.blocks import BlockStore
from geoseg.segment.cluster import BlockJob, ClusterConfig, connect, predict_on
from geoseg.segment.layers import network_layers
from geoseg.segment.predict import SegmentConfig, predict, tiling_for
from geoseg.segment.stitch import stitch
from geoseg.windows import rect_windows


@dataclass(frozen=True)
class Costs:
    """What one block costs, in seconds and bytes.

    Attributes:
        read_s: Reading and decoding its windows, on the worker.
        forward_s: The network, on the worker.
        write_s: Compressing its result, on the worker.
        task_s: The scheduler's and the client's time.
        stitch_s: The assembly's time.
        read_mb: What comes from the storage.
        write_mb: What goes there.
        block_mpx: Million pixels.
    """

    read_s: float
    forward_s: float
    write_s: float
    task_s: float
    stitch_s: float
    read_mb: float
    write_mb: float
    block_mpx: float


@dataclass
class Ends:
    """How a simulated run ended: seconds until the last block, and how long scheduler and storage were at work."""

    seconds: float = 0.0
    scheduler_s: float = 0.0
    storage_s: float = 0.0


def simulate(workers: int, blocks: int, costs: Costs, storage_mb_s: float) -> Ends:
    """Workers that take blocks in turn, from one scheduler and one storage, each of which serves one at a time."""
    ends, scheduler_free, storage_free, left = Ends(), 0.0, 0.0, blocks
    transfer = {"read": costs.read_mb / storage_mb_s, "write": costs.write_mb / storage_mb_s}
    events = [(0.0, number, "ask") for number in range(workers)]
    heapq.heapify(events)
    while events:
        now, worker, step = heapq.heappop(events)
        if step == "ask":
            if not left:
                continue
            left -= 1
            scheduler_free = max(scheduler_free, now) + costs.task_s
            ends.scheduler_s += costs.task_s
            heapq.heappush(events, (scheduler_free, worker, "read"))
            continue
        storage_free = max(storage_free, now) + transfer[step]
        ends.storage_s += transfer[step]
        if step == "read":
            busy = costs.read_s + costs.forward_s + costs.write_s
            heapq.heappush(events, (storage_free + busy, worker, "write"))
        else:
            ends.seconds = max(ends.seconds, storage_free)
            heapq.heappush(events, (storage_free, worker, "ask"))
    return ends


def measure(ortho: Path, folder: Path, backend: str) -> Costs:
    """Time the parts of one block."""
    config = SegmentConfig()
    segmenter = load("default", backend)
    source = Ortho.open(ortho, band_names=segmenter.card.bands)
    grid = source.working_grid(segmenter.card.gsd)
    tiling = tiling_for(segmenter.card, config)
    shape = int(grid.shape[0]), int(grid.shape[1])
    store = BlockStore(folder / "blocks", shape, tiling.write_px * config.block_windows, {})
    block = next(iter(store))
    windows = list(rect_windows(block, tiling.write_px, tiling.margin_px, tiling.stride_px))
    with source.reader(grid) as reader:
        read_s, images = timed(lambda: [reader.read(one.read, segmenter.card.mean)[0][None] for one in windows])
    forward = segmenter.classify
    for image in images[:1]:
        forward(image)
    forward_s, found = timed(lambda: [forward(image) for image in images])
    classes, confidence = (np.zeros(block.shape, np.uint8) for _ in range(2))
    for window, (codes, percent, *_) in zip(windows, found, strict=True):
        into, crop = window.write.relative_to(block).slices, window.crop.slices
        classes[into], confidence[into] = codes[(0, *crop)], percent[(0, *crop)]
    write_s, _ = timed(lambda: store.save(block, classes, confidence))
    written = sum(path.stat().st_size for path in store.folder.glob("r*"))
    for other in store:
        if other != block:
            store.save(
                other, classes[: other.shape[0], : other.shape[1]], confidence[: other.shape[0], : other.shape[1]]
            )
    files = {layer.name: folder / f"{layer.name}.tif" for layer in store.layers}
    stitch_s, _ = timed(lambda: stitch(store, grid, files, {}))
    share = block.size / (shape[0] * shape[1])
    read_mb = ortho.stat().st_size / 2**20 * share
    return Costs(read_s, forward_s, write_s, task_cost(), stitch_s * share, read_mb, written / 2**20, block.size / 1e6)


def task_cost(count: int = 2000) -> float:
    """Seconds that an empty task takes from one scheduler with one worker."""
    from distributed import Client, LocalCluster, as_completed

    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        started = time.perf_counter()
        futures = [client.submit(abs, number, pure=False) for number in range(count)]
        for _ in as_completed(futures):
            pass
        return (time.perf_counter() - started) / count


def timed(work: object) -> tuple[float, object]:
    """Seconds that something took, and what it gave."""
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


def machine(ortho: Path, folder: Path, backend: str, workers: list[int], rounds: int) -> None:
    """Print the seconds of the segment stage in one process and on worker processes."""
    seconds: dict[str, list[float]] = {"one process": [], **{f"--workers {count}": [] for count in workers}}
    for number in range(rounds):
        for name, found in seconds.items():
            count = [] if name == "one process" else [f"cluster.workers={name.split()[1]}"]
            config = load_config(None, [f"backend={backend}", *count])
            started = time.perf_counter()
            job.segment(ortho, folder / f"{name}{number}", config=config)
            found.append(time.perf_counter() - started)
    print("| segment stage, the model's loading included | s, median [least-most] |\n| --- | --- |")
    for name, found in seconds.items():
        print(f"| {name} | {statistics.median(found):.1f} [{min(found):.1f}-{max(found):.1f}] |", flush=True)


def overhead(ortho: Path, folder: Path, workers: list[int], rounds: int, window_px: int = 512) -> None:
    """Print what small blocks cost in this process and as tasks, one thread to a worker, with a network for nothing."""
    segmenter = CheapSegmenter(window_px)
    source = Ortho.open(ortho, band_names=segmenter.card.bands)
    grid = source.working_grid(segmenter.card.gsd)
    field, config = source.boundary(None, grid), SegmentConfig(block_windows=1)
    shape = int(grid.shape[0]), int(grid.shape[1])
    seconds: dict[str, list[float]] = {}
    files: dict[str, bytes] = {}

    def once(name: str, work: Callable[[BlockStore], object]) -> None:
        place = folder / f"{name}{len(seconds.get(name, []))}"
        store = BlockStore(place / "blocks", shape, window_px, {}, network_layers(segmenter.card))
        seconds.setdefault(name, []).append(timed(lambda: work(store))[0])
        outputs = {layer.name: place / f"{layer.name}.tif" for layer in store.layers}
        stitch(store, grid, outputs, {})
        for layer, path in outputs.items():
            if files.setdefault(layer, path.read_bytes()) != path.read_bytes():
                raise SystemExit(f"{path} is not what the first run made")

    def as_tasks(client: object, store: BlockStore) -> object:
        job_ = BlockJob(
            source, grid, field, segmenter, "auto", config, store.folder, store.parts, window_px, store.layers
        )
        return predict_on(client, job_)

    for _ in range(rounds):
        once("one process", lambda store: predict(lambda: source.reader(grid, field), segmenter, store, config))
        for count in workers:
            with connect(ClusterConfig(workers=count)) as client:
                client.run(import_module, "geoseg.segment.predict")
                once(f"--workers {count}", partial(as_tasks, client))
    blocks = -(-shape[0] // window_px) * -(-shape[1] // window_px)
    print(f"{blocks} blocks of {window_px} px; classes and confidence are the same bytes in every run")
    print("| blocks done by | s, median [least-most] | ms more per block than in one process |\n| --- | --- | --- |")
    for name, found in seconds.items():
        more = [1e3 * (one - alone) / blocks for one, alone in zip(found, seconds["one process"], strict=True)]
        cells = f"{statistics.median(found):.2f} [{min(found):.2f}-{max(found):.2f}]", f"{statistics.median(more):.1f}"
        print(f"| {name} | {' | '.join(cells)} |")


def main() -> None:
    """Measure, simulate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ortho", type=Path)
    parser.add_argument("--crop", nargs=2, type=int, metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--workers", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--overhead", action="store_true", help="only what a block costs more as a task")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backend", default="openvino-bf16")
    parser.add_argument("--gigapixels", type=float, default=4.4)
    parser.add_argument("--storage-mb-s", type=float, default=500.0)
    parser.add_argument("--faster", type=float, nargs="*", default=[1, 20], help="networks this many times as fast")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ortho = cropped(arguments.ortho, *arguments.crop, folder) if arguments.crop else arguments.ortho
        if arguments.overhead:
            overhead(ortho, folder, arguments.workers, arguments.rounds)
            return
        costs = measure(ortho, folder, arguments.backend)
        print(json.dumps({key: round(value, 4) for key, value in vars(costs).items()}), flush=True)
        for factor in arguments.faster:
            predictions(replace(costs, forward_s=costs.forward_s / factor), factor, arguments)
        if arguments.workers:
            machine(ortho, folder, arguments.backend, arguments.workers, arguments.rounds)


def predictions(costs: Costs, factor: float, arguments: argparse.Namespace) -> None:
    """Print the simulated runs."""
    blocks = round(arguments.gigapixels * 1e3 / costs.block_mpx)
    assembly = blocks * costs.stitch_s
    alone = simulate(1, blocks, costs, arguments.storage_mb_s).seconds
    print(f"\nsimulated: {blocks} blocks, network x{factor:g}, storage {arguments.storage_mb_s:g} MB/s")
    print("| workers | blocks, s | speed-up | scheduler busy | storage busy | assembly, s | assembly's share |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for workers in (1, 2, 4, 8, 16, 32, 64):
        ends = simulate(workers, blocks, costs, arguments.storage_mb_s)
        shares = ends.scheduler_s / ends.seconds, ends.storage_s / ends.seconds
        whole = assembly / (assembly + ends.seconds)
        print(
            f"| {workers} | {ends.seconds:.0f} | {alone / ends.seconds:.1f} | {shares[0]:.1%} | {shares[1]:.1%} "
            f"| {assembly:.0f} | {whole:.0%} |"
        )


if __name__ == "__main__":
    main()
