"""How the ortho is cut and fed to the network (YAML section ``segment``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from geoseg.errors import ConfigError
from geoseg.models.card import ModelCard, Tiling

__all__ = ["SegmentConfig", "tiling_for"]


@dataclass(frozen=True)
class SegmentConfig:
    """How the ortho is cut and fed to the network; the result does not depend on it.

    Attributes:
        write_px: Side of the written part of a window; None takes the model card's.
        margin_px: Margin around it; None takes the model card's.
        block_windows: A block, the unit of resume, is this many windows wide and high.
        batch: Windows per forward pass.
        readers: Threads that read ahead.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    write_px: int | None = None
    margin_px: int | None = None
    block_windows: int = 2
    batch: int = 1
    readers: int = 2

    def __post_init__(self) -> None:
        """Refuse sizes that cannot work.

        Raises:
            ConfigError: If a number is below 1.
        """
        for name in ("block_windows", "batch", "readers"):
            if getattr(self, name) < 1:
                raise ConfigError(f"segment.{name} is {getattr(self, name)}; expected 1 or more")


def tiling_for(card: ModelCard, config: SegmentConfig) -> Tiling:
    """The card's tiling with what the configuration overrides.

    Raises:
        ConfigError: If an override is off the network's stride lattice.
    """
    changes = {name: getattr(config, name) for name in ("write_px", "margin_px") if getattr(config, name) is not None}
    stride = card.tiling.stride_px
    for name, value in changes.items():
        if value % stride or value < 0 or (name == "write_px" and value == 0):
            raise ConfigError(f"segment.{name} is {value}; this model needs a multiple of {stride}")
    return card.tiling.model_copy(update=changes)
