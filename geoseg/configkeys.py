"""The keys of a parameter class, with their kinds, defaults and notes: what `--set`, editors and pages are told.

Everything is read from the dataclass itself: the annotations, the defaults and the ``Attributes`` of its docstring.
Knows no class of its own and imports nothing but the standard library.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import re
import types
import typing
from collections.abc import Iterator
from dataclasses import MISSING, dataclass
from typing import Any

__all__ = ["Key", "attribute_notes", "headline", "keys_of", "nearest", "sections_of"]

_PLAIN = {bool: "true or false", int: "whole number", float: "number", str: "text", Any: "anything"}


@dataclass(frozen=True)
class Key:
    """One parameter.

    Attributes:
        name: With its sections, ``spray.buffer_m``.
        kind: What fits, in words.
        default: Its default; `dataclasses.MISSING` if it has to be given.
        note: What it means; Markdown, without a full stop.
        entry: Parameter class of each entry, where the value is a list of such; else None.
    """

    name: str
    kind: str
    default: Any
    note: str
    entry: type | None = None

    @property
    def required(self) -> bool:
        """True if it has no default."""
        return self.default is MISSING


def keys_of(kind: type, values: Any = None, prefix: str = "") -> Iterator[Key]:
    """The keys of a parameter class and of its sections, in order.

    Args:
        kind: The dataclass.
        values: An instance whose values take the place of the defaults.
        prefix: What stands before each name.
    """
    notes, hints = attribute_notes(kind), typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        value = getattr(values, field.name) if values is not None else _default(field)
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            yield from keys_of(hint, None if value is MISSING else value, f"{prefix}{field.name}.")
        else:
            yield Key(f"{prefix}{field.name}", _words(hint), value, notes.get(field.name, ""), _entry(hint))


def sections_of(kind: type) -> dict[str, type]:
    """The class itself, under the name "", and its sections and list entries by their dotted names."""
    found: dict[str, type] = {"": kind}
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        inner = hint if dataclasses.is_dataclass(hint) and isinstance(hint, type) else _entry(hint)
        if inner is not None:
            for name, one in sections_of(inner).items():
                found[f"{field.name}.{name}".rstrip(".")] = one
    return found


def headline(kind: type) -> str:
    """The first sentence of a class's docstring."""
    return inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0].replace("\n", " ").replace("``", "`")


def attribute_notes(kind: type) -> dict[str, str]:
    """Field name -> its text in the ``Attributes`` section of a docstring."""
    section = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")[2]
    found: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        if match := re.match(r"    (\w+): (.*)", line):
            name, found[match[1]] = match[1], match[2]
        elif name and line.strip():
            found[name] += " " + line.strip()
    return {name: text.rstrip(".").replace("``", "`") for name, text in found.items()}


def nearest(kind: type, name: str) -> tuple[str, ...]:
    """The keys that were probably meant by a name that is none, the likeliest first, at most three.

    >>> nearest(dataclasses.make_dataclass("Boom", [("width_m", float), ("speed_km_h", float)]), "with_m")
    ('width_m',)
    """
    names = [key.name for key in keys_of(kind)] + [section for section in sections_of(kind) if section]
    scores = {candidate: _likeness(name, candidate) for candidate in names}
    best = sorted((one for one in names if scores[one] >= 0.6), key=lambda one: -scores[one])
    return tuple(one for one in best[:3] if scores[one] > scores[best[0]] - 0.15)


def _likeness(name: str, candidate: str) -> float:
    """Between 0 and 1: of the last parts of the names; where their sections differ it counts less."""
    (section, _, last), (theirs, _, leaf) = name.rpartition("."), candidate.rpartition(".")
    part = difflib.SequenceMatcher(None, last, leaf).ratio()
    begins = 0.85 if len(last) > 2 and (leaf.startswith(last) or last.startswith(leaf)) else 0.0
    near = 1.0 if section == theirs else 0.9 + 0.09 * difflib.SequenceMatcher(None, section, theirs).ratio()
    return max(part, begins) * near


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return field.default


def _entry(hint: Any) -> type | None:
    inner = typing.get_args(hint)
    of_lists = typing.get_origin(hint) is tuple and inner and dataclasses.is_dataclass(inner[0])
    return inner[0] if of_lists and isinstance(inner[0], type) else None


def _words(hint: Any) -> str:
    """A type as people say it."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return " | ".join(str(word) for word in inner)
    if origin in (typing.Union, types.UnionType):
        words = " or ".join(_words(one) for one in inner if one is not types.NoneType)
        return f"{words}, or null" if types.NoneType in inner else words
    if origin is tuple:
        return _list_words(inner)
    if origin is dict:
        return f"mapping of {_words(inner[0])} to {_words(inner[1])}"
    return _PLAIN.get(hint, getattr(hint, "__name__", str(hint)))


def _list_words(inner: tuple[Any, ...]) -> str:
    if dataclasses.is_dataclass(inner[0]):
        return "list of entries with the keys below"
    if inner[-1] is Ellipsis:
        return f"list of {_words(inner[0])}"
    return f"[{', '.join(_words(one) for one in inner)}]"
