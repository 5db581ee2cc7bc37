"""The same network through OpenVINO, which runs it several times as fast as torch on a CPU.

The graph is traced from the torch module at loading; that of 8 bits lies in the model directory, because it needs
ranges that were seen on images (`geoseg.train.quantize`). Whether a precision may be used is decided by the card:
`geoseg.train.fit` compares each with torch on the validation tiles and notes the share of pixels with the same class;
see `geoseg.models.storage.MIN_PARITY`.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# OpenVINO reports its use over the network through this package where it is installed. Nothing of geoseg goes online:
# with the package out of reach OpenVINO uses its own stand-in, which does nothing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import numpy as np
import openvino
import torch
from openvino import opset13 as ops
from torch import Tensor, nn

from geoseg import host
from geoseg.errors import ModelError
from geoseg.models.bias import shifted
from geoseg.models.card import ModelCard
from geoseg.models.reduce import reduce_output
from geoseg.models.storage import INT8

__all__ = ["OpenvinoSegmenter", "body_graph", "precisions", "read_int8"]

_KEPT = 8
"""Compiled shapes that are kept; a raster has four: inside, right edge, lower edge, corner."""


def precisions() -> tuple[str, ...]:
    """Precisions that are fast on this CPU, the fastest first: 8 and 16 bits only where it has units for them.

    Without such units sums of 8-bit products are cut off at 16 bits on some CPUs: not only slower, but wrong.
    """
    able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return (*(["int8"] if _multiplies_bytes() else []), *(["bf16"] if "BF16" in able else []), "f32")


def _multiplies_bytes() -> bool:
    """Whether the CPU multiplies and adds bytes in one step (VNNI); nobody else's 8 bits were looked at."""
    flags = host.cpu_flags()
    if not flags and hasattr(torch.cpu, "get_capabilities"):  # Windows and macOS
        flags = frozenset(name for name, there in torch.cpu.get_capabilities().items() if there is True)
    return bool(flags & {"avx512_vnni", "avx_vnni"})


