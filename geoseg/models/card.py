"""What a model needs and what it promises. Knows nothing about networks or files other than ``card.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from geoseg.durable import write_file
from geoseg.errors import ModelError
from geoseg.legend import LEGEND

__all__ = [
    "ANY",
    "CARD",
    "SHIPPED",
    "GsdRange",
    "ModelCard",
    "Segmenter",
    "Tiling",
    "model_folder",
    "own_folder",
    "read_card",
    "shipped_models",
]

CARD = "card.json"
ANY = "any"
"""Name on a card of a band that may be any; the user, or the names in the file, decide which it is."""
SHIPPED = Path(__file__).parent
"""Folder whose subfolders with a card are the models that come with geoseg."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GsdRange(_Part):
    """Ground sampling distances in metres per pixel.

    Attributes:
        train_m: The one that most training images had.
        min_m: The finest that the model was trained for.
        max_m: The coarsest that the model was trained for.
        seedlings_m: The coarsest at which plants of a few centimetres were found as well as at `train_m`; None where it
            was not measured.
    """

    train_m: float = Field(gt=0)
    min_m: float = Field(gt=0)
    max_m: float = Field(gt=0)
    seedlings_m: float | None = Field(default=None, gt=0)

    @property
    def span(self) -> str:
        """For people: ``2 to 5 mm per pixel, 3 mm or finer for seedlings``."""
        whole = f"{self.min_m * 1e3:.3g} to {self.max_m * 1e3:.3g} mm per pixel"
        return whole if self.seedlings_m is None else f"{whole}, {self.seedlings_m * 1e3:.3g} mm or finer for seedlings"

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.min_m <= self.train_m <= self.max_m:
            raise ValueError(f"expected min_m <= train_m <= max_m, found {self.min_m}, {self.train_m}, {self.max_m}")
        return self


class Tiling(_Part):
    """How a large image is cut for this network, in pixels.

    Attributes:
        write_px: Default side of the part of a window that is kept; a multiple of `stride_px`.
        margin_px: What the network must see around it; a multiple of `stride_px`.
        stride_px: Total stride of the network.
        reach_px: How far the network looks, measured; None where it was not, or where there is no limit.
        exact: Whether the margin covers that: the result then does not depend on how the image is cut. Networks that
            look at the whole window (attention, global pooling) never are: near seams their scores differ a little.
    """

    write_px: int = Field(gt=0)
    margin_px: int = Field(ge=0)
    stride_px: int = Field(gt=0)
    reach_px: int | None = Field(default=None, ge=0)
    exact: bool = False

    @model_validator(mode="after")
    def _on_lattice(self) -> Self:
        if self.write_px % self.stride_px or self.margin_px % self.stride_px:
            raise ValueError(f"write_px and margin_px must be multiples of stride_px, found {self}")
        if self.exact and (self.reach_px is None or self.margin_px < self.reach_px):
            raise ValueError(f"exact needs a margin_px of at least reach_px, found {self}")
        return self


