"""The main job and its stages: run, segment, vectorize, prescribe, count, and the demo."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.adapt import adapted
from geoseg.cli.options import PATH, complete_files, complete_machines, config_options, ortho_options
from geoseg.errors import InputError

if TYPE_CHECKING:
    from geoseg.config import Config
    from geoseg.results import Run

__all__ = ["count", "demo", "prescribe", "run", "segment", "vectorize"]


def _run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(command)
    def wrapped(
        events: Path | None,
        json_events: bool,
        profile: Path | None,
        workers: int | None,
        scheduler: str | None,
        **options: Any,
    ) -> Any:
        from dataclasses import replace

        given = {"workers": workers, "scheduler": scheduler}
        changes = {key: value for key, value in given.items() if value is not None}
        config = options["config"]
        options["config"] = replace(config, cluster=replace(config.cluster, **changes))
        with ExitStack() as stack:
            _tell(stack, events, json_events, profile)
            return command(**options)

    for option in (
        click.option("--scheduler", help="Address of a dask.distributed scheduler that does the blocks."),
        click.option("--workers", type=int, help="Worker processes on this machine that do the blocks."),
        click.option("--profile", type=PATH, help="Write a trace of the run, for ui.perfetto.dev."),
        click.option("--json-events", is_flag=True, help="Progress on stderr as JSON lines."),
        click.option("--events", type=PATH, help="Append progress to this file as JSON lines."),
        click.option(
            "--out", "-o", type=PATH, default=Path("geoseg-out"), show_default=True, help="The run directory."
        ),
        click.option("--fresh", is_flag=True, help="Discard what a former run left in the run directory."),
        click.option("--keep-blocks", is_flag=True, help="Keep the work in progress."),
        click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON."),
    ):
        wrapped = option(wrapped)
    return wrapped


def _tell(stack: ExitStack, events: Path | None, json_events: bool, profile: Path | None) -> None:
    """Attach the listeners that the options ask for, and one that says when there was nothing to do."""
    from geoseg.progress import json_lines, listen, trace

    def note(event: dict[str, Any]) -> None:
        if event["event"] == "run_finished" and not event["worked"]:
            click.echo(f"geoseg: everything is in {event['run']} already; --fresh does it again", err=True)

    if not click.get_current_context().find_root().params.get("json_events"):  # those of any command are told already
        stack.enter_context(listen(json_lines(sys.stderr) if json_events else note))
    try:
        if events is not None:
            stack.enter_context(listen(json_lines(stack.enter_context(events.open("a", encoding="utf-8")))))
        if profile is not None:
            profile.touch()
            stack.enter_context(trace(profile))
    except OSError as error:
        raise InputError(f"{error.filename} cannot be written: {error.strerror}") from error


@click.command()
@config_options
@click.argument("orthos", metavar="ORTHO...", nargs=-1, required=True, type=str, shell_complete=complete_files)
@ortho_options
@_run_options
@click.option("--adapt", "adapt_first", is_flag=True, help="First teach the model this field, from its rows.")
def run(orthos: tuple[str, ...], as_json: bool, adapt_first: bool, **options: Any) -> None:
    """From ORTHO to class map, plants, weed patches and a prescription, in one run directory.

    Killed or failed, the same command goes on where it was. Several orthos each get a folder of their own in the run
    directory; one that fails does not stop the others.
    """
    if len(orthos) > 1:
        if adapt_first:
            raise InputError(f"--adapt teaches a model one field; {len(orthos)} orthos are given, run each by itself")
        _run_flights(orthos, as_json, options)
        return
    from geoseg import job

    if adapt_first:
        options["config"] = adapted(orthos[0], options["out"], options["config"], options["boundary"])
    _print_run(job.run(orthos[0], **options), as_json)


def _run_flights(orthos: tuple[str, ...], as_json: bool, options: dict[str, Any]) -> None:
    from geoseg.flights import flight_lines, run_flights

    flights = run_flights(orthos, options.pop("out"), say=lambda line: click.echo(line, err=True), **options)
    rows = [flight.to_dict() for flight in flights]
    click.echo(json.dumps(rows, indent=2) if as_json else "\n".join(flight_lines(rows)))
    if all(flight.exit_code == 2 for flight in flights):
        raise click.exceptions.Exit(2)
    if any(flight.exit_code for flight in flights):
        raise click.exceptions.Exit(1)


@click.command()
@config_options
@click.argument("ortho", type=str, shell_complete=complete_files)
@ortho_options
@_run_options
def segment(as_json: bool, **options: Any) -> None:
    """The first stage alone: ORTHO to classes.tif and confidence.tif."""
    from geoseg import job

    _print_run(job.segment(**options), as_json)


@click.command()
@click.argument("run_directory", type=PATH)
@config_options
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def vectorize(run_directory: Path, config: Config, as_json: bool) -> None:
    """Plants and weed patches of RUN_DIRECTORY, from its classes.tif to its field.gpkg."""
    from geoseg import job

    _print_run(job.vectorize(run_directory, config=config), as_json)


@click.command()
@click.argument("run_directory", type=PATH)
@config_options
@click.option(
    "--machine",
    shell_complete=complete_machines,
    help="Name of a shipped machine, or a machine file; see `geoseg machines`.",
)
@click.option("--heading", type=float, help="Driving direction, degrees clockwise from north.")
@click.option("--ab-line", type=str, help="File with the AB line (GPKG, shapefile, GeoJSON, KML, TASKDATA.XML).")
@click.option("--exclude", type=str, help="Polygon file of ground that is never sprayed.")
@click.option("--rate", type=float, help="Full rate in litres per hectare.")
@click.option("--section", type=float, help="Width of a section or nozzle in metres.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def prescribe(run_directory: Path, config: Config, as_json: bool, **machine: float | str | None) -> None:
    """The prescription of RUN_DIRECTORY, with another machine or rule than the first time if you like."""
    from dataclasses import replace

    from geoseg import job

    names = {"heading": "heading_deg", "rate": "rate_l_ha", "section": "section_m", "exclude": "exclusions"}
    changes: dict[str, Any] = {names.get(key, key): value for key, value in machine.items() if value is not None}
    config = replace(config, spray=replace(config.spray, **changes))
    _print_run(job.prescribe(run_directory, config=config), as_json)


@click.command()
@click.argument("run_directory", type=PATH)
@click.option("--plots", type=PATH, help="Polygon file of plots; named by its column plot_id, plot, id or name.")
@click.option("--grid", "grid_m", type=float, help="Also count in square cells of this side, metres.")
@click.option("--theoretical-spacing", "theoretical_m", type=float, help="Spacing meant in the row, metres.")
@click.option("--seeds-per-ha", type=float, help="Seeds sown per hectare, for the emergence.")
@click.option("--json", "as_json", is_flag=True, help="Print the stand as JSON.")
def count(run_directory: Path, as_json: bool, **options: Any) -> None:
    """Stand, spacing and gaps of RUN_DIRECTORY, printed and written to stand.csv, rows.csv and plots.csv in it."""
    from geoseg.export.standfiles import count as count_stand
    from geoseg.report.text import stand_lines

    facts = count_stand(run_directory, **options)
    click.echo(json.dumps(facts, indent=2) if as_json else "\n".join(stand_lines(facts)))


@click.command()
@click.option("--out", "-o", type=PATH, default=Path("geoseg-demo"), show_default=True, help="The run directory.")
def demo(out: Path) -> None:
    """A rendered field with known truth through the main job, offline; about a minute on two cores."""
    from geoseg.demo import run_demo

    for line in run_demo(out):
        click.echo(line)


def _print_run(result: Run, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(result.summary, indent=2))
        return
    from geoseg.report.text import summary_lines

    for line in summary_lines(result.summary, result.path):
        click.echo(line)
