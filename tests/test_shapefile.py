from __future__ import annotations

import dataclasses
import itertools
import struct
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapefile
import shapely
from pyproj import Geod

from geoseg import export
from geoseg.errors import PrescriptionError
from geoseg.export.shapefile import WGS84_PRJ
from geoseg.spray import SprayConfig
from geoseg.spray.prescription import plan
from spray_helpers import EAST, NORTH, paint, rectangle, write_classes


@pytest.fixture(scope="module")
def prescription(tmp_path_factory):
    """A field of 30 x 40 m with a ring of weeds, so that there are holes in holes, cells turned by 27 degrees."""
    ring = paint((800, 600), 0.05, lambda x, y: abs(np.hypot(x - 14, y - 20) - 8) < 1)
    path = write_classes(tmp_path_factory.mktemp("ring") / "classes.tif", ring)
    return plan(path, rectangle(30, 40), SprayConfig(rate_l_ha=187.5, heading_deg=27))


@pytest.fixture(scope="module")
def written(prescription, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    export.write(prescription, folder)
    return folder / "SPRAY.shp"


def rings_in_bytes(path):
    """(record, ring) in the order of the bytes, read with struct alone."""
    data = path.read_bytes()
    at, nth = 100, 0
    while at < len(data):
        number, words = struct.unpack(">2i", data[at : at + 8])
        kind, parts, points = struct.unpack("<i32x2i", data[at + 8 : at + 52])
        assert (number, kind) == (nth + 1, 5)
        starts = [*struct.unpack(f"<{parts}i", data[at + 52 : at + 52 + 4 * parts]), points]
        numbers = struct.unpack(f"<{2 * points}d", data[at + 52 + 4 * parts : at + 8 + 2 * words])
        xy = np.array(numbers).reshape(-1, 2)
        yield nth, [xy[a:b] for a, b in itertools.pairwise(starts)]
        at, nth = at + 8 + 2 * words, nth + 1


def signed_area(ring):
    x, y = (ring - ring[0]).T
    return float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) / 2)


def test_all_files_are_there_and_no_draft_is_left(written):
    names = sorted(path.name for path in written.parent.iterdir())
    assert names == ["README.txt", "SPRAY.cpg", "SPRAY.dbf", "SPRAY.prj", "SPRAY.qml", "SPRAY.shp", "SPRAY.shx"]


def test_the_header_says_polygon_without_height_or_measure(written):
    data = written.read_bytes()
    assert struct.unpack(">i", data[:4])[0] == 9994
    assert 2 * struct.unpack(">i", data[24:28])[0] == len(data)
    assert struct.unpack("<2i", data[28:36]) == (1000, 5)


def test_shells_run_clockwise_and_holes_counter_clockwise(written, prescription):
    holes = 0
    for nth, rings in rings_in_bytes(written):
        assert signed_area(rings[0]) < 0, f"record {nth} begins with a hole"
        assert all(signed_area(ring) > 0 for ring in rings[1:])
        assert all((ring[0] == ring[-1]).all() for ring in rings)
        holes += len(rings) - 1
    assert nth + 1 == len(prescription.zones)
    assert holes >= 2


def test_the_table_has_the_stated_widths_in_its_header(written):
    data = written.with_suffix(".dbf").read_bytes()
    fields = {}
    for at in range(32, struct.unpack("<H", data[8:10])[0] - 1, 32):
        name = data[at : at + 11].split(b"\0")[0].decode("ascii")
        fields[name] = (chr(data[at + 11]), data[at + 16], data[at + 17])
    assert fields == {"RATE": ("N", 8, 2), "L_P_HA": ("N", 8, 2), "ZONE": ("N", 9, 0), "AREA_M2": ("N", 12, 2)}


def test_two_independent_readers_agree_with_the_plan(written, prescription):
    frame = pyogrio.read_dataframe(written)
    with shapefile.Reader(str(written)) as reader:
        records, shapes = reader.records(), reader.shapes()
    zones = prescription.zones
    assert len(frame) == len(records) == len(zones)
    for column, planned in (("RATE", zones.rate_l_ha), ("L_P_HA", zones.rate_l_ha), ("ZONE", zones.zone)):
        assert frame[column].tolist() == [record[column] for record in records] == planned.tolist()
    assert frame.AREA_M2.to_numpy() == pytest.approx(zones.area_m2.to_numpy(), abs=0.0051)
    assert frame.crs.to_epsg() == 4326
    other = gpd.GeoSeries([shapely.geometry.shape(shape.__geo_interface__) for shape in shapes], crs=4326)
    for polygons in (frame.geometry, other):
        back = polygons.to_crs(zones.crs)
        assert back.symmetric_difference(zones.geometry).area.max() < 1e-5
        assert back.area.sum() == pytest.approx(prescription.boundary.area, rel=1e-8)


