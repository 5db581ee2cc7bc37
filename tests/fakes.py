"""Stand-ins for a network and for an ortho: small, exact and free of torch and files."""

from __future__ import annotations

import numpy as np

from geoseg.errors import OrthoError
from geoseg.models.card import ModelCard
from geoseg.segment.forward import classify
from geoseg.windows import Rect

STRIDE = 8


def fake_card(**changes: object) -> ModelCard:
    """A valid card of a three-band model with a stride of 8 and a margin of 16 pixels."""
    fields: dict[str, object] = {
        "name": "fake",
        "version": "1",
        "description": "A stand-in.",
        "architecture": "fake",
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "gsd": {"train_m": 0.003, "min_m": 0.002, "max_m": 0.005},
        "tiling": {"write_px": 64, "margin_px": 16, "stride_px": STRIDE},
        "licence": "Apache-2.0",
    }
    return ModelCard.model_validate(fields | changes)


class LatticeSegmenter:
    """A local network: each pixel looks at its cell of the stride lattice and at the cells around it.

    Like a U-Net it depends on where the image lies on the stride lattice, and it sees 15 pixels at most.
    """

    def __init__(self, **changes: object) -> None:
        self.card = fake_card(**changes)
        self.calls = 0

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.calls += 1
        values = images.astype(np.float64) / (255 if images.dtype == np.uint8 else 1)
        n, c, h, w = values.shape
        cells = values.reshape(n, c, h // STRIDE, STRIDE, w // STRIDE, STRIDE).max(axis=(3, 5))
        padded = np.pad(cells, ((0, 0), (0, 0), (1, 1), (1, 1)))
        around = sum(padded[:, :, i : i + cells.shape[2], j : j + cells.shape[3]] for i in range(3) for j in range(3))
        scores = values + np.repeat(np.repeat(around, STRIDE, axis=2), STRIDE, axis=3) / 9
        exp = np.exp(3 * (scores - scores.max(axis=1, keepdims=True)))
        return (exp / exp.sum(axis=1, keepdims=True)).astype(np.float32)


class PointingSegmenter(LatticeSegmenter):
    """Gives offsets too: whole numbers made of the four pixels below, zero where none of them is crop or weed."""

    def __init__(self, **changes: object) -> None:
        super().__init__(**{"instances": "offsets"} | changes)

    def classify(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        classes, confidence = classify(self(images))
        n, c, h, w = images.shape
        cells = images.astype(np.int64).reshape(n, c, h // 2, 2, w // 2, 2).sum(axis=(3, 5))
        green = classes.reshape(n, 1, h // 2, 2, w // 2, 2).max(axis=(3, 5)) > 0
        return classes, confidence, ((cells[:, :2] % 255 - 127) * green).astype(np.int8)


class ArrayReader:
    """A reader of arrays in memory, reflected at the edges as `geoseg.ortho.Reader` does."""

    def __init__(self, image: np.ndarray, valid: np.ndarray, broken: Rect | None = None) -> None:
        self.image, self.mask, self.broken = image, valid, broken
        self.reads = 0

    def valid(self, rect: Rect) -> np.ndarray:
        inside = np.zeros(rect.shape, bool)
        part = rect.clip(self.mask.shape)
        inside[part.relative_to(rect).slices] = self.mask[part.slices]
        return inside

    def read(self, rect: Rect, fill: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
        self.reads += 1
        if self.broken is not None and self.broken.clip(self.mask.shape).size:
            top, left = max(rect.row0, self.broken.row0), max(rect.col0, self.broken.col0)
            if top < min(rect.row1, self.broken.row1) and left < min(rect.col1, self.broken.col1):
                raise OrthoError("ortho.tif cannot be read here")
        rows = reflect(np.arange(rect.row0, rect.row1), self.mask.shape[0])
        cols = reflect(np.arange(rect.col0, rect.col1), self.mask.shape[1])
        image = self.image[:, rows[:, None], cols].copy()
        scale = 255 if image.dtype == np.uint8 else 1
        image[:, ~self.mask[rows[:, None], cols]] = np.rint(np.array(fill)[:, None] * scale) if scale > 1 else fill[0]
        return image, self.valid(rect)

    def close(self) -> None:
        self.image = self.image[:0]


def reflect(index: np.ndarray, size: int) -> np.ndarray:
    """Index of the mirror image inside 0..size, as numpy's mode "reflect" has it."""
    if size == 1:
        return np.zeros_like(index)
    period = 2 * (size - 1)
    index = index % period
    return np.where(index < size, index, period - index)
