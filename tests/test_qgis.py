"""The QGIS project and the styles of a run: their XML, and what QGIS itself makes of them."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import warnings
import zipfile
from contextlib import closing
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

from geoseg import job
from geoseg.config import load_config
from geoseg.export.profiles import profile_names, read_profile
from geoseg.legend import LEGEND
from geoseg.ortho import Ortho, OrthoConfig
from geoseg.ortho.vrt import display_range, shown_bands, write_vrt
from geoseg.qgis.fieldstyles import (
    CLASSES_STYLE,
    CONFIDENCE_STYLE,
    LAYER_STYLES,
    MOST_RATES,
    by_class,
    rate_raster_style,
    rate_style,
)
from geoseg.qgis.project import spatial_reference
from geoseg.qgis.styles import Image, Style
from geoseg.qgis.symbols import polygon
from geoseg.stages.exports import export_further
from test_job import COLOURS, ColourSegmenter

PYTHON = Path("/usr/bin/python3")
READER = Path(__file__).with_name("qgis_reader.py")
GSD, SHAPE = 0.005, (1200, 1600)
TRANSFORM = Affine(GSD, 0, 500000, 0, -GSD, 5400000)
CONFIG = ("spray.section_m=0.5", "spray.buffer_m=0.2", "segment.write_px=512")
STYLES = [
    *LAYER_STYLES.values(), CLASSES_STYLE, CONFIDENCE_STYLE, rate_style([0, 200]), rate_style(range(0, 400, 10)),
    rate_raster_style([0, 133.33]), Style(by_class("class", polygon)), Style(Image((4, 2, 1), None, (3, 900))),
]  # fmt: skip


def truth() -> np.ndarray:
    """Five rows of crop discs, and two large weed squares."""
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]]
    painted = np.zeros(SHAPE, np.uint8)
    for row in range(120, 1200, 240):
        painted[(rows - row) ** 2 + ((cols - 10) % 80 - 40) ** 2 < 15**2] = 1
    for row, col in ((200, 300), (700, 1200)):
        painted[row : row + 60, col : col + 60] = 2
    return painted


def write_ortho(path: Path, *, crs: str | None = "EPSG:32632", dtype: str = "uint8", order=(1, 2, 3)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    scale = 1 if dtype == "uint8" else 40
    with rasterio.open(
        path, "w", driver="GTiff", dtype=dtype, count=4, height=SHAPE[0], width=SHAPE[1], crs=crs,
        transform=TRANSFORM if crs else None, tiled=True, photometric="RGB", alpha="yes",
    ) as raster:  # fmt: skip
        raster.write(COLOURS[truth()].transpose(2, 0, 1).astype(dtype) * scale, order)
        raster.write(np.full(SHAPE, np.iinfo(dtype).max, dtype), 4)
    return path


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("fields")


@pytest.fixture(scope="module")
def run(base):
    """A finished run in a folder with a space and an umlaut, beside its ortho."""
    ortho = write_ortho(base / "Hof Müller & Söhne" / "flight ä.tif")
    config = load_config(None, CONFIG)
    return job.run(ortho, ortho.parent / "run 1", config=config, model=ColourSegmenter()).path


@pytest.fixture(scope="module")
def plain(base):
    """A run whose ortho has no georeference, so that there is no prescription."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        ortho = write_ortho(base / "plain" / "plain.tif", crs=None)
    config = load_config(None, [*CONFIG, "ortho.gsd_m=0.005", "ortho.crs=EPSG:32632"])
    return job.run(ortho, ortho.parent / "run", config=config, model=ColourSegmenter()).path


def xml_of(project: Path) -> ElementTree.Element:
    with zipfile.ZipFile(project) as archive:
        assert archive.namelist() == ["field.qgs"]
        return ElementTree.fromstring(archive.read("field.qgs"))


def sources(root: ElementTree.Element) -> dict[str, str]:
    return {one.findtext("layername"): one.findtext("datasource") for one in root.iter("maplayer")}


# Without QGIS


@pytest.mark.parametrize("style", STYLES)
def test_a_style_is_sound(style):
    root = ElementTree.fromstring(style.qml())
    for renderer in root.iter("renderer-v2"):
        names = {symbol.get("name") for symbol in renderer.findall("symbols/symbol")}
        entries = [*renderer.iter("category"), *renderer.iter("range")]
        assert {entry.get("symbol") for entry in entries} in (names, set())
        for layer in renderer.iter("layer"):
            options = {option.get("name"): option.get("value") for option in layer.findall("Option/Option")}
            assert options == {prop.get("k"): prop.get("v") for prop in layer.findall("prop")}
    assert (root.find("renderer-v2") is None) != (root.find("pipe/rasterrenderer") is None)


