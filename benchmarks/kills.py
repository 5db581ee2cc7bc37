"""The command `geoseg run`, killed with SIGKILL again and again and started again, against a run that nobody disturbed.

    python benchmarks/kills.py ORTHO [--crop 1500 2000] [--kills 20] [--log kills.jsonl] [--workers 2]

Every kill aims at a stage, in turn, and comes at a random moment of it; several kills fall into one run directory
until that is whole, then the next directory begins. At the end every file of every directory is compared byte for byte
with those of the undisturbed run, `run.json` without its times, the report left out. Prints one line per kill and
ends with 1 if a byte differs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from crop import cropped

PATIENCE_S = 600
REPORT = ("report.html", "report.json")
"""They tell when and how long, in sentences and tables."""
MAY_DIFFER = ("seconds", "time", "started", "finished", "_s", "peak_mb", "loop", *REPORT)
"""Ends of the names of what a record says of times, memory and how much the network had to do."""


class Command:
    """One start of `geoseg run`, in a process group of its own."""

    def __init__(self, ortho: Path, out: Path, options: list[str]) -> None:
        self.events = out.parent / "events.jsonl"
        self.events.unlink(missing_ok=True)
        command = [sys.executable, "-m", "geoseg", "run", str(ortho), "--out", str(out), "--events", str(self.events)]
        self.process = subprocess.Popen(
            [*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def heard(self) -> list[dict[str, Any]]:
        """Events so far; the last line may be half written."""
        if not self.events.exists():
            return []
        return [json.loads(line) for line in self.events.read_text().split("\n")[:-1]]

    def wait_for(self, stage: str) -> bool:
        """Wait until a stage has begun to work; False if the run ended before."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if any(event["event"] == "stage_started" and event["stage"] == stage for event in self.heard()):
                return True
            if self.process.poll() is not None:
                self.finish()
                return False
            time.sleep(0.005)
        raise SystemExit(f"nothing happened for {PATIENCE_S} s")

    def kill(self) -> bool:
        """Kill it; False if it had ended."""
        self.process.kill()
        self.process.communicate()
        return self.process.returncode < 0

    def finish(self) -> None:
        """Wait for its end, which must be a good one."""
        error = self.process.communicate()[1]
        if self.process.returncode != 0:
            raise SystemExit(f"a run ended with {self.process.returncode}: {error[-2000:]}")


def durations(events: list[dict[str, Any]]) -> dict[str, float]:
    """Seconds of every stage of a run."""
    return {event["stage"]: event["seconds"] for event in events if event["event"] == "stage_finished"}


def differences(wanted: Path, found: Path) -> list[str]:
    """Files that are not the same in two run directories."""
    names = {path.relative_to(root) for root in (wanted, found) for path in root.rglob("*") if path.is_file()}
    return [str(name) for name in sorted(names) if not _same(wanted / name, found / name)]


def _same(one: Path, other: Path) -> bool:
    if one.name in (".lock", *REPORT):
        return True
    if not (one.exists() and other.exists()):
        return False
    if one.name == "run.json":
        return timeless(json.loads(one.read_text())) == timeless(json.loads(other.read_text()))
    return one.read_bytes() == other.read_bytes()


def timeless(record: Any) -> Any:
    """A record without what may differ."""
    if isinstance(record, dict):
        return {key: timeless(value) for key, value in record.items() if not key.endswith(MAY_DIFFER)}
    return [timeless(value) for value in record] if isinstance(record, list) else record


def state(out: Path) -> dict[str, Any]:
    """What a killed run has left."""
    record = out / "run.json"
    stages = list(json.loads(record.read_text()).get("stages", {})) if record.exists() else []
    blocks = len([*(out / "blocks").glob("*.block"), *(out / "blocks").glob("*.empty")])
    drafts = sorted(path.name for path in out.glob(".*") if path.name != ".lock")
    return {"finished": stages, "blocks": blocks, "drafts": drafts}


def kill_often(ortho: Path, folder: Path, options: list[str], arguments: argparse.Namespace) -> tuple[Path, list[Path]]:
    """All kills; the undisturbed run directory and the others, all whole."""
    wanted = folder / "undisturbed" / "run"
    wanted.parent.mkdir()
    first = Command(ortho, wanted, options)
    first.finish()
    lasts = durations(first.heard())
    print(f"undisturbed: {json.dumps(lasts)}", flush=True)
    chance, outs, killed = random.Random(arguments.seed), [], 0
    for number in itertools.count(1):
        out = folder / f"disturbed{number}" / "run"
        out.parent.mkdir()
        outs.append(out)
        aims = list(lasts.items())[(number - 1) % len(lasts) :]  # another stage first in every directory
        for stage, seconds in itertools.chain.from_iterable(itertools.repeat(one, 2) for one in aims):
            if killed == arguments.kills:
                break
            command = Command(ortho, out, options)
            if not command.wait_for(stage):
                break
            delay = chance.uniform(0, 1.1 * seconds)
            time.sleep(delay)
            if not command.kill():
                break
            killed += 1
            facts = {"kill": killed, "directory": number, "stage": stage, "delay_s": round(delay, 3)} | state(out)
            note(arguments.log, facts)
        Command(ortho, out, options).finish()
        if killed == arguments.kills:
            return wanted, outs
    raise AssertionError


def note(log: Path | None, facts: dict[str, Any]) -> None:
    """Print a line and keep it."""
    print(json.dumps(facts), flush=True)
    if log is not None:
        with log.open("a") as file:
            file.write(json.dumps(facts) + "\n")


def main() -> None:
    """Kill, compare, and say so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ortho", type=Path)
    parser.add_argument("--crop", nargs=2, type=int, metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    options = [word for pair in arguments.set for word in ("--set", pair)]
    options += [] if arguments.workers is None else ["--workers", str(arguments.workers)]
    with tempfile.TemporaryDirectory(dir=os.environ.get("GEOSEG_SCRATCH")) as name:
        ortho = arguments.ortho.resolve()
        if arguments.crop:
            ortho = cropped(ortho, *arguments.crop, Path(name))
        wanted, outs = kill_often(ortho, Path(name), options, arguments)
        found = {out.parent.name: differences(wanted, out) for out in outs}
        files = sum(path.is_file() for path in wanted.rglob("*"))
    note(arguments.log, {"directories": len(outs), "files": files, "differ": found})
    sys.exit(any(found.values()))


if __name__ == "__main__":
    main()
