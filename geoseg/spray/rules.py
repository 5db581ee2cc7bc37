"""The spray rule: which cells get which rate. Knows counts per cell and nothing about rasters, polygons or files.

A cell *triggers* when enough of what was seen of it is weed. Every cell that comes nearer than the buffer to a
triggered cell is *treated*: the buffer covers the error of the machine's position and of the map's. Spots smaller than
the machine can do are left out and counted. What the camera did not see is *unseen*, and by default it is sprayed:
a hole in the picture must never become a gap in the field without anybody noticing.

There is one dose, full or nothing. Reduced doses over weeds select for herbicide resistance (Neve and Powles, 2005,
Heredity 95, 485), so no rule here lowers the rate with the cover.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import PrescriptionError

__all__ = ["MAX_RATE_L_HA", "Decision", "SprayConfig", "buffer_reach", "decide", "dilate"]

MAX_RATE_L_HA = 5000.0
"""Highest rate taken as meant: five times the largest carrier volumes in use, and far inside every file's range."""


@dataclass(frozen=True)
class SprayConfig:
    """How the field is sprayed. The YAML section ``spray``.

    Attributes:
        rate_l_ha: Full rate of the spray liquid, litres per hectare.
        section_m: Width of a section (or of a nozzle's band), metres: the cell across the track.
        length_m: Cell along the track, metres; None: the section width, but at least 0.5.
        heading_deg: Driving direction, degrees clockwise from the grid north of the working CRS; None: along the
            crop rows where most plants stand in rows of one direction, else along the longest side of the field.
        threshold_cover: A cell triggers when weeds are at least this share of its valid pixels; 0: any weed pixel. The
            default is one seedling of 2.5 cm in a cell of half a metre.
        threshold_over_m2: In larger cells, the share of an area this large is enough, so that a wide section never
            overlooks the weeds for which a narrow one would open; None: always the share of the whole cell.
        buffer_m: Every cell nearer than this to a triggered cell is treated as well, metres. 0 adds nothing.
        min_spot_m2: Treated spots smaller than this are dropped, square metres; after the buffer.
        unseen: What happens to cells that the camera did not see: ``spray`` at the full rate or ``skip``.
        min_seen: A cell without a trigger counts as unseen when less than this share of it has valid pixels.
        holes: Whether zones ``keep`` their holes or are ``split`` into more zones without any, for old terminals.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    rate_l_ha: float = 200.0
    section_m: float = 0.5
    length_m: float | None = None
    heading_deg: float | None = None
    threshold_cover: float = 0.002
    threshold_over_m2: float | None = 0.25
    buffer_m: float = 0.5
    min_spot_m2: float = 0.0
    unseen: Literal["spray", "skip"] = "spray"
    min_seen: float = 0.5
    holes: Literal["keep", "split"] = "keep"

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            PrescriptionError: With the field's name, its value and what is expected.
        """
        _within("rate_l_ha", self.rate_l_ha, 0, MAX_RATE_L_HA, "a rate in litres per hectare", open_low=True)
        _within("section_m", self.section_m, 0.01, 100, "a section width in metres")
        if self.length_m is not None:
            _within("length_m", self.length_m, 0.01, 100, "a cell length in metres")
        if self.heading_deg is not None:
            _within("heading_deg", self.heading_deg, 0, 360, "degrees clockwise from grid north")
        _within("threshold_cover", self.threshold_cover, 0, 1, "a share of the valid pixels; 0.01 is one percent")
        if self.threshold_over_m2 is not None:
            _within("threshold_over_m2", self.threshold_over_m2, 0, 1e4, "an area in square metres", open_low=True)
        _within("buffer_m", self.buffer_m, 0, 100, "a distance in metres")
        _within("min_spot_m2", self.min_spot_m2, 0, 1e4, "an area in square metres")
        _within("min_seen", self.min_seen, 0, 1, "a share of the cell")
        for name, words in (("unseen", ("spray", "skip")), ("holes", ("keep", "split"))):
            if getattr(self, name) not in words:
                raise PrescriptionError(f"spray.{name} is {getattr(self, name)!r}; expected {' or '.join(words)}")

    @property
    def cell_m(self) -> tuple[float, float]:
        """(width across the track, length along it) of a cell in metres."""
        return self.section_m, max(self.section_m, 0.5) if self.length_m is None else self.length_m


@dataclass(frozen=True)
class Decision:
    """What the rule said, one value per cell.

    Attributes:
        triggered: (rows, cols) bool, enough weed was seen.
        treated: (rows, cols) bool, sprayed: triggered, buffer or unseen.
        unseen: (rows, cols) bool, in the field but not seen, whether sprayed or not.
        dropped_spots: Number of spots under the minimum that were left out.
        dropped_weed_px: Weed pixels in them.
    """

    triggered: NDArray[np.bool_]
    treated: NDArray[np.bool_]
    unseen: NDArray[np.bool_]
    dropped_spots: int
    dropped_weed_px: int


