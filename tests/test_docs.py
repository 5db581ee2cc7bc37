"""The pages say what the code says: tables, links, commands, options and keys; and their code runs.

Python blocks run, in order, in a folder with a small field: `ortho.tif`, `field.gpkg`, and its results as `field-7` and
`geoseg-demo`, `configs/` and `tiles/`. A comment ``<!-- not run: REASON -->`` before a block leaves it out. Blocks of
geoseg commands run where ``<!-- run -->`` stands before them: most take too long, or name files that nobody has.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest
import yaml
from click.testing import CliRunner

import geoseg
from geoseg.cli import main
from geoseg.config import build, load_as
from geoseg.configtext import KINDS, config_kind
from geoseg.demo import demo_field
from geoseg.train.labelfiles import LabelConfig
from geoseg.train.synthetic import render, write
from geoseg.train.tilecutting import TileConfig

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


class Block(NamedTuple):
    """A piece of code on a page: language, its lines, and the comment before it."""

    language: str
    code: str
    mark: str


def blocks(page: Path) -> list[Block]:
    """The fenced and indented code of a page, in order; indented code is shell."""
    found: list[Block] = []
    mark, fence, lines = "", "", list[str]()
    for line in [*page.read_text(encoding="utf-8").splitlines(), ""]:
        if fence or line.startswith("```"):
            if fence and line == "```":
                found.append(Block(fence, "\n".join(lines), mark))
                mark, fence, lines = "", "", []
            elif fence:
                lines.append(line)
            else:
                fence = line[3:].strip() or "text"
        elif line.startswith("    "):
            lines.append(line[4:])
        elif lines:
            found.append(Block("sh", "\n".join(lines), mark))
            mark, lines = "", []
        elif line.startswith("<!-- "):
            mark = line.removeprefix("<!-- ").removesuffix(" -->")
        elif line.strip():
            mark = ""
    return found


def runs(block: Block) -> bool:
    """Whether a block is executed."""
    return block.mark == "run" if block.language == "sh" else block.language == "python" and not block.mark


def commands(page: Path) -> Iterator[list[str]]:
    """The geoseg commands in the shell code of a page."""
    for block in blocks(page):
        for line in block.code.splitlines() if block.language == "sh" else ():
            for part in line.split("&&"):
                if part.strip().startswith("geoseg "):
                    yield shlex.split(part, comments=True)[1:]


COMMANDS = [(page.name, words) for page in PAGES for words in commands(page)]


def test_there_are_commands_to_test() -> None:
    assert len(COMMANDS) > 5


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=[f"{page}: {' '.join(words)}" for page, words in COMMANDS])
def test_commands_on_the_pages_exist(page: str, words: list[str]) -> None:
    words = [word for word in words if word not in ("--debug",)]
    command: click.Command = main
    path = []
    while isinstance(command, click.Group):
        path.append(words[0])
        command, words = command.commands[words[0]], words[1:]
    if "..." in words:
        return
    context = click.Context(command)
    command.parse_args(context, words)  # raises if an option is unknown or an argument is missing
    kind = next((name for name in path if name in KINDS), "run")
    base = ROOT / "configs/train_tiny.yaml" if kind == "train" else None
    for key in context.params.get("overrides", ()):
        load_as(config_kind(kind), base, [key])
    for key in context.params.get("label_overrides", ()):
        load_as(LabelConfig, None, [key])


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]*)(?:#[\w-]*)?\)", text):
        assert not target or (page.parent / target).exists(), target


RUNNABLE = [page for page in PAGES if any(runs(block) for block in blocks(page))]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a reader of the pages has it: a small field like that of `geoseg demo`, and its results."""
    folder = tmp_path_factory.mktemp("workplace")
    for name in ("configs", "tiles"):
        shutil.copytree(ROOT / name, folder / name)
    write(render(dataclasses.replace(demo_field(), height_px=1200, width_px=1400, margin_share=0.02)), folder / "input")
    shutil.copy(folder / "input" / "ortho.tif", folder)
    shutil.copy(folder / "input" / "boundary.gpkg", folder / "field.gpkg")
    with contextlib.chdir(folder):
        geoseg.run("ortho.tif", "field-7", boundary="field.gpkg")  # pages that do the same find it done
    shutil.copytree(folder / "field-7", folder / "geoseg-demo")
    shutil.move(folder / "input", folder / "geoseg-demo")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNABLE, ids=[page.name for page in RUNNABLE])
def test_code_on_the_pages_runs(page: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    names: dict[str, object] = {"__name__": "__page__"}
    for block in filter(runs, blocks(page)):
        if block.language == "python":
            exec(compile(block.code, page.name, "exec"), names)
            continue
        for line in block.code.splitlines():
            program, *words = shlex.split(line, comments=True)
            assert program == "geoseg"
            done = CliRunner().invoke(main, words)
            assert done.exit_code == 0, f"{line}\n{done.output}"


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_python_on_the_pages_is_python(page: Path) -> None:
    for block in blocks(page):
        if block.language == "python":
            ast.parse(block.code)
        assert block.mark in ("", "run") or block.mark.startswith("not run: "), block


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_yaml_on_the_pages_has_keys_that_exist(page: Path) -> None:
    known = {field.name for command in KINDS for field in dataclasses.fields(config_kind(command))}
    for block in blocks(page):
        if block.language != "yaml" or "apiVersion" in block.code:  # those are Kubernetes'
            continue
        document = yaml.safe_load(block.code)
        assert set(document) <= known, document
        if "sources" in document:
            build(TileConfig, document, page.name)


def test_every_page_is_in_the_table_of_contents() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    listed = [line for tree in re.findall(r"```{toctree}\n(.*?)```", index, re.DOTALL) for line in tree.split()]
    for page in PAGES:
        if page.parent.name == "docs" and page.stem not in ("README", "index"):
            assert any(page.match(f"{entry}.md") for entry in listed), f"{page.name} is in no toctree of docs/index.md"


def test_tables_are_those_of_the_code() -> None:
    command = [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
