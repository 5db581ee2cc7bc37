"""The report says what the run found: page, JSON and summary agree, whatever the run holds and however much of it."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import sqlite3

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from PIL import Image

from geoseg import job
from geoseg.cli import main
from geoseg.config import load_config
from geoseg.errors import InputError
from geoseg.legend import LEGEND
from geoseg.report.chart import chart_geometry
from geoseg.report.content import report_content
from geoseg.report.fieldmap import Budget, field_map
from geoseg.report.mapdraw import Frame, dots, outlines, picture
from geoseg.report.measure import confidence_histogram, spacing_histogram
from geoseg.report.page import map_content, render_page
from reported import Page, read_report
from test_job import CONFIG, ColourSegmenter, done, field

__all__ = ["done", "field"]

UTM = "EPSG:32632"
BOX = GeoBox((100, 200), Affine(0.1, 0, 500000, 0, -0.1, 5400000), UTM)


@pytest.fixture(scope="module")
def report(done):
    return read_report(done.path)


def figures(content):
    return {one["key"]: one for section in content["sections"] for one in section["figures"]}


def tables(content):
    return {one["key"]: one for section in content["sections"] for one in section["tables"]}


def small_run(field, out, **nothing):
    """A run on a corner of the field."""
    path = out / "corner.tif"
    with rasterio.open(field[0]) as source, rasterio.open(
        path, "w", driver="GTiff", dtype="uint8", count=4, height=600, width=700, photometric="RGB", alpha="yes",
        **({} if nothing else {"crs": source.crs, "transform": source.transform}),
    ) as sink:  # fmt: skip
        sink.write(source.read(window=((250, 850), (250, 950))))
    return path


# ---- what it says


def test_the_figures_are_those_of_the_summary(done, report):
    content, _ = report
    assert content["summary"] == json.loads((done.path / "summary.json").read_text())
    found, summary = figures(content), done.summary
    assert found["weed_cover"]["value"] == summary["classes"]["weed"]["share"]
    for name in ("treated_ha", "litres", "broadcast_litres", "heading_deg"):
        assert found[name]["value"] == summary["prescription"][name]
    for name in ("plants", "plants_per_ha", "plants_per_m2"):
        assert found[name]["value"] == summary["stand"][name]
    assert found["saved_litres"]["value"] == pytest.approx(
        found["broadcast_litres"]["value"] - found["litres"]["value"]
    )
    assert found["weed_patches"]["value"] == summary["plants"]["weeds"]["kept"] == 5
    assert found["valid_ha"]["value"] == summary["valid_ha"]
    assert {row["class"]: row["pixels"] for row in tables(content)["classes"]["values"]} == {
        name: entry["pixels"] for name, entry in summary["classes"].items()
    }
    assert content["headline"][0]["text"] == "79.8 m²"  # 80 without the slanting corner


def test_the_page_shows_every_figure_and_cell_of_the_json(report):
    content, page = report
    wanted = {}
    for one in [*content["headline"], *(one for section in content["sections"] for one in section["figures"])]:
        wanted.setdefault(one["key"], []).append(one["text"])
    assert page.figures == wanted
    assert page.tables == {key: table["rows"] for key, table in tables(content).items()}
    shown = " ".join(page.texts["li"])
    assert all(one["text"].replace("`", "") in shown for one in content["verdict"])
    assert len(wanted) > 20


def test_rates_add_up_to_the_field_and_its_litres(done, report):
    rows = tables(report[0])["rates"]["values"]
    zones = gpd.read_file(done.path / "field.gpkg", layer="prescription")
    by_rate = (zones.area / 1e4).groupby(zones.rate_l_ha).sum()
    assert {row["rate_l_ha"]: row["area_ha"] for row in rows} == pytest.approx(by_rate.to_dict())
    assert sum(row["area_ha"] for row in rows) == pytest.approx(done.summary["prescription"]["field_ha"])
    assert sum(row["litres"] for row in rows) == pytest.approx(done.summary["prescription"]["litres"])
    assert sum(row["zones"] for row in rows) == len(zones)


def test_the_curve_goes_through_the_prescription(done, report):
    (row,) = [row for row in tables(report[0])["thresholds"]["values"] if row["threshold_cover"] == 0.002]
    assert row["treated_ha"] == pytest.approx(done.summary["prescription"]["treated_ha"], rel=1e-3)
    assert row["litres"] == pytest.approx(done.summary["prescription"]["litres"], rel=1e-3)


def test_the_files_for_terminals_are_named_as_they_were_read_back(report):
    (row,) = tables(report[0])["exports"]["values"]
    assert (row["profile"], row["format"], row["ok"], row["coarser"]) == ("generic", "shapefile", True, "")
    assert row["litres"] == pytest.approx(figures(report[0])["litres"]["value"], rel=1e-6)


def test_provenance_names_input_model_and_versions(done, report, field):
    record = json.loads((done.path / "run.json").read_text())
    cells = dict(row[:2] for row in report[1].tables["inputs"])
    assert cells["Orthomosaic"] == str(field[0].resolve())
    assert record["inputs"]["ortho"]["sha256_ends"] in cells.values()
    assert f"geoseg {record['versions']['geoseg']}" in cells["Versions"]
    assert [row[0] for row in report[1].tables["stages"]] == [name for name in record["stages"] if name != "report"]
    assert json.loads(report[1].texts["pre"][0])["spray"]["section_m"] == 0.5


# ---- what it is made of


def test_nothing_is_asked_of_the_network_and_one_script_is_ours(done, report):
    text, page = (done.path / "report.html").read_text(encoding="utf-8"), report[1]
    assert not re.search(
        r"""(?:src|href|url)\s*[=(]\s*["']?(?!data:|#)[\w/.]""", re.sub(r"<script.*?</script>", "", text)
    )
    assert [attributes.get("type", "") for tag, attributes in page.tags if tag == "script"] == ["application/json", ""]
    (policy,) = [attributes["content"] for tag, attributes in page.tags if "http-equiv" in attributes]
    assert "default-src 'none'" in policy
    assert len(text) < 3_000_000


def test_what_comes_from_data_cannot_become_a_page(done, report):
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&{{ 7*7 }}"
    record = json.loads((done.path / "run.json").read_text())
    summary = json.loads(json.dumps(report[0]["summary"]).replace(json.dumps("fake"), json.dumps(evil)))
    summary |= {"ortho": evil, "warnings": [evil]}
    first = record["stages"]["segment"]["facts"]
    first["card"] |= {"licence": evil, "description": evil, "limits": [evil], "attribution": [evil]}
    first["field"] |= {"ortho": evil, "crs": evil}
    record["config"]["model"] = evil
    record["inputs"]["model"]["backend"] = evil
    exports = [dict(tables(report[0])["exports"]["values"][0], profile=evil, coarser=evil)]
    files = [{"name": evil, "bytes": 1, "text": evil}]
    content = report_content(evil, summary, record, {}, exports, files)
    frame, layers = field_map({"classes": done.path / "classes.tif"}, boundary_of(done), {}, Budget(side_px=100))
    content["map"] = map_content(frame, layers, evil, nominal=False)
    text = render_page(content, layers)
    page = Page(text)
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert "img" not in {tag for tag, _ in page.tags}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert page.texts["h1"] == [evil]
    assert sum(evil in "".join(row) for row in page.tables["inputs"]) >= 4
    assert json.loads(page.texts["script"][0])["crs"] == evil


def test_text_between_backticks_becomes_code_and_a_lone_one_stays():
    from geoseg.report.page import _coded

    assert str(_coded("run `a <b>` now")) == "run <code>a &lt;b&gt;</code> now"
    assert str(_coded("a ` <b>")) == "a ` &lt;b&gt;"


# ---- runs that hold less


def test_the_first_stage_alone_has_a_report_without_plants(field, tmp_path):
    run = job.segment(small_run(field, tmp_path), tmp_path / "run", model=ColourSegmenter())
    content, page = read_report(run.path)
    assert [section["id"] for section in content["sections"]] == ["prescription", "weeds", "quality", "provenance"]
    assert "No prescription" in page.texts["p"][1] + " ".join(page.texts["p"])
    assert {layer["name"] for layer in content["map"]["layers"]} == {"ortho", "classes", "boundary"}
    assert next(layer["shown"] for layer in content["map"]["layers"] if layer["name"] == "classes")
    before = (run.path / "report.html").stat().st_mtime_ns
    vectors = job.vectorize(run.path)
    assert (run.path / "report.html").stat().st_mtime_ns > before
    assert figures(read_report(run.path)[0])["plants"]["value"] == vectors.summary["stand"]["plants"]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_without_georeference_it_says_so_and_shows_no_north(field, tmp_path):
    config = load_config(None, ["ortho.gsd_m=0.005", *CONFIG])
    run = job.run(small_run(field, tmp_path, crs=None), tmp_path / "run", config=config, model=ColourSegmenter())
    content, page = read_report(run.path)
    assert content["verdict"][0]["level"] == "stop"
    assert "no georeference" in content["verdict"][0]["text"]
    refused = [attributes for tag, attributes in page.tags if attributes.get("class") == "refused"]
    assert len(refused) == 1
    assert not [1 for _, attributes in page.tags if attributes.get("class") == "north"]
    assert "litres" not in figures(content)
    assert content["map"]["nominal"] is True


def test_a_simulation_comes_in_and_an_outdated_one_stays_out(done, tmp_path):
    run = shutil.copytree(done.path, tmp_path / "run")
    (run / "simulation").mkdir()
    totals = {
        "field_ha": 2.0, "weed_ha": 0.1, "missed_weed_ha": 0.02, "sprayed_ha": 0.5, "over_sprayed_ha": 0.1,
        "not_sprayed_ha": 0.01, "litres": 100.0, "saved_percent": 75.0,
    }  # fmt: skip
    curve = [totals | {"section_m": width} for width in (0.5, 1.0)]
    facts = {"machine": {"title": "A boom"}, "totals": totals, "curves": {"section_m": curve}}
    for key, shown in (
        ("another", False),
        (json.loads((run / "run.json").read_text())["stages"]["segment"]["key"], True),
    ):
        (run / "simulation" / "simulation.json").write_text(json.dumps(facts | {"segment": key}))
        job.report(run)
        content, page = read_report(run)
        assert ("simulation" in [section["id"] for section in content["sections"]]) is shown
    assert page.figures["simulated_missed"] == ["20.0 %"]
    assert "Width of a section" in page.texts["figcaption"]


# ---- as a stage


def test_it_is_made_once_and_again_when_it_is_gone(done, field, tmp_path):
    run = shutil.copytree(done.path, tmp_path / "run")
    again = lambda: job.run(field[0], run, config=load_config(None, CONFIG), model=ColourSegmenter())  # noqa: E731
    before = (run / "report.html").stat().st_mtime_ns
    again()
    assert (run / "report.html").stat().st_mtime_ns == before
    (run / "report.json").unlink()
    again()
    assert (run / "report.json").exists()
    assert not list(run.glob(".report*"))


def test_the_command_writes_it_anew_and_prints_it(done, tmp_path):
    run = shutil.copytree(done.path, tmp_path / "run with späces")
    (run / "report.html").write_text("old")
    result = CliRunner().invoke(main, ["report", str(run)])
    assert result.exit_code == 0, result.output
    assert result.output.strip() == str(run / "report.html")
    assert "<h1>" in (run / "report.html").read_text(encoding="utf-8")
    result = CliRunner().invoke(main, ["report", str(run), "--json"])
    assert json.loads(result.output)["headline"][0]["key"] == "field_ha"
    with pytest.raises(InputError, match=r"run\.json"):
        job.report(tmp_path)
    assert list(tmp_path.iterdir()) == [run]


def test_a_run_of_a_former_version_gets_one_too(done, tmp_path):
    run = shutil.copytree(done.path, tmp_path / "run")
    record = json.loads((run / "run.json").read_text())
    del record["stages"]["report"], record["stages"]["segment"]["facts"]["card"]
    del record["stages"]["prescribe"]["facts"]["curve"], record["stages"]["prescribe"]["facts"]["losses"]
    (run / "run.json").write_text(json.dumps(record))
    job.report(run)
    content, _ = read_report(run)
    assert "thresholds" not in tables(content)
    assert any("licence not known" in note for section in content["sections"] for note in section["notes"])


# ---- what it measures


def test_confidence_is_counted_by_class(tmp_path):
    rng = np.random.default_rng(1)
    classes = rng.choice(np.array([0, 1, 2, 255], np.uint8), (300, 500))
    sure = np.where(classes == 255, 255, rng.integers(34, 101, (300, 500))).astype(np.uint8)
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "height": 300, "width": 500, "nodata": 255}
    tiles = {"tiled": True, "blockxsize": 64, "blockysize": 64, "crs": UTM, "transform": BOX.affine}
    for name, values in (("classes", classes), ("confidence", sure)):
        with rasterio.open(tmp_path / f"{name}.tif", "w", **profile, **tiles) as sink:
            sink.write(values, 1)
    found = confidence_histogram(tmp_path / "confidence.tif", tmp_path / "classes.tif")
    assert found["sampled"] == 1
    for entry in LEGEND.entries:
        wanted = np.histogram(sure[classes == entry.code], found["edges_percent"])[0]
        assert found["pixels"][entry.name] == wanted.tolist()
        assert found["mean_percent"][entry.name] == pytest.approx(sure[classes == entry.code].mean())
    assert found["mean_all_percent"] == pytest.approx(sure[classes < 255].mean())
    part = confidence_histogram(tmp_path / "confidence.tif", tmp_path / "classes.tif", blocks=10)
    assert part["sampled"] == 10 / 40
    assert part["mean_all_percent"] == pytest.approx(found["mean_all_percent"], abs=1)


