"""Blocks on dask.distributed: the same bytes as one process, also when a worker is killed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from geoseg import job
from geoseg.config import load_config
from geoseg.errors import ConfigError, RunError
from geoseg.ortho import Ortho
from geoseg.segment.blocks import BlockStore
from geoseg.segment.cluster import IN_FLIGHT, BlockJob, ClusterConfig, predict_on
from geoseg.segment.predict import PredictStats, SegmentConfig
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
        capture_output=True, text=True, check=False, timeout=900, env=os.environ | {"OMP_NUM_THREADS": "1"},
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


class FakeFuture:
    """A block that is done as soon as somebody asks."""

    def exception(self):
        return None

    def result(self):
        return PredictStats(windows=1)


class FakeClient:
    """A cluster whose number of workers changes; notes how many tasks it ever knew of at once."""

    def __init__(self):
        self.submitted, self.most, self.known = 0, 0, []

    def scheduler_info(self, n_workers):
        return {"workers": range([0, 2, 64, 3][min(3, self.submitted // 10_000)])}

    def submit(self, function, job, block, pure, retries):
        self.submitted += 1
        self.known.append(FakeFuture())
        return self.known[-1]

    def add(self, future):
        self.most = max(self.most, len(self.known))

    def __iter__(self):
        while self.known:
            yield self.known.pop(0)


class Blocks:
    """100,000 blocks that are made one by one."""

    count = 100_000

    def pending(self):
        for number in range(self.count):
            yield Rect(number, 0, number + 1, 1)


def test_the_scheduler_never_knows_of_more_than_a_few_of_100_000_blocks(monkeypatch):
    distributed = pytest.importorskip("distributed", reason="the extra cluster is not installed")
    client = FakeClient()
    monkeypatch.setattr(distributed, "as_completed", lambda: client)
    done = []
    total = predict_on(client, SimpleNamespace(store=Blocks), done.append)
    assert client.submitted == total.windows == len(done) == Blocks.count
    assert client.most == 64 * IN_FLIGHT


def test_a_task_is_small_enough_to_travel_with_every_block(field, tmp_path):
    pickle = pytest.importorskip("cloudpickle", reason="the extra cluster is not installed")
    source = Ortho.open(field[0])
    grid = source.working_grid(ColourSegmenter.card.gsd)
    job_ = BlockJob(
        source,
        grid,
        source.boundary(None, grid),
        "default",
        "auto",
        SegmentConfig(),
        tmp_path,
        {"geoseg": "1"},
        512,
        (),
    )
    assert len(pickle.dumps(job_)) < 20_000


def test_the_recipes_parse():
    text = (Path(__file__).parents[1] / "docs" / "cluster.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)
    kinds = [yaml.safe_load(code)["kind"] for language, code in blocks if language == "yaml"]
    assert kinds == ["DaskCluster", "Job"]
    (recipe,) = (code for language, code in blocks if language == "python")
    compile(recipe, "slurm.py", "exec")


def test_the_slurm_recipe_makes_a_job_script():
    jobqueue = pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    text = (Path(__file__).parents[1] / "docs" / "cluster.md").read_text(encoding="utf-8")
    (call,) = re.findall(r"^SLURMCluster\(.*?^\)", text.replace("cluster = ", ""), re.DOTALL | re.MULTILINE)
    call = call.replace('"eth0"', '"lo"').replace("interface", "scheduler_options={'port': 0}, interface")
    with eval(call, {"SLURMCluster": jobqueue.SLURMCluster}) as cluster:
        script = cluster.job_script()
    assert "#SBATCH --cpus-per-task=16" in script
    assert script.rindex("--nthreads 1 ") > script.index("--nthreads 16")
