"""The real command with the real network, killed at random moments: `benchmarks/kills.py` with a few kills."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from geoseg.train.synthetic import FieldSpec, render, write

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")]


def test_three_kills_of_the_command_change_no_byte(tmp_path):
    write(render(FieldSpec(seed=3, height_px=1000, width_px=1400, gsd_m=0.003)), tmp_path / "field")
    tool = Path(__file__).parents[1] / "benchmarks" / "kills.py"
    cut = ("--set", "segment.write_px=384", "--set", "segment.block_windows=1")
    done = subprocess.run(
        [sys.executable, str(tool), str(tmp_path / "field" / "ortho.tif"), "--kills", "3", *cut],
        capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    end = json.loads(done.stdout.splitlines()[-1])
    assert end["files"] > 10
    assert not any(end["differ"].values())
