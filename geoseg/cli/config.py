"""Commands that help to say what one means: the keys of a configuration, and completion in the shell."""

from __future__ import annotations

import json
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

from geoseg.cli.options import PATH, complete_keys, set_option
from geoseg.errors import ConfigError

__all__ = ["completion", "config"]

_COMMANDS = ("run", "adapt", "tile", "train", "evaluate", "labels")
_FOR = click.option(
    "--for", "command", type=click.Choice(_COMMANDS), help="The command that the parameters are for.  [default: run]"
)

_NO_SPACE_AFTER_EQUALS = """
_geoseg_complete() {
    _geoseg_completion "$@"
    [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace
    return 0
}
complete -o nosort -F _geoseg_complete geoseg
"""


@click.group()
def config() -> None:
    """Parameters: what they mean, a schema for editors, and whether a file can be used."""


def _complete_prefix(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return complete_keys(context.params.get("command") or "run")(context, parameter, incomplete)


@config.command()
@click.argument("prefix", default="", metavar="[KEY]", shell_complete=_complete_prefix)
@_FOR
@click.option("--config", "config_file", type=PATH, help="Show what this file sets instead of the defaults.")
@set_option("run", "spray.buffer_m=1")
def show(prefix: str, command: str | None, config_file: Path | None, overrides: tuple[str, ...]) -> None:
    """Every parameter, or those whose name begins with KEY, with its default and what it means.

    The output is YAML that can be saved, changed and given to --config.
    """
    from geoseg.config import load_as
    from geoseg.configtext import config_kind, kind_of_file, yaml_lines

    if command is None:
        command = "run" if config_file is None else kind_of_file(config_file)
    given = config_file is not None or overrides
    values = load_as(config_kind(command), config_file, overrides) if given else None
    click.echo("\n".join(yaml_lines(command, prefix, values)).strip("\n"))


@config.command()
@_FOR
@click.option("--out", "-o", type=PATH, help="Write it to this file instead.")
def schema(command: str | None, out: Path | None) -> None:
    """The JSON schema of a configuration file: editors complete keys by it and underline mistakes.

    Write it once, and begin the YAML file with a line that names it:

        # yaml-language-server: $schema=geoseg.schema.json
    """
    from geoseg.configtext import schema_for

    text = json.dumps(schema_for(command or "run"), indent=2, ensure_ascii=False)
    if out is None:
        click.echo(text)
        return
    try:
        out.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror}; choose another --out") from error
    click.echo(f"{out}; begin your YAML file with   # yaml-language-server: $schema={out.as_posix()}")


@config.command()
@click.argument("config_file", type=PATH)
@_FOR
@set_option("run", "spray.buffer_m=1")
def check(config_file: Path, command: str | None, overrides: tuple[str, ...]) -> None:
    """Whether CONFIG_FILE can be used: keys, values, and the models, machines, terminals and files that it names."""
    from geoseg.configtext import check_config

    found, _ = check_config(config_file, command, overrides)
    click.echo(f"{config_file} can be used by `geoseg {found}`")


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    r"""The script that lets SHELL complete commands, options, parameters, machines and terminals.

    \b
    bash   geoseg completion bash >> ~/.bashrc
    zsh    geoseg completion zsh >> ~/.zshrc
    fish   geoseg completion fish > ~/.config/fish/completions/geoseg.fish
    """
    found = get_completion_class(shell)
    if found is None:
        raise ConfigError(f"this version of click completes nothing in {shell}; expected bash, zsh or fish")
    complete = found(context.find_root().command, {}, "geoseg", "_GEOSEG_COMPLETE")
    script = complete.source_template % complete.source_vars()
    click.echo(script + (_NO_SPACE_AFTER_EQUALS if shell == "bash" else ""))
