"""The blocks of a run and their ledger: which are done, empty or failed, and where their pixels lie.

The folder itself is the ledger. One small file per block says how it ended, it appears in one atomic step, and the
key file says what it was made from. So a run may be killed at any moment, and several processes may work side by side.
It knows nothing about models or rasters.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.durable import full_disk, remove_folder, replace_file
from geoseg.errors import ConfigError, RunError
from geoseg.segment import blockfile
from geoseg.segment.layers import CLASSES, CONFIDENCE, Layer
from geoseg.windows import Rect, blocks

__all__ = [
    "BlockStore",
    "CorruptBlockError",
    "LedgerSummary",
    "MissingBlockError",
    "fingerprint",
]

DONE, EMPTY, FAILED = "block", "empty", "failed"


def fingerprint(parts: Mapping[str, Any]) -> str:
    """A short hash of everything that a result depends on.

    Example:
        >>> fingerprint({"model": "a", "gsd": 0.003}) == fingerprint({"gsd": 0.003, "model": "a"})
        True
    """
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class MissingBlockError(RunError):
    """The pixels of a block are not there, though all blocks should be at an end."""


class CorruptBlockError(MissingBlockError):
    """A block file does not read back as it was written; it has been removed, so that the block is done again."""


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
    """Blocks of one grid in one folder.

    Attributes:
        layers: What is kept of every block.
    """

    def __init__(
        self,
        folder: Path,
        shape: tuple[int, int],
        block_px: int,
        parts: Mapping[str, Any],
        layers: tuple[Layer, ...] = (CLASSES, CONFIDENCE),
        *,
        create: bool = True,
    ) -> None:
        """Open the folder for this grid and these inputs, or make it.

        Args:
            folder: Where the block files lie; made if it is missing.
            shape: (height, width) of the grid in pixels.
            block_px: Side of a block in pixels.
            parts: Everything that the result depends on, JSON-able.
            layers: What is kept of every block.
            create: False to use a folder that another process has made, and to touch nothing otherwise.

        Raises:
            ConfigError: If the folder holds work that was made from something else.
            RunError: If it is not there and may not be made.
        """
        self.folder = folder.absolute()
        self.shape = shape
        self.block_px = block_px
        self.layers = layers
        own = {"shape": shape, "block_px": block_px, "layers": [dataclasses.asdict(layer) for layer in layers]}
        known = json.loads(json.dumps({**parts, **own, "block format": blockfile.FORMAT}, default=str))
        self.key = fingerprint(known)
        self.parts = dict(parts)
        self._only: Rect | None = None
        key_file = folder / "key.json"
        if not create:
            self.must_be_seen()
        with full_disk(folder.parent):
            if folder.exists() and not key_file.exists():
                remove_folder(folder)  # of blocks without a key nobody knows what they were made from
            folder.mkdir(parents=True, exist_ok=True)
            if key_file.exists():
                _refuse_other_work(json.loads(key_file.read_text(encoding="utf-8")), known, folder)
            else:
                self._write(key_file, json.dumps(known, indent=1, sort_keys=True).encode())

    def __iter__(self) -> Iterator[Rect]:
        """All blocks, row by row."""
        return blocks(self.shape, self.block_px)

    def pending(self) -> Iterator[Rect]:
        """Blocks that are not done or empty; those that failed are tried again."""
        for block in self if self._only is None else (self._only,):
            if not (self._path(block, DONE).exists() or self._path(block, EMPTY).exists()):
                yield block

    def must_be_seen(self) -> None:
        """Make sure that this process sees the folder.

        Raises:
            RunError: If it does not, as on a worker with other disks.
        """
        if not (self.folder / "key.json").exists():
            raise RunError(f"{self.folder} is not there; every worker must see the run directory under the same path")

    def only(self, block: Rect) -> BlockStore:
        """The same blocks, of which no other than `block` is pending."""
        part = copy.copy(self)
        part._only = block
        return part

    def save(self, block: Rect, *layers: np.ndarray) -> None:
        """Keep a block's pixels.

        Args:
            block: Which block.
            *layers: An array of every layer, of the shape that the layer has there.

        Raises:
            RunError: If the disk is full.
        """
        self._write(self._path(block, DONE), blockfile.pack(layers))
        self._path(block, FAILED).unlink(missing_ok=True)

    def save_empty(self, block: Rect) -> None:
        """Note that a block has no valid pixel."""
        self._write(self._path(block, EMPTY), b"")
        self._path(block, FAILED).unlink(missing_ok=True)

    def save_failed(self, block: Rect, reason: str) -> None:
        """Note that a block could not be done, and why."""
        self._write(self._path(block, FAILED), reason.encode())

    def load(self, block: Rect, *wanted: Layer) -> tuple[np.ndarray, ...] | None:
        """Layers of a block, (H, W) or (B, H, W); None if it is empty or failed.

        Args:
            block: Which block.
            *wanted: Which of its layers, all without any. Others are not read, nor is their part of the file checked.

        Raises:
            CorruptBlockError: If its file is damaged. The file is removed, so that the block is pending again.
            MissingBlockError: If the block has not been done.
            RunError: If nothing is seen of the folder, on a worker with other disks.
        """
        wanted = wanted or self.layers
        path = self._path(block, DONE)
        try:
            with path.open("rb") as file:
                found = blockfile.unpack(file, len(self.layers), [self.layers.index(layer) for layer in wanted])
        except FileNotFoundError:
            if self._path(block, EMPTY).exists() or self._path(block, FAILED).exists():
                return None
            self.must_be_seen()
            raise MissingBlockError(f"block {_name(block)} has not been done; run the same command again") from None
        if found is not None and [*map(len, found)] == [layer.nbytes(block) for layer in wanted]:
            pairs = zip(wanted, found, strict=True)
            return tuple(np.frombuffer(pixels, layer.dtype).reshape(layer.shape(block)) for layer, pixels in pairs)
        path.unlink(missing_ok=True)
        raise CorruptBlockError(f"{path} is damaged and was removed; run the same command again to redo that block")

    def summary(self) -> LedgerSummary:
        """How the blocks stand now."""
        ends = {DONE: 0, EMPTY: 0}
        failed: dict[str, str] = {}
        with os.scandir(self.folder) as entries:
            for entry in entries:
                stem, _, suffix = entry.name.partition(".")
                if suffix in ends:
                    ends[suffix] += 1
                elif suffix == FAILED and not (self.folder / f"{stem}.{DONE}").exists():
                    failed[stem] = Path(entry.path).read_text(encoding="utf-8")
        rows, cols = (-(-side // self.block_px) for side in self.shape)
        return LedgerSummary(rows * cols, ends[DONE], ends[EMPTY], dict(sorted(failed.items())))

    def remove(self) -> None:
        """Remove the folder and all in it."""
        remove_folder(self.folder)

    def _path(self, block: Rect, suffix: str) -> Path:
        return self.folder / f"{_name(block)}.{suffix}"

    def _write(self, path: Path, content: bytes) -> None:
        temporary = path.with_name(f".{path.name}.tmp{uuid.uuid4().hex[:8]}")
        try:
            with full_disk(self.folder):
                temporary.write_bytes(content)
                replace_file(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def _name(block: Rect) -> str:
    return f"r{block.row0:07d}_c{block.col0:07d}"


def _refuse_other_work(found: Mapping[str, Any], wanted: Mapping[str, Any], folder: Path) -> None:
    differs = sorted(key for key in {*found, *wanted} if found.get(key) != wanted.get(key))
    if differs:
        raise ConfigError(
            f"{folder} holds unfinished work that was made with another {', '.join(differs)}; go on with the former "
            "settings, choose another --out, or discard that work with --fresh"
        )
