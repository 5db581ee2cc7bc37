"""The command line: thin commands over the functions of the package. Imports nothing heavy until a command runs.

Exit codes: 0 done; 1 a run that could not be finished; 2 input or options that cannot be used.
"""

from __future__ import annotations

import functools
import json
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg import (
    __version__,
    cli_adapt,
    cli_check,
    cli_config,
    cli_export,
    cli_models,
    cli_plants,
    cli_report,
    cli_spray,
)
from geoseg.cli_options import (
    PATH,
    complete_files,
    complete_machines,
    complete_models,
    config_options,
    ortho_options,
    set_option,
)
from geoseg.errors import GeosegError, InputError

if TYPE_CHECKING:
    from geoseg.config import Config
    from geoseg.results import Run

__all__ = ["main"]


class _Group(click.Group):
    """Shows geoseg's own errors as one line, with the exit code of their kind."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except GeosegError as error:
            if context.params.get("debug"):
                raise
            click.echo(f"geoseg: {' '.join(str(error).split())}", err=True)
            context.exit(2 if isinstance(error, InputError) else 1)
        except BrokenPipeError:
            context.exit(1)
        except PermissionError as error:
            if context.params.get("debug"):
                raise
            file = error.filename2 or error.filename or "a file"
            remedy = "close it in QGIS and other programs, or make it writable, and run the same command again"
            click.echo(f"geoseg: {file} cannot be written: {error.strerror}; {remedy}", err=True)
            context.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="geoseg")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option("--json-events", is_flag=True, help="Progress of any command on stderr as JSON lines.")
@click.pass_context
def main(context: click.Context, debug: bool, json_events: bool) -> None:  # noqa: ARG001 - the group reads debug
    """Turn drone flights over crop fields into sprayer maps.

    Start with `geoseg demo`, then `geoseg run ORTHO`.
    """
    if json_events:
        from geoseg.progress import json_lines, listen

        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
            # A program that listens stops us in this way, however it was started itself: jobs in the background of a
            # shell script ignore the signal, and so do their children.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        context.with_resource(listen(json_lines(sys.stderr)))


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


@main.command()
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
        options["config"] = cli_adapt.adapted(orthos[0], options["out"], options["config"], options["boundary"])
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


@main.command()
@config_options
@click.argument("ortho", type=str, shell_complete=complete_files)
@ortho_options
@_run_options
def segment(as_json: bool, **options: Any) -> None:
    """The first stage alone: ORTHO to classes.tif and confidence.tif."""
    from geoseg import job

    _print_run(job.segment(**options), as_json)


@main.command()
@click.argument("run_directory", type=PATH)
@config_options
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def vectorize(run_directory: Path, config: Config, as_json: bool) -> None:
    """Plants and weed patches of RUN_DIRECTORY, from its classes.tif to its field.gpkg."""
    from geoseg import job

    _print_run(job.vectorize(run_directory, config=config), as_json)


@main.command()
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


@main.command()
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


@main.command()
@click.argument("config_file", type=PATH)
@click.option("--out", "-o", type=PATH, required=True, help="The tile set to make.")
@set_option("tile", "tile_px=512")
def tile(config_file: Path, out: Path, overrides: tuple[str, ...]) -> None:
    """Cut labelled imagery into a tile set for training, as CONFIG_FILE says."""
    from geoseg.config import load_as
    from geoseg.train.tilecutting import TileConfig, make_tiles

    count = make_tiles(load_as(TileConfig, config_file, overrides), out)
    click.echo(f"{count} tiles in {out}")


@main.command()
@click.argument("config_file", type=PATH)
@click.option("--out", "-o", type=PATH, required=True, help="The model directory to make.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Where to train.  [default: auto]")
@set_option("train", "steps=400")
def train(config_file: Path, out: Path, device: str | None, overrides: tuple[str, ...]) -> None:
    """Train a model on tile sets, as CONFIG_FILE says."""
    from geoseg.config import load_as
    from geoseg.report.text import card_lines
    from geoseg.train.fit import TrainConfig, fit

    given = overrides if device is None else (*overrides, f"device={device}")
    card = fit(load_as(TrainConfig, config_file, given), out)
    click.echo("\n".join(card_lines(card.model_dump(mode="json"))))
    click.echo(f"use it with   geoseg run ORTHO --model {out}")


@main.group()
def labels() -> None:
    """Labels for training: check them, and bring them from one format into another."""


def _label_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How to understand label files and the image, handed to the command as `label` and `image`."""

    @set_option("labels", "column=species or radius_m=0.03")
    @click.option("--crs", help="CRS of an ortho that has none, e.g. EPSG:32632.")
    @click.option("--gsd", type=float, help="Metres per pixel of an ortho that has no georeference.")
    @functools.wraps(command)
    def wrapped(overrides: tuple[str, ...], crs: str | None, gsd: float | None, **options: Any) -> Any:
        from geoseg.config import load_as
        from geoseg.ortho import OrthoConfig
        from geoseg.train.labelfiles import LabelConfig

        label = load_as(LabelConfig, None, overrides)
        return command(label=label, image=OrthoConfig(crs=crs, gsd_m=gsd), **options)

    return wrapped


