"""The blocks of a run and their ledger: which are done, empty or failed, and where their pixels lie.

The folder itself is the ledger. One small file per block says how it ended, it appears in one atomic step, and the
key file says what it was made from. So a run may be killed at any moment, and several processes may work side by side.
It knows nothing about models or rasters.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.errors import ConfigError
from geoseg.windows import Rect, blocks

__all__ = ["BlockStore", "LedgerSummary", "fingerprint", "replace_file"]


def fingerprint(parts: Mapping[str, Any]) -> str:
    """A short hash of everything that a result depends on.

    Example:
        >>> fingerprint({"model": "a", "gsd": 0.003}) == fingerprint({"gsd": 0.003, "model": "a"})
        True
    """
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def replace_file(temporary: Path, destination: Path) -> None:
    """Put a finished temporary file in the place of `destination`, durably and in one step."""
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, destination)


@dataclass(frozen=True)
class LedgerSummary:
    """How the blocks of a run ended.

    Attributes:
        total: Number of blocks of the grid.
        done: Blocks with pixels.
        empty: Blocks without a valid pixel.
        failed: Reason by block name; these are holes.
    """

    total: int
    done: int
    empty: int
    failed: dict[str, str]

    @property
    def pending(self) -> int:
        """Blocks that have not been tried yet."""
        return self.total - self.done - self.empty - len(self.failed)


class BlockStore:
    """Blocks of one grid in one folder."""

    def __init__(self, folder: Path, shape: tuple[int, int], block_px: int, parts: Mapping[str, Any]) -> None:
        """Open the folder for this grid and these inputs, or make it.

        Args:
            folder: Where the block files lie; made if it is missing.
            shape: (height, width) of the grid in pixels.
            block_px: Side of a block in pixels.
            parts: Everything that the result depends on, JSON-able.

        Raises:
            ConfigError: If the folder holds work that was made from something else.
        """
        self.folder = folder
        self.shape = shape
        self.block_px = block_px
        known = {**json.loads(json.dumps(dict(parts), default=str)), "shape": list(shape), "block_px": block_px}
        self.key = fingerprint(known)
        folder.mkdir(parents=True, exist_ok=True)
        key_file = folder / "key.json"
        if key_file.exists():
            _refuse_other_work(json.loads(key_file.read_text(encoding="utf-8")), known, folder)
        else:
            self._write(key_file, json.dumps(known, indent=1, sort_keys=True).encode())

    def __iter__(self) -> Iterator[Rect]:
        """All blocks, row by row."""
        return blocks(self.shape, self.block_px)

    def pending(self) -> Iterator[Rect]:
        """Blocks that are not done or empty; those that failed are tried again."""
        for block in self:
            if not (self._path(block, "npz").exists() or self._path(block, "empty").exists()):
                yield block

    def save(self, block: Rect, classes: np.ndarray, confidence: np.ndarray) -> None:
        """Keep a block's pixels.

        Args:
            block: Which block.
            classes: (H, W) uint8.
            confidence: (H, W) uint8.
        """
        temporary = self._path(block, f"tmp{os.getpid()}")
        with temporary.open("wb") as file:
            np.savez_compressed(file, classes=classes, confidence=confidence)
        replace_file(temporary, self._path(block, "npz"))
        self._path(block, "failed").unlink(missing_ok=True)

    def save_empty(self, block: Rect) -> None:
        """Note that a block has no valid pixel."""
        self._write(self._path(block, "empty"), b"")
        self._path(block, "failed").unlink(missing_ok=True)

    def save_failed(self, block: Rect, reason: str) -> None:
        """Note that a block could not be done, and why."""
        self._write(self._path(block, "failed"), reason.encode())

    def load(self, block: Rect) -> tuple[np.ndarray, np.ndarray] | None:
        """Classes and confidence of a block, (H, W) uint8 each; None if it is empty, failed or not done.

        A file that does not read back whole is removed, so that the block is done again.
        """
        path = self._path(block, "npz")
        try:
            with path.open("rb") as file, np.load(file) as arrays:
                classes, confidence = arrays["classes"], arrays["confidence"]
        except FileNotFoundError:
            return None
        except (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError):
            path.unlink(missing_ok=True)
            return None
        return (classes, confidence) if classes.shape == block.shape else None

    def drop_corrupt(self) -> int:
        """Read every finished block once, remove those that are not whole, and say how many."""
        before = sum(1 for _ in self.folder.glob("*.npz"))
        for block in self:
            self.load(block)
        return before - sum(1 for _ in self.folder.glob("*.npz"))

    def summary(self) -> LedgerSummary:
        """How the blocks stand now."""
        names = {path.name for path in self.folder.iterdir()}
        total = done = empty = 0
        failed: dict[str, str] = {}
        for block in self:
            total += 1
            stem = _name(block)
            done += f"{stem}.npz" in names
            empty += f"{stem}.empty" in names
            if f"{stem}.failed" in names:
                failed[stem] = (self.folder / f"{stem}.failed").read_text(encoding="utf-8")
        return LedgerSummary(total, done, empty, failed)

    def remove(self) -> None:
        """Remove the folder and all in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, block: Rect, suffix: str) -> Path:
        return self.folder / f"{_name(block)}.{suffix}"

    def _write(self, path: Path, content: bytes) -> None:
        temporary = path.with_name(f"{path.name}.tmp{os.getpid()}")
        temporary.write_bytes(content)
        replace_file(temporary, path)


def _name(block: Rect) -> str:
    return f"r{block.row0:07d}_c{block.col0:07d}"


def _refuse_other_work(found: Mapping[str, Any], wanted: Mapping[str, Any], folder: Path) -> None:
    differs = sorted(key for key in {*found, *wanted} if found.get(key) != wanted.get(key))
    if differs:
        raise ConfigError(
            f"{folder} holds unfinished work that was made with another {', '.join(differs)}; go on with the former "
            "settings, choose another --out, or discard that work with --fresh"
        )
