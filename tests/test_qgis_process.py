"""The QGIS plugin in a real QGIS without a window: installed from its zip, every algorithm run, beside the commands."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import rasterio
import shapely
from affine import Affine

from geoseg_qgis.core.environment import child_environment
from geoseg_qgis.core.process import run_child

ROOT = Path(__file__).resolve().parents[1]
TILES = ("potato_000000_000192.tif", "potato_000000_000000.tif")  # real plants, 4 mm per pixel; the first has weeds
QGIS = shutil.which("qgis_process.bin") or shutil.which(
    "qgis_process"
)  # Debian's script adds an option of another program
PYTHON = Path("/usr/bin/python3")
PROCESSING = Path("/usr/share/qgis/python/plugins")
GEOSEG = [sys.executable, "-m", "geoseg"]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(QGIS is None, reason="qgis_process is not installed")]


class Qgis:
    """A QGIS with a profile of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        config, runtime = folder / "config", folder / "runtime"
        self.plugins = config / "profiles" / "default" / "python" / "plugins"
        runtime.mkdir(mode=0o700)
        self.environ = {
            "PATH": "/usr/bin:/bin", "HOME": str(folder), "XDG_RUNTIME_DIR": str(runtime), "LC_ALL": "C.UTF-8",
            "QT_QPA_PLATFORM": "offscreen", "QGIS_CUSTOM_CONFIG_PATH": str(config), "GEOSEG_EXECUTABLE": sys.executable,
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2"),
        }  # fmt: skip
        subprocess.run([sys.executable, str(ROOT / "qgis_plugin" / "build.py"), str(folder / "a.zip")], check=True)
        with zipfile.ZipFile(folder / "a.zip") as archive:
            archive.extractall(self.plugins)
        assert "geoseg_qgis" in self.call("plugins", "enable", "geoseg_qgis").stdout

    def call(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """What ``qgis_process`` says; what it writes stays in the folder's logs."""
        done = subprocess.run(
            [str(QGIS), *words], env=self.environ | environ, capture_output=True, text=True, check=False, timeout=900,
            cwd=self.folder,
        )  # fmt: skip
        with (self.folder / "qgis.txt").open("a", encoding="utf-8") as log:
            log.write(f"$ qgis_process {' '.join(words)}\n{done.stdout}\n{done.stderr}\n== {done.returncode}\n")
        return done

    def run(self, algorithm: str, **parameters: Any) -> dict[str, Any]:
        """The results of an algorithm that works."""
        words = [
            f"{name}={one}"
            for name, value in parameters.items()
            for one in (value if isinstance(value, list) else [value])
        ]
        done = self.call("--json", "run", algorithm, "--", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        results: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])["results"]
        return results

    def session(self, jobs: str, folder: Path) -> dict[str, Any]:
        """What `qgis_session` finds in the Python of QGIS."""
        paths = os.pathsep.join([str(self.plugins), str(PROCESSING)])
        done = subprocess.run(
            [str(PYTHON), str(ROOT / "tests" / "qgis_session.py"), jobs, str(folder)], cwd=self.folder,
            env=self.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=False, timeout=900,
        )  # fmt: skip
        assert done.stdout.strip(), done.stderr
        found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return found


@pytest.fixture(scope="module")
def qgis(tmp_path_factory: pytest.TempPathFactory) -> Qgis:
    return Qgis(tmp_path_factory.mktemp("qgis"))


