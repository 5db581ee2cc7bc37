"""XML from somewhere else parsed with care. Knows no format.

An XML file may declare entities that grow to gigabytes or name other files, so a document type is refused before
anything is expanded; size and depth have bounds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET
from xml.parsers import expat

from geoseg.export.readback import Readback

__all__ = ["parse_xml"]

_MOST_BYTES = 64_000_000
_DEEPEST = 32


class _RefusedError(ValueError):
    """What the document holds is not looked at any further."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def parse_xml(path: Path, found: Readback, max_bytes: int | None = None) -> ET.Element | None:
    """The root of the document; None, and a finding, where it is unfit to be read.

    Args:
        path: The file.
        found: Where findings go.
        max_bytes: Largest file that is read; None: 64 MB.
    """
    size, most = path.stat().st_size, max_bytes or _MOST_BYTES
    if size > most:
        found.error("xml-size", f"{path.name} has {size:,} bytes; expected at most {most:,}")
        return None
    try:
        return _parse(path.read_bytes())
    except _RefusedError as error:
        found.error(error.code, str(error))
    except (expat.ExpatError, ValueError, LookupError) as error:
        found.error("unreadable", f"{path.name} is no XML that can be read: {error}")
    return None


def _parse(data: bytes) -> ET.Element:
    builder, parser = ET.TreeBuilder(), expat.ParserCreate()
    depth = 0

    def refuse(*_: Any) -> None:
        raise _RefusedError("xml-doctype", "the file declares a document type or entities; a prescription has none")

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise _RefusedError("xml-depth", f"elements lie more than {_DEEPEST} deep")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.Parse(data, True)
    return builder.close()
