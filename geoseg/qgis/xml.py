"""XML as QGIS reads it: elements in one call, documents with its type. The same input gives the same text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

__all__ = ["DOCTYPE", "Element", "document", "element", "options", "rgba"]

DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
_FORBIDDEN = {code: None for code in range(32) if chr(code) not in "\t\n\r"}
"""Control characters that XML 1.0 does not allow, not even escaped; file names may hold them."""


def element(
    tag: str, attributes: Mapping[str, object] | None = None, children: Iterable[Element] = (), text: object = None
) -> Element:
    """An element with attributes, children and text; values become text as Python writes them.

    Example:
        >>> ElementTree.tostring(element("a", {"n": 1}, [element("b", text="x < y")]), encoding="unicode")
        '<a n="1"><b>x &lt; y</b></a>'
    """
    made = Element(tag, {name: _clean(value) for name, value in (attributes or {}).items()})
    made.extend(children)
    if text is not None:
        made.text = _clean(text)
    return made


def options(values: Mapping[str, str]) -> list[Element]:
    """Properties in both spellings: ``Option`` for QGIS from 3.20 on, ``prop`` for those before."""
    spelled = [element("Option", {"name": name, "type": "QString", "value": value}) for name, value in values.items()]
    return [
        element("Option", {"type": "Map"}, spelled),
        *(element("prop", {"k": name, "v": value}) for name, value in values.items()),
    ]


def rgba(rgb: tuple[int, int, int], alpha: int = 255) -> str:
    """A colour as QGIS writes it.

    Example:
        >>> rgba((213, 94, 0), 90)
        '213,94,0,90'
    """
    return ",".join(str(value) for value in (*rgb, alpha))


def document(root: Element) -> str:
    """The text of a document, indented."""
    ElementTree.indent(root)
    return DOCTYPE + ElementTree.tostring(root, encoding="unicode") + "\n"


def _clean(value: object) -> str:
    return str(value).translate(_FORBIDDEN)