class OpenvinoSegmenter:
    """A network compiled for the CPU, as a `Segmenter`.

    Attributes:
        card: What it needs and promises.
        precision: ``f32``, ``bf16`` or ``int8``, of the arithmetic inside.
        backend: Name of the backend, with the precision.
    """

    def __init__(self, card: ModelCard, network: nn.Module | openvino.Model, precision: str = "f32") -> None:
        """Trace a network; it is compiled for a shape when that shape first comes.

        Args:
            card: Its card.
            network: The network, its scores shifted already if they are to be; for ``int8`` what `read_int8` gives.
            precision: ``f32``, ``bf16`` or ``int8``.
        """
        self.card = card
        self.precision = precision
        self.backend = f"openvino-{precision}"
        # What is not in 8 bits is in the fastest floating point.
        self._float = next(name for name in precisions() if name != "int8") if precision == "int8" else precision
        self._core = openvino.Core()
        self._network = network
        self._graphs: dict[tuple[Any, ...], openvino.Model] = {}
        self._compiled: dict[tuple[Any, ...], openvino.CompiledModel] = {}

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Class probabilities (N, K, H, W) float32 of images (N, C, H, W), uint8 or float32 in 0..1."""
        # Outputs are copied, because the next call writes into the same memory.
        found: np.ndarray = self._compile(images, False)(np.ascontiguousarray(images), share_inputs=True)[0]
        return found

    def classify(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        """Classes, confidence and offsets as `geoseg.models.reduce.reduce_output` gives them, reduced in the graph."""
        found = self._compile(images, True)(np.ascontiguousarray(images), share_inputs=True)
        return tuple(found[index] for index in range(len(found)))

    def _compile(self, images: np.ndarray, reduced: bool) -> openvino.CompiledModel:
        key = (*images.shape, images.dtype, reduced)
        if key not in self._compiled:
            if len(self._compiled) >= _KEPT:
                self._compiled.pop(next(iter(self._compiled)))
            graph = self._graph(images.dtype, reduced)
            graph.reshape(list(images.shape))
            options = {
                "INFERENCE_PRECISION_HINT": self._float,
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_NUM_THREADS": _threads(),
            }
            self._compiled[key] = self._core.compile_model(graph, "CPU", options)
        return self._compiled[key]

    def _graph(self, dtype: np.dtype[Any], reduced: bool) -> openvino.Model:
        """Pixels to probabilities, or to classes, confidence and offsets."""
        key = dtype, reduced
        if key not in self._graphs:
            head = _head_graph(len(self.card.classes), len(self._body.outputs), reduced, self._bias)
            self._graphs[key] = _joined(self._body, dtype, head)
        return self._graphs[key]

    @functools.cached_property
    def _body(self) -> Any:
        return body_graph(self.card, self._network) if isinstance(self._network, nn.Module) else self._network

    @property
    def _bias(self) -> Sequence[float]:
        return () if isinstance(self._network, nn.Module) else self.card.logit_bias


def read_int8(folder: Path, card: ModelCard) -> openvino.Model:
    """The network in 8 bits that lies in a model directory.

    Raises:
        ModelError: If it is not there, or not the one that the card was written for.
    """
    try:
        graph, numbers = ((folder / name).read_bytes() for name in INT8)
    except OSError as error:
        raise ModelError(
            f"{error.filename} cannot be read: {error.strerror}; `geoseg models quantize` makes it"
        ) from error
    digest = hashlib.sha256(graph + numbers).hexdigest()
    if card.int8_sha256 != digest:
        raise ModelError(f"{folder / INT8[0]} is not the file that its card was written for: sha256 {digest}")
    try:
        return openvino.Core().read_model(graph, numbers)
    except RuntimeError as error:
        version = openvino.get_version().partition("-")[0]
        raise ModelError(
            f"{folder / INT8[0]} cannot be read by OpenVINO {version}: {str(error).splitlines()[-1]}; update it, or "
            "run with --set backend=openvino-f32"
        ) from error


def body_graph(card: ModelCard, module: nn.Module) -> openvino.Model:
    """Normalisation and network: (N, C, H, W) float32 in 0..1 to scores and, if the network gives them, offsets."""
    side = 4 * card.tiling.stride_px
    return _traced(_Body(card, module).eval(), torch.zeros(1, len(card.bands), side, side))


def _head_graph(classes: int, outputs: int, reduced: bool, bias: Sequence[float]) -> openvino.Model:
    """What is made of scores and offsets."""
    parts = torch.zeros(1, classes, 4, 4), torch.zeros(1, 2, 2, 2)
    return _traced(_Head(reduced, bias), *parts[: outputs if reduced else 1])


def _traced(module: nn.Module, *example: Tensor) -> openvino.Model:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # OpenVINO's front end uses parts of torch that torch deprecates
        # OpenVINO would trace it with a check that takes longer than all the rest; parity is gated instead.
        traced = torch.jit.trace(module, example, check_trace=False)  # type: ignore[no-untyped-call]
        return openvino.convert_model(traced, example_input=example)


def _joined(body: openvino.Model, dtype: np.dtype[Any], head: openvino.Model) -> openvino.Model:
    """One graph: pixels of a data type, brought to 0..1, through the network, to what is made of its outputs."""
    body = body.clone()
    (inside,) = body.get_parameters()
    given = ops.parameter(inside.get_partial_shape(), dtype)
    pixels = ops.convert(given, "f32")
    pixels = ops.divide(pixels, ops.constant(np.float32(255))) if dtype == np.uint8 else pixels
    found = [result.input_value(0) for result in body.get_results()]
    for old, new in zip([inside, *head.get_parameters()], [pixels.output(0), *found], strict=False):
        for target in old.output(0).get_target_inputs():
            target.replace_source_output(new)
    return openvino.Model(head.get_results(), [given])


class _Body(nn.Module):
    def __init__(self, card: ModelCard, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(card.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(card.std).view(1, -1, 1, 1))

    def forward(self, values: Tensor) -> Tensor | tuple[Tensor, ...]:
        found: Tensor | tuple[Tensor, ...] = self.module((values - self.mean) / self.std)
        return found


class _Head(nn.Module):
    def __init__(self, reduced: bool, bias: Sequence[float]) -> None:
        super().__init__()
        self.reduced = reduced
        self.shift = shifted(nn.Identity(), bias)

    def forward(self, scores: Tensor, offsets: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
        scores = self.shift(scores)
        if not self.reduced:
            return scores.softmax(dim=1)
        return reduce_output(scores if offsets is None else (scores, offsets))


def _threads() -> int:
    """Processors that this process may use, or fewer where OMP_NUM_THREADS says so: a container's limit is no mask."""
    count = host.cores()
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(count, int(wanted)) if wanted.isdigit() and int(wanted) > 0 else count
