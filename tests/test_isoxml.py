from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import xml.etree.ElementTree as ET
import zipfile

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoseg import export
from geoseg.errors import CheckError, GeosegWarning, PrescriptionError
from geoseg.export import isoxml_reader, safexml
from geoseg.export.rategrid import sample
from geoseg.export.shapefile import to_lonlat
from geoseg.spray import SprayConfig
from geoseg.spray.prescription import plan
from spray_helpers import fields_of_any_shape, paint, plan_of_two_spots, rectangle, write_classes

GRIDS = ("isoxml", "isoxml_v4", "isoxml_codes")
ALL = (*GRIDS, "isoxml_zones")


@pytest.fixture(scope="module")
def prescription(tmp_path_factory):
    return plan_of_two_spots(tmp_path_factory.mktemp("spots"))


@pytest.fixture(scope="module")
def whole(prescription, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    for profile in ALL:
        export.write(prescription, folder / profile, profile)
    return folder


@pytest.fixture
def copy(whole, tmp_path):
    shutil.copytree(whole / "isoxml", tmp_path / "copy")
    return tmp_path / "copy" / "TASKDATA" / "TASKDATA.XML"


def one(report):
    return report.files[0]


def decoded(folder):
    """South, west, steps and rates upward from the south, by this test's own reading of the standard."""
    root = ET.fromstring((folder / "TASKDATA.XML").read_text())
    about = root.find("TSK/GRD").attrib
    shape = int(about["F"]), int(about["E"])
    data = (folder / "GRD00001.bin").read_bytes()
    assert len(data) == int(about["H"])
    if about["I"] == "2":
        rates = np.frombuffer(data, "<i4").reshape(shape) / 1e4
    else:
        zones = {int(zone.get("A")): int(zone.find("PDV").get("B")) / 1e4 for zone in root.iter("TZN")}
        rates = np.vectorize(zones.get)(np.frombuffer(data, "u1").reshape(shape))
    return *(float(about[name]) for name in "ABCD"), rates


@pytest.mark.parametrize("profile", GRIDS)
def test_every_cell_that_meets_treated_ground_is_treated_and_no_other(whole, prescription, profile):
    south, west, step_lat, step_lon, rates = decoded(whole / profile / "TASKDATA")
    rows, cols = np.mgrid[: rates.shape[0], : rates.shape[1]]
    corners = [
        (west + (cols + i) * step_lon, south + (rows + j) * step_lat) for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))
    ]
    cells = shapely.polygons(np.stack([np.stack(corner, -1) for corner in corners], axis=-2))
    zones = prescription.zones
    treated = zones.geometry[zones.rate_l_ha > 0].to_crs(4326).union_all()
    meets = shapely.intersects(cells, treated)
    assert meets.any()
    np.testing.assert_array_equal(np.where(meets, 200.0, 0.0), rates)


@pytest.mark.parametrize("profile", ALL)
def test_what_was_written_reads_back_without_a_finding(whole, prescription, profile):
    report = one(export.check(whole / profile, prescription))
    assert report.findings == ()
    assert report.facts["version"] == ("3.3" if profile in ("isoxml", "isoxml_codes") else "4.3")
    assert [report.facts[f"{name}_rate"] for name in ("default", "position-lost", "out-of-field")] == ["0 l/ha"] * 3


@pytest.mark.parametrize("profile", GRIDS)
def test_totals_come_from_the_cells_in_the_file(whole, prescription, profile):
    facts = one(export.check(whole / profile, prescription)).facts
    rates = decoded(whole / profile / "TASKDATA")[-1]
    cell_m2 = 0.25**2
    assert facts["treated_ha"] == pytest.approx((rates > 0).sum() * cell_m2 / 1e4, rel=2e-3)
    assert facts["litres"] == pytest.approx(rates.sum() * cell_m2 / 1e4, rel=2e-3)
    assert facts["under_treated_m2"] == 0
    over = 1e4 * (facts["treated_ha"] - prescription.totals.treated_ha)
    assert facts["over_treated_m2"] == pytest.approx(over, rel=0.02)
    assert 0 < facts["over_treated_m2"] < facts["over_treated_bound_m2"]


