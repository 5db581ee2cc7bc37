from __future__ import annotations

import json
import shutil
import struct
import zipfile

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapefile
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyproj import CRS

from geoseg import export
from geoseg.errors import CheckError, PrescriptionError
from spray_helpers import plan_of_two_spots


@pytest.fixture(scope="module")
def prescription(tmp_path_factory):
    return plan_of_two_spots(tmp_path_factory.mktemp("spots"))


@pytest.fixture(scope="module")
def whole(prescription, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    export.write(prescription, folder)
    return folder


@pytest.fixture
def copy(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "copy")
    return tmp_path / "copy" / "SPRAY.shp"


def rewrite(path, change):
    """Write the file again as `change(frame)` has it, with pyshp and the orientation as given."""
    frame = pyogrio.read_dataframe(path)
    frame = change(frame.set_geometry(shapely.orient_polygons(frame.geometry.values, exterior_cw=True)))
    with shapefile.Writer(str(path), shapeType=5) as writer:
        writer.field("RATE", "N", 8, 2)
        writer.field("L_P_HA", "N", 8, 2)
        writer.field("ZONE", "N", 9, 0)
        for row in frame.itertuples():
            writer.poly([shapely.get_coordinates(ring).tolist() for ring in shapely.get_rings(row.geometry)])
            writer.record(row.RATE, row.L_P_HA, row.ZONE)


def with_rate(frame, rate, columns=("RATE", "L_P_HA")):
    frame.loc[frame.index[frame.RATE > 0][0], list(columns)] = rate
    return frame


def moved(frame, east_m=0.0):
    metric = frame.to_crs(32632)
    return metric.set_geometry(metric.translate(east_m)).to_crs(4326)


def swapped(frame):
    return frame.set_geometry(shapely.transform(frame.geometry.values, lambda points: points[:, ::-1]))


def scaled(frame, factor):
    return frame.set_geometry(frame.scale(factor, factor, origin=frame.union_all().centroid))


def cut(path, part, keep):
    target = path.with_suffix(part)
    target.write_bytes(target.read_bytes()[:keep])


def patch(path, part, at, data):
    target = path.with_suffix(part)
    whole = bytearray(target.read_bytes())
    whole[at : at + len(data)] = data
    target.write_bytes(bytes(whole))


REWRITES = {
    "rate-changed": lambda f: with_rate(f, 150.0),
    "rate-copies": lambda f: with_rate(f, 150.0, ("RATE",)),
    "rate-negative": lambda f: with_rate(f, -5.0),
    "polygons-missing": lambda f: f.iloc[:-1],
    "gaps": lambda f: f.iloc[:-1],
    "outside-field": lambda f: moved(f, 1.0),
    "geometry-changed": lambda f: moved(f, 0.01),
    "axes-swapped": swapped,
    "overlap": lambda f: gpd.GeoDataFrame(np.repeat(f.values, 2, axis=0), columns=f.columns, crs=f.crs),
    "field-ha": lambda f: scaled(f, 1.001),
    "litres": lambda f: with_rate(f, 0.0),
    "treated-ha": lambda f: with_rate(f, 0.0),
    "not-degrees": lambda f: f.to_crs(32632),
    "ring-order": lambda f: f.set_geometry(shapely.reverse(f.geometry.values)),
    "invalid-polygons": lambda f: f.set_geometry(
        [shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)][::-1]), *f.geometry[1:]]
    ),
}

DAMAGE = {
    "missing-prj": lambda p: p.with_suffix(".prj").unlink(),
    "crs": lambda p: p.with_suffix(".prj").write_text(CRS(4267).to_wkt("WKT1_ESRI")),
    "missing-dbf": lambda p: p.with_suffix(".dbf").unlink(),
    "missing-shx": lambda p: p.with_suffix(".shx").unlink(),
    "dbf-truncated": lambda p: cut(p, ".dbf", -40),
    "shp-truncated": lambda p: cut(p, ".shp", -100),
    "shp-length": lambda p: cut(p, ".shp", -100),
    "shx-count": lambda p: cut(p, ".shx", -8),
    "dbf-count": lambda p: patch(p, ".dbf", 4, struct.pack("<I", 1)),
    "dbf-header": lambda p: cut(p, ".dbf", 20),
    "shape-type": lambda p: patch(p, ".shp", 32, struct.pack("<i", 15)),
    "not-a-shapefile": lambda p: p.write_bytes(b"nothing of the kind"),
    "rate-missing": lambda p: patch(p, ".dbf", 32 * 5 + 2, b"********"),
    "no-rate-column": lambda p: [patch(p, ".dbf", 32 + 32 * n + 11, b"C") for n in range(4)],
    "unreadable": lambda p: p.write_bytes(b""),
}


