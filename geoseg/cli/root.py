"""The root of the commands: errors and warnings as one line, and what holds for all of them."""

from __future__ import annotations

import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from geoseg import __version__
from geoseg.cli import adapt, check, config, evaluate, export, labels, models, plants, report, run, spray, train
from geoseg.errors import GeosegError, GeosegWarning, InputError

__all__ = ["main"]


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Geoseg's own warnings as one line, without the place in the source that Python shows."""
    usual = warnings.formatwarning

    def formatted(message: Warning | str, category: type[Warning], *place: Any, **line: Any) -> str:
        if not issubclass(category, GeosegWarning):
            return usual(message, category, *place, **line)
        return f"geoseg: warning: {' '.join(str(message).split())}\n"

    warnings.formatwarning = formatted
    try:
        yield
    finally:
        warnings.formatwarning = usual


class _Group(click.Group):
    """Shows geoseg's own errors and warnings as one line, with the exit code of the error's kind."""

    def invoke(self, context: click.Context) -> Any:
        try:
            with _plain_warnings():
                return super().invoke(context)
        except GeosegError as error:
            if context.params.get("debug"):
                raise
            click.echo(f"geoseg: {' '.join(str(error).split())}", err=True)
            context.exit(2 if isinstance(error, InputError) else 1)
        except BrokenPipeError:
            context.exit(1)
        except OSError as error:
            if context.params.get("debug"):
                raise
            file = error.filename2 or error.filename or "a file"
            remedy = "look whether the name is right and may be written to"
            if isinstance(error, PermissionError):
                remedy = "close it in QGIS and other programs, or make it writable, and run the same command again"
            click.echo(f"geoseg: {file} cannot be read or written: {error.strerror or error}; {remedy}", err=True)
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


for command in (
    run.run, run.segment, run.vectorize, run.prescribe, run.count, run.demo, train.tile, train.train, labels.labels,
    check.check, check.doctor, config.config, config.completion, spray.machines, spray.simulate, export.export,
    plants.plants, report.report, adapt.adapt, evaluate.benchmark, evaluate.evaluate, models.models,
):  # fmt: skip
    main.add_command(command)
