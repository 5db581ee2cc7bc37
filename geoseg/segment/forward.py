"""Images through a segmenter to classes, confidence and offsets, in smaller pieces where the device's memory ends.

First the batch is halved, then the window is cut into four with the same margin on the same stride lattice, so the
result is the same: what is kept of a window never depends on more than its margin.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from geoseg.models.card import Segmenter
from geoseg.segment.device import Device, Loader, classify, free_memory, is_out_of_memory
from geoseg.windows import Rect, rect_windows

__all__ = ["Forward", "classify", "measure_speed", "mirrored_up"]


def mirrored_up(image: np.ndarray, stride_px: int) -> np.ndarray:
    """(C, H, W) image that a network takes as a whole: mirrored at the lower and right edge up to whole strides.

    Example:
        >>> mirrored_up(np.array([[[1, 2, 3]]]), 2).tolist()
        [[[1, 2, 3, 2], [1, 2, 3, 2]]]
    """
    height, width = image.shape[1:]
    return np.pad(image, ((0, 0), (0, -height % stride_px), (0, -width % stride_px)), mode="reflect")


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
        faults: What went wrong with the device so far, one line each.
    """

    def __init__(self, segmenter: Segmenter, margin_px: int, fallbacks: Sequence[Loader] = ()) -> None:
        """Wrap a segmenter.

        Args:
            segmenter: Gives class probabilities, or all `layers` if it has `classify`.
            margin_px: Margin of the windows that come; nothing there is kept.
            fallbacks: Loaders of what takes its place when it fails.

        Raises:
            ModelError: If the card promises more than the segmenter gives.
        """
        self.limit_px: int | None = None
        self.forwarded_px = 0
        self._device = Device(segmenter, fallbacks)
        self.layers = self._device.layers
        self.faults = self._device.faults
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
                found = self._device(images)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if count == 1 and max(height, width) - 2 * self._margin <= self._stride:
                    return self._elsewhere(images)
            else:
                self.forwarded_px += pixels
                return found
            self.limit_px = pixels
            free_memory()
        if count > 1:
            halves = self(images[: count // 2]), self(images[count // 2 :])
            return tuple(np.concatenate(both) for both in zip(*halves, strict=True))
        return self._in_four(images)

    def _elsewhere(self, image: np.ndarray) -> tuple[np.ndarray, ...]:
        """The smallest window that there is, on another device than the one that has no room for it."""
        side = f"{image.shape[3]} x {image.shape[2]} pixels"
        self._device.replace(MemoryError(f"a window of {side} does not fit into memory; close other programs"))
        self.limit_px = None
        return self(image)

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