def test_what_was_written_reads_back_as_planned(whole, prescription):
    report = export.check(whole, prescription)
    assert report.ok
    facts = report.files[0].facts
    assert facts["overlap_m2"] == 0
    assert facts["edges_shared"] is True
    assert facts["gaps_m2"] < 1e-4
    assert facts["outside_m2"] < 1e-4
    assert abs(facts["litres_difference_percent"]) < 1e-6
    assert facts["litres"] == pytest.approx(prescription.totals.litres)


@pytest.mark.parametrize("fault", REWRITES)
def test_a_changed_file_is_named(copy, prescription, fault):
    rewrite(copy, REWRITES[fault])
    report = export.check(copy, prescription, strict=False)
    assert fault in report.codes
    with pytest.raises(CheckError, match=fault):
        export.check(copy, prescription)


@pytest.mark.parametrize("fault", DAMAGE)
def test_a_damaged_file_is_named(copy, prescription, fault):
    DAMAGE[fault](copy)
    assert fault in export.check(copy, prescription, strict=False).codes


def test_without_a_plan_the_boundary_is_compared(whole, prescription):
    field = gpd.GeoSeries([prescription.boundary], crs=prescription.zones.crs)
    assert export.check(whole, boundary=field.to_crs(4326)).ok
    report = export.check(whole, boundary=field.buffer(1), strict=False)
    assert report.codes == ("gaps",)


def test_without_anything_to_compare_the_file_itself_is_checked(whole, prescription):
    facts = export.check(whole).files[0].facts
    assert facts["field_ha"] == pytest.approx(prescription.totals.field_ha, rel=2e-3)
    assert facts["rates_l_ha"] == [0, 200]


def test_the_report_is_for_people_and_for_programs(copy, prescription):
    report = export.check(copy, prescription)
    assert "OK" in list(report.lines())[-1]
    assert json.loads(json.dumps(report.to_dict()))["ok"] is True
    rewrite(copy, REWRITES["rate-changed"])
    report = export.check(copy, prescription, strict=False)
    assert any("ERROR rate-changed" in line and "zone 1 has 150, planned 200" in line for line in report.lines())
    assert json.loads(json.dumps(report.to_dict()))["ok"] is False


def test_nothing_to_check_is_an_error(tmp_path):
    for path in (tmp_path, tmp_path / "none.shp"):
        with pytest.raises(PrescriptionError, match="no prescription at"):
            export.check(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(part=st.sampled_from([".shp", ".shx", ".dbf", ".prj"]), seed=st.integers(0, 2**32 - 1), cuts=st.booleans())
def test_damaged_bytes_never_crash_the_checker(whole, prescription, tmp_path, part, seed, cuts):
    target = tmp_path / "fuzz"
    shutil.copytree(whole, target, dirs_exist_ok=True)
    rng = np.random.default_rng(seed)
    file = target / f"SPRAY{part}"
    data = bytearray(file.read_bytes())
    for at in rng.integers(0, min(len(data), 400), rng.integers(1, 6)):
        data[at] = rng.integers(0, 256)
    file.write_bytes(bytes(data[: rng.integers(0, len(data))] if cuts else data))
    report = export.check(target, prescription, strict=False)
    assert list(report.lines())


def test_a_real_prescription_of_john_deere_is_read_and_reported(fields, tmp_path):
    with zipfile.ZipFile(fields / "references" / "deere_prescription" / "prescription.zip") as archive:
        archive.extractall(tmp_path)
    report = export.check(tmp_path, strict=False)
    facts = report.files[0].facts
    assert facts["records"] == facts["polygons"] == 22439
    assert facts["rate_column"] == "rate"
    assert facts["crs"] == "EPSG:4326"
    assert facts["shape_type"] == "Polygon (5)"