def test_the_cells_run_along_the_heading_on_the_ground(tmp_path):
    strip = paint(
        (1200, 1200),
        0.05,
        lambda x, y: abs((x - 30) * np.cos(np.radians(27)) - (y - 30) * np.sin(np.radians(27))) < 0.05,
    )
    path = write_classes(tmp_path / "classes.tif", strip)
    found = plan(path, rectangle(60, 60), SprayConfig(heading_deg=27, buffer_m=0, threshold_cover=0))
    export.write(found, tmp_path / "out")
    frame = pyogrio.read_dataframe(tmp_path / "out" / "SPRAY.shp", where="RATE > 0")
    sides = []
    for polygon in frame.geometry:
        points = shapely.get_coordinates(polygon.exterior)
        for (lon0, lat0), (lon1, lat1) in itertools.pairwise(points):
            azimuth, _, length = Geod(ellps="WGS84").inv(lon0, lat0, lon1, lat1)
            sides.append((length, azimuth % 180))
    length, azimuth = max(sides)
    assert length > 40
    assert azimuth == pytest.approx(found.true_heading_deg, abs=0.005)
    assert azimuth == pytest.approx(27 + 1.92, abs=0.05)


def test_the_projection_is_what_esri_calls_wgs84(written):
    from pyproj import CRS

    assert written.with_suffix(".prj").read_text() == WGS84_PRJ
    assert CRS.from_wkt(WGS84_PRJ).equals(CRS(4326), ignore_axis_order=True)
    assert written.with_suffix(".cpg").read_text() == "UTF-8"


def test_the_readme_says_what_a_person_needs(written, prescription):
    text = (written.parent / "README.txt").read_bytes().decode("ascii")
    assert text.count("\r\n") == text.count("\n")
    for part in ("NOT TESTED ON A TERMINAL", "187.5 l/ha", "litres per hectare", "RATE", "HOW TO LOAD", "rate 0"):
        assert part in text
    assert f"{prescription.totals.litres:.1f} litres" in text
    assert f"{prescription.true_heading_deg:.3f} degrees from true north" in text


def test_an_export_over_an_older_one_leaves_no_trace_of_it(prescription, tmp_path):
    for _ in range(2):
        export.write(prescription, tmp_path)
    assert export.check(tmp_path, prescription).ok
    assert len(list(tmp_path.iterdir())) == 7


def test_a_failed_export_leaves_nothing(prescription, tmp_path, monkeypatch):
    write = Path.write_bytes

    def full(self, data):
        if self.suffix == ".shx":
            raise OSError(28, "No space left on device")
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        export.write(prescription, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["spray", "TOO_LONG_A_NAME", "A B", "FELDÄ", "", "../X"])
def test_names_that_terminals_refuse_are_refused(prescription, tmp_path, name):
    with pytest.raises(PrescriptionError, match="at most 8 ASCII capitals"):
        export.write(prescription, tmp_path, name=name)
    assert not list(tmp_path.iterdir())


def test_an_invented_position_is_refused_unless_forced(prescription, tmp_path):
    with pytest.raises(PrescriptionError, match="position of this map is nominal"):
        export.write(prescription, tmp_path, nominal=True)
    assert export.write(prescription, tmp_path, nominal=True, force=True)


def test_an_unknown_profile_is_refused_with_those_there_are(prescription, tmp_path):
    with pytest.raises(PrescriptionError, match="no export profile 'nobody'; the profiles are generic, deere"):
        export.write(prescription, tmp_path, "nobody")


def test_a_rate_that_the_column_would_change_is_refused(prescription, tmp_path):
    for rate, message in ((0.001, "cannot be written with 2 decimals"), (123456.0, "does not fit the column RATE")):
        zones = prescription.zones.assign(rate_l_ha=rate)
        with pytest.raises(PrescriptionError, match=message):
            export.write(dataclasses.replace(prescription, zones=zones), tmp_path)


def test_the_area_on_the_plane_against_the_ellipsoid(written, prescription):
    ground = sum(
        abs(Geod(ellps="WGS84").geometry_area_perimeter(p)[0]) for p in pyogrio.read_dataframe(written).geometry
    )
    plane = prescription.totals.field_ha * 1e4
    assert plane / ground - 1 == pytest.approx(0.9996**2 * (1 + ((EAST - 5e5) / 6.38e6) ** 2) - 1, abs=2e-5)
    assert NORTH > 0
