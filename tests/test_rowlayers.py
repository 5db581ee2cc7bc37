"""Rows in ``field.gpkg`` and in the main job: columns, layers, styles, and the machine that follows the rows."""

from __future__ import annotations

import csv
import json
import math
import sqlite3
from contextlib import closing

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from click.testing import CliRunner

from geoseg import job
from geoseg.cli import main
from geoseg.config import load_config
from geoseg.export.geopackage import FieldPackage
from geoseg.export.rowlayers import read_plants, write_rows
from geoseg.segment.rows import find_rows
from geoseg.segment.stand import find_gaps, row_stand, spacing_indices
from test_job import COLOURS, GSD, SHAPE, ColourSegmenter, content

HEADING = 20.0


@pytest.fixture
def package(tmp_path):
    """Five rows of 20 plants, two missing in the second, and one plant between rows; not in the order of rows."""
    row, place = (part.ravel() for part in np.mgrid[:5, :20])
    grown = ~((row == 1) & np.isin(place, (4, 5)))
    x, y = 690_000 + np.append(row[grown] * 0.7, 0.35), 5_360_000 + np.append(place[grown] * 0.3, 3.1)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order], y[order]
    shared = {"plant_id": np.arange(len(x)) * 7, "class": ["crop"] * len(x), "area_m2": np.full(len(x), 0.01)}
    with FieldPackage(tmp_path / "field.gpkg", "EPSG:32632") as target:
        columns = shared | {"x": x, "y": y, "diameter_m": np.full(len(x), 0.1), "confidence": np.full(len(x), 90.0)}
        target.append("plants", columns, shapely.points(x, y))
    return tmp_path / "field.gpkg"


def enter(path):
    points = read_plants(path)
    rows = find_rows(points.x, points.y, points.area_m2, load_config(None, ["rows.max_offset=0.2"]).rows)
    stand = row_stand(rows.plants, rows.table, 1.5)
    write_rows(path, points.fid, rows.plants, rows.table, stand, find_gaps(rows.plants, stand, 1.5), "EPSG:32632")


def test_plants_rows_and_gaps_read_back(package) -> None:
    assert gpd.read_file(package, layer="plants").row_id.isna().all(), "before rows are looked for they are unknown"
    enter(package)
    plants = gpd.read_file(package, layer="plants")
    inside = plants[plants.row_id.notna()]
    assert len(plants) == 99
    assert plants.row_id.isna().sum() == 1
    np.testing.assert_allclose(inside.x, 690_000 + (inside.row_id - 1) * 0.7, atol=1e-6)
    np.testing.assert_allclose(inside.row_position_m, inside.y - 5_360_000, atol=1e-3)
    assert inside.row_next_m.isna().sum() == 5
    rows, gaps = gpd.read_file(package, layer="rows"), gpd.read_file(package, layer="gaps")
    assert rows.plants.tolist() == [20, 18, 20, 20, 20]
    assert rows.crs == plants.crs == gaps.crs == "EPSG:32632"
    np.testing.assert_allclose(rows.length, rows.length_m, atol=1e-3)
    (gap,) = gaps.itertuples()
    assert (gap.row_id, gap.missing) == (2, 2)
    assert gap.geometry.length == pytest.approx(gap.length_m, abs=1e-6)
    with closing(sqlite3.connect(package)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("SELECT count(*) FROM rtree_rows_geom").fetchall() == [(5,)]


def test_a_second_time_replaces_the_first(package) -> None:
    enter(package)
    before = [gpd.read_file(package, layer=name) for name in ("plants", "rows", "gaps")]
    enter(package)
    for name, frame in zip(("plants", "rows", "gaps"), before, strict=True):
        assert gpd.read_file(package, layer=name).equals(frame)
    assert [path.name for path in package.parent.iterdir()] == ["field.gpkg"]


@pytest.fixture(scope="module")
def ortho(tmp_path_factory):
    """Discs of crop in rows 0.7 m apart, every 0.3 m, 20 degrees from north, and one weed."""
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]]
    angle = math.radians(HEADING)
    right = (cols * math.cos(angle) + rows * math.sin(angle)) * GSD
    ahead = (cols * math.sin(angle) - rows * math.cos(angle)) * GSD
    line = np.rint(right / 0.7)
    far = np.hypot(right - line * 0.7, (ahead + line * 0.11 + 0.15) % 0.3 - 0.15)
    truth = (far < 0.05).astype(np.uint8)
    truth[700:720, 900:920] = 2
    path = tmp_path_factory.mktemp("rows") / "rows.tif"
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint8", count=3, height=SHAPE[0], width=SHAPE[1], crs="EPSG:32632",
        transform=Affine(GSD, 0, 500000, 0, -GSD, 5400000),
    ) as raster:  # fmt: skip
        raster.write(COLOURS[truth].transpose(2, 0, 1))
    return path


