"""What a training is told: the parameter classes of `geoseg train`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from geoseg.errors import ConfigError
from geoseg.train.augment import AugmentConfig
from geoseg.train.labelfiles import LabelConfig
from geoseg.train.losses import LOSSES

__all__ = ["SetShare", "TrainConfig"]


@dataclass(frozen=True)
class SetShare:
    """What to learn from: a tile set, or an ortho with its labels, and its share of the training crops.

    An ortho is read where crops are drawn, so nothing has to be cut beforehand. Which part of it validates is said by
    place; crops of the training part never see a pixel of it.

    Attributes:
        path: The tile set.
        share: Relative weight; shares need not sum to 1.
        source: Only the tiles of this source; None takes all.
        ortho: Instead of a tile set: the ortho.
        labels: Its labels: raster on the same grid, vector, COCO or YOLO file.
        instances: Outlines of its single plants.
        gsd_m: Metres per pixel, where the ortho does not say it.
        validation_cols: First and last + 1 column that validates.
        validation_rows: The same for rows; where both are given, their crossing validates.
        validation_area: Vector file: what lies inside its polygons validates.
        ignore_green: Soil pixels with more excess green than this are left out of training: for incomplete labels.
        label: How to understand the label files.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    path: str | None = None
    share: float = 1.0
    source: str | None = None
    ortho: str | None = None
    labels: str | None = None
    instances: str | None = None
    gsd_m: float | None = None
    validation_cols: tuple[int, int] | None = None
    validation_rows: tuple[int, int] | None = None
    validation_area: str | None = None
    ignore_green: float | None = None
    label: LabelConfig = field(default_factory=LabelConfig)

    def __post_init__(self) -> None:
        """Refuse what is neither.

        Raises:
            ConfigError: If there is not either a tile set or an ortho with labels.
        """
        if (self.path is None) == (self.ortho is None) or (self.ortho is None) != (self.labels is None):
            raise ConfigError(f"train.sets: expected either path, or ortho and labels; found {self.name}")
        if self.validation_area and (self.validation_cols or self.validation_rows):
            raise ConfigError(f"train.sets: {self.name} has validation_area and columns or rows; expected one of them")

    @property
    def name(self) -> str:
        """Path of the tile set or of the ortho."""
        return self.path or self.ortho or "neither"


@dataclass(frozen=True)
class TrainConfig:
    """What `geoseg train` does.

    Attributes:
        card: Fields of the model card that a person decides: name, version, description, licence, attribution,
            limits, gsd, tiling, architecture, params, mean, std.
        sets: Tile sets, and orthos with labels.
        start: Model whose weights to begin from, shipped or a directory, instead of `encoder`; it must be of the same
            architecture.
        encoder: ``imagenet`` starts from published weights (needs the ``train`` extra), ``random`` from nothing.
        loss: One of `geoseg.train.losses.LOSSES`; networks that find plants bring their own.
        steps: Number of updates.
        batch: Crops per update.
        crop_px: Side of a crop.
        rate: Learning rate of the decoder at its highest.
        encoder_rate: The encoder's, as a share of that.
        weight_decay: Of AdamW.
        warmup: Steps until the highest rate.
        average: Decay of the moving average of the weights, which is what is kept.
        weedy: Share of the crops that are centred near a weed pixel.
        paste: Share of the crops into which plants from elsewhere are pasted; needs plant ids.
        offset_weight: Weight of the plant offsets' loss, for networks that give them.
        augment: How much the images are changed.
        seed: The same seed gives the same weights on the CPU.
        device: ``auto``, ``cpu`` or ``cuda``.
        bf16: Train in mixed precision.
        save_every: Steps between checkpoints, from which a training that was killed goes on; 0 makes none.
        validate_every: Steps between validations; the best weights are then kept. 0 validates at the end only.
        patience: Validations without a better one after which training ends; 0 never ends early.
        tensorboard: Whether to write a log for TensorBoard too (needs the ``tensorboard`` extra).
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    card: dict[str, Any]
    sets: tuple[SetShare, ...]
    start: str | None = None
    encoder: str = "random"
    loss: str = "ce_dice"
    steps: int = 1000
    batch: int = 8
    crop_px: int = 256
    rate: float = 1e-3
    encoder_rate: float = 0.3
    weight_decay: float = 1e-2
    warmup: int = 40
    average: float = 0.99
    weedy: float = 0.5
    paste: float = 0.0
    offset_weight: float = 0.5
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    seed: int = 0
    device: str = "auto"
    bf16: bool = False
    save_every: int = 200
    validate_every: int = 0
    patience: int = 0
    tensorboard: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: If a number or a word does not fit.
        """
        if not self.sets:
            raise ConfigError("train.sets is empty; name at least one tile set")
        if self.encoder not in ("imagenet", "random"):
            raise ConfigError(f"train.encoder is {self.encoder!r}; expected imagenet or random")
        if self.loss not in LOSSES:
            raise ConfigError(f"train.loss is {self.loss!r}; expected one of {', '.join(LOSSES)}")
        if min(self.steps, self.batch, self.crop_px) < 1:
            raise ConfigError(f"steps, batch and crop_px must be positive: {self.steps}, {self.batch}, {self.crop_px}")
        if min(self.save_every, self.validate_every, self.patience) < 0:
            raise ConfigError("save_every, validate_every and patience must not be negative")
        if not self.rate > 0:
            raise ConfigError(f"train.rate is {self.rate}; expected more than 0")
        for name in ("weedy", "paste", "average"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"train.{name} is {getattr(self, name)}; expected a share from 0 to 1")
        if self.patience and not self.validate_every:
            raise ConfigError("train.patience counts validations; set validate_every too")
