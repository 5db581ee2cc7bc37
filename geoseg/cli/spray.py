"""Commands about sprayers: the machines that come with geoseg, and what they make of a map."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.options import complete_machines, set_option

if TYPE_CHECKING:
    from geoseg.spray.settings import SprayConfig

__all__ = ["machines", "simulate"]


def _numbers(_: click.Context, option: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    """Numbers with commas between them; an empty text is none, no text at all leaves the default."""
    try:
        return None if value is None else tuple(float(part) for part in value.split(",") if part.strip())
    except ValueError:
        raise click.BadParameter(f"{value!r}; expected numbers such as 0.25,0.5,1", param=option) from None


@click.command()
@click.argument("name", required=False, shell_complete=complete_machines)
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


@click.command()
@click.argument("run_directory", type=click.Path(path_type=Path))
@click.option(
    "--machine",
    shell_complete=complete_machines,
    help="Name of a shipped machine, or a machine file; see `geoseg machines`.",
)
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="YAML file instead of the run's rule.")
@set_option("run", "spray.buffer_m=1")
@click.option("--offset", "offset_m", type=float, default=0.0, help="Metres that the machine drives beside the line.")
@click.option("--thresholds", callback=_numbers, help="Weed covers of the first curve, e.g. 0,0.002,0.01; '' for none.")
@click.option("--sections", "sections_m", callback=_numbers, help="Section widths of the second curve; '' for none.")
@click.option("--json", "as_json", is_flag=True, help="Print the totals and curves as JSON.")
def simulate(
    run_directory: Path,
    machine: str | None,
    config_file: Path | None,
    overrides: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """What a machine really sprays with the map of RUN_DIRECTORY, drawn and summed in its folder simulation/.

    Machine and rule are those of the prescription, unless others are given. The curves show what another threshold or
    another width of sections would save and miss.
    """
    from geoseg.report.text import simulation_lines
    from geoseg.stages.simulate import SIMULATION, simulate_run

    spray = _spray(run_directory, machine, config_file, overrides)
    given = {key: value for key, value in options.items() if value is not None}
    facts = simulate_run(run_directory, spray=spray, **given)
    folder = run_directory / SIMULATION
    click.echo(json.dumps(facts, indent=2) if as_json else "\n".join(simulation_lines(facts, folder)))


def _spray(run: Path, machine: str | None, config_file: Path | None, overrides: tuple[str, ...]) -> SprayConfig:
    """The rule of the run or of a file, with what is given on the command line on top."""
    from geoseg.config import Config, load_config, with_overrides
    from geoseg.stages.simulate import prescribed

    if config_file is not None:
        spray = load_config(config_file, overrides).spray
    else:
        spray = with_overrides(Config(spray=prescribed(run)), overrides).spray
    return spray if machine is None else dataclasses.replace(spray, machine=machine)
