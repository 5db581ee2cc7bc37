"""What valves make of commands along a track: runs begin early, end late, are never short. Knows metres, no field.

The model, for every section alone and always in driving direction:

1. The terminal switches on `lead` before the mapped ground begins and off `lag` behind its end.
2. Once on, it stays on for at least `min_run`.
3. The valve is open `open` after it was told to, if it is still told to by then; it is closed `close` after it was told
   to, unless it is told to open before that: then it has never closed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.spray.machine import Machine

__all__ = ["Runs", "coverage", "runs_of", "sprayed_runs"]


@dataclass(frozen=True, eq=False)
class Runs:
    """Stretches along the tracks of sections, in metres in driving direction.

    Attributes:
        start: (n, tracks) where each begins; NaN where a track has fewer than n.
        end: (n, tracks) where each ends.
    """

    start: NDArray[np.float64]
    end: NDArray[np.float64]


def runs_of(mask: NDArray[np.bool_], length_m: float) -> Runs:
    """The runs of a mask along each column, first row first.

    Args:
        mask: (rows, tracks) bool, rows in driving direction.
        length_m: Length of a row along the track, metres.
    """
    edges = np.zeros((mask.shape[0] + 2, mask.shape[1]), np.int8)
    edges[1:-1] = mask
    turns = np.diff(edges, axis=0).T
    track, start = np.nonzero(turns > 0)
    _, end = np.nonzero(turns < 0)
    nth = np.arange(track.size) - np.searchsorted(track, track)
    found = np.full((2, int(nth.max()) + 1 if nth.size else 0, mask.shape[1]), np.nan)
    found[0, nth, track] = start * length_m
    found[1, nth, track] = end * length_m
    return Runs(found[0], found[1])


def sprayed_runs(mapped: Runs, machine: Machine) -> Runs:
    """Where liquid reaches the ground for runs that the map asks for.

    Args:
        mapped: Runs of the map, in driving direction.
        machine: Whose valves.
    """
    told = _held(mapped.start - machine.lead_total_m, mapped.end + machine.lag_total_m, machine.min_run_m)
    return _opened(told.start, told.end, machine.open_m, machine.close_m)


def coverage(runs: Runs, bins: int, step_m: float) -> NDArray[np.float32]:
    """The share of each bin along the tracks that lies in a run; runs of a track must not overlap.

    Args:
        runs: Stretches.
        bins: Number of bins; the first begins at 0.
        step_m: Length of a bin, metres.

    Returns:
        (bins, tracks) float32, 0..1.
    """
    tracks = runs.start.shape[1]
    slope = np.zeros((bins + 2, tracks))
    for ends, sign in ((runs.start, 1.0), (runs.end, -1.0)):
        _, track = np.nonzero(~np.isnan(ends))
        at = np.clip(ends[~np.isnan(ends)] / step_m, 0, bins)
        whole = np.floor(at).astype(np.int64)
        np.add.at(slope, (whole, track), sign * (1 - (at - whole)))
        np.add.at(slope, (whole + 1, track), sign * (at - whole))
    share: NDArray[np.float32] = np.clip(slope.cumsum(axis=0)[:bins], 0, 1).astype(np.float32)
    return share


def _held(start: NDArray[np.float64], end: NDArray[np.float64], min_run_m: float) -> Runs:
    """Runs joined where the next begins before the last may end, each at least a minimum long."""
    begin, until = np.full_like(start, np.nan), np.full_like(end, np.nan)
    first, last = (np.full(start.shape[1], np.nan) for _ in range(2))
    for nth in range(start.shape[0]):
        known = ~np.isnan(start[nth])
        joins = known & (start[nth] <= last)
        opens = known & ~joins
        begin[nth, opens] = first[opens] = start[nth, opens]
        last = np.where(opens, np.maximum(end[nth], first + min_run_m), last)
        last = np.where(joins, np.maximum(end[nth], last), last)
        until[nth, known] = last[known]
    return _kept_last(begin, until)


def _opened(start: NDArray[np.float64], end: NDArray[np.float64], open_m: float, close_m: float) -> Runs:
    """Runs of the open valve for commands to it."""
    begin, until = np.full_like(start, np.nan), np.full_like(end, np.nan)
    closed_at = np.full(start.shape[1], -np.inf)
    for nth in range(start.shape[0]):
        known = ~np.isnan(start[nth])
        still_open = known & (start[nth] < closed_at)
        opens = known & ~still_open & (end[nth] - start[nth] >= open_m)
        begin[nth, opens] = start[nth, opens] + open_m
        open_now = still_open | opens
        closed_at = np.where(open_now, end[nth] + close_m, closed_at)
        until[nth, open_now] = closed_at[open_now]
    return _kept_last(begin, until)


def _kept_last(begin: NDArray[np.float64], until: NDArray[np.float64]) -> Runs:
    """Rows that begin nothing continue the run before: their end is moved to the row where that run began."""
    end = np.full_like(until, np.nan)
    latest = np.full(until.shape[1], np.nan)
    for nth in range(begin.shape[0] - 1, -1, -1):
        latest = np.where(np.isnan(latest), until[nth], latest)
        begins = ~np.isnan(begin[nth])
        end[nth, begins] = latest[begins]
        latest = np.where(begins, np.nan, latest)
    return Runs(begin, end)
