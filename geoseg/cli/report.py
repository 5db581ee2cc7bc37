"""The command `geoseg report`: the report of a finished run, written anew."""

from __future__ import annotations

import json
from pathlib import Path

import click

__all__ = ["report"]


@click.command()
@click.argument("run_directory", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the content of the report as JSON.")
def report(run_directory: Path, as_json: bool) -> None:
    """Write report.html and report.json of RUN_DIRECTORY anew.

    `geoseg run` writes them too. Use this after `geoseg simulate`, whose curves then come into the report, or for a
    run of a former version.
    """
    from geoseg import job
    from geoseg.results import REPORT_DATA

    page = job.report(run_directory)
    if as_json:
        content = json.loads(page.with_name(REPORT_DATA).read_text(encoding="utf-8"))
        click.echo(json.dumps(content, indent=2, ensure_ascii=False))
    else:
        click.echo(f"{page}")
