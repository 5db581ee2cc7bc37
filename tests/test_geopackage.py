"""``field.gpkg`` as other readers see it: pyogrio and SQLite."""

from __future__ import annotations

import os
import sqlite3
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import InputError
from geoseg.export import geopackage
from geoseg.export.columns import LAYERS, Column, Layer, dbf_names
from geoseg.export.geopackage import FieldPackage, replace_layer
from geoseg.legend import LEGEND

CRS = "EPSG:32632"


def weeds(count: int, first: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Squares in a row, each with its number as id."""
    id_ = np.arange(first, first + count)
    columns = {"patch_id": id_, "area_m2": np.full(count, 0.25), "confidence": np.where(id_ % 3, id_ % 100, np.nan)}
    return columns, shapely.box(690_000 + id_, 5_360_000, 690_000.5 + id_, 5_360_000.5)


def write(path: Path, count: int = 10, step: int = 4, **options: int) -> None:
    with FieldPackage(path, CRS, **options) as package:
        package.write_boundary(shapely.box(690_000, 5_360_000, 690_010, 5_360_010))
        for first in range(0, count, step):
            package.append("weeds", *weeds(min(step, count - first), first))


def rows(path: Path, query: str, *values: object) -> list[tuple]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(query, values).fetchall()


@pytest.mark.parametrize("batch", [1, 3, 7, 20_000])
def test_features_come_back_as_they_were_given(tmp_path: Path, batch: int) -> None:
    path = tmp_path / "field.gpkg"
    write(path, 23, step=5, batch=batch)
    frame = gpd.read_file(path, layer="weeds")
    columns, geometry = weeds(23)
    assert frame.crs == CRS
    assert list(frame.columns) == [*columns, "geometry"]
    for name, values in columns.items():
        np.testing.assert_array_equal(frame[name], values)
        assert frame[name].dtype == values.dtype
    assert shapely.to_wkb(frame.geometry).tolist() == shapely.to_wkb(geometry).tolist()
    (boundary,) = gpd.read_file(path, layer="boundary").itertuples()
    assert boundary.area_m2 == boundary.geometry.area == 100


def test_every_layer_exists_with_its_columns_also_when_empty(tmp_path: Path) -> None:
    path = tmp_path / "field.gpkg"
    with FieldPackage(path, CRS):
        pass
    ogr = {"int64": "OFTInteger64", "float64": "OFTReal", "str": "OFTString"}
    for layer in LAYERS.values():
        info = pyogrio.read_info(path, layer=layer.name)
        assert info["features"] == 0
        assert info["crs"] == CRS
        assert info["geometry_type"] == layer.geometry
        assert dict(zip(info["fields"], info["ogr_types"], strict=True)) == {
            c.name: ogr[c.dtype] for c in layer.columns
        }
    assert [name for name, kind in pyogrio.list_layers(path) if kind] == list(LAYERS)


def test_the_version_is_one_that_qgis_3_22_knows(tmp_path: Path) -> None:
    path = tmp_path / "field.gpkg"
    write(path)
    assert rows(path, "PRAGMA user_version") == [(10300,)]
    assert rows(path, "PRAGMA application_id") == [(int.from_bytes(b"GPKG"),)]
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    assert rows(path, "PRAGMA foreign_key_check") == []


def test_every_layer_has_a_spatial_index_that_finds(tmp_path: Path) -> None:
    path = tmp_path / "field.gpkg"
    write(path, 30)
    indexed = {
        name for (name,) in rows(path, "SELECT table_name FROM gpkg_extensions WHERE extension_name LIKE '%rtree%'")
    }
    assert indexed == set(LAYERS)
    assert rows(path, "SELECT count(*) FROM rtree_weeds_geom") == [(30,)]
    found = pyogrio.read_dataframe(path, layer="weeds", bbox=(690_004.1, 5_360_000, 690_006.2, 5_360_001))
    assert found.patch_id.tolist() == [4, 5, 6]


def test_the_same_features_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = gpd.GeoDataFrame({"rate_l_ha": [0.0, 200.0]}, geometry=shapely.box([0, 1], 0, [1, 2], 1), crs=CRS)
    found = []
    for number, clock in enumerate(("2001-01-01T00:00:00Z", "2030-01-01T00:00:00Z")):
        # What GDAL takes for the time of day, were it not for us.
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": clock})
        try:
            path = tmp_path / str(number) / "field.gpkg"
            write(path, 50)
            replace_layer(path, "prescription", frame)
            assert pyogrio.get_gdal_config_option("OGR_CURRENT_DATE") == clock
        finally:
            pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})
        found.append(path.read_bytes())
    assert found[0] == found[1]


def test_styles_are_defaults_in_the_colours_of_the_legend(tmp_path: Path) -> None:
    path = tmp_path / "field.gpkg"
    write(path)
    styles = rows(path, "SELECT f_table_name, f_geometry_column, useAsDefault, styleQML FROM layer_styles")
    assert {name for name, *_ in styles} == set(LAYERS)
    for name, column, default, qml in styles:
        assert (column, default) == (pyogrio.read_info(path, layer=name)["geometry_name"], 1)
        renderer = ElementTree.fromstring(qml).find("renderer-v2")
        symbols = renderer.findall("symbols/symbol")
        expected = {"Point": "marker", "LineString": "line"}.get(LAYERS[name].geometry, "fill")
        assert {symbol.get("type") for symbol in symbols} == {expected}
    qml = {name: qml for name, _, _, qml in styles}
    for name, entry in {"weeds": "weed", "weed_plants": "weed", "plants": "crop", "plant_outlines": "crop"}.items():
        assert ",".join(map(str, LEGEND[entry].rgb)) in qml[name]


class BrokenError(Exception):
    """Stands for anything that may go wrong."""


@pytest.fixture
def failing_write(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import pyogrio.raw

    original, calls = pyogrio.raw.write, []

    def write_(*args: object, **options: object) -> None:
        calls.append(args)
        if len(calls) > len(LAYERS) + 1:
            raise BrokenError
        original(*args, **options)

    monkeypatch.setattr(pyogrio.raw, "write", write_)
    yield
    assert len(calls) > len(LAYERS) + 1


def test_a_failure_leaves_nothing(tmp_path: Path, failing_write: None) -> None:
    with pytest.raises(BrokenError):
        write(tmp_path / "field.gpkg", 10, batch=4)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_former_file(tmp_path: Path) -> None:
    path = tmp_path / "field.gpkg"
    write(path)
    before = path.read_bytes()
    with pytest.raises(BrokenError), FieldPackage(path, CRS) as package:
        package.append("weeds", *weeds(3))
        raise BrokenError
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_at_the_rename_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def replace(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OSError, match="disk full"):
        write(tmp_path / "field.gpkg")
    assert list(tmp_path.iterdir()) == []


def test_the_draft_of_a_killed_run_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "field.gpkg"
    with FieldPackage(path, CRS) as package:
        package.append("weeds", *weeds(5))
        package._flush("weeds")
        (draft,) = tmp_path.iterdir()
        left = draft.read_bytes()
    draft.write_bytes(left)
    draft.with_name(draft.name + "-journal").write_bytes(b"left")
    write(path, 10)
    assert list(tmp_path.iterdir()) == [path]
    assert len(gpd.read_file(path, layer="weeds")) == 10


def test_nothing_shows_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "field.gpkg"
    with FieldPackage(path, CRS) as package:
        package.append("weeds", *weeds(3))
        assert not path.exists()
    assert path.exists()


def test_columns_must_be_those_of_the_layer(tmp_path: Path) -> None:
    path = tmp_path / "field.gpkg"
    columns, geometry = weeds(3)
    for wrong, message in (
        (columns | {"colour": columns["patch_id"]}, "got columns"),
        ({"patch_id": columns["patch_id"]}, "got columns"),
        (columns | {"area_m2": columns["area_m2"][:2]}, r"got \(3,\) geometries and columns of"),
    ):
        with pytest.raises(ValueError, match=message), FieldPackage(path, CRS) as package:
            package.append("weeds", wrong, geometry)
    with (
        pytest.raises(ValueError, match="no layer 'trees'; the layers are boundary"),
        FieldPackage(path, CRS) as package,
    ):
        package.append("trees", columns, geometry)
    with pytest.raises(InputError, match=r"does not end in \.gpkg"):
        FieldPackage(tmp_path / "field.sqlite", CRS)
    assert list(tmp_path.iterdir()) == []


def test_other_layers_and_no_crs(tmp_path: Path) -> None:
    layer = Layer("gaps", "Polygon", "Gaps", (Column("note", "str", "", "A note"),))
    path = tmp_path / "field.gpkg"
    with FieldPackage(path, None, {"gaps": layer}) as package:
        package.append("gaps", {"note": ["größer", None]}, shapely.box([0, 1], 0, [1, 2], 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = gpd.read_file(path, layer="gaps")
    assert frame.note.tolist()[0] == "größer"
    assert frame.note.isna().tolist() == [False, True]


def test_a_layer_is_added_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "field.gpkg"
    write(path, 10)
    first = gpd.GeoDataFrame({"rate_l_ha": [0.0, 200.0]}, geometry=shapely.box([0, 1], 0, [1, 2], 1), crs=CRS)
    replace_layer(path, "prescription", first)
    replace_layer(path, "prescription", first.iloc[:1])
    found = gpd.read_file(path, layer="prescription")
    assert found.rate_l_ha.tolist() == [0.0]
    assert found.crs == CRS
    assert len(gpd.read_file(path, layer="weeds")) == 10
    assert rows(path, "PRAGMA user_version") == [(10300,)]
    assert rows(path, "SELECT count(*) FROM layer_styles WHERE f_table_name = 'prescription'") == [(1,)]
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_layer_again_changes_no_byte(tmp_path: Path) -> None:
    path = tmp_path / "field.gpkg"
    write(path, 10)
    frame = gpd.GeoDataFrame({"zone": [1, 2], "name": ["a", "b"]}, geometry=shapely.box([0, 1], 0, [1, 2], 1), crs=CRS)
    replace_layer(path, "prescription", frame)
    before = path.read_bytes()
    replace_layer(path, "prescription", frame)
    assert path.read_bytes() == before
    for changed in (frame.assign(zone=[1, 3]), frame.set_geometry(frame.translate(1)), frame.drop(columns="name")):
        replace_layer(path, "prescription", changed)
        assert path.read_bytes() != before
        replace_layer(path, "prescription", frame)
        assert gpd.read_file(path, layer="prescription").equals(frame)


def test_a_failed_replacement_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "field.gpkg"
    write(path, 10)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise BrokenError

    monkeypatch.setattr(geopackage, "add_styles", fail)
    frame = gpd.GeoDataFrame({"rate_l_ha": [200.0]}, geometry=[shapely.box(0, 0, 1, 1)], crs=CRS)
    with pytest.raises(BrokenError):
        replace_layer(path, "prescription", frame)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(InputError, match="is not there"):
        replace_layer(tmp_path / "none.gpkg", "prescription", frame)


def test_units_stand_in_the_names_of_columns() -> None:
    ends = {"m²": ("_m2",), "m": ("_m", "x", "y"), "%": ("confidence",), "l/ha": ("_l_ha",), "°": ("_deg",)}
    for layer in LAYERS.values():
        assert len(set(layer.names)) == len(layer.names)
        for column in layer.columns:
            assert column.description
            assert not column.unit or column.name.endswith(ends[column.unit])


@given(st.lists(st.text("abcé _.", min_size=1, max_size=14), unique=True, max_size=30))
def test_dbf_names_are_short_and_unique(names: list[str]) -> None:
    chosen = dbf_names(tuple(names))
    assert list(chosen) == names
    assert len({short.lower() for short in chosen.values()}) == len(names)
    assert all(1 <= len(short) <= 10 and short.isascii() for short in chosen.values())


def test_a_place_where_nothing_can_be_written_is_said():
    with pytest.raises(InputError, match="cannot be written; choose a folder"), FieldPackage("/proc/x.gpkg", None):
        pass
