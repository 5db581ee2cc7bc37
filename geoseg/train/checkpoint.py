"""Checkpoints: everything that a training needs to go on as if nothing had happened."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from geoseg.durable import drafted
from geoseg.errors import ConfigError
from geoseg.train.settings import SetShare, TrainConfig

__all__ = ["CHECKPOINT", "Training", "forget", "keep", "resume"]

CHECKPOINT = "checkpoint.pt"
_MODULES = ("network", "average", "optimizer", "schedule")
_FREE = ("device", "save_every", "tensorboard")
"""Settings that may change between the parts of one training."""


@dataclass
class Training:
    """What changes while a network learns.

    Attributes:
        network: The network.
        average: The moving average of its weights.
        optimizer: AdamW.
        schedule: Of its rate.
        step: Updates done.
        log: Step, loss and learning rate of every update.
        validations: Step and scores by source of every validation.
        best: Mean IoU of the best validation, and its weights.
        since: Validations since the best.
    """

    network: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    step: int = 0
    log: list[tuple[int, float, float]] = field(default_factory=list)
    validations: list[dict[str, Any]] = field(default_factory=list)
    best: tuple[float, dict[str, Tensor]] | None = None
    since: int = 0


def keep(training: Training, config: TrainConfig, out: Path) -> None:
    """Write a checkpoint; the one before it stays until the new one is whole."""
    plain = {one.name: getattr(training, one.name) for one in fields(training) if one.name not in _MODULES}
    state = plain | {name: getattr(training, name).state_dict() for name in _MODULES}
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    out.mkdir(parents=True, exist_ok=True)
    with drafted(out / CHECKPOINT) as draft:
        torch.save({"key": _key(config), "chance": torch.get_rng_state(), "cuda": cuda, "state": state}, draft)


def resume(training: Training, config: TrainConfig, out: Path) -> bool:
    """Put a training where its checkpoint left it; False if there is none.

    Raises:
        ConfigError: If the checkpoint cannot be read or is that of another configuration.
    """
    path = out / CHECKPOINT
    if not path.exists():
        return False
    again = "remove it to begin anew, or choose another --out"
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        key, state = found["key"], found["state"]
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, TypeError, UnpicklingError) as error:
        raise ConfigError(f"{path} is no whole checkpoint; {again}") from error
    if key != _key(config):
        raise ConfigError(f"{path} is of a training with other settings or on other data; {again}")
    for name in _MODULES:
        getattr(training, name).load_state_dict(state[name])
    for one in fields(training):
        if one.name not in _MODULES:
            setattr(training, one.name, state[one.name])
    torch.set_rng_state(found["chance"])
    if found["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(found["cuda"])
    return True


def forget(out: Path) -> None:
    """Remove the checkpoint of a training that is done."""
    (out / CHECKPOINT).unlink(missing_ok=True)


def _key(config: TrainConfig) -> str:
    settings = {name: value for name, value in asdict(config).items() if name not in _FREE}
    said = settings | {"data": [_data(share) for share in config.sets]}
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


def _data(share: SetShare) -> str | list[int]:
    """What tells other data under the same name: the index of a tile set, which counts pixels, or sizes of files."""
    if share.path is not None:
        return hashlib.sha256((Path(share.path) / "index.csv").read_bytes()).hexdigest()
    files = (Path(name) for name in (share.ortho, share.labels, share.instances) if name is not None)
    return [file.stat().st_size for file in files if file.is_file()]