def test_distances_between_plants_are_counted(tmp_path):
    steps = np.random.default_rng(2).uniform(0, 2, 5000)
    with sqlite3.connect(tmp_path / "a.gpkg") as database:
        database.execute("CREATE TABLE plants (row_next_m REAL)")
        database.executemany("INSERT INTO plants VALUES (?)", [(value,) for value in [*steps.tolist(), 0.0, None]])
    database.close()
    found = spacing_histogram(tmp_path / "a.gpkg", 0.25)
    edges = found["width_m"] * np.arange(len(found["plants"]))
    assert found["width_m"] == 0.05
    assert found["plants"] == np.histogram(steps, [*edges, np.inf])[0].tolist()


# ---- the map


def boundary_of(run):
    return shapely.from_wkt(
        json.loads((run.path / "run.json").read_text())["stages"]["segment"]["facts"]["field"]["boundary"]
    )


def polygon_of(path: str) -> shapely.Geometry:
    """A polygon from the path data of one with holes, read by other means."""
    rings = []
    for x, y, steps in re.findall(r"M(-?\d+) (-?\d+)l([-\d ]+)z", path):
        offsets = np.array(steps.split(), float).reshape(-1, 2)
        rings.append(np.vstack([[float(x), float(y)], offsets]).cumsum(axis=0))
    return shapely.Polygon(rings[0], rings[1:])


