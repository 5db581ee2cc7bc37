"""YOLO polygon files: one outline a line, a class number and pairs x y in 0..1 of the image. Knows the format alone."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from geoseg.errors import LabelError

__all__ = ["INDEX", "YOLO_CLASSES", "yolo_outlines"]

INDEX = "index.csv"
"""Beside YOLO files that were cut from an ortho: name, row, col, height and width of each tile, in pixels."""
YOLO_CLASSES: dict[str, str | int] = {"0": "crop", "1": "weed"}
"""What the numbers mean unless said otherwise."""


def yolo_outlines(path: Path, shape: tuple[int, int], known: frozenset[str]) -> Iterator[tuple[str, np.ndarray, str]]:
    """Class number, (n, 2) x and y in pixels of the grid, and the place in the file, of every outline.

    Args:
        path: One file, which is the whole image, or a folder of tiles with an index.
        shape: (height, width) of the grid.
        known: Class numbers that are expected.

    Raises:
        LabelError: If a line is no outline, its class is not known, or the tiles cannot be placed.
    """
    tiles = {path: (0, 0, *shape)} if path.is_file() else _yolo_index(path)
    for file, (row, col, height, width) in tiles.items():
        for number, line in enumerate(_lines(file), start=1):
            where = f"{file}, line {number},"
            try:
                name, *values = line.split()
                points = np.array(values, float).reshape(-1, 2)
            except ValueError as error:
                raise LabelError(f"{where} is no outline: expected a class and pairs x y in 0..1") from error
            if len(points) < 3 or not ((points >= -0.01) & (points <= 1.01)).all():
                raise LabelError(f"{where} holds {len(points)} points; expected at least 3, x y in 0..1 of the image")
            if name not in known:
                raise LabelError(f"{where} holds the class {name}; say what it is with the option classes")
            yield name, points * (width, height) + (col, row), where


def _yolo_index(folder: Path) -> dict[Path, tuple[int, int, int, int]]:
    try:
        with (folder / INDEX).open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
        return {
            folder / f"{line['name']}.txt": (
                int(line["row"]), int(line["col"]), int(line["height"]), int(line["width"])
            )
            for line in lines
        }  # fmt: skip
    except (OSError, KeyError, ValueError) as error:
        raise LabelError(
            f"{folder} has no {INDEX} with name, row, col, height and width of each tile, so that its outlines cannot "
            "be placed; give a folder of images as the source, or the file of one image"
        ) from error


def _lines(file: Path) -> list[str]:
    try:
        return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"{file} cannot be read: {error}") from error
