"""The command line: every command, its exit code and what it says where."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner

from geoseg.cli import main

ROOT = Path(__file__).resolve().parents[1]
TINY = ("--set", "segment.write_px=256", "--set", "segment.margin_px=64")


@pytest.fixture(scope="module")
def ortho(tmp_path_factory):
    """A small green-dotted ortho at 3 mm."""
    random = np.random.default_rng(0)
    image = np.array([140, 115, 90], np.uint8)[:, None, None] + random.integers(-20, 20, (3, 400, 500)).astype(np.int16)
    rows, cols = np.mgrid[:400, :500]
    plants = (((rows % 100) - 50) ** 2 + ((cols % 80) - 40) ** 2) < 15**2
    image[:, plants] = np.array([60, 120, 40])[:, None]
    path = tmp_path_factory.mktemp("cli") / "flight.tif"
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint8", count=3, height=400, width=500, crs="EPSG:32632",
        transform=Affine(0.003, 0, 600000, 0, -0.003, 5500000), photometric="RGB", tiled=True,
    ) as raster:  # fmt: skip
        raster.write(image.clip(0, 255).astype(np.uint8))
    return path


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def done(ortho, tmp_path_factory):
    """A run directory made by the command, and what it printed."""
    out = tmp_path_factory.mktemp("done") / "run"
    found = call("run", ortho, "--out", out, *TINY)
    assert found.exit_code == 0, found.output
    return out, found


def test_run_prints_the_answers_and_the_files(done):
    out, found = done
    for word in ("field", "cover", "crop plants", "weed patches", "prescription", "quicklook.png", str(out)):
        assert word in found.stdout


def test_run_as_json_is_the_summary(done, ortho):
    out, _ = done
    found = call("run", ortho, "--out", out, *TINY, "--json")
    assert json.loads(found.stdout) == json.loads((out / "summary.json").read_text())


def test_stages_alone_give_the_same_as_run(done, ortho, tmp_path):
    assert call("segment", ortho, "--out", tmp_path / "run", *TINY).exit_code == 0
    assert call("vectorize", tmp_path / "run").exit_code == 0
    assert call("prescribe", tmp_path / "run").exit_code == 0
    ours, theirs = (json.loads((out / "summary.json").read_text()) for out in (tmp_path / "run", done[0]))
    assert ours == theirs


def test_prescribe_takes_a_machine(done, tmp_path):
    found = call("prescribe", done[0], "--rate", 120, "--section", 1, "--heading", 30, "--json")
    assert found.exit_code == 0
    readme = next((done[0] / "prescription").rglob("README.txt")).read_text()
    assert "120" in readme


def test_check_tells_what_the_ortho_is(ortho):
    found = call("check", ortho)
    assert found.exit_code == 0
    assert "3 mm per pixel" in found.stdout
    assert "a run takes about" in found.stdout
    assert json.loads(call("check", ortho, "--json").stdout)["estimate"]["hectares"] == pytest.approx(1.8e-4)


def test_check_of_a_coarse_ortho_is_an_error_with_a_remedy(ortho, tmp_path):
    with rasterio.open(ortho) as source:
        profile = source.profile | {"transform": Affine(0.05, 0, 600000, 0, -0.05, 5500000)}
        with rasterio.open(tmp_path / "coarse.tif", "w", **profile) as raster:
            raster.write(source.read())
    found = call("check", tmp_path / "coarse.tif")
    assert found.exit_code == 2
    assert "->" in found.stdout
    refused = call("run", tmp_path / "coarse.tif", "--out", tmp_path / "run")
    assert refused.exit_code == 2
    assert "--force" in refused.stderr


def test_models_lists_the_default(done):
    found = call("models")
    assert found.exit_code == 0
    assert found.stdout.startswith("default ")
    assert json.loads(call("models", "default", "--json").stdout)[0]["name"] == "default"


def test_evaluate_of_a_raster_against_itself_is_perfect(done):
    classes = done[0] / "classes.tif"
    found = json.loads(call("evaluate", classes, classes, "--json").stdout)
    assert found["miou"] == 1
    assert "mIoU" in call("evaluate", classes, classes, "--cols", 0, 100).stdout


def test_tile_and_train_make_a_model_that_runs(ortho, done, tmp_path):
    config = tmp_path / "tiles.yaml"
    config.write_text(
        f"tile_px: 128\nsources:\n  - {{name: a, images: '{ortho}', labels: '{done[0] / 'classes.tif'}', "
        "validation_cols: [384, 500]}\n"
    )
    assert "16 tiles" in call("tile", config, "--out", tmp_path / "set").stdout
    training = ["--set", f"sets=[{{path: '{tmp_path / 'set'}'}}]", "--set", "steps=3", "--set", "crop_px=64"]
    training += ["--device", "cpu", "--out", tmp_path / "model"]
    trained = call("train", ROOT / "configs" / "train_tiny.yaml", *training)
    assert trained.exit_code == 0, trained.output
    assert call("run", ortho, "--model", tmp_path / "model", "--out", tmp_path / "run").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "nothing.tif"], 2, "nothing.tif"),
        (["run", "ORTHO", "--model", "nothing"], 2, "neither a model directory"),
        (["run", "ORTHO", "--set", "spray.rate=3"], 2, "expected one of"),
        (["run", "ORTHO", "--set", "backend=abacus"], 2, "expected one of auto"),
        (["run", "ORTHO", "--boundary", "nothing.gpkg"], 2, "nothing.gpkg"),
        (["prescribe", "."], 2, "run that stage first"),
        (["models", "nothing"], 2, "neither a model directory"),
        (["train", "nothing.yaml", "--out", "x"], 2, "nothing.yaml cannot be read"),
    ],
)
def test_what_cannot_be_used_is_one_line_on_stderr(ortho, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    found = call(*[str(ortho) if argument == "ORTHO" else argument for argument in arguments])
    assert found.exit_code == code
    assert message in found.stderr
    assert found.stderr.count("\n") == 1
    assert found.stdout == ""


def test_files_that_people_made_are_not_written_over(ortho, tmp_path):
    """Neither what is read, nor labels that may have been corrected, nor findings that were looked at."""
    mine = tmp_path / "ortho.tif"
    mine.write_bytes(ortho.read_bytes())
    with rasterio.open(mine) as source:
        profile = source.profile | {"count": 1, "nodata": 255}
    classes = np.zeros((400, 500), np.uint8)
    classes[30:70, 30:60] = 1
    with rasterio.open(tmp_path / "labels.tif", "w", **profile) as sink:
        sink.write(classes, 1)
    labels, layer, findings = tmp_path / "labels.tif", tmp_path / "labels.gpkg", tmp_path / "findings.gpkg"

    def refused(message, *words):
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        found = call(*words)
        assert found.exit_code == 2, found.output
        assert message in found.output
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

    convert, check = ("labels", "convert", labels, "--ortho", mine), ("labels", "check", mine, labels)
    refused("is one of the files that are read", *convert, "--out", mine)
    refused("is one of the files that are read", *convert, "--out", labels, "--overwrite")
    refused("is one of the files that are read", *check, "--out", labels)
    refused("is one of the files that are read", "models", "export", "default", "--image", mine, "--out", mine)
    assert call(*convert, "--out", layer).exit_code == 0
    refused("choose another --out, or give --overwrite", *convert, "--out", layer)
    refused("holds labels, which would be lost", *check, "--out", layer)
    area = ("--set", f"labelled_area={layer}", "--overwrite")
    refused("is one of the files that are read", *convert, "--out", layer, *area)
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(labels, run / "classes.tif")
    call("labels", "convert", run, "--ortho", mine, "--out", run / "classes.tif", "--overwrite")
    assert (run / "classes.tif").read_bytes() == labels.read_bytes()
    shutil.rmtree(run)
    assert call(*convert, "--out", layer, "--overwrite").exit_code == 0
    for _ in range(2):
        assert call(*check, "--out", findings).exit_code == 0
    rows = gpd.read_file(findings, layer="suspicious")
    assert len(rows)
    rows.drop(columns="done").to_file(findings, layer="suspicious", engine="pyogrio")
    assert call(*check, "--out", findings).exit_code == 0
    rows.assign(done=1).to_file(findings, layer="suspicious", engine="pyogrio")
    refused("are marked as done, which would be lost", *check, "--out", findings)


def test_warnings_are_one_line_without_a_place_in_the_source(ortho, tmp_path):
    """In a process of its own: pytest shows warnings in its own way."""
    with rasterio.open(ortho) as source:
        profile = source.profile | {"count": 1, "nodata": 255}
    with rasterio.open(tmp_path / "labels.tif", "w", **profile) as sink:
        sink.write(np.full((400, 500), 255, np.uint8), 1)
    words = ["labels", "convert", tmp_path / "labels.tif", "--ortho", ortho, "--out", tmp_path / "yolo"]
    found = subprocess.run([sys.executable, "-m", "geoseg", *words], capture_output=True, text=True, check=True)
    assert found.stderr.startswith("geoseg: warning: 200000 px are left out of the labels")
    assert found.stderr.count("\n") == 1


def test_debug_shows_the_traceback():
    with pytest.raises(ValueError, match="nothing"):
        CliRunner().invoke(main, ["--debug", "models", "nothing"], catch_exceptions=False)


def test_help_needs_no_torch():
    code = (
        "import sys; from geoseg.cli import main; main(['--help'], standalone_mode=False); print(sorted(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = found.stdout.rsplit("[", 1)[1]
    for heavy in ("'torch'", "'rasterio'", "'geopandas'", "'numpy'"):
        assert heavy not in loaded