def test_zones_follow_the_machine_and_agree_with_the_plan(whole, prescription):
    facts = one(export.check(whole / "isoxml_zones", prescription)).facts
    assert abs(facts["litres_difference_percent"]) < 0.001
    assert facts["edges_shared"] is True


def test_the_readme_says_what_the_grid_sprays_and_how_it_differs(whole):
    text = (whole / "isoxml" / "README.txt").read_text()
    assert "treated too little  0.0 m2" in text
    assert "percent to the plan" in text
    assert "COARSER" not in text
    assert "COLUMNS" not in text


@pytest.mark.parametrize("profile", ALL)
def test_names_and_numbers_are_ascii_and_the_same_every_time(whole, prescription, profile, tmp_path):
    export.write(prescription, tmp_path, profile)
    for file in sorted((whole / profile / "TASKDATA").iterdir()):
        assert (tmp_path / "TASKDATA" / file.name).read_bytes() == file.read_bytes()
    root = ET.parse(tmp_path / "TASKDATA" / "TASKDATA.XML").getroot()
    for element in root.iter():
        assert all(value.isascii() for value in element.attrib.values())
        assert all(
            "e" not in value.lower()
            for name, value in element.attrib.items()
            if element.tag in ("PNT", "GRD") and name in "ABCD"
        )


def test_files_of_another_kind_do_not_stay_behind(prescription, tmp_path):
    export.write(prescription, tmp_path, "isoxml")
    files = export.write(prescription, tmp_path, "isoxml_zones").files
    assert sorted(file.name for file in tmp_path.rglob("*") if file.is_file()) == ["README.txt", "TASKDATA.XML"]
    assert [file.name for file in files] == ["TASKDATA.XML", "README.txt"]


def test_too_many_cells_make_a_coarser_grid_that_loses_nothing(prescription, tmp_path):
    terminal = export.read_profile("isoxml")
    few = dataclasses.replace(terminal.limits["cells"], value=1500)
    coarse = dataclasses.replace(terminal, limits=terminal.limits | {"cells": few})
    with pytest.warns(GeosegWarning, match="at most 1,500 cells"):
        written = export.write(prescription, tmp_path, coarse)
    facts = one(export.check(tmp_path, prescription, profile=coarse)).facts
    assert 900 < facts["grid_rows"] * facts["grid_columns"] <= 1500
    assert facts["under_treated_m2"] == written.loss.under_treated_m2 == 0
    assert facts["over_treated_m2"] == written.loss.over_treated_m2 > 20
    assert facts["litres_difference_percent"] > 25
    assert "THE GRID IS COARSER THAN THE MACHINE'S CELLS" in (tmp_path / "README.txt").read_text()
    with pytest.raises(PrescriptionError, match="at most 3 cells"):
        sample(prescription, 3)


def test_a_rate_beyond_the_format_is_refused(tmp_path):
    path = write_classes(tmp_path / "classes.tif", paint((200, 200), 0.05, lambda x, y: x < 3))
    extreme = plan(path, rectangle(10, 10), SprayConfig(heading_deg=0))
    extreme.zones["rate_l_ha"] *= 1100
    with pytest.raises(PrescriptionError, match=r"too large for ISOXML; it takes at most 214,748"):
        export.write(extreme, tmp_path / "out", "isoxml")
    assert not (tmp_path / "out" / "TASKDATA").exists()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(field=fields_of_any_shape(), heading=st.floats(0, 180), seed=st.integers(0, 99))
