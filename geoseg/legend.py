"""The classes: their codes, names and colours, and nothing about where they come from.

The colours are distinguishable under the common colour-vision deficiencies (Okabe and Ito, 2008,
https://jfly.uni-koeln.de/color/): soil is a muted brown, crop is bluish green, weed is vermillion.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CROP", "LEGEND", "NODATA", "SOIL", "WEED", "Legend", "LegendEntry"]

SOIL, CROP, WEED = 0, 1, 2
NODATA = 255
"""The code of pixels outside the valid area, and of holes that a failed block left."""


@dataclass(frozen=True)
class LegendEntry:
    """One class.

    Attributes:
        code: Value in the class raster, 0..254.
        name: English name, lower case.
        rgb: Colour as three values 0..255.
        thing: True for classes whose plants are counted one by one.
    """

    code: int
    name: str
    rgb: tuple[int, int, int]
    thing: bool

    @property
    def hex(self) -> str:
        """The colour as ``#rrggbb``."""
        return "#{:02x}{:02x}{:02x}".format(*self.rgb)


@dataclass(frozen=True)
class Legend:
    """The classes in code order, with their nodata value.

    Example:
        >>> LEGEND.names
        ('soil', 'crop', 'weed')
        >>> LEGEND["weed"].code
        2
    """

    entries: tuple[LegendEntry, ...]
    nodata: int = NODATA

    def __len__(self) -> int:
        """Number of classes, nodata not counted."""
        return len(self.entries)

    def __getitem__(self, key: int | str) -> LegendEntry:
        """The entry of a code or a name.

        Raises:
            KeyError: If no class has that code or name.
        """
        for entry in self.entries:
            if key in (entry.code, entry.name):
                return entry
        raise KeyError(f"no class {key!r}; the classes are {', '.join(self.names)}")

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in code order."""
        return tuple(entry.name for entry in self.entries)

    @property
    def colormap(self) -> dict[int, tuple[int, int, int, int]]:
        """RGBA per code as GDAL's colour table wants it; nodata is transparent."""
        table = {entry.code: (*entry.rgb, 255) for entry in self.entries}
        table[self.nodata] = (0, 0, 0, 0)
        return table


LEGEND = Legend(
    (
        LegendEntry(SOIL, "soil", (199, 178, 153), thing=False),
        LegendEntry(CROP, "crop", (0, 158, 115), thing=True),
        LegendEntry(WEED, "weed", (213, 94, 0), thing=True),
    )
)
