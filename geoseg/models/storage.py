"""Model directories: ``card.json`` and ``weights.safetensors``, loaded without running anything that they hold."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_weights
from safetensors.torch import save as dump_weights
from torch import Tensor, nn

from geoseg.errors import ModelError
from geoseg.models.bias import shifted
from geoseg.models.card import CARD, ModelCard, Segmenter, model_folder, read_card
from geoseg.models.reduce import reduce_output, scores_of
from geoseg.models.zoo import ARCHITECTURES, build, shapes

__all__ = [
    "BACKENDS",
    "INT8",
    "MIN_PARITY",
    "WEIGHTS",
    "TorchSegmenter",
    "load",
    "load_module",
    "pick_device",
    "save",
]

WEIGHTS = "weights.safetensors"
INT8 = "openvino_int8.xml", "openvino_int8.bin"
"""Graph and numbers of the network in 8 bits, where there is one; see `geoseg.train.quantize`."""
MIN_PARITY = {"openvino-f32": 0.999, "openvino-bf16": 0.995, "openvino-int8": 0.995, "torch-cuda-bf16": 0.995}
"""Least share of pixels with the same class as torch in 32 bits, for a backend to be chosen by itself."""
BACKENDS = (
    "auto", "openvino-int8", "openvino-bf16", "openvino-f32", "torch-cpu", "torch-cuda", "torch-cuda-bf16",
)  # fmt: skip


class TorchSegmenter:
    """A torch network as a `Segmenter`.

    Attributes:
        card: What it needs and promises.
        module: The network in evaluation mode, on `device`.
        device: Where it runs.
        backend: Name of the backend, with the device and, below 32 bits, the precision.
    """

    def __init__(
        self, card: ModelCard, module: nn.Module, device: str | torch.device = "cpu", precision: str = "f32"
    ) -> None:
        """Wrap a network.

        Args:
            card: Its card.
            module: The network.
            device: Where to run it.
            precision: ``f32``, or ``bf16`` to let torch choose where 16 bits are enough (autocast).
        """
        self.card = card
        self.device = torch.device(device)
        self.backend = f"torch-{self.device.type}" + ("" if precision == "f32" else f"-{precision}")
        self._half = precision == "bf16"
        self.module = channels_last(module.eval(), self.device)
        self._mean = torch.tensor(card.mean, device=self.device).view(1, -1, 1, 1)
        self._std = torch.tensor(card.std, device=self.device).view(1, -1, 1, 1)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Class probabilities (N, K, H, W) float32 of images (N, C, H, W), uint8 or float32 in 0..1."""
        with torch.inference_mode():
            return scores_of(self._output(images)).float().softmax(dim=1).cpu().numpy()

    def classify(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        """Classes, confidence and offsets as `geoseg.models.reduce.reduce_output` gives them, reduced on the device."""
        with torch.inference_mode():
            return tuple(part.cpu().numpy() for part in reduce_output(self._output(images)))

    def _output(self, images: np.ndarray) -> Tensor | tuple[Tensor, Tensor]:
        pixels = torch.from_numpy(images)
        if self.device.type == "cuda":
            pixels = pixels.pin_memory()
        pixels = pixels.to(self.device, non_blocking=True).to(memory_format=torch.channels_last)
        scale = 255.0 if images.dtype == np.uint8 else 1.0  # not by geoseg.ortho: a network needs no raster library
        values = (pixels.float() / scale - self._mean) / self._std
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._half):
            output: Tensor | tuple[Tensor, Tensor] = self.module(values)
        return output


def channels_last(module: nn.Module, device: torch.device) -> nn.Module:
    """The module on a device, in the memory layout in which convolutions are fastest."""
    return module.to(device).to(memory_format=torch.channels_last)


