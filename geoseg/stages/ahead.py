"""What the last stage of a run will need, looked up before the first begins: hours are not lost for a letter."""

from __future__ import annotations

import difflib
from pathlib import Path

from geoseg.config import Config
from geoseg.errors import ConfigError, OrthoError

__all__ = ["look_ahead"]


def look_ahead(config: Config, *files: str | Path | None, model: bool = True) -> None:
    """See whether the model, the machine, the terminals and the files of a configuration are there.

    Args:
        config: The configuration.
        files: The ortho and the boundary.
        model: False where the configuration's model is not used.

    Raises:
        InputError: Naming the first that is not.
    """
    from geoseg.adapt.segmenter import load_rule
    from geoseg.export.profiles import read_profile
    from geoseg.models.card import read_card
    from geoseg.spray.machine import read_machine

    for given in files:
        if given is not None and not _elsewhere(str(given)) and not Path(given).exists():
            raise OrthoError(f"there is no file {given}{_like(Path(given))}")
    if model and load_rule(config.model) is None:
        read_card(config.model)
    for profile in config.profiles:
        read_profile(profile)
    if config.spray.machine is not None:
        read_machine(config.spray.machine)
    for key in ("ab_line", "exclusions"):
        file = getattr(config.spray, key)
        if file is not None and not _elsewhere(file) and not Path(file).exists():
            raise ConfigError(f"spray.{key} is {file}, which is not there; give the path of the file, or leave it out")


def _elsewhere(file: str) -> bool:
    """Whether only GDAL can tell if it is there."""
    return ":" in file[2:] or file.startswith("/vsi")  # s3://bucket/x.tif, GPKG:x.gpkg:layer; a drive letter is none


def _like(path: Path) -> str:
    """What there is instead, or where there is nothing."""
    if not path.parent.is_dir():
        return f", nor a folder {path.parent}; check the path"
    meant = difflib.get_close_matches(path.name, [other.name for other in path.parent.iterdir()], n=2)
    return f"; did you mean {' or '.join(meant)}?" if meant else "; check the path"
