"""A rendered field with known truth through the main job, and what was found beside what is there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg import job
from geoseg.legend import CROP, LEGEND, WEED
from geoseg.progress import bar
from geoseg.report.text import summary_lines
from geoseg.results import CLASSES

if TYPE_CHECKING:
    import geopandas as gpd

    from geoseg.results import Run
    from geoseg.train.synthetic import FieldSpec

__all__ = ["demo_field", "run_demo"]

INPUT = "input"
"""Folder of the run directory that holds the rendered field."""


def demo_field() -> FieldSpec:
    """The field of the demo; no model was trained on anything rendered from its seed."""
    from geoseg.train.synthetic import FieldSpec

    return FieldSpec(
        seed=20240517,
        height_px=4000,
        width_px=5600,
        gsd_m=0.004,
        plant_diameter_m=0.16,
        late_share=0.05,
        weeds_per_m2=1.2,
        weed_diameter_m=0.06,
        weed_clustering=0.95,
    )


def run_demo(out: Path) -> Iterator[str]:
    """Render a field, run the main job on it, and give lines that compare the result with the truth.

    Args:
        out: The run directory; the field's files go into its folder ``input``.
    """
    from geoseg.train.synthetic import render, write

    started = time.perf_counter()
    source = out / INPUT
    with bar("render", 1, "field") as progress:
        write(render(demo_field()), source)
        progress.update()
    result = job.run(source / "ortho.tif", out, boundary=source / "boundary.gpkg", fresh=True)
    yield from summary_lines(result.summary, result.path)
    yield ""
    yield "found against the truth of this rendered field (docs/models.md has the scores on real fields):"
    yield from _truth_lines(result, source)
    yield f"  all in {time.perf_counter() - started:.0f} s"


def _truth_lines(result: Run, source: Path) -> Iterator[str]:
    import geopandas as gpd

    from geoseg.train.evaluate import evaluate_raster

    found = evaluate_raster(result.path / CLASSES, source / "labels.tif")
    yield "  IoU           " + ", ".join(f"{entry.name} {found.iou[entry.code]:.2f}" for entry in LEGEND.entries)
    truth = gpd.read_file(source / "plants.gpkg")
    crop, weeds = (truth[truth["class"] == LEGEND[code].name] for code in (CROP, WEED))
    yield f"  crop plants   {len(result.plants):,} found, {len(crop):,} are there"
    zones = result.prescription
    hit = _inside(weeds, zones[zones.rate_l_ha > 0])
    yield f"  weeds         {hit:,} of {len(weeds):,} stand where the sprayer opens ({hit / max(1, len(weeds)):.1%})"


def _inside(points: gpd.GeoDataFrame, zones: gpd.GeoDataFrame) -> int:
    """Number of points in any of the zones."""
    import geopandas as gpd

    joined = gpd.sjoin(points.to_crs(zones.crs), zones[["geometry"]], predicate="within")
    return int(joined.index.nunique())
