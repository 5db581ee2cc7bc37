"""The table of terminals: every profile writes what reads back, every limit has its evidence and is looked at."""

from __future__ import annotations

import dataclasses

import pytest

from geoseg import export
from geoseg.errors import CheckError, PrescriptionError
from geoseg.export.profiles import EVIDENCE, LIMITS
from geoseg.export.writing import FORMATS
from geoseg.spray import SprayConfig
from geoseg.spray.prescription import plan
from spray_helpers import paint, rectangle, write_classes

pytestmark = pytest.mark.filterwarnings("ignore::geoseg.errors.GeosegWarning")  # the coarse cells of XAG

NAMES = export.profile_names()
EVERY_LIMIT = [
    (name, limit)
    for name in NAMES
    for limit, known in export.read_profile(name).limits.items()
    if known.value is not None
]
FILES = {
    "shapefile": {f"SPRAY.{part}" for part in ("shp", "shx", "dbf", "prj", "cpg")},
    "zip": {"SPRAY.zip"},
    "isoxml": {"TASKDATA.XML", "GRD00001.bin"},
    "dji": {f"ShapeFile/SPRAY.{part}" for part in ("shp", "shx", "dbf", "prj", "cpg")}
    | {"Rx/SPRAY.tif", "Rx/SPRAY.tfw"},
    "xag": {"SPRAY_Boundary.kml", "SPRAY_Prescription.json"},
    "geotiff": {"SPRAY.tif", "SPRAY.tfw"},
    "gpkg": {"SPRAY.gpkg"},
    "kml": {"SPRAY.kml"},
    "geojson": {"SPRAY.geojson"},
    "csv": {"SPRAY.csv"},
}
STYLED = {"generic", "geotiff", "geojson"}
"""Profiles that are not for one terminal alone."""


@pytest.fixture(scope="module")
def prescription(tmp_path_factory):
    spot = paint((240, 240), 0.05, lambda x, y: (abs(x - 5) < 1) & (abs(y - 7) < 2) & (abs(x - 5.2) + abs(y - 7) > 0.5))
    path = write_classes(tmp_path_factory.mktemp("spot") / "classes.tif", spot)
    return plan(path, rectangle(12, 12), SprayConfig(heading_deg=27, buffer_m=0))


