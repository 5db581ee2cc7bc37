from __future__ import annotations

import shutil

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely

from geoseg import export
from geoseg.errors import CheckError
from geoseg.export import dji_reader
from spray_helpers import plan_of_two_spots


@pytest.fixture(scope="module")
def prescription(tmp_path_factory):
    return plan_of_two_spots(tmp_path_factory.mktemp("spots"))


@pytest.fixture(scope="module")
def whole(prescription, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    for profile in ("dji", "isoxml", "generic"):
        export.write(prescription, folder / profile, profile)
    return folder


@pytest.fixture
def copy(whole, tmp_path):
    shutil.copytree(whole / "dji", tmp_path / "copy")
    return tmp_path / "copy"


def by_world_file(path):
    with rasterio.Env(GDAL_GEOREF_SOURCES="WORLDFILE"), rasterio.open(path) as raster:
        return raster.read(1), raster.transform


def test_layout_and_kind_of_raster(whole):
    names = {path.relative_to(whole / "dji").as_posix() for path in (whole / "dji").rglob("*") if path.is_file()}
    assert {"DJI/Rx/SPRAY.tif", "DJI/Rx/SPRAY.tfw", "README.txt"} <= names
    assert {f"DJI/ShapeFile/SPRAY.{part}" for part in ("shp", "shx", "dbf", "prj", "cpg")} <= names
    with rasterio.open(whole / "dji/DJI/Rx/SPRAY.tif") as raster:
        assert (raster.count, raster.dtypes, raster.nodata, raster.crs.to_epsg()) == (1, ("float32",), None, 4326)
        assert set(np.unique(raster.read(1))) == {0, 200}
        tagged, shape = raster.transform, raster.shape
    placed = by_world_file(whole / "dji/DJI/Rx/SPRAY.tif")[1]
    for col, row in ((0, 0), (shape[1], shape[0])):
        np.testing.assert_allclose(placed * (col, row), tagged * (col, row), rtol=0, atol=1e-11)
    lines = (whole / "dji/DJI/Rx/SPRAY.tfw").read_text().split()
    assert all(len(line.partition(".")[2]) == 10 for line in lines)
    assert float(lines[4]) == pytest.approx(tagged.c + tagged.a / 2, abs=1e-11)


def test_it_reads_back_as_planned_and_the_outline_is_the_field(whole, prescription):
    raster, outline = export.check(whole / "dji", prescription).files
    assert (raster.findings, outline.findings) == ((), ())
    assert raster.facts["under_treated_m2"] == 0
    assert 0 < raster.facts["over_treated_m2"] < raster.facts["over_treated_bound_m2"]
    assert outline.facts["outline_difference_m2"] < 1e-3
    assert outline.facts["columns"] == ["height", "line_space", "name"]


def test_all_formats_agree_on_the_ground(whole, prescription):
    """Points on a grid of 0.2 m, sampled in the shapefile, in the upward ISOXML grid and in the drone's raster."""
    west, south, east, north = prescription.boundary.bounds
    x, y = (
        axis.ravel() for axis in np.meshgrid(np.arange(west - 1, east + 1, 0.2), np.arange(south - 1, north + 1, 0.2))
    )
    points = gpd.GeoSeries(shapely.points(x, y), crs=prescription.zones.crs).to_crs(4326)
    lon, lat = points.x.to_numpy(), points.y.to_numpy()

    frame = pyogrio.read_dataframe(whole / "generic/SPRAY.shp")
    treated = frame[frame["RATE"] > 0]
    shape_rate = np.where(shapely.contains_xy(treated.union_all(), lon, lat), 200.0, 0.0)

    text = (whole / "isoxml/TASKDATA/TASKDATA.XML").read_text()
    about = dict(pair.split("=") for pair in text.partition("<GRD ")[2].partition("/>")[0].replace('"', "").split())
    cells = np.fromfile(whole / "isoxml/TASKDATA/GRD00001.bin", "<i4").reshape(int(about["F"]), int(about["E"]))
    row = np.floor((lat - float(about["A"])) / float(about["C"])).astype(int)
    col = np.floor((lon - float(about["B"])) / float(about["D"])).astype(int)
    inside = (row >= 0) & (row < cells.shape[0]) & (col >= 0) & (col < cells.shape[1])
    iso_rate = np.zeros(len(lon))
    iso_rate[inside] = cells[row[inside], col[inside]] / 1e4

    raster, placed = by_world_file(whole / "dji/DJI/Rx/SPRAY.tif")
    cols, rows = (np.floor(each).astype(int) for each in ~placed * (lon, lat))
    inside = (rows >= 0) & (rows < raster.shape[0]) & (cols >= 0) & (cols < raster.shape[1])
    dji_rate = np.zeros(len(lon))
    dji_rate[inside] = raster[rows[inside], cols[inside]]

    assert (shape_rate > 0).sum() > 1500
    metric = treated.to_crs(prescription.zones.crs).union_all()
    away = shapely.distance(metric.boundary, shapely.points(x, y)) > 0.25 * np.sqrt(2) + 0.001
    for other in (iso_rate, dji_rate):
        np.testing.assert_array_equal(other[away], shape_rate[away])
        assert (other >= shape_rate).all()


def rewritten(folder, **changes):
    path = folder / "DJI/Rx/SPRAY.tif"
    with rasterio.open(path) as raster:
        profile, rates = raster.profile, raster.read(1)
    change = changes.pop("rates", lambda rates: rates)
    with rasterio.open(path, "w", **{**profile, **changes}) as raster:
        raster.write(change(rates).astype(raster.dtypes[0]), 1)


def world(folder, line, add):
    path = folder / "DJI/Rx/SPRAY.tfw"
    lines = path.read_text().split()
    lines[line] = f"{float(lines[line]) + add:.10f}"
    path.write_text("\n".join(lines))


def moved(folder):
    path = folder / "DJI/ShapeFile/SPRAY.shp"
    frame = pyogrio.read_dataframe(path)
    pyogrio.write_dataframe(frame.set_geometry(frame.translate(1e-6)), path)


FAULTS = {
    "outline-changed": moved,
    "missing-tfw": lambda folder: (folder / "DJI/Rx/SPRAY.tfw").unlink(),
    "world-file": lambda folder: world(folder, 4, 1e-6),
    "under-treated": lambda folder: world(folder, 5, 1e-6),
    "grid-place": lambda folder: world(folder, 1, 1e-6),
    "nodata": lambda folder: rewritten(folder, nodata=0),
    "crs": lambda folder: rewritten(folder, crs="EPSG:32632"),
    "raster-type": lambda folder: rewritten(folder, dtype="uint8"),
    "rate-negative": lambda folder: rewritten(folder, rates=lambda rates: rates - 1),
    "rate-missing": lambda folder: rewritten(folder, rates=lambda rates: np.where(rates > 0, rates, np.nan)),
    "rate-changed": lambda folder: rewritten(folder, rates=lambda rates: rates * 1.5),
    "over-treated": lambda folder: rewritten(folder, rates=lambda rates: rates * 0 + 200),
    "unreadable": lambda folder: (folder / "DJI/Rx/SPRAY.tif").write_bytes(b"nothing"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(copy, prescription, fault):
    FAULTS[fault](copy)
    assert fault in export.check(copy, prescription, strict=False).codes
    with pytest.raises(CheckError, match=fault):
        export.check(copy, prescription)


def test_a_file_beyond_ten_megabytes_is_named(copy, prescription, monkeypatch):
    monkeypatch.setattr(dji_reader, "_MOST_BYTES", 1000)
    assert export.check(copy, prescription, strict=False).codes == ("file-size",)


def test_other_rasters_in_the_folder_are_left_alone(copy, prescription):
    (copy / "classes.tif").write_bytes(b"not looked at")
    assert len(export.check(copy, prescription).files) == 2