def test_no_treated_ground_is_lost_in_any_field(tmp_path, field, heading, seed):
    rng = np.random.default_rng(seed)
    pixels = np.where(rng.random((100, 100)) < 0.02, 2, 0).astype(np.uint8)
    path = write_classes(tmp_path / "classes.tif", np.kron(pixels, np.ones((4, 4), np.uint8)), 0.1)
    wide = plan(path, field, SprayConfig(heading_deg=heading, section_m=1.0))
    grid = sample(wide, None)
    box_cells = shapely.box(*_edges(grid))
    treated = shapely.union_all(
        to_lonlat(np.asarray(wide.zones.geometry[wide.zones.rate_l_ha > 0].values), wide.zones.crs)
    )
    lost = shapely.area(shapely.intersection(box_cells[grid.rates == 0], treated)).sum()
    assert lost * 1.1e5**2 < 1e-3
    assert grid.rates.max() in (0, 200)


def _edges(grid):
    rows, cols = np.mgrid[: grid.rates.shape[0], : grid.rates.shape[1]]
    west, north = grid.west + cols * grid.step_lon, grid.north - rows * grid.step_lat
    return west, north - grid.step_lat, west + grid.step_lon, north


# Faults ---------------------------------------------------------------------------------------------------------------


def edit(path, change):
    tree = ET.parse(path)
    change(tree.getroot())
    tree.write(path, encoding="UTF-8", xml_declaration=True)


def put(xpath, **attributes):
    def change(root):
        for name, value in attributes.items():
            root.find(xpath).set(name, value)

    return lambda path: edit(path, change)


def drop(xpath, name):
    return lambda path: edit(path, lambda root: root.find(xpath).attrib.pop(name))


def again(xpath, parent="."):
    return lambda path: edit(path, lambda root: root.find(parent).append(root.find(xpath)))


def swap(root):
    about = root.find("TSK/GRD").attrib
    about["E"], about["F"] = about["F"], about["E"]


def upside_down(path):
    rows = int(ET.parse(path).find("TSK/GRD").get("F"))
    file = path.with_name("GRD00001.bin")
    file.write_bytes(np.frombuffer(file.read_bytes(), "<i4").reshape(rows, -1)[::-1].tobytes())


def other_bytes(change):
    def damage(path):
        file = path.with_name("GRD00001.bin")
        file.write_bytes(change(file.read_bytes()))

    return damage


def with_rates(change):
    return other_bytes(lambda data: change(np.frombuffer(data, "<i4").copy()).astype("<i4").tobytes())


def add_exterior(path):
    def change(root):
        outline = root.find("PFD/PLN")
        outline.append(outline.find("LSG"))
        root.set("VersionMajor", "4")

    edit(path, change)


FAULTS = {
    "grid-bytes": other_bytes(lambda data: data[:-7]),
    "grid-length": put("TSK/GRD", H="12"),
    "grid-missing": lambda path: path.with_name("GRD00001.bin").unlink(),
    "attribute-missing": drop("PFD", "D"),
    "zone-code": put("TSK/TZN[4]", A="255"),
    "grid-place": put("TSK/GRD", C="10"),
    "reference": put("TSK", E="PFD9"),
    "grid-field": lambda path: edit(path, swap),
    "grid-zone": drop("TSK/GRD", "J"),
    "grid-several": again("TSK/GRD", "TSK"),
    "polygon-exterior": add_exterior,
    "zone-duplicate": put("TSK/TZN[4]", A="2"),
    "zone-missing": put("TSK", H="77"),
    "id-duplicate": again("VPN"),
    "id-form": put("PDT", A="SPRAY1"),
    "designator": put("TSK", B="X" * 33),
    "raw-range": put("TSK/TZN/PDV", B=str(2**31)),
    "ddi": put("TSK/TZN/PDV", A="volume"),
    "rate-negative": with_rates(lambda raw: np.where(raw > 0, -1, raw)),
    "rate-changed": with_rates(lambda raw: np.where(raw > 0, 2_500_000, raw)),
    "under-treated": upside_down,
    "over-treated": with_rates(lambda raw: np.full_like(raw, 2_000_000)),
    "grid-type": put("TSK/GRD", I="3"),
    "grid-file": put("TSK/GRD", G="../../AB"),
    "grid-size": put("TSK/GRD", E="999999999", F="999999999"),
    "version": put(".", VersionMajor="7"),
    "not-isoxml": lambda path: path.write_text("<html/>"),
    "not-degrees": put("PFD/PLN/LSG/PNT", C="5334567.2"),
    "polygon-points": lambda path: edit(
        path, lambda root: [root.find("PFD/PLN/LSG").remove(p) for p in root.findall("PFD/PLN/LSG/PNT")[2:]]
    ),
    "unreadable": lambda path: path.write_bytes(path.read_bytes()[:-30]),
}

