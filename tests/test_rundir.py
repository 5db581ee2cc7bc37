"""The run directory: locks, what counts as done, and what a damaged record does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from geoseg.errors import BusyError, InputError
from geoseg.rundir import RunDirectory


def do_stage(directory, parts, content="result"):
    """Do a stage that writes one file; says whether it had to."""
    with directory.stage("first", parts) as stage:
        if stage.done:
            return False
        (directory / "a.txt").write_text(content)
        stage.outputs.append(directory / "a.txt")
        stage.facts["length"] = len(content)
    return True


def test_a_finished_stage_is_not_done_again(tmp_path):
    with RunDirectory(tmp_path / "run") as directory:
        assert do_stage(directory, {"a": 1})
    with RunDirectory(tmp_path / "run") as directory:
        assert not do_stage(directory, {"a": 1})
        assert directory.facts("first") == {"length": 6}


@pytest.mark.parametrize("change", ["parts", "missing", "truncated"])
def test_a_stage_is_done_again_when_something_changed(tmp_path, change):
    with RunDirectory(tmp_path) as directory:
        do_stage(directory, {"a": 1})
        if change == "missing":
            (directory / "a.txt").unlink()
        if change == "truncated":
            (directory / "a.txt").write_text("res")
        assert do_stage(directory, {"a": 2 if change == "parts" else 1})


def test_a_stage_that_raises_is_not_done(tmp_path):
    with RunDirectory(tmp_path) as directory:
        with pytest.raises(ZeroDivisionError), directory.stage("first", {}):
            raise ZeroDivisionError
        assert directory.facts("first") == {}
        with pytest.raises(InputError, match="no finished 'first' stage"):
            directory.key("first")


def test_a_file_that_a_later_stage_extends_keeps_the_earlier_stage_done(tmp_path):
    with RunDirectory(tmp_path) as directory:
        do_stage(directory, {})
        with directory.stage("second", {}) as stage:
            (directory / "a.txt").write_text("result and more")
            stage.outputs.append(directory / "a.txt")
        assert not do_stage(directory, {})


def test_a_second_process_is_refused(tmp_path):
    code = (
        "import sys; from pathlib import Path; from geoseg.rundir import RunDirectory\n"
        "with RunDirectory(Path(sys.argv[1])): print('in', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"in\n"
        with pytest.raises(BusyError, match="another geoseg is at work"), RunDirectory(tmp_path):
            pass
        other.stdin.close()
        other.wait(300)
    with RunDirectory(tmp_path):
        pass


def test_a_damaged_record_names_itself(tmp_path):
    (tmp_path / "run.json").write_text('{"stages": {')
    with pytest.raises(InputError, match=r"run\.json is damaged"), RunDirectory(tmp_path):
        pass


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(InputError, match="cannot be used as a run directory"), RunDirectory(tmp_path / "run"):
        pass


def test_clear_removes_results_and_nothing_else(tmp_path):
    with RunDirectory(tmp_path) as directory:
        do_stage(directory, {})
        (directory / "mine.txt").write_text("keep")
        directory.clear()
        assert not (directory / "a.txt").exists()
        assert (directory / "mine.txt").exists()
        assert do_stage(directory, {})


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system does not count by stage")
def test_the_record_knows_the_peak_memory_of_each_stage(tmp_path):
    with RunDirectory(tmp_path) as directory:
        for name, size in (("large", 300 << 20), ("small", 1 << 20)):
            with directory.stage(name, {}):
                bytearray(size)
        stages = directory.record["stages"]
    assert 250 < stages["large"]["peak_mb"] - stages["small"]["peak_mb"] < 350
