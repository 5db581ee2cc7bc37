"""What the last stage of a run will need, looked up before the first begins: hours are not lost for a letter."""

from __future__ import annotations

from pathlib import Path

from geoseg.config import Config
from geoseg.errors import ConfigError

__all__ = ["look_ahead"]


def look_ahead(config: Config, *, model: bool = True) -> None:
    """See whether the model, the machine, the terminals and the files of a configuration are there.

    Args:
        config: The configuration.
        model: False where its model is not used.

    Raises:
        InputError: Naming the first that is not.
    """
    from geoseg.export.profiles import read_profile
    from geoseg.models.card import read_card
    from geoseg.spray.machine import read_machine

    if model:
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
    return "://" in file or file.startswith("/vsi")
