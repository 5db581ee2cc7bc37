"""The orthomosaic as a whole: where the parts of this package meet. Knows no model and no class."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pyproj
from odc.geo.geobox import GeoBox
from shapely.geometry import MultiPolygon, Polygon

from geoseg.errors import GeosegWarning, OrthoError
from geoseg.ortho import boundary as boundaries
from geoseg.ortho.bands import check_exposure, choose_bands, full_scale
from geoseg.ortho.ground import GsdLimits, check_gsd, pixel_size, scaled, working_grid
from geoseg.ortho.levels import Levels, find_levels, image_dtype
from geoseg.ortho.place import place

if TYPE_CHECKING:
    import xarray as xr
    from affine import Affine

    from geoseg.ortho.facts import Layout
    from geoseg.ortho.reader import Reader

__all__ = ["Ortho", "OrthoConfig"]

_OUTLINE_PX = 2048
_LATTICE = 16


@dataclass(frozen=True)
class OrthoConfig:
    """How to read the ortho where the file does not say it itself.

    Attributes:
        bands: Numbers from 1, or names (description, wavelength or colour interpretation); None: by the model's names,
            else the first ones.
        crs: CRS of an ortho that has none, as EPSG:number, WKT or PROJ text.
        gsd_m: Metres per pixel of an ortho that has no georeference; it is then put at an invented place.
        value_max: Digital number that counts as full scale; None: 255 for uint8, 65535 for uint16, 32767 for int16, 1
            for floating point.
        force: Go on although the GSD is more than twice outside the model's range.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    bands: tuple[int | str, ...] | None = None
    crs: str | None = None
    gsd_m: float | None = None
    value_max: float | None = None
    force: bool = False


