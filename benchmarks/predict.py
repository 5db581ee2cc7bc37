"""Ortho to class raster: geoseg against the bare network, a simple loop, and torchgeo, geoai and terratorch.

    python benchmarks/predict.py ORTHO --peers PYTHON [PYTHON ...]

Every arm is a process of its own that has loaded the same weights before the clock starts; rounds go through all arms
in turn, and ratios are taken within a round. Peers run at their own default settings in 32 bits, in the first of the
interpreters that has them; one that is found nowhere is left out and said so. `--crop` keeps a round short; `--arms`
chooses; `--apart` lets one process at a time hold memory, for a whole field. See arms.py for what each arm does.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from crop import cropped

HERE = Path(__file__).resolve().parent
PEERS = {"torchgeo": "torchgeo", "geoai": "geoai", "geoai-semantic": "geoai", "terratorch": "terratorch"}
OWN = ("torch", "simple", "simple-channels-last")


class Process:
    """An arm that waits to be told."""

    def __init__(self, name: str, python: str, ortho: Path, model: str) -> None:
        self.name = name
        command = [python, str(HERE / "arms.py"), name, str(ortho), model]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._process.stderr = None if self._process.stderr is None else _drain(self._process.stderr)

    def answer(self) -> dict[str, Any]:
        """The next line that it says."""
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            raise EOFError(f"{self.name} ended with {status}: {''.join(self._process.stderr)[-300:]}")
        return json.loads(line)

    def run(self) -> dict[str, Any]:
        """Do the work once."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self.answer()

    def close(self) -> None:
        """End it."""
        self._process.stdin.close()
        self._process.wait()


def _drain(stream: Any) -> Any:
    """The last lines of a stream, which is read so that it never fills."""
    import threading
    from collections import deque

    kept: deque[str] = deque(maxlen=20)
    threading.Thread(target=lambda: kept.extend(stream), daemon=True).start()
    return kept


def has(python: str, module: str) -> bool:
    """Whether an interpreter finds a module."""
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    return subprocess.run([python, "-c", code], check=False, stderr=subprocess.DEVNULL).returncode == 0


def chosen(arguments: argparse.Namespace) -> list[tuple[str, str]]:
    """Names of the arms that can run, with their interpreters."""
    kinds = ("bare", "geoseg", "geoseg-run") if arguments.all_stages else ("bare", "geoseg")
    wanted = [f"{kind}:{backend}" for backend in arguments.backends for kind in kinds]
    wanted += [*OWN, *PEERS] if arguments.peers else OWN
    wanted = arguments.arms or wanted
    arms = []
    for name in wanted:
        if name not in PEERS:
            arms.append((name, sys.executable))
        elif (python := next((one for one in arguments.peers if has(one, PEERS[name])), None)) is None:
            print(f"{name} is left out: none of {len(arguments.peers)} interpreters has it")
        else:
            arms.append((name, python))
    return arms


def table(rounds: dict[str, list[dict[str, Any]]], megapixels: float, bares: dict[str, str]) -> None:
    """Print medians [least-most]; speeds in million pixels per second, ratios within a round."""
    print("\n| arm | s | Mpx/s | forwarded Mpx/s | of its bare | forwarded / output | in the network | peak MiB |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, found in rounds.items():
        is_bare = name.startswith("bare") or name == "torch"
        seconds = [one["seconds"] for one in found]
        forwarded = [one["pixels"] / 1e6 / one.get("loop_s", one["seconds"]) for one in found]
        cells = [spread(seconds, 2)]
        if is_bare:
            cells += ["", spread(forwarded, 3), "1", "", ""]
        else:
            speed = [megapixels / one for one in seconds]
            bare = rounds.get(bares.get(name, ""))
            ratio = "" if bare is None else spread([a / speed_of(b) for a, b in zip(speed, bare, strict=True)], 3)
            cells += [spread(speed, 3), spread(forwarded, 3), ratio, f"{found[0]['pixels'] / 1e6 / megapixels:.2f}"]
            cells += [f"{statistics.median(one['forward_s'] / one['seconds'] for one in found):.0%}"]
        print(f"| {name} | {' | '.join(cells)} | {max(one['peak_mib'] for one in found)} |")


def speed_of(bare: dict[str, Any]) -> float:
    """Million pixels per second of a bare forward pass."""
    return bare["pixels"] / 1e6 / bare["seconds"]


def ratios(rounds: dict[str, list[dict[str, Any]]], backends: list[str]) -> None:
    """Print what is claimed: the loop against bare, end to end against bare, all stages, and against the peers."""
    for backend in backends:
        bare, one, everything = (rounds.get(f"{kind}:{backend}") for kind in ("bare", "geoseg", "geoseg-run"))
        if one is None:
            continue
        if bare is not None:
            loop = [a["pixels"] / 1e6 / a["loop_s"] / speed_of(b) for a, b in zip(one, bare, strict=True)]
            print(f"{backend}: forwarded pixels per second of the loop / bare  {spread(loop, 3)}")
            rasters = [a["pixels"] / 1e6 / a["stages"]["segment"] / speed_of(b) for a, b in zip(one, bare, strict=True)]
            times = [a["stages"]["segment"] for a in one]
            print(f"{backend}: ortho to COGs {spread(times, 2)} s, forwarded Mpx/s / bare {spread(rasters, 3)}")
        if everything is not None:
            added = [sum(a["stages"].values()) / a["stages"]["segment"] - 1 for a in everything]
            print(f"{backend}: all stages together add  {spread([100 * value for value in added], 1)} %")
            names = [name for name in everything[0]["stages"] if name != "segment"]
            print("   ", {name: spread([a["stages"][name] for a in everything], 2) for name in names})
        peers = [name for name in (*OWN[1:], *PEERS) if name in rounds]
        for name in peers:
            times = [b["seconds"] / a["seconds"] for a, b in zip(one, rounds[name], strict=True)]
            print(f"{backend}: faster than {name:<20} {spread(times, 2)} times")


def spread(values: list[float], digits: int) -> str:
    """The median, and the least and the most."""
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f}-{max(values):.{digits}f}]"


