"""Small rasters for tests, written with plain rasterio."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import NotGeoreferencedWarning

UTM = "EPSG:32632"
FINE = Affine(0.005, 0, 690000, 0, -0.005, 5360000)


@dataclass(frozen=True)
class Gsd:
    """The part of a card that the working grid needs."""

    min_m: float = 0.0025
    max_m: float = 0.008
    train_m: float = 0.005


def write(path: Path, image: np.ndarray, *, transform: Affine | None = FINE, crs: Any = UTM, **options: Any) -> Path:
    """Write (C, H, W) as a GeoTIFF; `alpha`, `mask`, `names`, `gcps` and `overviews` beside rasterio's options."""
    alpha, mask = options.pop("alpha", None), options.pop("mask", None)
    names, overviews, gcps = options.pop("names", None), options.pop("overviews", ()), options.pop("gcps", None)
    colours = options.pop("colours", None)
    bands = image if alpha is None else np.concatenate([image, alpha[None].astype(image.dtype)])
    shape = {"count": len(bands), "height": bands.shape[1], "width": bands.shape[2], "dtype": bands.dtype.name}
    if transform is not None and gcps is None:
        options["transform"] = transform
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(path, "w", driver="GTiff", crs=None if gcps is not None else crs, **shape, **options) as file,
        ):
            file.write(bands)
            if mask is not None:
                file.write_mask(mask)
            if gcps is not None:
                file.gcps = gcps, crs
            if alpha is not None:
                colours = ["red", "green", "blue", "alpha"]
            if colours is not None:
                file.colorinterp = [ColorInterp[colour] for colour in colours]
            for band, name in enumerate(names or (), start=1):
                file.set_band_description(band, name)
        if overviews:
            with rasterio.open(path, "r+") as file:
                file.build_overviews(overviews, Resampling.average)
    return path


def noise(shape: tuple[int, int], bands: int = 3, dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    """(bands, H, W) smooth-ish noise that fills its scale."""
    random = np.random.default_rng(seed)
    coarse = random.random((bands, shape[0] // 4 + 2, shape[1] // 4 + 2))
    image = np.kron(coarse, np.ones((1, 4, 4)))[:, : shape[0], : shape[1]] * 0.8 + random.random((bands, *shape)) * 0.2
    if dtype.startswith("float"):
        return image.astype(dtype)
    return np.rint(image * np.iinfo(dtype).max).astype(dtype)