def test_the_machine_follows_the_rows(ortho, tmp_path) -> None:
    done = job.run(ortho, tmp_path / "run", config=load_config(None, ["segment.write_px=512"]), model=ColourSegmenter())
    rows, prescription = done.summary["rows"], done.summary["prescription"]
    assert rows["confident"]
    assert rows["heading_deg"] == pytest.approx(HEADING, abs=0.1)
    assert rows["spacing_m"] == pytest.approx(0.7, rel=0.005)
    assert prescription["heading_from"] == "crop rows"
    assert prescription["heading_deg"] == rows["heading_deg"]
    assert done.summary["stand"]["plants"] == len(done.plants)
    assert done.summary["stand"]["spacing"]["theoretical_m"] == pytest.approx(0.3, rel=0.01)
    assert done.plants.row_id.notna().mean() > 0.97
    assert len(done.layer("rows")) == done.summary["stand"]["rows"]
    before = content(done.path)
    job.run(ortho, done.path, config=load_config(None, ["segment.write_px=512"]), model=ColourSegmenter())
    assert content(done.path) == before
    given = job.prescribe(done.path, config=load_config(None, ["spray.heading_deg=70"]))
    assert given.summary["prescription"]["heading_from"] == "configuration"
    none = job.prescribe(done.path, config=load_config(None, ["rows.min_spacing_m=1.0"]))
    assert not none.summary["rows"]["found"]
    assert none.plants.row_id.isna().all()
    assert none.summary["prescription"]["heading_from"] == "longest side of the field"
    assert none.summary["prescription"]["heading_deg"] == 90


def test_the_count_of_a_run(ortho, tmp_path) -> None:
    done = job.run(ortho, tmp_path / "run", config=load_config(None, ["segment.write_px=512"]), model=ColourSegmenter())
    halves = [shapely.box(500000, 5399990, 500005, 5400000), shapely.box(500005, 5399990, 500012, 5400000)]
    frame = gpd.GeoDataFrame({"plot": ["west", "east"]}, geometry=halves, crs="EPSG:32632").to_crs(4326)
    frame.to_file(tmp_path / "plots.geojson")
    plots = tmp_path / "plots.geojson"
    call = ["count", str(done.path), "--plots", str(plots), "--grid", "2", "--seeds-per-ha", "50000", "--json"]
    found = CliRunner().invoke(main, call)
    assert found.exit_code == 0, found.output
    facts = json.loads(found.stdout)
    plants = len(done.plants)
    assert facts["plants"] == plants
    assert facts["plants_per_ha"] == pytest.approx(plants / 80 * 1e4, rel=1e-6)
    assert facts["emergence"] == pytest.approx(plants / 80 * 1e4 / 50_000)
    assert facts["weed_plants"] == len(done.layer("weed_plants")) == 1
    assert facts["plants_validated"] is None, "the card of a stand-in says nothing of counts"
    west, east = facts["plots"]
    assert (west["plot"], east["plot"]) == ("west", "east")
    assert west["plants"] == (done.plants.x < 500005).sum()
    assert west["plants"] + east["plants"] == plants
    assert [west["area_m2"], east["area_m2"]] == pytest.approx([40, 40], rel=1e-3), "only what lies in the field"
    for plot, side in ((west, halves[0]), (east, halves[1])):
        inside = done.plants[done.plants.within(side)]
        steps = inside.row_next_m.dropna()
        expected = spacing_indices(steps, facts["spacing"]["theoretical_m"])
        assert plot["spacing_m"] == pytest.approx(steps.mean())
        assert [plot["misses"], plot["quality_of_feed"]] == pytest.approx([expected.misses, expected.quality_of_feed])
        assert plot["row_m"] == pytest.approx(done.layer("rows").clip(side).length.sum(), rel=1e-3)
        assert plot["gap_m"] == pytest.approx(done.layer("gaps").clip(side).length.sum(), abs=0.01)
    cells = list(csv.DictReader((done.path / "grid.csv").read_text().splitlines()))
    assert sum(int(cell["plants"]) for cell in cells) == plants
    assert sum(float(cell["area_m2"]) for cell in cells) == pytest.approx(80)
    table = {line["what"]: line["value"] for line in csv.DictReader((done.path / "stand.csv").read_text().splitlines())}
    assert int(table["plants"]) == plants
    assert table["spacing.theoretical_from"] == "estimated"
    rows = list(csv.DictReader((done.path / "rows.csv").read_text().splitlines()))
    assert sum(int(row["plants"]) for row in rows) == done.summary["rows"]["plants_in_rows"]
    assert sum(float(row["gap_m"]) for row in rows) == pytest.approx(done.layer("gaps").length_m.sum())
    assert all(0 <= float(row["quality_of_feed"]) <= 1 for row in rows if row["quality_of_feed"])
    text = CliRunner().invoke(main, ["count", str(done.path), "--theoretical-spacing", "0.3"]).output
    assert "theoretical spacing 0.300 m (given)" in text
    for wrong in (["--grid", "0"], ["--plots", str(tmp_path / "none.gpkg")], ["--grid", "0.0001"]):
        bad = CliRunner().invoke(main, ["count", str(done.path), *wrong])
        assert bad.exit_code == 2, bad.output
    assert CliRunner().invoke(main, ["count", str(tmp_path)]).exit_code == 2
