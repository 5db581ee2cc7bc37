from __future__ import annotations

import zipfile

import pytest

from geoseg import export
from geoseg.export import zipped
from spray_helpers import plan_of_one_spot


@pytest.fixture(scope="module")
def prescription(tmp_path_factory):
    return plan_of_one_spot(tmp_path_factory.mktemp("spot"))


@pytest.fixture
def written(prescription, tmp_path):
    export.write(prescription, tmp_path, "cloud")
    return tmp_path / "SPRAY.zip"


def codes(path, prescription):
    return export.check(path, prescription, strict=False).codes


def test_the_zip_is_flat_whole_and_the_same_every_time(written, prescription, tmp_path):
    with zipfile.ZipFile(written) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [f"SPRAY{part}" for part in (".dbf", ".shx", ".prj", ".cpg", ".shp")]
    before = written.read_bytes()
    export.write(prescription, tmp_path, "cloud")
    assert written.read_bytes() == before
    assert export.check(written, prescription).files[0].facts["rates_l_ha"] == [0, 200]


@pytest.mark.parametrize(
    "name", ["../SPRAY.shp", "/etc/SPRAY.shp", "a/../../SPRAY.shp", "C:\\SPRAY.shp", "..\\SPRAY.shp"]
)
def test_names_that_climb_out_are_refused(prescription, tmp_path, name):
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, b"x")
    assert "zip-path" in codes(path, prescription)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["bad.zip"]


def test_too_many_files_and_too_many_bytes_are_refused_unpacked(prescription, tmp_path, monkeypatch):
    many = tmp_path / "many.zip"
    with zipfile.ZipFile(many, "w") as archive:
        for nth in range(101):
            archive.writestr(f"{nth}.shp", b"")
    assert codes(many, prescription) == ("zip-size",)
    monkeypatch.setattr(zipped, "_MOST_BYTES", 1000)
    large = tmp_path / "large.zip"
    with zipfile.ZipFile(large, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("SPRAY.shp", bytes(1001))
    assert codes(large, prescription) == ("zip-size",)


def test_no_zip_and_a_zip_of_something_else_are_named(written, prescription, tmp_path):
    (tmp_path / "text.zip").write_text("no zip")
    assert codes(tmp_path / "text.zip", prescription) == ("unreadable",)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert codes(tmp_path / "other.zip", prescription) == ("zip-content",)
    data = bytearray(written.read_bytes())
    data[60:90] = bytes(30)
    written.write_bytes(bytes(data))
    assert "unreadable" in codes(written, prescription)


def test_folders_in_a_zip_are_worth_knowing(written, prescription, tmp_path):
    nested = tmp_path / "nested.zip"
    with zipfile.ZipFile(written) as source, zipfile.ZipFile(nested, "w") as archive:
        for name in source.namelist():
            archive.writestr(f"maps/{name}", source.read(name))
    (report,) = export.check(nested, prescription).files
    assert [finding.code for finding in report.findings] == ["zip-folders"]
