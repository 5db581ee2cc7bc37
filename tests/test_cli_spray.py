from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.image import imread

from geoseg import job
from geoseg.cli import main
from geoseg.config import load_config
from geoseg.errors import PrescriptionError
from geoseg.spray.machine import machine_names, machine_text
from geoseg.stages.simulate import simulate_run
from test_job import ColourSegmenter, field  # noqa: F401 - a fixture


@pytest.fixture(scope="module")
def prescribed(field, tmp_path_factory):  # noqa: F811 - pytest hands the fixture over
    """A run directory with a prescription for a boom with sections."""
    run = tmp_path_factory.mktemp("spray") / "run"
    job.segment(field[0], run, model=ColourSegmenter())
    config = load_config(None, ["spray.machine=boom_24m_sections", "spray.heading_deg=27", "spray.buffer_m=0.1"])
    return job.prescribe(run, config=config).path


@pytest.fixture
def run(prescribed, tmp_path):
    shutil.copytree(prescribed, tmp_path / "run")
    return tmp_path / "run"


def geoseg(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


def test_the_machines_are_listed_and_shown():
    listed = geoseg("machines")
    assert all(name in listed.output for name in machine_names())
    one = geoseg("machines", "drone_40l")
    assert "Agras T40" in one.output
    assert json.loads(geoseg("machines", "--json").output)["boom_24m_sections"]["section_m"] == 0.5
    assert geoseg("machines", "tractor").exit_code == 2


def test_a_simulation_is_drawn_summed_and_written(run):
    before = {path: path.stat().st_mtime_ns for path in run.iterdir()}
    done = geoseg("simulate", run, "--thresholds", "0,0.02,0.9", "--sections", "0.5,2")
    assert done.exit_code == 0, done.output
    folder = run / "simulation"
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "simulation.png",
        "simulation_detail.png",
        "curves.png",
        "thresholds.csv",
        "sections.csv",
        "simulation.json",
    }
    facts = json.loads((folder / "simulation.json").read_text())
    assert facts["machine"]["title"] in done.output
    assert facts["heading"]["degrees"] == 27
    assert 0 < facts["totals"]["sprayed_ha"] <= facts["totals"]["field_ha"]
    with (folder / "thresholds.csv").open(newline="") as source:
        rows = list(csv.DictReader(source))
    assert [float(row["threshold_cover"]) for row in rows] == [0, 0.02, 0.9]
    saved, missed = ([float(row[name]) for row in rows] for name in ("saved_percent", "missed_weed_ha"))
    assert saved == sorted(saved)
    assert missed == sorted(missed)
    assert [row["section_m"] for row in facts["curves"]["section_m"]] == [0.5, 2.0]
    assert {path: path.stat().st_mtime_ns for path in run.iterdir() if path in before} == before
    for name in ("simulation.png", "simulation_detail.png", "curves.png"):
        picture = imread(folder / name)
        assert len(np.unique(picture.reshape(-1, picture.shape[-1]), axis=0)) > 5


def test_machine_and_rule_are_the_run_s_unless_others_are_given(run):
    own = simulate_run(run, thresholds=(), sections_m=())
    assert (own["spray"]["section_m"], own["spray"]["buffer_m"]) == (0.5, 0.1)
    assert own["curves"] == {}
    other = geoseg(
        "simulate",
        run,
        "--machine",
        "drone_40l",
        "--set",
        "spray.buffer_m=0.2",
        "--thresholds",
        "",
        "--sections",
        "",
        "--json",
    )
    facts = json.loads(other.output)
    assert (facts["spray"]["section_m"], facts["spray"]["buffer_m"]) == (7, 0.2)
    assert facts["totals"]["sprayed_ha"] >= own["totals"]["sprayed_ha"]
    assert not (run / "simulation" / "curves.png").exists()


def test_what_cannot_be_simulated_is_refused_and_leaves_what_was_there(run, tmp_path):
    assert geoseg("simulate", tmp_path / "nothing").exit_code == 2
    assert not (tmp_path / "nothing").exists()
    simulate_run(run, thresholds=(), sections_m=())
    before = (run / "simulation" / "simulation.json").read_bytes()
    bad = geoseg("simulate", run, "--set", "spray.machine=null")
    assert bad.exit_code == 2
    assert "no machine is named" in bad.output
    assert geoseg("simulate", run, "--sections", "wide").exit_code == 2
    assert geoseg("simulate", run, "--set", "spray.bufer_m=1").exit_code == 2
    assert (run / "simulation" / "simulation.json").read_bytes() == before
    with pytest.raises(PrescriptionError, match="no whole number|section width"):
        simulate_run(run, thresholds=(), sections_m=(0.0,))


def test_prescribe_takes_a_machine_and_its_files_and_sees_when_they_change(run):
    machine = run.parent / "mine.yaml"
    machine.write_text(machine_text("boom_24m_sections"), encoding="utf-8")
    first = geoseg("prescribe", run, "--machine", machine, "--heading", "27", "--json")
    assert first.exit_code == 0, first.output
    found = json.loads(first.stdout)["prescription"]
    assert (found["machine"], found["heading_from"]) == ("Boom of 24 m, sections of 0.5 m", "configuration")
    assert found["tank_fills"] == 1
    machine.write_text(machine_text("boom_24m_sections").replace("section_m: 0.5", "section_m: 3"), encoding="utf-8")
    second = json.loads(geoseg("prescribe", run, "--machine", machine, "--heading", "27", "--json").stdout)[
        "prescription"
    ]
    assert second["treated_ha"] > found["treated_ha"]
    assert geoseg("prescribe", run, "--machine", "tractor").exit_code == 2
    text = geoseg("prescribe", run, "--machine", machine, "--heading", "27").output
    assert "heading       27.00° from grid north, from: configuration" in text
    assert "tank          1 fills" in text
