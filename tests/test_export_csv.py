from __future__ import annotations

import csv
import re

import pytest
import shapely

from geoseg import export
from spray_helpers import plan_of_one_spot


@pytest.fixture(scope="module")
def prescription(tmp_path_factory):
    return plan_of_one_spot(tmp_path_factory.mktemp("spot"))


@pytest.fixture
def written(prescription, tmp_path):
    return export.write(prescription, tmp_path, "csv").files[0]


def test_rows_are_the_zones_with_their_rates(written, prescription):
    with written.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["rate_l_ha"]) for row in rows] == prescription.zones["rate_l_ha"].tolist()
    planned = prescription.zones.to_crs(4326).geometry
    for row, polygon in zip(rows, planned, strict=True):
        assert shapely.hausdorff_distance(shapely.from_wkt(row["wkt"]), polygon) < 1e-9


def test_it_reads_back_as_planned(written, prescription):
    report = export.check(written, prescription).files[0]
    assert report.findings == ()
    assert report.facts["edges_shared"] is True
    assert abs(report.facts["litres_difference_percent"]) < 1e-3


FAULTS = {
    "rate-changed": lambda text: text.replace("200.000000", "150.000000"),
    "rate-negative": lambda text: text.replace("200.000000", "-200.000000"),
    "no-rate-column": lambda text: text.replace("rate_l_ha", "dose"),
    "polygons-missing": lambda text: text.rstrip().rpartition("\n")[0] + "\n",
    "unreadable": lambda text: text.replace("POLYGON", "POLYGONE"),
    "shape-type": lambda text: re.sub(r"POLYGON \(\(.*?\)\)", "POINT (1 2)", text),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(written, prescription, fault):
    written.write_text(FAULTS[fault](written.read_text()))
    assert fault in export.check(written, prescription, strict=False).codes
