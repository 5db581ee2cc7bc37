"""The command line with the real default network: worker processes and a scheduler give the bytes of one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager

import pytest

from geoseg.train.synthetic import FieldSpec, render, write
from test_job import content

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")]
CUT = ("--set", "segment.write_px=512", "--set", "segment.block_windows=1")
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def ortho(tmp_path_factory):
    """A small rendered field."""
    folder = tmp_path_factory.mktemp("rendered")
    write(render(FieldSpec(seed=3, height_px=1500, width_px=2000, gsd_m=0.003)), folder)
    return folder / "ortho.tif"


def command(ortho, out, *options):
    return [sys.executable, "-m", "geoseg", "run", str(ortho), "--out", str(out), *CUT, *options]


def run(ortho, out, *options):
    done = subprocess.run(command(ortho, out, *options), capture_output=True, text=True, check=False, env=ONE_THREAD)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wanted(ortho, tmp_path_factory):
    """Every file of a run in one process."""
    out = tmp_path_factory.mktemp("one") / "run"
    run(ortho, out)
    return content(out)


@contextmanager
def started(*arguments):
    """A process of dask, ended afterwards."""
    with subprocess.Popen(
        [sys.executable, "-m", "dask", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ONE_THREAD
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(what, seconds=900):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_two_worker_processes(ortho, wanted, tmp_path):
    run(ortho, tmp_path / "run", "--workers", "2")
    assert content(tmp_path / "run") == wanted


def test_a_scheduler_one_of_whose_workers_is_killed(ortho, wanted, tmp_path):
    pytest.importorskip("distributed", reason="the extra cluster is not installed")
    file, out = tmp_path / "scheduler.json", tmp_path / "run"
    with ExitStack() as stack:
        common = ("--scheduler-file", str(file), "--no-dashboard")
        stack.enter_context(started("scheduler", "--host", "tcp://127.0.0.1", "--port", "0", *common))
        wait_until(file.exists)
        worker = ("worker", "--nthreads", "1", "--no-nanny", *common)
        workers = [stack.enter_context(started(*worker)) for _ in range(2)]
        address = json.loads(file.read_text())["address"]
        assert address.startswith("tcp://")
        with subprocess.Popen(
            command(ortho, out, "--scheduler", address), stderr=subprocess.PIPE, text=True, env=ONE_THREAD
        ) as process:
            wait_until(lambda: len([*(out / "blocks").glob("r*")]) >= 2 or process.poll() is not None)
            workers[0].send_signal(signal.SIGKILL)
            at_work = process.poll() is None and not (out / "classes.tif").exists()
            error = process.communicate(timeout=900)[1]
    assert process.returncode == 0, error
    assert at_work
    assert content(out) == wanted


def test_a_scheduler_that_is_killed_ends_the_run_and_the_next_goes_on(ortho, wanted, tmp_path):
    pytest.importorskip("distributed", reason="the extra cluster is not installed")
    file, out = tmp_path / "scheduler.json", tmp_path / "run"
    with ExitStack() as stack:
        common = ("--scheduler-file", str(file), "--no-dashboard")
        scheduler = stack.enter_context(started("scheduler", "--host", "tcp://127.0.0.1", "--port", "0", *common))
        wait_until(file.exists)
        stack.enter_context(started("worker", "--nthreads", "1", "--no-nanny", *common))
        address = json.loads(file.read_text())["address"]
        with subprocess.Popen(
            command(ortho, out, "--scheduler", address), stderr=subprocess.PIPE, text=True, env=ONE_THREAD
        ) as process:
            wait_until(lambda: len([*(out / "blocks").glob("r*")]) >= 2 or process.poll() is not None)
            scheduler.kill()
            error = process.communicate(timeout=900)[1]
    assert process.returncode == 1
    assert error.strip().splitlines()[-1].startswith("geoseg: "), error
    run(ortho, out)
    assert content(out) == wanted