@given(st.integers(3, 12), st.floats(0.5, 4), st.floats(5, 15), st.floats(1, 6), st.booleans())
def test_paths_are_the_polygons_to_a_map_unit(corners, inner, x, y, hole):
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    ring = np.column_stack([500000 + x + 4 * np.cos(angles), 5400000 - y + 4 * np.sin(angles)])
    centre = ring.mean(axis=0)
    polygon = shapely.Polygon(ring, [0.1 * inner * (ring - centre) + centre] if hole else [])
    found = polygon_of(outlines(Frame(BOX), np.array([polygon])))
    assert found.area * 0.01**2 == pytest.approx(polygon.area, abs=0.011 * polygon.length)
    back = shapely.affinity.affine_transform(found, [0.01, 0, 0, -0.01, 500000, 5400000])
    assert shapely.hausdorff_distance(back, polygon) < 0.011


def test_dots_stand_where_the_plants_do():
    x, y = np.array([500001.0, 500003.5, 500000.2]), np.array([5399999.0, 5399991.23, 5399998.0])
    steps = np.array([part.split() for part in re.findall(r"m(-?\d+ -?\d+)h0", dots(Frame(BOX), x, y))], float)
    found = steps.cumsum(axis=0) * 0.01
    np.testing.assert_allclose(found, np.column_stack([x - 500000, 5400000 - y]), atol=0.0051)


