"""A child process, line by line, that can be stopped together with its own children."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any

__all__ = ["Outcome", "quiet", "run_child"]

POLL_S = 0.1
GRACE_S = 15.0
"""How long a child may tidy up after it was asked to stop."""
PIPES_S = 5.0
"""How long to wait for what is still in the pipes of a child that has ended."""
KEPT_LINES = 400


@dataclass
class Outcome:
    """How a child ended.

    Attributes:
        code: Its exit code.
        cancelled: True if it was stopped on request.
        stdout: All that it wrote there.
        stderr: The last lines that it wrote there.
    """

    code: int = 0
    cancelled: bool = False
    stdout: list[str] = field(default_factory=list)
    stderr: list[str] = field(default_factory=list)


def quiet() -> dict[str, Any]:
    """What keeps Windows from opening a console for a child, and makes the child a group of its own."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def run_child(
    command: Sequence[str],
    environ: Mapping[str, str],
    on_line: Callable[[str, str], None],
    cancelled: Callable[[], bool] = lambda: False,
    grace_s: float = GRACE_S,
) -> Outcome:
    """Run a program to its end, or until `cancelled` says so.

    Args:
        command: Program and arguments; no shell is involved.
        environ: The whole environment of the child.
        on_line: Called in this thread with ``stdout`` or ``stderr`` and each line, without its end.
        cancelled: Asked several times a second.
        grace_s: Seconds that the child has to tidy up when it is stopped.

    Raises:
        OSError: If the program cannot be started.
    """
    child = subprocess.Popen(
        list(command), env=dict(environ), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, encoding="utf-8", errors="replace", bufsize=1, **quiet(),
    )  # fmt: skip
    lines: queue.Queue[tuple[str, str | None]] = queue.Queue()
    for name, pipe in (("stdout", child.stdout), ("stderr", child.stderr)):
        threading.Thread(target=_read, args=(name, pipe, lines), daemon=True).start()
    outcome = Outcome()
    try:
        _follow(child, lines, outcome, on_line, cancelled, grace_s)
    except BaseException:
        stop(child, 0)
        raise
    outcome.code = child.wait()
    return outcome


def _read(name: str, pipe: IO[str] | None, lines: queue.Queue[tuple[str, str | None]]) -> None:
    if pipe is not None:
        with suppress(ValueError, OSError), pipe:
            for line in pipe:
                lines.put((name, line.rstrip("\r\n")))
    lines.put((name, None))


def _follow(
    child: subprocess.Popen[str],
    lines: queue.Queue[tuple[str, str | None]],
    outcome: Outcome,
    on_line: Callable[[str, str], None],
    cancelled: Callable[[], bool],
    grace_s: float,
) -> None:
    """Hand lines on until both pipes are at their end, or the child has ended and nothing more comes."""
    still_open, ended = 2, None
    while still_open:
        if not outcome.cancelled and cancelled():
            outcome.cancelled = True
            stop(child, grace_s)
        if child.poll() is not None:
            ended = ended or time.monotonic()
            if time.monotonic() - ended > PIPES_S:
                return  # a child of the child holds the pipes
        try:
            name, line = lines.get(timeout=POLL_S)
        except queue.Empty:
            continue
        if line is None:
            still_open -= 1
            continue
        kept = outcome.stdout if name == "stdout" else outcome.stderr
        kept.append(line)
        del outcome.stderr[:-KEPT_LINES]
        on_line(name, line)


def stop(child: subprocess.Popen[str], grace_s: float) -> None:
    """End a child and its own children: asked first, then told. What they had finished stays on the disk.

    On Windows a program without a console hears no Ctrl+C, so there it is told at once.
    """
    if sys.platform == "win32":
        if child.poll() is None:
            command = ["taskkill", "/PID", str(child.pid), "/T", "/F"]
            with suppress(OSError):
                subprocess.run(command, capture_output=True, check=False, **quiet())
        child.kill()
        return
    for name, seconds in ((signal.SIGINT, grace_s), (signal.SIGTERM, min(grace_s, 3.0)), (signal.SIGKILL, 10.0)):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, name)
        with suppress(subprocess.TimeoutExpired):
            child.wait(seconds)
            break
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)  # children that outlived it
