"""The notebook: it runs from the first cell to the last; what is saved in it is small and without anybody's paths."""

from __future__ import annotations

import contextlib
import importlib.util
import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def executor():
    """The script beside the notebooks."""
    spec = importlib.util.spec_from_file_location("execute", FOLDER / "execute.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_saved_is_small_and_whole(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text) < 200_000
    for private in ("/tmp/", "/home/", "/root/", "/work/", "C:\\\\"):
        assert private not in text
    notebook = json.loads(text)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))  # run once, in order
    assert sum(bool(cell["outputs"]) for cell in code) > len(code) / 2


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # notebooks run with the warnings of the libraries
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_and_shows_the_same_kinds_of_things(path: Path, tmp_path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    with contextlib.chdir(tmp_path):
        for cell, outputs in executor().execute(notebook):
            assert kinds(outputs) == kinds(cell["outputs"]), "".join(cell["source"])


def kinds(outputs: list[dict]) -> list[tuple[str, ...]]:
    return [(output["output_type"], *output.get("data", ())) for output in outputs]


def test_the_executor_shows_what_a_notebook_would() -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# no code"]},
        {"cell_type": "code", "source": ["a = 2\n", "print('two')\n", "a + 1"]},
        {"cell_type": "code", "source": ["b = a"]},
    ]
    (_, first), (_, second) = executor().execute({"cells": cells})
    assert first == [
        {"output_type": "stream", "name": "stdout", "text": ["two\n"]},
        {"output_type": "execute_result", "execution_count": 1, "metadata": {}, "data": {"text/plain": ["3"]}},
    ]
    assert second == []
    with pytest.raises(ZeroDivisionError):
        list(executor().execute({"cells": [{"cell_type": "code", "source": ["1 / 0"]}]}))
