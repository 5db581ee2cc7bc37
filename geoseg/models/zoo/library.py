"""Networks of segmentation-models-pytorch, torchvision and torchgeo, made from scratch and with any number of bands.

Their constructors download weights unless they are told not to, and take names that lead to a hub or to a file; what a
card may ask of them is therefore a short list.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

__all__ = ["adapt_bands", "smp_network", "torchgeo_fcn", "torchvision_network"]

_SMP_PARAMS = ("encoder_depth", "encoder_output_stride", "psp_out_channels", "upsampling", "dynamic_img_size")
"""What a card may say beside whatever starts with ``decoder_``."""


def smp_network(
    kind: str, bands: int = 3, classes: int = 3, encoder: str = "tu-tf_efficientnet_lite0", **params: Any
) -> nn.Module:
    """An architecture of segmentation-models-pytorch on one of its encoders, or with ``tu-`` on one of timm's.

    Args:
        kind: Name of its class.
        bands: Number of input bands.
        classes: Number of classes.
        encoder: Name of the encoder.
        **params: Arguments of its decoder, ``encoder_depth`` and ``encoder_output_stride``.

    Raises:
        ImportError: If the library is not installed.
        ValueError: If the encoder or an argument is not known, or the encoder takes images of one size only.
    """
    import segmentation_models_pytorch as smp
    import timm

    known = timm.list_models() if encoder.startswith("tu-") else smp.encoders.encoders
    if encoder.removeprefix("tu-").partition(".")[0] not in known:
        raise ValueError(
            f"encoder {encoder!r} is not known; expected a name of smp.encoders, or tu- and a name of timm"
        )
    for name in params:
        if not name.startswith("decoder_") and name not in _SMP_PARAMS:
            raise ValueError(f"{name!r} is not known; expected encoder, decoder_... or {', '.join(_SMP_PARAMS)}")
    if kind == "DPT":  # the same weights, for windows of any size; a ViT takes only its own otherwise
        params = {"dynamic_img_size": True} | params
    network: nn.Module = getattr(smp, kind)(encoder, encoder_weights=None, in_channels=bands, classes=classes, **params)
    fixed = [part.img_size for part in network.modules() if getattr(part, "strict_img_size", False)]
    if fixed:
        raise ValueError(f"encoder {encoder!r} takes images of {fixed[0]} pixels only; expected one for any size")
    return network


class _Out(nn.Module):
    """A network of torchvision without its dictionary; its backbone is the encoder."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @property
    def encoder(self) -> nn.Module:
        """What would start from published weights."""
        return self.network.get_submodule("backbone")

    def forward(self, x: Tensor) -> Tensor:
        """(N, bands, H, W) to (N, classes, H, W)."""
        scores: Tensor = self.network(x)["out"]
        return scores


def torchvision_network(kind: str, bands: int = 3, classes: int = 3, backbone: str = "") -> nn.Module:
    """FCN, DeepLabV3 or Lite R-ASPP of torchvision.

    Args:
        kind: ``fcn``, ``deeplabv3`` or ``lraspp``.
        bands: Number of input bands.
        classes: Number of classes.
        backbone: ``resnet50``, ``resnet101`` or ``mobilenet_v3_large``, as far as torchvision has them for `kind`.

    Raises:
        ImportError: If the library is not installed.
        ValueError: If there is no such combination.
    """
    from torchvision.models import segmentation

    wanted = f"{kind}_{backbone or ('mobilenet_v3_large' if kind == 'lraspp' else 'resnet50')}"
    known = [name for name in dir(segmentation) if name.startswith(f"{kind}_")]
    if wanted not in known:
        names = ", ".join(name.removeprefix(f"{kind}_") for name in known)
        raise ValueError(f"backbone {backbone!r} is not known; expected one of {names}")
    return _Out(
        adapt_bands(getattr(segmentation, wanted)(weights=None, weights_backbone=None, num_classes=classes), bands)
    )


def torchgeo_fcn(bands: int = 3, classes: int = 3, filters: int = 64) -> nn.Module:
    """The network of torchgeo with five convolutions, all at full resolution; it sees 5 pixels.

    Args:
        bands: Number of input bands.
        classes: Number of classes.
        filters: Channels.

    Raises:
        ImportError: If the library is not installed.
    """
    from torchgeo.models import FCN

    network: nn.Module = FCN(bands, classes, filters)
    return network


def adapt_bands(network: nn.Module, bands: int) -> nn.Module:
    """Replace the first convolution by one with another number of input bands, with random weights.

    Args:
        network: A network for three bands.
        bands: Number of input bands.
    """
    name, first = next((name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
    if first.in_channels != bands:
        parent, _, last = name.rpartition(".")
        settings = (first.out_channels, first.kernel_size, first.stride, first.padding, first.dilation, first.groups)
        adapted = nn.Conv2d(bands, *settings, bias=first.bias is not None)  # type: ignore[arg-type]
        setattr(network.get_submodule(parent), last, adapted)
    return network
