"""One point on the ground has one rate in every format, and a file that is half a cell off, upside down or has its
axes swapped is caught."""

from __future__ import annotations

import json
import re
import shutil
from xml.etree import ElementTree as ET

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
import rioxarray
import shapely

from geoseg import export
from spray_helpers import plan_of_two_spots

pytestmark = pytest.mark.filterwarnings("ignore::geoseg.errors.GeosegWarning")  # the coarse cells of XAG

FINEST_M = 0.25
REACH_M = FINEST_M * np.sqrt(2) + 0.001
VECTORS = {"generic": "SPRAY.shp", "kml": "SPRAY.kml", "geojson": "SPRAY.geojson", "gpkg": "SPRAY.gpkg"}


@pytest.fixture(scope="module")
def prescription(tmp_path_factory):
    return plan_of_two_spots(tmp_path_factory.mktemp("spots"))


@pytest.fixture(scope="module")
def whole(prescription, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    for profile in (*VECTORS, "isoxml", "dji", "geotiff", "xag"):
        export.write(prescription, folder / profile, profile)
    return folder


@pytest.fixture(scope="module")
def points(prescription):
    """Every 0.2 m in the field and a metre around: easting, northing, longitude, latitude."""
    west, south, east, north = prescription.boundary.bounds
    x, y = np.meshgrid(np.arange(west - 1, east + 1, 0.2), np.arange(south - 1, north + 1, 0.2))
    lonlat = gpd.GeoSeries(shapely.points(x.ravel(), y.ravel()), crs=prescription.zones.crs).to_crs(4326)
    return x.ravel(), y.ravel(), lonlat.x.to_numpy(), lonlat.y.to_numpy()


def in_polygons(polygons, rates, lon, lat):
    found = np.zeros(len(lon))
    for polygon, rate in zip(polygons, rates, strict=True):
        found = np.where(shapely.contains_xy(polygon, lon, lat), rate, found)
    return found


def in_cells(rates, col, row):
    col, row = np.floor(col).astype(int), np.floor(row).astype(int)
    inside = (row >= 0) & (row < rates.shape[0]) & (col >= 0) & (col < rates.shape[1])
    found = np.zeros(len(col))
    found[inside] = rates[row[inside], col[inside]]
    return found


def shapefile_(folder, lon, lat):
    frame = pyogrio.read_dataframe(folder / "generic/SPRAY.shp")
    return in_polygons(frame.geometry, frame.RATE, lon, lat)


def kml(folder, lon, lat):
    """By the standard library: rings out of the text, the rate out of the data."""
    space = "{http://www.opengis.net/kml/2.2}"
    polygons, rates = [], []
    for mark in ET.parse(folder / "kml/SPRAY.kml").iter(f"{space}Placemark"):
        rings = [
            [tuple(map(float, point.split(","))) for point in ring.text.split()]
            for ring in mark.iter(f"{space}coordinates")
        ]
        polygons.append(shapely.Polygon(rings[0], rings[1:]))
        rates.append(next(float(d.text) for d in mark.iter(f"{space}SimpleData") if d.get("name") == "rate_l_ha"))
    return in_polygons(polygons, rates, lon, lat)


def geojson(folder, lon, lat):
    features = json.loads((folder / "geojson/SPRAY.geojson").read_text())["features"]
    polygons = [shapely.geometry.shape(feature["geometry"]) for feature in features]
    return in_polygons(polygons, [feature["properties"]["rate_l_ha"] for feature in features], lon, lat)


def gpkg(folder, lon, lat):
    frame = gpd.read_file(folder / "gpkg/SPRAY.gpkg", layer="prescription").to_crs(4326)
    return in_polygons(frame.geometry, frame.rate_l_ha, lon, lat)


def isoxml(folder, lon, lat):
    about = ET.parse(folder / "isoxml/TASKDATA/TASKDATA.XML").find("TSK/GRD").attrib
    south, west, high, wide = (float(about[name]) for name in "ABCD")
    cells = np.fromfile(folder / "isoxml/TASKDATA/GRD00001.bin", "<i4").reshape(int(about["F"]), int(about["E"]))
    return in_cells(cells / 1e4, (lon - west) / wide, (lat - south) / high)


def dji(folder, lon, lat):
    path = folder / "dji/DJI/Rx/SPRAY.tif"
    with rasterio.Env(GDAL_GEOREF_SOURCES="WORLDFILE"), rasterio.open(path) as raster:
        return in_cells(raster.read(1), *(~raster.transform * (lon, lat)))


def geotiff(folder, lon, lat):
    with rioxarray.open_rasterio(folder / "geotiff/SPRAY.tif") as raster:
        step_x, step_y = (float(abs(axis[1] - axis[0])) for axis in (raster.x, raster.y))
        west, north = float(raster.x[0]) - step_x / 2, float(raster.y[0]) + step_y / 2
        return in_cells(raster.values[0], (lon - west) / step_x, (north - lat) / step_y)


def xag(folder, lon, lat):
    document = json.loads((folder / "xag/XAG/SPRAY_Prescription.json").read_text())
    rows, columns = document["rows"], document["columns"]
    doses = {0: 0} | {entry["level"]: 10 * entry["dosage"] for entry in document["dataTypeLevel"]}
    cells = np.vectorize(doses.get)(np.array(document["weightData"]).reshape(rows, columns))
    col = (lon - document["originLng"]) / (document["originEndLng"] - document["originLng"]) * columns
    row = (document["originEndLat"] - lat) / (document["originEndLat"] - document["originLat"]) * rows
    return in_cells(cells, col, row)


SAMPLERS = {
    "generic": shapefile_, "kml": kml, "geojson": geojson, "gpkg": gpkg, "isoxml": isoxml, "dji": dji,
    "geotiff": geotiff,
}  # fmt: skip


def disagreements(prescription, folder, profile, points):
    """Points farther than a cell of the finest grid from any edge of the plan that have another rate than planned."""
    x, y, lon, lat = points
    treated = prescription.zones[prescription.zones.rate_l_ha > 0].union_all()
    planned = np.where(shapely.contains_xy(treated, x, y), 200.0, 0.0)
    away = shapely.distance(treated.boundary, shapely.points(x, y)) > REACH_M
    away &= shapely.distance(prescription.boundary.boundary, shapely.points(x, y)) > REACH_M
    found = SAMPLERS[profile](folder, lon, lat)
    less = (found < planned) & (shapely.distance(treated.boundary, shapely.points(x, y)) > 0.002)
    return int((found[away] != planned[away]).sum()), int(less.sum())


@pytest.mark.parametrize("profile", SAMPLERS)
def test_every_format_has_the_planned_rate_on_the_ground(whole, prescription, points, profile):
    assert disagreements(prescription, whole, profile, points) == (0, 0)


def test_all_formats_agree_with_each_other_near_edges_too(whole, prescription, points):
    """Polygons agree everywhere but within 2 mm of an edge; grids differ only where they treat more."""
    x, y, lon, lat = points
    treated = prescription.zones[prescription.zones.rate_l_ha > 0].union_all()
    clear = shapely.distance(treated.boundary, shapely.points(x, y)) > 0.002
    rates = {profile: sampler(whole, lon, lat)[clear] for profile, sampler in SAMPLERS.items()}
    assert (rates["generic"] > 0).sum() > 1500
    for profile in ("kml", "geojson", "gpkg"):
        np.testing.assert_array_equal(rates[profile], rates["generic"])
    for profile in ("isoxml", "dji", "geotiff"):
        assert (rates[profile] >= rates["generic"]).all()
    np.testing.assert_array_equal(rates["dji"], rates["geotiff"])
    np.testing.assert_array_equal(rates["dji"], rates["isoxml"])


def test_coarse_cells_of_the_drone_lose_no_treated_ground(whole, prescription, points):
    x, y, lon, lat = points
    treated = prescription.zones[prescription.zones.rate_l_ha > 0].union_all()
    inside = shapely.contains_xy(treated, x, y)
    found = xag(whole, lon, lat)
    assert (found[inside] == 200).all()
    far = shapely.distance(treated, shapely.points(x, y)) > 5 * np.sqrt(2)
    assert far.sum() > 100
    assert not found[far].any()


# Mistakes on purpose --------------------------------------------------------------------------------------------------


def edit(folder, name, pattern, change):
    path = folder / name
    text, count = re.subn(pattern, change, path.read_text())
    assert count
    path.write_text(text)


def world(line, cells):
    """Move the world file by parts of a cell."""

    def change(folder, name):
        path = folder / f"{name}.tfw"
        lines = [float(number) for number in path.read_text().split()]
        lines[line] += cells * lines[0 if line == 4 else 3]
        path.write_text("\n".join(f"{number:.10f}" for number in lines))

    return change


def tagged(dx, dy, flip=None):
    """Write the raster again, moved by parts of a cell, or flipped."""

    def change(folder, name):
        path = folder / f"{name}.tif"
        with rasterio.open(path) as raster:
            profile, rates = raster.profile, raster.read(1)
        affine = profile["transform"] * rasterio.Affine.translation(dx, dy)
        with rasterio.open(path, "w", **profile | {"transform": affine}) as raster:
            raster.write(rates if flip is None else np.flip(rates, flip), 1)

    return change


def grid(**cells):
    def change(folder, name):
        path = folder / name
        tree = ET.parse(path)
        about = tree.find("TSK/GRD").attrib
        for key, step in (("A", "C"), ("B", "D")):
            about[key] = f"{float(about[key]) + cells.get(key, 0) * float(about[step]):.9f}"
        tree.write(path)

    return change


def upside_down(folder, name):
    rows = int(ET.parse(folder / name).find("TSK/GRD").get("F"))
    path = (folder / name).with_name("GRD00001.bin")
    path.write_bytes(np.fromfile(path, "<i4").reshape(rows, -1)[::-1].tobytes())


def transposed(folder, name):
    about = ET.parse(folder / name).find("TSK/GRD").attrib
    path = (folder / name).with_name("GRD00001.bin")
    cells = np.fromfile(path, "<i4").reshape(int(about["F"]), int(about["E"]))
    path.write_bytes(np.ascontiguousarray(cells.T).tobytes())


def swapped_shapes(folder, name):
    frame = pyogrio.read_dataframe(folder / name)
    pyogrio.write_dataframe(
        frame.set_geometry(shapely.transform(frame.geometry.values, lambda xy: xy[:, ::-1])), folder / name
    )


PAIR = r"(-?\d+\.\d{9})(,|, )(-?\d+\.\d{9})"
MISTAKES = {
    "world file half a cell east": ("dji", "DJI/Rx/SPRAY", world(4, 0.5)),
    "world file half a cell south": ("dji", "DJI/Rx/SPRAY", world(5, 0.5)),
    "world file by corners": ("geotiff", "SPRAY", world(4, -0.5)),
    "tie point by centres": ("geotiff", "SPRAY", tagged(0.5, 0.5)),
    "raster upside down": ("geotiff", "SPRAY", tagged(0, 0, 0)),
    "raster mirrored": ("dji", "DJI/Rx/SPRAY", tagged(0, 0, 1)),
    "grid half a cell east": ("isoxml", "TASKDATA/TASKDATA.XML", grid(B=0.5)),
    "grid half a cell north": ("isoxml", "TASKDATA/TASKDATA.XML", grid(A=0.5)),
    "grid from the north": ("isoxml", "TASKDATA/TASKDATA.XML", upside_down),
    "grid by columns": ("isoxml", "TASKDATA/TASKDATA.XML", transposed),
    "latitude first in the shapefile": ("generic", "SPRAY.shp", swapped_shapes),
    "latitude first in the KML": ("kml", "SPRAY.kml", lambda f, n: edit(f, n, PAIR, r"\3\2\1")),
    "latitude first in the GeoJSON": (
        "geojson", "SPRAY.geojson", lambda f, n: edit(f, n, r"\[(-?\d+\.\d+), (-?\d+\.\d+)\]", r"[\2, \1]")
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_caught_by_the_checker_and_on_the_ground(whole, prescription, points, tmp_path, mistake):
    profile, name, change = MISTAKES[mistake]
    shutil.copytree(whole / profile, tmp_path / profile)
    change(tmp_path / profile, name)
    assert not export.check(tmp_path / profile, prescription, strict=False).ok
    only_in_the_world_file = profile == "geotiff" and mistake.startswith("world")  # rioxarray reads the tie point
    assert only_in_the_world_file or any(disagreements(prescription, tmp_path, profile, points))
