"""Vegetation indices: one number a pixel that is high on green leaves. Knows no thresholds and no files.

Colours are taken as shares of their sum, so that light and shadow matter little; what is nearly black counts as grey.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import OrthoError
from geoseg.ortho.bands import full_scale

__all__ = ["INDICES", "candidates", "vegetation_index"]

Floats = NDArray[np.float32]

_DARK = np.float32(0.04)
"""Added to the sum of the bands, as a share of the full scale: the noise of black pixels has no colour."""


def _shares(red: Floats, green: Floats, blue: Floats) -> tuple[Floats, Floats, Floats]:
    total = red + green + blue + _DARK
    return red / total, green / total, blue / total


def _exg(red: Floats, green: Floats, blue: Floats) -> Floats:
    r, g, b = _shares(red, green, blue)
    return 2 * g - r - b


def _exgr(red: Floats, green: Floats, blue: Floats) -> Floats:
    r, g, b = _shares(red, green, blue)
    return 3 * g - np.float32(2.4) * r - b


def _cive(red: Floats, green: Floats, blue: Floats) -> Floats:
    r, g, b = _shares(red, green, blue)
    index: Floats = np.float32(0.811) * g - np.float32(0.441) * r - np.float32(0.385) * b
    return index


def _normalised(near_infrared: Floats, other: Floats) -> Floats:
    return (near_infrared - other) / (near_infrared + other + _DARK)


INDICES: dict[str, tuple[tuple[str, ...], Callable[..., Floats]]] = {
    "ndvi": (("nir", "red"), _normalised),
    "gndvi": (("nir", "green"), _normalised),
    "exg": (("red", "green", "blue"), _exg),
    "exgr": (("red", "green", "blue"), _exgr),
    "cive": (("red", "green", "blue"), _cive),
}
"""Name of an index: the bands that it needs, and the function of these.

References:
    Rouse et al. 1974 (NDVI), NASA SP-351; Gitelson et al. 1996 (GNDVI), doi 10.1016/S0034-4257(96)00072-7;
    Woebbecke et al. 1995 (ExG), doi 10.13031/2013.27838; Meyer and Neto 2008 (ExGR),
    doi 10.1016/j.compag.2008.03.009; Kataoka et al. 2003 (CIVE, here with its sign turned),
    doi 10.1109/AIM.2003.1225492
"""


def candidates(bands: Sequence[str]) -> list[str]:
    """Names of the indices that can be computed from some bands.

    Example:
        >>> candidates(("nir", "red", "green"))
        ['ndvi', 'gndvi']
    """
    return [name for name, (needed, _) in INDICES.items() if set(needed) <= set(bands)]


def vegetation_index(name: str, image: np.ndarray, bands: Sequence[str]) -> Floats:
    """(H, W) float32 index of an image.

    Args:
        name: One of `INDICES`.
        image: (C, H, W), uint8 (0..255 is the full scale) or float32 (0..1 is the full scale).
        bands: Names of its bands.

    Raises:
        OrthoError: If a band that the index needs is missing.
    """
    needed, function = INDICES[name]
    missing = [band for band in needed if band not in bands]
    if missing:
        raise OrthoError(f"index {name} needs the bands {', '.join(needed)}; the image has {', '.join(bands)}")
    scale = np.float32(full_scale(image.dtype))
    return function(*(image[list(bands).index(band)].astype(np.float32) / scale for band in needed))
