"""What a rendered field looks like: every knob with its limits, and random looks for training. Draws nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from geoseg.errors import InputError
from geoseg.train.leaves import CROPS

__all__ = ["FieldSpec", "infrared_spec", "random_spec", "row_frame", "sun_shift"]

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
        infrared: A colour-infrared flight: the bands are near infrared, red and green, in this order, wherever red,
            green and blue are spoken of here.
        soil_rgb: Mean colour of the soil.
        leaf_gains: Gains of the colour of leaves in the three bands: light and leaves other than usual.
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
    infrared: bool = False
    soil_rgb: tuple[float, float, float] = (131.0, 117.0, 90.0)
    leaf_gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
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
        for name, top in (("soil_rgb", 255), ("white_balance", 3), ("leaf_gains", 3)):
            value = getattr(self, name)
            if len(value) != 3 or not all(0 < part <= top for part in value):
                raise InputError(f"{name} is {value}; expected three values over 0 and up to {top}")


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


def infrared_spec(spec: FieldSpec) -> FieldSpec:
    """The same field on a colour-infrared flight, in light, soil and leaves that the seed chooses.

    In near infrared soil is about as bright as in red, or brighter, and leaves look 1.2 to 2.2 times as bright; in red
    they are darker than soil, in green about as bright. How much of this an image shows depends on the camera (filters
    that leak, 8-bit files that were brightened), so it is drawn over wide ranges.
    """
    rng = np.random.default_rng([spec.seed, 9])
    red, green, _ = spec.soil_rgb
    soil = min(190.0, red * float(rng.uniform(0.9, 1.25)))
    leaf = min(310.0, soil * float(np.exp(rng.uniform(np.log(1.6), np.log(2.9)))))  # a quarter is lost between leaves
    gains = leaf / 205, float(rng.uniform(0.6, 1.0)), float(rng.uniform(0.8, 1.1))
    return replace(spec, infrared=True, soil_rgb=(soil, red, green), leaf_gains=gains)


def row_frame(spec: FieldSpec) -> tuple[float, float]:
    """(sine, cosine) of the heading: a pixel lies ``row * sine + col * cosine`` pixels across the rows."""
    heading = np.deg2rad(spec.heading_deg)
    return float(np.sin(heading)), float(np.cos(heading))


def sun_shift(spec: FieldSpec) -> tuple[float, float]:
    """(row, col) of the unit vector that shadows point along."""
    azimuth = np.deg2rad(spec.sun_azimuth_deg)
    return float(np.cos(azimuth)), float(-np.sin(azimuth))
