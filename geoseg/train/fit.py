"""Train a network and write a model directory: card, weights, logs and curves.

This module is the loop. What to do is told by `geoseg.train.settings`, where crops come from by `geoseg.train.sets`
and `geoseg.train.crops`; how to go on after an interruption by `geoseg.train.checkpoint`.
"""

from __future__ import annotations

import copy
import math
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from geoseg.errors import ConfigError, LabelError, ModelError
from geoseg.legend import LEGEND
from geoseg.models.card import CARD, ModelCard, read_card
from geoseg.models.storage import TorchSegmenter, channels_last, load_module, pick_device, save
from geoseg.models.zoo import ARCHITECTURES, build, load_imagenet, reach
from geoseg.progress import bar
from geoseg.train.checkpoint import CHECKPOINT, Training, forget, keep, resume
from geoseg.train.crops import Batch, CropConfig, Crops, ahead
from geoseg.train.logs import Board, board, write_logs
from geoseg.train.objective import Objective, make_objective
from geoseg.train.sets import CropSource, open_set
from geoseg.train.settings import SetShare, TrainConfig
from geoseg.train.tiles import Tile
from geoseg.train.updates import adamw, follow
from geoseg.train.validation import mean_iou, measure_parity, plain_scores, score_tiles

__all__ = ["SetShare", "TrainConfig", "fit", "measure_parity", "score_tiles"]


def fit(config: TrainConfig, out: Path) -> ModelCard:
    """Train and write a model directory; returns its card with the validation scores.

    A training that was killed goes on at its last checkpoint when it is called again with the same settings.

    Args:
        config: What to train on what.
        out: The model directory.

    Raises:
        ConfigError: If the settings do not make a card, do not fit the architecture or are not those of the checkpoint,
            nothing validates where they ask for it, or the directory holds a model that is done.
        LabelError: If a set cannot be read or has nothing to train on.
        ModelError: If the architecture's library or the encoder's weights are not installed.
    """
    if (out / CARD).exists() and not (out / CHECKPOINT).exists():
        raise ConfigError(f"{out} holds a trained model already; choose another --out, or remove it to train it anew")
    torch.manual_seed(config.seed)
    card = _card(config)
    device = pick_device(config.device)
    with ExitStack() as stack:
        sets = [open_set(one, len(card.bands), 2 * config.crop_px, stack) for one in config.sets]
        _check_plants(card, config, sets)
        training = _begin(config, card, device)
        resume(training, config, out)
        tiles = [tile for one in sets for tile in one.validation()]
        if config.validate_every and not tiles:
            raise ConfigError(
                "train.validate_every asks for validation, and none of the sets holds anything back; give their "
                "sources validation_cols, validation_names or validation_area, or leave validate_every out"
            )
        writer = stack.enter_context(board(out, config.tensorboard))
        objective = make_objective(config, card, sets, device)
        _learn(training, _Course(config, card, _crops(config, card, sets), objective, tiles, device, out, writer))
    return _finish(training, config, card, sets, tiles, out)


@dataclass(frozen=True)
class _Course:
    """What stays the same while a network learns."""

    config: TrainConfig
    card: ModelCard
    crops: Crops
    objective: Objective
    tiles: list[Tile]
    device: torch.device
    out: Path
    writer: Board


def _learn(training: Training, course: _Course) -> None:
    """Update the weights until all steps are done or validation has not become better for long."""
    config, log = course.config, training.log
    with bar("train", config.steps, "step", initial=training.step) as progress:
        for batch in ahead(course.crops.batches(training.step)):
            if config.patience and training.since >= config.patience:
                break
            rate = float(training.schedule.get_last_lr()[-1])
            loss = _update(training, batch, course)
            if not math.isfinite(loss):
                raise ConfigError(
                    f"the loss of step {training.step + 1} is no number, so nothing was learned; lower rate, which is "
                    f"{config.rate:g}, and look whether the images hold what they should"
                )
            training.step += 1
            follow(training.average, training.network, min(config.average, training.step / (training.step + 10)))
            log.append((training.step, loss, rate))
            course.writer.add_scalar("loss", loss, training.step)
            progress.update()
            progress.set_postfix(loss=f"{np.mean([value for _, value, _ in log[-50:]]):.3f}")
            if config.validate_every and training.step % config.validate_every == 0:
                _validate(training, course)
            if config.save_every and training.step % config.save_every == 0:
                keep(training, config, course.out)


def _update(training: Training, batch: Batch, course: _Course) -> float:
    training.network.train()
    with torch.autocast(course.device.type, torch.bfloat16, enabled=course.config.bf16):
        loss = course.objective(training.network, batch.images.to(course.device), batch)
    training.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    training.optimizer.step()
    training.schedule.step()
    return float(loss.detach())


def _validate(training: Training, course: _Course) -> None:
    """Score the average; keep its weights if they are the best so far."""
    found = plain_scores(score_tiles(TorchSegmenter(course.card, training.average, course.device), course.tiles))
    training.validations.append({"step": training.step, "sources": found})
    for source, values in found.items():
        for name, value in values.items():
            course.writer.add_scalar(f"{name}/{source}", value, training.step)
    value = mean_iou(found)
    if training.best is None or value > training.best[0]:
        weights = {name: one.detach().cpu().clone() for name, one in training.average.state_dict().items()}
        training.best, training.since = (value, weights), 0
    else:
        training.since += 1


