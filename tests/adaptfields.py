"""Rendered fields on disk for the tests of adaptation; each is rendered once in a test run."""

from __future__ import annotations

import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.train.fieldspec import FieldSpec
from geoseg.train.synthetic import SyntheticField, render
from rasters import write

GSD = 0.006


@dataclass(frozen=True)
class Rendered:
    """A field and its ortho."""

    field: SyntheticField
    ortho: Path


@functools.cache
def rendered(seed: int = 3, side_px: int = 1400, **changes: Any) -> Rendered:
    """A field of 8.4 m with rows 0.5 m apart; more or other values of `FieldSpec` as keywords."""
    values: dict[str, Any] = {
        "seed": seed, "height_px": side_px, "width_px": side_px, "gsd_m": GSD, "heading_deg": 20.0, "margin_share": 0.0,
        "row_spacing_m": 0.5, "plant_spacing_m": 0.2, "plant_diameter_m": 0.12, "weeds_per_m2": 6.0,
        "weed_diameter_m": 0.03, "weed_clustering": 0.2, "in_row_weed_share": 0.0, "noise": 4.0,
    }  # fmt: skip
    field = render(FieldSpec(**(values | changes)))
    folder = Path(tempfile.mkdtemp(prefix="geoseg-adapt-"))
    return Rendered(field, write(folder / "ortho.tif", field.image, transform=transform(), tiled=True))


def transform() -> Any:
    """Where the rendered fields lie."""
    from affine import Affine

    return Affine(GSD, 0, 690000, 0, -GSD, 5360000)


def f1(found: np.ndarray, truth: np.ndarray, code: int) -> float:
    """F1 of one class over the pixels whose truth is known."""
    known = truth != 255
    hit = np.count_nonzero((found == code) & (truth == code))
    return float(2 * hit / (np.count_nonzero((found == code) & known) + np.count_nonzero(truth == code)))
