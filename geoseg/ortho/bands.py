"""Which bands of a file are meant, and what number in them counts as full scale. Knows no file: it gets plain facts.

Bands are found by number or by name. The name of a band is what the file says about it: its description ("Red",
"nir-842", "Red edge 717 nm"), its colour interpretation or its central wavelength.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from geoseg.errors import OrthoError

__all__ = ["FULL_SCALE", "BandFacts", "band_name", "check_exposure", "choose_bands", "full_scale"]

FULL_SCALE = {"uint8": 255.0, "uint16": 65535.0, "int16": 32767.0, "float32": 1.0, "float64": 1.0}
"""The digital number that counts as full scale, by data type, unless ``ortho.value_max`` says otherwise."""

_ANY = "any"
_FAVOURITES = (("nir", "red", "green"), ("red", "green", "blue"), ("nir", "green", "blue"))
"""What a model of any three bands gets where nobody says which: what tells plants from soil best."""
_DARK = 0.065  # of the full scale: 12-bit numbers in a 16-bit file reach 4095 / 65535 = 0.0625 and no more
_BRIGHT = 1.05
_USUAL_SCALES = (1, 255, 1023, 4095, 10000, 16383, 32768, 65535)

_WAVELENGTHS_NM = {
    "blue": (430, 515),
    "green": (515, 600),
    "red": (600, 690),
    "rededge": (690, 755),
    "nir": (755, 1000),
}
_ALIASES = (
    ("rededge", r"red\W?_?edge|rededge|re"),
    ("nir", r"nir|near\W?infra\W?red|infrared"),
    ("red", r"red|r"),
    ("green", r"green|g"),
    ("blue", r"blue|b"),
    ("alpha", r"alpha|a"),
)


def full_scale(dtype: str | np.dtype[Any], value_max: float | None = None) -> float:
    """The number that counts as full scale, in a file as in an image in memory.

    Args:
        dtype: Data type of the numbers, one of `FULL_SCALE`.
        value_max: What a person says; None: that of the data type.

    Example:
        >>> full_scale("uint8"), full_scale("uint16"), full_scale(np.dtype(np.float32)), full_scale("uint16", 4095)
        (255.0, 65535.0, 1.0, 4095.0)
    """
    return FULL_SCALE[np.dtype(dtype).name] if value_max is None else float(value_max)


@dataclass(frozen=True)
class BandFacts:
    """What a file says about one band.

    Attributes:
        description: Free text, may be empty.
        colour: Colour interpretation, lower case ("red", "gray", "undefined", "alpha").
        dtype: Name of the data type.
        wavelength_nm: Central wavelength, where the file gives one.
    """

    description: str
    colour: str
    dtype: str
    wavelength_nm: float | None = None


def band_name(facts: BandFacts) -> str:
    """The usual lower-case name of a band, or an empty string if the file does not tell.

    The description counts most, then the wavelength, then the colour interpretation.

    Example:
        >>> band_name(BandFacts("Red edge-717", "undefined", "uint16"))
        'rededge'
        >>> band_name(BandFacts("", "green", "uint8"))
        'green'
    """
    text = facts.description.strip().lower()
    for name, pattern in _ALIASES:
        if re.search(rf"(?<![a-z])(?:{pattern})(?![a-z])", text):
            return name
    number = re.search(r"(?<![\d.])(\d{3,4})(?:\.\d+)?(?!\d)", text)
    nanometres = facts.wavelength_nm or (float(number.group(1)) if number else 0.0)
    for name, (low, high) in _WAVELENGTHS_NM.items():
        if low <= nanometres < high:
            return name
    colour = facts.colour.replace("_", "")
    return "" if colour in ("undefined", "gray", "grey", "palette") else colour


def choose_bands(
    name: str, facts: Sequence[BandFacts], wanted: Sequence[int | str] | None, needed: Sequence[str]
) -> tuple[int, ...]:
    """Numbers (from 1) of the bands to read, in the order of `needed`.

    Args:
        name: The file, for messages.
        facts: What the file says about each band.
        wanted: Numbers or names given by the user; None: by the model's names, and where the file names none of
            them, the first bands that are not alpha.
        needed: Band names of the model, in order; ``any`` throughout if it takes whatever there is: three then are near
            infrared, red and green where the file names these, else red, green and blue, else the first that are not
            alpha.

    Raises:
        OrthoError: If the count or a name does not fit, or the data types of the bands differ or are not supported.
    """
    if any(fact.colour == "palette" for fact in facts):
        raise OrthoError(f"{name} is a palette image; turn it into colours with gdal_translate -expand rgb")
    if wanted is None:
        chosen = _by_model(name, facts, needed)
    else:
        if len(wanted) != len(needed):
            raise OrthoError(
                f"{len(wanted)} bands are given for {name}; the model needs {len(needed)} ({', '.join(needed)}); "
                f"{_inventory(name, facts)}"
            )
        chosen = tuple(_one_band(name, facts, band) for band in wanted)
    types = sorted({facts[band - 1].dtype for band in chosen})
    if len(types) > 1 or types[0] not in FULL_SCALE:
        raise OrthoError(f"{name} holds {' and '.join(types)}; expected one of {', '.join(FULL_SCALE)}")
    return chosen


def check_exposure(
    name: str, values: np.ndarray, dtype: str, value_max: float | None, remedy: str = "pass --set ortho.value_max="
) -> str | None:
    """Refuse numbers that do not fill their scale, as 12-bit images in 16-bit files do.

    The 99.9th percentile of the valid values is compared with the full scale. Without `value_max`: below 6.5 %
    (12-bit numbers in 16 bit never reach it) or above 105 % is an error, below 26 % (14-bit numbers) is worth a
    remark. uint8 is never questioned: its scale is no guess, a dark field is just dark. With `value_max` the user has
    decided, and it is only an error if more than half of the values lie above it.

    Args:
        name: The file, for messages.
        values: (n,) valid digital numbers, a sample of the file; may be empty.
        dtype: Name of the data type.
        value_max: Full scale given by the user, or None.
        remedy: What a person does about it; the fitting number follows.

    Returns:
        A remark, or None.

    Raises:
        OrthoError: If the scale is wrong; names the remedy with a fitting number.
    """
    if values.size == 0 or (dtype == "uint8" and value_max is None):
        return None
    full = full_scale(dtype, value_max)
    seen = float(np.percentile(values, 99.9 if value_max is None else 50))
    share = seen / full
    part = "the brightest 0.1 %" if value_max is None else "half"
    guess = next((scale for scale in _USUAL_SCALES if 1 < seen / 1.02 <= scale), math.ceil(seen * 100) / 100)
    text = f"{part} of {name} is at {seen:g} or more, {share:.0%} of the full scale of {full:g} ({dtype})"
    text += f"; {remedy}{guess:g}"
    if share > _BRIGHT or (value_max is None and share < _DARK):
        raise OrthoError(text)
    if value_max is None and share < 4 * _DARK:
        return text + " if that is too dark"
    return None


def _by_model(name: str, facts: Sequence[BandFacts], needed: Sequence[str]) -> tuple[int, ...]:
    names = [band_name(fact) for fact in facts]
    if _ANY in needed:
        needed = next((one for one in _FAVOURITES if len(one) == len(needed) and set(one) <= set(names)), needed)
    found = [want for want in needed if want in names]
    if len(found) == len(needed):
        return tuple(names.index(want) + 1 for want in needed)
    colours = [number for number, fact in enumerate(facts, start=1) if names[number - 1] != "alpha"]
    if found or len(colours) < len(needed):
        raise OrthoError(
            f"the model needs {len(needed)} bands ({', '.join(needed)}); {_inventory(name, facts)}; "
            "say which with --set ortho.bands=[1,2,3]"
        )
    return tuple(colours[: len(needed)])


def _one_band(name: str, facts: Sequence[BandFacts], band: int | str) -> int:
    if isinstance(band, str) and band.strip().isdigit():
        band = int(band)
    if isinstance(band, int):
        if 1 <= band <= len(facts):
            return band
    else:
        names = [band_name(fact) for fact in facts]
        texts = [fact.description.strip().lower() for fact in facts]
        for known in (texts, names):
            if band.strip().lower() in known:
                return known.index(band.strip().lower()) + 1
    raise OrthoError(f"no band {band!r}: {_inventory(name, facts)}")


def _inventory(name: str, facts: Sequence[BandFacts]) -> str:
    listed = (f"{number} {fact.description or fact.colour}" for number, fact in enumerate(facts, start=1))
    return f"{name} has {len(facts)} ({', '.join(listed)})"
