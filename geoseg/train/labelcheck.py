"""What may be wrong with labels, as places to look at: the most suspicious first.

Nothing is changed. A finding says where a person should look; whether the label is wrong is for the person to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import shapely
from affine import Affine

from geoseg.errors import LabelError
from geoseg.legend import CROP, LEGEND, WEED
from geoseg.ortho import Ortho, OrthoConfig
from geoseg.train.labelarea import LabelsWithin
from geoseg.train.labelfiles import LabelConfig, moved
from geoseg.train.labelpass import Scan, scan, seam_edges
from geoseg.train.labels import open_labels
from geoseg.train.labelseams import find_seams
from geoseg.train.labelshift import Covariance, best_shift
from geoseg.vectors import ComponentBatch, batches
from geoseg.windows import Rect

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["COLUMNS", "KINDS", "LabelCheckConfig", "check_labels", "count_kinds"]

KINDS = ("two_classes", "overlap", "unlabelled", "no_green", "shift", "sliver", "model")
"""Kinds of findings."""
_PART_PX = 5000  # labelled pixels from which on a part is judged for shifts: loose outlines of few weeds tell nothing
COLUMNS = ("rank", "suspicion", "kind", "text", "class", "area_px", "done")


@dataclass(frozen=True)
class LabelCheckConfig:
    """What is suspicious.

    Attributes:
        min_green_cm2: Smallest unlabelled vegetation that is told.
        soil_spread: Robust standard deviations above the soil's median excess green where vegetation starts.
        seam_px: Shortest straight contact of crop and weed that is told.
        sliver_px: Labels smaller than this, or about one pixel wide, are slivers.
        no_green_share: A label with a smaller share of vegetation is told.
        max_shift_px: Largest shift that is looked for.
        min_confidence: Confidence in percent from which on a model's disagreement counts.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    min_green_cm2: float = 1.5
    soil_spread: float = 7.0
    seam_px: int = 6
    sliver_px: int = 8
    no_green_share: float = 0.1
    max_shift_px: int = 8
    min_confidence: int = 95

    def __post_init__(self) -> None:
        """Refuse sizes that cannot work.

        Raises:
            LabelError: If one is not positive.
        """
        for name, value in vars(self).items():
            if not value > 0:
                raise LabelError(f"{name} is {value}; expected a number above 0")


class Finding(NamedTuple):
    """One place to look at; the geometry in pixels (x, y) or, where `placed`, in the CRS."""

    suspicion: float
    kind: str
    text: str
    code: int
    area_px: int
    geometry: Any
    placed: bool = True


def check_labels(
    ortho: Path | str,
    labels: Path | str,
    config: LabelCheckConfig | None = None,
    *,
    label: LabelConfig | None = None,
    image: OrthoConfig | None = None,
    model: str | Path | None = None,
) -> gpd.GeoDataFrame:
    """Findings with `COLUMNS`, sorted by suspicion, over the ortho as QGIS draws it: in its CRS or on its pixels.

    QGIS draws an ortho without georeference with its rows below 0; so are the findings there, without CRS.

    Args:
        ortho: The image.
        labels: Class raster, run directory, vector, COCO or YOLO file.
        config: What is suspicious.
        label: How to understand the label file.
        image: How to read the image.
        model: Also tell where this model disagrees with confidence.

    Raises:
        LabelError: If the labels cannot be read or placed.
        OrthoError: If the image cannot be used.
    """
    config = config or LabelCheckConfig()
    opened = Ortho.open(ortho, image)
    with (
        TemporaryDirectory(prefix="geoseg-labels-") as name,
        open_labels(labels, opened.geobox, label, pixels=opened.pixels) as given,
    ):
        found = scan(opened, given, Path(name), config.soil_spread, config.max_shift_px, _PART_PX)
        findings = [
            *_seams(found, config), *_overlaps(found), *_unlabelled(found, config, opened.gsd_m),
            *_doubtful(found, config), *_shifts(found),
        ]  # fmt: skip
        if model is not None:
            from geoseg.train.labelmodel import disagreements

            for code, text, score, area, shape in disagreements(
                ortho, given, Path(name), model, config.min_confidence, image
            ):
                findings.append(Finding(score, "model", text, code, area, shape))
        if isinstance(given, LabelsWithin):  # what is left of a plant at the edge is no sliver
            findings = [one for one in findings if one.kind != "sliver" or not given.cuts(one.geometry)]
        return _frame(findings, opened)


def count_kinds(findings: gpd.GeoDataFrame) -> dict[str, int]:
    """Number of findings of every kind."""
    return {kind: int((findings["kind"] == kind).sum()) for kind in KINDS}


def _seams(found: Scan, config: LabelCheckConfig) -> Iterator[Finding]:
    for seam in find_seams(*seam_edges(found.folder / "classes.tif"), config.seam_px):
        box = (seam.start - 6, seam.line - 6, seam.stop + 6, seam.line + 6)
        shape = shapely.box(*((box[1], box[0], box[3], box[2]) if seam.down else box))
        sure = seam.length / (seam.length + 4) * seam.straight**2
        where = f"{'column' if seam.down else 'row'} {seam.line}"
        text = f"crop and weed meet along {seam.length} px of a straight line at {where}"
        if seam.others:
            text += f", as {seam.others} others do there"
        if seam.straight > 0.6:
            yield Finding(min(1.0, sure + 0.02 * seam.others), "two_classes", text, WEED, seam.length, shape, False)


