"""A model's card as a STAC item with the Machine Learning Model extension, for catalogues of models. Knows no network.

Reference: STAC 1.1.0, https://github.com/radiantearth/stac-spec, and its extensions MLM 1.6.0,
https://github.com/stac-extensions/mlm, and File 2.1.0, https://github.com/stac-extensions/file
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

from geoseg.durable import write_file
from geoseg.errors import ModelError
from geoseg.legend import LEGEND
from geoseg.models.card import ANY, CARD, ModelCard, model_folder, own_folder

__all__ = ["MLM", "STAC", "parameter_count", "stac_item", "write_stac"]

STAC = "stac.json"
MLM = "https://stac-extensions.github.io/mlm/v1.6.0/schema.json"
_FILE = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
_WEIGHTS = "weights.safetensors"
_SCALINGS = {
    "fixed": "Other data types are brought to 0..255 by their full scale.",
    "ortho": "0..255 are five standard deviations to either side of the mean of each band over the whole image.",
}
_SHA256 = "1220"
"""What stands before a SHA-256 in a multihash: its code and its length."""


def stac_item(name: str | Path) -> dict[str, Any]:
    """The STAC item of a shipped model or of a model directory.

    A model has no place and no date: the geometry is null and the time is open, as the extension advises.

    Args:
        name: Name of a shipped model, or path of a directory with a card.

    Raises:
        ModelError: If there is no such model, or its weights cannot be read.
    """
    folder = model_folder(name)
    card = ModelCard.read(folder / CARD)
    weights = folder / _WEIGHTS
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [MLM, _FILE],
        "id": f"geoseg-{card.name}-{card.version}",
        "geometry": None,
        "properties": _properties(card, parameter_count(weights)),
        "links": [],
        "assets": {
            "weights": {
                "href": f"./{_WEIGHTS}",
                "type": "application/octet-stream; application=safetensors",
                "title": "Weights, stored in 16 or 32 bits",
                "roles": ["mlm:model", "mlm:weights", "data"],
                "mlm:artifact_type": "safetensors.torch.save_file",
                "bands": _bands(card),  # STAC allows bands in the properties only beside bands of an asset
                "file:size": weights.stat().st_size,
            }
            | ({"file:checksum": _SHA256 + card.weights_sha256} if card.weights_sha256 else {}),
            "card": {
                "href": f"./{CARD}",
                "type": "application/json",
                "title": "What geoseg knows of the model: needs, scores, limits",
                "roles": ["metadata"],
            },
        },
    }


def write_stac(name: str | Path, out: Path | None = None) -> Path:
    """Write the STAC item of a model, beside its card unless said otherwise, and return where it is.

    Raises:
        ModelError: If there is no such model, nothing is said of where it goes and the model comes with geoseg, or the
            file cannot be written.
    """
    path = out or own_folder(name) / STAC
    item = stac_item(name)
    content = json.dumps(item, indent=2, ensure_ascii=False) + "\n"
    try:
        return write_file(path, content.encode())
    except OSError as error:
        raise ModelError(f"{path} cannot be written: {error.strerror}") from error


def parameter_count(weights: Path) -> int:
    """Numbers in a safetensors file, from its header alone.

    Raises:
        ModelError: If it cannot be read or is no such file.
    """
    try:
        with weights.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > weights.stat().st_size:
                raise ValueError(f"its header would be {length} bytes long")
            header = json.loads(file.read(length))
        return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    except OSError as error:
        raise ModelError(f"{weights} cannot be read: {error.strerror}") from error
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{weights} is no safetensors file: {error}") from error


def _properties(card: ModelCard, parameters: int) -> dict[str, Any]:
    encoder = card.training.get("encoder")
    source = {"imagenet": "ImageNet"}.get(str(encoder))
    numbers = {key: value for key, value in card.training.items() if isinstance(value, str | int | float)}
    tasks = ["semantic-segmentation", *(["panoptic-segmentation"] if card.instances == "offsets" else [])]
    return {
        "title": f"{card.name} {card.version}",
        "description": card.description,
        "license": card.licence,
        "datetime": None,
        "start_datetime": "1900-01-01T00:00:00Z",
        "end_datetime": "9999-12-31T23:59:59Z",
        "gsd": card.gsd.train_m,
        "bands": _bands(card),
        "mlm:name": f"geoseg-{card.name}",
        "mlm:architecture": card.architecture,
        "mlm:tasks": tasks,
        "mlm:framework": "PyTorch",
        "mlm:total_parameters": parameters,
        "mlm:pretrained": source is not None,
        "mlm:pretrained_source": source,
        "mlm:accelerator": None,
        "mlm:accelerator_constrained": False,
        "mlm:input": [_input(card)],
        "mlm:output": [_output(card)],
    } | ({"mlm:hyperparameters": numbers} if numbers else {})


def _bands(card: ModelCard) -> list[dict[str, str]]:
    return [{"name": band} for band in _band_names(card)]


def _band_names(card: ModelCard) -> list[str]:
    """Names of the bands, numbered where any may be given."""
    return [f"{band}_{number}" if band == ANY else band for number, band in enumerate(card.bands, start=1)]


def _input(card: ModelCard) -> dict[str, Any]:
    return {
        "name": "orthomosaic",
        "description": (
            f"{card.gsd.min_m:g} to {card.gsd.max_m:g} m per pixel; height and width are multiples of "
            f"{card.tiling.stride_px}. {_SCALINGS[card.scaling]}"
        ),
        "bands": _band_names(card),
        "input": {
            "shape": [-1, len(card.bands), -1, -1],
            "dim_order": ["batch", "bands", "height", "width"],
            "data_type": "uint8",
        },
        "resize_type": None,
        "value_scaling": [
            {"type": "z-score", "mean": mean * 255, "stddev": std * 255}
            for mean, std in zip(card.mean, card.std, strict=True)
        ],
    }


def _output(card: ModelCard) -> dict[str, Any]:
    colours = {entry.name: entry.hex.removeprefix("#").upper() for entry in LEGEND.entries}
    return {
        "name": "classes",
        "description": "Class probabilities, which sum to 1 over the classes",
        "tasks": ["semantic-segmentation"],
        "result": {
            "shape": [-1, len(card.classes), -1, -1],
            "dim_order": ["batch", "class", "height", "width"],
            "data_type": "float32",
        },
        "classification:classes": [
            {"value": code, "name": name, "description": name}
            | ({"color_hint": colours[name]} if name in colours else {})
            for code, name in enumerate(card.classes)
        ],
    }
