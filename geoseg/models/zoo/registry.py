"""The registry: what can be named in a card, and what each needs.

A card names one of these and nothing else, so that loading a model cannot run foreign code. Builders take the number
of bands and of classes and a few named numbers; names of weights, files or repositories are not among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from geoseg.errors import ModelError
from geoseg.models.unet import STRIDE, UNet
from geoseg.models.zoo.library import smp_network, torchgeo_fcn, torchvision_network
from geoseg.models.zoo.maskrcnn import MaskRcnn
from geoseg.models.zoo.tiny import tiny
from geoseg.models.zoo.transformer import Mask2Former, SegFormer

__all__ = ["ARCHITECTURES", "Architecture", "build", "shapes", "stride_of"]


@dataclass(frozen=True)
class Architecture:
    """One entry of the registry.

    Attributes:
        builder: Called with bands, classes and the card's params.
        stride: Sides of an image must be multiples of it, in pixels.
        about: Half a sentence for people, with a reference.
        extra: The extra that brings the library; None needs nothing more.
        local: Whether its reach can be measured; False for what sorts and chooses over the whole window.
        graph: Whether OpenVINO runs it exactly at every size; False runs on torch.
        plants: Whether it tells plants apart: never, always, or where ``params`` say ``offsets: true``.
    """

    builder: Callable[..., nn.Module]
    stride: int
    about: str
    extra: str | None = None
    local: bool = True
    graph: bool = True
    plants: str = "never"

    def instances(self, params: Mapping[str, Any]) -> Literal["none", "offsets"]:
        """What a network of these params says of plants, as a card has it."""
        wanted = self.plants == "always" or (self.plants == "offsets" and params.get("offsets", False))
        return "offsets" if wanted else "none"


def _smp(kind: str, about: str, stride: int = 32, *, graph: bool = True) -> Architecture:
    return Architecture(partial(smp_network, kind), stride, about, "zoo", graph=graph)


def _torchvision(kind: str, about: str) -> Architecture:
    return Architecture(partial(torchvision_network, kind), 32, about, "zoo")


ARCHITECTURES: dict[str, Architecture] = {
    "unet": Architecture(UNet, STRIDE, "U-Net on EfficientNet-Lite0, the default", plants="offsets"),
    "tiny": Architecture(tiny, 2, "three layers, for lessons and tests"),
    "fcn": _torchvision("fcn", "fully convolutional network (Long et al. 2015) on ResNet"),
    "deeplabv3": _torchvision("deeplabv3", "DeepLabV3 (Chen et al. 2017) on ResNet or MobileNetV3"),
    "lraspp": _torchvision("lraspp", "Lite R-ASPP on MobileNetV3 (Howard et al. 2019)"),
    "torchgeo_fcn": Architecture(torchgeo_fcn, 1, "five convolutions at full resolution", "torchgeo"),
    "smp_unet": _smp("Unet", "U-Net (Ronneberger et al. 2015) on any encoder"),
    "smp_unetplusplus": _smp("UnetPlusPlus", "UNet++ (Zhou et al. 2018)"),
    "smp_deeplabv3": _smp("DeepLabV3", "DeepLabV3 (Chen et al. 2017)"),
    "smp_deeplabv3plus": _smp("DeepLabV3Plus", "DeepLabV3+ (Chen et al. 2018)"),
    "smp_fpn": _smp("FPN", "feature pyramid (Kirillov et al. 2019)"),
    "smp_linknet": _smp("Linknet", "LinkNet (Chaurasia and Culurciello 2017)"),
    "smp_manet": _smp("MAnet", "MA-Net (Fan et al. 2020)"),
    "smp_pan": _smp("PAN", "pyramid attention (Li et al. 2018)"),
    "smp_pspnet": _smp("PSPNet", "pyramid pooling (Zhao et al. 2017)"),
    "smp_segformer": _smp("Segformer", "SegFormer's decoder (Xie et al. 2021) on any encoder, mit_b0 for the original"),
    "smp_upernet": _smp("UPerNet", "UPerNet (Xiao et al. 2018)"),
    "smp_dpt": _smp("DPT", "dense prediction transformer (Ranftl et al. 2021) on a ViT", graph=False),
    "segformer": Architecture(SegFormer, 32, "SegFormer (Xie et al. 2021) of transformers", "transformers"),
    "mask2former": Architecture(
        Mask2Former, 32, "Mask2Former (Cheng et al. 2022) on Swin", "transformers", graph=False
    ),
    "mask_rcnn": Architecture(
        MaskRcnn, 32, "Mask R-CNN (He et al. 2017): finds plants, then outlines them", "zoo", False, False, "always"
    ),
}


def build(name: str, params: Mapping[str, Any], bands: int, classes: int) -> nn.Module:
    """A network with random weights; nothing is downloaded.

    Args:
        name: One of `ARCHITECTURES`.
        params: Further arguments of the architecture.
        bands: Number of input bands.
        classes: Number of classes.

    Raises:
        ModelError: If the name is not known, its library is not installed, or the arguments do not fit.
    """
    if name not in ARCHITECTURES:
        raise ModelError(f"architecture {name!r} is not known; expected one of {', '.join(ARCHITECTURES)}")
    one = ARCHITECTURES[name]
    try:
        return one.builder(bands=bands, classes=classes, **params)
    except ImportError as error:
        what = f"architecture {name!r} needs {error.name or error}"
        raise ModelError(f"{what}; pip install 'geoseg[{one.extra}]'" if one.extra else what) from error
    except (TypeError, ValueError, RuntimeError, KeyError, AssertionError, IndexError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"architecture {name!r} does not take {dict(params)}: {reason}") from error


def shapes(name: str, params: Mapping[str, Any], bands: int, classes: int) -> dict[str, Tensor]:
    """State of a network without memory: names, shapes and types of what a file of weights must hold.

    Raises:
        ModelError: As `build`.
    """
    with torch.device("meta"), _numbers_stay():
        return build(name, params, bands, classes).state_dict()


def stride_of(name: str) -> int:
    """Stride of an architecture in pixels, 1 for a name that is not in the registry."""
    return ARCHITECTURES[name].stride if name in ARCHITECTURES else 1


class _NumbersOnCpu(TorchFunctionMode):
    """Libraries ask for lists of drop rates with torch.linspace and read them: those need values, also on meta."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if function is torch.linspace:
            kwargs["device"] = "cpu"
        return function(*args, **kwargs)


@contextmanager
def _numbers_stay() -> Iterator[None]:
    with _NumbersOnCpu():
        yield