@labels.command("check")
@click.argument("ortho", type=PATH)
@click.argument("labels", type=PATH)
@click.option("--out", "-o", type=PATH, default=Path("suspicious.gpkg"), show_default=True, help="The layer to write.")
@click.option("--model", "-m", shell_complete=complete_models, help="Also tell where this model disagrees and is sure.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
@_label_options
def labels_check(ortho: Path, labels: Path, out: Path, model: str | None, as_json: bool, **how: Any) -> None:
    """What may be wrong with LABELS of ORTHO, as a layer for QGIS, the most suspicious first."""
    from geoseg.export.labels import write_suspicious
    from geoseg.train.labelcheck import check_labels, count_kinds

    findings = check_labels(ortho, labels, model=model, **how)
    write_suspicious(findings, out)
    counts = count_kinds(findings)
    lines = [f"{count:6d}  {kind}" for kind, count in counts.items()]
    click.echo(json.dumps(counts, indent=2) if as_json else "\n".join([*lines, f"look at them in {out}"]))


@labels.command("convert")
@click.argument("labels", type=PATH)
@click.option("--ortho", type=PATH, required=True, help="The image that they belong to.")
@click.option(
    "--out", "-o", type=PATH, required=True, help="x.tif, x.gpkg, x.geojson, x.json (COCO) or a folder (YOLO)."
)
@click.option("--tile-px", type=click.IntRange(16), help="COCO and YOLO: cut the image into tiles of this side.")
@_label_options
def labels_convert(labels: Path, ortho: Path, out: Path, tile_px: int | None, **how: Any) -> None:
    """LABELS, or the classes of a run directory, in another format."""
    from geoseg.export.labels import write_any
    from geoseg.train.labels import convert_grid, open_labels, write_labels

    with open_labels(labels, convert_grid(ortho, how["image"]), how["label"]) as opened:
        if out.suffix == ".tif":
            counts = write_labels(opened, out)
            click.echo(", ".join(f"{name} {count} px" for name, count in counts.items()))
        else:
            click.echo(f"{write_any(opened, out, ortho, tile_px)} labels in {out}")


main.add_command(cli_check.check)
main.add_command(cli_check.doctor)
main.add_command(cli_config.config)
main.add_command(cli_config.completion)
main.add_command(cli_spray.machines)
main.add_command(cli_spray.simulate)
main.add_command(cli_export.export)
main.add_command(cli_plants.plants)
main.add_command(cli_report.report)
main.add_command(cli_adapt.adapt)
main.add_command(cli_models.benchmark)
main.add_command(cli_models.evaluate)
main.add_command(cli_models.models)


@main.command()
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


if __name__ == "__main__":
    sys.exit(main())
