"""What a training leaves for people: two tables, a picture, and if wanted a log for TensorBoard."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from geoseg.errors import ConfigError
from geoseg.legend import LEGEND

__all__ = ["Board", "board", "write_logs"]

Steps = list[tuple[int, float, float]]
Validations = list[dict[str, Any]]


class Board(Protocol):
    """What is needed of TensorBoard's writer."""

    def add_scalar(self, tag: str, value: float, step: int) -> object:
        """Note a number."""
        ...


class _Nowhere:
    def add_scalar(self, tag: str, value: float, step: int) -> None:
        """Forget a number."""


@contextmanager
def board(out: Path, wanted: bool) -> Iterator[Board]:
    """A writer for TensorBoard in the folder ``tensorboard``, or one that does nothing.

    Args:
        out: The model directory.
        wanted: Whether to write.

    Raises:
        ConfigError: If it is wanted and not installed.
    """
    if not wanted:
        yield _Nowhere()
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError("train.tensorboard needs pip install 'geoseg[tensorboard]'; or set it to false") from error
    with SummaryWriter(out / "tensorboard") as writer:
        yield writer


def write_logs(log: Steps, validations: Validations, out: Path) -> None:
    """Write ``log.csv``, ``curves.png`` and, if there were any validations, ``validation.csv``.

    Args:
        log: Step, loss and learning rate of every update.
        validations: Step and scores by source; see `geoseg.train.validation`.
        out: The model directory.
    """
    with (out / "log.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("step", "loss", "rate"))
        writer.writerows((step, f"{loss:.5f}", f"{rate:.3e}") for step, loss, rate in log)
    if validations:
        with (out / "validation.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("step", "source", "miou", *(f"iou_{name}" for name in LEGEND.names)))
            for one in validations:
                for source, found in one["sources"].items():
                    writer.writerow((one["step"], source, *(f"{found[name]:.4f}" for name in ("miou", *LEGEND.names))))
    _curves(log, validations, out / "curves.png")


def _curves(log: Steps, validations: Validations, path: Path) -> None:
    from matplotlib.figure import Figure

    steps, losses, _ = np.array(log).T
    width = max(1, min(50, len(losses) // 5))
    smooth = np.convolve(losses, np.ones(width) / width, mode="valid")
    figure = Figure(figsize=(6, 3.5 if not validations else 6), layout="constrained")
    axes, *more = figure.subplots(1 + bool(validations), 1, squeeze=False, sharex=True)[:, 0]
    axes.plot(steps, losses, color="0.8", linewidth=0.6, label="step")
    axes.plot(steps[width - 1 :], smooth, color="#d55e00", label=f"mean of {width}")
    axes.set(ylabel="training loss", title="Training")
    axes.legend(frameon=False)
    for below in more:
        for source, line in _lines(validations).items():
            below.plot(*line, marker=".", label=source)
        below.set(ylabel="mean IoU", title="Validation", ylim=(0, 1))
        below.legend(frameon=False)
    figure.axes[-1].set_xlabel("step")
    figure.savefig(path, dpi=120)


def _lines(validations: Validations) -> Mapping[str, tuple[list[int], list[float]]]:
    lines: dict[str, tuple[list[int], list[float]]] = {}
    for one in validations:
        for source, found in one["sources"].items():
            steps, values = lines.setdefault(source, ([], []))
            steps.append(one["step"])
            values.append(found["miou"])
    return lines
