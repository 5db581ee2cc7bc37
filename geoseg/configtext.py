"""Configurations for people and editors: all keys as commented YAML, a JSON schema, and whether a file can be used.

Everything comes from the parameter classes; nothing is said here about any single key but which names exist.
"""

from __future__ import annotations

import dataclasses
import json
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from geoseg.config import Config, json_schema, load_as, load_yaml
from geoseg.configkeys import Key, headline, keys_of, nearest, sections_of
from geoseg.errors import ConfigError
from geoseg.stages.ahead import look_ahead

__all__ = ["KINDS", "check_config", "config_kind", "kind_of_file", "schema_for", "yaml_lines"]

KINDS = {
    "run": "geoseg.config:Config",
    "adapt": "geoseg.adapt.adaptation:AdaptConfig",
    "tile": "geoseg.train.tilecutting:TileConfig",
    "train": "geoseg.train.settings:TrainConfig",
    "evaluate": "geoseg.train.evaluate_settings:EvaluateConfig",
    "labels": "geoseg.train.labelfiles:LabelConfig",
}
"""Command -> the parameter class of its configuration file or its ``--set``."""

_WORD = re.compile(r"(?!(?:null|true|false|~)$)[A-Za-z/][\w./-]*")


def config_kind(command: str) -> type:
    """The parameter class of a command.

    Raises:
        ConfigError: If the command takes no configuration.
    """
    if command not in KINDS:
        raise ConfigError(f"{command!r} takes no configuration; expected one of {', '.join(KINDS)}")
    module, _, name = KINDS[command].partition(":")
    found: type = getattr(import_module(module), name)
    return found


def yaml_lines(command: str, prefix: str = "", values: Any = None) -> Iterator[str]:
    """All keys, or those of one section, as YAML that can be saved, changed and used.

    Args:
        command: A name in `KINDS`.
        prefix: A section or key such as ``spray`` or ``spray.rates.rule``, or how keys begin; empty: all.
        values: An instance whose values are shown instead of the defaults.

    Raises:
        ConfigError: If no key begins so.
    """
    kind = config_kind(command)
    keys = [key for key in keys_of(kind, values) if key.name.startswith(prefix)]
    if not keys:
        raise ConfigError(f"no key begins with {prefix!r}{_meant(kind, prefix)} `geoseg config show` lists all of them")
    open_sections: tuple[str, ...] = ()
    for key in keys:
        *sections, name = key.name.split(".")
        for depth, section in enumerate(sections):
            if tuple(sections[: depth + 1]) != open_sections[: depth + 1]:
                yield ""
                yield from _comment(headline(sections_of(kind)[".".join(sections[: depth + 1])]), depth)
                yield f"{'  ' * depth}{section}:"
        if open_sections and not sections:
            yield ""
        open_sections = tuple(sections)
        yield from _key_lines(key, name, len(sections))


def kind_of_file(path: Path) -> str:
    """The command that a configuration file is for: the one that knows most of its keys.

    Raises:
        ConfigError: If the file cannot be read.
    """
    given = set(load_yaml(path))
    known = {name: {field.name for field in dataclasses.fields(config_kind(name))} for name in KINDS}
    return max(KINDS, key=lambda name: len(given & known[name]))


def check_config(path: Path, command: str | None = None, overrides: Sequence[str] = ()) -> tuple[str, Any]:
    """Read a configuration as its command would, and look up the names in it.

    Returns:
        The command it is for, and the configuration.

    Raises:
        InputError: Naming the key and what was expected.
    """
    command = command or kind_of_file(path)
    found: Any = load_as(config_kind(command), path, overrides)
    if isinstance(found, Config):
        look_ahead(found)
    return command, found


def schema_for(command: str) -> dict[str, Any]:
    """The JSON schema of a configuration file, with the names of what comes with geoseg where they are expected."""
    schema = json_schema(config_kind(command))
    schema["title"] = f"geoseg {command}"
    for (part, key), names in _names().items():
        node = schema if part == config_kind(command).__name__ else schema.get("$defs", {}).get(part, {})
        if key in node.get("properties", {}):
            node["properties"][key] |= names()
    return schema


def _names() -> Mapping[tuple[str, str], Callable[[], dict[str, Any]]]:
    from geoseg.export.profiles import profile_names
    from geoseg.models.card import shipped_models
    from geoseg.spray.machine import machine_names

    def models() -> dict[str, Any]:
        return {"examples": [card.name for card in shipped_models()]}

    return {
        ("Config", "model"): models,
        ("AdaptConfig", "model"): models,
        ("Config", "profiles"): lambda: {"items": {"enum": list(profile_names())}},
        ("SprayConfig", "machine"): lambda: {"examples": list(machine_names())},
    }


def _meant(kind: type, name: str) -> str:
    meant = " or ".join(nearest(kind, name))
    return f"; did you mean {meant}?" if meant else ";"


def _key_lines(key: Key, name: str, depth: int) -> Iterator[str]:
    yield from _comment(f"{key.note.replace('None', 'null')} ({key.kind})", depth)
    if key.entry is not None:
        yield from _comment(f"{headline(key.entry)}", depth + 1)
        for inner in keys_of(key.entry):
            default = "required" if inner.required else f"default {_value(inner.default)}"
            yield from _comment(
                f"{inner.name}: {inner.note.replace('None', 'null')} ({inner.kind}; {default})", depth + 1
            )
    text = f"#{name}:  has to be given" if key.required else f"{name}: {_value(key.default)}"
    yield f"{'  ' * depth}{text}"


def _comment(text: str, depth: int) -> Iterator[str]:
    head = f"{'  ' * depth}# "
    yield from textwrap.wrap(text, 110, initial_indent=head, subsequent_indent=head, break_on_hyphens=False)


def _value(value: Any) -> str:
    """A value as YAML has it: plain where that cannot be misunderstood."""
    if isinstance(value, str):
        return value if _WORD.fullmatch(value) else json.dumps(value, ensure_ascii=False)
    if isinstance(value, tuple | list):
        return f"[{', '.join(_value(one) for one in value)}]"
    text = json.dumps(value, ensure_ascii=False)
    return text.replace("e", ".0e") if isinstance(value, float) and "e" in text and "." not in text else text
