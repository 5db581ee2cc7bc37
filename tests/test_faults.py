"""What goes wrong from outside: damaged blocks, a full disk, two runs at once, a run that is whole already."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from geoseg import job
from geoseg.config import load_config
from geoseg.errors import RunError
from geoseg.segment.blocks import BlockStore
from test_job import CONFIG, ColourSegmenter, content, field

__all__ = ["field"]


class Killed(ColourSegmenter):
    """Stops the run at its last but one window."""

    def __init__(self):
        self.calls = 0

    def __call__(self, images):
        self.calls += 1
        if self.calls == 12:
            raise KeyboardInterrupt
        return super().__call__(images)


def run(field, out, model=None):
    return job.run(field[0], out, config=load_config(None, CONFIG), model=model or ColourSegmenter())


@pytest.fixture(scope="module")
def wanted(field, tmp_path_factory):
    """Every file of an undisturbed run."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    run(field, out)
    return content(out)


@pytest.fixture
def half(field, tmp_path):
    """A run directory with unfinished work."""
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(field, out, Killed())
    assert len(list((out / "blocks").glob("*.block"))) >= 2
    return out


def test_a_damaged_block_of_a_killed_run_is_predicted_again(field, half, wanted):
    damaged = sorted((half / "blocks").glob("*.block"))[0]
    damaged.write_bytes(damaged.read_bytes()[:-10])
    segmenter = Killed()
    segmenter.calls = -100
    run(field, half, segmenter)
    assert content(half) == wanted
    assert segmenter.calls + 100 == 16 - 4  # two blocks of four windows were there, one of them damaged


def test_a_disk_that_damages_every_block_is_an_error(field, tmp_path, monkeypatch):
    save = BlockStore.save

    def damage(self, block, *arrays):
        save(self, block, *arrays)
        path = self._path(block, "block")
        path.write_bytes(path.read_bytes()[:-1])

    monkeypatch.setattr(BlockStore, "save", damage)
    with pytest.raises(RunError, match="is damaged and was removed"):
        run(field, tmp_path)
    assert not (tmp_path / "classes.tif").exists()


@pytest.mark.parametrize("after", [0, 1, 3, 7, 9])
def test_a_full_disk_costs_no_finished_block(field, tmp_path, wanted, monkeypatch, after):
    """The disk is full from the n-th file on, whatever it is: a block, a raster, the record, the picture."""
    sync, count = os.fsync, 0

    def full(handle):
        nonlocal count
        count += 1
        if count > after:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(RunError, match=rf"the disk of {tmp_path}.* does not take .* MB free.*No space left"):
            run(field, tmp_path / "run")
    if after < 9:  # from there on the class raster is whole
        assert len(list((tmp_path / "run").rglob("*.block"))) == min(max(after - 1, 0), 4)  # the first file is the key
    run(field, tmp_path / "run")
    assert content(tmp_path / "run") == wanted


def test_another_model_never_stands_beside_the_old_prescription(field, tmp_path, monkeypatch):
    out = tmp_path / "run"
    run(field, out)

    class Other(ColourSegmenter):
        card = ColourSegmenter.card.model_copy(update={"version": "2"})

    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "vectorize_stage", stop)
    with pytest.raises(KeyboardInterrupt):
        run(field, out, Other())
    assert {path.name for path in out.iterdir() if path.is_file()} == {
        ".lock", "classes.tif", "classes.tif.aux.xml", "confidence.tif", "ortho.vrt", "preview.tif", "run.json",
    }  # fmt: skip
    assert not any(path.is_file() for path in (out / "prescription").rglob("*"))


COMMAND = (sys.executable, "-m", "geoseg", "run")


def test_the_second_of_two_at_once_is_refused_with_exit_code_1(field, tmp_path):
    code = (
        "import sys; from pathlib import Path; from geoseg.rundir import RunDirectory\n"
        "with RunDirectory(Path(sys.argv[1])): print('in', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as first:
        first.stdout.readline()
        second = subprocess.run(
            [*COMMAND, str(field[0]), "--out", str(tmp_path)], capture_output=True, text=True, check=False
        )
        first.stdin.close()
    assert second.returncode == 1
    assert second.stderr.startswith("geoseg: another geoseg is at work in")
    assert second.stderr.count("\n") == 1
