"""One pass over image and labels, window by window, that leaves small rasters for the label check to look into."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from rasterio.windows import Window as RasterWindow
from scipy import ndimage

from geoseg.legend import NODATA, SOIL
from geoseg.ortho import Ortho, Reader
from geoseg.progress import bar
from geoseg.train.labels import Labels
from geoseg.train.labelseams import class_edges
from geoseg.train.labelshift import Covariance, covariance
from geoseg.train.tilebands import excess_green
from geoseg.windows import Rect, blocks

__all__ = ["SOIL_BINS", "Scan", "Soil", "otsu", "raster_sink", "scan", "seam_edges", "soil_end", "soil_of"]

BLOCK_PX = 1024
_SAMPLE_PX, _SAMPLES = 256, 256
_FAINT, _NOISE = 3.0, 5.0  # robust standard deviations of the soil
_LEAF = 0.1  # excess green that no ground has as a whole
SOIL_BINS = np.linspace(-1, 2, 1201)
_HUMP_BINS = 9


class Soil(NamedTuple):
    """Where soil ends in an image.

    Attributes:
        threshold: Excess green above which a pixel is vegetation.
        faint: Excess green above which a pixel may be vegetation, shaded, thin or far out of focus.
        dark: Half the brightness of the ground (red + green + blue); what is darker counts as this in the index, or
            every crack in the soil would be green.
    """

    threshold: float
    faint: float
    dark: float


@dataclass
class Scan:
    """What the pass found and where it put its rasters.

    Attributes:
        folder: Holds ``classes.tif`` (labels, 255 outside the image), ``green.tif`` (0 or 1), ``overlap.tif`` (0 or 1),
            ``labelled.tif`` (0 or 100) and ``greenness.tif`` (0 or 100 by the faint threshold, 255 where unknown).
        soil: Where soil ends in this image.
        parts: Agreement of labels and greenness per part that has enough labels.
    """

    folder: Path
    soil: Soil
    parts: list[tuple[Rect, Covariance]] = field(default_factory=list)


def soil_of(reader: Reader, shape: tuple[int, int], spread: float) -> Soil:
    """Excess green that parts vegetation from soil in this image, and the highest that may still be soil.

    Args:
        reader: Of the image.
        shape: (height, width).
        spread: Robust standard deviations of the soil.
    """
    cells = list(blocks(shape, _SAMPLE_PX))
    step = max(1, len(cells) // _SAMPLES)
    sample = [_not_black(*reader.read(rect.grow(1))) for rect in cells[step // 2 :: step]]
    dark = _brightness(sample) / 2
    counts = np.zeros(len(SOIL_BINS) - 1, np.int64)
    for image, valid in sample:
        counts += np.histogram(_smooth(image, valid, dark)[valid[1:-1, 1:-1]], SOIL_BINS)[0]
    return Soil(*soil_end(counts, spread), dark)


def soil_end(counts: np.ndarray, spread: float) -> tuple[float, float]:
    """Excess green above which a pixel is vegetation, and above which it may be.

    Otsu's threshold lies halfway to full leaves, above thin and shaded ones. What is below it is soil and some of
    these; its median plus `spread` robust standard deviations is where soil ends, and the lower of both is taken, but
    none within five deviations: that is noise. The second is the median plus three, or Otsu's threshold.

    Where almost everything is bare soil, Otsu's threshold cuts the soil itself in two. It then lies in the hump of the
    histogram instead of beside it, and all is taken as soil; or as leaves, where it is as green as these.

    Args:
        counts: Pixels by excess green, in `SOIL_BINS`.
        spread: Robust standard deviations of the soil.

    Reference: Otsu 1979, https://doi.org/10.1109/TSMC.1979.4310076
    """
    limit = otsu(counts)
    centres = (SOIL_BINS[1:] + SOIL_BINS[:-1]) / 2
    density = np.convolve(counts, np.ones(_HUMP_BINS), "same")
    one_hump = np.interp(limit, centres, density) > density.max() / 2
    if one_hump and _weighted_median(centres, counts) > _LEAF:
        return _LEAF, _LEAF
    soil = counts if one_hump else np.where(centres < limit, counts, 0)
    median = _weighted_median(centres, soil)
    sigma = max(1.4826 * _weighted_median(np.abs(centres - median), soil), 0.0025)
    halfway = math.inf if one_hump else limit
    end = max(min(halfway, median + spread * sigma), median + min(_NOISE, spread) * sigma)
    return end, min(halfway, median + _FAINT * sigma)


def _not_black(image: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Without the black around an orthomosaic that does not say where it ends."""
    return image, valid & image[:3].any(axis=0)