def test_classes_have_one_entry_each_in_their_colours():
    entries = ElementTree.fromstring(CLASSES_STYLE.qml()).findall(".//paletteEntry")
    assert {entry.get("label"): entry.get("color") for entry in entries} == {
        entry.name: entry.hex for entry in LEGEND.entries
    }


def test_few_rates_are_entries_and_many_are_ranges_that_leave_none_out():
    few = ElementTree.fromstring(rate_style([200, 133.33]).qml())
    assert [entry.get("value") for entry in few.iter("category")] == ["0", "133.33", "200"]
    rates = [round(7.3 * n, 2) for n in range(1, MOST_RATES + 5)]
    entries = ElementTree.fromstring(rate_style(rates).qml()).iter("range")
    ranges = [(float(entry.get("lower")), float(entry.get("upper"))) for entry in entries]
    for rate in [0.0, *rates]:
        assert sum(low <= rate <= high for low, high in ranges) == 1


def test_every_path_of_the_project_is_relative_and_there(run):
    found = sources(xml_of(run / "field.qgz"))
    assert len(found) >= 10
    for source in found.values():
        file, _, layer = source.partition("|layername=")
        assert file.startswith("./")
        assert (run / file).is_file()
        if layer:
            with closing(sqlite3.connect(run / file)) as database:
                assert database.execute(f"SELECT count(*) FROM {layer}").fetchone()[0] > 0


def test_layers_that_a_run_does_not_have_are_left_out(run, plain, base):
    names = set(sources(xml_of(run / "field.qgz")))
    assert {"Prescription", "Crop rows", "Crop plants", "Weed patches", "Classes"} <= names
    without = xml_of(plain / "field.qgz")
    assert names - set(sources(without)) == {"Prescription"}
    assert "Prescription" not in {group.get("name") for group in without.iter("layer-tree-group")}
    assert {page.get("name") for page in without.iter("Layout")} == {"Weeds and plants (A4)", "Classes (A4)"}
    assert "nominal" in next(one.get("labelText") for one in without.iter("LayoutItem") if one.get("id") == "footer")
    config = load_config(None, CONFIG)
    only = job.segment(
        run.parent / "flight ä.tif", base / "only" / "x" / "y" / "z", config=config, model=ColourSegmenter()
    )
    root = xml_of(only.path / "field.qgz")
    assert set(sources(root)) == {"Classes", "Confidence"} | {name for name in names if "Ortho" in name}
    checked = {leaf.get("name"): leaf.get("checked") for leaf in root.iter("layer-tree-layer")}
    assert (checked["Classes"], checked["Confidence"]) == ("Qt::Checked", "Qt::Unchecked")


def test_the_project_is_made_again_only_when_something_changed(run, base):
    copied = base / "copied"
    shutil.copytree(run, copied)
    before = (copied / "field.qgz").read_bytes()
    job.vectorize(copied, config=load_config(None, CONFIG))
    assert (copied / "field.qgz").read_bytes() == before
    (copied / "field.qgz").unlink()
    job.vectorize(copied, config=load_config(None, CONFIG))
    assert xml_of(copied / "field.qgz").findtext("title") == "flight ä"
    job.prescribe(copied, config=load_config(None, [*CONFIG, "spray.rate_l_ha=150"]))
    assert "150" in {entry.get("value") for entry in xml_of(copied / "field.qgz").iter("category")}


def test_the_ortho_is_named_by_a_relative_path_where_it_is_near(run, base):
    (source,) = {(s.text, s.get("relativeToVRT")) for s in ElementTree.parse(run / "ortho.vrt").iter("SourceFilename")}
    assert source == ("../flight ä.tif", "1")
    far = base / "only" / "x" / "y" / "z" / "ortho.vrt"
    (source,) = {(s.text, s.get("relativeToVRT")) for s in ElementTree.parse(far).iter("SourceFilename")}
    assert source == ((run.parent / "flight ä.tif").as_posix(), "0")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_the_stand_in_lies_where_the_run_put_the_ortho(run, plain):
    for folder in (run, plain):
        with rasterio.open(folder / "ortho.vrt") as vrt, rasterio.open(folder / "classes.tif") as classes:
            assert vrt.crs == classes.crs
            assert vrt.transform.almost_equals(classes.transform, 1e-9)
            np.testing.assert_array_equal(vrt.read([1, 2, 3]), COLOURS[truth()].transpose(2, 0, 1))


