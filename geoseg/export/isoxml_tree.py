"""The tree of an ISOXML file from somewhere else, and what its elements say on their own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

from geoseg.export.readback import Readback
from geoseg.export.safexml import parse_xml

__all__ = ["check_elements", "read_tree"]

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


def read_tree(path: Path, found: Readback) -> ET.Element | None:
    """The root of the document; None, and a finding, where it is unfit to be read."""
    root = parse_xml(path, found)
    if root is not None and root.tag != "ISO11783_TaskData":
        found.error("not-isoxml", f"the root is {root.tag[:40]!r}; expected ISO11783_TaskData")
        return None
    return root


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
