"""How a run scales over workers: measured on this machine, and simulated for more than it has.

    python benchmarks/scaling.py ORTHO [--crop 3840 3840] [--workers 1 2] [--gigapixels 4.4]

The seconds that one block needs are measured one by one: reading and decoding, network, compressing and writing, the
scheduler's share of a task, and its share of the assembly of every raster, one task each, from 16 such blocks. A
simulation lets 1 to 64 workers share one scheduler and one storage of `--storage-mb-s`, event by event, and says what
limits them; the assembly begins after the last block, and a draft counts in the storage like the file made of it.
Simulated figures are no measurements: they say where it saturates if the parts cost what they cost here.
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
from odc.geo.geobox import GeoBox

from geoseg import job
from geoseg.config import load_config
from geoseg.models import load
from geoseg.ortho import Ortho
from geoseg.segment.blocks import BlockStore
from geoseg.segment.cluster import BlockJob, ClusterConfig, connect, predict_on
from geoseg.segment.layers import network_layers
from geoseg.segment.predict import SegmentConfig, predict, tiling_for
from geoseg.segment.preview import preview_layer
from geoseg.segment.stitch import Assembly, assemble_layer, stitch
from geoseg.windows import rect_windows


@dataclass(frozen=True)
class Costs:
    """What one block costs, in seconds and bytes.

    Attributes:
        read_s: Reading and decoding its windows, on the worker.
        forward_s: The network, on the worker.
        write_s: Compressing its result, on the worker.
        task_s: The scheduler's and the client's time.
        layers_s: The assembly's time by layer, in a task that has a worker for itself.
        read_mb: What comes from the storage.
        write_mb: What goes there.
        stitch_mb: What the assembly reads and writes.
        block_mpx: Million pixels.
    """

    read_s: float
    forward_s: float
    write_s: float
    task_s: float
    layers_s: dict[str, float]
    read_mb: float
    write_mb: float
    stitch_mb: float
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


def simulate_assembly(workers: int, blocks: int, costs: Costs, storage_mb_s: float) -> float:
    """Seconds of the assembly: each layer to the next worker that is free, the longest first, one storage for all."""
    free = [0.0] * workers
    for seconds in sorted(costs.layers_s.values(), reverse=True):
        heapq.heapreplace(free, free[0] + seconds * blocks)
    return max(*free, costs.stitch_mb * blocks / storage_mb_s)


def measure(ortho: Path, folder: Path, backend: str, gigapixels: float) -> Costs:
    """Time the parts of one block."""
    config = SegmentConfig()
    segmenter = load("default", backend)
    source = Ortho.open(ortho, band_names=segmenter.card.bands)
    grid = source.working_grid(segmenter.card.gsd)
    tiling = tiling_for(segmenter.card, config)
    shape = int(grid.shape[0]), int(grid.shape[1])
    side = round((gigapixels * 1e9) ** 0.5)
    layers = *network_layers(segmenter.card), preview_layer((side, side), tiling.write_px, source.image_dtype.name)
    store = BlockStore(folder / "blocks", shape, tiling.write_px * config.block_windows, {}, layers)
    block = next(iter(store))
    if block.shape != (store.block_px, store.block_px):
        raise SystemExit(f"{ortho} has less than a block, {store.block_px} pixels of {segmenter.card.gsd.train_m} m")
    windows = list(rect_windows(block, tiling.write_px, tiling.margin_px, tiling.stride_px))
    with source.reader(grid) as reader:
        read_s, images = timed(lambda: [reader.read(one.read, segmenter.card.mean)[0][None] for one in windows])
    forward = segmenter.classify
    for image in images[:1]:
        forward(image)
    forward_s, _ = timed(lambda: [forward(image) for image in images])
    predict(lambda: source.reader(grid), segmenter, store.only(block), config)
    pixels = store.load(block)
    write_s, _ = timed(lambda: store.save(block, *pixels))
    written = sum(path.stat().st_size for path in store.folder.glob("r*"))
    read_mb = ortho.stat().st_size / 2**20 * block.size / (shape[0] * shape[1])
    layers_s, stitch_mb = measure_assembly(folder, store, pixels, grid)
    return Costs(
        read_s, forward_s, write_s, task_cost(), layers_s, read_mb, written / 2**20, stitch_mb, block.size / 1e6
    )  # fmt: skip


def measure_assembly(
    folder: Path, one: BlockStore, pixels: tuple[np.ndarray, ...], grid: GeoBox, count: int = 4
) -> tuple[dict[str, float], float]:
    """Seconds by layer and megabytes in all that the assembly of `count` x `count` equal blocks takes, for one."""
    side = one.block_px * count
    store = BlockStore(folder / "many", (side, side), one.block_px, {}, one.layers)
    for block in store:
        store.save(block, *pixels)
    files = {layer.name: folder / f"{layer.name}.tif" for layer in store.layers}
    assembly = Assembly(store, GeoBox((side, side), grid.affine, grid.crs), files, {}, "scaling")
    seconds, megabytes = {}, sum(path.stat().st_size for path in store.folder.glob("r*")) / 2**20
    for layer in store.layers:
        seconds[layer.name], (cog, _) = timed(partial(assemble_layer, assembly, layer))
        seconds[layer.name] /= count**2
        megabytes += 3 * cog.stat().st_size / 2**20  # the draft, written and read, and the file
    return seconds, megabytes / count**2


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
        costs = measure(ortho, folder, arguments.backend, arguments.gigapixels)
        print(
            json.dumps(json.loads(json.dumps(vars(costs)), parse_float=lambda text: round(float(text), 4))), flush=True
        )
        for factor in arguments.faster:
            predictions(replace(costs, forward_s=costs.forward_s / factor), factor, arguments)
        if arguments.workers:
            machine(ortho, folder, arguments.backend, arguments.workers, arguments.rounds)


def predictions(costs: Costs, factor: float, arguments: argparse.Namespace) -> None:
    """Print the simulated runs."""
    blocks = round(arguments.gigapixels * 1e3 / costs.block_mpx)
    alone = simulate(1, blocks, costs, arguments.storage_mb_s).seconds
    print(f"\nsimulated: {blocks} blocks, network x{factor:g}, storage {arguments.storage_mb_s:g} MB/s")
    if factor == 1:
        print("assembly, s a layer:", {name: round(blocks * seconds, 1) for name, seconds in costs.layers_s.items()})
    print("| workers | blocks, s | speed-up | scheduler busy | storage busy | assembly, s | assembly's share |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for workers in (1, 2, 4, 8, 16, 32, 64):
        ends = simulate(workers, blocks, costs, arguments.storage_mb_s)
        shares = ends.scheduler_s / ends.seconds, ends.storage_s / ends.seconds
        assembly = simulate_assembly(workers, blocks, costs, arguments.storage_mb_s)
        whole = assembly / (assembly + ends.seconds)
        print(
            f"| {workers} | {ends.seconds:.0f} | {alone / ends.seconds:.1f} | {shares[0]:.1%} | {shares[1]:.1%} "
            f"| {assembly:.0f} | {whole:.0%} |"
        )


if __name__ == "__main__":
    main()
