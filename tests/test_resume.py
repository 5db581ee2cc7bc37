"""Killed at any moment, the same command goes on where it was and ends with the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from test_job import content, field

__all__ = ["field"]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")


def run_killer(ortho, folder, *mode):
    script = Path(__file__).with_name("killed.py")
    found = subprocess.run(
        [sys.executable, str(script), str(ortho), str(folder), *mode],
        capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert found.returncode == 0, found.stdout + found.stderr
    sys.stdout.write(found.stdout)
    return [json.loads(line) for line in found.stdout.splitlines()]


def assert_same(folder):
    wanted = content(folder / "undisturbed" / "run")
    others = [path / "run" for path in folder.iterdir() if path.name != "undisturbed"]
    for out in others:
        found = content(out)
        assert found.keys() == wanted.keys(), out
        assert [str(name) for name in wanted if wanted[name] != found[name]] == [], out
        assert not [path.name for path in out.iterdir() if path.name.startswith(".") and path.name != ".lock"]
    return len(others)


@pytest.mark.slow
def test_killed_before_and_after_every_file_that_takes_its_place(field, tmp_path):
    log = run_killer(field[0], tmp_path, "replaces", "3")  # 1 takes four minutes
    assert len(log) + 1 == assert_same(tmp_path) > 12
    stages = {len(line["finished stages"]) for line in log}
    assert {0, 7} <= stages, "from before the first stage's end to after the last one's"
    assert len(stages) >= 6


def test_killed_at_random_moments(field, tmp_path):
    log = run_killer(field[0], tmp_path, "random", "8")
    assert len(log) == 8
    assert_same(tmp_path)
