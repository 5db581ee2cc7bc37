"""Reading a report as a person and as a program do: what the report's tests share."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

VOID = {"meta", "link", "input", "br", "image", "path", "use", "rect", "circle", "polyline", "i"}


class Page(HTMLParser):
    """The parts of a page that tests ask for: figures by key, table rows by key, elements and their texts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.figures: dict[str, list[str]] = {}
        self.tables: dict[str, list[list[str]]] = {}
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self._figure = self._table = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {key: value or "" for key, value in attrs}
        self.tags.append((tag, named))
        self.texts.setdefault(tag, []).append("")
        self._open.append(tag)
        if tag in VOID:
            self._open.pop()
        self._figure = named.get("data-figure", self._figure)
        self._table = named.get("data-table", self._table)
        if tag == "dd":
            self.figures.setdefault(self._figure, []).append("")
        if tag == "tr" and "tbody" in self._open:
            self.tables.setdefault(self._table, []).append([])
        if tag in ("td", "th") and "tbody" in self._open:
            self.tables[self._table][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        for tag in set(self._open):
            self.texts[tag][-1] += data
        if not self._open:
            return
        if "dd" in self._open and "small" not in self._open:
            self.figures[self._figure][-1] += data
        if self._open[-1] in ("td", "th") and "tbody" in self._open:
            self.tables[self._table][-1][-1] += data


def read_report(run: Path) -> tuple[dict[str, Any], Page]:
    """``report.json`` and the page of a run directory."""
    content = json.loads((run / "report.json").read_text(encoding="utf-8"))
    return content, Page((run / "report.html").read_text(encoding="utf-8"))
