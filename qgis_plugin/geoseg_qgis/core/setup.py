"""Makes an environment for geoseg: which Python, which steps, and nothing left behind when it fails."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from geoseg_qgis.core.environment import child_environment
from geoseg_qgis.core.errors import CancelledError, FailedError, InputError
from geoseg_qgis.core.locate import programs_in
from geoseg_qgis.core.process import quiet, run_child

__all__ = ["NEEDED", "Step", "choose_python", "make_environment", "setup_steps"]

NEEDED = (3, 11)
"""The oldest Python that geoseg runs on."""
NEWEST = (3, 13)
"""The newest Python that geoseg has been tested on; newer ones may lack packages."""


@dataclass(frozen=True)
class Step:
    """One step of making an environment.

    Attributes:
        text: What it does.
        command: The words that do it.
    """

    text: str
    command: tuple[str, ...]


def pythons(environ: Mapping[str, str], prefix: Path = Path(sys.prefix)) -> Iterator[tuple[str, ...]]:
    """Words that may start a Python, the likeliest first; `prefix` is that of QGIS's own Python."""
    versions = [f"3.{minor}" for minor in range(NEWEST[1], NEEDED[1] - 1, -1)]
    launcher = shutil.which("py", path=environ.get("PATH", "")) if sys.platform == "win32" else None
    if launcher:
        yield from ((launcher, f"-{version}") for version in versions)
    for name in [*(f"python{version}" for version in versions), "python3", "python"]:
        path = shutil.which(name, path=environ.get("PATH", ""))
        if path:
            yield (path,)
    own = [prefix / "python.exe", prefix / "python3.exe", prefix / "bin" / "python3"]
    yield from ((str(path),) for path in own if path.is_file())


def python_version(command: Sequence[str], environ: Mapping[str, str]) -> tuple[int, int] | None:
    """Its version, or None if it does not start or cannot make environments."""
    code = "import sys, venv, ensurepip; print('python', *sys.version_info[:2])"
    try:
        done = subprocess.run(
            [*command, "-c", code], env=child_environment(environ, command[0]), capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=60, check=False, **quiet(),
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"python (\d+) (\d+)", done.stdout)
    return (int(found[1]), int(found[2])) if found else None


def choose_python(environ: Mapping[str, str], candidates: Sequence[Sequence[str]] | None = None) -> tuple[str, ...]:
    """The words that start a Python which geoseg can live in.

    Raises:
        InputError: If there is none on this machine.
    """
    seen: list[str] = []
    for command in pythons(environ) if candidates is None else candidates:
        version = python_version(command, environ)
        if version and version >= NEEDED:
            return tuple(command)
        if version:
            seen.append(f"{command[0]} is {version[0]}.{version[1]}")
    found = f" ({', '.join(seen)})" if seen else ""
    raise InputError(
        f"no Python {NEEDED[0]}.{NEEDED[1]} or newer that can make environments was found{found}; install one from "
        "python.org or your system's packages, or choose one here"
    )


def setup_steps(python: Sequence[str], folder: Path, package: str) -> list[Step]:
    """What makes an environment in `folder` and installs `package`, a name, a wheel or a checkout, into it."""
    inside = str(programs_in(folder)[1])
    pip = (inside, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar", "off")
    steps = [
        Step(f"install {package}: some gigabytes, this may take a while", (*pip, "--upgrade", package)),
        Step("start it", (inside, "-m", "geoseg", "--version")),
    ]
    if (folder / "pyvenv.cfg").is_file():
        return steps
    return [Step(f"make an environment in {folder}", (*python, "-m", "venv", str(folder))), *steps]


def make_environment(
    python: Sequence[str],
    folder: Path,
    package: str,
    environ: Mapping[str, str],
    say: Callable[[str], None],
    cancelled: Callable[[], bool] = lambda: False,
) -> Path:
    """Make or update the environment in `folder`; returns it. A new one that failed is removed again.

    Args:
        python: Words that start the Python to use.
        folder: Missing, empty, or an environment that was made before.
        package: What pip installs.
        environ: The environment of QGIS.
        say: Takes the lines of the log.
        cancelled: Asked several times a second.

    Raises:
        InputError: If the folder holds something else.
        CancelledError: If `cancelled` said so.
        FailedError: If a step failed.
    """
    new = not (folder / "pyvenv.cfg").is_file()
    if new and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is not empty and no environment; choose a new folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for step in setup_steps(python, folder, package):
            _do(step, environ, say, cancelled)
    except BaseException:
        if new:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def _do(step: Step, environ: Mapping[str, str], say: Callable[[str], None], cancelled: Callable[[], bool]) -> None:
    say(f"> {step.text}")
    clean = child_environment(environ, step.command[0])
    try:
        outcome = run_child(step.command, clean, lambda _, line: say(line), cancelled, grace_s=3.0)
    except OSError as error:
        raise FailedError(f"{step.command[0]} does not start: {error.strerror}") from error
    if outcome.cancelled:
        raise CancelledError("stopped; nothing was kept")
    if outcome.code:
        last = next((line for line in reversed(outcome.stderr) if line.strip()), f"exit code {outcome.code}")
        raise FailedError(f"could not {step.text.partition(':')[0]}: {last.strip()}")
