"""How far a network looks: what margin a window needs so that cutting a large image changes nothing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from geoseg.models.reduce import scores_of

__all__ = ["reach"]

_WIDE_PX = 1536
_HIGH_PX = (64, 128)
"""The second is for the few networks that pool so much that the first is too small."""


def reach(module: nn.Module, bands: int, stride: int) -> int | None:
    """Pixels beyond which nothing in the image changes a pixel's scores; None if there is no practical limit.

    Nothing has to be known of the layers: a stripe of NaN goes into a long image of zeros, and whatever looks at the
    stripe, however little it weighs it, comes out as NaN. Attention, global pooling and group norms look at everything.
    More than 700 pixels count as no limit: a margin of that size costs more than the window.

    Args:
        module: The network.
        bands: Number of input bands.
        stride: Its total stride in pixels; the stripe is as wide, so that every phase of the lattice is seen.

    Raises:
        ValueError: If a stripe of NaN leaves no trace, as in networks that sort and choose.
    """
    first = (_WIDE_PX // 2) // stride * stride
    training = module.training
    module.eval()
    try:
        scores = _stripe(module, bands, _HIGH_PX[0], slice(first, first + stride))
    except RuntimeError:
        scores = _stripe(module, bands, _HIGH_PX[1], slice(first, first + stride))
    finally:
        module.train(training)
    seen = scores.isnan().any(dim=1).any(dim=1)[0].nonzero().flatten()
    if not len(seen):
        raise ValueError("a stripe of NaN leaves no trace in the scores of this network")
    low, high = int(seen.min()), int(seen.max())
    if low == 0 or high == scores.shape[-1] - 1:
        return None
    return max(first - low, high - (first + stride - 1))


def _stripe(module: nn.Module, bands: int, high: int, stripe: slice) -> Tensor:
    image = torch.zeros(1, bands, high, 2 * stripe.start + 2 * (stripe.stop - stripe.start))
    image[..., stripe] = torch.nan
    with torch.inference_mode():
        return scores_of(module(image))
