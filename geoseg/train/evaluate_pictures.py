"""Pictures of an evaluation: confusion, reliability, savings, counts, and the blocks with the most wrong pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geoseg.legend import CROP, LEGEND, NODATA, WEED
from geoseg.train.evaluate_cells import savings_curve
from geoseg.train.evaluate_scores import Evaluation, reliability

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_all", "worst_blocks"]

_WRONG = {(WEED, 0): (0, 0, 0), (WEED, CROP): (0, 0, 0), (0, WEED): (204, 121, 167), (CROP, WEED): (0, 114, 178)}
"""Colours of errors by label and prediction; other errors are grey."""
_LEAST_PX = 100
"""Bins of fewer pixels are chance and are not drawn."""


def draw_all(one: Evaluation, folder: Path) -> list[tuple[str, str]]:
    """Draw every picture that there is something to draw for; (file name, what it shows) of each."""
    drawers: tuple[tuple[str, str, Callable[[Evaluation], Figure | None]], ...] = (
        ("confusion.png", "Confusion matrix: share of the labelled pixels of each class", _confusion),
        ("reliability.png", "Reliability: how often the model is right when it says how sure it is", _reliability),
        ("savings.png", "Weed area reached against ground treated", _savings),
        ("counts.png", "Plants counted and labelled per plot or square", _counts),
        ("worst.png", "Blocks with the most wrong pixels: image, labels, prediction, errors", _worst),
    )
    drawn = []
    for name, text, draw in drawers:
        figure = draw(one)
        if figure is not None:
            figure.savefig(folder / name, dpi=110, metadata={"Software": None})
            drawn.append((name, text))
    return drawn


def worst_blocks(one: Evaluation, count: int) -> list[int]:
    """Blocks with the most wrong pixels, the worst first; those without any are left out."""
    matrix = one.tables.matrix
    wrong = matrix.sum(axis=(1, 2)) - np.trace(matrix, axis1=1, axis2=2)
    order = np.argsort(-wrong, kind="stable")[:count]
    return [int(block) for block in order if wrong[block]]


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _confusion(one: Evaluation) -> Figure:
    matrix = one.tables.matrix.sum(axis=0)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    figure = _figure(5, 4.2)
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, col), value in np.ndenumerate(share):
        text = f"{value:.1%}\n{matrix[row, col]:,}"
        axes.text(col, row, text, ha="center", va="center", color="white" if value > 0.6 else "black")
    ticks = range(len(LEGEND))
    axes.set(xlabel="predicted", ylabel="labelled", title="Pixels, as shares of their label")
    axes.set_xticks(ticks, LEGEND.names)
    axes.set_yticks(ticks, LEGEND.names)
    return figure


def _reliability(one: Evaluation) -> Figure | None:
    if not one.tables.bins.any():
        return None
    figure = _figure(5, 5)
    axes, below = figure.subplots(2, height_ratios=(4, 1), sharex=True)
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    whole = reliability(one.tables)
    width = 1 / len(whole)
    for code, colour, name in (
        (None, "black", "all"),
        (CROP, LEGEND[CROP].hex, "crop"),
        (WEED, LEGEND[WEED].hex, "weed"),
    ):
        rows = reliability(one.tables, code)
        rows = rows[rows[:, 0] >= _LEAST_PX]
        label = f"{name}, error {one.scores['calibration.ece' if code is None else f'calibration.{name}.ece']:.3f}"
        axes.plot(rows[:, 1], rows[:, 2], "o-", markersize=3, color=colour, label=label)
    axes.set(ylabel="share that is right", title="Is the confidence true?", xlim=(0.3, 1), ylim=(0, 1.02))
    axes.legend(frameon=False)
    below.bar((np.arange(len(whole)) + 0.5) * width, whole[:, 0] / whole[:, 0].sum(), width * 0.9, color="0.6")
    below.set(xlabel="confidence", ylabel="pixels", yscale="log")
    return figure


def _savings(one: Evaluation) -> Figure | None:
    cells = one.tables.cells
    if not cells[:, 2].sum():
        return None
    treated, reached = savings_curve(*cells[:, 1:].T)
    figure = _figure(5, 4)
    axes = figure.subplots()
    axes.plot(treated, reached, color=LEGEND[WEED].hex, label="cells with the most predicted weed first")
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="at random")
    axes.axhline(one.config.weed_recall, color="0.4", linewidth=0.8, linestyle="--")
    now = one.scores["spraying.treated_share"], one.scores["spraying.weed_reached"]
    axes.plot(*now, "o", color="black", label="the rule as set")
    axes.set(xlabel="share of the ground treated", ylabel="share of the weed area reached", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(frameon=False, loc="lower right")
    return figure


def _counts(one: Evaluation) -> Figure | None:
    counts = one.tables.counts
    if not counts.any():
        return None
    figure = _figure(8, 4)
    for axes, code in zip(figure.subplots(1, 2), (CROP, WEED), strict=True):
        truth, guess = counts[:, code].T
        top = max(truth.max(), guess.max(), 1) * 1.05
        axes.plot([0, top], [0, top], color="0.7", linewidth=1)
        axes.plot(truth, guess, "o", markersize=4, alpha=0.6, color=LEGEND[code].hex)
        name = LEGEND[code].name
        axes.set(xlabel="labelled", ylabel="counted", aspect="equal")
        axes.set_title(f"{name}, R² {one.scores[f'counts.{name}.r2']:.2f}")
        for axis in (axes.xaxis, axes.yaxis):
            axis.get_major_locator().set_params(integer=True)
    figure.suptitle(f"plants in {one.tables.blocks}")
    return figure


def _worst(one: Evaluation) -> Figure | None:
    blocks = worst_blocks(one, one.config.worst)
    if not blocks:
        return None
    figure = _figure(11, 2.9 * len(blocks))
    grid = figure.subplots(len(blocks), 4, squeeze=False)
    for axes, block in zip(grid, blocks, strict=True):
        pair, rect = one.tables.where[block]
        with pair.open() as opened:
            patch, image = opened.read(rect), opened.image(rect)
        known = (patch.labels != NODATA) & (patch.classes != NODATA)
        wrong = int(((patch.labels != patch.classes) & known).sum())
        if image is not None:
            axes[0].imshow(np.moveaxis(image, 0, -1))
        for place, picture in zip(
            axes[1:],
            (_classes(patch.labels), _classes(patch.classes), _errors(patch.labels, patch.classes, known)),
            strict=True,
        ):
            place.imshow(picture, interpolation="nearest")
        name = one.tables.names[block] or pair.name
        axes[0].set_title(f"{name}, row {rect.row0}, column {rect.col0}", fontsize=8)
        axes[3].set_title(f"{wrong:,} px wrong, {wrong / max(known.sum(), 1):.1%}", fontsize=8)
        for place in axes:
            place.set_axis_off()
    grid[0, 1].set_title("labels", fontsize=8)
    grid[0, 2].set_title("prediction", fontsize=8)
    figure.suptitle(
        "errors: black missed weed, violet weed in vain, blue crop taken for weed, grey others", fontsize=10
    )
    return figure


def _classes(codes: np.ndarray) -> np.ndarray:
    table = np.full((256, 3), 255, np.uint8)
    for entry in LEGEND.entries:
        table[entry.code] = entry.rgb
    return np.asarray(table[codes])


def _errors(labels: np.ndarray, classes: np.ndarray, known: np.ndarray) -> np.ndarray:
    picture = np.full((*labels.shape, 3), 245, np.uint8)
    picture[(labels != classes) & known] = 150
    for (truth, guess), colour in _WRONG.items():
        picture[(labels == truth) & (classes == guess) & known] = colour
    return picture
