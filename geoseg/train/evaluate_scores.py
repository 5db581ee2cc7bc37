"""Scores from counts per block, with intervals from a bootstrap over blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from geoseg.legend import CROP, LEGEND, WEED
from geoseg.train.evaluate_cells import SPRAY, savings_curve
from geoseg.train.evaluate_settings import EvaluateConfig
from geoseg.train.evaluate_tables import Tables

__all__ = ["MIN_BLOCKS", "Evaluation", "reliability", "score_tables"]

MIN_BLOCKS = 5
"""From fewer blocks no interval is told."""
_AT_ONCE = 100

Flat = dict[str, np.ndarray]
"""Scores by name, (R,) each, one per weighting of the blocks."""


@dataclass(frozen=True)
class Evaluation:
    """Scores of one set of blocks.

    Attributes:
        scores: By name, such as ``classes.weed.iou``; NaN where there is nothing to score.
        intervals: Lower and upper end by name; empty from too few blocks.
        tables: What they were counted from.
        config: How.
    """

    scores: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    tables: Tables
    config: EvaluateConfig

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: nested by the parts of the names, the intervals beside them."""
        nested: dict[str, Any] = {"pixels": int(self.tables.matrix.sum())}
        for name, value in self.scores.items():
            *path, last = name.split(".")
            part = nested
            for key in path:
                part = part.setdefault(key, {})
            part[last] = _plain(value)
        nested["matrix"] = self.tables.matrix.sum(axis=0).tolist()
        nested["intervals"] = {
            "level": self.config.level,
            "resamples": self.config.resamples,
            "seed": self.config.seed,
            "of_what": self.tables.blocks,
            "blocks": len(self.tables),
            "of": {name: [_plain(low), _plain(high)] for name, (low, high) in self.intervals.items()},
        }
        return nested


def score_tables(tables: Tables, config: EvaluateConfig) -> Evaluation:
    """All scores of a table of counts, and their intervals."""
    blocks = len(tables)
    scores = {name: float(values[0]) for name, values in _scores(tables, np.ones((1, blocks)), config).items()}
    intervals = {}
    if config.resamples and blocks >= MIN_BLOCKS:
        random = np.random.default_rng(config.seed)
        weights = random.multinomial(blocks, np.full(blocks, 1 / blocks), size=config.resamples).astype(float)
        drawn = [
            _scores(tables, weights[first : first + _AT_ONCE], config) for first in range(0, config.resamples, _AT_ONCE)
        ]
        tail = (1 - config.level) / 2
        for name, value in scores.items():
            values = np.concatenate([one[name] for one in drawn])
            values = values[np.isfinite(values)]
            if np.isfinite(value) and len(values):
                low, high = np.quantile(values, [tail, 1 - tail])
                intervals[name] = float(low), float(high)
    return Evaluation(scores, intervals, tables, config)


def reliability(tables: Tables, code: int | None = None) -> np.ndarray:
    """(bins, 3) pixels, mean confidence and share of right pixels of each bin; NaN in empty bins.

    Args:
        tables: The counts.
        code: Only pixels predicted as this class; None takes all.
    """
    sums = tables.bins.sum(axis=0)
    found = sums.sum(axis=0) if code is None else sums[code]
    return np.stack([found[:, 0], _ratio(found[:, 1], found[:, 0]), _ratio(found[:, 2], found[:, 0])], axis=1)


def _scores(tables: Tables, weights: np.ndarray, config: EvaluateConfig) -> Flat:
    """All scores under (R, B) weights of the blocks."""

    def total(table: np.ndarray) -> np.ndarray:
        return np.tensordot(weights, table, axes=1)

    return {
        **_pixels(total(tables.matrix), total(tables.edges)),
        **_objects(total(tables.near), total(tables.whole)),
        **_counts(tables.counts, weights),
        **_calibration(total(tables.bins)),
        **_spraying(total(tables.spray), config),
        **_savings(tables.cells, weights, config),
    }


def _pixels(matrix: np.ndarray, edges: np.ndarray) -> Flat:
    hits = np.diagonal(matrix, axis1=1, axis2=2)
    labelled, predicted = matrix.sum(axis=2), matrix.sum(axis=1)
    iou = _ratio(hits, labelled + predicted - hits)
    found: Flat = {"miou": _mean(iou), "accuracy": _ratio(hits.sum(axis=1), matrix.sum(axis=(1, 2)))}
    for code, name in enumerate(LEGEND.names):
        precision, recall = _ratio(edges[:, code, 0], edges[:, code, 1]), _ratio(edges[:, code, 2], edges[:, code, 3])
        found |= {
            f"classes.{name}.iou": iou[:, code],
            f"classes.{name}.precision": _ratio(hits[:, code], predicted[:, code]),
            f"classes.{name}.recall": _ratio(hits[:, code], labelled[:, code]),
            f"classes.{name}.f1": _ratio(2 * hits[:, code], labelled[:, code] + predicted[:, code]),
            f"classes.{name}.boundary_f1": _harmonic(precision, recall),
        }
    return found


