"""Pure window geometry: how a grid is cut into windows and blocks. Knows no file, no model and no pixel value.

A *window* has a *write* part, the pixels that it alone gives to the result, and a *read* part, the write part plus a
margin that lets the network see past the edge. Write parts partition the grid exactly. All intervals are half-open
and all pairs are (row, col). Read parts may reach outside the grid: the reader fills what lies there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Rect", "Window", "blocks", "overlap_factor", "rect_windows", "windows"]


@dataclass(frozen=True, order=True)
class Rect:
    """A half-open rectangle of pixels.

    Attributes:
        row0: First row.
        col0: First column.
        row1: One past the last row.
        col1: One past the last column.
    """

    row0: int
    col0: int
    row1: int
    col1: int

    def __post_init__(self) -> None:
        """Refuse a rectangle that ends before it starts.

        Raises:
            ValueError: If it does.
        """
        if self.row1 < self.row0 or self.col1 < self.col0:
            raise ValueError(f"a rectangle ends before it starts: {self}")

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.row1 - self.row0, self.col1 - self.col0

    @property
    def size(self) -> int:
        """Number of pixels."""
        height, width = self.shape
        return height * width

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of the rectangle in a (row, col) array that covers the grid."""
        return slice(self.row0, self.row1), slice(self.col0, self.col1)

    def grow(self, pixels: int) -> Rect:
        """The rectangle with `pixels` more on every side."""
        return Rect(self.row0 - pixels, self.col0 - pixels, self.row1 + pixels, self.col1 + pixels)

    def clip(self, shape: tuple[int, int]) -> Rect:
        """The part inside a grid of `shape` (height, width); empty if it lies outside."""
        row0, col0 = min(max(self.row0, 0), shape[0]), min(max(self.col0, 0), shape[1])
        row1, col1 = min(max(self.row1, 0), shape[0]), min(max(self.col1, 0), shape[1])
        return Rect(row0, col0, max(row0, row1), max(col0, col1))

    def relative_to(self, other: Rect) -> Rect:
        """The same rectangle counted from the upper left corner of `other`."""
        return Rect(self.row0 - other.row0, self.col0 - other.col0, self.row1 - other.row0, self.col1 - other.col0)


@dataclass(frozen=True, order=True)
class Window:
    """A unit of work: what is read and the part of it that is written.

    Attributes:
        write: Pixels that this window alone gives to the result.
        read: Pixels that the network sees; contains `write` and may reach outside the grid.
    """

    write: Rect
    read: Rect

    @property
    def crop(self) -> Rect:
        """`write` counted from the upper left corner of `read`."""
        return self.write.relative_to(self.read)


def windows(shape: tuple[int, int], write_px: int, margin_px: int, stride_px: int = 1) -> Iterator[Window]:
    """All windows of a grid, row by row.

    Args:
        shape: (height, width) of the grid in pixels.
        write_px: Side of the write part; the last row and column of windows are cut by the grid.
        margin_px: Margin on every side, at least the network's receptive field for an exact result.
        stride_px: The network's total stride. Origins of the read parts lie on this lattice and their sides are
            multiples of it, so that every window sees the grid in the same phase.

    Raises:
        ValueError: If a size is not positive, or the write size or margin is off the stride lattice.

    Example:
        >>> [w.write.slices for w in windows((4, 6), 4, 0)]
        [(slice(0, 4, None), slice(0, 4, None)), (slice(0, 4, None), slice(4, 6, None))]
    """
    yield from rect_windows(Rect(0, 0, *shape), write_px, margin_px, stride_px)


def rect_windows(rect: Rect, write_px: int, margin_px: int, stride_px: int = 1) -> Iterator[Window]:
    """All windows whose write parts partition `rect`, whose origin must lie on the stride lattice.

    The read part of a window at the ragged edge is rounded up to the lattice, so its far margin may be wider.

    Raises:
        ValueError: If a size is not positive, or something is off the stride lattice.
    """
    if write_px <= 0 or margin_px < 0 or stride_px <= 0:
        raise ValueError(f"window sizes must be positive: write {write_px}, margin {margin_px}, stride {stride_px}")
    for name, value in (("write", write_px), ("margin", margin_px), ("row", rect.row0), ("col", rect.col0)):
        if value % stride_px:
            raise ValueError(f"{name} {value} px is not a multiple of the stride of {stride_px} px")
    for row in range(rect.row0, rect.row1, write_px):
        for col in range(rect.col0, rect.col1, write_px):
            write = Rect(row, col, min(row + write_px, rect.row1), min(col + write_px, rect.col1))
            read = Rect(
                row - margin_px,
                col - margin_px,
                row + _up(write.shape[0], stride_px) + margin_px,
                col + _up(write.shape[1], stride_px) + margin_px,
            )
            yield Window(write, read)


def blocks(shape: tuple[int, int], block_px: int) -> Iterator[Rect]:
    """The grid cut into blocks of at most `block_px` on a side, row by row.

    Raises:
        ValueError: If `block_px` is not positive.
    """
    for window in windows(shape, block_px, 0):
        yield window.write


def overlap_factor(write_px: int, margin_px: int) -> float:
    """Pixels forwarded per pixel written, for a window inside the grid.

    Example:
        >>> round(overlap_factor(1024, 32), 3)
        1.129
    """
    return ((write_px + 2 * margin_px) / write_px) ** 2


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
