"""How good a classifier is on a field without labels: what it finds on the rows must add up.

Between the rows green is weed, so calling it crop is an error that can be counted. On the rows there must be as many
weeds a square metre, of every size, as between them. A network does not know where the rows are, so it finds the same
share of the weeds on the rows as between them; what else it calls weed there is crop. The row rule does know, and is
right between the rows by definition; on the rows it is as right as its own probabilities say.

Where a plant ends is not known either. So a pixel counts as plant with a probability that rises with its green, and
nothing is left out: whoever calls all that is pale soil, or all that is pale plant, is partly wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from geoseg.adapt.rowrule import OFF_BINS, RowRule, Scene
from geoseg.legend import CROP, SOIL, WEED

__all__ = ["View", "Views", "confusion_by_balance", "confusion_of_rule"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
_SIZES = 24


@dataclass(frozen=True)
class View:
    """An image of the part that is held out, and what the rule knows of it.

    Attributes:
        image: (3, H, W) uint8, as a network gets it.
        size: (H, W) size class of the green around a pixel.
        zone: (H, W) 0 on the rows, 1 between them, 2 neither.
        plant: (H, W) float32, probability of being part of a plant.
        valid: (H, W) bool, where the ortho has a picture.
        ruled: (H, W) uint8, classes by the row rule.
        weed: (H, W) float32, the rule's probability of weed if it is a plant.
        ground: (2,) pixels on the rows and between them.
    """

    image: NDArray[np.uint8]
    size: NDArray[np.int8]
    zone: NDArray[np.int8]
    plant: NDArray[np.float32]
    valid: NDArray[np.bool_]
    ruled: NDArray[np.uint8]
    weed: NDArray[np.float32]
    ground: Ints


@dataclass
class Views:
    """All images that are held out."""

    views: list[View] = field(default_factory=list)

    def add(
        self,
        image: NDArray[np.uint8],
        scene: Scene,
        plant: NDArray[np.float32],
        valid: NDArray[np.bool_],
        ruled: NDArray[np.uint8],
        rule: RowRule,
    ) -> None:
        """Keep an image.

        Args:
            image: (3, H, W) uint8.
            scene: What the rule sees of it.
            plant: (H, W) probability of being part of a plant.
            valid: (H, W) bool, where the ortho has a picture.
            ruled: (H, W) uint8, classes by the row rule.
            rule: The field's rule.
        """
        far = len(OFF_BINS) - 1

        def zones(distance: NDArray[np.int8]) -> NDArray[np.int8]:
            return np.where(distance >= far, 2, np.where(distance >= rule.off_class, 1, 0)).astype(np.int8)

        ground = np.bincount(zones(scene.here)[valid], minlength=3)[:2].astype(np.int64)
        self.views.append(View(image, scene.size, zones(scene.off), plant, valid, ruled, rule.around(scene), ground))


def _soil(view: View, found: NDArray[np.uint8]) -> Floats:
    """(3,) soil by found class."""
    weights = 1.0 - view.plant[view.valid].astype(np.float64)
    return np.asarray(np.bincount(found[view.valid], weights, minlength=3)[:3], np.float64)


def confusion_of_rule(views: Views) -> Ints:
    """(3, 3) expected confusion matrix of the row rule, true class by found class."""
    matrix = np.zeros((3, 3))
    for view in views.views:
        matrix[SOIL] += _soil(view, view.ruled)
        for zone in (0, 1):
            chosen = view.valid & (view.zone == zone) & (view.plant > 0)
            plant = view.plant[chosen].astype(np.float64)
            weed = plant * (view.weed[chosen] if zone == 0 else 1.0)
            matrix[WEED] += np.bincount(view.ruled[chosen], weed, minlength=3)[:3]
            matrix[CROP] += np.bincount(view.ruled[chosen], plant - weed, minlength=3)[:3]
    return np.asarray(np.rint(matrix), np.int64)


def confusion_by_balance(views: Views, rule: RowRule, classes_of: Callable[[View], NDArray[np.uint8]]) -> Ints:
    """(3, 3) expected confusion matrix of a network, true class by found class.

    Args:
        views: What is held out.
        rule: The field's rule.
        classes_of: Gives the (H, W) classes of a view.
    """
    plants = np.zeros((_SIZES, 2, 3))
    sharp = 0  # plant pixels between the rows without the doubt: those that the rule has counted
    soil = np.zeros(3)
    ground = np.zeros(2, np.int64)
    for view in views.views:
        found = classes_of(view)
        soil += _soil(view, found)
        chosen = view.valid & (view.zone < 2) & (view.plant > 0)
        place = (view.size[chosen].astype(np.int64) * 2 + view.zone[chosen]) * 3 + found[chosen]
        plants += np.bincount(place, view.plant[chosen], plants.size)[: plants.size].reshape(plants.shape)
        sharp += int(np.count_nonzero((view.plant > 0.5) & (view.zone == 1) & view.valid))
        ground += view.ground
    on, off = plants[:, 0], plants[:, 1]
    total = on.sum(axis=1)
    weeds = np.minimum(rule.density[:_SIZES] * ground[0] * off.sum() / max(sharp, 1), total)
    matrix = np.zeros((3, 3))
    matrix[SOIL] = soil
    matrix[WEED] = off.sum(axis=0)
    recall = off[:, WEED].sum() / max(off.sum(), 1.0)
    hits = np.minimum(on[:, WEED], recall * weeds)
    unseen = np.minimum(on[:, SOIL], (on[:, SOIL] / np.maximum(total, 1.0)) * weeds)
    missed = np.maximum(weeds - hits - unseen, 0)
    matrix[WEED] += unseen.sum(), missed.sum(), hits.sum()
    matrix[CROP] = (on.sum(axis=0) - np.array([unseen.sum(), missed.sum(), hits.sum()])).clip(0)
    return np.rint(matrix).astype(np.int64)
