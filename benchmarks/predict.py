"""What the pipeline costs beyond the network: bare forward passes against the whole loop, interleaved in one run.

Usage: python benchmarks/predict.py ORTHO [--rounds 3] [--backend auto] [--model default]

*bare* runs the network on windows that are in memory, and drops the result. *loop* reads the ortho, runs the network
and writes both COGs. Figures are medians over the rounds, ratios are taken within a round.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from geoseg import job
from geoseg.config import load_config
from geoseg.models import load
from geoseg.ortho import Ortho
from geoseg.segment.predict import tiling_for
from geoseg.windows import windows


def bare(segmenter, images: list[np.ndarray]) -> float:
    """Seconds for the forward passes alone."""
    started = time.perf_counter()
    for image in images:
        segmenter(image)
    return time.perf_counter() - started


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ortho")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--model", default="default")
    arguments = parser.parse_args()

    config = load_config(None, [f"backend={arguments.backend}", f"model={arguments.model}"])
    segmenter = load(config.model, config.backend)
    ortho = Ortho.open(arguments.ortho, band_names=segmenter.card.bands)
    grid = ortho.working_grid(segmenter.card.gsd)
    tiling = tiling_for(segmenter.card, config.segment)
    shape = int(grid.shape[0]), int(grid.shape[1])
    cut = list(windows(shape, tiling.write_px, tiling.margin_px, tiling.stride_px))
    with ortho.reader(grid) as reader:
        images = [reader.read(window.read, segmenter.card.mean)[0][None] for window in cut[:4]]
    bare(segmenter, images)
    forwarded = sum(image.shape[2] * image.shape[3] for image in images) / 1e6

    rows = []
    for _ in range(arguments.rounds):
        bare_speed = forwarded / bare(segmenter, images)
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            done = job.segment(arguments.ortho, Path(folder) / "run", config=config, model=segmenter)
            seconds = time.perf_counter() - started
            record = _record(done.path)
        loop = record["facts"]["loop"]
        rows.append(
            (
                bare_speed,
                loop["forwarded_px"] / 1e6 / loop["forward_s"],
                loop["forwarded_px"] / 1e6 / loop["total_s"],
                loop["valid_px"] / 1e6 / seconds,
                loop["forward_s"] / seconds,
            )
        )
    names = ("bare Mpx/s", "forward Mpx/s", "loop Mpx/s", "end to end Mpx/s", "share of forward")
    overlap = sum(window.read.size for window in cut) / (shape[0] * shape[1])
    print(f"{segmenter.backend}, {len(cut)} windows, overlap {overlap:.3f}")
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        print(f"{name:<18} {statistics.median(values):8.3f}   [{min(values):.3f} .. {max(values):.3f}]")
    print(f"forwarded / bare   {statistics.median(row[2] / row[0] for row in rows):8.3f}")
    print(f"end to end / bare  {statistics.median(row[3] / row[0] for row in rows):8.3f}")
    print(f"peak memory        {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:8.0f} MiB")


def _record(path: Path) -> dict:
    import json

    return json.loads((path / "run.json").read_text())["stages"]["segment"]


if __name__ == "__main__":
    main()
