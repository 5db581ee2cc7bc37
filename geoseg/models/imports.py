"""Models that were trained elsewhere: a checkpoint of torchgeo, or plain weights with the architecture named.

Only weights are read (``weights_only``), so that a file cannot run code. What a file does not say has to be given:
nobody can tell from numbers how pixels were scaled, at which resolution, and under which licence.
"""

from __future__ import annotations

import errno
import math
import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from geoseg.errors import ModelError
from geoseg.legend import LEGEND
from geoseg.models.card import ModelCard
from geoseg.models.storage import save
from geoseg.models.zoo import ARCHITECTURES, Architecture, build, reach

__all__ = ["Known", "import_model"]

_TORCHGEO = {
    "unet": "smp_unet",
    "deeplabv3+": "smp_deeplabv3plus",
    "upernet": "smp_upernet",
    "segformer": "smp_segformer",
    "dpt": "smp_dpt",
    "fcn": "torchgeo_fcn",
}
"""What torchgeo's SemanticSegmentationTask calls a model, to its name here."""
_PREFIXES = ("", "model.", "module.", "net.", "network.")
_SWAP = f"geoseg needs {', '.join(LEGEND.names)} in this order: swap the outputs of the last layer before the import"
_WRITE_PX, _MARGIN_PX = 1024, 128


@dataclass(frozen=True)
class Known:
    """What a person knows about a model.

    Attributes:
        name: Short name, lower case.
        mean: Per band, subtracted after the pixels were brought to 0..1 by the full scale of their data type.
        std: Per band, divided by; same unit.
        gsd_m: The resolutions that it was trained for: finest, commonest, coarsest.
        licence: SPDX name of the weights' licence.
        classes: Class names in the order of the outputs.
        bands: Names of the bands in order.
        architecture: Name in `geoseg.models.zoo`, for plain weights.
        params: Arguments of the architecture, for plain weights.
        description: One sentence.
        attribution: Where data and weights come from.
    """

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    gsd_m: tuple[float, float, float]
    licence: str
    classes: tuple[str, ...] = LEGEND.names
    bands: tuple[str, ...] = ("red", "green", "blue")
    architecture: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    description: str = "Imported."
    attribution: tuple[str, ...] = ()


def import_model(path: Path, out: Path, known: Known) -> ModelCard:
    """Write a model directory from a file of weights and return its card.

    Args:
        path: Checkpoint that Lightning wrote of a torchgeo SemanticSegmentationTask, state dict or safetensors file.
        out: The model directory; must not exist.
        known: What the file does not say.

    Raises:
        ModelError: If the file cannot be read safely, something is missing, or the weights do not fit.
    """
    if out.exists():
        raise ModelError(f"{out} is there already; remove it or choose another --out")
    if known.classes != LEGEND.names:
        raise ModelError(f"the classes are {', '.join(known.classes)}; {_SWAP}")
    content = _read(path)
    _not_swapped(content, path)
    architecture, params = _architecture(content, known, path)
    module = build(architecture, params, len(known.bands), len(known.classes))
    state = _fitting(content, module.state_dict(), architecture, path)
    module.load_state_dict(state)
    return save(out, _card(known, architecture, params, module, path), module.eval(), half=False)