def opened(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGBA"))


def test_drawings_keep_every_pixel():
    rgba = np.random.default_rng(3).integers(1, 255, (40, 50, 4)).astype(np.uint8)
    np.testing.assert_array_equal(opened(picture(rgba)), rgba)


def many(tmp_path, count):
    """A package with `count` crop plants, evenly spread over 20 x 10 m."""
    across = int((2 * count) ** 0.5)
    down = count // across
    x, y = np.meshgrid((np.arange(across) + 0.5) * 20 / across, (np.arange(down) + 0.5) * 10 / down)
    with sqlite3.connect(tmp_path / "a.gpkg") as database:
        database.execute("CREATE TABLE plants (x REAL, y REAL)")
        places = zip((x.ravel() + 500000).tolist(), (5400000 - y.ravel()).tolist(), strict=True)
        database.executemany("INSERT INTO plants VALUES (?, ?)", places)
    database.close()
    return tmp_path / "a.gpkg", x.size


@pytest.fixture
def bare(tmp_path):
    """A class raster of soil, 20 x 10 m."""
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "height": 1000, "width": 2000, "nodata": 255}
    with rasterio.open(
        tmp_path / "classes.tif", "w", crs=UTM, transform=Affine(0.01, 0, 500000, 0, -0.01, 5400000), **profile
    ) as sink:
        sink.write(np.zeros((1, 1000, 2000), np.uint8))
    return tmp_path / "classes.tif", shapely.box(500000, 5399990, 500020, 5400000)