WARNINGS = {
    "grid-case": lambda path: path.with_name("GRD00001.bin").rename(path.with_name("GRD00001.BIN")),
    "grid-no-length": drop("TSK/GRD", "H"),
    "fallback-missing": drop("TSK", "I"),
    "fallback-rate": put("TSK/TZN/PDV", B="1000000"),
    "designator-ascii": put("TSK", B="Rübe"),
    "point-type": put("PFD/PLN/LSG/PNT", A="10"),
    "id-negative": lambda path: path.write_text(path.read_text().replace("VPN1", "VPN-1")),
    "no-boundary": lambda path: edit(path, lambda root: root.find("PFD").remove(root.find("PFD/PLN"))),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(copy, prescription, fault):
    FAULTS[fault](copy)
    assert fault in export.check(copy, prescription, strict=False).codes
    with pytest.raises(CheckError, match=fault):
        export.check(copy, prescription)


@pytest.mark.parametrize("fault", WARNINGS)
def test_a_doubt_is_named(copy, prescription, fault):
    WARNINGS[fault](copy)
    assert fault in [finding.code for finding in one(export.check(copy, prescription, strict=False)).findings]


def test_a_grid_without_rates_where_some_are_planned_is_named(copy, prescription):
    edit(copy, lambda root: [value.set("A", "0006") for value in root.iter("PDV")])
    assert export.check(copy, prescription, strict=False).codes == ("no-rate",)


def test_codes_without_a_zone_are_named(whole, prescription, tmp_path):
    shutil.copytree(whole / "isoxml_codes", tmp_path / "copy")
    file = tmp_path / "copy" / "TASKDATA" / "GRD00001.bin"
    file.write_bytes(file.read_bytes().replace(b"\x04", b"\x63"))
    report = export.check(tmp_path / "copy", prescription, strict=False)
    assert {"zone-missing", "under-treated"} <= set(report.codes)


def test_half_a_cell_to_the_side_is_too_much(copy, prescription):
    def shift(root):
        about = root.find("TSK/GRD").attrib
        about["B"] = f"{float(about['B']) + float(about['D']) / 2:.9f}"

    edit(copy, shift)
    assert export.check(copy, prescription, strict=False).codes == ("under-treated",)


# Hostile files --------------------------------------------------------------------------------------------------------

BOMB = """<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<ISO11783_TaskData VersionMajor="3" VersionMinor="3"><CTR A="CTR1" B="&b;"/></ISO11783_TaskData>"""
OUTSIDE = '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><ISO11783_TaskData>&f;</ISO11783_TaskData>'


@pytest.mark.parametrize(
    "data", [BOMB.encode(), OUTSIDE.encode(), BOMB.replace('"1.0"', '"1.0" encoding="utf-16"').encode("utf-16")]
)
def test_entities_are_refused_unexpanded(tmp_path, data):
    (tmp_path / "TASKDATA.XML").write_bytes(data)
    assert export.check(tmp_path, strict=False).codes == ("xml-doctype",)


def test_depth_and_size_are_bounded(tmp_path, monkeypatch):
    path = tmp_path / "TASKDATA.XML"
    path.write_text("<A>" * 100_000)
    assert export.check(path, strict=False).codes == ("xml-depth",)
    monkeypatch.setattr(safexml, "_MOST_BYTES", 1000)
    assert export.check(path, strict=False).codes == ("xml-size",)


def test_a_huge_grid_is_never_made(copy, monkeypatch):
    put("TSK/GRD", E="50000", F="50000")(copy)
    monkeypatch.setattr(isoxml_reader.np, "frombuffer", lambda *_: pytest.fail("decoded"))
    assert export.check(copy, strict=False).codes == ("grid-size",)


@pytest.mark.parametrize("name", ["../TASKDATA.XML", "/TASKDATA/TASKDATA.XML", "..\\TASKDATA.XML"])
def test_zips_that_climb_out_are_refused(copy, tmp_path, name):
    path = tmp_path / "TASKDATA.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(copy, "TASKDATA/TASKDATA.XML")
        archive.writestr(name, b"<x/>")
    assert export.check(path, strict=False).codes == ("zip-path",)


def test_zipped_task_data_is_read(whole, prescription, tmp_path):
    path = tmp_path / "TASKDATA.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in (whole / "isoxml" / "TASKDATA").iterdir():
            archive.write(file, f"TASKDATA/{file.name}")
    report = one(export.check(path, prescription))
    assert report.format == "ISOXML in a zip"
    assert report.facts["under_treated_m2"] == 0


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(file=st.sampled_from(["TASKDATA.XML", "GRD00001.bin"]), seed=st.integers(0, 2**32 - 1), cut=st.booleans())
def test_damaged_bytes_never_crash_the_checker(whole, prescription, tmp_path, file, seed, cut):
    folder = tmp_path / "fuzz"
    shutil.copytree(whole / "isoxml", folder, dirs_exist_ok=True)
    rng = np.random.default_rng(seed)
    path = folder / "TASKDATA" / file
    data = bytearray(path.read_bytes())
    for at in rng.integers(0, len(data), rng.integers(1, 8)):
        data[at] = rng.integers(32, 127)
    path.write_bytes(bytes(data[: rng.integers(0, len(data))] if cut else data))
    assert list(export.check(folder, prescription, strict=False).lines())


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_attributes_of_any_content_never_crash_the_checker(whole, prescription, tmp_path, data):
    profile = data.draw(st.sampled_from(ALL))
    folder = tmp_path / "fuzz"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole / profile, folder)
    path = folder / "TASKDATA" / "TASKDATA.XML"
    tree = ET.parse(path)
    elements = [element for element in tree.iter() if element.tag != "PNT"][:40] + list(tree.iter("PNT"))[:4]
    for _ in range(data.draw(st.integers(1, 3))):
        element = data.draw(st.sampled_from(elements))
        name = data.draw(st.sampled_from(sorted(element.attrib) or ["A"]))
        values = ["", "-1", "0", "1e400", "nan", "inf", "²", "٣", "99999999999999999999", "1e-320", "0001", "FFFF", "3"]
        element.set(name, data.draw(st.sampled_from(values)))
    tree.write(path, encoding="UTF-8")
    assert list(export.check(folder, prescription, strict=False).lines())