def _not_swapped(content: Mapping[str, Any], path: Path) -> None:
    """Refuse a checkpoint that names a class of ours at another place; a background may be called what it likes."""
    facts = content.get("hyper_parameters")
    names = [str(name).strip().lower() for name in (facts.get("labels") if isinstance(facts, Mapping) else None) or ()]
    if any(name in LEGEND.names and LEGEND.names[nth : nth + 1] != (name,) for nth, name in enumerate(names)):
        raise ModelError(f"{path} says that its classes are {', '.join(names)}; {_SWAP}")


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.suffix == ".safetensors":
            return {"state_dict": load_file(path)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is then refused
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, SafetensorError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # torch's word for an archive that is cut off
            raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
        held = re.search(r"Unsupported global: GLOBAL (\S+)", str(error))
        if held is None:
            raise ModelError(
                f"{path} is no whole file of weights, as torch.save and safetensors write them; copy it again from "
                "where it was made, or save its state_dict there anew"
            ) from error
        raise ModelError(
            f"{path} holds more than weights and plain values, and that could run code: {held[1]}; save its "
            "state_dict with torch.save and name the --architecture"
        ) from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds a {type(content).__name__}; expected a checkpoint or a state dict")
    if not isinstance(content.get("state_dict"), Mapping):
        content = {"state_dict": content}
    tensors = {key: value for key, value in content["state_dict"].items() if isinstance(value, Tensor)}
    if not tensors:
        raise ModelError(f"{path} holds no weights; expected a checkpoint or a state dict")
    return content | {"state_dict": tensors}


def _architecture(content: Mapping[str, Any], known: Known, path: Path) -> tuple[str, dict[str, Any]]:
    """Name and arguments of the architecture, from a person or from torchgeo's hyper-parameters."""
    if known.architecture is not None:
        return known.architecture, dict(known.params)
    facts = content.get("hyper_parameters")
    if not isinstance(facts, Mapping) or "model" not in facts or "in_channels" not in facts:
        raise ModelError(
            f"{path} does not say its architecture; give --architecture, one of {', '.join(ARCHITECTURES)}"
        )
    if facts["model"] not in _TORCHGEO:
        raise ModelError(f"{path} is a torchgeo model {facts['model']!r}; expected one of {', '.join(_TORCHGEO)}")
    if facts.get("task", "multiclass") != "multiclass" or facts.get("num_classes") != len(known.classes):
        found = f"a {facts.get('task')} task of {facts.get('num_classes') or facts.get('num_labels')} classes"
        raise ModelError(f"{path} is {found}; expected a multiclass task of {len(known.classes)}")
    if facts["in_channels"] != len(known.bands):
        raise ModelError(f"{path} takes {facts['in_channels']} bands; name as many with --bands, found {known.bands}")
    name = _TORCHGEO[facts["model"]]
    params = {"filters": facts["num_filters"]} if name == "torchgeo_fcn" else {"encoder": facts["backbone"]}
    return name, params


def _fitting(
    content: Mapping[str, Any], wanted: Mapping[str, Tensor], architecture: str, path: Path
) -> dict[str, Tensor]:
    """The weights under the names of the architecture; beside them a file may hold others, such as class weights."""
    state: Mapping[str, Tensor] = content["state_dict"]
    prefix = max(_PREFIXES, key=lambda one: sum(one + name in state for name in wanted))
    missing = [name for name in wanted if prefix + name not in state]
    extra = [
        key
        for key in state
        if key.startswith(prefix) and key.removeprefix(prefix) not in wanted and "criterion" not in key
    ]
    if missing or extra:
        example = f"{len(missing)} are missing, such as {missing[:1]}, {len(extra)} are not known, such as {extra[:1]}"
        hint = (
            "; try --param offsets=true" if any(key.removeprefix(prefix).startswith("pointer") for key in extra) else ""
        )
        raise ModelError(f"the weights of {path} are not those of {architecture}: of {len(wanted)} {example}{hint}")
    found = {name: state[prefix + name] for name in wanted}
    for name, tensor in found.items():
        if tensor.shape != wanted[name].shape:
            raise ModelError(
                f"{path}: {name} has shape {tuple(tensor.shape)}; {architecture} needs {tuple(wanted[name].shape)}"
            )
    return found


def _tiling(one: Architecture, module: nn.Module, bands: int) -> dict[str, Any]:
    """Windows with the margin that the network needs; where it knows places by number, of the size it was made for."""
    far = reach(module, bands, one.stride) if one.local else None
    margin = math.ceil((_MARGIN_PX if far is None else far) / one.stride) * one.stride
    write = math.ceil(_WRITE_PX / one.stride) * one.stride
    sizes = [size for part in module.modules() if isinstance(size := getattr(part, "img_size", None), tuple)]
    if far is None and sizes:
        side = min(sizes[0])
        margin = side // 4 // one.stride * one.stride
        write = side - 2 * margin
    return {"write_px": write, "margin_px": margin, "stride_px": one.stride, "reach_px": far, "exact": far is not None}


def _card(known: Known, architecture: str, params: Mapping[str, Any], module: nn.Module, path: Path) -> ModelCard:
    low, middle, high = known.gsd_m
    fields = {
        "name": known.name,
        "version": "1",
        "description": known.description,
        "architecture": architecture,
        "params": dict(params),
        "classes": known.classes,
        "instances": ARCHITECTURES[architecture].instances(params),
        "bands": known.bands,
        "mean": known.mean,
        "std": known.std,
        "gsd": {"min_m": low, "train_m": middle, "max_m": high},
        "tiling": _tiling(ARCHITECTURES[architecture], module, len(known.bands)),
        "licence": known.licence,
        "attribution": known.attribution,
        "training": {"imported": path.name},
        "limits": ("Imported: nothing was measured; score it with geoseg evaluate before it is used.",),
    }
    try:
        return ModelCard.model_validate(fields)
    except ValueError as error:
        raise ModelError(f"these facts make no card: {' '.join(str(error).split())}") from error
