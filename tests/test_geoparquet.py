"""plants.parquet, read back by geopandas and checked against the GeoParquet specification's own words."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

from geoseg.errors import InputError
from geoseg.export.columns import LAYERS
from geoseg.export.geopackage import FieldPackage

pq = pytest.importorskip("pyarrow.parquet", reason="needs the extra geoparquet")
from geoseg.export.geoparquet import write_geoparquet  # noqa: E402


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Five plants, every second one a weed, one of two parts; crop plants stand in rows."""
    ids, count = np.array([3, 8, 2, 90, 40]), 5
    crop = np.array([True, False, True, False, True])
    boxes = shapely.box(690_000 + np.arange(count), 5_360_000, 690_000.5 + np.arange(count), 5_360_000.5)
    shapes = np.array([shapely.MultiPolygon([box]) for box in boxes], object)
    shapes[2] = shapely.union(shapes[2], shapely.box(690_002.6, 5_360_000, 690_002.7, 5_360_000.5))
    both = {"plant_id": ids, "class": np.where(crop, "crop", "weed"), "area_m2": shapely.area(shapes)}
    both["confidence"] = np.array([90.0, 80.0, np.nan, 70.0, 60.0])
    points = both | {"x": shapely.get_x(shapely.centroid(shapes)), "y": np.full(count, 5_360_000.25)}
    points["diameter_m"] = np.sqrt(4 / np.pi * points["area_m2"])
    with FieldPackage(tmp_path / "field.gpkg", "EPSG:32632") as target:
        target.append("plant_outlines", both, shapes)
        for layer, chosen in (("plants", crop), ("weed_plants", ~crop)):
            columns = {name: values[chosen] for name, values in points.items()}
            if layer == "plants":
                columns |= {"row_id": np.array([1, 2, 2]), "row_position_m": np.array([0.0, 0.2, np.nan])}
            target.append(layer, columns, shapely.points(columns["x"], columns["y"]))
    return tmp_path / "field.gpkg"


@pytest.mark.parametrize("group", [1, 2, 100])
def test_geopandas_reads_back_what_the_package_holds(package: Path, tmp_path: Path, group: int) -> None:
    out = tmp_path / "plants.parquet"
    assert write_geoparquet(package, out, group) == 5
    frame, expected = gpd.read_parquet(out), gpd.read_file(package, layer="plant_outlines")
    assert frame.crs == expected.crs
    assert [name for name in frame.columns if name not in ("bbox", "geometry")] == list(LAYERS["plants"].names)
    assert frame.geometry.geom_equals(expected.geometry).all()
    for name in ("plant_id", "class", "area_m2", "confidence"):
        assert frame[name].equals(expected[name]), name
    for layer in ("plants", "weed_plants"):
        points = gpd.read_file(package, layer=layer).set_index("plant_id")
        found = frame.set_index("plant_id").loc[points.index]
        for name in ("x", "y", "diameter_m"):
            assert found[name].equals(points[name]), name
    assert frame.row_id.tolist()[::2] == [1, 2, 2]
    assert frame.row_id.isna().tolist() == [False, True, False, True, False]
    assert not list(tmp_path.glob(".*"))


def test_the_metadata_are_those_of_version_1_1(package: Path, tmp_path: Path) -> None:
    out = tmp_path / "plants.parquet"
    write_geoparquet(package, out, 2)
    file = pq.ParquetFile(out)
    assert file.num_row_groups == 3
    geo = json.loads(file.metadata.metadata[b"geo"])
    column = geo["columns"][geo["primary_column"]]
    assert geo["version"] == "1.1.0"
    assert column["encoding"] == "WKB"
    assert column["geometry_types"] == ["MultiPolygon"]
    assert column["crs"]["id"] == {"authority": "EPSG", "code": 32632}
    np.testing.assert_allclose(column["bbox"], gpd.read_file(package, layer="plant_outlines").total_bounds)
    assert column["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]
    part = gpd.read_parquet(out, bbox=(690_002.9, 5_360_000, 690_005, 5_360_001))
    assert part.plant_id.tolist() == [90, 40], "geopandas filters by the covering boxes"


def test_no_plants_is_a_file_without_rows(tmp_path: Path) -> None:
    with FieldPackage(tmp_path / "field.gpkg", None):
        pass
    assert write_geoparquet(tmp_path / "field.gpkg", tmp_path / "plants.parquet") == 0
    frame = gpd.read_parquet(tmp_path / "plants.parquet")
    assert len(frame) == 0
    assert frame.crs is None


def test_without_pyarrow_it_says_what_to_install(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(InputError, match="geoparquet"):
        write_geoparquet(package, package.with_suffix(".parquet"))
