"""Scores as files for people and programs: evaluation.json, evaluation.md, blocks.csv and pictures, in one folder."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from geoseg.errors import LabelError
from geoseg.legend import CROP, LEGEND, WEED
from geoseg.progress import bar
from geoseg.train.evaluate_ground import Plots
from geoseg.train.evaluate_pictures import draw_all
from geoseg.train.evaluate_scores import Evaluation, score_tables
from geoseg.train.evaluate_settings import EvaluateConfig, Pair
from geoseg.train.evaluate_tables import Tables, count_pair, counted, join_tables, sized
from geoseg.windows import Rect

__all__ = ["blocks_as_csv", "evaluate_pairs", "evaluation_dict", "evaluation_lines", "write_report"]

ALL = "all"
JSON, PAGE, BLOCKS = "evaluation.json", "evaluation.md", "blocks.csv"
_BLOCK_COLUMNS = (
    "block", "row", "col", "height", "width", "seen_m2",
    "crop_labelled", "crop_counted", "weed_labelled", "weed_counted", "weed_m2", "weed_m2_found",
)  # fmt: skip


def evaluate_pairs(
    pairs: Iterable[Pair], config: EvaluateConfig, part: Rect | None = None, plots: Plots | None = None
) -> dict[str, Evaluation]:
    """Scores of all pairs together, called ``all``, and of each source where there are several.

    Args:
        pairs: Labels and predictions; one is open at a time.
        config: How scores are taken.
        part: Only these pixels of each; None takes all.
        plots: Count in these instead of squares, and leave out what lies in none.

    Raises:
        LabelError: If labels or predictions cannot be read, or no pixel has both.
    """
    sources: dict[str, list[Pair]] = {}
    pixels = 0
    for pair in pairs:
        size = counted(pair, part).size
        if size:
            sources.setdefault(pair.source, []).append(pair)
            pixels += size
    joined = {}
    with bar("evaluate", pixels, "px") as progress:
        for source, of_it in sources.items():
            how = config if plots else sized(config, of_it, part)
            joined[source] = join_tables([count_pair(pair, how, part, plots, progress.update) for pair in of_it])
    whole = join_tables(list(joined.values())) if joined else None
    if whole is None or not whole.matrix.sum():
        raise LabelError("no pixel has both a label and a prediction; look at the labels, and at --rows and --cols")
    found = {ALL: score_tables(whole, config)}
    if len(joined) > 1:
        found |= {source: score_tables(one, config) for source, one in joined.items()}
    return found


def evaluation_dict(found: Mapping[str, Evaluation]) -> dict[str, Any]:
    """All scores as plain data: those of all pairs on top, those of the sources under ``sources``."""
    whole = found[ALL]
    sources = {name: one.to_dict() for name, one in found.items() if name != ALL}
    return whole.to_dict() | ({"sources": sources} if sources else {}) | {"settings": settings(whole.config)}


def settings(config: EvaluateConfig) -> dict[str, Any]:
    """How scores were taken, as plain data; of the machine what matters here."""
    spray = {name: getattr(config.spray, name) for name in ("rate_l_ha", "threshold_cover", "buffer_m")}
    plain = {name: value for name, value in dataclasses.asdict(config).items() if name != "spray"}
    return plain | {"spray": spray | {"cell_m": list(config.spray.cell_m)}}


def evaluation_lines(found: Mapping[str, Evaluation]) -> Iterator[str]:
    """The scores that matter most, for the terminal."""
    for name, one in found.items():
        if len(found) > 1:
            yield f"== {name}"
        them = "plots" if any(one.tables.names) else "squares"
        yield f"{'class':<8}{'IoU':>8}{'precision':>11}{'recall':>8}{'F1':>8}{'edge F1':>9}{'pixels':>15}"
        for code, entry in enumerate(LEGEND.names):
            keys = ("iou", "precision", "recall", "f1", "boundary_f1")
            values = [one.scores[f"classes.{entry}.{key}"] for key in keys]
            pixels = int(one.tables.matrix[:, code].sum())
            yield "{:<8}{:>8.3f}{:>11.3f}{:>8.3f}{:>8.3f}{:>9.3f}{:>15,}".format(entry, *values, pixels)
        yield f"mIoU    {one.scores['miou']:>8.3f}{_interval(one, 'miou')}"
        for entry in ("crop", "weed"):
            count = {key: one.scores[f"counts.{entry}.{key}"] for key in ("labelled", "predicted", "mae", "rmse", "r2")}
            by_centre, by_overlap, quality = (one.scores[f"objects.{entry}.{key}"] for key in ("f1", "f1_iou50", "pq"))
            yield (
                f"{entry} plants  F1 {by_centre:.3f} by centre, {by_overlap:.3f} by overlap, PQ {quality:.3f}; "
                f"{count['predicted']:.0f} counted of {count['labelled']:.0f}, "
                f"off by {count['mae']:.1f} (RMSE {count['rmse']:.1f}) in each of {len(one.tables)} {them}, "
                f"R2 {count['r2']:.2f}"
            )
        yield from _spray_lines(one)
        yield f"calibration  expected error {one.scores['calibration.ece']:.4f}"


def write_report(found: Mapping[str, Evaluation], out: Path, title: str) -> list[Path]:
    """Write evaluation.json, evaluation.md, blocks.csv and the pictures into a folder and return what was written.

    Args:
        found: Scores as `evaluate_pairs` gives them.
        out: The folder; made if it is missing. Files of the same names are replaced when all are there.
        title: What was scored.
    """
    draft = out.with_name(f".{out.name}.draft{os.getpid()}")
    draft.mkdir(parents=True)
    try:
        pictures = draw_all(found[ALL], draft)
        content = json.dumps(evaluation_dict(found), indent=2) + "\n"
        (draft / JSON).write_text(content, encoding="utf-8")
        (draft / PAGE).write_text("\n".join(_page(found, title, pictures)) + "\n", encoding="utf-8")
        (draft / BLOCKS).write_text(blocks_as_csv(found[ALL].tables), encoding="utf-8")
        out.mkdir(parents=True, exist_ok=True)
        names = [JSON, PAGE, BLOCKS, *(name for name, _ in pictures)]
        for name in names:
            os.replace(draft / name, out / name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return [out / name for name in names]


def blocks_as_csv(tables: Tables) -> str:
    """Plants and weed area of every block as CSV; place and size in pixels of the raster."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_BLOCK_COLUMNS)
    for (pair, rect), name, matrix, counts in zip(
        tables.where, tables.names, tables.matrix, tables.counts.astype(int), strict=True
    ):
        place = rect.row0, rect.col0, *rect.shape
        areas = [pixels * pair.gsd_m**2 for pixels in (matrix.sum(), matrix[WEED].sum(), matrix[:, WEED].sum())]
        seen, labelled, found = (f"{area:.6g}" for area in areas)
        writer.writerow([name or pair.name, *place, seen, *counts[CROP], *counts[WEED], labelled, found])
    return text.getvalue()