@pytest.fixture(scope="module")
def ortho(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small real ortho, in a folder with a space and an accent."""
    folder = tmp_path_factory.mktemp("field é 1")
    return Path(shutil.copy(ROOT / "tiles" / "images" / TILES[0], folder / "ortho.tif"))


def geoseg(*words: object) -> str:
    """What the command says."""
    done = subprocess.run([*GEOSEG, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def by_command(ortho: Path) -> Path:
    """The run directory that the command makes."""
    out = ortho.parent / "by command"
    geoseg("run", ortho, "--out", out, "--set", "spray.machine=spot_24m_nozzles", "--set", "spray.buffer_m=0.1")
    return out


@pytest.fixture(scope="module")
def by_qgis(qgis: Qgis, ortho: Path) -> dict[str, Any]:
    """The results of the same in QGIS."""
    return qgis.run(
        "geoseg:run", ORTHO=ortho, OUTPUT=ortho.parent / "by qgis", MACHINE="spot_24m_nozzles", SET="spray.buffer_m=0.1"
    )


def same_files(ours: Path, theirs: Path, names: list[str]) -> None:
    for name in names:
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name


def test_every_algorithm_is_listed_and_explained(qgis: Qgis) -> None:
    listed = json.loads(qgis.call("--json", "list").stdout)["providers"]["geoseg"]["algorithms"]
    assert set(listed) == {
        f"geoseg:{name}" for name in ("run", "segment", "prescribe", "export", "check", "adapt", "labelscheck")
    }
    told = qgis.call("help", "geoseg:prescribe").stdout
    for word in ("Run directory", "MACHINE", "spot_24m_nozzles", "PRESCRIPTION: <outputVector>", "LITRES"):
        assert word in told


def test_run_gives_what_the_command_gives(by_qgis: dict[str, Any], by_command: Path) -> None:
    run = Path(by_qgis["OUTPUT"])
    same_files(run, by_command, ["classes.tif", "confidence.tif", "summary.json"])
    same_files(run / "prescription", by_command / "prescription", ["generic/SPRAY.shp", "generic/SPRAY.dbf"])
    summary = json.loads((by_command / "summary.json").read_text())
    assert by_qgis["LITRES"] == pytest.approx(summary["prescription"]["litres"])
    assert summary["prescription"]["litres"] > 0
    assert by_qgis["CROP_PLANTS"] == summary["plants"]["plants"]["kept"] > 0
    assert by_qgis["PLANTS"] == f"{run / 'field.gpkg'}|layername=plants"


def test_run_again_with_the_same_parameters_has_nothing_to_do(qgis: Qgis, by_qgis: dict[str, Any], ortho: Path) -> None:
    done = qgis.call(
        "run", "geoseg:run", "--", f"ORTHO={ortho}", f"OUTPUT={by_qgis['OUTPUT']}", "MACHINE=spot_24m_nozzles",
        "SET=spray.buffer_m=0.1",
    )  # fmt: skip
    assert done.returncode == 0
    assert "everything was there already" in done.stdout


def test_export_gives_what_the_command_gives(qgis: Qgis, by_qgis: dict[str, Any], by_command: Path) -> None:
    theirs = by_command.parent / "theirs"
    geoseg("export", "write", by_command, "-p", "deere", "-p", "geojson", "--name", "F7", "--out", theirs)
    found = qgis.run(
        "geoseg:export",
        RUN=by_qgis["OUTPUT"],
        PROFILES=["deere", "geojson"],
        NAME="F7",
        OUTPUT=theirs.with_name("ours"),
    )
    files = sorted(path.relative_to(theirs) for path in theirs.rglob("*") if path.is_file())
    assert len(files) > 4
    assert files == sorted(
        path.relative_to(found["OUTPUT"]) for path in Path(found["OUTPUT"]).rglob("*") if path.is_file()
    )
    same_files(
        Path(found["OUTPUT"]), theirs, [str(name) for name in files if name.suffix in (".shp", ".dbf", ".geojson")]
    )


def test_labels_are_checked_as_by_the_command(qgis: Qgis, ortho: Path) -> None:
    labels = Path(shutil.copy(ROOT / "tiles" / "labels" / TILES[0], ortho.parent / "labels.tif"))
    counts = json.loads(geoseg("labels", "check", ortho, labels, "--out", ortho.parent / "theirs.gpkg", "--json"))
    found = qgis.run("geoseg:labelscheck", ORTHO=ortho, LABELS=labels, OUTPUT=ortho.parent / "ours.gpkg")
    assert found["FOUND"] == sum(counts.values()) > 0
    assert Path(found["OUTPUT"]).is_file()


def test_labels_are_checked_where_they_were_drawn(qgis: Qgis, ortho: Path) -> None:
    labels = Path(shutil.copy(ROOT / "tiles" / "labels" / TILES[0], ortho.parent / "labels.tif"))
    with rasterio.open(labels) as raster:
        area = gpd.GeoDataFrame(geometry=[shapely.box(*raster.bounds).centroid.buffer(0.1)], crs=raster.crs)
    area.to_file(ortho.parent / "area.gpkg")
    whole, part = (
        qgis.run("geoseg:labelscheck", ORTHO=ortho, LABELS=labels, OUTPUT=ortho.parent / f"{len(more)}.gpkg", **more)
        for more in ({}, {"AREA": ortho.parent / "area.gpkg"})
    )
    assert part["FOUND"] < whole["FOUND"]


def test_check_says_what_the_command_says(qgis: Qgis, ortho: Path) -> None:
    done = qgis.call("run", "geoseg:check", "--", f"ORTHO={ortho}")
    assert done.returncode == 0
    assert "4 mm per pixel" in done.stdout
    assert "a run takes about" in done.stdout


def test_a_model_chains_the_steps(qgis: Qgis, ortho: Path, by_command: Path) -> None:
    made = qgis.session("make_model", ortho.parent)["make_model"]
    assert made["valid"], made["errors"]
    folder = ortho.parent / "by model"
    done = qgis.call(
        "--json", "run", made["path"], "--", f"ortho={ortho}", "terminals=isoxml", "terminals=geojson",
        f"segment:Run directory={folder}", f"export:Files for terminals={folder / 'stick'}",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    same_files(folder, by_command, ["classes.tif"])
    assert json.loads((folder / "summary.json").read_text())["prescription"]["litres"] > 0
    assert (folder / "stick" / "isoxml" / "TASKDATA" / "TASKDATA.XML").is_file()
    assert (folder / "stick" / "geojson").is_dir()


def test_batch_layers_and_the_page_of_the_first_use(qgis: Qgis, tmp_path: Path, by_command: Path) -> None:
    (tmp_path / "batch").mkdir()
    for name in TILES:
        shutil.copy(ROOT / "tiles" / "images" / name, tmp_path / "batch")
    found = qgis.session("batch,layers,cancel,dialogs", tmp_path)
    assert [one["ok"] for one in found["batch"].values()] == [True, True]
    classes = found["batch"][Path(TILES[0]).stem]["results"]["CLASSES"]
    with rasterio.open(classes) as ours, rasterio.open(by_command / "classes.tif") as theirs:
        assert (ours.read() == theirs.read()).all()  # its tags tell of another ortho

    drawn = found["layers"]
    assert drawn["ok"], drawn["log"]
    assert drawn["results"]["FIELD_HA"] * 1e4 == pytest.approx(drawn["area_m2"], rel=1e-6)  # only what was selected
    assert drawn["percent"] == 100
    assert {"Classes", "Crop plants", "Weed patches", "Prescription"} <= set(drawn["opened"])
    for name, layer in drawn["opened"].items():
        assert layer["valid"], name
        assert layer["styled"], name
    assert drawn["opened"]["Classes"]["renderer"] == "paletted"
    assert "the whole run as a QGIS project" in drawn["log"]
    assert not found["cancel"]["ok"]
    assert "stopped; what was finished is kept" in found["cancel"]["log"]
    assert not found["cancel"]["whole"]
    assert "is ready" in found["dialogs"]["status"]
    assert (tmp_path / "setup.png").stat().st_size > 5000


def test_the_first_use_in_a_window(qgis: Qgis, tmp_path: Path) -> None:
    found = qgis.session("first_use", tmp_path)["first_use"]
    assert found["menu"] == {"Set up geoseg…": "geoseg"}
    assert "was not found" in found["hint"]
    assert not found["can"]
    assert "Set up geoseg" in found["why"]
    assert found["setting"]
    assert not found["menu_after"]
    assert not found["setting_after"]


def test_a_wrong_input_gives_the_message_of_geoseg(qgis: Qgis, ortho: Path, tmp_path: Path) -> None:
    coarse = tmp_path / "coarse.tif"
    with rasterio.open(ortho) as source:
        place = source.transform * Affine.scale(20)
        with rasterio.open(coarse, "w", **source.profile | {"transform": place}) as raster:
            raster.write(source.read())
    done = qgis.call("run", "geoseg:segment", "--", f"ORTHO={coarse}", f"OUTPUT={tmp_path / 'run'}")
    assert done.returncode != 0
    assert "geoseg: coarse.tif is 80 mm per pixel; this model needs 2 to 5; pass --force" in done.stderr
    assert "80 mm" not in done.stdout  # said as the error, and only there


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (["RUN=/nowhere"], "/nowhere is no run directory; choose the folder that Run or Segment has made"),
        (["RUN={run}", "SET=spray.buffer_m"], "expected one key=value a line"),
        (["RUN={run}", "MACHINE=drone_40l", "MACHINE_FILE=mine.yaml"], "choose one"),
        (["RUN={run}", "SET=spray.bufer_m=1"], "geoseg: .*bufer_m"),
    ],
)
def test_what_cannot_be_used_is_said(qgis: Qgis, by_qgis: dict[str, Any], parameters: list[str], message: str) -> None:
    words = [word.format(run=by_qgis["OUTPUT"]) for word in parameters]
    done = qgis.call("run", "geoseg:prescribe", "--", *words)
    assert done.returncode != 0
    with pytest.raises(RuntimeError, match=message):
        raise RuntimeError(done.stdout + done.stderr)


def test_without_geoseg_it_says_what_to_do(qgis: Qgis, ortho: Path, tmp_path: Path) -> None:
    words = ("run", "geoseg:segment", "--", f"ORTHO={ortho}", f"OUTPUT={tmp_path / 'run'}")
    done = qgis.call(*words, GEOSEG_EXECUTABLE="/nowhere/geoseg")
    assert done.returncode != 0
    assert "where there is no program: open Plugins > geoseg > Set up geoseg" in done.stdout + done.stderr
    missing = qgis.call(*words, GEOSEG_EXECUTABLE="")
    assert missing.returncode != 0
    assert "geoseg was not found on this machine" in missing.stdout + missing.stderr


def test_the_setting_is_enough(qgis: Qgis, ortho: Path) -> None:
    (settings,) = qgis.plugins.parents[1].glob("QGIS/QGIS3.ini")
    before = settings.read_text(encoding="utf-8")
    settings.write_text(
        f"{before}\n[Processing]\nConfiguration\\GEOSEG_EXECUTABLE={sys.executable}\n", encoding="utf-8"
    )
    try:
        done = qgis.call("run", "geoseg:check", "--", f"ORTHO={ortho}", GEOSEG_EXECUTABLE="")
    finally:
        settings.write_text(before, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "found through the setting" in done.stdout


def test_a_run_that_was_stopped_goes_on_and_ends_the_same(ortho: Path, by_command: Path, tmp_path: Path) -> None:
    words = [*GEOSEG, "--json-events", "segment", str(ortho), "--out", str(tmp_path / "run")]
    environ = child_environment(os.environ, GEOSEG[0])
    started: list[str] = []

    def listen(stream: str, line: str) -> None:
        if "stage_started" in line:
            started.append(line)

    outcome = run_child(words, environ, listen, lambda: bool(started))
    assert outcome.cancelled
    assert outcome.code != 0
    assert not (tmp_path / "run" / "classes.tif").exists()
    assert run_child(words, environ, lambda stream, line: None).code == 0
    same_files(tmp_path / "run", by_command, ["classes.tif", "confidence.tif"])
