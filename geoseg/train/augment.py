"""Augmentation for drone images: how the same field looks from another height, on another day, with another camera."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["AugmentConfig", "Placing", "change_looks", "sample_crop"]


@dataclass(frozen=True)
class AugmentConfig:
    """How much the images are changed (YAML section ``augment``).

    Attributes:
        brightness: Gains from 1 - b to 1 + b.
        channel: Gain of each band, 1 - c to 1 + c.
        contrast: About the image's mean, 1 - c to 1 + c.
        gamma: Exponents from 1 / g to g.
        noise: Largest standard deviation, as a fraction of the full scale.
        blur: Share of the images that are blurred.
        motion: Share of the images with motion blur, as of a drone that flew too fast for the light.
        shadow: Share of the images with a cast shadow.
        mix: Share of the images whose bands are put in another order or mixed; for models of any bands.
        misaligned: Share of the images whose bands lie up to a pixel beside each other, as of cameras with many lenses.
        share: Share of the images whose looks are changed; the others stay as the camera took them.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    brightness: float = 0.25
    channel: float = 0.12
    contrast: float = 0.2
    gamma: float = 1.3
    noise: float = 0.03
    blur: float = 0.3
    shadow: float = 0.2
    motion: float = 0.0
    mix: float = 0.0
    misaligned: float = 0.0
    share: float = 1.0


@dataclass(frozen=True)
class Placing:
    """How a square crop lies in its image.

    Attributes:
        centre: (row, col) of its centre in pixels of the image; the first pixel's centre is 0.
        scale: Pixels of the image per pixel of the crop.
        angle: Degrees.
        size: Side of the crop in pixels.
    """

    centre: tuple[float, float]
    scale: float
    angle: float
    size: int

    def places(self) -> tuple[Tensor, Tensor]:
        """(size, size) rows and columns in the image of the pixels of the crop."""
        cos, sin = self._turn()
        steps = torch.arange(self.size, dtype=torch.float32) - (self.size - 1) / 2
        down, right = torch.meshgrid(steps, steps, indexing="ij")
        return self.centre[0] + cos * down - sin * right, self.centre[1] + sin * down + cos * right

    def back(self, points: Tensor) -> Tensor:
        """(n, 2) rows and columns in the crop of (n, 2) rows and columns in the image."""
        cos, sin = self._turn()
        down, right = (points - torch.tensor(self.centre, dtype=points.dtype)).unbind(dim=1)
        turned = torch.stack([cos * down + sin * right, cos * right - sin * down], dim=1)
        return turned / self.scale**2 + (self.size - 1) / 2

    def _turn(self) -> tuple[float, float]:
        turn = math.radians(self.angle)
        return math.cos(turn) * self.scale, math.sin(turn) * self.scale


