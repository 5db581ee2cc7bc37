"""Labels of one image by the row rule, where it is sure, and how wrong they should be. Knows no files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geoseg.adapt.rowrule import OFF_BINS, Scene
from geoseg.legend import CROP, NODATA, SOIL, WEED

__all__ = ["LabelNoise", "PseudoLabels", "label_image", "plant_probability"]

_SOIL, _LEAF = 0.25, 0.75
"""Greenness up to which a pixel is surely soil, and from which surely a leaf; 0.5 is the edge of a leaf. What lies
between soil and edge is not labelled: rims of leaves, and plants so pale that soil would be as good a guess."""


@dataclass(frozen=True)
class PseudoLabels:
    """Labels of one image.

    Attributes:
        labels: (H, W) uint8, 255 where in doubt.
        confidence: (H, W) float32, probability of the label; 0 where there is none.
        plants: (H, W) int32, number of each patch of green, 0 elsewhere.
    """

    labels: NDArray[np.uint8]
    confidence: NDArray[np.float32]
    plants: NDArray[np.int32]


@dataclass
class LabelNoise:
    """How wrong the labels should be, by the rule's own probabilities.

    Attributes:
        crop_px: Pixels labelled crop.
        weed_px: Pixels labelled weed.
        green_px: Green pixels, labelled or not.
        weed_in_crop: Sum of the probabilities of weed over those labelled crop.
        crop_in_weed: The other way round.
    """

    crop_px: int = 0
    weed_px: int = 0
    green_px: int = 0
    weed_in_crop: float = 0.0
    crop_in_weed: float = 0.0

    def add(self, found: PseudoLabels) -> None:
        """Count the labels of an image."""
        crop, weed = found.labels == CROP, found.labels == WEED
        self.crop_px += int(crop.sum())
        self.weed_px += int(weed.sum())
        self.green_px += int((found.plants > 0).sum())
        self.weed_in_crop += float((1 - found.confidence[crop]).sum())
        self.crop_in_weed += float((1 - found.confidence[weed]).sum())

    def facts(self) -> dict[str, Any]:
        """Shares, for records and cards."""
        return {
            "labelled_of_green": round((self.crop_px + self.weed_px) / max(self.green_px, 1), 4),
            "weed_among_crop_labels": round(self.weed_in_crop / max(self.crop_px, 1), 4),
            "crop_among_weed_labels": round(self.crop_in_weed / max(self.weed_px, 1), 4),
        }


def plant_probability(greenness: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W) probability that a pixel belongs to a plant: even at the edge of a leaf, and rising with its green.

    Args:
        greenness: (H, W); above 0.5 is green.
    """
    return np.asarray(np.clip((greenness - np.float32(_SOIL)) / np.float32(_LEAF - _SOIL), 0, 1), np.float32)


def label_image(
    greenness: NDArray[np.float32], scene: Scene, weed: NDArray[np.float32], min_px: float, doubt: float
) -> PseudoLabels:
    """Labels of an image.

    Args:
        greenness: (H, W); above 0.5 is green.
        scene: What the rule sees.
        weed: (H, W) probability of weed.
        min_px: Smallest patch of green that is labelled, pixels.
        doubt: Largest probability of the other class.
    """
    plants, count = ndimage.label(scene.green, np.ones((3, 3)))
    size = np.bincount(plants.ravel(), minlength=count + 1)
    mean = np.bincount(plants.ravel(), weed.ravel(), minlength=count + 1) / np.maximum(size, 1)
    whole = mean[plants]
    mixed = (whole > doubt) & (whole < 1 - doubt)
    likely = np.where(mixed, weed, whole)  # a patch that grows from the row to beyond it is judged pixel by pixel
    sure = (likely <= doubt) | (likely >= 1 - doubt)
    sure &= scene.green & (size[plants] >= min_px) & (scene.off < len(OFF_BINS) - 1)
    labels = np.full(plants.shape, NODATA, np.uint8)
    labels[greenness <= _SOIL] = SOIL
    labels[scene.green] = np.where(sure, np.where(likely > 0.5, WEED, CROP), NODATA)[scene.green]
    confidence = np.where(sure, np.maximum(likely, 1 - likely), 0.0)
    confidence[labels == SOIL] = 1 - np.clip(greenness[labels == SOIL], 0, 1)
    return PseudoLabels(labels, confidence.astype(np.float32), plants.astype(np.int32))
