"""A run as a notebook shows it: the quicklook, small enough to be saved in the notebook, and the answers below it."""

from __future__ import annotations

import base64
import html
import warnings
from pathlib import Path

import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

__all__ = ["run_html"]

_WIDTH_PX = 1200


def run_html(quicklook: Path, text: str) -> str:
    """A piece of HTML.

    Args:
        quicklook: The picture; left out where it is not there.
        text: The lines of the summary.
    """
    lines = f"<pre>{html.escape(text)}</pre>"
    if not quicklook.exists():
        return lines
    content = base64.b64encode(_small_jpeg(quicklook)).decode("ascii")
    told = "orthomosaic, weed and crop cover, and prescription side by side"
    return f'<img src="data:image/jpeg;base64,{content}" alt="{told}" style="max-width:100%">{lines}'


def _small_jpeg(path: Path) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as picture, MemoryFile() as memory:
            scale = min(1.0, _WIDTH_PX / picture.width)
            height, width = round(picture.height * scale), round(picture.width * scale)
            colours = picture.read(
                (1, 2, 3), out_shape=(3, height, width), resampling=rasterio.enums.Resampling.average
            )
            shape = {"driver": "JPEG", "count": 3, "height": height, "width": width, "dtype": "uint8"}
            with memory.open(**shape, quality=80) as small:
                small.write(colours)
            return bytes(memory.read())