@dataclass(frozen=True)
class Ortho:
    """An orthomosaic that can be used.

    Attributes:
        path: The file.
        geobox: Its own grid; for ground control points the fitted one.
        gsd_m: True metres on the ground per pixel, geometric mean of both axes, around the centre.
        bands: Numbers of the bands that are read, from 1, in the model's order.
        dtype: Their data type.
        value_max: Digital number of the full scale.
        nominal: True if the place is invented, because the file has no georeference.
        force: Accept a GSD far outside the model's range.
        levels: Digital numbers that are 0 and 1 to the model, by band; None: 0 and `value_max`.
    """

    path: str
    geobox: GeoBox
    gsd_m: float
    bands: tuple[int, ...]
    dtype: str
    value_max: float
    nominal: bool = False
    force: bool = field(default=False, repr=False)
    levels: Levels | None = None

    @classmethod
    def open(
        cls,
        path: str | Path,
        config: OrthoConfig | None = None,
        band_names: Sequence[str] = ("red", "green", "blue"),
        scaling: str = "fixed",
    ) -> Self:
        """Look at a raster file and check that it can be used; nothing stays open.

        Args:
            path: Anything that GDAL opens, ``/vsizip/`` and the like included.
            config: What the file does not say itself.
            band_names: Bands of the model, in order.
            scaling: ``fixed``, or ``ortho`` to scale each band by its own statistics, as the model's card says.

        Raises:
            OrthoError: If it cannot be opened, is cut off, lacks bands, CRS or georeference, or its numbers do not fit
                their scale.
        """
        from geoseg.ortho.facts import band_facts, check_complete
        from geoseg.ortho.sample import sample, sample_places
        from geoseg.ortho.source import Source, environment, open_dataset, short_name

        config = OrthoConfig() if config is None else config
        text = os.fspath(path)
        name = short_name(text)
        if config.value_max is not None and not config.value_max > 0:
            raise OrthoError(f"ortho.value_max is {config.value_max}; expected a number above 0")
        with environment(), open_dataset(text) as dataset:
            facts = band_facts(dataset)
            bands = choose_bands(name, facts, config.bands, band_names)
            geobox, nominal = place(dataset, name, config.crs, config.gsd_m)
            check_complete(dataset, text)
        dtype = facts[bands[0] - 1].dtype
        levels, remark = None, None
        with Source(text, bands) as source:
            if scaling == "ortho":
                levels = find_levels(name, sample_places(source, _LATTICE))
            else:
                remark = check_exposure(name, sample(source).ravel(), dtype, config.value_max)
        if remark is not None:
            warnings.warn(remark, GeosegWarning, stacklevel=2)
        value_max = full_scale(dtype, config.value_max)
        gsd_m = float(config.gsd_m) if nominal and config.gsd_m is not None else pixel_size(geobox).gsd_m
        return cls(text, geobox, gsd_m, bands, dtype, value_max, nominal, config.force, levels)

    @property
    def name(self) -> str:
        """The file's name, for people."""
        return self.path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]

    @property
    def pixels(self) -> Affine | None:
        """From its pixels to the invented place, if it has no georeference."""
        return self.geobox.affine if self.nominal else None

    @property
    def image_dtype(self) -> np.dtype[np.generic]:
        """Data type of the images that are read: uint8 or float32."""
        return image_dtype(self.dtype, self.value_max, self.levels)

    @property
    def area_m2(self) -> float:
        """Area of the whole raster on the ground, around its centre; valid or not."""
        rows, cols = self.geobox.shape
        return float(rows * cols) * self.gsd_m**2

    def layout(self) -> Layout:
        """How the file is stored: blocks, overviews, compression, size."""
        from geoseg.ortho.facts import layout

        return layout(self.path)

    def working_grid(self, gsd: GsdLimits) -> GeoBox:
        """The grid that everything is computed on: metric, north-up, square pixels, within the model's range.

        The ortho's own grid if it is all that; else resampled in its own CRS if that is true to 0.1 %, or in the local
        UTM zone.

        Args:
            gsd: The model's range of ground sampling distances.

        Raises:
            GsdError: If the ortho is more than twice outside the range and `force` is not set.
        """
        check_gsd(self.name, self.gsd_m, gsd, self.force)
        return working_grid(self.geobox, gsd)

    def boundary(self, path: str | Path | None, grid: GeoBox) -> Polygon | MultiPolygon:
        """The field in the CRS of `grid`.

        Args:
            path: Vector file with the field's polygons; None: the outline of the valid pixels, seen at no more than
                2048 pixels on a side, without holes and islands that are under 1 m2 or 1 % of the largest part.
            grid: The working grid.

        Raises:
            BoundaryError: If the file has no usable polygons or they do not meet the ortho.
            OrthoError: If the ortho has no valid pixel.
        """
        crs = _grid_crs(grid)
        if path is None:
            return self._outline(crs)
        found = boundaries.read_boundary(path, crs)
        boundaries.check_overlap(Path(path).name, found, boundaries.footprint(self.geobox, crs))
        return found

    def reader(self, grid: GeoBox, boundary: Polygon | MultiPolygon | None = None) -> Reader:
        """A reader of the working grid, one per thread; nothing outside `boundary` is valid."""
        from geoseg.ortho.reader import Reader

        return Reader(self.path, self.bands, self.value_max, self.geobox, grid, boundary, self.levels)

    def lazy(self, grid: GeoBox, chunk_px: int = 2048) -> xr.DataArray:
        """The working grid as a lazy array (band, y, x), invalid pixels 0 (uint8) or NaN (float32).

        Args:
            grid: The working grid.
            chunk_px: Side of a dask chunk.
        """
        import dask.array as da
        import xarray as xr
        from odc.geo.xr import xr_coords

        rows, cols = (int(size) for size in grid.shape)
        dtype = self.image_dtype
        chunks = ((len(self.bands),), _split(rows, chunk_px), _split(cols, chunk_px))
        data = da.map_blocks(  # type: ignore[no-untyped-call]  # dask has no types for it
            self._lazy_block, grid=grid, chunks=chunks, dtype=dtype, meta=np.empty((0, 0, 0), dtype)
        )
        coords: dict[Any, Any] = {"band": list(self.bands), **xr_coords(grid)}
        return xr.DataArray(data, dims=("band", *grid.dimensions), coords=coords, name="ortho")

    def _lazy_block(self, grid: GeoBox, block_info: Any = None) -> np.ndarray:
        from geoseg.windows import Rect

        (row0, row1), (col0, col1) = block_info[None]["array-location"][1:]
        with self.reader(grid) as reader:
            image, valid = reader.read(Rect(row0, col0, row1, col1))
        image[:, ~valid] = 0 if image.dtype == np.uint8 else np.nan
        return image

    def _outline(self, crs: pyproj.CRS) -> Polygon | MultiPolygon:
        from geoseg.ortho.source import Source

        whole = boundaries.footprint(self.geobox, crs)
        with Source(self.path, self.bands) as source:
            valid = None if source.fully_valid else source.decimated(_OUTLINE_PX, "valid")[1]
        if valid is None or valid.all():
            return whole
        if not valid.any():
            raise OrthoError(
                f"{self.name} has no valid pixel: all of it is transparent or nodata; "
                "look at its nodata value and alpha band"
            )
        rows, cols = self.geobox.shape
        coarse = scaled(self.geobox.affine, cols / valid.shape[1], rows / valid.shape[0])
        native = self.geobox.crs.proj if self.geobox.crs is not None else crs
        return boundaries.outline(valid, coarse, native, crs)


def _split(size: int, chunk: int) -> tuple[int, ...]:
    return tuple(min(chunk, size - start) for start in range(0, size, chunk))


def _grid_crs(grid: GeoBox) -> pyproj.CRS:
    if grid.crs is None:
        raise OrthoError("the working grid has no CRS")
    return grid.crs.proj
