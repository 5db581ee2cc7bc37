"""Boxes with masks, painted as class scores and as offsets to the centre of each mask."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["paint"]

_LEAST = 0.5001
"""Least probability of a painted plant's class, so that it stays the likeliest."""


def paint(found: dict[str, Tensor], shape: tuple[int, int], classes: int) -> tuple[Tensor, Tensor]:
    """Scores and offsets of one image; where masks overlap, the plant with the higher score is on top.

    Args:
        found: boxes (n, 4) x0, y0, x1, y1 in pixels, labels (n,), scores (n,), masks (n, 1, m, m) in 0..1 in the box.
        shape: (height, width) in pixels, even.
        classes: Number of classes; 0 is the ground.

    Returns:
        (classes, H, W) logarithms of probabilities, and (2, H / 2, W / 2) offsets, down and right, from the middle of
        each pixel of half the resolution to the centre of the plant on it, in such pixels; 0 where there is none.
    """
    device = found["boxes"].device
    owner = torch.full(shape, -1, dtype=torch.int64, device=device)
    centres = torch.zeros((len(found["boxes"]), 2), device=device)
    for index in found["scores"].argsort().tolist():
        rows, cols = _inside(found["boxes"][index], shape)
        if not len(rows) or not len(cols):
            continue
        mask = _sample(found["masks"][index, 0], found["boxes"][index], rows, cols) >= 0.5
        if not mask.any():
            continue
        part = owner[int(rows[0]) : int(rows[-1]) + 1, int(cols[0]) : int(cols[-1]) + 1]
        part[mask] = index
        down, right = mask.nonzero(as_tuple=True)
        centres[index] = torch.stack([rows[down].float().mean(), cols[right].float().mean()])
    return _scores(owner, found, classes), _offsets(owner, centres)


def _inside(box: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Rows and columns whose middles lie in a box."""
    x0, y0, x1, y1 = box.tolist()
    ranges = []
    for low, high, size in ((y0, y1, shape[0]), (x0, x1, shape[1])):
        first, last = max(0, round(low)), min(size, round(high))
        ranges.append(torch.arange(first, max(first, last), device=box.device))
    return ranges[0], ranges[1]


def _sample(mask: Tensor, box: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """(rows, cols) values of a mask that fills its box, at the middles of pixels."""
    y = (rows + 0.5 - box[1]) / (box[3] - box[1]) * 2 - 1
    x = (cols + 0.5 - box[0]) / (box[2] - box[0]) * 2 - 1
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)
    sampled: Tensor = F.grid_sample(
        mask[None, None].float(), grid[None].float(), padding_mode="border", align_corners=False
    )
    return sampled[0, 0]


def _scores(owner: Tensor, found: dict[str, Tensor], classes: int) -> Tensor:
    probabilities = torch.zeros((classes, *owner.shape), device=owner.device)
    probabilities[0] = 1
    rows, cols = (owner >= 0).nonzero(as_tuple=True)
    which = owner[rows, cols]
    sure = found["scores"][which].float().clamp(min=_LEAST)
    probabilities[0, rows, cols] = 1 - sure
    probabilities[found["labels"][which], rows, cols] = sure
    return probabilities.clamp(min=1e-6).log()


def _offsets(owner: Tensor, centres: Tensor) -> Tensor:
    # A pixel of half the resolution belongs to one of its four pixels' plants: whichever comes first in the list.
    half = F.max_pool2d(owner[None, None].float(), 2)[0, 0].long()
    offsets = torch.zeros((2, *half.shape), device=owner.device)
    rows, cols = (half >= 0).nonzero(as_tuple=True)
    here = torch.stack([rows, cols], dim=1).float()
    offsets[:, rows, cols] = ((centres[half[rows, cols]] - 0.5) / 2 - here).T
    return offsets
