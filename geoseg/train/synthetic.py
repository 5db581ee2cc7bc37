"""Rendered fields with known truth: a photograph-like ortho, its class raster and every plant in it.

For training tiles, for the demo and for tests. Everything follows from the seed. What is rendered resembles early crop
stages from 5 to 15 m above ground; it does not replace real labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geoseg.legend import CROP, NODATA, SOIL
from geoseg.train.fieldspec import FieldSpec, infrared_spec, random_spec, sun_shift
from geoseg.train.planting import Planting, plant
from geoseg.train.soil import COARSE, enlarge, illumination, soil
from geoseg.train.sprites import Sprite, SpriteLibrary

__all__ = ["PLANT", "FieldSpec", "SyntheticField", "infrared_spec", "random_spec", "render", "write"]

PLANT = np.dtype([("id", "i4"), ("row", "f8"), ("col", "f8"), ("class", "u1"), ("radius_px", "f4"), ("area_px", "i4")])
"""One plant: id from 1, centre in pixels (the first pixel's centre is 0.5), class, reach, pixels that are in sight."""

_ORIGIN = (690_000.0, 5_360_000.0)
_EPSG = 32632
_STRIP = 512


@dataclass(frozen=True)
class SyntheticField:
    """A rendered field.

    Attributes:
        image: (3, H, W) uint8, red, green and blue, or near infrared, red and green; 0 where not valid.
        valid: (H, W) bool, one connected area.
        labels: (H, W) uint8: soil 0, crop 1, weed 2; 255 where not valid.
        instances: (H, W) int32, the id of the plant in sight, 0 where there is none.
        plants: Records of type `PLANT` in the order of their ids. Plants wholly covered by others are left out.
        spec: What was rendered.
    """

    image: NDArray[np.uint8]
    valid: NDArray[np.bool_]
    labels: NDArray[np.uint8]
    instances: NDArray[np.int32]
    plants: NDArray[np.void]
    spec: FieldSpec


def render(spec: FieldSpec) -> SyntheticField:
    """Render a field.

    Args:
        spec: What it looks like.
    """
    valid = _valid_area(spec)
    canvas = soil(spec)
    library = SpriteLibrary(spec.seed, spec.blur_px, spec.infrared)
    rng = np.random.default_rng([spec.seed, 5])
    _litter(canvas, spec, library, rng)
    planting = plant(spec)
    planting = planting[valid[planting["row"], planting["col"]]]
    instances = np.zeros(valid.shape, np.int32)
    radii = _lay(canvas, instances, planting, library, spec, rng)
    instances[~valid] = 0
    area = np.bincount(instances.ravel(), minlength=len(planting) + 1)
    seen = area[1:] > 0
    renumber = np.zeros(len(planting) + 1, np.int32)
    renumber[1:][seen] = np.arange(1, seen.sum() + 1)
    instances = renumber[instances]
    plants = np.zeros(int(seen.sum()), PLANT)
    plants["id"] = np.arange(1, len(plants) + 1)
    plants["row"], plants["col"] = planting["row"][seen] + 0.5, planting["col"][seen] + 0.5
    plants["class"], plants["radius_px"], plants["area_px"] = planting["class"][seen], radii[seen], area[1:][seen]
    labels = np.concatenate([[SOIL], plants["class"]]).astype(np.uint8)[instances]
    labels[~valid] = NODATA
    return SyntheticField(_expose(canvas, valid, spec), valid, labels, instances, plants, spec)


def _valid_area(spec: FieldSpec) -> NDArray[np.bool_]:
    """(H, W) bool: a frame of four slanting, jagged edges. No edge is steep, so that the area is in one piece."""
    height, width = spec.height_px, spec.width_px
    if not spec.margin_share:
        return np.ones((height, width), np.bool_)
    rng = np.random.default_rng([spec.seed, 6])

    def edge(length: int, depth: float) -> NDArray[np.float64]:
        at = np.linspace(0, length, max(5, length // 24))
        bays = ndimage.gaussian_filter1d(rng.standard_normal(len(at)), 8) * 3
        jags = rng.uniform(0, min(6.0, depth), len(at))
        slant = depth * (0.5 + rng.uniform(-0.35, 0.35) + rng.uniform(-0.5, 0.5) * (at / length - 0.5))
        inset = np.clip(slant + 0.08 * depth * bays + jags, 0.05 * depth, 1.3 * depth)
        return np.asarray(np.interp(np.arange(length), at, inset))

    rows, cols = np.arange(height)[:, None], np.arange(width)[None]
    tall, wide = height * spec.margin_share, width * spec.margin_share
    valid = (rows >= edge(width, tall)) & (rows < height - edge(width, tall))
    valid &= (cols >= edge(height, wide)[:, None]) & (cols < width - edge(height, wide)[:, None])
    return valid


def _windows(row: int, col: int, size: int, shape: tuple[int, ...]) -> tuple[slice, slice, slice, slice] | None:
    """Rows and columns in the image, then in the sprite, of a sprite centred on a pixel; None if they do not meet."""
    top, left = row - size // 2, col - size // 2
    bottom, right = min(top + size, shape[0]), min(left + size, shape[1])
    first_row, first_col = max(top, 0), max(left, 0)
    if first_row >= bottom or first_col >= right:
        return None
    return (
        slice(first_row, bottom),
        slice(first_col, right),
        slice(first_row - top, bottom - top),
        slice(first_col - left, right - left),
    )


def _shade(canvas: NDArray[np.uint8], sprite: Sprite, row: int, col: int, strength: float) -> None:
    cut = _windows(row, col, sprite.shade.shape[0], canvas.shape)
    if cut is not None:
        under = canvas[cut[0], cut[1]]
        under[:] = under * (1 - np.float32(strength) * sprite.shade[cut[2], cut[3], None])


def _cover(canvas: NDArray[np.uint8], sprite: Sprite, row: int, col: int, gain: NDArray[np.float32]) -> None:
    cut = _windows(row, col, sprite.alpha.shape[0], canvas.shape)
    if cut is not None:
        under = canvas[cut[0], cut[1]]
        alpha = sprite.alpha[cut[2], cut[3], None]
        under[:] = np.clip(under + alpha * (sprite.rgb[cut[2], cut[3]] * gain - under), 0, 255)


def _lay(
    canvas: NDArray[np.uint8],
    instances: NDArray[np.int32],
    planting: Planting,
    library: SpriteLibrary,
    spec: FieldSpec,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Lay plants with their shadows on the soil, enter their ids, and give their radii in pixels."""
    down, right = sun_shift(spec)
    choices = rng.integers(0, 1 << 30, len(planting))
    gains = np.exp(rng.normal(0, (0.04, 0.02, 0.04), (len(planting), 3)) + rng.normal(0, 0.09, (len(planting), 1)))
    gains = (gains * (0.93 + 0.14 * spec.shadow) * np.array(spec.leaf_gains)).astype(np.float32)
    radii = np.zeros(len(planting), np.float32)
    for index, (row, col, _, kind, diameter) in enumerate(planting.tolist()):
        sprite = library.get(kind, diameter, int(choices[index]))
        reach = (0.06 + 0.16 * spec.shadow) * diameter + 0.5
        _shade(canvas, sprite, row + round(reach * down), col + round(reach * right), 0.18 + 0.55 * spec.shadow)
        _cover(canvas, sprite, row, col, gains[index])
        cut = _windows(row, col, sprite.alpha.shape[0], canvas.shape)
        if cut is not None:
            instances[cut[0], cut[1]][sprite.alpha[cut[2], cut[3]] > 0.5] = index + 1
        radii[index] = sprite.radius_px
    return radii


def _litter(canvas: NDArray[np.uint8], spec: FieldSpec, library: SpriteLibrary, rng: np.random.Generator) -> None:
    """Throw stones and straw on the soil."""
    area_m2 = spec.height_px * spec.width_px * spec.gsd_m**2
    bright = np.float32(sum(spec.soil_rgb) / 338)
    down, right = sun_shift(spec)
    for kind, per_m2, size_m, spread in (("stone", 22.0, 0.011, 0.45), ("straw", 9.0, 0.030, 0.6)):
        count = int(rng.poisson(per_m2 * spec.litter * area_m2))
        rows, cols = rng.integers(0, spec.height_px, count), rng.integers(0, spec.width_px, count)
        sizes = np.clip(size_m / spec.gsd_m * np.exp(rng.normal(0, spread, count)), 2.0, 60.0)
        choices = rng.integers(0, 1 << 30, count)
        tones = rng.uniform(0.62, 1.12, (count, 1)).astype(np.float32) * bright
        for row, col, size, choice, tone in zip(
            rows.tolist(), cols.tolist(), sizes.tolist(), choices.tolist(), tones, strict=True
        ):
            sprite = library.get(kind, size, choice)
            reach = max(1.0, 0.18 * size * spec.shadow)
            _shade(canvas, sprite, row + round(reach * down), col + round(reach * right), 0.15 + 0.35 * spec.shadow)
            _cover(canvas, sprite, row, col, tone)


def _expose(canvas: NDArray[np.uint8], valid: NDArray[np.bool_], spec: FieldSpec) -> NDArray[np.uint8]:
    """(3, H, W) uint8: the camera's picture: light, white balance and noise; 0 where not valid."""
    rng = np.random.default_rng([spec.seed, 8])
    light = illumination(spec)
    height, width = valid.shape
    grain = rng.standard_normal((3, _STRIP + 97, width), dtype=np.float32) * np.float32(spec.noise)
    image = np.empty((3, height, width), np.uint8)
    for start in range(0, height, _STRIP):
        rows = slice(start, min(start + _STRIP, height))
        gain = enlarge(light, rows, width, 4 * COARSE)
        for band, balance in enumerate(spec.white_balance):
            first = int(rng.integers(0, 97))
            picture = canvas[rows, :, band] * (gain * np.float32(balance))
            picture += grain[band, first : first + picture.shape[0]] + np.float32(0.5)
            image[band, rows] = np.clip(picture, 1, 255) * valid[rows]
    return image


def write(field: SyntheticField, folder: Path | str) -> None:
    """Write ``ortho.tif`` (three bands and alpha), ``labels.tif``, ``plants.gpkg`` and ``boundary.gpkg``, north-up.

    The place is made up: EPSG:32632 at a fixed origin.

    Args:
        field: What `render` gave.
        folder: Where to write; made if needed.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    alpha = np.where(field.valid, np.uint8(255), np.uint8(0))
    _write_raster(folder / "ortho.tif", np.concatenate([field.image, alpha[None]]), field.spec, None)
    _write_raster(folder / "labels.tif", field.labels[None], field.spec, NODATA)
    _write_vectors(field, folder)


def _write_raster(path: Path, bands: NDArray[np.uint8], spec: FieldSpec, nodata: int | None) -> None:
    import rasterio
    from rasterio.enums import ColorInterp, Resampling
    from rasterio.transform import from_origin

    transform = from_origin(*_ORIGIN, spec.gsd_m, spec.gsd_m)
    profile = {
        "driver": "GTiff", "dtype": "uint8", "count": len(bands), "height": spec.height_px, "width": spec.width_px,
        "crs": f"EPSG:{_EPSG}", "transform": transform, "nodata": nodata, "tiled": True, "blockxsize": 512,
        "blockysize": 512, "compress": "deflate", "zlevel": 1, "predictor": 2 if nodata is None else 1,
        "interleave": "pixel",
    }  # fmt: skip
    factors = [factor for factor in (2, 4, 8, 16, 32) if max(spec.height_px, spec.width_px) > 256 * factor]
    with rasterio.open(path, "w", **profile) as target:
        if nodata is None:
            target.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
        if nodata is None and spec.infrared:
            target.descriptions = ("nir", "red", "green", "alpha")
        target.write(bands)
        if factors:
            target.build_overviews(factors, Resampling.average if nodata is None else Resampling.nearest)


def _write_vectors(field: SyntheticField, folder: Path) -> None:
    import geopandas as gpd
    import shapely
    from affine import Affine

    from geoseg.vectors import polygonize

    gsd = field.spec.gsd_m
    transform = Affine(gsd, 0, _ORIGIN[0], 0, -gsd, _ORIGIN[1])
    plants = field.plants
    x, y = _ORIGIN[0] + plants["col"] * gsd, _ORIGIN[1] - plants["row"] * gsd
    columns = {"id": plants["id"], "class": np.where(plants["class"] == CROP, "crop", "weed")}
    columns |= {"radius_m": plants["radius_px"].astype(float) * gsd, "area_m2": plants["area_px"] * gsd**2}
    frame = gpd.GeoDataFrame(columns, geometry=shapely.points(x, y), crs=f"EPSG:{_EPSG}")
    frame.to_file(folder / "plants.gpkg", layer="plants", driver="GPKG")
    outline = shapely.union_all([shape for _, shape in polygonize(field.valid, transform, mask=field.valid)])
    boundary = gpd.GeoDataFrame({"name": ["field"]}, geometry=[outline.simplify(gsd)], crs=f"EPSG:{_EPSG}")
    boundary.to_file(folder / "boundary.gpkg", layer="boundary", driver="GPKG")
