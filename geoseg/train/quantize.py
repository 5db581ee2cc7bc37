"""The same network in 8 bits: ranges of what flows through it are seen on training images; kept only if it is as good.

NNCF, the quantizer that OpenVINO's makers keep, chooses where to round (weights per channel, what flows between layers
per tensor) and mends the shift that rounding brings. Needs the extra ``int8``; to use the result, OpenVINO alone does.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from geoseg.errors import ConfigError, LabelError, ModelError
from geoseg.models.card import CARD, ModelCard, own_folder
from geoseg.models.storage import INT8, MIN_PARITY, load_module
from geoseg.models.zoo import ARCHITECTURES
from geoseg.ortho.bands import full_scale
from geoseg.train.levelled import model_image
from geoseg.train.tiles import VALIDATION, Tile, read_index, read_tile
from geoseg.train.validation import MOST_LOST, compare

if TYPE_CHECKING:
    import openvino

__all__ = ["QuantizeConfig", "quantize"]

BACKEND = "openvino-int8"


@dataclass(frozen=True)
class QuantizeConfig:
    """How ranges are seen.

    Attributes:
        images: Images that are looked at, taken from all sources alike.
        side_px: Their largest side.
        seed: Of where they are cut.
        float_layers: This many of the first convolutions stay as they are: few channels carry the whole image, and
            about half of all that 8 bits change in the default model comes from the first three.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    images: int = 120
    side_px: int = 512
    seed: int = 0
    float_layers: int = 3


def quantize(name: str | Path, sets: Sequence[Path], config: QuantizeConfig = QuantizeConfig()) -> ModelCard:
    """Put a version in 8 bits beside the weights of a model directory, and its parity on the card.

    Training tiles give the ranges, validation tiles decide: at least 99.5 % of their pixels get the same class as with
    torch in 32 bits, and no source loses more than 0.002 of mIoU.

    Args:
        name: The model directory.
        sets: Tile sets, best those that the model was trained on.
        config: How ranges are seen.

    Returns:
        The card, as it is written.

    Raises:
        ConfigError: If NNCF is not installed.
        LabelError: If a set cannot be read or has no training or validation tiles.
        ModelError: If there is no such model directory, it does not run on OpenVINO, or it is not as good in 8 bits.
    """
    folder = own_folder(name)
    card, module = load_module(folder)
    if not ARCHITECTURES[card.architecture].graph:
        raise ModelError(f"{card.architecture} does not run on OpenVINO, so it cannot be had in 8 bits")
    tiles = {split: list(_tiles(sets, split)) for split in ("train", VALIDATION)}
    for split, found in tiles.items():
        if not found:
            raise LabelError(f"{', '.join(map(str, sets))}: no tile of the split {split!r}; expected some of both")
    from geoseg.models.openvino import OpenvinoSegmenter, body_graph

    images = list(_images(card, tiles["train"], config))
    graph = _in_8_bits(body_graph(card, module), images, config.float_layers)
    plain = card.model_copy(update={"logit_bias": ()})
    (result,) = compare(plain, module, tiles[VALIDATION], [OpenvinoSegmenter(plain, graph, "int8")])
    if result.same < MIN_PARITY[BACKEND] or not result.good:
        lost = ", ".join(f"{source} {-loss:+.4f}" for source, loss in result.lost.items())
        raise ModelError(
            f"{folder}: in 8 bits {result.same:.2%} of the validation pixels keep their class and mIoU changes by "
            f"{lost}; expected at least {MIN_PARITY[BACKEND]:.1%} and -{MOST_LOST} or better; nothing was "
            "written, the model runs as it did"
        )
    return _write(folder, card, graph, result.same)


def _tiles(sets: Sequence[Path], split: str) -> Iterator[Tile]:
    for folder in sets:
        for line in read_index(folder):
            if line["split"] == split:
                yield read_tile(folder, line)


def _images(card: ModelCard, tiles: Sequence[Tile], config: QuantizeConfig) -> Iterator[np.ndarray]:
    """(1, C, H, W) float32 parts of tiles in 0..1, of every source the same number."""
    random = np.random.default_rng(config.seed)
    sources = sorted({tile.source for tile in tiles})
    for source in sources:
        own = [tile for tile in tiles if tile.source == source]
        for number in range(-(-config.images // len(sources))):
            image = model_image(own[number % len(own)], card)
            stride = card.tiling.stride_px
            sides = [min(side, config.side_px) // stride * stride for side in image.shape[1:]]
            row, col = (
                int(random.integers(0, whole - side + 1)) for whole, side in zip(image.shape[1:], sides, strict=True)
            )
            part = image[None, :, row : row + sides[0], col : col + sides[1]]
            yield part.astype(np.float32) / full_scale(part.dtype)


def _in_8_bits(graph: openvino.Model, images: Sequence[np.ndarray], float_layers: int) -> openvino.Model:
    try:
        import nncf
    except ImportError as error:
        raise ConfigError("8 bits need NNCF; pip install 'geoseg[int8]'") from error
    nncf.set_log_level(logging.ERROR)
    operations = graph.get_ordered_ops()
    convolutions = [one for one in operations if one.get_type_name() in ("Convolution", "GroupConvolution")]
    kept = [one.get_friendly_name() for one in convolutions[:float_layers]]
    return nncf.quantize(
        graph,
        nncf.Dataset(images),
        preset=nncf.QuantizationPreset.MIXED,  # what flows between layers is mostly positive: not symmetric
        ignored_scope=nncf.IgnoredScope(names=kept),
        subset_size=len(images),
    )


def _write(folder: Path, card: ModelCard, graph: openvino.Model, share: float) -> ModelCard:
    """The files take their places before the card that names them."""
    import openvino

    with tempfile.TemporaryDirectory(dir=folder, prefix=".int8-") as drafts:
        files = [Path(drafts) / name for name in INT8]
        openvino.save_model(graph, files[0])
        digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
        for file in files:
            os.replace(file, folder / file.name)
    others = {name: value for name, value in card.parity.items() if name != BACKEND}
    card = card.model_copy(update={"int8_sha256": digest, "parity": {BACKEND: share} | others})
    card.write(folder / CARD)
    return card
