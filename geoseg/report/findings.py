"""Findings of `geoseg check` and `geoseg doctor` as text for a terminal and as a table for a notebook."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geoseg.finding import Finding

__all__ = ["finding_lines", "findings_html", "preflight_lines"]

Paint = Callable[[str, str], str]
"""(level, text) -> the text in the colour of its level."""

_VERDICTS = {
    "ok": "ready",
    "note": "ready; the notes are good to know",
    "warning": "a run would work, but read the warnings first: the result may suffer",
    "error": "a run would stop: do what the errors say",
}
_COLOURS = {"ok": "#1b7837", "note": "#2166ac", "warning": "#b35806", "error": "#b2182b"}  # readable on white


def _plain(_: str, text: str) -> str:
    return text


def finding_lines(
    findings: Iterable[Mapping[str, Any]], width: int = 110, paint: Paint = _plain, topic_width: int = 0
) -> Iterator[str]:
    """A finding a line or more, its remedy below it.

    Args:
        findings: With level, topic, text and remedy.
        width: Where lines are broken.
        paint: Gives the level its colour.
        topic_width: Least width of the column of topics.
    """
    shown = list(findings)
    topic_width = max([topic_width, *(len(finding["topic"]) for finding in shown)])
    for finding in shown:
        head = f"{'':2}{finding['level']:<7}  {finding['topic']:<{topic_width}}  "
        lines = _wrapped(finding["text"], width - len(head)) or [""]
        yield f"{'':2}{paint(finding['level'], format(finding['level'], '<7'))}{head[9:]}{lines[0]}"
        yield from (f"{'':{len(head)}}{line}" for line in lines[1:])
        for nth, line in enumerate(_wrapped(finding["remedy"], width - len(head) - 3)):
            yield f"{'':{len(head)}}{'   ' if nth else '-> '}{line}"


def preflight_lines(report: Mapping[str, Any], width: int = 110, paint: Paint = _plain) -> Iterator[str]:
    """What `geoseg check` found: the findings, what a run takes, and what to do next."""
    yield f"{report['ortho']}, for the model {report['model']}"
    yield ""
    yield from finding_lines(report["findings"], width, paint)
    yield ""
    if estimate := report["estimate"]:
        yield (
            f"a run takes about {_duration(estimate['seconds'])} on this machine: "
            f"{estimate['hectares']:.3g} ha, {estimate['pixels'] / 1e6:,.0f} Mpx"
        )
    yield f"{paint(report['level'], _VERDICTS[report['level']])}"


def findings_html(findings: Iterable[Finding], title: str) -> str:
    """Findings as an HTML table."""
    rows = []
    for finding in findings:
        remedy = f"<br>&rarr; {html.escape(finding.remedy)}" if finding.remedy else ""
        rows.append(
            f'<tr><td style="color:{_COLOURS[finding.level]};font-weight:bold;text-align:left">{finding.level}</td>'
            f'<td style="text-align:left">{html.escape(finding.topic)}</td>'
            f'<td style="text-align:left">{html.escape(finding.text)}{remedy}</td></tr>'
        )
    return f"<table><caption>{html.escape(title)}</caption>{''.join(rows)}</table>"


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of a text; commands and paths are never broken."""
    return textwrap.wrap(text, max(width, 40), break_on_hyphens=False, break_long_words=False)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
