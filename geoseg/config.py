"""One YAML file for a whole run: the parameter classes of the modules, composed. Knows no defaults of its own.

Sections stand in pipeline order and each is the frozen dataclass of its module, where every field is documented.
YAML is read by the rules of version 1.2: ``no`` is a word, ``012`` is twelve and ``1e-3`` is a number.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from geoseg.configkeys import attribute_notes, headline, nearest, sections_of
from geoseg.errors import ConfigError, InputError
from geoseg.ortho import OrthoConfig
from geoseg.segment.cluster import ClusterConfig
from geoseg.segment.plants import PlantConfig
from geoseg.segment.predict import SegmentConfig
from geoseg.segment.rows import RowConfig
from geoseg.spray.rules import SprayConfig

__all__ = ["Config", "build", "json_schema", "load_as", "load_config", "load_yaml", "to_dict", "with_overrides"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class Config:
    """Everything that a run can be told.

    Attributes:
        model: Name of a shipped model or path of a model directory.
        backend: What runs it: auto, openvino-int8, openvino-bf16, openvino-f32, torch-cpu,
            torch-cuda or torch-cuda-bf16.
        ortho: How the orthomosaic is read.
        segment: How it is cut and fed to the network.
        plants: What counts as a plant and as a weed patch.
        rows: How crop rows and gaps are looked for.
        spray: The machine and the rule.
        cluster: Where blocks are done.
        profiles: Terminals to write the prescription for; see `geoseg.export.profiles`.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    model: str = "default"
    backend: str = "auto"
    ortho: OrthoConfig = field(default_factory=OrthoConfig)
    segment: SegmentConfig = field(default_factory=SegmentConfig)
    plants: PlantConfig = field(default_factory=PlantConfig)
    rows: RowConfig = field(default_factory=RowConfig)
    spray: SprayConfig = field(default_factory=SprayConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    profiles: tuple[str, ...] = ("generic",)


Overrides = Sequence[str] | Mapping[str, Any]
"""``["spray.buffer_m=1"]``, whose values are read as YAML, or ``{"spray.buffer_m": 1}``."""


def load_config(path: str | Path | None = None, overrides: Overrides = ()) -> Config:
    """The configuration of a YAML file with single keys on top.

    Args:
        path: YAML file; None starts from the defaults.
        overrides: Strings such as ``spray.buffer_m=1``, or a mapping such as ``{"spray.buffer_m": 1}``.

    Raises:
        ConfigError: If something is unreadable, unknown or does not fit; the message names the key.
    """
    return load_as(Config, path, overrides)


def load_as(kind: type[_T], path: str | Path | None, overrides: Overrides = ()) -> _T:
    """Any parameter class from a YAML file with overrides on top.

    What a section leaves out is what `kind` says of that section, which need not be what the section's own class says.

    Args:
        kind: The dataclass.
        path: YAML file; None starts from the defaults.
        overrides: Strings such as ``steps=400``.

    Raises:
        ConfigError: If something is unreadable, unknown or does not fit; the message names the key.
    """
    document = load_yaml(Path(path)) if path is not None else {}
    _override_all(document, overrides)
    sources = [*([str(path)] if path is not None else []), *(["--set"] if overrides else [])]
    return build(kind, _on_defaults(kind, document), " and ".join(sources))


def with_overrides(config: _T, overrides: Overrides) -> _T:
    """The same configuration with ``section.key=value`` overrides on top.

    Raises:
        ConfigError: If a key is unknown or a value does not fit; the message names the key.
    """
    if not overrides:
        return config
    document = to_dict(config)
    _override_all(document, overrides)
    return build(type(config), document, "--set")


def build(kind: type[_T], document: Mapping[str, Any], source: str) -> _T:
    """A dataclass from plain data, strictly: no unknown key, no silent conversion.

    Raises:
        ConfigError: Naming the key and what was expected.
    """
    try:
        return TypeAdapter(kind).validate_json(json.dumps(document), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, InputError):
            raise cause from None
        if first["type"] == "unexpected_keyword_argument":
            raise ConfigError(f"{source}: {where}: there is no such key{_known_keys(kind, first['loc'])}") from error
        help_text = f"; `geoseg config show {where}` says what it means" if kind is Config else ""
        raise ConfigError(f"{source}: {where}: {first['msg']}, found {first['input']!r}{help_text}") from error
    except TypeError as error:
        raise ConfigError(f"{source}: a value is no plain number, text or list: {error}") from error


def json_schema(kind: type) -> dict[str, Any]:
    """The JSON schema of a parameter class, for editors: every key with its type, its default and what it means."""
    schema = TypeAdapter(kind).json_schema()
    for part in sections_of(kind).values():
        node = schema if part is kind else schema["$defs"][part.__name__]
        node["description"] = headline(part)
        for name, note in attribute_notes(part).items():
            node["properties"][name]["description"] = note
            node["properties"][name].pop("title", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def load_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ConfigError: If the file is missing, is no YAML or holds something else than a mapping.
    """
    try:
        document = _parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}; give the path of a YAML file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"{path} holds a {type(document).__name__}; expected sections such as 'spray:'")
    return document


def to_dict(config: Any) -> dict[str, Any]:
    """A configuration as plain data, for JSON and YAML."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    return plain


class _Loader(yaml.SafeLoader):
    """YAML with the scalars of the 1.2 core schema, and no key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.YAMLError(f"key {twice!r} is given twice {node.start_mark}")
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)
_Loader.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(node.value, 10))
_Loader.add_constructor("tag:yaml.org,2002:float", lambda _, node: float(node.value))


def _parse(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - _Loader derives from SafeLoader


def _override_all(document: dict[str, Any], overrides: Overrides) -> None:
    for override in overrides:
        if isinstance(overrides, Mapping):
            _set(document, override, overrides[override], f"{override}: {overrides[override]!r}")
            continue
        key, equals, value = override.partition("=")
        if not equals or not key.strip():
            raise ConfigError(
                f"--set {override!r} is not of the form section.key=value; `geoseg config show` lists the keys"
            )
        try:
            _set(document, key.strip(), _parse(value), f"--set {override!r}")
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {override!r}: the value is no YAML; put text with signs in quotes") from error


def _on_defaults(kind: Any, document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with its sections completed by the class's defaults of them."""
    made: dict[str, Any] = {one.name: one.default_factory for one in dataclasses.fields(kind)}
    defaults = {
        name: made[name]() for name in document if made.get(name, dataclasses.MISSING) is not dataclasses.MISSING
    }
    return {name: _completed(defaults.get(name), value) for name, value in document.items()}


def _completed(default: Any, value: Any) -> Any:
    if not dataclasses.is_dataclass(default) or not isinstance(value, Mapping):
        return value
    parts = {name: _completed(getattr(default, str(name), None), part) for name, part in value.items()}
    return to_dict(default) | parts


def _set(document: dict[str, Any], key: str, value: Any, named: str) -> None:
    *sections, last = key.split(".")
    place = document
    for section in sections:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            raise ConfigError(f"{named}: {section!r} is a value, not a section; `geoseg config show` lists the keys")
    place[last] = value


def _known_keys(kind: Any, location: tuple[int | str, ...]) -> str:
    """What was probably meant by an unknown key, and the keys that would have been understood in its place."""
    adapter = TypeAdapter(kind).json_schema()
    node = adapter
    for part in location[:-1]:
        node = node.get("properties", {}).get(str(part), {})
        node = adapter.get("$defs", {}).get(node.get("$ref", "").rpartition("/")[2], node)
    meant = " or ".join(nearest(kind, ".".join(str(part) for part in location)))
    keys = ", ".join(node.get("properties", {}))
    return (f"; did you mean {meant}?" if meant else ";") + (f" expected one of {keys}" if keys else "")