def pick_device(name: str = "auto") -> torch.device:
    """The torch device of a name; ``auto`` is the GPU where there is one.

    Raises:
        ModelError: If the device is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in ("cpu", "cuda"):
        raise ModelError(f"device {name!r} is not known; expected auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ModelError("no CUDA device was found; expected auto or cpu")
    return torch.device(name)


def load(name: str | Path = "default", backend: str = "auto") -> Segmenter:
    """The segmenter of a shipped model or of a model directory.

    Args:
        name: Name of a shipped model, or path of a directory with a card.
        backend: One of `BACKENDS`. ``auto`` takes the GPU where there is one, in 16 bits if their parity on the card
            is high enough; else the fastest OpenVINO precision whose parity is; else torch.

    Raises:
        ModelError: If there is no such model or backend, or card and weights do not fit.
    """
    if backend not in BACKENDS:
        raise ModelError(f"backend {backend!r} is not known; expected one of {', '.join(BACKENDS)}")
    folder = model_folder(name)
    card = read_card(folder)
    known = ARCHITECTURES.get(card.architecture)  # what is not known is told when it is built
    if backend.startswith("openvino") and known is not None and not known.graph:
        raise ModelError(f"{card.architecture} does not run on {backend}; expected auto, torch-cpu or torch-cuda")
    if backend == "auto":
        backend = _best_on_gpu(card) if torch.cuda.is_available() else _best_on_cpu(card, folder)
    if backend == "openvino-int8":
        from geoseg.models.openvino import OpenvinoSegmenter, read_int8

        return OpenvinoSegmenter(card, read_int8(folder, card), "int8")
    module = shifted(load_module(folder)[1], card.logit_bias)
    if backend.startswith("torch-"):
        _, device, *precision = backend.split("-")
        return TorchSegmenter(card, module, pick_device(device), *precision)
    from geoseg.models.openvino import OpenvinoSegmenter

    return OpenvinoSegmenter(card, module, backend.removeprefix("openvino-"))


def _best_on_gpu(card: ModelCard) -> str:
    half = "torch-cuda-bf16"
    return half if card.parity.get(half, 0) >= MIN_PARITY[half] else "torch-cuda"


def _best_on_cpu(card: ModelCard, folder: Path) -> str:
    if not card.parity:
        return "torch-cpu"
    from geoseg.models.openvino import precisions

    whole = all((folder / name).is_file() for name in INT8)
    names = (f"openvino-{precision}" for precision in precisions() if precision != "int8" or whole)
    return next((name for name in names if card.parity.get(name, 0) >= MIN_PARITY[name]), "torch-cpu")


def load_module(name: str | Path) -> tuple[ModelCard, nn.Module]:
    """Card and network, weights loaded, on the CPU.

    Raises:
        ModelError: If there is no such model, or card and weights do not fit.
    """
    folder = model_folder(name)
    card = ModelCard.read(folder / CARD)
    network = card.architecture, card.params, len(card.bands), len(card.classes)
    with torch.random.fork_rng(devices=()):  # random weights are made to be replaced: nobody should notice
        # Shapes first, which take no memory: a card cannot ask for more than its weight file holds.
        weights = _weights(folder / WEIGHTS, card, shapes(*network))
        module = build(*network)
    module.load_state_dict(weights)
    return card, module.eval()


def save(folder: Path, card: ModelCard, module: nn.Module, *, half: bool = True) -> ModelCard:
    """Write a model directory and return its card with the hash of the weights.

    Args:
        folder: Made if it is missing.
        card: What to write beside the weights.
        module: The network.
        half: Store floating point weights in 16 bits, where none is too large for them; they are loaded as 32.

    Raises:
        ModelError: If a weight is no number.
    """
    state = {name: _stored(name, value.detach().cpu(), half) for name, value in module.state_dict().items()}
    content = dump_weights(state)
    parity = {name: share for name, share in card.parity.items() if name != "openvino-int8"}
    digest = hashlib.sha256(content).hexdigest()
    card = card.model_copy(update={"weights_sha256": digest, "int8_sha256": None, "parity": parity})
    folder.mkdir(parents=True, exist_ok=True)
    for name in INT8:  # made of other weights
        (folder / name).unlink(missing_ok=True)
    (folder / WEIGHTS).write_bytes(content)
    card.write(folder / CARD)
    return card


def _stored(name: str, value: Tensor, half: bool) -> Tensor:
    if not value.is_floating_point():
        return value.contiguous()
    if not value.isfinite().all():
        raise ModelError(f"the weights {name} hold what is no number; train again with a lower rate")
    small = value.half()
    return (small if half and small.isfinite().all() else value).contiguous()


def _weights(path: Path, card: ModelCard, wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    try:
        content = path.read_bytes()
        found = parse_weights(content)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    except SafetensorError as error:
        raise ModelError(f"{path} is no safetensors file: {error}") from error
    digest = hashlib.sha256(content).hexdigest()
    if card.weights_sha256 not in (None, digest):
        raise ModelError(f"{path} is not the file that its card was written for: sha256 {digest}")
    for name in sorted(found.keys() | wanted.keys()):
        here, there = found.get(name), wanted.get(name)
        if here is None or there is None or here.shape != there.shape:
            shapes = [None if tensor is None else tuple(tensor.shape) for tensor in (here, there)]
            raise ModelError(f"{path}: {name} has shape {shapes[0]}; {card.architecture} needs {shapes[1]}")
        if here.is_floating_point() and not here.isfinite().all():
            raise ModelError(f"{path}: {name} holds what is no number; the training went wrong, make the model anew")
    return {name: value.to(wanted[name].dtype) for name, value in found.items()}
