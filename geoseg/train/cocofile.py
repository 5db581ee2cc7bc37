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
    """Category, area and place (row, col) of every annotation. The area is a list of rings, or a (h, w) bool mask.

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
            area, row, col = annotation["segmentation"], int(image.get("row", 0)), int(image.get("col", 0))
            if isinstance(area, dict):
                area, corner = decode_rle(area["counts"], (int(area["size"][0]), int(area["size"][1])))
                row, col = row + corner[0], col + corner[1]
            elif not area or any(len(ring) < 6 or len(ring) % 2 for ring in area):
                raise LabelError(
                    f"{where}: annotation {annotation.get('id')} has no outline, or one of less than 3 points; "
                    "expected polygons or run lengths, a box is not enough"
                )
            yield names[annotation["category_id"]], area, (row, col)
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


def decode_rle(counts: list[int] | str, size: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int]]:
    """COCO's run lengths, which count down the columns, zeros first; plain or packed.

    Returns:
        (h, w) bool mask of the box around all that is set, and the (row, col) of its corner.

    Raises:
        LabelError: If the runs do not fill the size.
    """
    runs = np.asarray(_unpack(counts) if isinstance(counts, str) else counts, np.int64)
    if runs.sum() != size[0] * size[1] or (runs < 0).any():
        raise LabelError(f"run lengths fill {runs.sum()} pixels; expected {size[0]} x {size[1]}")
    ends = np.cumsum(runs)
    begin, end = ends[: len(runs) // 2 * 2 : 2], ends[1::2]
    begin, end = begin[end > begin], end[end > begin]
    if not len(begin):
        return np.zeros((0, 0), bool), (0, 0)
    left, right = int(begin[0] // size[0]), int((end[-1] - 1) // size[0]) + 1
    first, last = begin % size[0], (end - 1) % size[0]
    whole = bool((begin // size[0] != (end - 1) // size[0]).any())  # a run over several columns has all rows, or nearly
    top, bottom = (0, size[0]) if whole else (int(first.min()), int(last.max()) + 1)
    steps = np.zeros((right - left) * size[0] + 1, np.int8)
    np.add.at(steps, begin - left * size[0], 1)
    np.add.at(steps, end - left * size[0], -1)
    inside = np.cumsum(steps[:-1], dtype=np.int8).astype(bool).reshape(right - left, size[0])
    return np.ascontiguousarray(inside[:, top:bottom].T), (top, left)


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
