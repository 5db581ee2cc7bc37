"""Images through a segmenter to classes, confidence and offsets, in smaller pieces where the device's memory ends.

First the batch is halved, then the window is cut into four with the same margin on the same stride lattice, so the
result is the same: what is kept of a window never depends on more than its margin.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from geoseg.errors import ModelError, RunError
from geoseg.models.card import Segmenter
from geoseg.segment.layers import network_layers
from geoseg.windows import Rect, rect_windows

__all__ = ["Forward", "classify", "measure_speed"]


def classify(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Classes and confidence from class probabilities.

    Args:
        probabilities: (N, K, H, W) float32 in 0..1.

    Returns:
        (N, H, W) uint8 class codes and (N, H, W) uint8 confidence in percent.
    """
    classes = probabilities.argmax(axis=1).astype(np.uint8)
    confidence = np.rint(probabilities.max(axis=1) * 100).clip(0, 100).astype(np.uint8)
    return classes, confidence


def measure_speed(segmenter: Segmenter, side_px: int = 1024) -> float:
    """Million pixels per second that this machine gets through the network, on one image after a first."""
    side_px -= side_px % segmenter.card.tiling.stride_px
    image = np.zeros((1, len(segmenter.card.bands), side_px, side_px), np.uint8)
    forward = Forward(segmenter, 0)
    forward(image)
    started = time.perf_counter()
    forward(image)
    return float(side_px**2 / 1e6 / (time.perf_counter() - started))


class Forward:
    """A segmenter that never runs out of memory, as far as smaller pieces can help.

    Attributes:
        layers: What it gives.
        limit_px: Pixels that the device did not take at once; None as long as it took everything.
        forwarded_px: Pixels that went through the network.
    """

    def __init__(self, segmenter: Segmenter, margin_px: int) -> None:
        """Wrap a segmenter.

        Args:
            segmenter: Gives class probabilities, or all `layers` if it has `classify`.
            margin_px: Margin of the windows that come; nothing there is kept.

        Raises:
            ModelError: If the card promises more than the segmenter gives.
        """
        self.layers = network_layers(segmenter.card)
        if len(self.layers) > 2 and not hasattr(segmenter, "classify"):
            raise ModelError(f"model {segmenter.card.name} has offsets on its card; its segmenter needs `classify`")
        self.limit_px: int | None = None
        self.forwarded_px = 0
        self._segmenter = segmenter
        self._margin, self._stride = margin_px, segmenter.card.tiling.stride_px

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        """A batch of every layer of images (N, C, H, W): (N, H, W), or (N, B, h, w); the margin may hold `fill`.

        Raises:
            ModelError: If the segmenter gives something else.
            RunError: If the device has not even memory for the smallest window.
        """
        count, _, height, width = images.shape
        pixels = count * height * width
        if self.limit_px is None or pixels < self.limit_px:
            try:
                return self._whole(images)
            except (MemoryError, RuntimeError) as error:
                if not _out_of_memory(error):
                    raise
                if count == 1 and max(height, width) - 2 * self._margin <= self._stride:
                    side = f"{width} x {height} pixels"
                    raise RunError(f"a window of {side} does not fit into memory; close other programs") from error
            self.limit_px = pixels
            _free()
        if count > 1:
            halves = self(images[: count // 2]), self(images[count // 2 :])
            return tuple(np.concatenate(both) for both in zip(*halves, strict=True))
        return self._in_four(images)

    def _whole(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        reduced = getattr(self._segmenter, "classify", None)
        found = classify(self._segmenter(images)) if reduced is None else tuple(reduced(images))
        count, bands, height, width = images.shape
        whole = Rect(0, 0, height, width)
        wanted = [(count, *layer.shape(whole)) for layer in self.layers]
        if [part.shape for part in found] != wanted:
            shapes = ", ".join(str(part.shape) for part in found)
            raise ModelError(f"model {self._segmenter.card.name} gave arrays of {shapes}; its card promises {wanted}")
        self.forwarded_px += images.size // bands
        return found

    def _in_four(self, image: np.ndarray) -> tuple[np.ndarray, ...]:
        _, _, height, width = image.shape
        margin, stride = self._margin, self._stride
        inner = Rect(margin, margin, height - margin, width - margin)
        write = max(stride, -(-max(inner.shape) // (2 * stride)) * stride)
        found = tuple(layer.empty(Rect(0, 0, height, width))[None] for layer in self.layers)
        for window in rect_windows(inner, write, margin, stride):
            part = self(np.ascontiguousarray(image[(..., *window.read.slices)]))
            for layer, whole, piece in zip(self.layers, found, part, strict=True):
                whole[(..., *layer.rect(window.write).slices)] = piece[(..., *layer.rect(window.crop).slices)]
        return found


def _out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return any(words in text for words in ("out of memory", "bad_alloc", "not enough memory", "cannot allocate"))


def _free() -> None:
    """Give back what torch keeps of the GPU's memory; torch is not imported for that."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
