"""Whether labels lie on an image, to the pixel where they are a raster, and how large its pixels are on the ground."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.errors import GeosegError, GeosegWarning, LabelError, OrthoError
from geoseg.ortho.ground import apply, is_metric, map_points, nominal_geobox, pixel_size
from geoseg.ortho.place import IDENTITIES, earth_crs
from geoseg.train.cocofile import read_coco
from geoseg.train.labelfiles import LabelConfig, moved

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["check_grid", "check_meets", "check_one_band", "ground_gsd"]

_OFF_PX = 0.1
_GSD_OFF = 0.05


def check_grid(path: Path | str, raster: Any, grid: GeoBox, plain: bool = False) -> None:
    """Refuse a raster whose pixels are not those of the grid: its corners must meet to a tenth of a pixel.

    Args:
        path: Name of the raster, for the message.
        raster: The raster, opened with rasterio.
        grid: Grid of the image. Where one of the two has no CRS on the earth, it is taken to have that of the other;
            an image without georeference is met by what a run made of it, at the place that runs invent.
        plain: Whether a raster without any georeference may stand for the image's pixels.

    Raises:
        LabelError: If it lies elsewhere.
    """
    shape = (int(grid.shape[0]), int(grid.shape[1]))
    bare = raster.crs is None and raster.transform in IDENTITIES
    if raster.shape == shape and (
        (plain and bare) or _off_px(raster, grid) <= _OFF_PX or (grid.affine in IDENTITIES and _is_invented(raster))
    ):
        return
    raise LabelError(
        f"{path} does not lie on the grid of the image: {_text(raster.shape, raster.crs, raster.transform)} against "
        f"{_text(shape, grid.crs, grid.affine)}; warp it onto the image's grid (gdalwarp -r near)"
    )


def _is_invented(raster: Any) -> bool:
    """Whether a raster lies where a run puts an image without georeference."""
    crs = earth_crs(raster.crs)
    if crs is None:
        return False
    try:
        place = nominal_geobox(raster.shape, raster.transform.a, crs)
    except OrthoError:
        return False
    return bool(raster.transform.almost_equals(place.affine))


def check_one_band(path: Path | str, raster: Any, what: str) -> None:
    """Refuse a raster of several bands, such as a picture of the classes in colours.

    Raises:
        LabelError: If it has more than one band.
    """
    if raster.count != 1:
        raise LabelError(f"{path} has {raster.count} bands; expected one that holds {what}, not a picture in colours")


def check_meets(
    frame: gpd.GeoDataFrame, grid: GeoBox, path: Path, config: LabelConfig | None = None, *, own_file: bool = False
) -> None:
    """Refuse outlines of which none lies on the image: all of it would count as soil.

    A COCO or YOLO file without outlines says that there are none on its image, and so does a vector file that is named
    after the image; another vector file without outlines says nothing. Where ``labelled_area`` tells what was labelled,
    there may be none in it.

    Args:
        frame: The outlines, in the CRS of the grid.
        grid: Grid of the image.
        path: Their file.
        config: How the file was understood.
        own_file: Whether the file is of this image alone, as its name says.

    Raises:
        LabelError: If none lies on the image.
    """
    if config is not None and config.labelled_area is not None:
        return
    hint = "; if it shows soil alone, say what was looked at with the option labelled_area"
    if not len(frame):
        kind = path.suffix.lower()
        if own_file or path.is_dir() or kind == ".txt" or (kind == ".json" and read_coco(path)):
            return
        raise LabelError(f"{path} holds no outline, so nothing is known of the image{hint}")
    height, width = (int(size) for size in grid.shape)
    image = moved(shapely.box(0, 0, width, height), grid.affine)
    if not shapely.intersects(image, frame.geometry.to_numpy()).any():
        ours = "in its CRS" if grid.crs is not None else "in pixels: it has no georeference that can be used"
        raise LabelError(
            f"none of the {len(frame)} outlines of {path} lies on the image: they span {_span(frame.total_bounds)}, "
            f"the image {_span(image.bounds)} {ours}; give the labels of this image, or "
            f"{'correct their CRS' if grid.crs is not None else 'warp the image onto a CRS (gdalwarp)'}{hint}"
        )


def ground_gsd(path: Path | str, grid: GeoBox, said: float | None) -> float:
    """Metres on the ground per pixel of an image, whatever its CRS; coordinates without one are taken to be metres.

    Where a metre of the CRS is one on the ground, to 0.1 %, it is the step of the transform.

    Args:
        path: Name of the image, for the message.
        grid: Its grid.
        said: What a person says, for an image that does not.

    Raises:
        LabelError: If nobody says it, the two do not agree, or the coordinates cannot lie in the CRS.
        GeosegWarning: If the image does not lie on the earth and seems to have pixels of another size.
    """
    on_earth = earth_crs(grid.crs) is not None
    if not on_earth and grid.affine in IDENTITIES:
        if said is None:
            raise LabelError(f"{path} has no georeference; give gsd_m, its metres per pixel")
        return said
    known = _known_gsd(path, grid) if on_earth else _assumed_gsd(grid)
    if said is None:
        return known
    if abs(said / known - 1) > _GSD_OFF:
        text = f"{path} has pixels of {known:.4g} m by its georeference, gsd_m says {said:.4g}"
        if on_earth:
            raise LabelError(f"{text}; leave it out")
        warnings.warn(f"{text}, which is taken: nothing says where it lies on the earth", GeosegWarning, stacklevel=3)
    return said


def _known_gsd(path: Path | str, grid: GeoBox) -> float:
    try:
        size = pixel_size(grid)
    except GeosegError as error:
        raise LabelError(f"the pixels of {path} have no size on the ground: {error}") from error
    return math.sqrt(abs(grid.affine.determinant)) if is_metric(size) else size.gsd_m


def _assumed_gsd(grid: GeoBox) -> float:
    """The step of the transform, in the unit of a local CRS if there is one."""
    axes = [] if grid.crs is None else grid.crs.proj.axis_info
    factor = axes[0].unit_conversion_factor if axes else 1.0
    return math.sqrt(abs(grid.affine.determinant)) * (factor or 1.0)


def _off_px(raster: Any, grid: GeoBox) -> float:
    """The farthest that a corner of the raster lies from the same corner of the grid, in pixels of the grid.

    Datums are compared, parameters that some files carry to get from theirs to another one (TOWGS84) are not.
    """
    rows, cols = raster.shape
    corners = np.array([(0, 0), (cols, 0), (0, rows), (cols, rows)], float)
    x, y = apply(raster.transform, *corners.T)
    there, here = earth_crs(raster.crs), earth_crs(grid.crs)
    if there is not None and here is not None:
        x, y = map_points(there, here, x, y)
    found = np.stack(apply(~grid.affine, np.asarray(x), np.asarray(y)), axis=1)
    off = float(np.abs(found - corners).max())
    return off if math.isfinite(off) else math.inf


def _span(bounds: Any) -> str:
    left, bottom, right, top = (f"{value:.9g}" for value in bounds)
    return f"{left} to {right}, {bottom} to {top}"


def _text(shape: tuple[int, int], crs: Any, transform: Affine) -> str:
    name = "no CRS" if crs is None else pyproj.CRS(crs.to_wkt()).name
    corner, step = (transform.c, transform.f), (transform.a, transform.e)
    return f"{shape[1]} x {shape[0]} px of {step[0]:.9g}, {step[1]:.9g} from {corner[0]:.9g}, {corner[1]:.9g} in {name}"
