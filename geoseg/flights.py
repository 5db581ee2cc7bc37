"""Several flights in turn, each in a run directory of its own. Knows no method: `job.run` does the work."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg import job
from geoseg.config import Config
from geoseg.durable import usable_name
from geoseg.errors import GeosegError, InputError
from geoseg.models.card import Segmenter
from geoseg.rundir import write_json

__all__ = ["FLIGHTS", "Flight", "flight_lines", "folder_names", "run_flights"]

FLIGHTS = "flights.json"


@dataclass(frozen=True)
class Flight:
    """How one flight ended.

    Attributes:
        ortho: The file as it was given.
        run: Its run directory.
        seconds: How long it took.
        summary: The answers; None if it failed.
        error: Why it failed, one line; None if it did not.
        exit_code: 0 done, 1 a run that could not be finished, 2 input that cannot be used.
    """

    ortho: str
    run: Path
    seconds: float
    summary: dict[str, Any] | None = None
    error: str | None = None
    exit_code: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self) | {"run": str(self.run)}


def run_flights(
    orthos: Sequence[str],
    out: Path,
    *,
    config: Config | None = None,
    model: Segmenter | None = None,
    say: Callable[[str], None] = lambda line: None,
    **options: Any,
) -> list[Flight]:
    """Run every ortho; one that fails does not stop the rest. Writes ``flights.json`` after each.

    Args:
        orthos: Raster files.
        out: Folder of the run directories, each named after its file.
        config: All parameters, for all flights.
        model: A segmenter for all flights; None loads the configured one once.
        say: Called with a line as a flight begins, and with its error if it fails.
        **options: What else `geoseg.job.run` takes.

    Raises:
        InputError: If the model cannot be loaded or `out` cannot be used; nothing has been run then.
    """
    config = config or Config()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out} cannot be used as a folder of runs: {error.strerror or error}") from error
    model = model or job.load_segmenter(config)
    flights: list[Flight] = []
    for number, (ortho, name) in enumerate(zip(orthos, folder_names(orthos), strict=True), start=1):
        say(f"geoseg: flight {number} of {len(orthos)}: {ortho}")
        started = time.perf_counter()
        ended: dict[str, Any]
        try:
            ended = {"summary": job.run(ortho, out / name, config=config, model=model, **options).summary}
        except GeosegError as error:
            ended = {"error": " ".join(str(error).split()), "exit_code": 2 if isinstance(error, InputError) else 1}
            say(f"geoseg: {ortho}: {ended['error']}")
        flights.append(Flight(ortho, out / name, round(time.perf_counter() - started, 3), **ended))
        write_json(out / FLIGHTS, [flight.to_dict() for flight in flights])
    return flights


def flight_lines(flights: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A table of flights, as `Flight.to_dict` gives them."""
    width = max((len(Path(flight["run"]).name) for flight in flights), default=0)
    yield f"{'flight':<{width}}  {'seconds':>8}  {'field ha':>9}  {'weed %':>7}  {'plants':>8}  {'litres':>8}"
    for flight in flights:
        name = f"{Path(flight['run']).name:<{width}}  {flight['seconds']:>8.1f}"
        if flight["error"] is not None:
            yield f"{name}  failed: {flight['error']}"
            continue
        summary = flight["summary"]
        weed = 100 * summary["classes"]["weed"]["share"]
        litres = summary.get("prescription", {}).get("litres")
        volume = "none" if litres is None else f"{litres:.4g}"
        plants = summary["plants"]["plants"]["kept"]
        yield f"{name}  {summary['field_ha']:>9.4g}  {weed:>7.2f}  {plants:>8}  {volume:>8}"
    failed = sum(flight["error"] is not None for flight in flights)
    yield f"{len(flights) - failed} done, {failed} failed"


def folder_names(orthos: Sequence[str]) -> Iterator[str]:
    """A folder name for each ortho: its stem, or with as many parent folders as make it unique.

    The name of a flight does not depend on which other flights run beside it, unless their stems are the same.

    Example:
        >>> list(folder_names(["a/ortho.tif", "b/ortho.tif", "c.tif", "c.tif"]))
        ['a_ortho', 'b_ortho', 'c', 'c_2']
    """
    plain = [Path(ortho).with_suffix("") for ortho in orthos]
    split = [path.parts[1:] if path.anchor else path.parts for path in plain]
    paths = [tuple(part for part in parts if part not in ("..", ".")) or ("flight",) for parts in split]
    taken: dict[str, int] = {}
    for parts in paths:
        depth = 1
        while depth < len(parts) and any(other != parts and other[-depth:] == parts[-depth:] for other in paths):
            depth += 1
        name = usable_name("_".join(parts[-depth:]))
        taken[name.casefold()] = taken.get(name.casefold(), 0) + 1
        yield name if taken[name.casefold()] == 1 else f"{name}_{taken[name.casefold()]}"