def _finish(
    training: Training, config: TrainConfig, card: ModelCard, sets: list[CropSource], tiles: list[Tile], out: Path
) -> ModelCard:
    """Score the network, write the model directory and remove the checkpoint."""
    average = training.average
    if training.best is not None:
        average.load_state_dict(training.best[1])
    found = score_tiles(TorchSegmenter(card, average, next(average.parameters()).device), tiles)
    facts = _facts(config, sets) | {"final_loss": round(float(np.mean([v for _, v, _ in training.log[-50:]])), 4)}
    if training.best is not None:
        best = max(training.validations, key=lambda one: mean_iou(one["sources"]))
        facts |= {"stopped_at": training.step, "kept_step": best["step"], "kept_by": "mean IoU on validation"}
    average = average.cpu()
    entry = ARCHITECTURES[card.architecture]
    changes = {
        "scores": {name: one.to_dict() for name, one in found.items()},
        "training": facts,
        "tiling": _measured(card, average),
        "parity": measure_parity(card, average, tiles) if entry.graph else {},
    }
    card = save(out, card.model_copy(update=changes), average)
    write_logs(training.log, training.validations, out)
    forget(out)
    return card


def _measured(card: ModelCard, network: nn.Module) -> Any:
    """The card's tiling with what the network is found to see."""
    if not ARCHITECTURES[card.architecture].local:
        return card.tiling
    found = reach(network, len(card.bands), card.tiling.stride_px)
    exact = found is not None and found <= card.tiling.margin_px
    return card.tiling.model_copy(update={"reach_px": found, "exact": exact})


def _crops(config: TrainConfig, card: ModelCard, sets: list[CropSource]) -> Crops:
    sizes = config.steps, config.batch, config.crop_px
    levelled = card.scaling == "ortho"
    choice = CropConfig(*sizes, config.weedy, config.seed, config.augment, config.paste, levelled)
    return Crops(sets, [one.share for one in config.sets], card.gsd, choice)


def _card(config: TrainConfig) -> ModelCard:
    name = config.card.get("architecture")
    entry = ARCHITECTURES.get(str(name))
    instances = "none" if entry is None else entry.instances(config.card.get("params", {}))
    try:
        card = ModelCard.model_validate({"classes": LEGEND.names, "instances": instances} | config.card)
    except ValueError as error:
        raise ConfigError(f"train.card: {' '.join(str(error).split())}") from error
    if entry is None:
        return card  # `build` names it
    if card.instances != instances:
        raise ConfigError(f"train.card.instances is {card.instances}; {name} with these params gives {instances}")
    if card.tiling.stride_px % entry.stride or config.crop_px % card.tiling.stride_px:
        raise ConfigError(
            f"stride_px is {card.tiling.stride_px} and crop_px {config.crop_px}; {name} needs a stride_px that is a "
            f"multiple of {entry.stride} and a crop_px that is a multiple of stride_px"
        )
    return card


def _check_plants(card: ModelCard, config: TrainConfig, sets: list[CropSource]) -> None:
    if card.architecture in ARCHITECTURES and ARCHITECTURES[card.architecture].plants == "always":
        for share, one in zip(config.sets, sets, strict=True):
            if not one.plants:
                raise LabelError(
                    f"{share.name} does not know single plants, which {card.architecture} learns from; "
                    "give its sources instances"
                )


def _begin(config: TrainConfig, card: ModelCard, device: torch.device) -> Training:
    network = build(card.architecture, card.params, len(card.bands), len(card.classes))
    if config.start is not None:
        _start(network, card, config.start)
    elif config.encoder == "imagenet":
        try:
            load_imagenet(network)
        except ModelError as error:
            raise ConfigError(f"architecture {card.architecture!r}: {error}") from error
    network = channels_last(network, device)
    optimizer, schedule = _optimizer(network, config)
    return Training(network, copy.deepcopy(network).eval(), optimizer, schedule)


def _start(network: nn.Module, card: ModelCard, name: str) -> None:
    """Take the weights of another model."""
    other, module = load_module(name)
    parts = [(one.architecture, one.params, len(one.bands), one.classes) for one in (card, other)]
    if parts[0] != parts[1]:
        raise ConfigError(f"train.start: {name} is {parts[1]}; the card here says {parts[0]}")
    network.load_state_dict(module.state_dict())


def _optimizer(network: nn.Module, config: TrainConfig) -> tuple[torch.optim.Optimizer, Any]:
    optimizer = adamw(network, config.rate, config.encoder_rate, config.weight_decay)

    def factor(step: int) -> float:
        if step < config.warmup:
            return (step + 1) / config.warmup
        done = (step - config.warmup) / max(1, config.steps - config.warmup)
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def _facts(config: TrainConfig, sets: list[CropSource]) -> dict[str, Any]:
    counts = {share.source or share.name: one.counts for share, one in zip(config.sets, sets, strict=True)}
    names = ("encoder", "loss", "steps", "batch", "crop_px", "rate", "seed")
    facts = {"tiles": counts, "torch": torch.__version__} | {name: getattr(config, name) for name in names}
    if config.start is not None:
        other = read_card(config.start)
        facts["encoder"] = f"all weights from {other.name} {other.version}"
    return facts
