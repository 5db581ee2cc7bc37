"""Runs of a small field that are killed with SIGKILL; used by `test_resume`, as a process of its own.

python killed.py ORTHO FOLDER replaces N    kill before or after every N-th file that takes its place, one run each
python killed.py ORTHO FOLDER random N      kill N times at random moments, in one run directory until it is whole

Every killed run is finished by an undisturbed one. Prints one JSON line per kill. Processes are forked after the
imports, so that the time of a kill falls into the work.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from geoseg import job
from geoseg.config import load_config
from test_job import CONFIG, ColourSegmenter

RUN = "run"


def main() -> None:
    ortho, folder, mode = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    started = time.perf_counter()
    finish(ortho, folder / "undisturbed" / RUN)
    seconds = time.perf_counter() - started
    if mode == "replaces":
        step = 1
        while kill_at_step(ortho, folder / f"step{step}" / RUN, step):
            step += int(sys.argv[4])
    else:
        kill_at_random(ortho, folder / "random" / RUN, int(sys.argv[4]), seconds)


def child(ortho: Path, out: Path, prepare=lambda: None) -> int:
    """Fork a run; the number of its process."""
    process = os.fork()
    if process == 0:
        prepare()
        out.parent.mkdir(parents=True, exist_ok=True)
        job.run(ortho, out, config=load_config(None, CONFIG), model=ColourSegmenter())
        os._exit(0)
    return process


def killed(process: int) -> bool:
    """Wait for a run; whether it was killed."""
    _, status = os.waitpid(process, 0)
    if os.WIFSIGNALED(status):
        return True
    if status != 0:
        raise SystemExit(f"a run ended with {status}")
    return False


def finish(ortho: Path, out: Path) -> None:
    killed(child(ortho, out))


def report(out: Path, **facts) -> None:
    record = out / "run.json"
    stages = list(json.loads(record.read_text()).get("stages", {})) if record.exists() else []
    sys.stdout.write(json.dumps(facts | {"finished stages": stages}) + "\n")
    sys.stdout.flush()


def kill_at_step(ortho: Path, out: Path, step: int) -> bool:
    """Kill before (odd) or after (even) the n-th replacement of a file; False if there were fewer."""

    def prepare() -> None:
        seen, replace = 0, os.replace

        def counted(*args, **kwargs) -> None:
            nonlocal seen
            for now in (True, False):
                seen += 1
                if seen == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                if now:
                    replace(*args, **kwargs)

        os.replace = counted

    was_killed = killed(child(ortho, out, prepare))
    if was_killed:
        report(out, step=step)
        finish(ortho, out)
    return was_killed


def kill_at_random(ortho: Path, out: Path, times: int, seconds: float) -> None:
    """Kill N times; when the run is whole before that, it begins again in an empty folder."""
    chance, done, rounds = random.Random(7), 0, 1
    while done < times:
        process = child(ortho, out)
        delay = chance.uniform(0, 0.6 * seconds)
        time.sleep(delay)
        os.kill(process, signal.SIGKILL)
        if killed(process):
            done += 1
            report(out, delay=round(delay, 3))
        else:
            rounds += 1
            out = out.parent.with_name(f"random{rounds}") / RUN
    finish(ortho, out)


if __name__ == "__main__":
    main()
