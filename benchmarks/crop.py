"""A piece of an ortho as a file of its own."""

from __future__ import annotations

from pathlib import Path

import rasterio
from rasterio.windows import Window


def cropped(ortho: Path, height: int, width: int, folder: Path) -> Path:
    """The middle of an ortho as a file like it."""
    with rasterio.open(ortho) as source:
        row, col = max(0, source.height - height) // 2, max(0, source.width - width) // 2
        window = Window(col, row, min(width, source.width), min(height, source.height))
        profile = source.profile | {"height": window.height, "width": window.width}
        profile |= {"transform": source.window_transform(window)}
        if profile.get("compress") == "webp":
            profile["WEBP_LOSSLESS"] = True
        path = folder / f"crop{height}.tif"
        with rasterio.open(path, "w", **profile) as sink:
            sink.write(source.read(window=window))
    return path
