"""Write the tables of these pages from the code, so that both say the same.

``python docs/generate.py`` rewrites the part between ``<!-- table: NAME -->`` and ``<!-- end -->`` in every page;
with ``--check`` it changes nothing and fails if a page is out of date.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from geoseg.configkeys import Key, keys_of
from geoseg.configtext import KINDS, config_kind
from geoseg.export.columns import LAYERS
from geoseg.export.profiles import EVIDENCE, profile_names, read_profile
from geoseg.legend import LEGEND
from geoseg.models.card import ModelCard
from geoseg.spray.machine import machine_names, read_machine

PAGES = Path(__file__).resolve().parent
CARD = PAGES.parent / "geoseg" / "models" / "default" / "card.json"
BLOCK = re.compile(r"(<!-- table: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> Iterator[str]:
    """A Markdown table, line by line."""
    head = list(head)
    yield "| " + " | ".join(head) + " |"
    yield "|" + " --- |" * len(head)
    for row in rows:
        yield "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |"


def classes() -> Iterator[str]:
    """The classes with their codes and colours."""
    yield from table(("code", "class", "colour"), ((e.code, e.name, f"`{e.hex}`") for e in LEGEND.entries))


def layers() -> Iterator[str]:
    """The layers of field.gpkg with their columns."""
    for layer in LAYERS.values():
        yield f"**`{layer.name}`** ({layer.geometry}): {layer.description}."
        yield ""
        rows = ((f"`{c.name}`", c.dtype, c.unit, c.description) for c in layer.columns)
        yield from table(("column", "type", "unit", "what it says"), rows)
        yield ""


def profiles() -> Iterator[str]:
    """The terminals: format, place of the files, column of the rates, limits with their evidence."""
    rows = []
    for name in profile_names():
        profile = read_profile(name)
        limits = [
            f"{key} {limit.value:,} ({limit.evidence})"
            for key, limit in profile.limits.items()
            if limit.value is not None
        ]
        columns = ", ".join(f"`{column.name}`" for column in profile.columns if column.kind == "rate")
        folders = ", ".join(f"`{place}/`" if place else "root" for place in profile.folders)
        title = f"{profile.title}{'. **Experimental.**' if profile.experimental else ''}"
        rows.append((f"`{name}`", title, profile.format, folders, columns, ", ".join(limits)))
    yield from table(("profile", "for", "format", "folder", "rate in", "limits (evidence)"), rows)
    yield ""
    yield f"Evidence: {'; '.join(f'{mark} {what}' for mark, what in EVIDENCE.items())}."


def config(command: str) -> Iterator[str]:
    """Every key of the configuration of a command, with its default."""
    rows = (
        (f"`{key.name}`", "*must be given*" if key.required else shown(key.default), key.note) for key in keys(command)
    )
    yield from table(("key", "default", "meaning"), rows)


def keys(command: str) -> Iterator[Key]:
    """The keys of a command's configuration; those of a list's entries follow it."""
    for key in keys_of(config_kind(command)):
        yield key
        for inner in keys_of(key.entry) if key.entry else ():
            yield dataclasses.replace(inner, name=f"{key.name}[].{inner.name}")


def machines() -> Iterator[str]:
    """The machines that come with geoseg, and how well each value is known."""
    for name in machine_names():
        machine = read_machine(name)
        yield f"**`{name}`**: {machine.title}."
        yield ""
        rows = ((f"`{key}`", machine_value(getattr(machine, key)), note) for key, note in machine.evidence.items())
        yield from table(("key", "value", "how well it is known"), rows)
        yield ""


def machine_value(value: Any) -> str:
    """A value of a machine as its file has it."""
    return ", ".join(f"{key}: {one:g}" for key, one in value.items()) if isinstance(value, dict) else f"{value:g}"


def shown(value: Any) -> str:
    """A default as YAML shows it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if value in ({}, ()):
        return ""
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def card() -> Iterator[str]:
    """The card of the default model."""
    if not CARD.exists():
        yield "The card of the default model is missing in this checkout."
        return
    found = ModelCard.read(CARD)
    gsd = found.gsd
    yield f"**{found.name} {found.version}.** {found.description}"
    yield ""
    rows = [
        ("architecture", f"`{found.architecture}`"),
        ("bands", ", ".join(found.bands)),
        ("classes", ", ".join(found.classes)),
        ("resolution", f"{gsd.min_m * 1e3:g} to {gsd.max_m * 1e3:g} mm per pixel, trained at {gsd.train_m * 1e3:g}"),
        ("window", f"{found.tiling.write_px} px, margin {found.tiling.margin_px} px"),
        ("licence", found.licence),
        *(("made from", line) for line in found.attribution),
        *(("limit", line) for line in found.limits),
    ]
    yield from table(("", ""), rows)
    yield ""
    scores = [
        (name, group, *(f"{values[key]:.3f}" for key in ("iou", "precision", "recall", "f1")))
        for name, one in found.scores.items()
        for group, values in one["classes"].items()
    ]
    yield from table(("data", "class", "IoU", "precision", "recall", "F1"), scores)


TABLES: dict[str, Callable[[], Iterator[str]]] = {
    "card": card,
    "classes": classes,
    "layers": layers,
    "machines": machines,
    "profiles": profiles,
    **{f"config-{command}": partial(config, command) for command in KINDS},
}


def render(text: str) -> str:
    """A page with its tables made anew."""

    def replace(match: re.Match[str]) -> str:
        body = "\n".join(TABLES[match["name"]]()).strip()
        return f"{match[1]}\n{body}\n\n{match[3]}"

    return BLOCK.sub(replace, text)


def main(arguments: list[str]) -> int:
    """Rewrite or check all pages; gives the number of pages that were out of date."""
    stale = 0
    for page in sorted(PAGES.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if (fresh := render(text)) == text:
            continue
        stale += 1
        if "--check" in arguments:
            print(f"{page.name} is out of date: run python docs/generate.py")
        else:
            page.write_text(fresh, encoding="utf-8")
            print(f"{page.name} written")
    return stale if "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
