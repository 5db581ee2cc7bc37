"""`geoseg export`: what it prints, its exit codes, and files that later come out of a run directory."""

from __future__ import annotations

import json
import shutil

import geopandas as gpd
import pytest
from click.testing import CliRunner

from geoseg import export, job
from geoseg.cli import main
from geoseg.config import load_config
from test_job import CONFIG, ColourSegmenter, field

__all__ = ["field"]  # a fixture


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def done(field, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    return job.run(field[0], out, config=load_config(None, CONFIG), model=ColourSegmenter())


@pytest.fixture
def run(done, tmp_path):
    return shutil.copytree(done.path, tmp_path / "run")


def test_the_table_of_profiles_and_one_of_them():
    found = call("export", "profiles")
    assert found.exit_code == 0
    assert [line.split()[0] for line in found.output.splitlines()] == list(export.profile_names())
    assert "EXPERIMENTAL" in next(line for line in found.output.splitlines() if line.startswith("xag"))
    one = call("export", "profiles", "agfusion").output
    assert "at most 100 [V: vendor's own text; manual page 31: at most 100 areas]" in one
    assert json.loads(call("export", "profiles", "--json").output)[0]["name"] == "generic"
    wrong = call("export", "profiles", "nobody")
    assert wrong.exit_code == 2
    assert "the profiles are generic" in wrong.output


def test_further_profiles_come_from_the_run_directory_alone(run, done):
    for heavy in ("classes.tif", "confidence.tif"):
        (run / heavy).unlink()
    found = call("export", "write", run, "-p", "kml", "-p", "isoxml", "--json")
    assert found.exit_code == 0, found.output
    facts = json.loads(found.stdout)
    assert facts["kml"]["check"]["ok"]
    assert abs(facts["kml"]["check"]["files"][0]["facts"]["litres_difference_percent"]) < 1e-3
    assert (run / "prescription" / "kml" / "SPRAY.kml").is_file()
    assert (run / "prescription" / "isoxml" / "TASKDATA" / "TASKDATA.XML").is_file()
    outputs = json.loads((run / "run.json").read_text())["stages"]["prescribe"]["outputs"]
    assert "prescription/kml/SPRAY.kml" in outputs
    assert "prescription/generic/SPRAY.shp" in outputs


def test_the_same_bytes_as_in_the_run_itself(run, done, tmp_path):
    assert call("export", "write", run, "-p", "generic", "--out", tmp_path / "again").exit_code == 0
    for file in sorted((done.path / "prescription" / "generic").iterdir()):
        assert (tmp_path / "again" / "generic" / file.name).read_bytes() == file.read_bytes()


def test_a_prescription_made_anew_takes_the_further_files_away(run, field):
    call("export", "write", run, "-p", "kml")
    job.prescribe(run, config=load_config(None, (*CONFIG, "spray.rate_l_ha=150")))
    assert not (run / "prescription" / "kml").exists()
    assert (run / "prescription" / "generic").is_dir()


def test_what_is_lost_for_a_small_terminal_is_said(run, monkeypatch):
    monkeypatch.setattr(export.profiles, "_table", tight_table(export.profiles._table()))
    found = call("export", "write", run, "-p", "agfusion")
    assert found.exit_code == 0, found.output
    assert "6 polygons; Agrotax AgFusion takes 3" in found.stderr
    assert "treated too little: 0.0 m2" in found.stderr
    text = (run / "prescription" / "agfusion" / "README.txt").read_text()
    assert "COARSER THAN PLANNED" in text
    record = json.loads((run / "run.json").read_text())["stages"]["prescribe"]["facts"]
    assert record["losses"]["agfusion"]["polygons"] == [6, 3]


def test_the_summary_of_a_run_says_what_is_lost(field, tmp_path, monkeypatch):
    monkeypatch.setattr(export.profiles, "_table", tight_table(export.profiles._table()))
    config = load_config(None, (*CONFIG, "profiles=[generic, agfusion]"))
    summary = job.run(field[0], tmp_path / "run", config=config, model=ColourSegmenter()).summary
    assert summary["prescription"]["made_coarser"]["agfusion"]["over_treated_m2"] > 0
    assert any("agfusion: 6 polygons" in warning for warning in summary["warnings"])


def tight_table(table):
    import dataclasses

    agfusion = table["agfusion"]
    few = agfusion.limits | {"polygons": dataclasses.replace(agfusion.limits["polygons"], value=3)}
    return lambda: table | {"agfusion": dataclasses.replace(agfusion, limits=few)}


def test_check_says_what_it_is_and_that_it_is_whole(run):
    folder = run / "prescription" / "generic"
    found = call("export", "check", folder)
    assert found.exit_code == 0, found.output
    for text in ("SPRAY.shp (shapefile)", "generic", "limit of name_chars", "5 of 8 [P]", "litres", "OK: 0 errors"):
        assert text in found.output
    with_run = call("export", "check", folder, "--run", run, "--json")
    assert with_run.exit_code == 0
    assert "litres_difference_percent" in json.loads(with_run.stdout)["files"][0]["facts"]


def test_check_against_a_boundary_and_another_terminal(run, tmp_path):
    whole = gpd.read_file(run / "field.gpkg", layer="boundary")
    whole.to_file(tmp_path / "whole.gpkg")
    folder = run / "prescription" / "generic"
    assert call("export", "check", folder, "-b", tmp_path / "whole.gpkg").exit_code == 0
    whole.set_geometry(whole.buffer(1)).to_file(tmp_path / "wide.gpkg")
    found = call("export", "check", folder, "-b", tmp_path / "wide.gpkg")
    assert found.exit_code == 1
    assert "ERROR gaps" in found.output
    strict = call("export", "check", folder, "--profile", "agfusion")
    assert strict.exit_code == 1
    assert "ERROR limit-columns" in strict.output


def test_what_cannot_be_checked_or_written_is_one_line(run, tmp_path):
    for words in (
        ("check", tmp_path / "nothing"),
        ("check", run / "prescription" / "generic", "--profile", "nobody"),
        ("check", run / "prescription" / "generic", "--run", tmp_path),
        ("write", tmp_path, "-p", "kml"),
        ("write", run, "-p", "geojson", "-p", "nobody"),
        ("write", run, "-p", "kml", "--name", "lower case"),
    ):
        found = call("export", *words)
        assert found.exit_code == 2, (words, found.output)
        assert found.stderr.count("\n") == 1
        assert found.stderr.startswith("geoseg: ")
    assert sorted(path.name for path in (run / "prescription").iterdir()) == ["generic"]  # nothing was begun
