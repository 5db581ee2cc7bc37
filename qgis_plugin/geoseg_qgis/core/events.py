"""What geoseg tells while it works: progress as JSON lines, warnings and errors as text, brought into one shape."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from geoseg_qgis.core.process import Outcome

__all__ = ["SHARES", "Listener", "Report", "failure"]

SHARES: Mapping[str, Mapping[str, float]] = {
    "run": {
        "segment": 80, "vectorize": 6, "panoptic": 2, "rows": 2, "geoparquet": 1, "prescribe": 5, "picture": 2,
        "qgis": 1, "report": 1,
    },
    "run --adapt": {
        "adapt": 40, "segment": 44, "vectorize": 4, "panoptic": 2, "rows": 2, "prescribe": 4, "picture": 2, "qgis": 1,
        "report": 1,
    },
    "segment": {"segment": 97, "qgis": 1, "report": 2},
    "prescribe": {"vectorize": 30, "rows": 10, "prescribe": 35, "picture": 15, "qgis": 5, "report": 5},
    "labels": {"model": 70, "labels": 30},
    "labels without model": {"labels": 100},
    "adapt": {"adapt": 100},
}  # fmt: skip
"""Percent of the time that the stages of a command take, in their order."""

_WARNING = re.compile(r"^\S.*?:\d+: (?:\w+\.)*(\w*Warning): (.*)$")
_TELLERS = ("geoseg: ", "Error: ")


@dataclass
class Report:
    """Where a child reports to; each is called in the thread that follows it.

    Attributes:
        percent: Takes 0 to 100.
        text: Takes what is done at the moment.
        info: Takes a line for the log.
        warning: Takes a warning for the log.
    """

    percent: Callable[[float], None]
    text: Callable[[str], None]
    info: Callable[[str], None]
    warning: Callable[[str], None]


@dataclass
class Listener:
    """Turns the lines of a child into calls of a `Report`.

    Attributes:
        report: Who is told.
        shares: Stage to percent, of `SHARES`.
        show_stdout: Whether the lines on stdout are for people.
        finished: The event at the end of a run, when it has come.

    A line that may be the message of an error is held back until more follows, so that the log shows it once.
    """

    report: Report
    shares: Mapping[str, float]
    show_stdout: bool = True
    finished: dict[str, Any] | None = None
    _after_warning: bool = field(default=False, repr=False)
    _held: str = field(default="", repr=False)

    def line(self, stream: str, line: str) -> None:
        """Take a line of ``stdout`` or ``stderr``."""
        if line.strip():
            self.flush()
        if stream == "stdout":
            if self.show_stdout:
                self.report.info(line)
            return
        event = parse_event(line)
        if event is not None:
            self._event(event)
            return
        warning = _WARNING.match(line)
        if warning:
            self.report.warning(warning[2])
        elif self._after_warning and line.startswith("  "):
            pass  # the line of code that Python shows below a warning
        elif line.startswith(_TELLERS):
            self._held = line
        elif line.strip():
            self.report.info(line)
        self._after_warning = warning is not None

    def flush(self) -> None:
        """Show the line that was held back; to be called when the child has ended well."""
        if self._held:
            self.report.info(self._held)
        self._held = ""

    def _event(self, event: Mapping[str, Any]) -> None:
        name, stage = event["event"], str(event.get("stage", ""))
        if name == "progress":
            done, total = float(event["done"]), float(event["total"] or 1)
            self._percent(stage, min(done / total, 1.0))
            self.report.text(progress_text(stage, done / total, event.get("eta_s")))
        elif name == "stage_started":
            self._percent(stage, 0.0)
            self.report.text(f"{stage} ...")
        elif name == "stage_finished":
            self._percent(stage, 1.0)
            memory = f", {event['peak_mb']} MB of memory" if event.get("peak_mb") else ""
            self.report.info(f"{stage}: done in {event['seconds']:.1f} s{memory}")
        elif name == "run_finished":
            self.finished = dict(event)
            self.report.percent(100.0)
            if not event.get("worked"):
                self.report.info("everything was there already")
        elif "text" in event:
            self.report.warning(str(event["text"]))

    def _percent(self, stage: str, share: float) -> None:
        if stage not in self.shares:
            return
        before = 0.0
        for name, percent in self.shares.items():
            if name == stage:
                whole = sum(self.shares.values())
                self.report.percent(100 * (before + share * percent) / whole)
                return
            before += percent


def parse_event(line: str) -> dict[str, Any] | None:
    """The event in a line; None if it is something else."""
    if not line.startswith('{"event"'):
        return None
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def progress_text(stage: str, share: float, eta_s: float | None) -> str:
    """What is done, and how long it takes still."""
    text = f"{stage}: {share:.0%}"
    if not eta_s:
        return text
    if eta_s < 90:
        return f"{text}, about {eta_s:.0f} s left"
    return f"{text}, about {eta_s / 60:.0f} min left" if eta_s < 5400 else f"{text}, about {eta_s / 3600:.1f} h left"


def failure(outcome: Outcome) -> str:
    """Why a child failed, in one line: its own message if it gave one."""
    lines = [line.strip() for line in outcome.stderr if line.strip() and parse_event(line) is None]
    for teller in _TELLERS:
        for line in reversed(lines):
            if line.startswith(teller):
                return line
    last = lines[-1] if lines else "it said nothing"
    if outcome.code < 0:
        return f"geoseg was ended by signal {-outcome.code} (too little memory?): {last}"
    return f"geoseg failed with exit code {outcome.code}: {last}"