def _brightness(sample: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Median of red + green + blue: that of the ground, which is most of an early field."""
    inner = np.s_[..., 1:-1, 1:-1]
    sums = [image[inner][:3].sum(axis=0, dtype=np.float32)[valid[inner]] for image, valid in sample]
    found = np.concatenate([np.zeros(0, np.float32), *sums])
    return float(np.median(found)) if len(found) else 0.0


def otsu(counts: np.ndarray) -> float:
    """The excess green that parts a histogram with the largest variance between both sides."""
    centres = (SOIL_BINS[1:] + SOIL_BINS[:-1]) / 2
    weight, total = np.cumsum(counts), np.cumsum(counts * centres)
    both = weight * (weight[-1] - weight)
    gap = np.divide((total[-1] * weight - weight[-1] * total) ** 2, both, out=np.zeros(len(both)), where=both > 0)
    return float(centres[gap == gap.max()].mean())


def scan(ortho: Ortho, labels: Labels, folder: Path, spread: float, reach_px: int, min_label_px: int) -> Scan:
    """Read image and labels once and leave what the checks need.

    Args:
        ortho: The image.
        labels: On its grid.
        folder: Where to put the rasters.
        spread: See `soil_of`.
        reach_px: Largest shift that is looked for.
        min_label_px: Labelled pixels that a part must have to be judged for shifts.
    """
    shape = (int(labels.grid.shape[0]), int(labels.grid.shape[1]))
    with ExitStack() as stack:
        reader = stack.enter_context(ortho.reader(labels.grid))
        found = Scan(folder, soil_of(reader, shape, spread))
        names = ("classes", "green", "overlap", "labelled", "greenness")
        sinks = {name: stack.enter_context(raster_sink(folder / f"{name}.tif", labels.grid)) for name in names}
        progress = stack.enter_context(bar("labels", shape[0] * shape[1], "px"))
        for rect in blocks(shape, BLOCK_PX):
            index, valid = _index(reader, rect, reach_px, found.soil.dark)
            inner = np.s_[reach_px : reach_px + rect.shape[0], reach_px : reach_px + rect.shape[1]]
            green = (index[inner] > found.soil.threshold) & valid
            classes = np.where(valid, labels.read(rect), np.uint8(NODATA))
            plant = (classes != SOIL) & (classes != NODATA)
            layers = {
                "classes": classes,
                "green": green,
                "overlap": labels.overlap(rect),
                "labelled": np.where(classes == SOIL, 0, 100),
                "greenness": np.where(valid, np.where(index[inner] > found.soil.faint, 100, 0), 255),
            }
            for name, values in layers.items():
                sinks[name].write(values.astype(np.uint8), 1, window=_view(rect))
            if plant.sum() >= min_label_px and not plant.all():
                found.parts.append((rect, covariance(plant, index)))
            progress.update(rect.size)
    return found


def seam_edges(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """All pixel edges between crop and weed of a class raster, read in strips."""
    across, down = [np.empty((0, 2), np.int64)], [np.empty((0, 2), np.int64)]
    with rasterio.open(path) as file:
        for row in range(0, file.height, 512):
            first = max(row - 1, 0)  # the last row of the strip above, for the edges between both
            classes = file.read(1, window=RasterWindow(0, first, file.width, min(row + 512, file.height) - first))
            one, two = class_edges(classes, first)
            across.append(one)
            down.append(two[two[:, 0] >= row])
    return np.concatenate(across), np.concatenate(down)


def raster_sink(path: Path, grid: Any) -> Any:
    """A raster of bytes on a grid, opened for writing."""
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "width": grid.shape[1], "height": grid.shape[0]}
    profile |= {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "lzw", "BIGTIFF": "IF_SAFER"}
    return rasterio.open(path, "w", transform=grid.affine, crs=grid.crs.to_wkt(), **profile)


def _index(reader: Reader, rect: Rect, reach_px: int, dark: float) -> tuple[np.ndarray, np.ndarray]:
    """Excess green of a rectangle and `reach_px` around, averaged over 3 x 3 pixels; validity of the rectangle."""
    image, valid = reader.read(rect.grow(reach_px + 1))
    inside = reach_px + 1
    return _smooth(image, valid, dark), valid[inside : inside + rect.shape[0], inside : inside + rect.shape[1]]


def _smooth(image: np.ndarray, valid: np.ndarray, dark: float) -> np.ndarray:
    """Excess green averaged over 3 x 3 pixels, without the outermost ones."""
    index: np.ndarray = ndimage.uniform_filter(np.where(valid, excess_green(image[:3], dark), 0), 3)
    return index[1:-1, 1:-1]


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)]) if total[-1] else 0.0


def _view(rect: Rect) -> RasterWindow:
    return RasterWindow(rect.col0, rect.row0, rect.shape[1], rect.shape[0])
