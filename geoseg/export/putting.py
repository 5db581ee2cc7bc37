"""Files put in place whole: all under temporary names first, then under their own. Knows no format."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = ["put"]


def put(files: Mapping[str, bytes], folder: Path, stale: Iterable[Path] = ()) -> list[Path]:
    """Write files below a folder; returns them in the same order.

    The last file is the one that makes the others count: a former one of that name goes before any other is replaced,
    so that it never stands beside new ones. If anything fails, no draft stays behind.

    Args:
        files: Content by path below `folder`, the file that counts last.
        folder: Where; it is made.
        stale: Files of a former export that must not stay beside these.
    """
    paths = [folder / name for name in files]
    drafts = [path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}") for path in paths]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for draft, data in zip(drafts, files.values(), strict=True):
            draft.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(data)
        for old in (paths[-1], *stale):
            old.unlink(missing_ok=True)
        for draft, path in zip(drafts, paths, strict=True):
            os.replace(draft, path)
    finally:
        for draft in drafts:
            draft.unlink(missing_ok=True)
    return paths
