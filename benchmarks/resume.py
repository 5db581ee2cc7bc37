"""What it costs to be able to resume: the loop with and without its ledger of blocks, and a second command.

    python benchmarks/resume.py ORTHO [--crop 3840 3840] [--rounds 5]

The network costs nothing, so that the loop is reading and writing alone and the ledger is seen at its worst; how much
of a real run that is follows from the seconds per million pixels. Rounds alternate. The second `geoseg run` is a
command of its own on a directory that is whole.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from crop import cropped
from memory import CheapSegmenter

from geoseg.ortho import Ortho
from geoseg.segment.blocks import BlockStore
from geoseg.segment.predict import SegmentConfig, predict, tiling_for


class Forgetful(BlockStore):
    """A ledger that keeps nothing."""

    def save(self, *arrays: Any, **more: Any) -> None:
        """Drop a block."""

    def save_empty(self, *arrays: Any) -> None:
        """Drop the note."""


def loop(ortho: Path, folder: Path, kind: type[BlockStore]) -> tuple[float, int]:
    """Seconds of the loop with a ledger, and the bytes that it wrote."""
    segmenter = CheapSegmenter(None)
    source = Ortho.open(ortho, band_names=segmenter.card.bands)
    grid = source.working_grid(segmenter.card.gsd)
    config = SegmentConfig()
    block_px = tiling_for(segmenter.card, config).write_px * config.block_windows
    store = kind(folder, (int(grid.shape[0]), int(grid.shape[1])), block_px, {})
    started = time.perf_counter()
    predict(lambda: source.reader(grid), segmenter, store, config)
    return time.perf_counter() - started, sum(path.stat().st_size for path in folder.iterdir())


def command(ortho: Path, out: Path) -> float:
    """Seconds of a `geoseg run`."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "geoseg", "run", str(ortho), "--out", str(out)], check=True, capture_output=True
    )
    return time.perf_counter() - started


def line(name: str, values: list[float], unit: str) -> None:
    """Print a row of the table."""
    print(f"| {name} | {statistics.median(values):.3f} {unit} | {min(values):.3f}-{max(values):.3f} |", flush=True)


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ortho", type=Path)
    parser.add_argument("--crop", nargs=2, type=int, metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-command", action="store_true", help="leave out the commands with the real network")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ortho = cropped(arguments.ortho, *arguments.crop, folder) if arguments.crop else arguments.ortho
        kept, dropped, written = [], [], 0
        for number in range(arguments.rounds):
            seconds, written = loop(ortho, folder / f"kept{number}", BlockStore)
            kept.append(seconds)
            dropped.append(loop(ortho, folder / f"dropped{number}", Forgetful)[0])
        print("| what | median | least-most |\n| --- | --- | --- |")
        line("loop without ledger, no network", dropped, "s")
        line("loop with ledger, no network", kept, "s")
        line("difference", [one - other for one, other in zip(kept, dropped, strict=True)], "s")
        line("written for it", [written / 2**20], "MiB")
        if not arguments.no_command:
            line("geoseg run", [command(ortho, folder / "run")], "s")
            line("the same again", [command(ortho, folder / "run") for _ in range(arguments.rounds)], "s")


if __name__ == "__main__":
    main()
