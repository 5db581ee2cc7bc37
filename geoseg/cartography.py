"""What every map needs, whoever draws it: a colour for each rate, round lengths. Knows no file and no drawing."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["nice_length", "rate_colors"]


def rate_colors(rates: Sequence[float]) -> dict[float, str]:
    """A colour for each rate: pale grey for zero, then light to dark blue in the order of the rates.

    Example:
        >>> rate_colors([200.0, 0.0])
        {0.0: '#ececec', 200.0: '#08509b'}
    """
    import matplotlib as mpl
    import numpy as np

    positive = sorted({rate for rate in rates if rate > 0})
    ramp = mpl.colormaps["Blues"]
    steps = np.linspace(0.45, 0.9, len(positive)) if len(positive) != 1 else [0.875]
    colors = {0.0: "#ececec"}
    for rate, step in zip(positive, steps, strict=True):
        colors[rate] = mpl.colors.to_hex(ramp(float(step)))
    return colors


def nice_length(longest: float) -> float:
    """The largest of 1, 2, 5, 10, 20, 50, ... (and 0.5, 0.2, ...) that is at most `longest`.

    Example:
        >>> [nice_length(value) for value in (730.0, 19.9, 0.06)]
        [500.0, 10.0, 0.05]
    """
    power = 10.0 ** math.floor(math.log10(longest))
    return float(next(f"{step * power:.12g}" for step in (5, 2, 1) if step * power <= longest * (1 + 1e-9)))
