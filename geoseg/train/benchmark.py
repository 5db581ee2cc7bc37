"""Models by accuracy against speed on this device: each is run in a process of its own, so that memory is its own."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoseg import host
from geoseg.durable import write_file
from geoseg.errors import ConfigError, ModelError, RunError
from geoseg.models.card import ModelCard, read_card
from geoseg.windows import overlap_factor

__all__ = ["Row", "benchmark", "measure", "rows_as_csv", "table_lines", "write_benchmark"]

_ROUNDS = 5
_COLUMNS = (
    ("model", "{}"), ("backend", "{}"), ("params_m", "{:.2f}"), ("mpx_s", "{:.2f}"), ("ha_h", "{:.2f}"),
    ("memory_mb", "{:.0f}"), ("miou", "{:.3f}"), ("weed_iou", "{:.3f}"), ("scored_on", "{}"),
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One model on this device.

    Attributes:
        model: Name and version.
        backend: What ran it.
        device: Processor, and threads that it may use.
        params_m: Million parameters.
        mpx_s: Million pixels per second through the network, the median of a few rounds.
        ha_h: Hectares per hour at the resolution that it was trained for, margins of windows counted.
        memory_mb: Highest memory of the process, MB; on a GPU, of the GPU.
        scored_on: Data set of the scores.
        miou: Mean intersection over union, from the card; None where the card has none.
        weed_iou: That of weed.
    """

    model: str
    backend: str
    device: str
    params_m: float
    mpx_s: float
    ha_h: float
    memory_mb: float
    scored_on: str | None = None
    miou: float | None = None
    weed_iou: float | None = None


def benchmark(
    models: Iterable[str | Path], backend: str = "auto", side_px: int = 1024, on: str | None = None
) -> list[Row]:
    """Measure models one after the other.

    Args:
        models: Shipped models or model directories.
        backend: What runs them; see `geoseg.models.load`.
        side_px: Side of the image, pixels; rounded down to the network's stride.
        on: Data set of the card's scores, or a part of its name; None takes the first of each card.

    Raises:
        ModelError: If there is no such model or backend.
        ConfigError: If the side is not positive.
        RunError: If a model cannot be run on this device.
    """
    if side_px < 64:
        raise ConfigError(f"--side is {side_px}; expected 64 pixels or more")
    cards = [(str(name), read_card(name)) for name in models]
    return [_row(name, card, _measured(name, backend, side_px), on) for name, card in cards]


def measure(name: str, backend: str, side_px: int, rounds: int = _ROUNDS) -> dict[str, Any]:
    """Backend, device, million pixels per second and highest memory of a model in this process.

    Args:
        name: Shipped model or model directory.
        backend: What runs it.
        side_px: Side of the image, pixels.
        rounds: Timed rounds after a first.
    """
    import torch

    from geoseg.models.storage import load
    from geoseg.segment.forward import Forward

    segmenter = load(name, backend)
    side = side_px - side_px % segmenter.card.tiling.stride_px
    shape = 1, len(segmenter.card.bands), side, side
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    forward = Forward(segmenter, 0)
    forward(image)
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        forward(image)
        times.append(time.perf_counter() - started)
    used = str(getattr(segmenter, "backend", "custom"))
    gpu = "cuda" in used
    memory = (torch.cuda.max_memory_allocated() if gpu else (host.peak_mb() or math.nan) * 2**20) / 1e6
    device = torch.cuda.get_device_name() if gpu else f"{host.cpu_name()}, {_threads()} threads"
    return {"backend": used, "device": device, "mpx_s": side**2 / 1e6 / float(np.median(times)), "memory_mb": memory}


def table_lines(rows: Sequence[Row]) -> Iterator[str]:
    """The rows as a table for the terminal."""
    cells = [[name for name, _ in _COLUMNS], *(_cells(row) for row in rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(_COLUMNS))]
    for line in cells:
        yield "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()


def rows_as_csv(rows: Sequence[Row]) -> str:
    """The rows as CSV, empty where there is nothing."""
    text = io.StringIO()
    names = list(Row.__dataclass_fields__)
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue()