def decide(
    config: SprayConfig,
    weed: NDArray[Any],
    valid: NDArray[Any],
    share: NDArray[Any],
    pixel_area_m2: float,
) -> Decision:
    """Which cells are treated.

    Args:
        config: The rule.
        weed: (rows, cols) weed pixels in the cell.
        valid: (rows, cols) valid pixels in the cell.
        share: (rows, cols) share of the cell that lies in the field, 0..1.
        pixel_area_m2: Area of a pixel.
    """
    width, length = config.cell_m
    inside = share > 0
    of_px = valid
    if config.threshold_over_m2 is not None and width * length > config.threshold_over_m2 * (1 + 1e-9):
        of_px = np.minimum(valid, config.threshold_over_m2 / pixel_area_m2)
    triggered = (weed > 0) & (weed >= config.threshold_cover * of_px) & inside
    treated = dilate(triggered, buffer_reach(config.buffer_m, width, length)) & inside
    spots, lost = 0, 0
    if config.min_spot_m2 > 0:
        small, spots = _small_spots(treated, share * (width * length), config.min_spot_m2)
        lost = int(weed[small & triggered].sum())
        treated &= ~small
    unseen = _unseen(config, valid, share, pixel_area_m2) & ~triggered
    if config.unseen == "spray":
        treated |= unseen
    return Decision(triggered, treated, unseen, spots, lost)


def buffer_reach(buffer_m: float, width_m: float, length_m: float) -> list[int]:
    """How far the buffer reaches over a lattice: for each row offset 0, 1, 2, ... the largest column offset.

    The cell at offset (i, j) meets the open Minkowski dilation of a cell with a disc of radius `buffer_m` exactly when
    the gap between the two cells, ``hypot(max(|i|-1, 0) * width, max(|j|-1, 0) * length)``, is smaller than it.

    Example:
        >>> buffer_reach(0.5, 0.5, 0.5), buffer_reach(0.6, 0.5, 0.5), buffer_reach(0, 0.5, 0.5)
        ([1, 1], [2, 2, 1], [0])
    """
    radius = buffer_m - 1e-9  # a cell that only just touches the disc stays out whatever the rounding
    if radius <= 0:
        return [0]
    reach = []
    row = 0
    while (gap := max(row - 1, 0) * length_m) < radius:
        col = int(math.sqrt(radius**2 - gap**2) / width_m) + 2
        while math.hypot(max(col - 1, 0) * width_m, gap) >= radius:
            col -= 1
        reach.append(col)
        row += 1
    return reach


def dilate(mask: NDArray[np.bool_], reach: list[int]) -> NDArray[np.bool_]:
    """The mask grown by a symmetric shape.

    Args:
        mask: (rows, cols) bool.
        reach: Largest column offset for each row offset 0, 1, 2, ..., as `buffer_reach` gives it.
    """
    from scipy.ndimage import maximum_filter1d

    grown = np.zeros_like(mask)
    wide: dict[int, NDArray[np.bool_]] = {}
    for offset, columns in enumerate(reach[: mask.shape[0]]):
        if columns not in wide:
            wide = {columns: maximum_filter1d(mask.view(np.uint8), 2 * columns + 1, axis=1, mode="constant").view(bool)}
        grown[offset:] |= wide[columns][: mask.shape[0] - offset]
        grown[: mask.shape[0] - offset] |= wide[columns][offset:]
    return grown


def _small_spots(treated: NDArray[np.bool_], area_m2: NDArray[Any], minimum_m2: float) -> tuple[NDArray[np.bool_], int]:
    """Cells of the spots under `minimum_m2`, and how many spots those are; cells that touch at a corner are one."""
    from scipy.ndimage import label

    labels, count = label(treated, structure=np.ones((3, 3)))
    areas = np.bincount(labels.ravel(), weights=area_m2.ravel(), minlength=count + 1)
    small = areas < minimum_m2 - 1e-9
    small[0] = False
    return small[labels], int(small.sum())


def _unseen(config: SprayConfig, valid: NDArray[Any], share: NDArray[Any], pixel_area_m2: float) -> NDArray[np.bool_]:
    """Cells with too few valid pixels for the part of them that lies in the field.

    A strip narrower than a pixel may hold no pixel centre although it was seen, so one pixel's width along two sides
    of the cell is not asked for.
    """
    width, length = config.cell_m
    expected = share * (width * length) - math.sqrt(pixel_area_m2) * (width + length)
    unseen: NDArray[np.bool_] = (valid == 0) | (valid * pixel_area_m2 < config.min_seen * expected)
    return unseen & (expected > 0)


def _within(name: str, value: float, low: float, high: float, what: str, *, open_low: bool = False) -> None:
    if not math.isfinite(value) or not low <= value <= high or (open_low and value == low):
        bounds = f"{'more than' if open_low else 'from'} {low:g} {'and at most' if open_low else 'to'} {high:g}"
        raise PrescriptionError(f"spray.{name} is {value:g}; expected {what}, {bounds}")
