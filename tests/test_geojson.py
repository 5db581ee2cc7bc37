from __future__ import annotations

import json

import geopandas as gpd
import numpy as np
import pytest
import shapely

from geoseg import export
from geoseg.spray import SprayConfig
from geoseg.spray.prescription import plan
from spray_helpers import paint, rectangle, write_classes


@pytest.fixture(scope="module")
def prescription(tmp_path_factory):
    ring = paint((800, 600), 0.05, lambda x, y: abs(np.hypot(x - 14, y - 20) - 8) < 1)
    path = write_classes(tmp_path_factory.mktemp("ring") / "classes.tif", ring)
    return plan(path, rectangle(30, 40), SprayConfig(rate_l_ha=187.5, heading_deg=27))


@pytest.fixture
def written(prescription, tmp_path):
    export.write(prescription, tmp_path, "geojson")
    return tmp_path / "SPRAY.geojson"


def change(path, edit):
    document = json.loads(path.read_text())
    edit(document["features"])
    path.write_text(json.dumps(document))


def test_it_is_what_the_rfc_wants(written, prescription):
    document = json.loads(written.read_text())
    assert set(document) == {"type", "features"}
    assert len(document["features"]) == len(prescription.zones)
    holes = 0
    for feature in document["features"]:
        shell, *inner = (shapely.LinearRing(ring) for ring in feature["geometry"]["coordinates"])
        assert shell.is_ccw
        assert not any(ring.is_ccw for ring in inner)
        assert set(feature["properties"]) == {"rate_l_ha", "zone", "area_m2"}
        holes += len(inner)
    assert holes >= 2


def test_geopandas_reads_the_plan_back(written, prescription):
    frame = gpd.read_file(written)
    zones = prescription.zones
    assert frame.crs.to_epsg() == 4326
    assert frame.rate_l_ha.tolist() == zones.rate_l_ha.tolist()
    assert frame.to_crs(zones.crs).symmetric_difference(zones.geometry).area.max() < 0.02
    assert shapely.coverage_is_valid(frame.geometry.values)
    report = export.check(written, prescription)
    assert report.files[0].facts["edges_shared"] is True


@pytest.mark.parametrize(
    ("fault", "edit"),
    [
        ("rate-changed", lambda f: f[0]["properties"].update(rate_l_ha=10.0)),
        ("rate-negative", lambda f: f[0]["properties"].update(rate_l_ha=-1.0)),
        ("rate-missing", lambda f: f[0]["properties"].update(rate_l_ha=None)),
        ("no-rate-column", lambda f: [feature["properties"].pop("rate_l_ha") for feature in f]),
        ("polygons-missing", lambda f: f.pop()),
        ("overlap", lambda f: f.append(f[0])),
        ("ring-order", lambda f: [ring.reverse() for ring in f[0]["geometry"]["coordinates"]]),
        ("shape-type", lambda f: f[0].update(geometry={"type": "Point", "coordinates": [11, 48]})),
        ("axes-swapped", lambda f: [p.reverse() for g in f for ring in g["geometry"]["coordinates"] for p in ring]),
    ],
)
def test_a_changed_file_is_named(written, prescription, fault, edit):
    change(written, edit)
    assert fault in export.check(written, prescription, strict=False).codes


@pytest.mark.parametrize("text", ["", "{", "[]", '{"type": "FeatureCollection", "features": []}', "\x00\x01"])
def test_what_is_no_geojson_is_named(written, prescription, text):
    written.write_text(text)
    report = export.check(written, prescription, strict=False)
    assert not report.ok