# Real files and other readers -----------------------------------------------------------------------------------------


def test_a_real_grid_of_a_farm_system_is_read(fields):
    report = one(export.check(fields / "references/isoxml/v3/grid_type_2/TASKDATA.XML"))
    assert report.findings == ()
    assert (report.facts["grid_rows"], report.facts["grid_columns"]) == (178, 236)
    assert report.facts["cell_m"] == pytest.approx([0.83, 1.24], abs=0.01)
    assert report.facts["task"] == "BH-Feld"


def test_a_real_file_with_points_of_the_wrong_version_is_read(fields):
    report = one(export.check(fields / "references/isoxml/v3/onesoil_demo", strict=False))
    found = {finding.code for finding in report.findings}
    assert {"point-type", "several-tasks", "grid-no-length"} <= found
    assert report.facts["grid_rows"] == 81
    assert report.facts["tasks"] == 3


@pytest.mark.parametrize("name", ["fertilizer_map_1", "fertilizer_map_2", "seeding"])
def test_real_zones_in_kilograms_are_no_litres(fields, name):
    report = one(export.check(fields / "references/isoxml/v4_farmdoc" / name, strict=False))
    assert report.facts["version"] == "4.3"
    found = {finding.code for finding in report.findings}
    assert found == {"no-rate", "fallback-rate"} | ({"designator-ascii"} if name != "seeding" else set())


