"""The pages say what the code says: tables, links, commands, options and keys."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from geoseg.cli import main
from geoseg.config import load_as, load_config
from geoseg.train.fit import TrainConfig

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands(page: Path) -> Iterator[list[str]]:
    """The geoseg commands of a page: lines of indented or fenced code that start with it."""
    for line in page.read_text(encoding="utf-8").splitlines():
        for part in line.split("&&"):
            if line.startswith(("    geoseg ", "geoseg ", "    pip install .", "pip install .")) and "geoseg " in part:
                yield shlex.split(part.partition("#")[0])[1:]


COMMANDS = [(page.name, words) for page in PAGES for words in commands(page)]


def test_there_are_commands_to_test() -> None:
    assert len(COMMANDS) > 5


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=[f"{page}: {' '.join(words)}" for page, words in COMMANDS])
def test_commands_on_the_pages_exist(page: str, words: list[str]) -> None:
    words = [word for word in words if word not in ("--debug",)]
    command: click.Command = main
    while isinstance(command, click.Group):
        command, words = command.commands[words[0]], words[1:]
    if "..." in words:
        return
    context = click.Context(command)
    command.parse_args(context, words)  # raises if an option is unknown or an argument is missing
    for key in context.params.get("overrides", ()):
        if command.name == "train":
            load_as(TrainConfig, ROOT / "configs/train_tiny.yaml", [key])
        else:
            load_config(None, [key])


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]*)(?:#[\w-]*)?\)", text):
        assert not target or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_python_on_the_pages_is_python(page: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        ast.parse(block)


def test_tables_are_those_of_the_code() -> None:
    command = [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
