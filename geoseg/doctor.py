"""Whether this installation works: one finding for each thing that goes wrong in practice, each with its remedy.

Needs the standard library only. Every other library is tried in a process of its own (`geoseg.probes`), so that one
that is missing, broken or crashes is a finding like the others.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from geoseg import __version__, host
from geoseg.finding import Finding, Level

__all__ = ["VERDICTS", "examine"]

VERDICTS = {
    "ok": "everything works",
    "note": "everything works; the notes are good to know",
    "warning": "geoseg works, with the limits that the warnings name",
    "error": "geoseg will not work before the errors are corrected",
}
PROBES = ("torch", "openvino", "rasterio", "vectors", "model")
"""What is tried in a process of its own, in this order; see `geoseg.probes`."""

_REINSTALL = "pip install --force-reinstall --no-cache-dir {}"
_REMEDIES = {
    "torch": _REINSTALL.format("torch") + "; on Windows also install the Microsoft Visual C++ Redistributable",
    "openvino": _REINSTALL.format("openvino") + "; until then torch takes its place: --set backend=torch-cpu",
    "rasterio": _REINSTALL.format("rasterio") + "; do not mix packages of conda and pip in one environment",
    "vectors": _REINSTALL.format("pyogrio pyproj shapely geopandas"),
    "model": "correct the errors above first; if there are none: pip install --force-reinstall geoseg",
}
_PATIENCE_S = 180.0
_LEAST_MEMORY_MB, _LEAST_DISK_MB = 3000.0, 2000.0
_VARIABLES = ("PROJ_DATA", "PROJ_LIB", "GDAL_DATA", "GDAL_DRIVER_PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


def examine(*, quick: bool = False) -> Iterator[Finding]:
    """All findings, in an order in which the cause comes before its consequences.

    Args:
        quick: Leave out the probes that load libraries.
    """
    looks: tuple[Callable[[], Iterator[Finding]], ...] = (
        *(_program, _packages, _command, _processor, _memory, _disk, _variables),
    )
    for look in looks:
        yield from look()
    if not quick:
        for name in PROBES:
            yield from probe(name)


def probe(name: str, patience_s: float = _PATIENCE_S) -> Iterator[Finding]:
    """What a process of its own finds out about a library.

    Args:
        name: One of `PROBES`.
        patience_s: When to give up.
    """
    program = f"from geoseg.probes import tell; tell({name!r})"
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=patience_s,
            check=False,
            env=os.environ | {"PYTHONUTF8": "1"},
        )
    except subprocess.TimeoutExpired:
        yield Finding("error", name, f"no answer in {patience_s:.0f} s", _REMEDIES[name])
        return
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"level"')]
    yield from (Finding(**fields) for fields in found)
    if done.returncode:
        level: Level = "warning" if name == "openvino" else "error"
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reason = lines[-1].strip() if lines and done.returncode > 0 else f"the process ended with {done.returncode}"
        yield Finding(level, name, f"does not work: {reason}", _REMEDIES[name])


def _program() -> Iterator[Finding]:
    bits = "64 bit" if sys.maxsize > 2**32 else "32 bit"
    text = (
        f"{__version__}, Python {platform.python_version()} ({bits}) on {platform.platform(terse=True)}, {sys.prefix}"
    )
    if sys.maxsize <= 2**32:
        yield Finding("error", "geoseg", text, "install a 64-bit Python; torch and OpenVINO have no other")
    else:
        yield Finding("ok", "geoseg", text)


def _packages() -> Iterator[Finding]:
    """Whether all that geoseg asks for is installed, in the versions that it asks for."""
    try:
        wanted = importlib.metadata.requires("geoseg") or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding("warning", "packages", "geoseg is run from a folder and is not installed", "pip install .")
        return
    missing = [text for line in wanted if (text := _lacking(line))]
    plain = sum("extra ==" not in line for line in wanted)
    if missing:
        names = " ".join(f"'{text.partition(',')[0]}'" for text in missing)
        yield Finding("error", "packages", "; ".join(missing), f"pip install {names.replace(' is not installed', '')}")
    else:
        yield Finding("ok", "packages", f"all {plain} are installed in versions that fit")


def _lacking(line: str) -> str:
    """What is wrong with a requirement; empty if nothing, or if it belongs to an extra."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return ""
    wanted = Requirement(line)
    if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
        return ""
    try:
        version = importlib.metadata.version(wanted.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{wanted.name}{wanted.specifier}, which is not installed"
    if not wanted.specifier.contains(version, prereleases=True):
        return f"{wanted.name}{wanted.specifier}, but {version} is installed"
    return ""


def _command() -> Iterator[Finding]:
    """Whether the command on the path is this installation."""
    found = shutil.which("geoseg")
    here = {Path(sys.executable).parent, Path(sys.prefix) / "bin", Path(sys.prefix) / "Scripts"}
    if found is None:
        yield Finding(
            "note", "command", "geoseg is not on the path", f"activate the environment, or {sys.executable} -m geoseg"
        )
    elif Path(found).parent not in here and Path(found).resolve().parent not in here:
        yield Finding("note", "command", f"the command geoseg is another installation: {found}", "activate one of them")


def _processor() -> Iterator[Finding]:
    flags, cores, quota = host.cpu_flags(), host.cores(), host.cpu_quota()
    able = [word for word, names in _ABLE.items() if flags & names]
    text = f"{host.cpu_name()}, {cores} processors, {', '.join(able) or 'no vector extensions known'}"
    if quota is not None and quota < cores:
        remedy = f"set OMP_NUM_THREADS={max(1, round(quota))}, or grant the container more"
        yield Finding("note", "processor", f"{text}; the container grants the time of {quota:g}", remedy)
    elif flags and platform.machine().lower() in ("x86_64", "amd64") and not flags & _ABLE["AVX2"]:
        yield Finding(
            "warning", "processor", text, "without AVX2 the network is many times slower; use another machine"
        )
    else:
        yield Finding("ok", "processor", text)


_ABLE = {
    "AVX2": {"avx2"},
    "AVX-512": {"avx512f"},
    "VNNI": {"avx512_vnni", "avx_vnni"},
    "bf16": {"avx512_bf16", "bf16", "asimdbf16"},
    "AMX": {"amx_bf16", "amx_tile"},
}
"""What speeds networks up, and what the processor calls it: VNNI multiplies 8 bits, bf16 and AMX 16."""


def _memory() -> Iterator[Finding]:
    total, free = host.memory_mb(), host.free_memory_mb()
    if total is None:
        yield Finding("note", "memory", "this system does not say how much there is", "a run takes 2 GB")
        return
    text = f"{total / 1024:.1f} GiB" + ("" if free is None else f", {free / 1024:.1f} GiB free")
    if (total if free is None else free) < _LEAST_MEMORY_MB:
        remedy = "close other programs, or grant the container more; with --set segment.write_px=512 a run takes less"
        yield Finding("warning", "memory", f"{text}; a run takes about 2 GB", remedy)
    else:
        yield Finding("ok", "memory", text)


def _disk() -> Iterator[Finding]:
    """Whether files can be written where they will be: temporary ones, and those of a run here."""
    for topic, folder, remedy in (
        ("temporary", Path(tempfile.gettempdir()), "set TMPDIR (TEMP on Windows) to a folder with more room"),
        ("folder", Path.cwd(), "go to another folder, or write elsewhere with --out"),
    ):
        try:
            free_mb = shutil.disk_usage(folder).free / 2**20
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".geoseg-") as file:
                file.write(b"geoseg")
        except OSError as error:
            yield Finding("error", topic, f"{folder} cannot be written: {error.strerror or error}", remedy)
            continue
        text = f"{folder}, {free_mb / 1024:.1f} GiB free"
        low = free_mb < _LEAST_DISK_MB
        yield Finding("warning" if low else "ok", topic, text, remedy if low else "")


def _variables() -> Iterator[Finding]:
    """Variables by which another program's GDAL or PROJ gets into this one."""
    for name in _VARIABLES:
        value = os.environ.get(name)
        if not value:
            continue
        remedy = f"if coordinates fail below: unset {name} before geoseg is started"
        if name in ("PROJ_DATA", "PROJ_LIB"):
            found = [Path(part) / "proj.db" for part in value.split(os.pathsep)]
            database = next((path for path in found if path.is_file()), None)
            text = f"is {value}, " + ("without proj.db" if database is None else f"layout {_layout(database)}")
            yield Finding("note" if database else "warning", name, text, remedy)
        else:
            missing = name == "GDAL_DATA" and not Path(value).is_dir()
            yield Finding("warning" if missing else "note", name, f"is {value}" + ", not there" * missing, remedy)


def _layout(database: Path) -> str:
    """Version of the layout of a PROJ database, which a library of another age refuses."""
    query = "SELECT value FROM metadata WHERE key LIKE 'DATABASE.LAYOUT.VERSION.%' ORDER BY key"
    try:
        connection = sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)
        try:
            return ".".join(str(row[0]) for row in connection.execute(query)) or "unknown"
        finally:
            connection.close()
    except sqlite3.Error:
        return "unreadable"
