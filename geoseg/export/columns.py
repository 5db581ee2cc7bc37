"""The layers of ``field.gpkg`` and their columns: one table that the writer, the checks and the documentation read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["LAYERS", "Column", "Layer", "dbf_names"]


class Column(NamedTuple):
    """One attribute of a layer.

    Attributes:
        name: Column name, with the unit in it where there is one.
        dtype: ``int64``, ``float64`` or ``str``.
        unit: Unit in words of the SI or empty.
        description: What it says, one line.
        optional: Whether it may be left out; then it is null.
    """

    name: str
    dtype: str
    unit: str
    description: str
    optional: bool = False


@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
        name: Name of the table.
        geometry: ``Point``, ``LineString``, ``Polygon`` or ``MultiPolygon``.
        description: What its features are, one line.
        columns: Its attributes in order.
    """

    name: str
    geometry: str
    description: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in order."""
        return tuple(column.name for column in self.columns)

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the columns that every feature has."""
        return tuple(column.name for column in self.columns if not column.optional)


_AREA = Column("area_m2", "float64", "m²", "Area: number of pixels times the area of a pixel")
_CONFIDENCE = Column("confidence", "float64", "%", "Mean confidence of the class over its pixels, 0 to 100")
_PLANT_ID = Column("plant_id", "int64", "", "row * width + col of the plant's first pixel in the class raster")
_CLASS = Column("class", "str", "", "Name of the class")
_POINT = (
    _PLANT_ID,
    _CLASS,
    Column("x", "float64", "m", "Easting of the plant in the layer's CRS"),
    Column("y", "float64", "m", "Northing of the plant in the layer's CRS"),
    _AREA,
    Column("diameter_m", "float64", "m", "Diameter of the circle of the same area"),
    _CONFIDENCE,
)
_ROW_ID = Column("row_id", "int64", "", "Number of the crop row, from 1")
_IN_ROW = (
    Column("row_id", "int64", "", "Number of the crop row that the plant stands in; null: in none", optional=True),
    Column("row_position_m", "float64", "m", "Distance along the row from its first plant", optional=True),
    Column(
        "row_next_m", "float64", "m", "Distance along the row to the next plant; null at the row's end", optional=True
    ),
    Column("row_offset_m", "float64", "m", "Distance from the row's line, positive to its right", optional=True),
)

LAYERS: dict[str, Layer] = {
    layer.name: layer
    for layer in (
        Layer("boundary", "MultiPolygon", "The field", (Column("area_m2", "float64", "m²", "Area of the field"),)),
        Layer("plants", "Point", "Crop plants at the mean of their pixels", (*_POINT, *_IN_ROW)),
        Layer("weed_plants", "Point", "Weed plants at the mean of their pixels", _POINT),
        Layer(
            "plant_outlines",
            "MultiPolygon",
            "Crop and weed plants along pixel edges",
            (_PLANT_ID, _CLASS, _AREA, _CONFIDENCE),
        ),
        Layer(
            "weeds",
            "Polygon",
            "Weed patches along pixel edges",
            (
                Column("patch_id", "int64", "", "row * width + col of the patch's first pixel in the class raster"),
                _AREA,
                _CONFIDENCE,
            ),
        ),
        Layer(
            "rows",
            "LineString",
            "Crop rows from their first plant to their last",
            (
                _ROW_ID,
                Column("part", "int64", "", "Part of the field with a heading of its own, from 1"),
                Column("number", "int64", "", "Number across the part, from 1; pieces of one row have the same"),
                Column("heading_deg", "float64", "°", "Direction from first to last plant, clockwise from grid north"),
                Column("length_m", "float64", "m", "Distance along the row from first to last plant"),
                Column("plants", "int64", "", "Number of plants"),
                Column("spacing_m", "float64", "m", "Mean distance from plant to plant"),
                Column("spacing_sd_m", "float64", "m", "Standard deviation of that distance"),
                Column("spacing_cv", "float64", "", "Standard deviation over mean"),
                Column("gap_m", "float64", "m", "Length of all gaps"),
                Column("gap_share", "float64", "", "Share of the row's length in gaps, 0 to 1"),
            ),
        ),
        Layer(
            "gaps",
            "LineString",
            "Stretches of a row without plants, much longer than the plants' spacing",
            (
                _ROW_ID,
                Column("length_m", "float64", "m", "Distance along the row between the plants at the ends"),
                Column("missing", "int64", "", "Plants that would stand in it at the row's median spacing"),
            ),
        ),
    )
}
"""Layers that every run writes, also where they are empty."""


def dbf_names(names: tuple[str, ...]) -> dict[str, str]:
    """Names for a DBF table: ASCII, at most 10 characters, unique without regard to case.

    Example:
        >>> dbf_names(("plant_id", "equivalent_diameter_m", "equivalent_distance_m"))
        {'plant_id': 'plant_id', 'equivalent_diameter_m': 'equivalent', 'equivalent_distance_m': 'equivalen2'}
    """
    chosen: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        short = base = re.sub(r"[^A-Za-z0-9_]", "_", name)[:10]
        count = 1
        while short.lower() in taken:
            count += 1
            short = f"{base[: 10 - len(str(count))]}{count}"
        taken.add(short.lower())
        chosen[name] = short
    return chosen
