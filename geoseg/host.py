"""The machine that this process runs on, in a container too: processors, memory, what the processor can do.

The standard library only, on every system: what cannot be told is None or empty, never an exception.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["cores", "cpu_flags", "cpu_name", "cpu_quota", "forget_peak", "free_memory_mb", "memory_mb", "peak_mb"]

_CGROUP, _PROC = Path("/sys/fs/cgroup"), Path("/proc")
_WINDOWS_FEATURES = {"avx2": 40, "avx512f": 41}  # numbers of IsProcessorFeaturePresent


def cores() -> int:
    """Processors that this process may use at once; a container's quota is no such limit, see `cpu_quota`."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_quota() -> float | None:
    """Processors' worth of time that the container grants; None: no limit, or no container."""
    found = []
    for folder in _cgroups():
        words = _text(folder / "cpu.max").split()
        if len(words) == 2 and words[0].isdigit():
            found.append(int(words[0]) / int(words[1]))
    quota, period = _number(_CGROUP / "cpu" / "cpu.cfs_quota_us"), _number(_CGROUP / "cpu" / "cpu.cfs_period_us")
    if quota is not None and quota > 0 and period:
        found.append(quota / period)
    return min(found, default=None)


def cpu_name() -> str:
    """What the processor calls itself."""
    for line in _text(_PROC / "cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cpu_flags() -> frozenset[str]:
    """What the processor can do, in Linux' words (``avx2``, ``avx512f``, ``avx512_bf16``, ``amx_bf16``)."""
    for line in _text(_PROC / "cpuinfo").splitlines():
        if line.startswith(("flags", "Features")):
            return frozenset(line.partition(":")[2].split())
    if sys.platform == "win32":
        kernel = ctypes.windll.kernel32
        return frozenset(name for name, number in _WINDOWS_FEATURES.items() if kernel.IsProcessorFeaturePresent(number))
    return frozenset()


def memory_mb() -> float | None:
    """Memory that this process can have at all: the machine's, or less where its container grants less."""
    found = [limit for limit, _ in _cgroup_memory()]
    if (machine := _machine_memory()[0]) is not None:
        found.append(machine)
    return min(found, default=None)


def free_memory_mb() -> float | None:
    """Memory that this process can still have without pushing others out."""
    found = [limit - used for limit, used in _cgroup_memory()]
    if (machine := _machine_memory()[1]) is not None:
        found.append(machine)
    return max(0.0, min(found)) if found else None


def forget_peak() -> None:
    """Have the kernel count the peak of this process's memory from now on, where it can."""
    with suppress(OSError):
        (_PROC / "self" / "clear_refs").write_text("5", encoding="ascii")


def peak_mb() -> int | None:
    """Most memory in MiB that this process had at once since `forget_peak`; None where the system does not tell."""
    lines = _text(_PROC / "self" / "status").splitlines()
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM:")), None)


def _machine_memory() -> tuple[float | None, float | None]:
    """Memory of the machine, and what of it is available, MiB."""
    if sys.platform == "win32":
        return _windows_memory()
    lines = dict(line.split(":", 1) for line in _text(_PROC / "meminfo").splitlines() if ":" in line)
    total, free = (int(lines[key].split()[0]) / 1024 if key in lines else None for key in ("MemTotal", "MemAvailable"))
    if total is None and "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**20
    return total, free


def _windows_memory() -> tuple[float | None, float | None]:
    class Status(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            *(
                (name, ctypes.c_ulonglong)
                for name in ("total", "free", "page", "page_f", "virtual", "virtual_f", "ext")
            ),
        )

    status = Status(length=ctypes.sizeof(Status))
    if not ctypes.CDLL("kernel32").GlobalMemoryStatusEx(ctypes.byref(status)):
        return None, None
    return status.total / 2**20, status.free / 2**20


def _cgroup_memory() -> Iterator[tuple[float, float]]:
    """Limit and use of the container and of those around it, MiB; files that the kernel can drop are not in use."""
    for folder in _cgroups():
        limit = _number(folder / "memory.max")
        if limit is not None:
            yield limit / 2**20, ((_number(folder / "memory.current") or 0) - _cached(folder)) / 2**20
    limit = _number(_CGROUP / "memory" / "memory.limit_in_bytes")
    if limit is not None and limit < 2**60:
        folder = _CGROUP / "memory"
        yield limit / 2**20, ((_number(folder / "memory.usage_in_bytes") or 0) - _cached(folder)) / 2**20


def _cached(folder: Path) -> int:
    for line in _text(folder / "memory.stat").splitlines():
        if line.startswith("inactive_file "):
            return int(line.split()[1])
    return 0


def _cgroups() -> Iterator[Path]:
    """The control group of this process and those above it (version 2)."""
    lines = [line for line in _text(_PROC / "self" / "cgroup").splitlines() if line.startswith("0::")]
    inner = lines[0].partition("::")[2].strip("/") if lines else ""
    folder = _CGROUP / inner if inner else _CGROUP
    while folder != _CGROUP and _CGROUP in folder.parents:
        yield folder
        folder = folder.parent
    yield _CGROUP


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.lstrip("-").isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