def write_benchmark(rows: Sequence[Row], out: Path) -> list[Path]:
    """Write benchmark.csv, benchmark.json and, where there are scores, benchmark.png into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    contents = {
        "benchmark.csv": rows_as_csv(rows).encode(),
        "benchmark.json": (json.dumps([asdict(row) for row in rows], indent=2) + "\n").encode(),
    }
    if any(row.miou is not None for row in rows):
        contents["benchmark.png"] = _picture(rows)
    return [write_file(out / name, content) for name, content in contents.items()]


def _row(name: str, card: ModelCard, found: dict[str, Any], on: str | None) -> Row:
    from geoseg.models.card import model_folder
    from geoseg.models.stac import parameter_count

    scored = next((one for one in card.scores if on is None or on in one), None)
    scores = card.scores.get(scored, {}) if scored else {}
    tiling = card.tiling
    useful = found["mpx_s"] * 1e6 / overlap_factor(tiling.write_px, tiling.margin_px)
    return Row(
        model=f"{card.name} {card.version}",
        backend=found["backend"],
        device=found["device"],
        params_m=parameter_count(model_folder(name) / "weights.safetensors") / 1e6,
        mpx_s=found["mpx_s"],
        ha_h=useful * card.gsd.train_m**2 / 1e4 * 3600,
        memory_mb=found["memory_mb"],
        scored_on=scored,
        miou=scores.get("miou"),
        weed_iou=scores.get("classes", {}).get("weed", {}).get("iou"),
    )


def _measured(name: str, backend: str, side_px: int) -> dict[str, Any]:
    words = [sys.executable, "-m", "geoseg.train.benchmark", name, backend, str(side_px)]
    child = subprocess.run(words, capture_output=True, encoding="utf-8", check=False)
    try:
        found: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        reason = (child.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise RunError(f"{name} could not be measured: {reason}") from None
    if "refused" in found:
        raise ModelError(found["refused"])
    return found


def _cells(row: Row) -> list[str]:
    values = ((getattr(row, name), form) for name, form in _COLUMNS)
    return ["-" if value is None else form.format(value) for value, form in values]


_WIDE = 3.0
"""Speeds farther apart than this are drawn on a logarithmic axis."""


def _picture(rows: Sequence[Row]) -> bytes:
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    figure = Figure(figsize=(6.5, 4.5), layout="constrained")
    axes = figure.subplots()
    scored = [(row, row.miou) for row in rows if row.miou is not None]
    slowest, fastest = min(row.ha_h for row, _ in scored), max(row.ha_h for row, _ in scored)
    axes.set(ylabel="mean IoU", title="Accuracy against speed")
    wide = fastest > _WIDE * slowest
    if wide:
        axes.set(xscale="log", xlim=(slowest / 1.5, fastest * 1.5))
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    else:
        axes.set_xlim(0, 1.15 * fastest)
    for row, miou in scored:
        axes.scatter(row.ha_h, miou, s=30 + 40 * math.sqrt(row.params_m), color="#0072b2", alpha=0.7)
        middle = math.sqrt(slowest * fastest) if wide else 0.55 * fastest
        left = row.ha_h > middle
        place: dict[str, Any] = {"xytext": (-9 if left else 9, 5), "ha": "right" if left else "left"}
        axes.annotate(row.model, (row.ha_h, miou), textcoords="offset points", fontsize=8, **place)
    axes.margins(y=0.15)
    axes.set_xlabel(f"hectares per hour on {rows[0].device}; larger dots have more parameters", fontsize=8)
    axes.grid(alpha=0.3)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120, metadata={"Software": None})
    return content.getvalue()


def _threads() -> int:
    count, wanted = host.cores(), os.environ.get("OMP_NUM_THREADS", "")
    return min(count, int(wanted)) if wanted.isdigit() and int(wanted) else count


def _main(words: Sequence[str]) -> None:
    try:
        found = measure(words[0], words[1], int(words[2]))
    except ModelError as error:
        found = {"refused": str(error)}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    _main(sys.argv[1:])
