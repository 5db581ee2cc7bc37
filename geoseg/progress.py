"""What a run tells while it works: bars for people on stderr, events for programs, a trace for the curious.

Whoever works calls `emit`, `span` or `bar`; whoever wants to know calls `listen`. Without a listener events are free.
"""

from __future__ import annotations

import datetime
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from tqdm import tqdm

__all__ = ["Bar", "bar", "emit", "json_lines", "listen", "span", "trace"]

Event = dict[str, Any]
"""``event`` is its name, ``time`` when it happened (UTC); the rest depends on the name."""

_EVERY_S, _LINE_EVERY_S = 1.0, 60.0
_listeners: list[Callable[[Event], None]] = []


@contextmanager
def listen(listener: Callable[[Event], None]) -> Iterator[None]:
    """Have `listener` called with every event of this process; it is called from several threads."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def emit(event: str, **facts: Any) -> None:
    """Tell all listeners that something happened."""
    if _listeners:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        for listener in tuple(_listeners):
            listener({"event": event, "time": now, **facts})


@contextmanager
def span(name: str, **facts: Any) -> Iterator[None]:
    """Emit a ``span`` event with ``start_s``, ``seconds`` and the thread, when what is inside is over."""
    if not _listeners:
        yield
        return
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds = time.perf_counter() - started
        emit("span", name=name, start_s=started, seconds=seconds, thread=threading.current_thread().name, **facts)


def json_lines(stream: IO[str]) -> Callable[[Event], None]:
    """A listener that writes every event but spans as one line of JSON."""
    lock = threading.Lock()

    def write(event: Event) -> None:
        if event["event"] != "span":
            with lock:
                stream.write(json.dumps(event, ensure_ascii=False, default=str) + "\n")
                stream.flush()

    return write


@contextmanager
def trace(path: Path) -> Iterator[None]:
    """Write all spans as a Chrome trace, which ui.perfetto.dev and chrome://tracing show as a time line."""
    began, spans = time.perf_counter(), list[Event]()

    def keep(event: Event) -> None:
        if event["event"] == "span":
            spans.append(event)

    try:
        with listen(keep):
            yield
    finally:
        threads = {name: number for number, name in enumerate(dict.fromkeys(event["thread"] for event in spans))}
        names: list[Event] = [
            {"ph": "M", "name": "thread_name", "pid": 1, "tid": number, "args": {"name": name}}
            for name, number in threads.items()
        ]
        parts: list[Event] = [
            {
                "ph": "X",
                "name": event["name"],
                "pid": 1,
                "tid": threads[event["thread"]],
                "ts": round((event["start_s"] - began) * 1e6),
                "dur": round(event["seconds"] * 1e6),
                "args": {key: value for key, value in event.items() if key not in _SPAN_KEYS},
            }
            for event in spans
        ]
        path.write_text(json.dumps({"traceEvents": names + parts}), encoding="utf-8")


_SPAN_KEYS = ("event", "time", "name", "start_s", "seconds", "thread")


class Bar:
    """A progress bar on stderr, a line a minute where stderr is no terminal, and ``progress`` events once a second."""

    def __init__(
        self, label: str, total: float, unit: str = "it", ha_per_unit: float | None = None, initial: float = 0
    ) -> None:
        """Start to count.

        Args:
            label: What is done.
            total: How much there is to do.
            unit: Of what.
            ha_per_unit: Hectares of a unit; with them the speed is shown in hectares per hour.
            initial: How much was done before, by a run or a training that goes on.
        """
        self._label, self._total, self._ha = label, total, ha_per_unit
        self._bar = tqdm(
            total=total, initial=initial, desc=f"{label:<10}", unit=unit, unit_scale=True, disable=None, smoothing=0.1
        )
        self._unit, self._figures = unit, ""
        self._started, self._initial, self._done = time.perf_counter(), initial, initial
        self._told = self._lined = 0.0

    def update(self, count: float = 1) -> None:
        """`count` more are done."""
        self._done += count
        seconds = max(time.perf_counter() - self._started, 1e-9)
        facts: Event = {"stage": self._label, "done": self._done, "total": self._total, "seconds": round(seconds, 3)}
        now = self._done - self._initial
        facts["eta_s"] = round(seconds * max(self._total - self._done, 0) / now, 1) if now else None
        if self._ha is not None:
            facts["ha_h"] = round(now * self._ha / seconds * 3600, 3)
            self._bar.set_postfix_str(f"{facts['ha_h']:.3g} ha/h", refresh=False)
        self._bar.update(count)
        if seconds - self._told >= _EVERY_S or self._done >= self._total:
            self._told = seconds
            emit("progress", **facts)
        if self._bar.disable and not _listeners and seconds - self._lined >= _LINE_EVERY_S:
            self._lined = seconds
            sys.stderr.write(f"{self._line(facts['eta_s'])}\n")
            sys.stderr.flush()

    def _line(self, left_s: float | None) -> str:
        done, total = (tqdm.format_sizeof(value) for value in (self._done, self._total))
        left = "" if left_s is None else f", {tqdm.format_interval(left_s)} left"
        return f"{self._label}: {done} of {total} {self._unit}{left}{self._figures}"

    def set_postfix(self, **facts: Any) -> None:
        """Figures to show behind the bar."""
        self._figures = "".join(f", {name} {value}" for name, value in facts.items())
        self._bar.set_postfix(**facts)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the bar as it is."""
        self._bar.close()


def bar(label: str, total: float, unit: str = "it", ha_per_unit: float | None = None, initial: float = 0) -> Bar:
    """A `Bar`; use as a context manager and call ``update(n)``."""
    return Bar(label, total, unit, ha_per_unit, initial)