def started(name: str, python: str, ortho: Path, model: str) -> Process | None:
    """An arm that has loaded everything; None, and why, if it could not."""
    process = Process(name, python, ortho, model)
    try:
        print(f"{name}: {json.dumps(process.answer())}", flush=True)
    except EOFError as error:
        print(f"{name} is left out: {error}", flush=True)
        return None
    return process


def together(arguments: argparse.Namespace, ortho: Path) -> dict[str, list[dict[str, Any]]]:
    """Rounds of arms that are all loaded before the first."""
    found = (started(name, python, ortho, arguments.model) for name, python in chosen(arguments))
    processes = [process for process in found if process is not None]
    if arguments.wait:
        input()
    rounds: dict[str, list[dict[str, Any]]] = {process.name: [] for process in processes}
    for number in range(arguments.rounds):
        began = time.perf_counter()
        for process in processes:
            rounds[process.name].append(process.run())
        print(f"round {number + 1}: {time.perf_counter() - began:.0f} s", flush=True)
    for process in processes:
        process.close()
    return rounds


def apart(arguments: argparse.Namespace, ortho: Path) -> dict[str, list[dict[str, Any]]]:
    """Rounds of arms that load when it is their turn and end after it; one that fails is left out from then on."""
    arms = chosen(arguments)
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name, _ in arms}
    for _ in range(arguments.rounds):
        for name, python in arms:
            process = started(name, python, ortho, arguments.model) if name in rounds else None
            if process is None:
                rounds.pop(name, None)
                continue
            try:
                rounds[name].append(process.run())
                print(f"{name}: {rounds[name][-1]['seconds']:.1f} s", flush=True)
            except EOFError as error:
                print(f"{name} is left out: {error}", flush=True)
                del rounds[name]
            else:
                process.close()
    return rounds


def main() -> None:
    """Start the arms, run the rounds, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ortho", type=Path)
    parser.add_argument("--peers", nargs="+", metavar="PYTHON", default=[], help="interpreters that have the peers")
    parser.add_argument("--crop", nargs=2, type=int, metavar=("HEIGHT", "WIDTH"), help="only the middle of the ortho")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backends", nargs="+", default=["openvino-int8", "openvino-bf16", "openvino-f32"])
    parser.add_argument("--model", default="default")
    parser.add_argument("--all-stages", action="store_true", help="also all stages of geoseg run")
    parser.add_argument("--arms", nargs="+", help="only these")
    parser.add_argument("--wait", action="store_true", help="wait for a line on stdin when all arms are loaded")
    parser.add_argument("--apart", action="store_true", help="one process at a time: for orthos that fill the memory")
    parser.add_argument("--record", type=Path, metavar="JSON", help="keep what was measured")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ortho = arguments.ortho.resolve()
        if arguments.crop:
            ortho = cropped(ortho, *arguments.crop, Path(folder))
        measure(arguments, ortho)


def measure(arguments: argparse.Namespace, ortho: Path) -> None:
    """All rounds on one file."""
    import rasterio

    with rasterio.open(ortho) as raster:
        megapixels = raster.width * raster.height / 1e6
    print(f"{platform.processor() or platform.machine()}, {megapixels:.2f} Mpx, {arguments.rounds} rounds", flush=True)
    rounds = (apart if arguments.apart else together)(arguments, ortho)
    if arguments.record:
        arguments.record.write_text(json.dumps({"megapixels": megapixels, "rounds": rounds}))
    torch_arms = dict.fromkeys((*OWN[1:], *PEERS), "torch")
    own = {f"{kind}:{one}": f"bare:{one}" for one in arguments.backends for kind in ("geoseg", "geoseg-run")}
    table(rounds, megapixels, torch_arms | own)
    ratios(rounds, arguments.backends)


if __name__ == "__main__":
    main()
