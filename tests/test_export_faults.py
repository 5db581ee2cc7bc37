"""Every fault is named: those of the newer formats here, the others beside their formats; hostile and damaged files."""

from __future__ import annotations

import ast
import json
import re
import shutil
import sqlite3
import time
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import test_dji
import test_export_check
import test_export_csv
import test_isoxml
from geoseg import export
from geoseg.export.profiles import LIMITS
from spray_helpers import plan_of_two_spots
from test_isoxml import edit, put

pytestmark = pytest.mark.filterwarnings("ignore::geoseg.errors.GeosegWarning")  # the coarse cells of XAG

PROFILES = (
    "generic", "aog", "cloud", "isoxml", "isoxml_codes", "isoxml_zones", "isoxml_zones_v3", "isoxml_zip", "dji", "xag",
    "geotiff", "gpkg", "kml", "geojson", "csv",
)  # fmt: skip


@pytest.fixture(scope="module")
def prescription(tmp_path_factory):
    return plan_of_two_spots(tmp_path_factory.mktemp("spots"))


@pytest.fixture(scope="module")
def whole(prescription, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    for profile in PROFILES:
        export.write(prescription, folder / profile, profile)
    return folder


@pytest.fixture
def copy(whole, tmp_path):
    return lambda profile: shutil.copytree(whole / profile, tmp_path / profile)


def codes(folder, prescription=None):
    return {
        finding.code for file in export.check(folder, prescription, strict=False).files for finding in file.findings
    }


def text(name, *pairs):
    def change(folder):
        path = folder / name
        content = path.read_text()
        for old, new in pairs:
            assert re.search(old, content, re.DOTALL), old
            content = re.sub(old, new, content, flags=re.DOTALL)
        path.write_text(content)

    return change


def levels(**changes):
    def change(folder):
        path = folder / "XAG" / "SPRAY_Prescription.json"
        document = json.loads(path.read_text())
        for key, value in changes.items():
            document[key] = value(document) if callable(value) else value
        path.write_text(json.dumps({key: value for key, value in document.items() if value is not None}))

    return change


def layer(change, **options):
    def rewrite(folder):
        path = folder / "SPRAY.gpkg"
        frame = change(pyogrio.read_dataframe(path, layer="prescription"))
        path.unlink()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a frame without a CRS is meant to have none
            pyogrio.write_dataframe(frame, path, layer="prescription", **options)

    return rewrite


def raster(**changes):
    def rewrite(folder):
        path = folder / "SPRAY.tif"
        with rasterio.open(path) as source:
            profile, rates = source.profile, source.read(1)
        change = changes.get("rates", lambda rates: rates)
        kept = {key: value for key, value in changes.items() if key != "rates"}
        with rasterio.open(path, "w", **{**profile, "predictor": 1, **kept}) as sink:
            sink.write(change(rates).astype(sink.dtypes[0]), 1)

    return rewrite


def without_rate(frame):
    return frame.drop(columns="rate_l_ha")


def turned(frame):
    return frame.set_geometry(shapely.transform(frame.geometry.values, lambda points: points[:, ::-1])).set_crs(
        4326, allow_override=True
    )


MORE = {
    "kml": {
        "no-polygons": text("SPRAY.kml", ("<Placemark>.*</Placemark>", "")),
        "not-kml": text("SPRAY.kml", ("<(/?)kml", r"<\1gpx")),
        "rate-changed": text("SPRAY.kml", ('"rate_l_ha">200', '"rate_l_ha">150')),
        "rate-negative": text("SPRAY.kml", ('"rate_l_ha">200', '"rate_l_ha">-200')),
        "rate-missing": text("SPRAY.kml", ('"rate_l_ha">200.000000', '"rate_l_ha">')),
        "no-rate-column": text("SPRAY.kml", ("rate_l_ha", "dose")),
        "polygons-missing": text("SPRAY.kml", (r"<Placemark>(?:(?!<Placemark>).)*</Document>", "</Document>")),
        "shape-type": text("SPRAY.kml", ("<Polygon>.*?</Polygon>", "<Point><coordinates>11,48</coordinates></Point>")),
        "axes-swapped": text("SPRAY.kml", (r"(\d+\.\d{9}),(\d+\.\d{9})", r"\2,\1")),
        "unreadable": text("SPRAY.kml", ("</Document>", "")),
        "geometry-changed": text("SPRAY.kml", (r"(\d+\.\d{5})\d{4},", r"\g<1>0000,")),
    },
    "xag": {
        "attribute-missing": levels(guid=None),
        "zone-code": levels(weightData=lambda d: [9.5, *d["weightData"][1:]]),
        "zone-missing": levels(weightData=lambda d: [9, *d["weightData"][1:]]),
        "zone-duplicate": levels(dataTypeLevel=lambda d: d["dataTypeLevel"] * 2),
        "rate-negative": levels(dataTypeLevel=[{"dosage": -20, "level": 1}]),
        "rate-changed": levels(dataTypeLevel=[{"dosage": 25, "level": 1}]),
        "grid-bytes": levels(weightData=lambda d: d["weightData"][1:]),
        "grid-size": levels(rows=10**9, columns=10**9),
        "grid-place": levels(originLat=91),
        "grid-rotated": levels(rotation=27),
        "cell-size": levels(cellSize=3),
        "under-treated": levels(weightData=lambda d: d["weightData"][::-1]),
        "over-treated": levels(weightData=lambda d: [1] * len(d["weightData"])),
        "unreadable": lambda folder: (folder / "XAG/SPRAY_Prescription.json").write_text("[" * 100_000),
        "outline-changed": text("XAG/SPRAY_Boundary.kml", (r"(\d+\.\d{5})\d{4},", r"\g<1>0000,")),
    },
    "gpkg": {
        "no-layer": layer(lambda frame: frame.set_geometry(frame.centroid)),
        "crs": layer(lambda frame: frame.set_crs(None, allow_override=True)),
        "no-rate-column": layer(without_rate),
        "rate-changed": layer(lambda frame: frame.assign(rate_l_ha=frame.rate_l_ha * 1.1)),
        "rate-negative": layer(lambda frame: frame.assign(rate_l_ha=-frame.rate_l_ha)),
        "rate-missing": layer(
            lambda frame: frame.assign(rate_l_ha=np.where(frame.rate_l_ha > 0, frame.rate_l_ha, np.nan))
        ),
        "polygons-missing": layer(lambda frame: frame.iloc[1:]),
        "outside-field": layer(lambda frame: frame.set_geometry(frame.translate(1))),
        "axes-swapped": layer(lambda frame: turned(frame.to_crs(4326))),
        "unreadable": lambda folder: (folder / "SPRAY.gpkg").write_bytes(b"SQLite format 3\0" + bytes(5000)),
    },
    "geotiff": {
        "missing-tfw": None,
        "nodata": raster(nodata=0),
        "crs": raster(crs="EPSG:32632"),
        "raster-type": raster(dtype="int32"),
        "rate-negative": raster(rates=lambda rates: rates - 1),
        "rate-missing": raster(rates=lambda rates: np.where(rates > 0, rates, np.nan)),
        "under-treated": raster(rates=lambda rates: np.roll(rates, 1, axis=0)),
        "world-file": text("SPRAY.tfw", (r"(\d\d\.\d{6})\d{4}\n$", r"\g<1>0000\n")),
        "unreadable": lambda folder: (folder / "SPRAY.tif").write_bytes((folder / "SPRAY.tif").read_bytes()[:300]),
    },
    "cloud": {
        "zip-content": lambda folder: repack(folder, lambda name, data: (f"{name}.txt", data)),
        "zip-path": lambda folder: repack(folder, lambda name, data: (f"../{name}", data)),
        "zip-folders": lambda folder: repack(folder, lambda name, data: (f"maps/{name}", data)),
        "missing-shx": lambda folder: repack(folder, lambda name, data: (name.replace(".shx", ".shy"), data)),
        "shp-truncated": lambda folder: repack(folder, lambda n, data: (n, data[:-50] if n.endswith("shp") else data)),
        "unreadable": lambda folder: (folder / "SPRAY.zip").write_bytes((folder / "SPRAY.zip").read_bytes()[:-60]),
    },
    "isoxml_zones_v3": {
        "geometry-changed": lambda folder: put("TSK/TZN[5]/PLN/LSG/PNT", C="48.1")(folder / "TASKDATA/TASKDATA.XML"),
        "treated-ha": lambda folder: edit(
            folder / "TASKDATA/TASKDATA.XML", lambda root: root.find("TSK").remove(root.find("TSK/TZN[5]"))
        ),
    },
}
MORE["geotiff"].pop("missing-tfw")


def repack(folder, change):
    path = folder / "SPRAY.zip"
    with zipfile.ZipFile(path) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries:
            archive.writestr(*change(name, data))


CASES = [(profile, fault) for profile, faults in MORE.items() for fault in faults]


@pytest.mark.parametrize(("profile", "fault"), CASES)
def test_a_fault_is_named(copy, prescription, profile, fault):
    folder = copy(profile)
    MORE[profile][fault](folder)
    assert fault in codes(folder, prescription)


# The table of faults that schemas and other readers miss, with what makes each and how the checker calls it.
KNOWN_FAULTS = {
    "bin truncated": "grid-bytes",
    "bin missing": "grid-missing",
    "required attr missing": "attribute-missing",
    "TZN code 255": "zone-code",
    "cell size 10 deg": "grid-place",
    "dangling PFD ref": "reference",
    "rows/cols swapped": "grid-field",
    "GRD J missing": "grid-zone",
    "2 GRD in a TSK": "grid-several",
    "2 exteriors in a v4 PLN": "polygon-exterior",
    "duplicate TZN codes": "zone-duplicate",
    ".BIN upper case": "grid-case",
}


@pytest.mark.parametrize("fault", KNOWN_FAULTS)
def test_what_schemas_miss_is_named(copy, fault):
    code = KNOWN_FAULTS[fault]
    path = copy("isoxml") / "TASKDATA" / "TASKDATA.XML"
    (test_isoxml.FAULTS | test_isoxml.WARNINGS)[code](path)
    assert code in codes(path.parent)  # without a plan to compare with


def test_the_table_of_the_reference_has_no_other_fault():
    page = Path(__file__).resolve().parents[2] / "shared" / "reference" / "equipment.md"
    if not page.is_file():
        pytest.skip(f"{page} is not there")
    table = page.read_text(encoding="utf-8").partition("| Fault | XSD |")[2].partition("=>")[0]
    found = set()
    for line in table.splitlines()[2:]:
        cell = line.split("|")[1] if line.startswith("|") else ""
        cell = cell.replace("bin truncated / missing", "bin truncated, bin missing").replace("`", "")
        found |= {part.strip() for part in cell.split(",") if part.strip()}
    assert {fault.lower() for fault in found} == {fault.lower() for fault in KNOWN_FAULTS}


NOT_MADE_HERE = {
    "xml-size", "xml-depth", "xml-doctype", "file-size", "zip-size",  # hostile files, below and in their own tests
    "outside-crs", "count", "empty-polygons", "self-touching", "column-names", "limit-name", "external-files", "gdal",
    "no-task", "several-tasks", "no-rate", "outline-invalid", "limit-columns",  # in a test of their own
}  # fmt: skip


def codes_in_the_source():
    """Codes of all findings, out of the calls that make them."""
    found = set()
    for module in Path(export.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called in ("error", "warn", "add", "_RefusedError"):
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    found.add(first.value)
    return found | {f"limit-{name.replace('_', '-')}" for name in LIMITS}


def codes_in_the_tests():
    named = set(test_export_check.REWRITES) | set(test_export_check.DAMAGE) | set(test_dji.FAULTS)
    named |= set(test_export_csv.FAULTS) | set(test_isoxml.FAULTS) | set(test_isoxml.WARNINGS)
    named |= {fault for faults in MORE.values() for fault in faults} | {"missing-tfw"}
    return named | {f"limit-{name.replace('_', '-')}" for name in LIMITS}  # each broken once in test_profiles


def test_no_finding_is_without_a_test():
    source = codes_in_the_source()
    assert len(source) > 60
    assert source - codes_in_the_tests() - NOT_MADE_HERE == set()
    assert source >= NOT_MADE_HERE


def test_more_that_can_be_wrong(copy, tmp_path):
    folder = copy("generic")
    for path in folder.glob("SPRAY.*"):
        path.rename(path.with_name(f"Rübe 1{path.suffix}"))
    assert "limit-name" in codes(folder)
    path = copy("isoxml") / "TASKDATA" / "TASKDATA.XML"
    edit(path, lambda root: root.append(root.makeelement("XFR", {"A": "PDT00001", "B": "1"})))
    assert "external-files" in codes(path)
    shutil.copytree(path.parent, tmp_path / "two")
    path = tmp_path / "two" / "TASKDATA.XML"
    edit(path, lambda root: root.append(root.find("TSK")))
    assert "several-tasks" in codes(path)


def test_integers_of_the_wrong_endianness_are_named(copy):
    folder = copy("isoxml")
    test_isoxml.other_bytes(lambda data: np.frombuffer(data, "<i4").astype(">i4").tobytes())(
        folder / "TASKDATA/TASKDATA.XML"
    )
    assert "rate-negative" in codes(folder)


def test_a_shapefile_of_the_wrong_endianness_is_named(copy):
    path = copy("generic") / "SPRAY.shp"
    data = path.read_bytes()
    path.write_bytes(np.frombuffer(data[: len(data) // 4 * 4], "<i4").astype(">i4").tobytes())
    assert "not-a-shapefile" in codes(path.parent)


# Hostile files --------------------------------------------------------------------------------------------------------

BOMB = (
    '<!DOCTYPE kml [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><kml><Document><name>&b;</name></Document></kml>'
)
OUTSIDE = '<!DOCTYPE kml [<!ENTITY f SYSTEM "file:///etc/passwd">]><kml>&f;</kml>'


@pytest.mark.parametrize("data", [BOMB, OUTSIDE])
@pytest.mark.parametrize("name", ["SPRAY.kml", "SPRAY_Boundary.kml"])
def test_entities_are_refused_unexpanded(tmp_path, data, name):
    (tmp_path / name).write_text(data)
    assert codes(tmp_path / name) == {"xml-doctype"}


def test_depth_is_bounded(tmp_path):
    (tmp_path / "a.kml").write_text("<kml>" + "<Folder>" * 100_000)
    assert codes(tmp_path / "a.kml") == {"xml-depth"}
    for nested in ("[" * 200_000, '{"a":' * 200_000):
        (tmp_path / "SPRAY_Prescription.json").write_text(nested)
        assert codes(tmp_path / "SPRAY_Prescription.json") == {"unreadable"}


def test_a_zip_that_would_fill_the_disk_is_refused(tmp_path, monkeypatch):
    """A gigabyte of zeros in a megabyte; and one that says it is small."""
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("SPRAY.shp", "w") as entry:
        for _ in range(600):
            entry.write(bytes(1_000_000))
    assert codes(path) == {"zip-size"}
    liar = tmp_path / "liar.zip"
    with zipfile.ZipFile(liar, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("SPRAY.shp", bytes(3_000_000))
    data = liar.read_bytes().replace((3_000_000).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    liar.write_bytes(data)
    assert codes(liar) == {"unreadable"}


def test_absurd_numbers_never_become_arrays(copy):
    folder = copy("xag")
    for value in (10**400, "48", [48], float("nan"), float("inf")):
        levels(originEndLat=value)(folder)
        assert {"grid-place", "unreadable"} & codes(folder)
    for rows, columns in ((10**30, 1), (2**31, 2**31), (-1, 5), (True, 1), ("5", 5), (1e3, 5)):
        levels(rows=rows, columns=columns)(folder)
        assert "grid-size" in codes(folder)


PLACE = rasterio.Affine(1e-6, 0, 9, 0, -1e-6, 48)


def test_a_raster_of_absurd_size_is_never_read(copy, monkeypatch):
    folder = copy("geotiff")
    (folder / "SPRAY.tif").unlink()
    with rasterio.open(
        folder / "SPRAY.tif", "w", driver="GTiff", width=60_000, height=60_000, count=1, dtype="float32",
        crs="EPSG:4326", transform=PLACE, sparse_ok=True, tiled=True, bigtiff="yes", compress="deflate",
    ):  # fmt: skip
        pass
    assert "grid-size" in codes(folder)


def test_a_database_that_is_no_prescription_is_named(tmp_path):
    path = tmp_path / "SPRAY.gpkg"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE a (b)")
    database.close()
    assert codes(path) <= {"unreadable", "no-layer"}
    assert codes(path)


# Damage ---------------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    profile=st.sampled_from(PROFILES),
    pick=st.integers(0, 99),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6),
    cut=st.none() | st.floats(0, 1),
)
def test_flipped_and_missing_bytes_are_named_or_change_nothing(
    whole, prescription, tmp_path, profile, pick, flips, cut
):
    """Either a finding, or the same litres and the same ground: never a traceback, never a hang."""
    folder = tmp_path / "fuzz"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole / profile, folder)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "README.txt"]
    path = files[pick % len(files)]
    data = bytearray(path.read_bytes())
    for place, value in flips:
        data[int(place * len(data))] = value
    path.write_bytes(bytes(data if cut is None else data[: int(cut * len(data))]))
    started = time.monotonic()
    report = export.check(folder, prescription, strict=False)
    assert time.monotonic() - started < 30
    assert json.loads(json.dumps(report.to_dict(), default=str))["ok"] is report.ok
    for file in report.files:
        if report.ok and "litres_difference_percent" in file.facts:
            ours = {entry.path: entry for entry in export.check(whole / profile, prescription).files}[file.path]
            assert file.facts["litres"] == pytest.approx(ours.facts["litres"], rel=1e-3)
            assert file.facts["treated_ha"] == pytest.approx(ours.facts["treated_ha"], rel=1e-3)


@pytest.mark.parametrize("head", [b"", b"\0"])
def test_a_table_without_its_head_is_named(copy, prescription, head):
    """Its README.txt says that it is a prescription; the head no longer does."""
    folder = copy("csv")
    (path,) = folder.glob("*.csv")
    path.write_bytes(head)
    report = export.check(folder, prescription, strict=False)
    assert not report.ok
    assert [file.path for file in report.files] == [path.name]


def test_crc_is_checked(copy):
    """A flipped bit in a stored entry of a zip is found by its check sum."""
    folder = copy("cloud")
    repack(folder, lambda name, data: (name, data))
    path = folder / "SPRAY.zip"
    data = bytearray(path.read_bytes())
    data[300] ^= 1
    assert zlib.crc32(bytes(data)) != zlib.crc32(path.read_bytes())
    path.write_bytes(bytes(data))
    assert "unreadable" in codes(folder)
