"""The README does what it says: its Python runs as it stands and prints what is printed there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_python_of_the_readme_prints_what_it_says(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "geoseg", "demo"], cwd=tmp_path, check=True, capture_output=True)
    found = re.search(r"```python\n(.*?)```\n\n```text\n(.*?)```", README, re.DOTALL)
    assert found is not None
    code, printed = found.groups()
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert shape(done.stdout) == shape(printed)


def shape(text: str) -> str:
    """The text with every number replaced: processors round differently, so a pixel may fall to another class."""
    return re.sub(r"\d+(\.\d+)?", "#", text).strip()


def test_the_first_screen_is_complete() -> None:
    assert "pip install . && geoseg demo" in README
    assert (ROOT / "docs" / "images" / "quicklook.png").exists()
    assert "pip install '.[test]' && pytest" in README
