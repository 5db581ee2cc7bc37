"""Bands and numbers of the images of tile sets: which bands are kept, and what counts as full scale.

Images of 8 bits stay as they are. Others are brought to their full scale in 16 bits on disk and are fractions of it in
memory, so that a network sees the same numbers in training and on an ortho.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.errors import LabelError, OrthoError
from geoseg.ortho.bands import FULL_SCALE, check_exposure, full_scale

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["check_scale", "chosen_bands", "excess_green", "in_memory", "on_disk", "picture", "unit_tensor"]

_SAMPLE_PX = 512
_FULL = 65535


def chosen_bands(name: str, colours: Sequence[str], wanted: Sequence[int] | None) -> list[int]:
    """Numbers, from 1, of the bands to keep: those that are wanted, else the first three that are not alpha.

    Args:
        name: The file, for messages.
        colours: Colour interpretation of each band, lower case.
        wanted: Numbers given by a person, or None.

    Raises:
        LabelError: If a band is not there.
    """
    if wanted is None:
        found = [number for number, colour in enumerate(colours, start=1) if colour != "alpha"][:3]
        if len(found) < 3:
            raise LabelError(
                f"{name} has {len(found)} bands; expected red, green and blue, or say which with bands: [1]"
            )
        return found
    missing = [band for band in wanted if not 1 <= band <= len(colours)]
    if missing or not wanted:
        raise LabelError(f"{name} has {len(colours)} bands, counted from 1; bands names {list(wanted)}")
    return list(wanted)


def check_scale(name: str, raster: Any, bands: Sequence[int], value_max: float | None) -> None:
    """Refuse numbers that do not fill their scale, as of 12-bit cameras in files of 16 bits.

    Args:
        name: The file, for messages.
        raster: Opened with rasterio.
        bands: Numbers of the bands.
        value_max: Full scale given by a person, or None.

    Raises:
        LabelError: If the numbers are far below or above the full scale, or of a type that is not supported.
    """
    dtype = raster.dtypes[bands[0] - 1]
    if dtype not in FULL_SCALE:
        raise LabelError(f"{name} holds {dtype}; expected one of {', '.join(FULL_SCALE)}")
    small = (len(bands), min(raster.height, _SAMPLE_PX), min(raster.width, _SAMPLE_PX))
    values = raster.read(list(bands), out_shape=small)
    seen = raster.dataset_mask(out_shape=small[1:]) > 0
    sample = values[:, seen]
    try:
        check_exposure(name, sample[np.isfinite(sample)], dtype, value_max, "give the source value_max: ")
    except OrthoError as error:
        raise LabelError(str(error)) from error


def known_pixels(raster: Any, values: np.ndarray, window: Any = None) -> np.ndarray:
    """(H, W) bool: pixels that are neither masked, transparent nor nodata, and hold numbers in all bands that are used.

    Args:
        raster: Opened with rasterio.
        values: (C, H, W) of the bands that are used, as they are in the file.
        window: Where they were read; None: all of it.
    """
    seen: np.ndarray = raster.dataset_mask(window=window) > 0
    return seen & np.isfinite(values).all(axis=0) if values.dtype.kind == "f" else seen


def on_disk(values: np.ndarray, value_max: float | None) -> np.ndarray:
    """Numbers as a tile set keeps them: uint8 as they are, others uint16 of which 65535 is the full scale.

    Args:
        values: (C, H, W) digital numbers of a file.
        value_max: The number that counts as full scale; None: that of the data type.

    Example:
        >>> on_disk(np.array([0, 2048, 4095, 9000], np.uint16), 4095).tolist()
        [0, 32776, 65535, 65535]
    """
    if values.dtype == np.uint8 and value_max in (None, 255):
        return values
    full = full_scale(values.dtype, value_max)
    if values.dtype == np.uint16 and full == _FULL:
        return values
    share = np.nan_to_num(values.astype(np.float64) / full)
    return np.asarray(np.rint(share.clip(0, 1) * _FULL), np.uint16)


def in_memory(values: np.ndarray) -> np.ndarray:
    """An image of a tile set: uint8, of which 255 is the full scale, or float32 in 0..1."""
    return values if values.dtype == np.uint8 else np.asarray(values / np.float32(_FULL), np.float32)


def unit_tensor(image: np.ndarray) -> Tensor:
    """(C, H, W) float in 0..1 of an image in memory."""
    import torch  # tile sets are cut without it

    return torch.from_numpy(image).float() / full_scale(image.dtype)


def excess_green(image: np.ndarray, least: float = 0.0) -> np.ndarray:
    """(H, W) float32 excess green index (2 G - R - B) / (R + G + B) of a (3, H, W) image, 0 where it is black.

    Args:
        image: Red, green and blue.
        least: The sum of the three counts as at least this: in deep shadow the index is noise over nearly nothing.

    Reference: Woebbecke et al. 1995, https://doi.org/10.13031/2013.27838
    """
    red, green, blue = image.astype(np.float32)
    total = np.maximum(red + green + blue, np.float32(least))
    index: np.ndarray = np.divide(2 * green - red - blue, total, out=np.zeros_like(total), where=total > 0)
    return index


def picture(image: np.ndarray) -> np.ndarray:
    """(3, H, W) uint8 of an image in memory, for people: its first three bands, or its first one as grey."""
    bands = image[:3] if len(image) >= 3 else np.repeat(image[:1], 3, axis=0)
    return bands if bands.dtype == np.uint8 else np.rint(bands * 255).clip(0, 255).astype(np.uint8)
