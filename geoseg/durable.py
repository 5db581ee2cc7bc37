"""Files that appear whole or not at all, and what a full disk looks like."""

from __future__ import annotations

import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geoseg.errors import RunError

__all__ = ["drafted", "drafted_folder", "full_disk", "remove_folder", "replace_file", "usable_name", "write_file"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def replace_file(temporary: Path, destination: Path) -> None:
    """Put a finished temporary file in the place of `destination`, durably and in one step."""
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    with _held_open(destination):
        os.replace(temporary, destination)


@contextmanager
def drafted(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to: put in its place, durably and in one step, unless an exception comes."""
    draft = path.with_name(f".{path.stem}.tmp{os.getpid()}{path.suffix}")
    try:
        yield draft
        replace_file(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def write_file(path: Path, content: bytes) -> Path:
    """Write a file, durably and in one step; gives its path back."""
    with drafted(path) as draft:
        draft.write_bytes(content)
    return path


@contextmanager
def drafted_folder(folder: Path) -> Iterator[Path]:
    """A name beside `folder` to make; it takes the folder's place unless an exception comes."""
    draft = folder.with_name(f".{folder.name}.tmp")
    remove_folder(draft)
    try:
        yield draft
        remove_folder(folder)
        with _held_open(folder):
            os.replace(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def _held_open(path: Path) -> Iterator[None]:
    """Say it when the system refuses because a file is open elsewhere, as Windows does.

    Raises:
        RunError: Naming the file.
    """
    try:
        yield
    except PermissionError as error:
        raise RunError(
            f"{path} cannot be replaced: {error.strerror}; close it in QGIS and other programs, or make it writable, "
            "and run the same command again"
        ) from error


_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(?=\.|$)")


def usable_name(name: str) -> str:
    """A name for a file or folder that every system takes, also when the folder is copied to another one.

    >>> usable_name("field: 7?"), usable_name("aux.tif")
    ('field_ 7_', 'aux_.tif')
    """
    plain = _FORBIDDEN.sub("_", name).rstrip(". ")
    return _DEVICES.sub(r"\1_", plain, count=1) if _DEVICES.match(plain) else plain or "_"


def remove_folder(folder: Path) -> None:
    """Remove a folder so that nobody ever sees half of it: it loses its name first."""
    if not folder.exists():
        return
    grave = folder.with_name(f".{folder.name}.tmp{uuid.uuid4().hex[:8]}")
    with _held_open(folder):
        os.replace(folder, grave)
    shutil.rmtree(grave, ignore_errors=True)


@contextmanager
def full_disk(folder: Path, *also: type[Exception]) -> Iterator[None]:
    """Turn the many ways in which a full disk shows itself into one message.

    Args:
        folder: Where is written.
        also: Exceptions that mean here that something could not be written, whatever they say.

    Raises:
        RunError: If what happened inside was a full disk.
    """
    try:
        yield
    except RunError:
        raise
    except Exception as error:
        if not (isinstance(error, also) or _says_full(error)):
            raise
        where = folder.resolve()
        free_mb = shutil.disk_usage(where).free >> 20
        raise RunError(
            f"the disk of {where} does not take what has to be written ({free_mb} MB free): "
            f"{' '.join(str(error).split())}. Make room there (`geoseg check` says how much a run needs) and run the "
            "same command again; finished blocks are kept"
        ) from error


def _says_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        if any(words in str(error).lower() for words in ("no space left", "disk is full", "file too large")):
            return True
        error = error.__cause__ or error.__context__
    return False
