"""The same network through OpenVINO, which runs it several times as fast as torch on a CPU.

The weights stay those of the model directory; the graph is traced from the torch module at loading. Whether a
precision may be used is decided by the card: `geoseg.train.fit` compares each with torch on the validation tiles and
notes the share of pixels with the same class; see `geoseg.models.storage.MIN_PARITY`.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

# OpenVINO reports its use over the network through this package where it is installed. Nothing of geoseg goes online:
# with the package out of reach OpenVINO uses its own stand-in, which does nothing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import numpy as np
import openvino
import torch
from torch import Tensor, nn

from geoseg import host
from geoseg.models.card import ModelCard
from geoseg.models.reduce import reduce_output, scores_of

__all__ = ["OpenvinoSegmenter", "precisions"]

_KEPT = 8
"""Compiled shapes that are kept; a raster has four: inside, right edge, lower edge, corner."""


def precisions() -> tuple[str, ...]:
    """Precisions that are fast on this CPU, the fastest first: bf16 only where the CPU has units for it."""
    able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("bf16", "f32") if "BF16" in able else ("f32",)


class OpenvinoSegmenter:
    """A torch network compiled for the CPU, as a `Segmenter`.

    Attributes:
        card: What it needs and promises.
        precision: ``f32`` or ``bf16``, of the arithmetic inside.
        backend: Name of the backend, with the precision.
    """

    def __init__(self, card: ModelCard, module: nn.Module, precision: str = "f32") -> None:
        """Trace a network; it is compiled for a shape when that shape first comes.

        Args:
            card: Its card.
            module: The network.
            precision: ``f32`` or ``bf16``.
        """
        self.card = card
        self.precision = precision
        self.backend = f"openvino-{precision}"
        self._whole = {reduced: _Whole(card, module, reduced).eval() for reduced in (False, True)}
        self._core = openvino.Core()
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
                "INFERENCE_PRECISION_HINT": self.precision,
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_NUM_THREADS": _threads(),
            }
            self._compiled[key] = self._core.compile_model(graph, "CPU", options)
        return self._compiled[key]

    def _graph(self, dtype: np.dtype[Any], reduced: bool) -> openvino.Model:
        key = dtype, reduced
        if key not in self._graphs:
            side = 4 * self.card.tiling.stride_px
            example = torch.zeros(
                (1, len(self.card.bands), side, side), dtype=torch.from_numpy(np.zeros(1, dtype)).dtype
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # OpenVINO's front end uses parts of torch that torch deprecates
                # OpenVINO would trace it with a check that takes longer than all the rest; parity is gated instead.
                traced = torch.jit.trace(self._whole[reduced], example, check_trace=False)  # type: ignore[no-untyped-call]
                self._graphs[key] = openvino.convert_model(traced, example_input=example)
        return self._graphs[key]


class _Whole(nn.Module):
    """Pixels to probabilities, or to classes, confidence and offsets: scaling, normalisation, network, softmax."""

    def __init__(self, card: ModelCard, module: nn.Module, reduced: bool) -> None:
        super().__init__()
        self.reduced = reduced
        self.module = module
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(card.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(card.std).view(1, -1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor | tuple[Tensor, ...]:
        scale = 255.0 if pixels.dtype == torch.uint8 else 1.0
        output = self.module((pixels.float() / scale - self.mean) / self.std)
        return reduce_output(output) if self.reduced else scores_of(output).softmax(dim=1)


def _threads() -> int:
    """Processors that this process may use, or fewer where OMP_NUM_THREADS says so: a container's limit is no mask."""
    count = host.cores()
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(count, int(wanted)) if wanted.isdigit() and int(wanted) > 0 else count
