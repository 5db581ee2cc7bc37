"""The words of each geoseg command, from what a person has filled in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from geoseg_qgis.core.errors import InputError

__all__ = ["OrthoChoice", "SprayChoice", "adapt", "check", "export", "labels_check", "overrides", "prescribe", "run"]


def overrides(text: str) -> list[str]:
    """The ``--set`` options of a text with one ``key=value`` a line; empty lines and lines with # are left out.

    Raises:
        InputError: If a line is no ``key=value``.
    """
    words: list[str] = []
    for line in text.splitlines():
        line = line.strip()  # noqa: PLW2901 - the same line without its blanks
        if not line or line.startswith("#"):
            continue
        key, equals, _ = line.partition("=")
        if not equals or not key.strip() or " " in key.strip():
            raise InputError(f"{line!r} is no parameter; expected one key=value a line, such as spray.buffer_m=1")
        words += ["--set", line]
    return words


def _options(pairs: Iterable[tuple[str, str | float | None]]) -> list[str]:
    words: list[str] = []
    for name, value in pairs:
        if value is not None and value != "":
            words += [name, f"{value:.12g}" if isinstance(value, float) else str(value)]
    return words


@dataclass(frozen=True)
class OrthoChoice:
    """What the commands that read an ortho share; empty texts are not said.

    Attributes:
        ortho: The file.
        boundary: Polygon file of the field.
        model: Name or folder of a model.
        config: YAML file of parameters.
        crs: CRS of an ortho that has none.
        gsd_m: Metres per pixel of an ortho without georeference; 0: not said.
        force: Go on although the resolution does not fit the model.
        settings: Text with one ``key=value`` a line.
    """

    ortho: str
    boundary: str = ""
    model: str = ""
    config: str = ""
    crs: str = ""
    gsd_m: float = 0.0
    force: bool = False
    settings: str = ""

    def words(self) -> list[str]:
        """The argument and its options."""
        named = _options((
            ("--boundary", self.boundary), ("--model", self.model), ("--config", self.config), ("--crs", self.crs),
            ("--gsd", self.gsd_m or None),
        ))  # fmt: skip
        return [*named, *(["--force"] if self.force else []), *overrides(self.settings), "--", self.ortho]


@dataclass(frozen=True)
class SprayChoice:
    """What a prescription is made with; None and empty texts leave what the configuration says.

    Attributes:
        machine: Name of a shipped machine, or a machine file.
        heading_deg: Driving direction, degrees clockwise from north.
        rate_l_ha: Full rate.
        section_m: Width of a section or nozzle.
        ab_line: File with the AB line.
        exclude: Polygon file of ground that is never sprayed.
        profiles: Terminals to write files for; empty: as configured.
        config: YAML file of parameters.
        settings: Text with one ``key=value`` a line.
    """

    machine: str = ""
    heading_deg: float | None = None
    rate_l_ha: float | None = None
    section_m: float | None = None
    ab_line: str = ""
    exclude: str = ""
    profiles: tuple[str, ...] = ()
    config: str = ""
    settings: str = ""

    def words(self) -> list[str]:
        """The options."""
        named = _options((
            ("--machine", self.machine), ("--heading", self.heading_deg), ("--rate", self.rate_l_ha),
            ("--section", self.section_m), ("--ab-line", self.ab_line), ("--exclude", self.exclude),
            ("--config", self.config),
        ))  # fmt: skip
        return [*named, *profile_setting(self.profiles), *overrides(self.settings)]


def profile_setting(profiles: Sequence[str]) -> list[str]:
    """The ``--set`` option that names the terminals; none for none."""
    return ["--set", f"profiles=[{', '.join(profiles)}]"] if profiles else []


def run(
    name: str, choice: OrthoChoice, out: str, *, fresh: bool = False, adapt: bool = False, more: Sequence[str] = ()
) -> list[str]:
    """``geoseg run`` or ``geoseg segment``.

    Args:
        name: ``run`` or ``segment``.
        choice: The ortho and how to read it.
        out: The run directory.
        fresh: Discard what a former run left there.
        adapt: First teach the model this field.
        more: Further options.
    """
    flags = [*(["--fresh"] if fresh else []), *(["--adapt"] if adapt else [])]
    return ["--json-events", name, "--out", out, *flags, *more, *choice.words()]


def prescribe(run_directory: str, choice: SprayChoice) -> list[str]:
    """``geoseg prescribe``."""
    return ["--json-events", "prescribe", *choice.words(), "--", run_directory]


def export(run_directory: str, profiles: Sequence[str], out: str, name: str) -> list[str]:
    """``geoseg export write``; an empty `out` is the run directory's own folder.

    Raises:
        InputError: If no terminal is chosen.
    """
    if not profiles:
        raise InputError("no terminal is chosen; choose at least one profile, such as isoxml")
    chosen = [word for profile in profiles for word in ("--profile", profile)]
    return [
        "--json-events",
        "export",
        "write",
        *chosen,
        *_options((("--out", out), ("--name", name))),
        "--",
        run_directory,
    ]


def labels_check(
    ortho: str, labels: str, out: str, model: str, settings: str, column: str = "", layer: str = "", area: str = ""
) -> list[str]:
    """``geoseg labels check``, with its counts as JSON."""
    area = json.dumps(area) if area else ""
    named = _options((("--out", out), ("--model", model)))
    known = (("column", column), ("layer", layer), ("labelled_area", area))
    wanted = [word for key, value in known if value for word in ("--set", f"{key}={value}")]
    return ["--json-events", "labels", "check", *named, *wanted, *overrides(settings), "--json", "--", ortho, labels]


def adapt(ortho: str, out: str, boundary: str, model: str, hints: str, config: str, settings: str) -> list[str]:
    """``geoseg adapt``."""
    named = _options((
        ("--out", out), ("--boundary", boundary), ("--model", model), ("--hints", hints), ("--config", config),
    ))  # fmt: skip
    return ["--json-events", "adapt", *named, *overrides(settings), "--", ortho]


def check(choice: OrthoChoice) -> list[str]:
    """``geoseg check``."""
    return ["check", *choice.words()]