def sample_crop(image: Tensor, codes: Tensor, fill: Sequence[int], placing: Placing) -> tuple[Tensor, Tensor]:
    """A square crop, turned and scaled.

    Where a pixel of the crop is larger than one of the image, it is a mean over its area, as a run makes its working
    grid and as a camera farther away would see it; single samples would be sharper than either.

    Args:
        image: (C, H, W) float.
        codes: (L, H, W) integer layers such as class codes and plant ids, taken from the nearest pixel.
        fill: Value of each layer beyond the image.
        placing: Where the crop lies.

    Returns:
        (C, size, size) float, mirrored beyond the image, and (L, size, size) int64.
    """
    height, width = codes.shape[1:]
    fold = math.ceil(placing.scale - 1e-6)
    rows, cols = replace(placing, scale=placing.scale / fold, size=placing.size * fold).places()
    grid = torch.stack([(cols * 2 + 1) / width - 1, (rows * 2 + 1) / height - 1], dim=-1)[None]
    crop = F.grid_sample(image[None], grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    crop = F.avg_pool2d(crop, fold)[0] if fold > 1 else crop[0]
    rows, cols = placing.places()
    r, c = rows.round().long(), cols.round().long()
    inside = (r >= 0) & (r < height) & (c >= 0) & (c < width)
    nearest = codes[:, r.clamp(0, height - 1), c.clamp(0, width - 1)].long()
    return crop, torch.where(inside, nearest, torch.tensor(fill).view(-1, 1, 1))


def change_looks(images: Tensor, config: AugmentConfig, random: torch.Generator) -> Tensor:
    """Change exposure, colour, sharpness and light of a batch.

    Args:
        images: (N, C, H, W) float in 0..1.
        config: How much.
        random: Source of randomness.
    """
    count, bands = images.shape[:2]
    taken = images

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand((count, *shape), generator=random)

    gain = uniform(1 - config.brightness, 1 + config.brightness, 1, 1, 1)
    gain = gain * uniform(1 - config.channel, 1 + config.channel, bands, 1, 1)
    images = _shade(images * gain, config.shadow, random)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = mean + (images - mean) * uniform(1 - config.contrast, 1 + config.contrast, 1, 1, 1)
    limit = math.log(config.gamma)
    images = images.clamp(1e-4, 1) ** torch.exp(uniform(-limit, limit, 1, 1, 1))
    if config.misaligned > 0:
        images = _misalign(images, config.misaligned, random)
    images = _blur(images, config.blur, random)
    if config.motion > 0:
        images = _move(images, config.motion, random)
    noise = torch.randn(images.shape, generator=random) * uniform(0, config.noise, 1, 1, 1)
    images = (images + noise).clamp(0, 1)
    if config.share < 1:
        images = torch.where(uniform(0, 1, 1, 1, 1) < config.share, images, taken)
    return images


def _shade(images: Tensor, share: float, random: torch.Generator) -> Tensor:
    """Darken one side of a random line in some images, with a soft edge."""
    count, _, height, width = images.shape
    angle = torch.rand((count, 1, 1), generator=random) * 2 * math.pi
    offset = (torch.rand((count, 1, 1), generator=random) - 0.5) * height
    rows = torch.arange(height, dtype=torch.float32).view(1, -1, 1) - height / 2
    cols = torch.arange(width, dtype=torch.float32).view(1, 1, -1) - width / 2
    side = torch.sigmoid((rows * torch.cos(angle) + cols * torch.sin(angle) - offset) / 4)
    depth = 0.3 + 0.4 * torch.rand((count, 1, 1), generator=random)
    chosen = (torch.rand((count, 1, 1), generator=random) < share).float()
    return images * (1 - chosen * depth * side)[:, None]


def _misalign(images: Tensor, share: float, random: torch.Generator) -> Tensor:
    """Move every band of some images by a part of a pixel, up to one."""
    count, bands, height, width = images.shape
    chosen = (torch.rand((count, 1, 1), generator=random) < share).float()
    shift = (torch.rand((count, bands, 2), generator=random) * 2 - 1) * chosen
    flat = F.pad(images, (1, 1, 1, 1), mode="reflect").reshape(1, count * bands, height + 2, width + 2)
    taps = torch.arange(-1.0, 2.0)
    for axis, shape in ((0, (-1, 1, 3, 1)), (1, (-1, 1, 1, 3))):
        kernel = (1 - (taps - shift[..., axis, None]).abs()).clamp(min=0).reshape(shape)
        flat = F.conv2d(flat, kernel, groups=count * bands)
    return flat.reshape(images.shape)


def _blur(images: Tensor, share: float, random: torch.Generator) -> Tensor:
    """Blur some images with a small Gaussian of random width."""
    count, bands = images.shape[:2]
    sigma = 0.4 + 0.9 * torch.rand((count, 1), generator=random)
    kernel = torch.exp(-(torch.arange(-2, 3, dtype=torch.float32) ** 2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(bands, dim=0)
    flat = F.pad(images, (2, 2, 2, 2), mode="reflect").reshape(1, count * bands, images.shape[2] + 4, -1)
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=count * bands)
    flat = F.conv2d(flat, kernel[:, None, None, :], groups=count * bands)
    chosen = torch.rand((count, 1, 1, 1), generator=random) < share
    return torch.where(chosen, flat.reshape(images.shape), images)


def _move(images: Tensor, share: float, random: torch.Generator) -> Tensor:
    """Blur some images along a line of 3 to 9 pixels in a random direction."""
    count, bands = images.shape[:2]
    half = (3 + 6 * torch.rand((count, 1, 1), generator=random)) / 2
    angle = torch.rand((count, 1, 1), generator=random) * math.pi
    rows, cols = torch.meshgrid(torch.arange(-4.0, 5), torch.arange(-4.0, 5), indexing="ij")
    along = rows * torch.sin(angle) + cols * torch.cos(angle)
    across = cols * torch.sin(angle) - rows * torch.cos(angle)
    kernel = (half + 0.5 - along.abs()).clamp(0, 1) * (1 - across.abs()).clamp(min=0)  # a line of one pixel's width
    kernel = kernel / kernel.sum(dim=(1, 2), keepdim=True)
    flat = F.pad(images, (4, 4, 4, 4), mode="reflect").reshape(1, count * bands, images.shape[2] + 8, -1)
    moved = F.conv2d(flat, kernel.repeat_interleave(bands, dim=0)[:, None], groups=count * bands)
    chosen = torch.rand((count, 1, 1, 1), generator=random) < share
    return torch.where(chosen, moved.reshape(images.shape), images)
