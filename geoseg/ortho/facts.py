"""What a raster file says about itself before its pixels are read: bands, storage, and whether all of it is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.errors import OrthoError
from geoseg.ortho.bands import BandFacts, band_name
from geoseg.ortho.source import environment, open_dataset, read_pixels, short_name
from geoseg.windows import Rect

__all__ = ["Layout", "band_facts", "band_labels", "check_complete", "layout"]


@dataclass(frozen=True)
class Layout:
    """How a file is stored.

    Attributes:
        driver: GDAL's name of the format.
        block: (height, width) of what is decoded at once.
        overviews: Factors of the overviews.
        compression: Name, or "none".
        size_bytes: Size of the file; None if it is no plain file.
    """

    driver: str
    block: tuple[int, int]
    overviews: tuple[int, ...]
    compression: str
    size_bytes: int | None


def layout(path: str) -> Layout:
    """How the file is stored.

    Raises:
        OrthoError: If it cannot be opened.
    """
    with environment(), open_dataset(path) as dataset:
        plain = Path(path).is_file()
        return Layout(
            driver=str(dataset.driver),
            block=tuple(dataset.block_shapes[0]),
            overviews=tuple(dataset.overviews(1)),
            compression=dataset.compression.name.lower() if dataset.compression else "none",
            size_bytes=Path(path).stat().st_size if plain else None,
        )


def band_facts(dataset: Any) -> tuple[BandFacts, ...]:
    """What the file says about each of its bands."""
    return tuple(
        BandFacts(
            description=dataset.descriptions[band - 1] or "",
            colour=dataset.colorinterp[band - 1].name.lower(),
            dtype=dataset.dtypes[band - 1],
            wavelength_nm=_wavelength(dataset, band),
        )
        for band in dataset.indexes
    )


def band_labels(path: str, bands: Sequence[int]) -> tuple[str, ...]:
    """Some bands of a file for people: name and number, or the number alone.

    Raises:
        OrthoError: If it cannot be opened.
    """
    with environment(), open_dataset(path) as dataset:
        facts = band_facts(dataset)
    return tuple(f"{band_name(facts[band - 1]) or 'a band'} from {band}" for band in bands)


def check_complete(dataset: Any, path: str) -> None:
    """Refuse a file that is cut off, without decoding much.

    TIFF: every block, of the overviews too, must end within the file; this is read from the directory alone. Any
    format: the four corner pixels and the centre are decoded.

    Raises:
        OrthoError: If the file is cut off or damaged there.
    """
    if dataset.driver == "GTiff" and Path(path).is_file():
        end, size = _last_byte(dataset), Path(path).stat().st_size
        if end > size:
            raise OrthoError(
                f"{short_name(path)} is cut off: {size} bytes of at least {end}; copy or export the file again"
            )
    height, width = dataset.shape
    for row, col in ((0, 0), (0, width - 1), (height - 1, 0), (height - 1, width - 1), (height // 2, width // 2)):
        read_pixels(dataset, path, dataset.indexes, Rect(row, col, row + 1, col + 1))


def _last_byte(dataset: Any) -> int:
    bands = dataset.indexes if dataset.profile.get("interleave") == "band" else [1]
    end = 0
    for band in bands:
        block_h, block_w = dataset.block_shapes[band - 1]
        for row in range(-(-dataset.height // block_h)):
            for col in range(-(-dataset.width // block_w)):
                offset = dataset.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=band)
                size = dataset.get_tag_item(f"BLOCK_SIZE_{col}_{row}", "TIFF", bidx=band)
                if offset is not None and size is not None:
                    end = max(end, int(offset) + int(size))
    return end


def _wavelength(dataset: Any, band: int) -> float | None:
    imagery = dataset.tags(band, ns="IMAGERY").get("CENTRAL_WAVELENGTH_UM")
    plain = {key.lower(): value for key, value in dataset.tags(band).items()}
    for text, unit in ((imagery, 1000.0), (plain.get("wavelength"), 1.0), (plain.get("centralwavelength"), 1.0)):
        try:
            value = float(text) * unit if text else 0.0
        except ValueError:
            continue
        if value > 0:
            return value if value > 10 else value * 1000.0
    return None
