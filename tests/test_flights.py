"""Several flights in one command: folders, failures, exit codes, the table."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from geoseg import job
from geoseg.cli import main
from geoseg.config import load_config
from geoseg.errors import InputError
from geoseg.flights import folder_names, run_flights
from test_job import CONFIG, ColourSegmenter, content, field

__all__ = ["field"]
SETS = [part for key in CONFIG for part in ("--set", key)]


@pytest.fixture
def fake_model(monkeypatch):
    """The command line with a segmenter of colours; gives the list of loads."""
    loads = []
    monkeypatch.setattr(job, "load_segmenter", lambda config: loads.append(config) or ColourSegmenter())
    return loads


def test_a_flight_that_fails_does_not_stop_the_rest(field, tmp_path, fake_model):
    (tmp_path / "broken.tif").write_bytes(b"no raster")
    orthos = [str(tmp_path / "broken.tif"), str(field[0])]
    found = CliRunner().invoke(main, ["run", *orthos, "--out", str(tmp_path / "out"), *SETS])
    assert found.exit_code == 1
    assert "failed: broken.tif cannot be opened" in found.stdout
    assert "1 done, 1 failed" in found.stdout
    assert len(fake_model) == 1
    rows = json.loads((tmp_path / "out" / "flights.json").read_text())
    assert [row["exit_code"] for row in rows] == [2, 0]
    done = tmp_path / "out" / field[0].stem
    assert rows[1]["summary"] == json.loads((done / "summary.json").read_text())
    job.run(field[0], tmp_path / "alone" / field[0].stem, config=load_config(None, CONFIG), model=ColourSegmenter())
    assert content(done) == content(tmp_path / "alone" / field[0].stem)


def test_only_bad_input_is_exit_code_2(tmp_path, fake_model):
    found = CliRunner().invoke(main, ["run", "no.tif", "nothing.tif", "--out", str(tmp_path), *SETS, "--json"])
    assert found.exit_code == 2
    assert [row["exit_code"] for row in json.loads(found.stdout)] == [2, 2]


def test_the_same_flight_twice_gets_two_folders_and_code_0(field, tmp_path, fake_model):
    found = CliRunner().invoke(main, ["run", str(field[0]), str(field[0]), "--out", str(tmp_path), *SETS])
    assert found.exit_code == 0, found.output
    assert (tmp_path / f"{field[0].stem}_2" / "summary.json").exists()


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="cannot be used as a folder of runs"):
        run_flights(["a.tif"], tmp_path / "out", model=ColourSegmenter())


@pytest.mark.parametrize(
    ("orthos", "names"),
    [
        (["/x/a.tif", "/x/b.tif"], ["a", "b"]),
        (["/x/1/ortho.tif", "/x/2/ortho.tif", "/x/c.tif"], ["1_ortho", "2_ortho", "c"]),
        (["a.tif", "A.tif", "a.jpg"], ["a", "A_2", "a_3"]),
        (["../a.tif"], ["a"]),
        (["ortho.tif", "x/ortho.tif"], ["ortho", "x_ortho"]),
    ],
)
def test_folders_have_unique_names(orthos, names):
    assert list(folder_names(orthos)) == names
