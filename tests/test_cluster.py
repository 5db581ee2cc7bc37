"""Blocks on dask.distributed: the same bytes as one process, also when a worker is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from geoseg import job
from geoseg.config import load_config
from geoseg.errors import ConfigError, RunError
from geoseg.ortho import Ortho
from geoseg.segment.blocks import BlockStore
from geoseg.segment.cluster import IN_FLIGHT, BlockJob, ClusterConfig, connect, predict_on, stitch_on
from geoseg.segment.predict import PredictStats, SegmentConfig
from geoseg.segment.stitch import stitch
from geoseg.stages import segment
from geoseg.windows import Rect
from test_job import CONFIG, ColourSegmenter, content, field
from test_stitch import GRID, SHAPE, files_in

__all__ = ["field"]


def run_clustered(ortho, out, mode=""):
    found = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("clustered.py")), str(ortho), str(out), mode],
        capture_output=True, text=True, check=False, timeout=900, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["", "kill"])
def test_a_cluster_gives_the_bytes_of_one_process(field, tmp_path, mode):
    pytest.importorskip("distributed", reason="the extra cluster is not installed")
    config = load_config(None, [*CONFIG, "segment.block_windows=1"])
    job.run(field[0], tmp_path / "one" / "run", config=config, model=ColourSegmenter())
    out = tmp_path / "many" / "run"
    out.parent.mkdir()
    said = run_clustered(field[0], out, mode)
    assert ("killed" in said) == (mode == "kill")
    assert int(said.split()[-3]) >= 2
    assert content(out) == content(tmp_path / "one" / "run")


@pytest.mark.slow
def test_a_damaged_block_that_a_worker_finds_is_predicted_again(field, tmp_path, monkeypatch):
    pytest.importorskip("distributed", reason="the extra cluster is not installed")
    config = load_config(None, [*CONFIG, "segment.block_windows=1"])
    job.run(field[0], tmp_path / "one" / "run", config=config, model=ColourSegmenter())
    out = tmp_path / "many" / "run"

    def stop(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(segment, "stitch", stop)
        job.run(field[0], out, config=config, model=ColourSegmenter())
    damaged = sorted((out / "blocks").glob("*.block"))[5]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    said = run_clustered(field[0], out)
    assert said.endswith("1 processes worked\n"), "one block, on one of them"
    assert content(out) == content(tmp_path / "one" / "run")


class Deadly(BlockStore):
    """Kills the first worker that asks for the third block."""

    def load(self, block, *wanted):
        if block == list(self)[2]:
            try:
                (self.folder.parent / "dead").touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().load(block, *wanted)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_rasters_are_assembled_by_workers_also_when_one_is_killed_over_it(tmp_path, monkeypatch):
    pytest.importorskip("distributed", reason="the extra cluster is not installed")
    monkeypatch.setattr("geoseg.host.cores", lambda: 2)
    store = BlockStore(tmp_path / "blocks", SHAPE, 512, {})
    for number, block in enumerate(store):
        pixels = np.random.default_rng(number).integers(0, 3, block.shape, np.uint8)
        store.save(block, pixels, pixels)
    (tmp_path / "here").mkdir()
    wanted = stitch(store, GRID, files_in(tmp_path / "here"), {})
    store.__class__ = Deadly
    with connect(ClusterConfig(workers=2)) as client:
        before = client.scheduler_info()["workers"].keys()
        for name in ("there", "again"):
            (tmp_path / name).mkdir()
            assert stitch_on(client, store, GRID, files_in(tmp_path / name), {}) == wanted
        assert client.scheduler_info()["workers"].keys() != before
        done = client.run_on_scheduler(
            lambda dask_scheduler: dask_scheduler.task_prefixes["assemble_layer"].duration_average
        )
    assert done > 0
    assert (tmp_path / "dead").exists()
    for name in ("there", "again"):
        assert {path.name for path in (tmp_path / name).iterdir()} == {
            path.name for path in (tmp_path / "here").iterdir()
        }
        for path in files_in(tmp_path / "here").values():
            assert (tmp_path / name / path.name).read_bytes() == path.read_bytes()


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
