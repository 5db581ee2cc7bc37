"""Where geoseg is on this machine, and whether its version will do."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from geoseg_qgis.core.environment import child_environment
from geoseg_qgis.core.errors import GeosegNotFoundError
from geoseg_qgis.core.process import quiet

__all__ = ["MINIMUM", "VARIABLE", "Geoseg", "command_of", "find", "own_environment", "version_of"]

VARIABLE = "GEOSEG_EXECUTABLE"
MINIMUM = (0, 1, 0)
"""The oldest geoseg that knows the commands and events which the plugin uses."""
REMEDY = (
    "open Plugins > geoseg > Set up geoseg to choose or install it, "
    f"or set the environment variable {VARIABLE} to the geoseg program"
)
_VENVS = ("geoseg", ".geoseg", "geoseg/.venv", "geoseg/venv", ".venvs/geoseg", ".virtualenvs/geoseg", "venvs/geoseg")
_CONDAS = ("miniconda3", "anaconda3", "miniforge3", "mambaforge", "micromamba", ".conda", ".local/share/mamba")


@dataclass(frozen=True)
class Geoseg:
    """A geoseg that was found.

    Attributes:
        command: The words that start it.
        source: How it was found, for a person.
    """

    command: tuple[str, ...]
    source: str


def own_environment(environ: Mapping[str, str], home: Path, platform: str = sys.platform) -> Path:
    """The folder in which the plugin makes an environment for geoseg."""
    if platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "geoseg" / "env"
    if platform == "darwin":
        return home / "Library" / "Application Support" / "geoseg" / "env"
    return Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "geoseg" / "env"


def programs_in(folder: Path, platform: str = sys.platform) -> tuple[Path, Path]:
    """The geoseg and the Python in a virtual or conda environment, there or not."""
    if platform == "win32":
        python = folder / "Scripts" / "python.exe"
        return folder / "Scripts" / "geoseg.exe", python if python.exists() else folder / "python.exe"
    return folder / "bin" / "geoseg", folder / "bin" / "python"


def command_of(path: Path, platform: str = sys.platform) -> tuple[str, ...] | None:
    """The words that start the geoseg at `path`: the program, a Python that has it, or an environment's folder."""
    if path.is_dir():
        path = programs_in(path, platform)[0]
    if not path.is_file():
        return None
    if re.match(r"python[\d.]*(\.exe)?$", path.name, re.IGNORECASE):
        return str(path), "-m", "geoseg"
    return (str(path),)


def find(environ: Mapping[str, str], setting: str, home: Path, platform: str = sys.platform) -> Geoseg:
    """The geoseg to use: the variable, else the setting, else the first of the places where people install it.

    Args:
        environ: The environment of QGIS.
        setting: What the person has chosen; empty if nothing.
        home: The person's home folder.
        platform: As ``sys.platform``.

    Raises:
        GeosegNotFoundError: If there is none, or the variable or the setting leads nowhere.
    """
    for chosen, source in ((environ.get(VARIABLE, ""), f"the variable {VARIABLE}"), (setting, "the setting")):
        if chosen.strip():
            command = command_of(Path(chosen.strip()).expanduser(), platform)
            if command is None:
                raise GeosegNotFoundError(f"{source} says {chosen.strip()}, where there is no program: {REMEDY}")
            return Geoseg(command, source)
    for path, source in _places(environ, home, platform):
        command = command_of(path, platform)
        if command is not None:
            return Geoseg(command, source)
    raise GeosegNotFoundError(f"geoseg was not found on this machine: {REMEDY}")


def _places(environ: Mapping[str, str], home: Path, platform: str) -> Iterator[tuple[Path, str]]:
    yield own_environment(environ, home, platform), "the environment that the plugin made"
    on_path = shutil.which("geoseg", path=environ.get("PATH", ""))
    if on_path:
        yield Path(on_path), "PATH"
    for name in _VENVS:
        yield home / name, f"the environment {name} in your home folder"
    yield programs_in(home / ".local", platform)[0], "pipx or uv"
    roots = [home / name for name in _CONDAS]
    if environ.get("CONDA_PREFIX"):
        roots.insert(0, Path(environ["CONDA_PREFIX"]))
    if environ.get("MAMBA_ROOT_PREFIX"):
        roots.insert(0, Path(environ["MAMBA_ROOT_PREFIX"]))
    for root in roots:
        yield root / "envs" / "geoseg", "conda"
        yield root, "conda"


def version_of(geoseg: Geoseg, environ: Mapping[str, str], prefix: str = "") -> str:
    """The version that it says it has.

    Raises:
        GeosegNotFoundError: If it does not start, or is older than the plugin needs.
    """
    program = Path(geoseg.command[0])
    try:
        changed = program.stat().st_mtime
    except OSError as error:
        raise GeosegNotFoundError(f"{program} cannot be read: {error.strerror}; {REMEDY}") from error
    clean = child_environment(environ, str(program), prefix)
    return _version(geoseg.command, changed, tuple(sorted(clean.items())))


@lru_cache(maxsize=8)
def _version(command: tuple[str, ...], changed: float, environ: tuple[tuple[str, str], ...]) -> str:  # noqa: ARG001 - of the cache
    where = " ".join(command)
    try:
        done = subprocess.run(
            [*command, "--version"], env=dict(environ), capture_output=True, text=True, encoding="utf-8",
            errors="replace", stdin=subprocess.DEVNULL, timeout=120, check=False, **quiet(),
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        raise GeosegNotFoundError(f"{where} does not start: {error}; {REMEDY}") from error
    found = re.search(r"geoseg, version (\d+)\.(\d+)\.(\d+)\S*", done.stdout)
    if found is None:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        raise GeosegNotFoundError(f"{where} is not a geoseg that works ({said[-1]}); {REMEDY}")
    if tuple(map(int, found.groups())) < MINIMUM:
        needed = ".".join(map(str, MINIMUM))
        told = found[0].rpartition(" ")[2]
        raise GeosegNotFoundError(
            f"{where} is version {told}; this plugin needs {needed} or newer: pip install --upgrade geoseg there, or "
            f"{REMEDY}"
        )
    return found[0].rpartition(" ")[2]