def _harmonic(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """F1; 0 where nothing was predicted, or nothing labelled, or nothing is right. NaN where there is neither."""
    one, two = np.nan_to_num(precision), np.nan_to_num(recall)
    nothing = np.isnan(precision) & np.isnan(recall)
    return np.where(nothing, np.nan, np.nan_to_num(_ratio(2 * one * two, one + two)))


def _objects(near: np.ndarray, whole: np.ndarray) -> Flat:
    found: Flat = {}
    for code in (CROP, WEED):
        hit, vain, missed = np.moveaxis(near[:, code], 1, 0)
        good, wrong, lost, overlap = np.moveaxis(whole[:, code], 1, 0)
        name = f"objects.{LEGEND[code].name}"
        found |= {
            f"{name}.precision": _ratio(hit, hit + vain),
            f"{name}.recall": _ratio(hit, hit + missed),
            f"{name}.f1": _ratio(2 * hit, 2 * hit + vain + missed),
            f"{name}.f1_iou50": _ratio(2 * good, 2 * good + wrong + lost),
            f"{name}.pq": _ratio(2 * overlap, 2 * good + wrong + lost),
            f"{name}.sq": _ratio(overlap, good),
            f"{name}.rq": _ratio(2 * good, 2 * good + wrong + lost),
        }
    return found


def _counts(counts: np.ndarray, weights: np.ndarray) -> Flat:
    found: Flat = {}
    total = weights.sum(axis=1)
    for code in (CROP, WEED):
        truth, guess = counts[:, code, 0], counts[:, code, 1]
        error = guess - truth
        squares, mean = weights @ error**2, _ratio(weights @ truth, total)
        spread = weights @ truth**2 - total * mean**2
        name = f"counts.{LEGEND[code].name}"
        found |= {
            f"{name}.labelled": weights @ truth,
            f"{name}.predicted": weights @ guess,
            f"{name}.relative_error": _ratio(weights @ error, weights @ truth),
            f"{name}.bias": _ratio(weights @ error, total),
            f"{name}.mae": _ratio(weights @ np.abs(error), total),
            f"{name}.rmse": np.sqrt(_ratio(squares, total)),
            f"{name}.r2": np.where(spread > 1e-9, 1 - _ratio(squares, spread), np.nan),
        }
    return found


def _calibration(bins: np.ndarray) -> Flat:
    def error(table: np.ndarray) -> np.ndarray:
        gap = np.abs(table[..., 2] - table[..., 1]).sum(axis=-1)
        return _ratio(gap, table[..., 0].sum(axis=-1))

    found: Flat = {"calibration.ece": error(bins.sum(axis=1))}
    for code, name in enumerate(LEGEND.names):
        found[f"calibration.{name}.ece"] = error(bins[:, code])
    return found


def _spraying(sums: np.ndarray, config: EvaluateConfig) -> Flat:
    named = dict(zip(SPRAY, np.moveaxis(sums, 1, 0), strict=True))
    over = named["treated_m2"] - named["both_m2"]
    litres = config.spray.rate_l_ha / 1e4
    return {
        "spraying.weed_m2": named["weed_m2"],
        "spraying.missed_weed_m2": named["missed_m2"],
        "spraying.weed_reached": 1 - _ratio(named["missed_m2"], named["weed_m2"]),
        "spraying.over_sprayed_m2": over,
        "spraying.over_sprayed_share": _ratio(over, named["seen_m2"]),
        "spraying.treated_share": _ratio(named["treated_m2"], named["seen_m2"]),
        "spraying.needed_share": _ratio(named["needed_m2"], named["seen_m2"]),
        "spraying.cell_precision": _ratio(named["both_cells"], named["treated_cells"]),
        "spraying.cell_recall": _ratio(named["both_cells"], named["needed_cells"]),
        "spraying.saved_share": 1 - _ratio(named["treated_m2"], named["seen_m2"]),
        "spraying.litres": named["treated_m2"] * litres,
        "spraying.broadcast_litres": named["seen_m2"] * litres,
    }


def _savings(cells: np.ndarray, weights: np.ndarray, config: EvaluateConfig) -> Flat:
    """Ground that need not be treated when a share of the weed area is reached, the weediest cells first."""
    block, predicted, weed, area = cells[:, 0].astype(np.int64), *cells[:, 1:].T
    order = np.argsort(-predicted, kind="stable")
    block, predicted, weed, area = block[order], predicted[order], weed[order], area[order]
    saved, seen = np.full(len(weights), np.nan), np.full(len(weights), np.nan)
    for nth, weight in enumerate(weights):
        drawn = weight[block]
        if not (weed * drawn).sum() > 0:
            continue
        treated, reached = savings_curve(predicted, weed * drawn, area * drawn)
        saved[nth] = 1 - np.interp(config.weed_recall, reached, treated)
        seen[nth] = float((weed * drawn)[predicted > 0].sum() / (weed * drawn).sum())
    litres = config.spray.rate_l_ha / 1e4
    ground = np.array([float((area * weight[block]).sum()) for weight in weights])
    return {
        "spraying.saved_at_recall": saved,
        "spraying.litres_saved_at_recall": saved * ground * litres,
        "spraying.weed_in_predicted_cells": seen,
    }


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis without NaN; NaN where there is nothing else."""
    known = np.isfinite(values)
    return _ratio(np.where(known, values, 0).sum(axis=-1), known.sum(axis=-1))


def _ratio(above: Any, below: Any) -> np.ndarray:
    above, below = np.broadcast_arrays(np.asarray(above, float), np.asarray(below, float))
    found: np.ndarray = np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
    return found


def _plain(value: float) -> float | None:
    return None if not np.isfinite(value) else float(f"{value:.6g}")
