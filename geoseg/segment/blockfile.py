"""The file of a block: its layers one after another, each packed and checked for itself. Knows no ledger and no raster.

It begins with a table, for each layer the digest of its part and the part's length in bytes; the parts follow. So one
layer is read without the others.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import BinaryIO

import numpy as np

__all__ = ["FORMAT", "pack", "unpack"]

FORMAT = 2
"""Number of this format."""
_DIGEST = 16
_ENTRY = struct.Struct(f"<{_DIGEST}sQ")


def pack(layers: Iterable[np.ndarray]) -> bytes:
    """The content of a block's file."""
    parts = [zlib.compress(np.ascontiguousarray(pixels).data, 1) for pixels in layers]
    return b"".join([*(_ENTRY.pack(_digest(part), len(part)) for part in parts), *parts])


def unpack(file: BinaryIO, count: int, wanted: Sequence[int]) -> list[bytes] | None:
    """The bytes of some layers, from a file that holds `count` of them.

    Args:
        file: What `pack` gave, open at its beginning.
        count: Number of layers in the file.
        wanted: Places of layers among them. Others are not read, nor are their parts checked.

    Returns:
        The layers' bytes; None if the file is cut off, or one of them is not as it was written.
    """
    table = file.read(_ENTRY.size * count)
    if len(table) < _ENTRY.size * count:
        return None
    entries = list(_ENTRY.iter_unpack(table))
    if os.fstat(file.fileno()).st_size != len(table) + sum(length for _, length in entries):
        return None
    found = []
    for place in wanted:
        digest, length = entries[place]
        file.seek(len(table) + sum(before for _, before in entries[:place]))
        part = file.read(length)
        if _digest(part) != digest:
            return None
        found.append(zlib.decompress(part))
    return found


def _digest(part: bytes) -> bytes:
    return hashlib.blake2b(part, digest_size=_DIGEST).digest()
