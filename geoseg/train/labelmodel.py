"""Where a model that is sure of itself disagrees with the labels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from rasterio.windows import Window as RasterWindow

from geoseg.errors import LabelError
from geoseg.legend import LEGEND, NODATA
from geoseg.ortho import Ortho, OrthoConfig
from geoseg.progress import bar
from geoseg.train.labelpass import raster_sink
from geoseg.train.labels import Labels
from geoseg.vectors import batches
from geoseg.windows import windows

__all__ = ["disagreements"]

_CLASSES = len(LEGEND)
_MIN_PX = 20
_MIN_WIDTH_PX = 3.0


def disagreements(
    ortho: Path | str,
    labels: Labels,
    folder: Path,
    model: str | Path,
    min_confidence: int,
    image: OrthoConfig | None = None,
) -> Iterator[tuple[int, str, float, int, Any]]:
    """Class of the label, text, suspicion, pixels and outline of every place, thin rims of plants left out.

    Args:
        ortho: The image.
        labels: On its grid.
        folder: For rasters in between.
        model: Name of a shipped model or model directory.
        min_confidence: Confidence in percent from which on a disagreement counts.
        image: How to read the image.

    Raises:
        LabelError: If the model needs another resolution than the image has.
        GsdError: If it is far from it.
    """
    from geoseg.models import load

    segmenter = load(model)
    opened = Ortho.open(ortho, image, segmenter.card.bands, segmenter.card.scaling)
    _predict(opened, labels, folder, segmenter, min_confidence)
    codes = [1 + _CLASSES * label + found for label in range(_CLASSES) for found in range(_CLASSES) if label != found]
    for batch in batches(folder / "differs.tif", codes=codes, confidence=folder / "sure.tif"):
        pixel = np.sqrt(shapely.area(batch.geometry) / batch.area_px)
        width = 2 * batch.area_px / (shapely.length(batch.geometry) / pixel)
        for one in batch.select((batch.area_px >= _MIN_PX) & (width >= _MIN_WIDTH_PX)):
            label, found = divmod(one.code - 1, _CLASSES)
            text = f"{one.area_px} px labelled {LEGEND[label].name}; the model sees {LEGEND[found].name}"
            score = 0.95 * one.confidence / 100 * one.area_px / (one.area_px + 3 * _MIN_PX)
            yield label, f"{text} ({one.confidence:.0f} % sure)", score, one.area_px, one.geometry


def _predict(ortho: Ortho, labels: Labels, folder: Path, segmenter: Any, min_confidence: int) -> None:
    card, grid = segmenter.card, labels.grid
    if ortho.working_grid(card.gsd) != grid:
        raise LabelError(
            f"{ortho.name} has {ortho.gsd_m * 1000:.1f} mm per pixel and would be resampled for the model {card.name}; "
            f"expected {card.gsd.min_m * 1000:g} to {card.gsd.max_m * 1000:g} mm, north-up, in a CRS in metres; leave "
            "--model out"
        )
    shape = (int(grid.shape[0]), int(grid.shape[1]))
    tiling = card.tiling
    with (
        ortho.reader(grid) as reader,
        raster_sink(folder / "differs.tif", grid) as differs,
        raster_sink(folder / "sure.tif", grid) as sure,
        bar("model", shape[0] * shape[1], "px") as progress,
    ):
        for window in windows(shape, tiling.write_px, tiling.margin_px, tiling.stride_px):
            image, valid = reader.read(window.read, card.mean)
            scores = segmenter(image[None])[0][:, *window.crop.slices]
            found, confidence = scores.argmax(axis=0), np.rint(scores.max(axis=0) * 100)
            given = labels.read(window.write)
            counts = (confidence >= min_confidence) & (given != found) & (given != NODATA)
            counts &= valid[window.crop.slices]
            view = RasterWindow(window.write.col0, window.write.row0, *window.write.shape[::-1])
            code = np.where(counts, 1 + _CLASSES * given.astype(int) + found, 0)
            differs.write(code.astype(np.uint8), 1, window=view)
            sure.write(confidence.astype(np.uint8), 1, window=view)
            progress.update(window.write.size)
