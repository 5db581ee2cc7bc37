"""The machine: what it has, against psutil, and what a container grants, from files as the kernel writes them."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from geoseg import host


def test_memory_and_cores_are_those_of_the_system() -> None:
    found = host.memory_mb()
    assert found is not None
    assert 0 < found <= psutil.virtual_memory().total / 2**20 * 1.001
    free = host.free_memory_mb()
    assert free is None or 0 <= free <= found
    assert 1 <= host.cores() <= (os.cpu_count() or 1)
    assert host.cpu_name()


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty tree of control groups and of /proc, with 8 GiB of memory and this process in /pod/box."""
    cgroup, proc = tmp_path / "cgroup", tmp_path / "proc"
    (cgroup / "pod" / "box").mkdir(parents=True)
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "cgroup").write_text("0::/pod/box\n")
    (proc / "meminfo").write_text("MemTotal:        8388608 kB\nMemFree: 1 kB\nMemAvailable:    4194304 kB\n")
    (proc / "cpuinfo").write_text("model name\t: A & B CPU\nflags\t\t: fpu avx2 amx_bf16\n")
    monkeypatch.setattr(host, "_CGROUP", cgroup)
    monkeypatch.setattr(host, "_PROC", proc)
    monkeypatch.setattr(host.sys, "platform", "linux")
    return cgroup


def test_without_limits_the_machine_counts(container: Path) -> None:
    assert (host.memory_mb(), host.free_memory_mb(), host.cpu_quota()) == (8192, 4096, None)
    assert host.cpu_flags() == {"fpu", "avx2", "amx_bf16"}
    assert host.cpu_name() == "A & B CPU"


def test_the_tightest_limit_of_all_groups_counts(container: Path) -> None:
    (container / "pod" / "memory.max").write_text(f"{2 * 2**30}\n")
    (container / "pod" / "memory.current").write_text(f"{2**30}\n")
    (container / "pod" / "memory.stat").write_text(f"anon 5\ninactive_file {2**29}\nactive_file 7\n")
    (container / "pod" / "box" / "memory.max").write_text("max\n")
    (container / "pod" / "box" / "cpu.max").write_text("150000 100000\n")
    (container / "pod" / "cpu.max").write_text("max 100000\n")
    assert (host.memory_mb(), host.free_memory_mb(), host.cpu_quota()) == (2048, 1536, 1.5)


def test_version_1_of_control_groups(container: Path) -> None:
    (container / "memory").mkdir()
    (container / "cpu").mkdir()
    (container / "memory" / "memory.limit_in_bytes").write_text(f"{2**30}\n")
    (container / "memory" / "memory.usage_in_bytes").write_text(f"{2**28}\n")
    (container / "cpu" / "cpu.cfs_quota_us").write_text("50000\n")
    (container / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert (host.memory_mb(), host.free_memory_mb(), host.cpu_quota()) == (1024, 768, 0.5)
    (container / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712\n")  # "no limit"
    (container / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    assert (host.memory_mb(), host.cpu_quota()) == (8192, None)


def test_a_system_without_these_files_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_CGROUP", tmp_path / "no")
    monkeypatch.setattr(host, "_PROC", tmp_path / "no")
    monkeypatch.delattr(host.os, "sched_getaffinity", raising=False)
    assert host.cores() == (os.cpu_count() or 1)
    assert host.free_memory_mb() is None
    assert host.cpu_flags() == frozenset()
    assert host.cpu_quota() is None
    assert host.memory_mb() is None or host.memory_mb() > 0