def _overlaps(found: Scan) -> Iterator[Finding]:
    for one in _regions(found.folder / "overlap.tif", (1,)):
        for area, shape in zip(one.area_px.tolist(), one.geometry, strict=True):
            yield Finding(area / (area + 10), "overlap", f"{area} px are crop and weed", WEED, area, shape)


def _unlabelled(found: Scan, config: LabelCheckConfig, gsd_m: float) -> Iterator[Finding]:
    least = max(1, round(config.min_green_cm2 / 1e4 / gsd_m**2))
    for batch in _regions(found.folder / "green.tif", (1,), found.folder / "labelled.tif"):
        chosen = batch.select((batch.area_px >= least) & (batch.confidence < 2))
        for area, shape in zip(chosen.area_px.tolist(), chosen.geometry, strict=True):
            score = 0.9 * area / (area + 2 * least)
            yield Finding(score, "unlabelled", f"{area} px of vegetation without a label", 0, area, shape)


def _doubtful(found: Scan, config: LabelCheckConfig) -> Iterator[Finding]:
    """Labels without vegetation, and labels that are too small or thin to be plants."""
    for batch in _regions(found.folder / "classes.tif", (CROP, WEED), found.folder / "greenness.tif"):
        pixel = np.sqrt(shapely.area(batch.geometry) / batch.area_px)
        width = 2 * batch.area_px / (shapely.length(batch.geometry) / pixel)
        for one, wide in zip(batch, width.tolist(), strict=True):
            name, share = LEGEND[one.code].name, one.confidence / 100
            if one.area_px < config.sliver_px or wide < 1.2:
                text = f"a {name} label of {one.area_px} px, {wide:.1f} px wide"
                yield Finding(0.5 / max(wide, 0.5) ** 0.5, "sliver", text, one.code, one.area_px, one.geometry)
            elif share < config.no_green_share:
                score = 0.9 * (1 - share / config.no_green_share / 2) * one.area_px / (one.area_px + 20)
                text = f"a {name} label of {one.area_px} px, {share:.0%} of it green"
                yield Finding(score, "no_green", text, one.code, one.area_px, one.geometry)


def _shifts(found: Scan) -> Iterator[Finding]:
    if not found.parts:
        return
    total = reduce(Covariance.plus, (part for _, part in found.parts))
    rects = [rect for rect, _ in found.parts]
    whole = Rect(
        min(rect.row0 for rect in rects), min(rect.col0 for rect in rects),
        max(rect.row1 for rect in rects), max(rect.col1 for rect in rects),
    )  # fmt: skip
    parts = found.parts if len(found.parts) > 1 else []
    for rect, part, name in ((whole, total, "all labels"), *((rect, part, "labels here") for rect, part in parts)):
        shift = best_shift(part)
        least, gain = (0.7, 0.002) if rect is whole else (1.0, 0.02)
        if shift.there < 0.3 or shift.length < least or shift.there - shift.here < gain:
            continue
        text = f"{name} lie beside the plants: {_way(shift.down, shift.right)} they fit better"
        text += f" (correlation {shift.there:.2f} instead of {shift.here:.2f})"
        score = (1 - np.exp(-shift.length)) * min(1.0, shift.there / 0.5)
        shape = shapely.box(rect.col0, rect.row0, rect.col1, rect.row1)
        yield Finding(float(score), "shift", text, CROP, rect.size, shape, False)


def _way(down: float, right: float) -> str:
    moves = ((down, "down", "up"), (right, "right", "left"))
    return " and ".join(f"{abs(by):.1f} px {one if by > 0 else two}" for by, one, two in moves if abs(by) >= 0.25)


def _regions(path: Path, codes: tuple[int, ...], weights: Path | None = None) -> Iterator[ComponentBatch]:
    return batches(path, codes=codes, confidence=weights)


def _frame(findings: list[Finding], ortho: Ortho) -> gpd.GeoDataFrame:
    import geopandas as gpd

    ordered = sorted(findings, key=lambda one: (-one.suspicion, one.kind, -one.area_px))
    grid = ortho.geobox
    shapes = [one.geometry if one.placed else moved(one.geometry, grid.affine) for one in ordered]
    if ortho.nominal:
        shapes = [moved(shape, Affine.scale(1, -1) * ~grid.affine) for shape in shapes]
    columns = {
        "rank": np.arange(1, len(ordered) + 1),
        "suspicion": np.array([round(one.suspicion, 3) for one in ordered], float),
        "kind": [one.kind for one in ordered],
        "text": [one.text for one in ordered],
        "class": ["" if one.kind in ("unlabelled", "shift") else LEGEND[one.code].name for one in ordered],
        "area_px": np.array([one.area_px for one in ordered], np.int64),
        "done": np.zeros(len(ordered), np.int64),
    }
    crs = None if ortho.nominal or grid.crs is None else grid.crs.proj
    return gpd.GeoDataFrame(columns, geometry=shapes, crs=crs)