def test_colours_are_found_by_the_names_of_the_bands(tmp_path):
    ortho = Ortho.open(write_ortho(tmp_path / "o.tif", order=(3, 2, 1)), OrthoConfig(bands=(3, 2, 1)))
    assert shown_bands(write_vrt(ortho, ("red", "green", "blue"), tmp_path / "o.vrt")) == ((3, 2, 1), 4)
    assert shown_bands(write_vrt(ortho, ("nir", "green", "red"), tmp_path / "p.vrt")) == ((3, 2, 1), 4)


def test_a_preview_of_sixteen_bits_is_stretched_to_what_it_holds(tmp_path):
    assert display_range(write_ortho(tmp_path / "o.tif")) is None
    low, high = display_range(write_ortho(tmp_path / "p.tif", dtype="uint16"))
    assert 40 * 20 <= low < high <= 40 * 200


def test_a_crs_without_a_number_is_told_by_its_text():
    text = "+proj=lcc +lat_1=49 +lat_2=46 +lat_0=47.5 +lon_0=13 +x_0=4 +y_0=7 +ellps=bessel +units=m +no_defs"
    found = {one.tag: one.text for one in spatial_reference(pyproj.CRS(text))}
    assert (found["srsid"], found["authid"]) == ("0", "")
    assert pyproj.CRS(found["wkt"]) == pyproj.CRS(text)
    found = {one.tag: one.text for one in spatial_reference(pyproj.CRS(32632))}
    assert (found["srid"], found["authid"]) == ("32632", "EPSG:32632")
    assert "+zone=32" in found["proj4"]


def test_styles_lie_beside_files_for_people_and_on_no_terminal_s_stick(run):
    assert (run / "prescription" / "generic" / "SPRAY.qml").is_file()
    styled = {name for name in profile_names() if read_profile(name).options.get("style")}
    assert styled == {"generic", "geotiff", "geojson"}


def test_control_characters_of_a_name_do_not_spoil_the_xml(base, run):
    copied = base / "with\x07bell"
    shutil.copytree(run, copied)
    record = json.loads((copied / "run.json").read_text())
    record["stages"]["segment"]["facts"]["field"]["ortho"] = "/x/ortho.tif"  # so that the folder gives the title
    (copied / "run.json").write_text(json.dumps(record))
    (copied / "field.qgz").unlink()
    job.vectorize(copied, config=load_config(None, CONFIG))
    assert xml_of(copied / "field.qgz").findtext("title") == "withbell"


# With QGIS


