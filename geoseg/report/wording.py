"""How the report writes numbers: one rounding for each kind, and the parts that sections are made of.

Every figure carries its value as the run knows it and the text that a person reads, so that page and JSON agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["area", "bytes_text", "duration", "figure", "length", "litres", "number", "percent", "spacing", "table"]

_HA = 0.1
"""Areas below this many hectares are written in square metres."""


def figure(key: str, label: str, value: Any, text: str, note: str = "") -> dict[str, Any]:
    """A number with its name, as the report shows it.

    Args:
        key: Name for programs.
        label: Name for people.
        value: As the run knows it.
        text: As a person reads it, with the unit.
        note: What it means or where it comes from, one line.
    """
    return {"key": key, "label": label, "value": value, "text": text, "note": note}


def table(
    key: str, caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]], values: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """A table of texts, and the same as values.

    Args:
        key: Name for programs.
        caption: What it shows.
        columns: Headings; one that starts with ``#`` is of numbers.
        rows: The texts.
        values: The values of each row by name.
    """
    heads = [{"label": column.removeprefix("#"), "number": column.startswith("#")} for column in columns]
    return {
        "key": key,
        "caption": caption,
        "columns": heads,
        "rows": [list(row) for row in rows],
        "values": [dict(row) for row in values],
    }


def area(hectares: float) -> str:
    """An area in hectares, or in square metres where it is small.

    Example:
        >>> area(12.345), area(0.03162), area(0.0000391)
        ('12.35 ha', '316 m²', '0.39 m²')
    """
    return f"{hectares:,.2f} ha" if hectares >= _HA else f"{_significant(hectares * 1e4)} m²"


def percent(share: float) -> str:
    """A share of 0..1 in percent.

    Example:
        >>> percent(0.001236), percent(0.0628), percent(0.6874), percent(0.00001), percent(0)
        ('0.12 %', '6.3 %', '68.7 %', '< 0.01 %', '0 %')
    """
    value = 100 * share
    if value == 0:
        return "0 %"
    if 0 < value < 0.01:
        return "< 0.01 %"
    return f"{value:.2f} %" if abs(value) < 1 else f"{value:.1f} %"


def litres(value: float) -> str:
    """An amount of liquid.

    Example:
        >>> litres(1.9768), litres(31.27), litres(4321.0)
        ('1.98 L', '31.3 L', '4,321 L')
    """
    return f"{_significant(value)} L"


def length(metres: float) -> str:
    """A length in metres."""
    return f"{_significant(metres)} m"


def spacing(metres: float) -> str:
    """A distance between plants, in centimetres.

    Example:
        >>> spacing(0.27648)
        '27.6 cm'
    """
    return f"{100 * metres:.1f} cm"


def number(value: float) -> str:
    """A count, or another number with three digits that matter."""
    return f"{value:,}" if isinstance(value, int) else _significant(value)


def duration(seconds: float) -> str:
    """A time that something took.

    Example:
        >>> duration(0.224), duration(125.4), duration(7300)
        ('0.2 s', '2 min 5 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def bytes_text(count: int) -> str:
    """The size of a file.

    Example:
        >>> bytes_text(60029002), bytes_text(1556)
        ('60.0 MB', '1.6 kB')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def _significant(value: float) -> str:
    if abs(value) >= 100 or value == 0:
        return f"{value:,.0f}"
    if abs(value) < 0.1:
        return f"{value:.2g}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