def test_a_real_field_without_a_task_is_read(fields):
    report = one(export.check(fields / "references/isoxml/v4_farmdoc/field_export", strict=False))
    assert [finding.code for finding in report.findings] == ["no-task"]


@pytest.mark.parametrize("profile", ALL)
def test_the_reader_of_josephinum_sees_the_same(whole, profile):
    pytest.importorskip("isoxml", reason="PyPI isoxml is not installed")
    from isoxml.converter.np_grid import to_numpy_array
    from isoxml.util.isoxml_io import isoxml_from_path

    task_data, references = isoxml_from_path(whole / profile / "TASKDATA" / "TASKDATA.XML")
    task = task_data.tasks[0]
    values = [zone.process_data_variables[0].process_data_value for zone in task.treatment_zones]
    assert values[:3] == [0, 0, 0]
    if profile == "isoxml_zones":
        assert values[3:] == [0, 2_000_000]
        assert [len(zone.polygons) for zone in task.treatment_zones] == [0, 0, 0, 1, 2]
        return
    seen = to_numpy_array(references[task.grids[0].filename], task.grids[0])
    raw = np.array(values)[seen] if profile == "isoxml_codes" else seen
    np.testing.assert_array_equal(raw / 1e4, decoded(whole / profile / "TASKDATA")[-1])


NODE = """
const fs = require('fs'), {ISOXMLManager} = require('isoxml');
(async () => {
  const manager = new ISOXMLManager();
  await manager.parseISOXMLFile(new Uint8Array(fs.readFileSync(process.argv[2])), 'application/zip');
  const task = manager.rootElement.attributes.Task[0], grid = (task.attributes.Grid || [])[0];
  const cells = grid && String(grid.attributes.GridType) === '2' ? grid.toGeoJSON(['raw']).features : null;
  console.log(JSON.stringify({warnings: manager.getWarnings(), zones: task.attributes.TreatmentZone.length,
    cells: cells && cells.map(cell => [...cell.geometry.coordinates[0][0], cell.properties.raw])}));
})().catch(error => { console.error(error); process.exit(1); });
"""


@pytest.mark.parametrize("profile", ALL)
def test_the_reader_of_dev4agriculture_sees_the_same_without_a_warning(whole, tmp_path, profile):
    node = shutil.which("node")
    if node is None or subprocess.run([node, "-e", "require('isoxml')"], capture_output=True, check=False).returncode:
        pytest.skip("the npm package isoxml is not installed")
    script, packed = tmp_path / "read.js", tmp_path / "TASKDATA.zip"
    script.write_text(NODE)
    with zipfile.ZipFile(packed, "w") as archive:
        for file in (whole / profile / "TASKDATA").iterdir():
            archive.write(file, f"TASKDATA/{file.name}")
    done = subprocess.run([node, str(script), str(packed)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["warnings"] == []
    assert seen["zones"] == (4 if profile in ("isoxml", "isoxml_v4") else 5)
    if profile not in ("isoxml", "isoxml_v4"):
        return
    south, west, step_lat, step_lon, rates = decoded(whole / profile / "TASKDATA")
    again = np.zeros_like(rates)
    for lon, lat, raw in seen["cells"]:
        again[round((lat - south) / step_lat), round((lon - west) / step_lon)] = raw / 1e4
    np.testing.assert_array_equal(again, rates)