@pytest.mark.parametrize(("count", "kind"), [(900, "point"), (100_000, "picture")])
def test_many_plants_become_a_density_of_bounded_size(bare, tmp_path, count, kind):
    package, made = many(tmp_path, count)
    _, layers = field_map({"classes": bare[0], "package": package}, bare[1], {"plants": made})
    (layer,) = [layer for layer in layers if layer.name == "plants"]
    assert (layer.kind, layer.count) == (kind, made)
    size = len(layer.picture or "") + sum(len(shape.path) for shape in layer.shapes)
    assert 200 < size < 60_000
    if kind == "picture":
        most = float(layer.keys[0][1].split()[2])
        assert made / 200 < most < 2 * made / 200
        strength = opened(layer.picture)[..., 3] / 255
        shown = strength[strength > 0].mean() * most
        assert shown == pytest.approx(made / 200, rel=0.1)  # all plants are in it, in fifteen steps


def test_layers_with_too_many_vertices_become_pictures_of_the_same_place(done):
    files = {"classes": done.path / "classes.tif", "package": done.path / "field.gpkg"}
    zones = gpd.read_file(done.path / "field.gpkg", layer="prescription")
    wanted = {"prescription": len(zones), "weeds": 5}
    frame, drawn = field_map(files, boundary_of(done), wanted)
    _, burnt = field_map(files, boundary_of(done), wanted, Budget(vertices=3))
    drawn, burnt = ({layer.name: layer for layer in layers} for layers in (drawn, burnt))
    treated = shapely.union_all(zones.geometry[zones.rate_l_ha > 0].to_numpy())
    for name, area in (("prescription", treated.area), ("weeds", 5 * 0.1**2)):
        assert not drawn[name].picture
        assert not burnt[name].shapes
        pixel_m2 = (10 * frame.unit_m) ** 2
        covered = (opened(burnt[name].picture)[..., 3] > 0).sum() * pixel_m2
        assert covered == pytest.approx(area, rel=0.03 if name == "prescription" else 0.1)
    paths = "".join(shape.path for shape in drawn["weeds"].shapes)
    area = sum(polygon_of(part).area for part in re.findall(r"M[^M]*", paths)) * frame.unit_m**2
    assert area == pytest.approx(5 * 0.1**2, rel=0.1)


# ---- charts


@given(
    st.sampled_from(["lines", "bars"]),
    st.lists(st.lists(st.floats(0, 1e6), min_size=21, max_size=21), min_size=1, max_size=3),
)
def test_charts_stay_inside_their_frame(kind, values):
    series = [{"label": str(nth), "values": one} for nth, one in enumerate(values)]
    g = chart_geometry(
        {"kind": kind, "x": [str(n) for n in range(21)], "series": series, "mark": {"at": 99, "label": "a"}}
    )
    left, top, right, bottom = g["plot"]
    for one, wanted in zip(g["series"], values, strict=True):
        for x, y in one.get("points", ()):
            assert left <= x <= right + 0.1
            assert top - 0.1 <= y <= bottom
        for x, y, w, h in one.get("bars", ()):
            assert left <= x <= x + w <= right + 0.5
            assert top - 0.1 <= y <= y + h == pytest.approx(bottom)
        if kind == "lines":
            highest = int(np.argmax(wanted))
            assert one["points"][highest][1] == min(y for _, y in one["points"])
    assert len(g["ticks"]) <= 9
    assert left <= g["mark"][0] <= right + 0.1


def test_grid_lines_carry_round_numbers():
    chart = {"kind": "lines", "x": ["a", "b"], "series": [{"label": "s", "values": [0, 59.6]}], "mark": None}
    assert [label for _, label in chart_geometry(chart)["grid"]] == ["0", "10", "20", "30", "40", "50", "60"]
