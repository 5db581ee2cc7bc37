"""How a run scales over workers: measured on this machine, and simulated for more than it has.

    python benchmarks/scaling.py ORTHO [--crop 3840 3840] [--workers 1 2] [--gigapixels 4.4]

First the segment stage is timed in one process and with `--workers N`. Then the seconds that one block needs are
measured one by one: reading and decoding, the network, compressing and writing, the scheduler's share of a task, and
the assembly of the class and confidence rasters, which one process does at the end. A simulation lets 1 to 64 workers
share one scheduler and one storage of `--storage-mb-s`, event by event, and says what limits them. Simulated figures
are no measurements: they say where it saturates if the parts cost what they cost here.
"""

from __future__ import annotations

import argparse
import heapq
import json
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from crop import cropped

from geoseg import job
from geoseg.config import load_config
from geoseg.models import load
from geoseg.ortho import Ortho
from geoseg.segment.blocks import BlockStore
from geoseg.segment.predict import SegmentConfig, tiling_for
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


def main() -> None:
    """Measure, simulate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ortho", type=Path)
    parser.add_argument("--crop", nargs=2, type=int, metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--workers", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backend", default="openvino-bf16")
    parser.add_argument("--gigapixels", type=float, default=4.4)
    parser.add_argument("--storage-mb-s", type=float, default=500.0)
    parser.add_argument("--faster", type=float, nargs="*", default=[1, 20], help="networks this many times as fast")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ortho = cropped(arguments.ortho, *arguments.crop, folder) if arguments.crop else arguments.ortho
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