@cache
def missing_qgis() -> str:
    """Why QGIS cannot be asked; empty if it can."""
    if not PYTHON.is_file():
        return f"there is no {PYTHON}"
    done = subprocess.run([PYTHON, "-c", "import qgis.core"], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"{PYTHON} has no PyQGIS"


def ask(*words: object) -> dict:
    """What QGIS answers; the environment of these tests, with its own GDAL, is kept away from it."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    done = subprocess.run(
        [PYTHON, READER, *map(str, words)],
        env=kept | {"QT_QPA_PLATFORM": "offscreen", "LC_ALL": "C.UTF-8"},
        capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def seen(run, base):
    """The project as QGIS sees it after its folder has moved with the ortho; and the folder of pictures."""
    if missing_qgis():
        pytest.skip(missing_qgis())
    moved, pictures = base / "moved ß" / "deeper", base / "pictures"
    shutil.copytree(run.parent, moved)
    pictures.mkdir()
    return ask("project", moved / "run 1" / "field.qgz", pictures), pictures, moved


def test_qgis_opens_every_layer_without_a_word(seen):
    found, _, moved = seen
    assert found["opened"]
    assert (found["invalid"], found["said"], found["errors"]) == ([], [], [])
    assert {layer["crs"] for layer in found["layers"].values()} == {found["crs"]} == {"EPSG:32632"}
    assert all(str(moved) in layer["source"] for layer in found["layers"].values())
    assert found["title"] == "flight ä"
    assert found["groups"] == ["Weeds", "Plants and rows", "Prescription", "Classes", "Imagery"]
    assert all(layer["about"] for layer in found["layers"].values())


def test_qgis_shows_a_clean_legend_and_the_rates(seen):
    layers = seen[0]["layers"]
    assert layers["Classes"]["legend"] == ["soil", "crop", "weed"]
    assert layers["Confidence"]["visible"] is False
    assert layers["Prescription"]["legend"] == ["0 L/ha, not sprayed", "200 L/ha"]
    assert layers["Prescription"]["labels"] is True
    assert "rate_l_ha" in layers["Prescription"]["label"]
    assert sum(layers["Prescription"]["drawn"].values()) == layers["Prescription"]["features"]
    assert "?" not in {**layers["Prescription"]["drawn"], **layers["Plant outlines"]["drawn"]}
    assert layers["Orthomosaic, reduced"]["legend"] == []


def test_qgis_looks_at_the_field_and_at_nothing_else(seen):
    left, bottom, right, top = seen[0]["extent"]
    width, height = SHAPE[1] * GSD, SHAPE[0] * GSD
    assert left < 500000 < 500000 + width < right < 500000 + 1.2 * width
    assert bottom < 5400000 - height < 5400000 < top < 5400000 + 0.2 * height


def picture(path: Path) -> np.ndarray:
    with rasterio.open(path) as raster:
        return raster.read([1, 2, 3])


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_qgis_draws_each_class_in_its_colour_at_its_place(seen):
    found, pictures, _ = seen
    drawn = picture(pictures / "classes.png")
    left, bottom, right, top = found["extent"]
    scale = max((right - left) / 800, (top - bottom) / 600)
    across, down = (left + right) / 2 - 400 * scale, (bottom + top) / 2 + 300 * scale

    def at(row: int, col: int) -> tuple[int, ...]:
        x, y = 500000 + (col + 0.5) * GSD, 5400000 - (row + 0.5) * GSD
        return tuple(int(v) for v in drawn[:, int((down - y) / scale), int((x - across) / scale)])

    assert at(230, 330) == at(730, 1230) == LEGEND["weed"].rgb
    assert at(120, 50) == at(1080, 1490) == LEGEND["crop"].rgb
    soil, alpha = np.array(LEGEND["soil"].rgb), 70 / 255
    np.testing.assert_allclose(at(600, 800), 255 - alpha * (255 - soil), atol=1.5)
    assert tuple(drawn[:, 2, 2]) == (255, 255, 255)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_qgis_prints_pages_with_a_map_on_them(seen):
    found, pictures, _ = seen
    assert set(found["pages"]) == {"Weeds and plants (A4)", "Prescription (A4)", "Classes (A4)"}
    for name, page in found["pages"].items():
        assert page == {"done": [0, 0], "size": [210, 297]}
        stem = name.removesuffix(" (A4)")
        assert (pictures / f"{stem}.pdf").read_bytes()[:5] == b"%PDF-"
        printed = picture(pictures / f"{stem}.png")
        assert (printed.min(axis=0) < 200).mean() > 0.2  # the photo is not white
    whole = picture(pictures / "overview.png")
    assert (whole.min(axis=0) < 200).mean() > 0.4


def test_qgis_does_without_the_ortho(seen, base):
    _, _, moved = seen
    alone, pictures = base / "alone", base / "pictures alone"
    shutil.copytree(moved / "run 1", alone)
    pictures.mkdir()
    found = ask("project", alone / "field.qgz", pictures)
    assert found["opened"]
    assert found["invalid"] == []


def test_qgis_takes_the_styles_that_lie_beside_the_files(seen, base):
    run = seen[2] / "run 1"
    export_further(run, ["geotiff", "geojson"])
    folder = run / "prescription"
    zones = [folder / "generic" / "SPRAY.shp", folder / "geojson" / "SPRAY.geojson"]
    paths = [run / "classes.tif", run / "confidence.tif", folder / "geotiff" / "SPRAY.tif"]
    layers = [f"{run / 'field.gpkg'}|layername={name}" for name in ("plants", "weeds", "prescription")]
    found = ask("layers", *paths, *zones, *layers)
    assert found["said"] == []
    assert found[str(paths[0])]["legend"][-3:] == ["soil", "crop", "weed"]
    assert found[str(paths[1])]["renderer"] == "singlebandpseudocolor"
    assert found[str(paths[2])]["legend"][-2:] == ["0 L/ha, not sprayed", "200 L/ha"]
    for file in zones:
        assert found[str(file)]["legend"] == ["0 L/ha, not sprayed", "200 L/ha"]
        assert found[str(file)]["labels"] is True
        assert "?" not in found[str(file)]["drawn"]
    assert found[layers[2]]["legend"] == ["0 L/ha, not sprayed", "200 L/ha"]
    assert found[layers[0]]["renderer"] == found[layers[1]]["renderer"] == "singleSymbol"
