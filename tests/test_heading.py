from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import shapely
from pyproj import Geod, Proj, Transformer

from geoseg.errors import PrescriptionError
from geoseg.spray import SprayConfig
from geoseg.spray.grid import heading_of
from geoseg.spray.heading import choose_heading, read_ab_line
from spray_helpers import EAST, NORTH, UTM, rectangle


def line_at(degrees, length=150.0, points=2):
    """A line on the ground along grid `degrees`, in longitude and latitude."""
    angle = np.radians(degrees)
    steps = np.linspace(0, length, points)
    to_degrees = Transformer.from_crs(UTM, 4326, always_xy=True).transform
    return np.stack(to_degrees(EAST + steps * np.sin(angle), NORTH + steps * np.cos(angle)), 1)


def save(path, *lines, crs=4326):
    frame = gpd.GeoDataFrame(geometry=[shapely.LineString(line) for line in lines], crs=crs)
    frame.to_file(path, driver="KML" if path.suffix == ".kml" else None)
    return path


def test_what_is_said_wins_over_what_is_found_and_the_rest_is_told(tmp_path):
    field = rectangle(30, 80)
    points = tuple(line_at(70).ravel().tolist())
    ab_line = str(save(tmp_path / "ab.gpkg", line_at(50)))
    known = {"heading_deg": 27.0, "ab_points": points, "ab_line": ab_line}
    expected = [27, 70, 50, 12, 0]
    sources = ["configuration", "two points of the AB line", "AB line of ab.gpkg", "crop rows", "longest side"]
    rows = 12.0
    for degrees, source in zip(expected, sources, strict=True):
        found = choose_heading(SprayConfig(**known), UTM, field, rows)
        assert found.degrees == pytest.approx(degrees, abs=1e-5)
        assert found.source.startswith(source)
        assert len(found.others) == max(len(known) + (rows is not None) - 1, 0)
        if known:
            known.pop(next(iter(known)))
        else:
            rows = None
    assert choose_heading(SprayConfig(heading_deg=27, ab_line=ab_line), UTM, field).others == (
        "AB line of ab.gpkg 50.00°",
    )


@pytest.mark.parametrize("degrees", [0.0, 27.0, 135.5, 180.0, 263.2])
@pytest.mark.parametrize("name", ["ab.gpkg", "ab.shp", "ab.geojson", "ab.kml"])
def test_the_line_of_a_file_has_its_direction_from_a_to_b(tmp_path, name, degrees):
    found = read_ab_line(save(tmp_path / name, line_at(degrees)), UTM)
    assert abs((found - degrees + 180) % 360 - 180) < 1e-4


def test_a_line_in_the_crs_of_the_map_is_taken_as_it_is(tmp_path):
    path = save(tmp_path / "ab.gpkg", [(EAST, NORTH), (EAST + 30, NORTH + 40)], crs=UTM)
    assert read_ab_line(path, UTM) == pytest.approx(np.degrees(np.arctan2(30, 40)))


def test_the_real_line_of_ohio_lies_along_its_boundary(fields):
    folder = fields / "references" / "ohio_field"
    found = read_ab_line(folder / "abline.gpkg", "EPSG:32617")
    (line,) = gpd.read_file(folder / "abline.gpkg").geometry
    (lon0, lat0), (lon1, lat1) = line.coords
    azimuth, _, _ = Geod(ellps="WGS84").inv(lon0, lat0, lon1, lat1)
    convergence = Proj("EPSG:32617").get_factors(lon0, lat0).meridian_convergence
    assert found == pytest.approx(azimuth - convergence, abs=0.01)
    trial = gpd.read_file(folder / "trial_utm.gpkg")
    plots = trial.geometry[trial.area > 0.9 * trial.area.median()]
    along = np.median([heading_of(plot) for plot in plots])
    assert abs((found - along + 45) % 90 - 45) < 1


def test_the_guidance_line_of_real_task_data(fields):
    path = fields / "references" / "isoxml" / "v3" / "geobird" / "guidance_v3-3" / "TASKDATA.XML"
    azimuth, _, _ = Geod(ellps="WGS84").inv(15.153593736, 48.127180264, 15.148999665, 48.127243635)
    assert read_ab_line(path, "EPSG:32633") == pytest.approx(azimuth % 360, abs=0.2)


@pytest.mark.parametrize("name", ["empty", "onesoil_demo"])
def test_task_data_without_a_guidance_line_is_refused(fields, name):
    with pytest.raises(PrescriptionError, match="holds no line"):
        read_ab_line(fields / "references" / "isoxml" / "v3" / name / "TASKDATA.XML", "EPSG:32633")


def test_lines_of_one_direction_are_one_and_others_are_refused(tmp_path):
    there, back = line_at(40), line_at(40)[::-1]
    assert read_ab_line(save(tmp_path / "two.gpkg", there, back), UTM) == pytest.approx(40, abs=1e-4)
    with pytest.raises(PrescriptionError, match=r"2 lines of different directions \(40.0°, 55.0°\)"):
        read_ab_line(save(tmp_path / "fan.gpkg", there, line_at(55)), UTM)


def test_a_bent_line_is_refused_and_a_wavering_one_is_not(tmp_path):
    straight = line_at(40, points=20)
    assert read_ab_line(save(tmp_path / "a.gpkg", straight), UTM) == pytest.approx(40, abs=1e-3)
    bent = np.concatenate([straight[:10], line_at(65, points=20)[9:] + straight[9] - line_at(65, points=20)[9]])
    with pytest.raises(PrescriptionError, match=r"bends by \d+\.\d°"):
        read_ab_line(save(tmp_path / "b.gpkg", bent), UTM)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.xml", "<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>", "declares a document type"),
        ("b.xml", "<x>", "no task data"),
        ("c.xml", "<x><LSG A='5'><PNT C='a' D='1'/><PNT C='1' D='2'/></LSG></x>", "no task data"),
        ("d.xml", "<x><LSG A='5'><PNT D='1'/><PNT C='1' D='2'/></LSG></x>", "has no place in"),
        ("e.gpkg", "nothing", "cannot be read as lines"),
    ],
)
def test_a_file_that_holds_no_line_is_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(PrescriptionError, match=message):
        read_ab_line(tmp_path / name, UTM)


def test_a_missing_file_points_and_a_table_without_crs_are_refused(tmp_path):
    with pytest.raises(PrescriptionError, match="does not exist"):
        read_ab_line(tmp_path / "none.gpkg", UTM)
    gpd.GeoDataFrame(geometry=[shapely.Point(11, 48)], crs=4326).to_file(tmp_path / "p.gpkg")
    with pytest.raises(PrescriptionError, match="holds no line"):
        read_ab_line(tmp_path / "p.gpkg", UTM)
    with pytest.raises(PrescriptionError, match="shorter than a metre"):
        read_ab_line(save(tmp_path / "dot.gpkg", line_at(20, 0.4)), UTM)


@pytest.mark.parametrize("points", [(9.0, 48.0, 9.0, 48.0), (200.0, 48.0, 9.0, 48.0), (9.0, 95.0, 9.0, 48.0)])
def test_points_that_are_no_line_are_refused(points):
    with pytest.raises(PrescriptionError, match="expected longitude and latitude of two different points"):
        SprayConfig(ab_points=points)