class ModelCard(_Part):
    """The card of a model directory, ``card.json``.

    Attributes:
        name: Short name, lower case.
        version: Version of the weights.
        description: One or two sentences for people.
        architecture: Name in `geoseg.models.zoo`.
        params: Arguments of that architecture.
        classes: Class names in the order of the scores, those of `geoseg.legend`.
        bands: Names of the input bands in order; all of them ``any`` where the model takes whatever bands there are.
        scaling: What 0 and 1 are. ``fixed``: the full scale of the data type. ``ortho``: each band's mean less and plus
            five standard deviations over the whole ortho, so that exposure, data type and calibration do not matter.
        mean: Per band, subtracted; as a fraction of that scale.
        std: Per band, divided by; same unit.
        gsd: Range of ground sampling distances that the model was trained for.
        tiling: How a large image is cut.
        logit_bias: Added to the class scores before the largest wins: the operating point; empty shifts nothing.
        thresholds: Operating points that were measured, by name; `geoseg evaluate --tune-recall` adds to them.
        instances: ``offsets`` where the network also points from every plant pixel to the centre of its plant.
        licence: SPDX name of the weights' licence.
        attribution: One line for each source of data or weights.
        training: Free facts about how the model was made, for people and for `geoseg models`.
        scores: Measured scores by data set, on data that was not used for training or choosing.
        parity: Share of validation pixels that get the same class as with torch in 32 bits, by backend.
        limits: What the model is known not to do.
        weights_sha256: Hash of ``weights.safetensors``; checked on loading.
        int8_sha256: Hash of the same network in 8 bits, graph and numbers; None where there is none.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    version: str
    description: str
    architecture: str
    params: dict[str, Any] = {}
    classes: tuple[str, ...] = ("soil", "crop", "weed")
    bands: tuple[str, ...] = ("red", "green", "blue")
    scaling: Literal["fixed", "ortho"] = "fixed"
    mean: tuple[float, ...]
    std: tuple[float, ...]
    gsd: GsdRange
    tiling: Tiling
    logit_bias: tuple[float, ...] = ()
    thresholds: dict[str, Any] = {}
    instances: Literal["none", "offsets"] = "none"
    licence: str
    attribution: tuple[str, ...] = ()
    training: dict[str, Any] = {}
    scores: dict[str, Any] = {}
    parity: dict[str, float] = {}
    limits: tuple[str, ...] = ()
    weights_sha256: str | None = None
    int8_sha256: str | None = None

    @model_validator(mode="after")
    def _bands_agree(self) -> Self:
        if self.classes != LEGEND.names:
            raise ValueError(
                f"classes are {', '.join(self.classes)}; geoseg needs {', '.join(LEGEND.names)} in this order: swap "
                "the outputs of the network's last layer"
            )
        if not len(self.bands) == len(self.mean) == len(self.std):
            raise ValueError(f"bands, mean and std differ in length: {self.bands}, {self.mean}, {self.std}")
        if 0 < self.bands.count(ANY) < len(self.bands):
            raise ValueError(f"either all bands are {ANY!r} or none is, found {self.bands}")
        if min(self.std) <= 0:
            raise ValueError(f"std must be positive, found {self.std}")
        if self.logit_bias and len(self.logit_bias) != len(self.classes):
            raise ValueError(f"logit_bias needs one number per class of {self.classes}, found {self.logit_bias}")
        return self

    @classmethod
    def read(cls, path: Path) -> ModelCard:
        """The card in a JSON file.

        Raises:
            ModelError: If the file is missing or does not fit the schema; the message names the field.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise ModelError(
                f"{path.parent} is no model directory: it has no {path.name}; "
                "`geoseg models` lists those that come with geoseg"
            ) from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise ModelError(f"{path}: {where}: {first['msg']}") from error

    def write(self, path: Path) -> None:
        """Write the card as indented JSON, in one step."""
        content = json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False)
        write_file(path, f"{content}\n".encode())


class Segmenter(Protocol):
    """Anything that gives class scores for images; ten lines of numpy can stand in for a network."""

    @property
    def card(self) -> ModelCard:
        """What it needs and promises."""
        ...

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Class scores of a batch.

        Args:
            images: (N, C, H, W), uint8 (0..255 is the full scale) or float32 (0..1 is the full scale), not yet
                normalised; H and W are multiples of ``card.tiling.stride_px``.

        Returns:
            (N, K, H, W) float32 class probabilities, summing to 1 over K.
        """
        ...


def model_folder(name: str | Path) -> Path:
    """The folder of a shipped model or of a model directory.

    Raises:
        ModelError: If there is no such model.
    """
    path = Path(name)
    if (path / CARD).is_file():
        return path
    shipped = SHIPPED / path.name
    if path.name == str(name) and (shipped / CARD).is_file():
        return shipped
    names = ", ".join(card.name for card in shipped_models()) or "none"
    raise ModelError(f"{name} is neither a model directory with a {CARD} nor a shipped model; shipped are: {names}")


def own_folder(name: str | Path) -> Path:
    """The folder of a model that may be written to: a model directory, and none of those that come with geoseg.

    Raises:
        ModelError: If there is no such model, or it is a shipped one.
    """
    folder = model_folder(name)
    if folder.resolve().parent == SHIPPED.resolve():
        raise ModelError(f"{name} comes with geoseg and stays as it is; copy {folder} and name the copy")
    return folder


def read_card(name: str | Path) -> ModelCard:
    """The card of a shipped model or of a model directory.

    Raises:
        ModelError: If there is no such model, or its card does not fit the schema.
    """
    return ModelCard.read(model_folder(name) / CARD)


def shipped_models() -> list[ModelCard]:
    """Cards of the models that come with geoseg, the default first."""
    cards = [ModelCard.read(path) for path in sorted(SHIPPED.glob(f"*/{CARD}"))]
    return sorted(cards, key=lambda card: card.name != "default")
