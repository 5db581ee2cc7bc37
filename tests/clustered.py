"""A run on two worker processes over TCP, one of which is killed; used by `test_cluster`, as a process of its own.

python clustered.py ORTHO OUT [kill]
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

from geoseg import job
from geoseg.config import load_config
from test_job import CONFIG, ColourSegmenter


class Slow(ColourSegmenter):
    """Leaves time to be killed, and says which process was at work."""

    def __call__(self, images):
        time.sleep(0.05)
        (Path(os.environ["GEOSEG_TEST_PIDS"]) / str(os.getpid())).touch()
        return super().__call__(images)


def kill_one(pids: Path) -> None:
    """Wait until both workers have worked, then kill one."""
    while len(list(pids.iterdir())) < 2:
        time.sleep(0.01)
    victim = sorted(int(path.name) for path in pids.iterdir())[0]
    os.kill(victim, signal.SIGKILL)
    sys.stdout.write(f"killed {victim}\n")


def main() -> None:
    from distributed import LocalCluster

    ortho, out = Path(sys.argv[1]), Path(sys.argv[2])
    pids = out.parent / "pids"
    pids.mkdir()
    os.environ["GEOSEG_TEST_PIDS"] = str(pids)
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, protocol="tcp", memory_limit=0
    ) as cluster:
        if "kill" in sys.argv:
            threading.Thread(target=kill_one, args=(pids,), daemon=True).start()
        config = load_config(None, [*CONFIG, "segment.block_windows=1"])
        config = replace(config, cluster=replace(config.cluster, scheduler=cluster.scheduler_address))
        job.run(ortho, out, config=config, model=Slow())
    sys.stdout.write(f"{len(list(pids.iterdir()))} processes worked\n")


if __name__ == "__main__":
    main()
