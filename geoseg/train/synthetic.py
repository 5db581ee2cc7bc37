"""Rendered fields with known truth: a photograph-like ortho, its class raster and every plant in it.

For training tiles, for the demo and for tests. Everything follows from the seed. What is rendered resembles early crop
stages from 5 to 15 m above ground; it does not replace real labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geoseg.errors import InputError
from geoseg.legend import CROP, NODATA, SOIL
from geoseg.train.planting import Planting, plant
from geoseg.train.soil import COARSE, enlarge, illumination, soil, sun_shift
from geoseg.train.sprites import CROPS, Sprite, SpriteLibrary

__all__ = ["PLANT", "FieldSpec", "SyntheticField", "random_spec", "render", "write"]

PLANT = np.dtype([("id", "i4"), ("row", "f8"), ("col", "f8"), ("class", "u1"), ("radius_px", "f4"), ("area_px", "i4")])
"""One plant: id from 1, centre in pixels (the first pixel's centre is 0.5), class, reach, pixels that are in sight."""

_ORIGIN = (690_000.0, 5_360_000.0)
_EPSG = 32632
_STRIP = 512
_LIMITS: dict[str, tuple[float, float]] = {
    "height_px": (32, 100_000),
    "width_px": (32, 100_000),
    "gsd_m": (0.0005, 0.03),
    "heading_deg": (-360, 360),
    "row_spacing_m": (0.05, 10),
    "plant_spacing_m": (0.02, 10),
    "plant_diameter_m": (0.005, 1),
    "late_share": (0, 1),
    "missing_share": (0, 1),
    "weeds_per_m2": (0, 2000),
    "weed_diameter_m": (0.003, 0.5),
    "weed_clustering": (0, 1),
    "in_row_weed_share": (0, 1),
    "contrast": (0, 3),
    "clods": (0, 3),
    "cracks": (0, 2),
    "ridges": (0, 2),
    "track_every": (0, 1000),
    "litter": (0, 5),
    "sun_azimuth_deg": (-360, 360),
    "shadow": (0, 1),
    "shade_share": (0, 1),
    "blur_px": (0, 4),
    "noise": (0, 30),
    "margin_share": (0, 0.3),
}


@dataclass(frozen=True)
class FieldSpec:
    """What a field looks like.

    Attributes:
        seed: Where all chance comes from; 0 or more.
        height_px: Rows of the image.
        width_px: Columns of the image.
        gsd_m: Metres per pixel.
        heading_deg: Direction of the crop rows, degrees clockwise from north.
        row_spacing_m: Distance between crop rows.
        plant_spacing_m: Distance between plants in the row.
        crop: Which crop.
        plant_diameter_m: Median diameter of the crop plants.
        late_share: Share of crop plants that lag behind, a quarter to two thirds of the others' size.
        missing_share: Share of the places in the row that are empty, 0..1.
        weeds_per_m2: Weeds per square metre.
        weed_diameter_m: Median diameter of the weeds; log-normal, most between half and double.
        weed_clustering: Share of the weeds that stand in patches.
        in_row_weed_share: Share of the weeds that are moved into the crop rows.
        soil_rgb: Mean colour of the soil.
        contrast: Of the soil, 1 as in the potato field.
        clods: How much of the soil is cloddy, 1 is average.
        cracks: How crusted and cracked the soil is, 1 is much.
        ridges: Height of the ridges that the crop stands on, 0 flat.
        track_every: Every how many rows a wheel has run between them; 0 never.
        litter: Stones and straw on the ground, 1 is average.
        sun_azimuth_deg: Where the sun stands, degrees clockwise from north.
        shadow: Strength of the shadows, 0 overcast.
        shade_share: Share of the field in the shadow of something tall.
        blur_px: Standard deviation of the camera's blur in pixels.
        noise: Standard deviation of the sensor's noise in digital numbers.
        white_balance: Gains of red, green and blue.
        margin_share: Width of the nodata margin, relative to each side; 0 makes every pixel valid.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    seed: int = 0
    height_px: int = 4000
    width_px: int = 6000
    gsd_m: float = 0.003
    heading_deg: float = 27.0
    row_spacing_m: float = 0.75
    plant_spacing_m: float = 0.25
    crop: Literal["potato", "beet", "maize"] = "potato"
    plant_diameter_m: float = 0.10
    late_share: float = 0.15
    missing_share: float = 0.1
    weeds_per_m2: float = 4.0
    weed_diameter_m: float = 0.03
    weed_clustering: float = 0.7
    in_row_weed_share: float = 0.2
    soil_rgb: tuple[float, float, float] = (131.0, 117.0, 90.0)
    contrast: float = 1.0
    clods: float = 1.0
    cracks: float = 0.8
    ridges: float = 0.8
    track_every: int = 5
    litter: float = 1.0
    sun_azimuth_deg: float = 150.0
    shadow: float = 0.5
    shade_share: float = 0.0
    blur_px: float = 0.6
    noise: float = 1.5
    white_balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    margin_share: float = 0.05

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            InputError: If a value is outside what can be rendered.
        """
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; expected 0 or more")
        if self.crop not in CROPS:
            raise InputError(f"crop is {self.crop!r}; expected one of {', '.join(CROPS)}")
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            if not low <= value <= high:  # NaN too
                raise InputError(f"{name} is {value}; expected {low:g} to {high:g}")
        for name, top in (("soil_rgb", 255), ("white_balance", 3)):
            value = getattr(self, name)
            if len(value) != 3 or not all(0 < part <= top for part in value):
                raise InputError(f"{name} is {value}; expected three values over 0 and up to {top}")


@dataclass(frozen=True)
class SyntheticField:
    """A rendered field.

    Attributes:
        image: (3, H, W) uint8, red, green and blue; 0 where not valid.
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


def random_spec(seed: int, height_px: int = 1024, width_px: int = 1024, *, margin_share: float = 0.0) -> FieldSpec:
    """A field of random looks, for training tiles.

    Args:
        seed: Decides everything; also the seed of what is rendered.
        height_px: Rows of the image.
        width_px: Columns of the image.
        margin_share: As in `FieldSpec`.

    Raises:
        InputError: If the size cannot be rendered.
    """
    rng = np.random.default_rng([max(seed, 0), 4])
    crop = str(rng.choice(CROPS))
    low, high = {"potato": (0.04, 0.28), "beet": (0.03, 0.22), "maize": (0.08, 0.32)}[crop]
    spacing = {"potato": (0.62, 0.92), "beet": (0.40, 0.55), "maize": (0.45, 0.80)}[crop]
    diameter = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    pale = float(rng.uniform(0, 1))  # dark moist soil to pale dry loam
    red = 78 + 92 * pale + rng.normal(0, 8)
    sun = float(rng.uniform(0, 1) ** 0.7)
    return FieldSpec(
        seed=seed,
        height_px=height_px,
        width_px=width_px,
        gsd_m=float(np.exp(rng.uniform(np.log(0.002), np.log(0.005)))),
        heading_deg=float(rng.uniform(0, 180)),
        row_spacing_m=float(rng.uniform(*spacing)),
        plant_spacing_m=float(rng.uniform(0.14, 0.36)),
        crop=crop,  # type: ignore[arg-type]
        plant_diameter_m=diameter,
        late_share=float(rng.uniform(0.05, 0.35)),
        missing_share=float(rng.uniform(0, 0.35)),
        weeds_per_m2=float(np.exp(rng.uniform(np.log(2), np.log(60)))),
        weed_diameter_m=float(np.exp(rng.uniform(np.log(0.015), np.log(0.06)))),
        weed_clustering=float(rng.uniform(0.3, 0.95)),
        in_row_weed_share=float(rng.uniform(0, 0.4)),
        soil_rgb=(float(red), float(red * rng.uniform(0.86, 0.96)), float(red * rng.uniform(0.66, 0.87))),
        contrast=float(rng.uniform(0.65, 1.3)),
        clods=float(rng.uniform(0.4, 1.8)),
        cracks=float(max(0.0, rng.uniform(-0.7, 1.1))),
        ridges=float(rng.uniform(0.3, 1.1) if crop == "potato" else rng.uniform(0, 0.35)),
        track_every=int(rng.integers(0, 8)),
        litter=float(rng.uniform(0, 2)),
        sun_azimuth_deg=float(rng.uniform(0, 360)),
        shadow=sun,
        shade_share=float(rng.uniform(0, 0.5) if rng.random() < 0.15 else 0.0),
        blur_px=float(rng.uniform(0.35, 1.1)),
        noise=float(rng.uniform(0.5, 4)),
        white_balance=tuple(float(gain) for gain in np.exp(rng.normal(0, 0.03, 3)) * rng.uniform(0.88, 1.12)),  # type: ignore[arg-type]
        margin_share=margin_share,
    )


def render(spec: FieldSpec) -> SyntheticField:
    """Render a field.

    Args:
        spec: What it looks like.
    """
    valid = _valid_area(spec)
    canvas = soil(spec)
    library = SpriteLibrary(spec.seed, spec.blur_px)
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
    gains = (gains * (0.93 + 0.14 * spec.shadow)).astype(np.float32)
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
    """Write ``ortho.tif`` (RGB and alpha), ``labels.tif``, ``plants.gpkg`` and ``boundary.gpkg``, north-up.

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
    x, y = transform @ (plants["col"], plants["row"])
    columns = {"id": plants["id"], "class": np.where(plants["class"] == CROP, "crop", "weed")}
    columns |= {"radius_m": plants["radius_px"].astype(float) * gsd, "area_m2": plants["area_px"] * gsd**2}
    frame = gpd.GeoDataFrame(columns, geometry=shapely.points(x, y), crs=f"EPSG:{_EPSG}")
    frame.to_file(folder / "plants.gpkg", layer="plants", driver="GPKG")
    outline = shapely.union_all([shape for _, shape in polygonize(field.valid, transform, mask=field.valid)])
    boundary = gpd.GeoDataFrame({"name": ["field"]}, geometry=[outline.simplify(gsd)], crs=f"EPSG:{_EPSG}")
    boundary.to_file(folder / "boundary.gpkg", layer="boundary", driver="GPKG")
