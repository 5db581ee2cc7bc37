"""The same network as an ONNX file, with what QGIS' Deepness plugin reads; written only if it agrees with torch.

Deepness cuts square tiles of a fixed size from 8-bit layers, divides by 255, subtracts ``standardization_mean`` and
divides by ``standardization_std``, and takes the class of the largest output. Plant offsets are left out: the plugin
takes one output.

Reference: https://qgis-plugin-deepness.readthedocs.io, creators' pages, and its ModelBase class
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from geoseg.durable import drafted
from geoseg.errors import ModelError
from geoseg.models.bias import shifted
from geoseg.models.card import ModelCard
from geoseg.models.reduce import scores_of
from geoseg.models.storage import TorchSegmenter
from geoseg.ortho import Ortho, OrthoConfig
from geoseg.windows import windows

__all__ = ["MIN_PARITY", "card_for", "export_onnx", "metadata", "real_windows", "standardised"]

MIN_PARITY = 0.999
"""Least share of pixels of real windows with the same class as torch, for a file to be written."""
_OPSET = 18
_MOST_OVERLAP = 80


def export_onnx(
    card: ModelCard, module: nn.Module, images: Iterable[np.ndarray], out: Path, size_px: int = 512
) -> float:
    """Write an ONNX file and return the share of pixels with the same class as torch.

    Args:
        card: Card of the network.
        module: The network, as `geoseg.models.storage.load_module` gives it.
        images: (C, size, size) uint8 windows of real imagery to compare on.
        out: The file; replaced if it is there.
        size_px: Side of the tiles.

    Raises:
        ModelError: If the size does not fit, a library is missing, the network cannot be expressed, or the two agree
            on too few pixels; nothing is written then.
    """
    _refuse_size(card, size_px)
    _import_onnx()
    module = shifted(module, card.logit_bias).cpu().eval()
    try:
        with drafted(out) as draft:
            _write(_Probabilities(module).eval(), card, size_px, draft)
            parity = _parity(card, module, images, draft)
            if parity < MIN_PARITY:
                raise ModelError(
                    f"the ONNX file gives {parity:.4%} of the pixels the same class as torch; expected "
                    f"{MIN_PARITY:.1%} or more, so it was not written"
                )
    except OSError as error:
        raise ModelError(f"{out} cannot be written: {error.strerror or error}") from error
    return parity


def metadata(card: ModelCard, size_px: int) -> dict[str, str]:
    """What Deepness reads, as JSON values by key, and the whole card under ``geoseg_card``.

    Args:
        card: Card of the network.
        size_px: Side of the tiles.
    """
    overlap = min(_MOST_OVERLAP, math.ceil(200 * card.tiling.margin_px / size_px))
    values: dict[str, Any] = {
        "model_type": "Segmentor",
        "class_names": {str(code): name for code, name in enumerate(card.classes)},
        "resolution": round(card.gsd.train_m * 100, 6),  # centimetres per pixel
        "tile_size": size_px,  # what the plugin reads
        "tiles_size": size_px,  # what its pages say
        "tiles_overlap": overlap,  # percent
        "standardization_mean": list(card.mean),
        "standardization_std": list(card.std),
        "seg_thresh": 0.0,
        "seg_small_segment": 0,
        "geoseg_card": card.model_dump(mode="json"),
    }
    return {key: json.dumps(value) for key, value in values.items()}


def card_for(card: ModelCard, image: Path | str, config: OrthoConfig | None = None) -> ModelCard:
    """The card with the scale of one ortho, if it takes each ortho by its own statistics; else as it is.

    What reads an ONNX file knows no statistics: mean and standard deviation of its input are then that ortho's, and the
    file is for this ortho alone.

    Raises:
        OrthoError: If the ortho cannot be used.
        ModelError: If it is not of 8 bits.
    """
    if card.scaling == "fixed":
        return card
    source = Ortho.open(image, config, card.bands, card.scaling)
    if source.levels is None or source.dtype != "uint8":
        raise ModelError(f"{source.name} is {source.dtype}; {card.name} can be exported for orthos of 8 bits only")
    spans = [(low / 255, (high - low) / 255) for low, high in source.levels]
    changes = {
        "scaling": "fixed",
        "mean": tuple(low + mean * span for mean, (low, span) in zip(card.mean, spans, strict=True)),
        "std": tuple(std * span for std, (_, span) in zip(card.std, spans, strict=True)),
        "limits": (f"Scaled for {source.name} alone.", *card.limits),
    }
    return card.model_copy(update=changes)


def standardised(card: ModelCard, image: np.ndarray) -> np.ndarray:
    """(1, C, H, W) float32 of a (C, H, W) uint8 image, as Deepness makes it."""
    mean, std = (np.array(values, np.float32).reshape(-1, 1, 1) for values in (card.mean, card.std))
    return np.asarray((image * np.float32(1 / 255) - mean) / std, np.float32)[None]


def real_windows(
    image: Path | str, card: ModelCard, size_px: int, most: int = 4, config: OrthoConfig | None = None
) -> list[np.ndarray]:
    """(C, size, size) uint8 windows of an ortho at the model's resolution, from all over it, without a hole.

    Args:
        image: The ortho.
        card: Card of the model.
        size_px: Side of a window.
        most: How many at most.
        config: How to read the ortho where it does not say so itself.

    Raises:
        OrthoError: If the ortho cannot be used.
        GsdError: If its resolution does not fit the model.
        ModelError: If it has no such window.
    """
    source = Ortho.open(image, config, card.bands)
    grid = source.working_grid(card.gsd)
    height, width = (int(side) for side in grid.shape)
    places = [window.write for window in windows((height, width), size_px, 0) if window.write.size == size_px**2]
    step = max(1, len(places) // 64)
    found: list[np.ndarray] = []
    with source.reader(grid) as reader:
        whole = [rect for rect in places[step // 2 :: step] if reader.valid(rect).all()]
        for rect in whole[:: max(1, len(whole) // most)][:most]:
            pixels, _ = reader.read(rect, card.mean)
            found.append(pixels if pixels.dtype == np.uint8 else np.rint(pixels * 255).clip(0, 255).astype(np.uint8))
    if not found:
        raise ModelError(
            f"{image} has no window of {size_px} px without a hole; give another image, or a smaller --size"
        )
    return found


class _Probabilities(nn.Module):
    """Standardised pixels to class probabilities."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, image: Tensor) -> Tensor:
        return scores_of(self.module(image)).softmax(dim=1)


