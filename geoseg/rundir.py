"""The run directory: its lock, its record ``run.json`` and the question which stages are already done.

A stage is done when the record holds the same key (a hash of all that it depends on) and every file that it wrote is
there with the size that was noted. So the same command goes on where it was, and finishes at once when all is there.
"""

from __future__ import annotations

import datetime
import json
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from geoseg.durable import full_disk, remove_folder, write_file
from geoseg.errors import BusyError, InputError
from geoseg.host import forget_peak, peak_mb
from geoseg.progress import emit, span
from geoseg.segment.blocks import fingerprint

__all__ = ["RunDirectory", "Stage", "write_json"]

RECORD = "run.json"
STAGES = ("segment", "vectorize", "panoptic", "rows", "geoparquet", "prescribe", "picture", "qgis", "report")
"""In the order in which one builds on the other."""
_DRAFTS = (".*.tmp*", ".*.draft*.tif*", ".*.cog*.tif*", ".*.part.gpkg*")
"""Names of files at work; what a killed run left of them is removed by the next."""

_ELSEWHERE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/|/vsi[a-z0-9_]+/")
"""Addresses such as s3://bucket/run, of whose slashes a Path keeps one; a drive letter of Windows is none."""


def write_json(path: Path, document: Any) -> None:
    """Write indented JSON in one atomic step."""
    write_file(path, f"{json.dumps(document, indent=2, ensure_ascii=False, default=str)}\n".encode())


@dataclass
class Stage:
    """A stage at work.

    Attributes:
        done: True if its files are already there and fit; then it need not be done again.
        facts: What it found, kept in the record; filled by whoever does the stage.
        outputs: Files that it wrote, for the check next time.
    """

    done: bool
    facts: dict[str, Any] = field(default_factory=dict)
    outputs: list[Path] = field(default_factory=list)


class RunDirectory:
    """A folder that holds the results of one run; use as a context manager to lock it.

    Attributes:
        path: The folder.
        record: What ``run.json`` holds.
        worked: Stages that had to be done since the folder was entered.
    """

    def __init__(self, path: Path) -> None:
        """Name the folder; nothing is made or read before it is entered."""
        self.path = path
        self.record: dict[str, Any] = {}
        self.worked: list[str] = []
        self._lock = FileLock(path / ".lock", timeout=0)

    def __enter__(self) -> Self:
        """Make the folder, lock it and read its record.

        Raises:
            BusyError: If another process holds the lock.
            InputError: If the folder cannot be made, lies in an object store, or its record cannot be read.
        """
        if _ELSEWHERE.match(self.path.as_posix()):
            raise InputError(
                f"{self.path} is not a folder of a file system; a run directory is locked and its files are renamed, "
                "which object stores cannot do: write to a disk that all workers see and copy the results afterwards"
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout:
            raise BusyError(f"another geoseg is at work in {self.path}; wait for it or choose another --out") from None
        except OSError as error:
            raise InputError(f"{self.path} cannot be used as a run directory: {error.strerror or error}") from error
        try:
            self._sweep()
            self.record = self._read_record()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Release the lock."""
        self._lock.release()

    def __truediv__(self, name: str) -> Path:
        """A file of the run directory."""
        return self.path / name

    @contextmanager
    def stage(self, name: str, parts: Mapping[str, Any]) -> Iterator[Stage]:
        """Do a stage, or skip it when it is done.

        Args:
            name: Name of the stage in the record.
            parts: Everything that its result depends on, JSON-able; the results of earlier stages through their keys.

        Yields:
            The stage; look at ``done`` first. Facts and outputs go into the record if the block does not raise.
        """
        key = fingerprint(parts)
        found = self.record.get("stages", {}).get(name, {})
        if found.get("key") == key and self._intact(found.get("outputs", {})):
            yield Stage(True, found["facts"])
            return
        stage = Stage(False)
        self.worked.append(name)
        started = time.perf_counter()
        forget_peak()
        emit("stage_started", stage=name, run=str(self.path))
        with full_disk(self.path), span(name, stage=True):
            yield stage
        sizes = {self._relative(path): path.stat().st_size for path in stage.outputs}
        for other in self.record.setdefault("stages", {}).values():
            other["outputs"].update({path: size for path, size in sizes.items() if path in other["outputs"]})
        self.record["stages"][name] = {
            "key": key,
            "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - started, 3),
            "peak_mb": peak_mb(),
            "facts": stage.facts,
            "outputs": sizes,
        }
        self.save()
        cost = {key: self.record["stages"][name][key] for key in ("seconds", "peak_mb")}
        emit("stage_finished", stage=name, run=str(self.path), **cost, facts=stage.facts)

    def supersede(self, name: str) -> None:
        """Forget a stage and remove the results of all that build on it, before its files are replaced.

        So no moment shows a prescription beside a class raster that it was not made from.
        """
        stages = self.record.get("stages", {})
        after = STAGES[STAGES.index(name) :] if name in STAGES else (name,)
        gone = [stages.pop(other) for other in after if other in stages]
        if not gone:
            return
        self.save()
        kept = {path for stage in stages.values() for path in stage["outputs"]}
        for stage in gone:
            for path in stage["outputs"].keys() - kept:
                (self / path).unlink(missing_ok=True)

    def key(self, name: str) -> str:
        """The key of a finished stage.

        Raises:
            InputError: If the stage has not been done in this folder.
        """
        stage = self.record.get("stages", {}).get(name)
        if stage is None:
            raise InputError(f"{self.path} holds no finished '{name}' stage; run that stage first")
        return str(stage["key"])

    def facts(self, name: str) -> dict[str, Any]:
        """What a finished stage noted; empty if it has not been done."""
        found: dict[str, Any] = self.record.get("stages", {}).get(name, {}).get("facts", {})
        return found

    def clear(self) -> None:
        """Remove every former result; files that geoseg did not write stay."""
        former, self.record = self.record, {}
        self.save()
        remove_folder(self / "blocks")
        for stage in former.get("stages", {}).values():
            for name in stage["outputs"]:
                (self / name).unlink(missing_ok=True)

    def save(self) -> None:
        """Write the record."""
        with full_disk(self.path):
            write_json(self / RECORD, self.record)

    def _sweep(self) -> None:
        """Remove what a killed run was writing; nobody else is at work here while the lock is held."""
        for folder in (self.path, self / "blocks"):
            for pattern in _DRAFTS:
                for leftover in folder.glob(pattern):
                    if leftover.is_dir():
                        shutil.rmtree(leftover, ignore_errors=True)
                    else:
                        leftover.unlink(missing_ok=True)

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()

    def _intact(self, outputs: Mapping[str, int]) -> bool:
        paths = [(self / name, size) for name, size in outputs.items()]
        return all(path.is_file() and path.stat().st_size == size for path, size in paths)

    def _read_record(self) -> dict[str, Any]:
        try:
            record = json.loads((self / RECORD).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, json.JSONDecodeError) as error:
            raise InputError(f"{self / RECORD} is damaged ({error}); remove it to start this run anew") from error
        return record if isinstance(record, dict) else {}
