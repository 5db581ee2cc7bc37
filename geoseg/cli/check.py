"""Commands that look before anything is done: at an ortho, and at this machine."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from geoseg.cli.options import complete_files, config_options, ortho_options

if TYPE_CHECKING:
    from geoseg.config import Config

__all__ = ["check", "doctor"]

_COLOURS = {"ok": "green", "note": "cyan", "warning": "yellow", "error": "red"}


@click.command()
@config_options
@click.argument("ortho", type=str, shell_complete=complete_files)
@ortho_options
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def check(ortho: str, boundary: Path | None, config: Config, as_json: bool) -> None:
    """What ORTHO is, whether it fits the model, how good it is, and what a run needs.

    Exit code 2 if a run would stop, else 0.
    """
    from geoseg import job
    from geoseg.report.findings import preflight_lines

    found = job.check(ortho, boundary=boundary, config=config)
    report = found.to_dict()
    click.echo(json.dumps(report, indent=2) if as_json else "\n".join(preflight_lines(report, _width(), _paint)))
    if not as_json and found.level != "error":
        field = f" --boundary {boundary}" if boundary else ""
        click.echo(f"next   geoseg run {ortho}{field}")
    if found.level == "error":
        raise click.exceptions.Exit(2)


@click.command()
@click.option("--quick", is_flag=True, help="Leave out what takes seconds: the libraries are found, but not tried.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(quick: bool, as_json: bool) -> None:
    """Whether geoseg is installed well: libraries, GPU, memory, disk, GDAL and PROJ, the model; with remedies.

    Works when libraries do not load: that is what it is for. Exit code 1 if something is broken, else 0.
    """
    from dataclasses import asdict

    from geoseg.doctor import VERDICTS, examine
    from geoseg.finding import worst
    from geoseg.report.findings import finding_lines

    findings = []
    for finding in examine(quick=quick):
        findings.append(finding)
        if not as_json:
            click.echo("\n".join(finding_lines([asdict(finding)], _width(), _paint, topic_width=10)))
    level = worst(findings)
    if as_json:
        click.echo(json.dumps({"level": level, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        click.echo(f"\n{_paint(level, VERDICTS[level])}")
    if level == "error":
        raise click.exceptions.Exit(1)


def _width() -> int:
    return min(shutil.get_terminal_size((110, 24)).columns, 130) if sys.stdout.isatty() else 110


def _paint(level: str, text: str) -> str:
    return click.style(text, fg=_COLOURS[level])
