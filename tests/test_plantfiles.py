"""Further files of plants in the main job and at the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import rasterio
from click.testing import CliRunner

from geoseg import job
from geoseg.cli import main
from geoseg.config import load_config
from test_job import ColourSegmenter, content
from test_rowlayers import ortho as ortho  # noqa: PLC0414 - a fixture, meant to be used from here


@pytest.fixture(scope="module")
def run(ortho: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("pyarrow", reason="needs the extra geoparquet")
    out = tmp_path_factory.mktemp("files") / "run"
    settings = ["segment.write_px=512", "plants.panoptic=true", "plants.geoparquet=true"]
    job.run(ortho, out, config=load_config(None, settings), model=ColourSegmenter())
    return out


def test_the_files_are_there_when_asked_for_and_done_once(run: Path) -> None:
    import geopandas as gpd

    frame = gpd.read_parquet(run / "plants.parquet")
    points = gpd.read_file(run / "field.gpkg", layer="plants")
    assert frame.row_id.count() == points.row_id.count() > 0
    with rasterio.open(run / "panoptic.tif") as raster:
        assert raster.read(1).max() == len(frame)
    before = content(run)
    assert set(job.plant_files(run, panoptic=True, geoparquet=True).values()) == {len(frame)}
    assert content(run) == before


def test_rows_anew_keep_the_raster_and_renew_the_table(run: Path) -> None:
    job.vectorize(run, config=load_config(None, ["rows.min_spacing_m=1.0"]))
    assert (run / "panoptic.tif").exists()
    assert not (run / "plants.parquet").exists(), "it held rows that are no longer true"


def test_the_command_writes_what_it_is_told(run: Path, tmp_path: Path) -> None:
    call = ["plants", str(run), "--geoparquet", "--coco-panoptic", str(tmp_path / "coco"), "--tile-px", "512"]
    found = CliRunner().invoke(main, call)
    assert found.exit_code == 0, found.output
    assert (run / "plants.parquet").exists()
    assert f"tiles in {tmp_path / 'coco'}" in found.output
    assert len(list((tmp_path / "coco").glob("*.png"))) == 16
    assert CliRunner().invoke(main, ["plants", str(run)]).exit_code == 2
    assert CliRunner().invoke(main, ["plants", str(tmp_path), "--panoptic"]).exit_code == 2
