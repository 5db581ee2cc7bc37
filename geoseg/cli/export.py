"""Commands about prescription files: check any, write more of them, list the terminals. Heavy imports come late."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.options import PATH, complete_profiles

if TYPE_CHECKING:
    from geoseg.export.profiles import Profile

__all__ = ["export"]


@click.group()
def export() -> None:
    """Prescription files: check any, write more of them, list the terminals."""


@export.command()
@click.argument("path", type=PATH)
@click.option(
    "--profile",
    "-p",
    shell_complete=complete_profiles,
    help="Terminal whose limits must hold; see `geoseg export profiles`.",
)
@click.option("--run", "run_directory", type=PATH, help="Also compare with the prescription of this run directory.")
@click.option("--boundary", "-b", type=PATH, help="Also compare with this polygon file of the field.")
@click.option("--rate-column", help="Column with the rates, where its name does not say so.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_context
def check(
    context: click.Context,
    path: Path,
    profile: str | None,
    run_directory: Path | None,
    boundary: Path | None,
    rate_column: str | None,
    as_json: bool,
) -> None:
    """Read the prescription at PATH (file, zip or folder), ours or another's, and say what is in it and what is wrong.

    Exit code 0: nothing is wrong; 1: something is; 2: there is nothing that can be read.
    """
    from geoseg.export import check as check_files

    report = check_files(
        path,
        None if run_directory is None else _plan_in(run_directory, profile),
        None if boundary is None else _field_in(boundary),
        rate_column=rate_column,
        strict=False,
        profile=profile,
    )
    click.echo(json.dumps(report.to_dict(), indent=2, default=str) if as_json else "\n".join(report.lines()))
    context.exit(0 if report.ok else 1)


def _field_in(path: Path) -> Any:
    """The field in a polygon file, in the file's own CRS."""
    import geopandas as gpd
    import pyogrio
    import pyproj
    from pyogrio.errors import DataLayerError, DataSourceError

    from geoseg.ortho.boundary import read_boundary

    try:
        crs = pyproj.CRS(pyogrio.read_info(path)["crs"] or 4326)
    except (DataSourceError, DataLayerError, pyproj.exceptions.CRSError):
        crs = pyproj.CRS(4326)
    return gpd.GeoSeries([read_boundary(path, crs)], crs=crs)


def _plan_in(run_directory: Path, profile: str | None) -> Any:
    """The plan of a run, as it has to be for a terminal."""
    from geoseg.export.profiles import read_profile
    from geoseg.export.writing import fitted_plan
    from geoseg.stages.exports import open_finished, stored_plan

    with open_finished(run_directory) as directory:
        plan = stored_plan(directory)
    return plan if profile is None else fitted_plan(plan, read_profile(profile))


@export.command()
@click.argument("run_directory", type=PATH)
@click.option(
    "--profile",
    "-p",
    "profiles",
    multiple=True,
    required=True,
    shell_complete=complete_profiles,
    help="Terminal; may be given several times.",
)
@click.option("--out", "-o", type=PATH, help="Folder for the files.  [default: RUN_DIRECTORY/prescription]")
@click.option("--name", default="SPRAY", show_default=True, help="Base name: ASCII capitals, digits and _.")
@click.option("--json", "as_json", is_flag=True, help="Print checks and losses as JSON.")
def write(run_directory: Path, profiles: tuple[str, ...], out: Path | None, name: str, as_json: bool) -> None:
    """Write the prescription of RUN_DIRECTORY for further terminals and read it back; nothing is computed anew."""
    from geoseg.stages.exports import export_further

    found = export_further(run_directory, profiles, out, name)
    if as_json:
        click.echo(json.dumps(found, indent=2, default=str))
        return
    for profile, facts in found.items():
        click.echo(f"{profile}: {facts['folder']}, read back as planned; see README.txt there")
        for line in facts.get("loss", {}).get("lines", ()):
            click.echo(f"warning: {profile}: {line}", err=True)


@export.command("profiles")
@click.argument("name", required=False, shell_complete=complete_profiles)
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def list_profiles(name: str | None, as_json: bool) -> None:
    """The terminals there are files for, or all that is known about the terminal NAME."""
    from geoseg.export.profiles import profile_names, read_profile

    found = [read_profile(one) for one in ([name] if name else profile_names())]
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(one) for one in found], indent=2))
    elif name:
        click.echo("\n".join(_profile_lines(found[0])))
    else:
        for one in found:
            click.echo(f"{one.name:<16} {one.format:<10} {one.title}{' (EXPERIMENTAL)' if one.experimental else ''}")


def _profile_lines(profile: Profile) -> Iterator[str]:
    from geoseg.export.profiles import EVIDENCE, LIMITS

    yield f"{profile.name}: {profile.title}"
    if profile.experimental:
        yield f"  EXPERIMENTAL: {profile.experimental}"
    yield f"  format     {profile.format}"
    yield f"  folders    {', '.join(place or '(root)' for place in profile.folders)}"
    for column in profile.columns:
        yield f"  column     {column.name}: {column.kind}{f' in {column.unit}' if column.unit else ''}"
    for key, limit in profile.limits.items():
        most = "none" if limit.value is None else f"at most {limit.value:,}"
        yield f"  limit      {LIMITS[key]}: {most} [{limit.evidence}: {EVIDENCE[limit.evidence]}; {limit.source}]"
    for nth, step in enumerate(profile.steps, 1):
        yield f"  load {nth}     {step}"
