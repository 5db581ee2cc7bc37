"""Options that several commands share, and what a shell offers when Tab is pressed. Imports nothing heavy."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from geoseg.errors import ConfigError

if TYPE_CHECKING:
    from geoseg.config import Config
    from geoseg.ortho import OrthoConfig

__all__ = [
    "PAIRS",
    "PATH",
    "complete_files",
    "complete_keys",
    "complete_machines",
    "complete_models",
    "complete_profiles",
    "config_options",
    "image_config",
    "keep_inputs",
    "ortho_options",
    "set_option",
]

PATH = click.Path(path_type=Path)
PAIRS: dict[str, Any] = {"multiple": True, "metavar": "KEY=VALUE"}
"""What an option is that takes settings."""
_Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def complete_files(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Files, for arguments that may also be addresses."""
    return [CompletionItem(incomplete, type="file")]


def complete_models(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Shipped models, else folders."""
    shipped = (path.parent.name for path in (Path(__file__).parents[1] / "models").glob("*/card.json"))
    return _beginning(shipped, incomplete) or [CompletionItem(incomplete, type="dir")]


def complete_machines(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Shipped machines, else files."""
    from geoseg.spray.machine import machine_names

    return _beginning(machine_names(), incomplete) or [CompletionItem(incomplete, type="file")]


def complete_profiles(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Terminals, with their titles where the shell shows them."""
    from geoseg.export.profiles import profile_names, read_profile

    found = _beginning(profile_names(), incomplete)
    return [CompletionItem(item.value, help=read_profile(item.value).title) for item in found]


def complete_keys(command: str) -> _Completer:
    """Keys of the configuration of `command`, up to the ``=``."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from geoseg.configkeys import keys_of
        from geoseg.configtext import config_kind

        keys = [key for key in keys_of(config_kind(command)) if key.name.startswith(incomplete)]
        end = "" if parameter.name == "prefix" else "="
        return [CompletionItem(f"{key.name}{end}", help=key.note.partition(";")[0]) for key in keys]

    return complete


def _beginning(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]


def set_option(command: str, example: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option ``--set`` of a command, handed to it as `overrides`."""
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        shell_complete=complete_keys(command),
        help=f"One parameter, e.g. {example}; `geoseg config show{'' if command == 'run' else f' --for {command}'}` "
        "lists them.",
    )


def image_config(overrides: Sequence[str], crs: str | None, gsd_m: float | None) -> OrthoConfig:
    """How to read an image: overrides that start with ``ortho.``, and what the options ``--crs`` and ``--gsd`` say.

    Raises:
        ConfigError: If an override is of something else.
    """
    from geoseg.config import load_as
    from geoseg.ortho import OrthoConfig

    other = [one for one in overrides if not one.startswith("ortho.")]
    if other:
        raise ConfigError(f"--set {other[0]}: expected something of the image, such as ortho.value_max=4095")
    config = load_as(OrthoConfig, None, [one.removeprefix("ortho.") for one in overrides])
    return _as_said(config, crs=crs, gsd_m=gsd_m)


def _as_said(config: OrthoConfig, **said: Any) -> OrthoConfig:
    """How to read an image, with what was said in options; None says nothing."""
    from dataclasses import replace

    return replace(config, **{name: value for name, value in said.items() if value is not None})


def keep_inputs(out: Path, *inputs: Path | None) -> None:
    """Refuse to write over what is read.

    Args:
        out: What will be written.
        inputs: Files that are read, and folders of them.

    Raises:
        ConfigError: If the output is one of the inputs, or a file that is in one of them.
    """
    if not out.exists():
        return
    for one in inputs:
        if one is not None and one.exists() and (out.samefile(one) or one.resolve() in out.resolve().parents):
            raise ConfigError(f"--out {out} is one of the files that are read; choose another name")


def config_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that make a `Config`, handed to the command as `config`."""

    @click.option("--config", "config_file", type=PATH, help="YAML file of parameters; see configs/.")
    @click.option(
        "--model", "-m", shell_complete=complete_models, help="Name of a shipped model, or a model directory."
    )
    @set_option("run", "spray.buffer_m=1")
    @functools.wraps(command)
    def wrapped(config_file: Path | None, model: str | None, overrides: tuple[str, ...], **options: Any) -> Any:
        from geoseg.config import load_config

        extra = [f"model={json.dumps(model)}"] if model else []
        return command(config=load_config(config_file, [*extra, *overrides]), **options)

    return wrapped


def ortho_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What a person may have to say about an ortho, folded into `config`."""

    @click.option("--boundary", "-b", type=PATH, help="Polygon file of the field (GPKG, shapefile, GeoJSON).")
    @click.option("--crs", help="CRS of an ortho that has none, e.g. EPSG:32632.")
    @click.option("--gsd", type=float, help="Metres per pixel of an ortho that has no georeference.")
    @click.option("--force", is_flag=True, help="Go on although the resolution does not fit the model.")
    @functools.wraps(command)
    def wrapped(crs: str | None, gsd: float | None, force: bool, config: Config, **options: Any) -> Any:
        from dataclasses import replace

        ortho = _as_said(config.ortho, crs=crs, gsd_m=gsd, force=force or None)
        return command(config=replace(config, ortho=ortho), **options)

    return wrapped