@pytest.fixture(scope="module")
def written(prescription, tmp_path_factory):
    folder = tmp_path_factory.mktemp("all")
    return folder, {name: export.write(prescription, folder / name, name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_every_profile_writes_what_reads_back(written, prescription, name):
    folder, profile = written[0] / name, export.read_profile(name)
    assert (written[1][name].loss is None) == (name != "xag")
    report = export.check(folder, prescription, profile=name)
    assert report.ok
    assert {file.profile for file in report.files} == {name}
    files = FILES[profile.format]
    if profile.options.get("kind") == "zones":
        files = {"TASKDATA.XML"}
    if name == "isoxml_zip":
        files = {"TASKDATA.zip"}
    files = files | ({"SPRAY.qml"} if name in STYLED else set())
    expected = {f"{place}/{file}".lstrip("/") for place in profile.folders for file in files} | {"README.txt"}
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == expected


@pytest.mark.parametrize("name", NAMES)
def test_the_terminal_is_known_again(written, name):
    for file in export.check(written[0] / name).files:
        assert file.profile == name


@pytest.mark.parametrize("name", NAMES)
def test_without_the_readme_the_layout_says_it(written, name, tmp_path):
    for path in (written[0] / name).rglob("*"):
        target = tmp_path / path.relative_to(written[0] / name)
        if path.is_file() and path.name != "README.txt":
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    profile = export.read_profile(name)
    in_root = {"shapefile": "generic", "zip": name, "isoxml": "isoxml"}
    for file in export.check(tmp_path).files:
        found = export.read_profile(file.profile)
        assert found.format == profile.format
        if profile.folders == ("",) and name != "aog":
            assert file.profile == in_root.get(profile.format, name)
        elif name != "kverneland":
            assert file.profile == name


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_says_what_a_person_needs(written, prescription, name):
    profile = export.read_profile(name)
    text = (written[0] / name / "README.txt").read_bytes().decode("ascii")
    assert text.count("\r\n") == text.count("\n")
    assert max(map(len, text.splitlines())) < 140
    wanted = [
        profile.title,
        f"Profile: {name}",
        "NOT TESTED ON A TERMINAL",
        "0, 200 l/ha",
        "HOW TO LOAD",
        *profile.steps,
    ]
    wanted += [f"{prescription.totals.litres:.1f} litres", f"{prescription.totals.field_ha:.4f} ha"]
    wanted += [f"  {column.name}" for column in profile.columns]
    wanted += ["EXPERIMENTAL"] if profile.experimental else []
    for part in wanted:
        assert part in text, part


def test_every_limit_has_its_evidence_and_every_column_its_place():
    for name in NAMES:
        profile = export.read_profile(name)
        assert profile.format in FORMATS
        assert profile.steps
        assert set(profile.limits) <= set(LIMITS)
        assert "name_chars" in profile.limits
        assert all(limit.evidence in EVIDENCE and limit.source for limit in profile.limits.values())
        assert all(column.name.isascii() and len(column.name) <= 10 for column in profile.columns)


@pytest.mark.parametrize(("name", "limit"), EVERY_LIMIT)
def test_every_limit_broken_is_named(written, name, limit):
    """The files are those that keep the limit; the limit is moved to just below what they hold."""
    profile = export.read_profile(name)
    folder = written[0] / name
    found = max(file.limits.get(limit, {}).get("found", 0) for file in export.check(folder, profile=name).files)
    assert found > 0
    below = int(found) if found > int(found) else int(found) - 1
    broken = dataclasses.replace(profile.limits[limit], value=below)
    tight = dataclasses.replace(profile, limits=profile.limits | {limit: broken})
    code = f"limit-{limit.replace('_', '-')}"
    report = export.check(folder, profile=tight, strict=False)
    assert code in report.codes
    assert any(profile.title in error and broken.source in error for error in report.errors)
    with pytest.raises(CheckError, match=code):
        export.check(folder, profile=tight)


def test_a_guess_makes_limits_no_more_than_warnings(written, tmp_path):
    source = written[0] / "generic"
    (tmp_path / "README.txt").unlink(missing_ok=True)
    for path in source.glob("SPRAY.*"):
        (tmp_path / f"LONG_NAME_OF_A_FIELD{path.suffix}").write_bytes(path.read_bytes())
    report = export.check(tmp_path)
    assert [finding.code for finding in report.files[0].findings] == ["limit-name-chars"]
    assert report.ok


def test_other_columns_than_a_terminal_wants_are_named(written):
    report = export.check(written[0] / "generic", profile="agfusion", strict=False)
    assert report.codes == ("limit-columns",)
    assert "FERT_L" in report.errors[0]


def test_the_columns_of_the_rate_controller_are_its_own(written):
    import pyogrio

    frame = pyogrio.read_dataframe(written[0] / "aog" / "SPRAY.shp")
    assert list(frame.columns[:-1]) == [
        "Name", "ProductA", "ProductB", "ProductC", "ProductD", "ProductE", "Color", "ZoneType",
    ]  # fmt: skip
    assert set(frame.ZoneType) == {"Target"}
    assert frame.Name.tolist() == [f"Zone {nth}" for nth in range(1, len(frame) + 1)]
    assert frame.Color.str.fullmatch("#[0-9A-F]{6}").all()
    assert frame.Color.nunique() == frame.ProductA.nunique() == 2
    assert not frame[["ProductB", "ProductC", "ProductD", "ProductE"]].to_numpy().any()


def test_three_numbers_in_the_order_of_the_manual(written):
    import pyogrio

    frame = pyogrio.read_dataframe(written[0] / "agfusion" / "SPRAY.shp")
    assert list(frame.columns[:-1]) == ["FERT_L", "FERT_A", "SEEDS"]
    assert sorted(frame.FERT_L.unique()) == [0, 200]
    assert not frame[["FERT_A", "SEEDS"]].to_numpy().any()


@pytest.mark.parametrize("name", NAMES)
def test_the_same_plan_gives_the_same_bytes(written, prescription, tmp_path, name):
    again = export.write(prescription, tmp_path, name)
    for path in again.files:
        assert path.read_bytes() == (written[0] / name / path.relative_to(tmp_path)).read_bytes(), path.name


def test_a_name_that_is_too_long_or_of_other_letters_is_refused(prescription, tmp_path):
    for name in NAMES:
        most = export.read_profile(name).limit("name_chars")
        for bad in ("A" * (most + 1), "spray", "A B", "FELDÄ", "", "../X"):
            with pytest.raises(PrescriptionError, match=f"at most {most} ASCII capitals"):
                export.write(prescription, tmp_path, name, name=bad)
    assert not list(tmp_path.iterdir())
