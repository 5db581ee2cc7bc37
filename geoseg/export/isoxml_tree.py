"""The tree of an ISOXML file from somewhere else, read with care, and what its elements say on their own.

An XML file may declare entities that grow to gigabytes or name other files, so a document type is refused before
anything is expanded; sizes and depth have bounds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET
from xml.parsers import expat

from geoseg.export.readback import Readback

__all__ = ["check_elements", "read_tree"]

_MOST_BYTES = 64_000_000
_DEEPEST = 32
_ID = re.compile(r"[A-Z]{3}(-)?[0-9]{1,10}")
_REFERENCES = {
    "FRM": {"I": "CTR"},
    "PFD": {"E": "CTR", "F": "FRM"},
    "TSK": {"C": "CTR", "D": "FRM", "E": "PFD"},
    "PDV": {"C": "PDT", "E": "VPN"},
}
_REQUIRED = {
    "CTR": "AB",
    "FRM": "AB",
    "PFD": "ACD",
    "PLN": "A",
    "LSG": "A",
    "PNT": "ACD",
    "PDT": "AB",
    "VPN": "ABCD",
    "TSK": "AG",
    "TZN": "A",
    "PDV": "AB",
    "GRD": "ABCDEFGI",
}
_DESIGNATORS = {"CTR": "B", "FRM": "B", "PFD": "C", "PDT": "B", "TSK": "B", "TZN": "B"}
_HAS_ID = ("CTR", "FRM", "PFD", "PDT", "TSK", "VPN")


class _RefusedError(ValueError):
    """What the document holds is not looked at any further."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def read_tree(path: Path, found: Readback) -> ET.Element | None:
    """The root of the document; None, and a finding, where it is unfit to be read."""
    size = path.stat().st_size
    if size > _MOST_BYTES:
        found.error("xml-size", f"{path.name} has {size:,} bytes; expected at most {_MOST_BYTES:,}")
        return None
    try:
        root = _parse(path.read_bytes())
    except _RefusedError as error:
        found.error(error.code, str(error))
        return None
    except (expat.ExpatError, ValueError, LookupError) as error:
        found.error("unreadable", f"{path.name} is no XML that can be read: {error}")
        return None
    if root.tag != "ISO11783_TaskData":
        found.error("not-isoxml", f"the root is {root.tag[:40]!r}; expected ISO11783_TaskData")
        return None
    return root


def _parse(data: bytes) -> ET.Element:
    builder, parser = ET.TreeBuilder(), expat.ParserCreate()
    depth = 0

    def refuse(*_: Any) -> None:
        raise _RefusedError("xml-doctype", "the file declares a document type or entities; task data has none")

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
    parser.Parse(data, True)
    return builder.close()


def check_elements(root: ET.Element, found: Readback) -> None:
    """Version, required attributes, identifiers, references and names."""
    version = f"{root.get('VersionMajor')}.{root.get('VersionMinor')}"
    found.facts["version"] = version
    if root.get("VersionMajor") not in ("3", "4"):
        found.error("version", f"the version is {version}; expected 3 or 4")
    for element in root.iter():
        _check_attributes(element, found)
    _check_ids(root, found)
    _check_references(root, found)
    external = [element.get("A") for element in root.iter("XFR")]
    if external:
        found.warn("external-files", f"parts are in other files, which are not read: {', '.join(map(str, external))}")


def _check_attributes(element: ET.Element, found: Readback) -> None:
    missing = [name for name in _REQUIRED.get(element.tag, "") if name not in element.attrib]
    if missing:
        found.error("attribute-missing", f"{_named(element)} has no attribute {', '.join(missing)}")
    title = element.get(_DESIGNATORS.get(element.tag, ""), "")
    if len(title) > 32:
        found.error("designator", f"{_named(element)} has a name of {len(title)} characters; expected at most 32")
    if not title.isascii():
        found.warn("designator-ascii", f"{_named(element)} has the name {title[:32]!r}; some terminals want ASCII")


def _check_ids(root: ET.Element, found: Readback) -> None:
    seen: set[str] = set()
    for element in _with_id(root):
        name = element.attrib["A"]
        if not (_ID.fullmatch(name) and name.startswith(element.tag)):
            found.error("id-form", f"{element.tag} has the identifier {name[:40]!r}; expected {element.tag} and digits")
        elif "-" in name:
            found.warn("id-negative", f"{name} is an identifier made by a terminal; some refuse it in a file")
        if name in seen:
            found.error("id-duplicate", f"the identifier {name[:40]} is there twice")
        seen.add(name)


def _check_references(root: ET.Element, found: Readback) -> None:
    known = {element.attrib["A"] for element in _with_id(root)}
    for element in root.iter():
        for attribute, kind in _REFERENCES.get(element.tag, {}).items():
            target = element.get(attribute)
            if target is not None and not (target in known and target.startswith(kind)):
                found.error("reference", f"{_named(element)} refers to {target[:40]!r}, which is no {kind} in the file")


def _with_id(root: ET.Element) -> Iterator[ET.Element]:
    return (element for element in root.iter() if element.tag in _HAS_ID and "A" in element.attrib)


def _named(element: ET.Element) -> str:
    return f"{element.tag} {element.get('A', '')[:40]}".strip()
