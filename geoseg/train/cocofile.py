"""COCO instance files: what an annotation covers. Knows the format, not our classes.

Reference: https://cocodataset.org/#format-data
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.errors import LabelError

__all__ = ["coco_annotations", "decode_rle", "read_coco"]


def coco_annotations(
    content: dict[str, Any], shape: tuple[int, int], where: str
) -> Iterator[tuple[str, Any, tuple[int, int]]]:
    """Category, area and place (row, col) of every annotation. The area is a list of rings, or a (H, W) bool mask.

    An image entry may say where it was cut from the grid, with ``row`` and ``col``; only one that is as large as the
    grid, and alone, can do without.

    Args:
        content: The file's content.
        shape: (height, width) of the grid.
        where: Name of the file, for messages.

    Raises:
        LabelError: If something is missing, an image cannot be placed, or an annotation has no outline.
    """
    try:
        names = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
        images = {entry["id"]: entry for entry in content["images"]}
        used = {annotation["image_id"] for annotation in content["annotations"]}
        unplaced = sum("row" not in images[number] for number in used)
        if unplaced > 1:
            raise LabelError(
                f"{where} has labels of {unplaced} images without row and col in the ortho; save one file an image"
            )
        for annotation in content["annotations"]:
            image = images[annotation["image_id"]]
            if "row" not in image and (image["height"], image["width"]) != shape:
                raise LabelError(
                    f"{where}: image {image.get('file_name')} is {image['height']} x {image['width']} px, the ortho "
                    f"{shape[0]} x {shape[1]}; give the image its row and col in the ortho"
                )
            area = annotation["segmentation"]
            if isinstance(area, dict):
                area = decode_rle(area["counts"], (int(area["size"][0]), int(area["size"][1])))
            elif not area or any(len(ring) < 6 or len(ring) % 2 for ring in area):
                raise LabelError(
                    f"{where}: annotation {annotation.get('id')} has no outline, or one of less than 3 points; "
                    "expected polygons or run lengths, a box is not enough"
                )
            yield names[annotation["category_id"]], area, (int(image.get("row", 0)), int(image.get("col", 0)))
    except (KeyError, TypeError) as error:
        raise LabelError(f"{where} is no COCO instance file: {error!r} is missing or of another kind") from error


def read_coco(path: Path) -> dict[str, Any] | None:
    """The content of a COCO file; None if the file is another kind of JSON.

    Raises:
        LabelError: If it is no JSON.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LabelError(f"{path} cannot be read as JSON: {error}") from error
    return content if isinstance(content, dict) and "annotations" in content else None


def decode_rle(counts: list[int] | str, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool mask of COCO's run lengths, which count down the columns, zeros first; plain or packed.

    Raises:
        LabelError: If the runs do not fill the size.
    """
    runs = _unpack(counts) if isinstance(counts, str) else counts
    if sum(runs) != size[0] * size[1]:
        raise LabelError(f"run lengths fill {sum(runs)} pixels; expected {size[0]} x {size[1]}")
    values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.ascontiguousarray(values.reshape(size[1], size[0]).T)


def _unpack(text: str) -> list[int]:
    """COCO's packed counts: base 32 from the character 0, low digits first, from the fourth on as differences."""
    runs: list[int] = []
    value = shift = 0
    for character in text:
        digit = ord(character) - 48
        value |= (digit & 31) << shift
        shift += 5
        if not digit & 32:
            value -= (1 << shift) if digit & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs
