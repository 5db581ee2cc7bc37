"""What to know about an ortho before a long run: does it fit the model, and is it any good.

Plain data, nothing is printed. What an ortho cannot be opened with is an exception of `Ortho.open`; `from_error` turns
it into a finding like the others.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from odc.geo.geobox import GeoBox

from geoseg.errors import BoundaryError, GeosegError, GeosegWarning, GsdError, OrthoError
from geoseg.finding import Finding, Level, worst
from geoseg.models.card import ModelCard
from geoseg.needs import Estimate
from geoseg.ortho import Ortho
from geoseg.ortho.bands import full_scale
from geoseg.ortho.facts import band_labels
from geoseg.ortho.looks import Looks, look_at
from geoseg.report.findings import findings_html, preflight_lines
from geoseg.windows import Rect

__all__ = ["Preflight", "from_error", "preflight"]

_Result = TypeVar("_Result")

# Measured on the potato and maize fields at 3 mm, and on copies of them (`geoseg.ortho.looks`, medians of 25 and 16
# places). Detail: 0.17 and 0.27 as they are, 0.11 and 0.12 blurred by a Gaussian of 1 pixel, 0.09 by one of 1.5 pixels,
# 0.10 when reduced and enlarged four times. Streaks: 1.6 and 1.5; 3.6 and 4.8 when moved by 9 pixels.
_ABOUT = 1.05
_BLURRED, _SOFT, _STREAKY = 0.105, 0.125, 2.5
# The same: no pixel in 5000 is saturated; exposed 1.3 times as much 1 % are, 1.5 times as much 5 to 8 %. Their values
# end at 73 and 75 % of the scale; at a quarter of the light at 18 %, where rounding to 8 bits begins to show.
_SOME_CLIPPED, _MUCH_CLIPPED, _MUCH_BLACK, _DIM = 0.005, 0.03, 0.2, 0.25
_SAMPLE_PX = 256


@dataclass(frozen=True)
class Preflight:
    """What there is to know before a run; print it to read it.

    Attributes:
        ortho: The file.
        model: Name and version of the model that is meant to be used.
        findings: What was looked at.
        estimate: What a run will take; None if the ortho cannot be used.
    """

    ortho: str
    model: str
    findings: tuple[Finding, ...]
    estimate: Estimate | None = None

    @property
    def level(self) -> Level:
        """The gravest level: with "error" a run would stop."""
        return worst(self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {"level": self.level, **asdict(self), "findings": [asdict(finding) for finding in self.findings]}

    def __str__(self) -> str:
        """As `geoseg check` prints it."""
        return "\n".join(preflight_lines(self.to_dict()))

    def _repr_html_(self) -> str:
        return findings_html(self.findings, f"{self.ortho}, for the model {self.model}")


def preflight(ortho: Ortho, card: ModelCard, boundary: str | Path | None = None) -> tuple[Finding, ...]:
    """Everything that is worth knowing, in a fixed order of topics.

    Args:
        ortho: An ortho that could be opened.
        card: Card of the model that is meant to be used.
        boundary: Vector file of the field, or None.
    """
    findings = [
        *_bands(ortho, card),
        *_resolution(ortho, card),
        *_georeference(ortho, card),
        *_field(ortho, card, boundary),
        *_layout(ortho, card),
        *_picture(ortho, by_scale=card.scaling == "fixed"),
    ]
    return tuple(findings)


def from_error(error: GeosegError) -> Finding:
    """An exception as a finding; what stands behind its last semicolon is the remedy."""
    topics = {GsdError: "resolution", BoundaryError: "boundary", OrthoError: "ortho"}
    topic = next((name for kind, name in topics.items() if isinstance(error, kind)), "input")
    text, _, remedy = str(error).rpartition("; ")
    return Finding("error", topic, text or remedy, remedy if text else "")


def _bands(ortho: Ortho, card: ModelCard) -> Iterator[Finding]:
    if ortho.levels is not None:
        named = ", ".join(band_labels(ortho.path, ortho.bands))
        yield Finding("ok", "bands", f"{named}; {ortho.dtype}, each by its own mean and spread over the ortho")
        return
    pairs = ", ".join(f"{name} from {number}" for name, number in zip(card.bands, ortho.bands, strict=True))
    yield Finding("ok", "bands", f"{pairs}; {ortho.dtype}, {ortho.value_max:g} is full scale")


def _resolution(ortho: Ortho, card: ModelCard) -> Iterator[Finding]:
    _, caught = _attempt("resolution", lambda: ortho.working_grid(card.gsd))
    if caught is not None:
        yield caught
    else:
        found, fine = f"{ortho.gsd_m * 1e3:.3g} mm per pixel; the model takes {card.gsd.span}", card.gsd.seedlings_m
        if fine is not None and ortho.gsd_m > fine * _ABOUT:
            remedy = "fly lower if plants and weeds of a few centimetres must be found; larger ones are found as well"
            yield Finding("note", "resolution", found, remedy)
        else:
            yield Finding("ok", "resolution", found)


def _georeference(ortho: Ortho, card: ModelCard) -> Iterator[Finding]:
    name = ortho.geobox.crs.proj.name if ortho.geobox.crs is not None else "none"
    if ortho.nominal:
        yield Finding(
            "warning",
            "georeference",
            f"the place is invented: the file has only {ortho.gsd_m * 1e3:.3g} mm per pixel, from --gsd",
            "areas and counts hold, positions do not: send nothing of this to a machine",
        )
        return
    grid = _quiet_grid(ortho, card)
    if grid is None:
        yield Finding("ok", "georeference", name)
    elif grid == ortho.geobox:
        yield Finding("ok", "georeference", f"{name}; computed on the ortho's own grid")
    else:
        target = grid.crs.proj.name if grid.crs is not None else name
        step = grid.affine.a * 1e3
        yield Finding("note", "georeference", f"{name}; resampled to {step:.3g} mm, north-up, in {target}")


def _field(ortho: Ortho, card: ModelCard, boundary: str | Path | None) -> Iterator[Finding]:
    grid = _quiet_grid(ortho, card) or ortho.geobox
    topic = "valid area" if boundary is None else "boundary"
    field, caught = _attempt(topic, lambda: ortho.boundary(boundary, grid))
    if caught is not None:
        yield caught
    if field is None:
        return
    share = min(1.0, field.area / ortho.area_m2)
    yield Finding("ok", topic, f"{field.area / 1e4:.3g} ha, {share:.0%} of the raster")


def _layout(ortho: Ortho, card: ModelCard) -> Iterator[Finding]:
    file = ortho.layout()
    rows, cols = (int(size) for size in ortho.geobox.shape)
    size = "" if file.size_bytes is None else f", {file.size_bytes / 1e6:.3g} MB"
    yield Finding("ok", "size", f"{cols} x {rows} pixels, {rows * cols / 1e6:.3g} Mpx{size}, {file.compression}")
    remedy = f"write it in tiles: rio convert -f COG --co COMPRESS=DEFLATE --co BIGTIFF=IF_SAFER {ortho.name} cog.tif"
    height, width = file.block
    if height < rows and width == cols and cols > 2048:
        level: Level = "warning" if rows * cols > 2e8 else "note"
        yield Finding(level, "tiling", f"stored in strips of {height} rows, which reads slowly", remedy)
    elif height * width > 2**24:
        yield Finding("warning", "tiling", f"stored in one piece of {width} x {height} pixels: slow and large", remedy)
    else:
        yield Finding("ok", "tiling", f"blocks of {width} x {height} pixels")
    grid = _quiet_grid(ortho, card)
    coarser = grid is not None and grid.affine.a > 1.9 * ortho.gsd_m
    if file.overviews:
        yield Finding("ok", "overviews", ", ".join(str(factor) for factor in file.overviews))
    elif max(rows, cols) > 4096:
        text = "none, so every pixel is decoded at full resolution" if coarser else "none; maps draw slowly"
        yield Finding(
            "warning" if coarser else "note",
            "overviews",
            text,
            f"rio overview --build auto --resampling average {ortho.name}",
        )


def _picture(ortho: Ortho, *, by_scale: bool) -> Iterator[Finding]:
    looks = look_at(_samples(ortho))
    if looks is None:
        yield Finding("note", "sharpness", "no window with enough valid pixels to look at", "give --boundary")
        return
    yield _sharpness(looks)
    if by_scale:
        yield _exposure(looks)


def _sharpness(looks: Looks) -> Finding:
    measure = f"detail {looks.detail:.2f}, streaks {looks.streaks:.1f}, {looks.places} places"
    if looks.detail < _BLURRED:
        remedy = "fly lower, slower or in more light, and focus; or export the mosaic at the resolution of the images"
        return Finding("warning", "sharpness", f"blurred: small weeds cannot be told apart ({measure})", remedy)
    if looks.streaks > _STREAKY:
        remedy = "fly slower, or with a shorter exposure; look whether leaves are drawn out in one direction"
        return Finding("warning", "sharpness", f"smeared in one direction ({measure})", remedy)
    if looks.detail < _SOFT:
        remedy = "look at the smallest weeds at full size; if they are hard to see, the model misses them too"
        return Finding("note", "sharpness", f"rather soft ({measure})", remedy)
    return Finding("ok", "sharpness", f"sharp ({measure})")


def _exposure(looks: Looks) -> Finding:
    span = f"most values from {looks.low:.0%} to {looks.high:.0%} of the full scale"
    if looks.clipped > _MUCH_CLIPPED:
        remedy = "expose shorter; if the file's values end below its type's, set ortho.value_max"
        return Finding("warning", "exposure", f"{looks.clipped:.0%} of the pixels are saturated; {span}", remedy)
    if looks.black > _MUCH_BLACK or looks.high < _DIM:
        remedy = "expose longer; if the file's values end below its type's, set ortho.value_max"
        return Finding("warning", "exposure", f"dark: {looks.black:.0%} of the pixels are black; {span}", remedy)
    if looks.clipped > _SOME_CLIPPED:
        remedy = "look at bright soil and leaves: saturated pixels have no colour"
        return Finding("note", "exposure", f"{looks.clipped:.1%} of the pixels are saturated; {span}", remedy)
    return Finding("ok", "exposure", span)


def _samples(ortho: Ortho) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Up to 25 windows at the ortho's own resolution, (C, H, W) float32 0..1 and (H, W) bool, mostly valid."""
    rows, cols = (int(size) for size in ortho.geobox.shape)
    side = min(_SAMPLE_PX, max(24, min(rows, cols) // 8), rows, cols)
    with ortho.reader(ortho.geobox) as reader:
        for row in np.linspace(0, rows - side, 7).astype(int)[1:-1]:
            for col in np.linspace(0, cols - side, 7).astype(int)[1:-1]:
                rect = Rect(int(row), int(col), int(row) + side, int(col) + side)
                image, valid = reader.read(rect)
                if min(valid.shape) >= 3 and valid.mean() > 0.8:
                    yield image / np.float32(full_scale(image.dtype)), valid


def _attempt(topic: str, action: Callable[[], _Result]) -> tuple[_Result | None, Finding | None]:
    """What an action gives, None if it fails; and what it complains about, its error or its first warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", GeosegWarning)
        try:
            result = action()
        except GeosegError as error:
            return None, replace(from_error(error), topic=topic)
    for entry in caught:
        if issubclass(entry.category, GeosegWarning):
            text, _, remedy = str(entry.message).rpartition("; ")
            return result, Finding("warning", topic, text or remedy, remedy if text else "")
    return result, None


def _quiet_grid(ortho: Ortho, card: ModelCard) -> GeoBox | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeosegWarning)
        try:
            return ortho.working_grid(card.gsd)
        except GsdError:
            return None