class _Shown(float):
    """A number that is shown as a dash where there is none."""

    def __format__(self, form: str) -> str:
        return "-" if math.isnan(self) else super().__format__(form)


def _spray_lines(one: Evaluation) -> Iterator[str]:
    value = {
        name.removeprefix("spraying."): _Shown(score)
        for name, score in one.scores.items()
        if name.startswith("spraying.")
    }
    width, length = one.config.spray.cell_m
    yield (
        f"spraying  in cells of {width:g} x {length:g} m: {value['weed_reached']:.1%} of the weed area reached, "
        f"{value['missed_weed_m2']:.3g} m2 missed, {value['over_sprayed_m2']:.3g} m2 sprayed in vain; "
        f"cells: precision {value['cell_precision']:.3f}, recall {value['cell_recall']:.3f}; "
        f"{value['saved_share']:.1%} of the spray saved"
    )
    yield (
        f"          at {one.config.weed_recall:.0%} of the weed area: {value['saved_at_recall']:.1%} saved, "
        f"{value['litres_saved_at_recall']:.3g} L of {value['broadcast_litres']:.3g} L"
        f"{_interval(one, 'spraying.saved_at_recall')}"
    )


def _interval(one: Evaluation, name: str) -> str:
    if name not in one.intervals:
        return ""
    low, high = one.intervals[name]
    return f"  [{low:.3f}, {high:.3f}]"


def _page(found: Mapping[str, Evaluation], title: str, pictures: list[tuple[str, str]]) -> Iterator[str]:
    config, tables = found[ALL].config, found[ALL].tables
    yield f"# Evaluation: {title}"
    yield ""
    yield (
        f"Edges count as hit within {config.tolerance_m:g} m. Plants are regions of at least "
        f"{config.min_object_m2 * 1e4:g} cm², or what the labels and the run outline. Counts are compared in "
        f"{tables.blocks}: {BLOCKS}. Intervals hold {config.level:.0%} of {config.resamples} bootstrap draws of these "
        f"{len(tables)}, seed {config.seed}. What each figure means: docs/evaluation.md."
    )
    for name, one in found.items():
        yield from ("", f"## {name}", "", "| figure | value | interval |", "| --- | ---: | --- |")
        for key, value in one.scores.items():
            low, high = one.intervals.get(key, (float("nan"), float("nan")))
            interval = f"{_short(low)} to {_short(high)}" if key in one.intervals else ""
            yield f"| {key} | {_short(value)} | {interval} |"
        yield ""
    for file, text in pictures:
        yield from (f"![{text}]({file})", "")


def _short(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4g}"
