"""The device that runs the network: what it gives is checked, and when it fails another takes its place.

A fault is tried once more on the same device. After a second one the next backend goes on from the same window; a run
is never lost for a driver that broke. Memory that is too small is no fault: see `geoseg.segment.forward`.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence

import numpy as np

from geoseg.errors import GeosegError, GeosegWarning, ModelError, RunError
from geoseg.models.card import Segmenter
from geoseg.progress import emit
from geoseg.segment.layers import network_layers
from geoseg.windows import Rect

__all__ = ["Device", "Loader", "classify", "free_memory", "is_out_of_memory"]

Loader = Callable[[], Segmenter]


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


class Device:
    """A segmenter and those that may take its place.

    Attributes:
        segmenter: The one at work.
        layers: What it gives.
        faults: What went wrong so far, one line each.
    """

    def __init__(self, segmenter: Segmenter, fallbacks: Sequence[Loader] = ()) -> None:
        """Begin with a segmenter.

        Args:
            segmenter: Gives class probabilities, or all `layers` if it has `classify`.
            fallbacks: Loaders of segmenters of the same model, in order.

        Raises:
            ModelError: If the card promises more than the segmenter gives.
        """
        self.layers = network_layers(segmenter.card)
        if len(self.layers) > 2 and not hasattr(segmenter, "classify"):
            raise ModelError(f"model {segmenter.card.name} has offsets on its card; its segmenter needs `classify`")
        self.segmenter = segmenter
        self.faults: list[str] = []
        self._fallbacks = iter(fallbacks)
        self._failed = False

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        """A batch of every layer of images (N, C, H, W).

        Raises:
            ModelError: If the segmenter gives something else than its card promises.
            RunError: If it failed twice and nothing may take its place.
        """
        while True:
            try:
                found = self._run(images)
            except RuntimeError as error:
                if isinstance(error, GeosegError) or is_out_of_memory(error):
                    raise
                if self._failed:
                    self.replace(error)
                else:
                    self._note(f"{self._name} failed and is tried once more: {_one_line(error)}")
                self._failed = not self._failed
                free_memory()
            else:
                self._failed = False
                return found

    def replace(self, error: BaseException) -> None:
        """Let the next segmenter take over.

        Raises:
            RunError: If there is none; `error` is its cause.
        """
        failed, following = self._name, next(self._fallbacks, None)
        if following is None:
            raise RunError(
                f"{failed} failed and nothing can take its place: {_one_line(error)}. Try another --backend; finished "
                "blocks are kept"
            ) from error
        self.segmenter = following()
        self._note(f"{failed} failed, {self._name} goes on: {_one_line(error)}")

    @property
    def _name(self) -> str:
        return str(getattr(self.segmenter, "backend", type(self.segmenter).__name__))

    def _note(self, text: str) -> None:
        self.faults.append(text)
        emit("device_fault", text=text)
        warnings.warn(text, GeosegWarning, stacklevel=4)

    def _run(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        reduced = getattr(self.segmenter, "classify", None)
        found = classify(self.segmenter(images)) if reduced is None else tuple(reduced(images))
        count, _, height, width = images.shape
        wanted = [(count, *layer.shape(Rect(0, 0, height, width))) for layer in self.layers]
        if [part.shape for part in found] != wanted:
            shapes = ", ".join(str(part.shape) for part in found)
            raise ModelError(f"model {self.segmenter.card.name} gave arrays of {shapes}; its card promises {wanted}")
        return found


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory was too small, in the words of any backend."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return any(words in text for words in ("out of memory", "bad_alloc", "not enough memory", "cannot allocate"))


def free_memory() -> None:
    """Give back what torch keeps of the GPU's memory; torch is not imported for that."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        try:
            torch.cuda.empty_cache()
        except RuntimeError:  # a device that failed for good says so at every call
            return


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
