"""An operating point: class scores shifted before the largest wins, so that fewer weeds are missed or less is sprayed.

Adding b to the score of weed makes a pixel weed when ``p(weed) exp(b)`` is the largest, whatever the backend. The
shift stands in the card as ``logit_bias``; it is found by `geoseg evaluate --tune-recall`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["Shifted", "shifted"]


class Shifted(nn.Module):
    """A network whose class scores are shifted; whatever else it gives stays."""

    def __init__(self, module: nn.Module, bias: Sequence[float]) -> None:
        """Wrap a network.

        Args:
            module: Gives (N, K, H, W) scores, or a tuple that starts with them.
            bias: (K,) added to the scores.
        """
        super().__init__()
        self.module = module
        self.bias: Tensor
        self.register_buffer("bias", torch.tensor(list(bias), dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """What the network gives, with the scores shifted."""
        found = self.module(x)
        if isinstance(found, Tensor):
            return found + self.bias
        scores, *rest = found
        return (scores + self.bias, *rest)


def shifted(module: nn.Module, bias: Sequence[float]) -> nn.Module:
    """The network with its scores shifted; the same network where there is nothing to shift."""
    return Shifted(module, bias).eval() if any(bias) else module
