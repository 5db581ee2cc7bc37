"""An ortho on one grid, read window by window: what every survey of a field starts from. Knows no plants."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from odc.geo.geobox import GeoBox
from shapely.geometry import MultiPolygon, Polygon

from geoseg.adapt.indices import candidates
from geoseg.errors import GeosegWarning, OrthoError
from geoseg.models.card import GsdRange
from geoseg.ortho import Ortho, OrthoConfig
from geoseg.windows import Rect, windows

__all__ = ["RULE_GSD", "Field", "open_field"]

RULE_GSD = GsdRange(train_m=0.005, min_m=0.002, max_m=0.03)
"""Where plants can be told by their colour and their rows; a finer ortho is read at the finest."""

_BAND_SETS = (("nir", "red", "green", "blue"), ("nir", "red", "green"), ("nir", "red"), ("red", "green", "blue"))


@dataclass(frozen=True)
class Field:
    """An ortho, its boundary and the grid on which it is looked at.

    Attributes:
        source: The ortho.
        bands: Names of the bands that are read.
        grid: The grid.
        outline: The field in the CRS of the grid.
    """

    source: Ortho
    bands: tuple[str, ...]
    grid: GeoBox
    outline: Polygon | MultiPolygon

    @property
    def gsd_m(self) -> float:
        """Metres per pixel of the grid."""
        return math.sqrt(abs(self.grid.affine.determinant))

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the grid."""
        return int(self.grid.shape[0]), int(self.grid.shape[1])

    def coarser(self, gsd_m: float) -> Field:
        """The same field at `gsd_m`, or at its own resolution if that is coarser already."""
        if gsd_m <= self.gsd_m * 1.01:
            return self
        limits = GsdRange(train_m=gsd_m, min_m=gsd_m, max_m=max(gsd_m, RULE_GSD.max_m))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", GeosegWarning)
            grid = Ortho(**{**vars(self.source), "force": True}).working_grid(limits)
        return Field(self.source, self.bands, grid, self.outline)

    def places(self, rect: Rect, step_px: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """(h,) northings and (w,) eastings of the pixel centres of every `step_px`-th row and column of a rectangle."""
        affine = self.grid.affine
        rows, cols = np.arange(rect.row0, rect.row1, step_px), np.arange(rect.col0, rect.col1, step_px)
        return affine.f + affine.e * (rows + 0.5), affine.c + affine.a * (cols + 0.5)

    def read(self, side_px: int) -> Iterator[tuple[Rect, np.ndarray, np.ndarray]]:
        """Every rectangle of at most `side_px` that has valid pixels, with its image and its valid pixels."""
        with self.source.reader(self.grid, self.outline) as reader:
            for window in windows(self.shape, side_px, 0):
                if reader.valid(window.write).any():
                    yield window.write, *reader.read(window.write)

    def sample(self, count: int, side_px: int) -> Iterator[tuple[Rect, np.ndarray, np.ndarray]]:
        """At most `count` rectangles spread evenly over the field, at least half of each valid."""
        height, width = self.shape
        across = max(1, min(width // side_px, math.ceil(math.sqrt(count * width / height))))
        down = max(1, min(height // side_px, math.ceil(count / across)))
        with self.source.reader(self.grid, self.outline) as reader:
            for row in np.linspace(0, max(height - side_px, 0), down).astype(int).tolist():
                for col in np.linspace(0, max(width - side_px, 0), across).astype(int).tolist():
                    rect = Rect(row, col, row + side_px, col + side_px).clip(self.shape)
                    if reader.valid(rect).mean() >= 0.5:
                        yield rect, *reader.read(rect)


def open_field(ortho: str | Path, config: OrthoConfig | None = None, boundary: str | Path | None = None) -> Field:
    """The field of an ortho, with near infrared where it has that.

    Args:
        ortho: Any raster that GDAL opens.
        config: What the file does not say itself. Bands given by name must be the names of `INDICES`' bands.
        boundary: Polygon file of the field; None takes the outline of the valid pixels.

    Raises:
        OrthoError: If it cannot be used, or has no bands from which vegetation can be told.
        GsdError: If it is too coarse or too fine.
    """
    config = config or OrthoConfig()
    source, bands = _open(ortho, config)
    if not candidates(bands):
        raise OrthoError(f"{source.name}: vegetation cannot be told from the bands {', '.join(bands)}; expected "
                         "red, green and blue, or near infrared and red")  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeosegWarning)
        grid = source.working_grid(RULE_GSD)
    return Field(source, bands, grid, source.boundary(boundary, grid))


def _open(ortho: str | Path, config: OrthoConfig) -> tuple[Ortho, tuple[str, ...]]:
    """The ortho with the first set of bands that its file names; unnamed ones are red, green and blue."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeosegWarning)
        if config.bands is not None and all(isinstance(band, str) for band in config.bands):
            given = tuple(str(band).lower() for band in config.bands)
            return Ortho.open(ortho, config, band_names=given), given
        named = _names(ortho) if config.bands is None else ()
        bands = next((names for names in _BAND_SETS if set(names) <= set(named)), _BAND_SETS[-1])
        return Ortho.open(ortho, config, band_names=bands), bands


def _names(ortho: str | Path) -> tuple[str, ...]:
    from geoseg.ortho.bands import band_name
    from geoseg.ortho.facts import band_facts
    from geoseg.ortho.source import environment, open_dataset

    with environment(), open_dataset(str(ortho)) as dataset:
        return tuple(band_name(facts) for facts in band_facts(dataset))
