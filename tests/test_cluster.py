"""Blocks on dask.distributed: the same bytes as one process, also when a worker is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from geoseg import job
from geoseg.config import load_config
from geoseg.errors import ConfigError, RunError
from geoseg.segment.blocks import BlockStore
from geoseg.segment.cluster import ClusterConfig
from geoseg.windows import Rect
from test_job import CONFIG, ColourSegmenter, content, field

__all__ = ["field"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["", "kill"])
def test_a_cluster_gives_the_bytes_of_one_process(field, tmp_path, mode):
    pytest.importorskip("distributed", reason="the extra cluster is not installed")
    config = load_config(None, [*CONFIG, "segment.block_windows=1"])
    job.run(field[0], tmp_path / "one" / "run", config=config, model=ColourSegmenter())
    out = tmp_path / "many" / "run"
    out.parent.mkdir()
    found = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("clustered.py")), str(field[0]), str(out), mode],
        capture_output=True, text=True, check=False, timeout=120, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert ("killed" in found.stdout) == (mode == "kill")
    assert int(found.stdout.split()[-3]) >= 2
    assert content(out) == content(tmp_path / "one" / "run")


def test_only_the_chosen_block_is_pending(tmp_path):
    store = BlockStore(tmp_path, (100, 100), 50, {})
    assert list(store.only(Rect(0, 50, 50, 100)).pending()) == [Rect(0, 50, 50, 100)]
    assert len(list(store.pending())) == 4


def test_a_worker_never_makes_the_folder_of_blocks(tmp_path):
    with pytest.raises(RunError, match="every worker must see"):
        BlockStore(tmp_path / "blocks", (100, 100), 50, {}, create=False)
    assert not (tmp_path / "blocks").exists()


@pytest.mark.parametrize("settings", [{"workers": 0}, {"workers": 1, "scheduler": "tcp://a:1"}])
def test_settings_that_cannot_work_are_refused(settings):
    with pytest.raises(ConfigError, match=r"cluster\.workers"):
        ClusterConfig(**settings)