def _write(network: nn.Module, card: ModelCard, size_px: int, path: Path) -> None:
    onnx = _import_onnx()
    example = torch.zeros(1, len(card.bands), size_px, size_px)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter uses parts of torch that torch deprecates
            torch.onnx.export(
                network, (example,), path, input_names=["image"], output_names=["probabilities"],
                opset_version=_OPSET, dynamo=True, external_data=False, verbose=False,
            )  # fmt: skip
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise ModelError(f"{card.architecture} cannot be expressed in ONNX: {reason}") from error
    model = onnx.load(path)
    onnx.helper.set_model_props(model, metadata(card, size_px))
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _parity(card: ModelCard, module: nn.Module, images: Iterable[np.ndarray], path: Path) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    # The module is shifted already.
    reference = TorchSegmenter(card.model_copy(update={"logit_bias": ()}), module)
    same = total = 0
    for window in images:
        there = reference(window[None]).argmax(axis=1)
        here = session.run(None, {"image": standardised(card, window)})[0].argmax(axis=1)
        same, total = same + int((there == here).sum()), total + there.size
    if not total:
        raise ModelError("there is no window to compare ONNX with torch on; give an image with --image")
    return same / total


def _refuse_size(card: ModelCard, size_px: int) -> None:
    stride, least = card.tiling.stride_px, 2 * card.tiling.margin_px + card.tiling.stride_px
    if size_px % stride or size_px < least:
        raise ModelError(
            f"tiles of {size_px} px do not fit {card.name}: expected a multiple of {stride}, {least} or more"
        )


def _import_onnx() -> Any:
    try:
        import onnx
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ModelError(f"export to ONNX needs {error.name}: pip install 'geoseg[onnx]'") from error
    return onnx
