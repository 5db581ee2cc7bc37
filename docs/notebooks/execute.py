"""Execute a notebook and write what its cells show into it, without Jupyter: ``python docs/notebooks/execute.py FILE``.

The cells run one after the other in one namespace, in a folder of their own. What a cell prints, and the value of its
last line as text and HTML, become its outputs.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Output = dict[str, Any]


def execute(notebook: dict[str, Any]) -> Iterator[tuple[dict[str, Any], list[Output]]]:
    """Each code cell with its outputs; an exception in a cell is raised."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(cells, start=1):
        yield cell, list(_run("".join(cell["source"]), namespace, number))


def _run(source: str, namespace: dict[str, Any], number: int) -> Iterator[Output]:
    tree = ast.parse(source, f"cell {number}")
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed, value = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, f"cell {number}", "exec"), namespace)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), namespace)
    if printed.getvalue():
        yield {"output_type": "stream", "name": "stdout", "text": printed.getvalue().splitlines(keepends=True)}
    if value is not None:
        data = {"text/plain": str(value).splitlines(keepends=True)}
        if hasattr(value, "_repr_html_"):
            data["text/html"] = str(value._repr_html_()).splitlines(keepends=True)
        yield {"output_type": "execute_result", "execution_count": number, "metadata": {}, "data": data}


def main(files: list[str]) -> None:
    """Execute notebooks in an empty folder and write their outputs into them."""
    for file in files:
        path = Path(file).resolve()
        notebook = json.loads(path.read_text(encoding="utf-8"))
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            for number, (cell, outputs) in enumerate(execute(notebook), start=1):
                cell["outputs"], cell["execution_count"] = outputs, number
        text = json.dumps(notebook, indent=1, ensure_ascii=False).replace(os.path.realpath(tempfile.gettempdir()), "")
        path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
