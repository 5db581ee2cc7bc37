"""What is written beside each polygon: numbers as they will be rounded, names and colours. Knows no file format."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import PrescriptionError
from geoseg.export.profiles import Column

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["rate_colours", "values_of"]

_RATE_ROUNDING = 5e-4
_OFF = (160, 160, 160)
_LOW, _HIGH = (255, 220, 60), (200, 30, 30)


def values_of(zones: gpd.GeoDataFrame, column: Column) -> list[Any]:
    """The values of a column as plain Python, rounded as they will be written; whole numbers where it has no decimals.

    Raises:
        PrescriptionError: If one does not fit the column, or a rate would change by being rounded.
    """
    if column.kind == "label":
        texts = [f"Zone {number}" for number in zones["zone"]]
    elif column.kind == "colour":
        colours = rate_colours(zones["rate_l_ha"])
        texts = ["#{:02X}{:02X}{:02X}".format(*colours[rate]) for rate in zones["rate_l_ha"]]
    elif column.kind == "fixed":
        texts = [column.text] * len(zones)
    else:
        numbers = _numbers(zones, column)
        return [float(number) for number in numbers] if column.decimals else [int(number) for number in numbers]
    longest = max(map(len, texts), default=0)
    if longest > column.width:
        raise PrescriptionError(
            f"a text of {longest} characters does not fit the column {column.name} of {column.width}"
        )
    return texts


def rate_colours(rates: Iterable[float]) -> dict[float, tuple[int, int, int]]:
    """A colour for each rate: grey where nothing is sprayed, from yellow to red with rising rates elsewhere."""
    known = sorted({float(rate) for rate in rates})
    highest = max(known, default=0.0)
    colours = {}
    for rate in known:
        part = rate / highest if highest else 0.0
        mixed = tuple(round(low + (high - low) * part) for low, high in zip(_LOW, _HIGH, strict=True))
        colours[rate] = (mixed[0], mixed[1], mixed[2]) if rate > 0 else _OFF
    return colours


def _numbers(zones: gpd.GeoDataFrame, column: Column) -> NDArray[np.float64]:
    if column.kind == "zero":
        return np.zeros(len(zones))
    exact = zones[column.source].to_numpy(np.float64)
    rounded: NDArray[np.float64] = np.round(exact, column.decimals)
    longest = max((len(f"{number:.{column.decimals}f}") for number in (rounded.min(), rounded.max())), default=0)
    if longest > column.width:
        raise PrescriptionError(
            f"{column.source} {rounded.max():g} does not fit the column {column.name} of {column.width} characters, "
            f"{column.decimals} of them decimals"
        )
    if column.kind == "rate" and (np.abs(rounded - exact) > _RATE_ROUNDING * np.abs(exact)).any():
        worst = exact[np.argmax(np.abs(rounded - exact))]
        raise PrescriptionError(
            f"the rate {worst!r} l/ha cannot be written with {column.decimals} decimals in the column {column.name}; "
            "use a rate that can"
        )
    return rounded
