"""Commands about sprayers: the machines that come with geoseg."""

from __future__ import annotations

import dataclasses
import json

import click

__all__ = ["machines"]


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the machines as JSON.")
def machines(name: str | None, as_json: bool) -> None:
    """The machines that come with geoseg, or all of the machine NAME (a name or a file)."""
    from geoseg.report.text import machine_lines
    from geoseg.spray.machine import machine_names, read_machine

    found = {key: read_machine(key) for key in ([name] if name else machine_names())}
    if as_json:
        click.echo(json.dumps({key: dataclasses.asdict(one) for key, one in found.items()}, indent=2))
        return
    for key, machine in found.items():
        click.echo("\n".join(machine_lines(key, machine, full=name is not None)))
