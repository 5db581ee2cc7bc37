"""How weights are updated, whatever is learnt: the optimizer, and the moving average that is kept."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["adamw", "follow"]


def adamw(network: nn.Module, rate: float, encoder_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW with a rate of its own for the encoder, where the network has one.

    Args:
        network: What learns.
        rate: Learning rate at its highest.
        encoder_rate: The encoder's, as a share of that.
        weight_decay: For all parameters.
    """
    encoder = {id(parameter) for parameter in getattr(network, "encoder", nn.Module()).parameters()}
    groups = [
        {"params": [p for p in network.parameters() if id(p) in encoder], "lr": rate * encoder_rate},
        {"params": [p for p in network.parameters() if id(p) not in encoder], "lr": rate},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], weight_decay=weight_decay)


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the average towards the network, statistics of the norms included."""
    for kept, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)
