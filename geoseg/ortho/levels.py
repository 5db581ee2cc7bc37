"""Each band by its own statistics: the scale of models that take any bands. Knows no file and no model.

A camera's exposure, the calibration to reflectance and the data type shift and stretch each band; so does the choice
of bands itself. What is 0 and 1 to the model is therefore taken from the values of the whole ortho, once: five standard
deviations below and above the mean. All windows of an ortho, on all workers, share these numbers.
"""

from __future__ import annotations

import numpy as np

from geoseg.errors import OrthoError

__all__ = ["SPREAD", "Levels", "apply_levels", "find_levels", "image_dtype"]

Levels = tuple[tuple[float, float], ...]
"""Per band the digital numbers that are 0 and 1 to the model."""

SPREAD = 5.0
"""Standard deviations between the mean and either end of the scale: leaves that are rare and bright still fit."""
_TRIM = (0.1, 99.9)
"""Percentiles beyond which values are taken for these: a few wild pixels at a mosaic's seams must not decide."""


def find_levels(name: str, values: np.ndarray) -> Levels:
    """The levels of an ortho.

    Args:
        name: The file, for messages.
        values: (C, n) digital numbers of valid pixels from all over it.

    Raises:
        OrthoError: If there is no valid pixel, or a band has the same value everywhere.
    """
    if values.shape[1] == 0:
        raise OrthoError(f"{name} has no valid pixel to take statistics of; look at its nodata value and alpha band")
    plain = values.astype(np.float64)
    low, high = np.percentile(plain, _TRIM, axis=1)
    plain = plain.clip(low[:, None], high[:, None])
    mean, spread = plain.mean(axis=1), SPREAD * plain.std(axis=1)
    for number, (middle, half) in enumerate(zip(mean, spread, strict=True), start=1):
        if not half > 0:
            raise OrthoError(
                f"the {number}. band that is read of {name} is {middle:g} everywhere; choose others with "
                "--set ortho.bands=[1,2,3]"
            )
    return tuple((float(middle - half), float(middle + half)) for middle, half in zip(mean, spread, strict=True))


def image_dtype(dtype: str, value_max: float, levels: Levels | None) -> np.dtype[np.generic]:
    """Data type of the images that are read from a file of a data type: uint8 or float32."""
    whole = levels is not None or (dtype == "uint8" and value_max == 255)
    return np.dtype(np.uint8 if whole else np.float32)


def apply_levels(values: np.ndarray, levels: Levels) -> np.ndarray:
    """(C, ...) uint8 of (C, ...) digital numbers: 0 at a band's lower level and below, 255 at its upper and above.

    Example:
        >>> apply_levels(np.array([[100, 150, 900]]), ((100.0, 200.0),)).tolist()
        [[0, 128, 255]]
    """
    if values.dtype == np.uint8:
        tables = [_scaled(np.arange(256, dtype=np.uint8), *one) for one in levels]
        return np.stack([table[band] for table, band in zip(tables, values, strict=True)])
    return np.stack([_scaled(band, *one) for band, one in zip(values, levels, strict=True)])


def _scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    fractions = (values.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    whole: np.ndarray = (fractions + np.float32(0.5)).clip(0, 255).astype(np.uint8)
    return whole
