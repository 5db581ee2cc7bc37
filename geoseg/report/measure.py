"""What the report measures itself in the files of a run: samples of rasters, sums made by SQLite; in flat memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.windows import Window as RasterioWindow

from geoseg.cartography import nice_length
from geoseg.legend import LEGEND
from geoseg.ortho.source import environment
from geoseg.vectors.package import open_package

__all__ = ["confidence_histogram", "rate_table", "spacing_histogram"]

BLOCKS = 64
"""Blocks of a raster that a sample reads at most."""
BIN_PERCENT = 5
_BEYOND = 4
"""Distances beyond this many times the theoretical spacing share the last bar."""


def confidence_histogram(confidence: Path, classes: Path, blocks: int = BLOCKS) -> dict[str, Any] | None:
    """How sure the model was, by class, from blocks spread evenly over the field.

    Args:
        confidence: Raster of 0..100, nodata 255.
        classes: Class raster on the same grid.
        blocks: How many blocks are read at most; a field with fewer is read whole.

    Returns:
        ``edges_percent`` of the bars, ``pixels`` and ``mean_percent`` by class, ``mean_percent`` of all, and
        ``sampled``, the share of blocks that was read. None if no pixel is valid.
    """
    counts = np.zeros((len(LEGEND), 101), np.int64)
    with environment(), rasterio.open(confidence) as sure, rasterio.open(classes) as codes:
        height, width = sure.block_shapes[0]
        rows, cols = -(-sure.height // height), -(-sure.width // width)
        chosen = np.unique(np.linspace(0, rows * cols - 1, min(blocks, rows * cols)).round().astype(np.int64))
        for index in chosen.tolist():
            row, col = index // cols * height, index % cols * width
            window = RasterioWindow(col, row, min(width, sure.width - col), min(height, sure.height - row))
            found, code = sure.read(1, window=window), codes.read(1, window=window)
            for entry in LEGEND.entries:
                values = found[(code == entry.code) & (found <= 100)]
                counts[entry.code] += np.bincount(values, minlength=101)
    if not counts.any():
        return None
    starts = np.arange(0, 100, BIN_PERCENT)
    bars = np.stack([counts[:, start : start + BIN_PERCENT].sum(axis=1) for start in starts], axis=1)
    bars[:, -1] += counts[:, 100]
    means = counts @ np.arange(101) / np.maximum(counts.sum(axis=1), 1)
    return {
        "edges_percent": [*starts.tolist(), 100],
        "pixels": {entry.name: bars[entry.code].tolist() for entry in LEGEND.entries},
        "mean_percent": {e.name: float(means[e.code]) if counts[e.code].any() else None for e in LEGEND.entries},
        "mean_all_percent": float((counts.sum(axis=0) @ np.arange(101)) / counts.sum()),
        "sampled": len(chosen) / (rows * cols),
    }


def spacing_histogram(package: Path, theoretical_m: float) -> dict[str, Any] | None:
    """How far plants stand from the next in their row.

    Args:
        package: ``field.gpkg`` of a run with rows.
        theoretical_m: The spacing that was meant, metres.

    Returns:
        ``width_m`` of a bar, ``plants`` of each bar, the last for all that is beyond; None if there are no distances.
    """
    width = nice_length(theoretical_m / 4)
    bars = int(np.ceil(_BEYOND * theoretical_m / width))
    query = "SELECT MIN(CAST(row_next_m / ? AS INTEGER), ?), COUNT(*) FROM plants WHERE row_next_m > 0 GROUP BY 1"
    with open_package(package) as database:
        found = dict(database.execute(query, (width, bars)).fetchall())
    if not found:
        return None
    return {"width_m": width, "plants": [int(found.get(bar, 0)) for bar in range(bars + 1)]}


def rate_table(package: Path) -> list[dict[str, float]]:
    """By rising rate ``rate_l_ha``, ``zones``, ``area_ha`` and ``litres`` of the prescription in ``field.gpkg``."""
    query = "SELECT rate_l_ha, COUNT(*), SUM(area_m2) FROM prescription GROUP BY rate_l_ha ORDER BY rate_l_ha"
    with open_package(package) as database:
        found = database.execute(query).fetchall()
    return [
        {"rate_l_ha": rate, "zones": zones, "area_ha": m2 / 1e4, "litres": m2 / 1e4 * rate} for rate, zones, m2 in found
    ]
