"""The QGIS plugin without QGIS: environment, where geoseg is, commands, events, the child process, the zip."""

from __future__ import annotations

import ast
import configparser
import json
import os
import signal
import subprocess
import sys
import threading
import time
import tomllib
import zipfile
from pathlib import Path

import click
import pytest

import geoseg
from geoseg.cli import main
from geoseg.export.columns import LAYERS
from geoseg.export.profiles import profile_names
from geoseg.results import CLASSES, CONFIDENCE, FIELD, QUICKLOOK, SUMMARY
from geoseg.rundir import STAGES
from geoseg.spray.machine import machine_names
from geoseg_qgis.core import catalogue, commands, results
from geoseg_qgis.core.environment import child_environment
from geoseg_qgis.core.errors import CancelledError, FailedError, GeosegNotFoundError, InputError
from geoseg_qgis.core.events import SHARES, Listener, Report, failure, progress_text
from geoseg_qgis.core.locate import MINIMUM, VARIABLE, command_of, find, own_environment, version_of
from geoseg_qgis.core.process import Outcome, run_child
from geoseg_qgis.core.setup import choose_python, make_environment, setup_steps

ROOT = Path(__file__).resolve().parents[1]
PLUGIN = ROOT / "qgis_plugin" / "geoseg_qgis"
POSIX = pytest.mark.skipif(os.name == "nt", reason="the stand-in programs are shell scripts")


# The environment of the child


def test_what_qgis_sets_for_its_own_python_does_not_reach_the_child() -> None:
    found = child_environment(
        {"PYTHONHOME": "/q", "PYTHONPATH": "/q", "GDAL_DATA": "/q", "PROJ_LIB": "/q", "PROJ_DATA": "/q", "HOME": "/me"},
        "/me/env/bin/geoseg",
    )
    assert not {"PYTHONHOME", "PYTHONPATH", "GDAL_DATA", "PROJ_LIB", "PROJ_DATA"} & set(found)
    assert found["HOME"] == "/me"
    assert found["PYTHONUTF8"] == "1"


def test_the_child_starts_although_pythonhome_is_that_of_another_python(tmp_path: Path) -> None:
    foreign = os.environ | {"PYTHONHOME": str(tmp_path), "PYTHONPATH": str(tmp_path), "PROJ_LIB": str(tmp_path)}
    command = [sys.executable, "-c", "import sys; print(sys.prefix)"]
    assert subprocess.run(command, env=foreign, capture_output=True, check=False).returncode != 0
    done = subprocess.run(command, env=child_environment(foreign, sys.executable), capture_output=True, check=True)
    assert done.stdout.decode().strip() == sys.prefix


@POSIX
@pytest.mark.parametrize(
    ("environ", "prefix", "kept"),
    [
        ({"PATH": "/usr/bin:/bin"}, "/usr", "/usr/bin:/bin"),
        ({"PATH": "/tmp/.mount_q/usr/bin:/usr/bin", "APPDIR": "/tmp/.mount_q"}, "", "/usr/bin"),
        (
            {"PATH": "/Applications/QGIS.app/Contents/MacOS/bin:/usr/bin"},
            "/Applications/QGIS.app/Contents/MacOS",
            "/usr/bin",
        ),
        ({"PATH": "/opt/qgis/bin:/opt/qgisx/bin"}, "/opt/qgis", "/opt/qgisx/bin"),
    ],
)
def test_folders_of_a_bundled_qgis_leave_the_search_path(environ: dict[str, str], prefix: str, kept: str) -> None:
    assert child_environment(environ, "/me/bin/geoseg", prefix)["PATH"] == kept


@POSIX
def test_libraries_of_grass_go_and_those_of_the_person_stay() -> None:
    found = child_environment({"LD_LIBRARY_PATH": "/usr/lib/grass82/lib:/usr/local/cuda/lib64"}, "geoseg")
    assert found["LD_LIBRARY_PATH"] == "/usr/local/cuda/lib64"
    assert "LD_LIBRARY_PATH" not in child_environment({"LD_LIBRARY_PATH": "/usr/lib/grass82/lib"}, "geoseg")


# Where geoseg is


def program(path: Path, says: str = f"geoseg, version {geoseg.__version__}", code: int = 0) -> Path:
    """A shell script that answers anything with one line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\nexit {code}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@POSIX
def test_the_variable_wins_over_the_setting_and_that_over_the_usual_places(tmp_path: Path) -> None:
    names = ("variable", "setting", "path/geoseg")
    variable, setting, on_path = (program(tmp_path / name) for name in names)
    usual = program(own_environment({}, tmp_path) / "bin" / "geoseg")
    environ = {VARIABLE: str(variable), "PATH": str(on_path.parent)}
    assert find(environ, str(setting), tmp_path).command == (str(variable),)
    del environ[VARIABLE]
    assert find(environ, str(setting), tmp_path).command == (str(setting),)
    assert find(environ, "", tmp_path).command == (str(usual),)
    usual.unlink()
    assert find(environ, "", tmp_path).command == (str(on_path),)


@POSIX
@pytest.mark.parametrize("place", ["miniconda3/envs/geoseg/bin", ".venvs/geoseg/bin", ".local/bin", "geoseg/.venv/bin"])
def test_the_usual_environments_are_looked_into(tmp_path: Path, place: str) -> None:
    there = program(tmp_path / place / "geoseg")
    assert find({"PATH": ""}, "", tmp_path).command == (str(there),)


def test_the_layout_of_windows_is_known(tmp_path: Path) -> None:
    there = tmp_path / "env" / "Scripts" / "geoseg.exe"
    there.parent.mkdir(parents=True)
    there.touch()
    assert command_of(tmp_path / "env", "win32") == (str(there),)
    assert own_environment({"LOCALAPPDATA": str(tmp_path)}, Path("C:/x"), "win32") == tmp_path / "geoseg" / "env"


def test_a_python_is_asked_for_its_module() -> None:
    assert command_of(Path(sys.executable)) == (sys.executable, "-m", "geoseg")


def test_nothing_found_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(GeosegNotFoundError, match="was not found.*Set up geoseg.*GEOSEG_EXECUTABLE"):
        find({"PATH": ""}, "", tmp_path)
    with pytest.raises(GeosegNotFoundError, match="the setting says .*nowhere, where there is no program"):
        find({"PATH": ""}, str(tmp_path / "nowhere"), tmp_path)


def test_the_real_geoseg_tells_its_version(tmp_path: Path) -> None:
    found = find({VARIABLE: sys.executable}, "", tmp_path)
    assert version_of(found, os.environ) == geoseg.__version__
    assert ".".join(map(str, MINIMUM)) <= geoseg.__version__


@POSIX
@pytest.mark.parametrize(
    ("says", "code", "message"),
    [
        ("geoseg, version 0.0.9", 0, "is version 0.0.9; this plugin needs 0.1.0 or newer"),
        ("hello", 0, "is not a geoseg that works"),
        ("No module named geoseg", 1, "No module named geoseg"),
    ],
)
def test_another_program_or_an_old_one_is_refused(tmp_path: Path, says: str, code: int, message: str) -> None:
    found = find({VARIABLE: str(program(tmp_path / "geoseg", says, code))}, "", tmp_path)
    with pytest.raises(GeosegNotFoundError, match=message):
        version_of(found, os.environ)


# Commands


def parsed(words: list[str]) -> click.Context:
    """The context of the command after the command line has parsed the words; raises if an option is unknown."""
    command: click.Command = main
    context = command.make_context("geoseg", list(words))
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None
        command, context = found, found.make_context(name, rest, parent=context)
    return context


CHOICE = commands.OrthoChoice(
    "ortho é.tif", "field.gpkg", "m", "c.yaml", "EPSG:32632", 0.003, True, "spray.buffer_m=1\n\n# no\n rows.x = 2 \n"
)
SPRAY = commands.SprayChoice("drone_40l", -12.5, 150.0, 0.25, "ab.gpkg", "no.gpkg", ("deere", "dji"), "", "a.b=c")
WORDS = [
    commands.run("run", CHOICE, "out dir", fresh=True, adapt=True),
    commands.run("segment", commands.OrthoChoice("-odd.tif"), "out"),
    commands.prescribe("run", SPRAY),
    commands.export("run", ["isoxml", "dji"], "", "SPRAY"),
    commands.labels_check(
        "o.tif", "l.gpkg", "s.gpkg", "default", "radius_m=0.1", "species", "labels", "where é: 1.gpkg"
    ),
    commands.adapt("o.tif", "model", "b.gpkg", "default", "h.gpkg", "", "tune.steps=2"),
    commands.check(CHOICE),
]


@pytest.mark.parametrize("words", WORDS, ids=[" ".join(words[:3]) for words in WORDS])
def test_the_command_line_takes_the_words(words: list[str]) -> None:
    parsed(words)


def test_the_words_say_what_was_filled_in() -> None:
    context = parsed(WORDS[0])
    assert context.params["orthos"] == ("ortho é.tif",)
    assert context.params["overrides"] == ("spray.buffer_m=1", "rows.x = 2")
    assert context.params["out"] == Path("out dir")
    assert (context.params["gsd"], context.params["force"], context.params["adapt_first"]) == (0.003, True, True)
    assert parsed(WORDS[1]).params["ortho"] == "-odd.tif"
    sprayed = parsed(WORDS[2]).params
    assert (sprayed["heading"], sprayed["rate"], sprayed["section"]) == (-12.5, 150.0, 0.25)
    assert sprayed["overrides"] == ("profiles=[deere, dji]", "a.b=c")


def test_empty_fields_are_not_said() -> None:
    assert commands.prescribe("run", commands.SprayChoice()) == ["--json-events", "prescribe", "--", "run"]
    assert commands.check(commands.OrthoChoice("o.tif")) == ["check", "--", "o.tif"]


@pytest.mark.parametrize("text", ["spray.buffer_m", "=1", "spray buffer=1"])
def test_a_line_that_is_no_parameter_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected one key=value a line"):
        commands.overrides(f"a=1\n{text}")


def test_an_export_to_no_terminal_is_refused() -> None:
    with pytest.raises(InputError, match="choose at least one profile"):
        commands.export("run", [], "", "")


def test_the_catalogue_is_that_of_geoseg() -> None:
    assert list(catalogue.machines()) == list(machine_names())
    assert list(catalogue.profiles()) == list(profile_names())


# Events


class Heard:
    """Keeps what a listener reports."""

    def __init__(self, shares: str = "run", show_stdout: bool = True) -> None:
        self.percent: list[float] = []
        self.text: list[str] = []
        self.info: list[str] = []
        self.warning: list[str] = []
        report = Report(self.percent.append, self.text.append, self.info.append, self.warning.append)
        self.listener = Listener(report, SHARES[shares], show_stdout)

    def tell(self, **event: object) -> None:
        self.listener.line("stderr", json.dumps(event))


def test_progress_grows_from_stage_to_stage() -> None:
    heard = Heard()
    for stage in ("segment", "vectorize", "rows", "prescribe", "picture"):
        heard.tell(event="stage_started", stage=stage)
        heard.tell(event="progress", stage=stage, done=1, total=2, eta_s=7.4)
        heard.tell(event="stage_finished", stage=stage, seconds=1.25, peak_mb=800)
    heard.tell(event="run_finished", run="x", worked=["segment"])
    assert heard.percent == sorted(heard.percent)
    assert (heard.percent[0], heard.percent[-1]) == (0, 100)
    assert heard.percent[1] == pytest.approx(40)
    assert "segment: 50%, about 7 s left" in heard.text
    assert "segment: done in 1.2 s, 800 MB of memory" in heard.info
    assert heard.listener.finished is not None


def test_every_stage_of_a_run_has_its_share() -> None:
    assert set(STAGES) <= set(SHARES["run"])
    for name, shares in SHARES.items():
        assert sum(shares.values()) == 100, name


def test_warnings_are_told_without_the_line_of_code() -> None:
    heard = Heard()
    for line in ("/x/boundary.py:73: GeosegWarning: field.gpkg: 2 polygons were repaired", "  warnings.warn(", "plain"):
        heard.listener.line("stderr", line)
    assert heard.warning == ["field.gpkg: 2 polygons were repaired"]
    assert heard.info == ["plain"]


def test_lines_that_only_look_like_events_are_text() -> None:
    heard = Heard()
    for line in ('{"event": broken', '["event"]', "{}"):
        heard.listener.line("stderr", line)
    heard.tell(event="progress", stage="unknown", done=1, total=0, eta_s=None)
    assert heard.info == ['{"event": broken', '["event"]', "{}"]
    assert heard.percent == []


def test_the_message_of_an_error_is_left_to_whoever_raises_it() -> None:
    heard = Heard()
    for line in ("geoseg: flight 1 of 2: a.tif", "more", "geoseg: a.tif cannot be opened"):
        heard.listener.line("stderr", line)
    assert heard.info == ["geoseg: flight 1 of 2: a.tif", "more"]
    heard.listener.flush()
    assert heard.info[-1] == "geoseg: a.tif cannot be opened"


def test_stdout_is_shown_only_where_it_is_for_people() -> None:
    for show in (True, False):
        heard = Heard(show_stdout=show)
        heard.listener.line("stdout", "field 1 ha")
        assert bool(heard.info) is show


@pytest.mark.parametrize(
    ("lines", "code", "message"),
    [
        (["geoseg: x.tif cannot be opened", ""], 2, "geoseg: x.tif cannot be opened"),
        (["Usage: geoseg run", "", "Error: No such option: --x"], 2, "Error: No such option: --x"),
        (["Traceback (most recent call last):", "  File", "ValueError: odd"], 1, "exit code 1: ValueError: odd"),
        (['{"event": "progress"}'], -9, "signal 9 .* it said nothing"),
    ],
)
def test_the_message_of_a_failure_is_that_of_geoseg(lines: list[str], code: int, message: str) -> None:
    with pytest.raises(FailedError, match=message):
        raise FailedError(failure(Outcome(code, stderr=lines)))


def test_the_time_left_is_told_in_the_unit_that_fits() -> None:
    ends = [progress_text("a", 0.5, seconds).rpartition(", ")[2] for seconds in (12, 600, 9000)]
    assert ends == ["about 12 s left", "about 10 min left", "about 2.5 h left"]


# The child process


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_lines_come_as_they_are_written() -> None:
    code = "import sys, time\nfor i in range(3): print('é', i, flush=True); print(i, file=sys.stderr); time.sleep(0.2)"
    lines: list[tuple[str, str, float]] = []
    environ = os.environ | {"PYTHONIOENCODING": "utf-8"}
    outcome = run_child(python(code), environ, lambda name, line: lines.append((name, line, time.monotonic())))
    assert outcome.code == 0
    assert outcome.stdout == ["é 0", "é 1", "é 2"]
    assert outcome.stderr == ["0", "1", "2"]
    assert lines[-1][2] - lines[0][2] > 0.25


def test_much_output_on_both_pipes_does_not_block() -> None:
    code = "import sys\nfor i in range(20000): print(i); print(i, file=sys.stderr)"
    outcome = run_child(python(code), os.environ, lambda name, line: None)
    assert len(outcome.stdout) == 20000
    assert outcome.stderr[-1] == "19999"


def test_a_cancelled_child_tidies_up_and_its_own_child_ends(tmp_path: Path) -> None:
    code = f"""
import pathlib, subprocess, sys, time
folder = pathlib.Path({str(tmp_path)!r})
inner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
(folder / "inner").write_text(str(inner.pid))
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    (folder / "tidied").touch()
    raise SystemExit(1)
"""
    asked, started = threading.Event(), time.monotonic()
    outcome = run_child(python(code), os.environ, lambda name, line: asked.set(), asked.is_set, grace_s=10)
    assert outcome.cancelled
    assert outcome.code != 0
    assert time.monotonic() - started < 30
    if os.name != "nt":
        assert (tmp_path / "tidied").exists()
        assert gone(int((tmp_path / "inner").read_text()))


def gone(pid: int) -> bool:
    """Whether a process has ended, waiting a little for whoever has to collect it."""
    for _ in range(50):
        try:
            os.kill(pid, 0)
            status = Path(f"/proc/{pid}/stat")
            if status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.1)
    return False


@POSIX
def test_a_child_that_does_not_listen_is_ended(tmp_path: Path) -> None:
    code = (
        "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready', flush=True)\ntime.sleep(60)"
    )
    asked = threading.Event()
    outcome = run_child(python(code), os.environ, lambda name, line: asked.set(), asked.is_set, grace_s=0.3)
    assert (outcome.cancelled, outcome.code) == (True, -signal.SIGKILL)


def test_an_error_in_the_listener_ends_the_child() -> None:
    def fail(name: str, line: str) -> None:
        raise ZeroDivisionError

    started = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        run_child(python("import time; print(1, flush=True); time.sleep(60)"), os.environ, fail)
    assert time.monotonic() - started < 20


def test_a_grandchild_that_holds_the_pipes_does_not_keep_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geoseg_qgis.core.process.PIPES_S", 0.3)
    code = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(4)'])"
    started = time.monotonic()
    assert run_child(python(code), os.environ, lambda name, line: None).code == 0
    assert time.monotonic() - started < 3


# Making an environment


def wheel(folder: Path, broken: bool = False) -> Path:
    """A wheel called geoseg with nothing but a version; a broken one does not start."""
    path = folder / "geoseg-9.9.9-py3-none-any.whl"
    body = "raise ImportError('broken')" if broken else "print('geoseg, version 9.9.9')"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("geoseg/__init__.py", "def main():\n    print('geoseg, version 9.9.9')\n")
        archive.writestr("geoseg/__main__.py", body)
        info = "geoseg-9.9.9.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: geoseg\nVersion: 9.9.9\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/entry_points.txt", "[console_scripts]\ngeoseg = geoseg:main\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.mark.slow
def test_an_environment_is_made_and_found(tmp_path: Path) -> None:
    lines: list[str] = []
    folder = own_environment({}, tmp_path / "with space é")
    made = make_environment([sys.executable], folder, str(wheel(tmp_path)), os.environ, lines.append)
    assert made == folder
    assert any(line.startswith("> make an environment") for line in lines)
    assert any("Successfully installed geoseg-9.9.9" in line for line in lines)
    found = find({"PATH": ""}, "", tmp_path / "with space é")
    assert version_of(found, os.environ) == "9.9.9"
    (again, *_) = setup_steps(["python"], folder, "geoseg")
    assert again.text.startswith("install geoseg")  # what is there is updated


def test_a_failed_environment_leaves_nothing(tmp_path: Path) -> None:
    code = "import pathlib, sys; pathlib.Path(sys.argv[3], 'half').mkdir(parents=True); sys.exit('no ensurepip here')"
    with pytest.raises(FailedError, match="could not make an environment in .*: no ensurepip here"):
        make_environment([sys.executable, "-c", code], tmp_path / "env", "geoseg", os.environ, print)
    assert not (tmp_path / "env").exists()


def test_a_stopped_environment_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(CancelledError):
        make_environment([sys.executable], tmp_path / "env", "geoseg", os.environ, print, lambda: True)
    assert not (tmp_path / "env").exists()


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").touch()
    with pytest.raises(InputError, match="is not empty and no environment"):
        make_environment([sys.executable], tmp_path, "geoseg", os.environ, print)
    assert (tmp_path / "thesis.doc").exists()


@POSIX
def test_an_old_python_is_not_taken(tmp_path: Path) -> None:
    old, none = program(tmp_path / "old", "python 3 9"), tmp_path / "none"
    assert choose_python(os.environ, [[str(none)], [str(old)], [sys.executable]]) == (sys.executable,)
    with pytest.raises(InputError, match=r"no Python 3.11 or newer .*old is 3.9\)"):
        choose_python(os.environ, [[str(old)]])


# Results


def test_outputs_are_the_files_of_a_run_directory(tmp_path: Path) -> None:
    assert {name for name, _ in results.RASTERS.values()} == {CLASSES, CONFIDENCE}
    assert {QUICKLOOK, SUMMARY} <= {name for name, _ in results.RUN_FILES.values()}
    assert results._PACKAGE == FIELD
    assert {name for name, _ in results.LAYERS.values()} <= {*LAYERS, "prescription"}
    (tmp_path / "classes.tif").touch()
    found = results.outputs(tmp_path, dict.fromkeys(["CLASSES", "CONFIDENCE", "PLANTS", "FIELD_HA"]))
    assert found == {"CLASSES": str(tmp_path / "classes.tif"), "CONFIDENCE": None, "PLANTS": None}


def test_figures_that_were_not_computed_are_none(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps({"field_ha": 2, "prescription": {"refused": "no place"}}))
    found = results.figures(tmp_path)
    assert found["FIELD_HA"] == 2
    assert found["LITRES"] is found["CROP_PLANTS"] is None
    with pytest.raises(FailedError, match="summary.json cannot be read"):
        results.figures(tmp_path / "none")


# The zip


@pytest.fixture(scope="module")
def zips(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The plugin's zip, made twice."""
    folder = tmp_path_factory.mktemp("zip")
    for name in ("a.zip", "b.zip"):
        subprocess.run([sys.executable, str(ROOT / "qgis_plugin" / "build.py"), str(folder / name)], check=True)
    return folder / "a.zip", folder / "b.zip"


def test_the_zip_is_the_same_each_time(zips: tuple[Path, Path]) -> None:
    assert zips[0].read_bytes() == zips[1].read_bytes()
    with zipfile.ZipFile(zips[0]) as archive:
        assert {entry.date_time[:3] for entry in archive.infolist()} == {(1980, 1, 1)}


def test_the_zip_holds_one_folder_with_all_that_qgis_needs(zips: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(zips[0]) as archive:
        names = set(archive.namelist())
        licence = archive.read("geoseg_qgis/LICENSE")
    assert {name.partition("/")[0] for name in names} == {"geoseg_qgis"}
    assert licence == (ROOT / "LICENSE").read_bytes()
    sources = {path.relative_to(PLUGIN.parent).as_posix() for path in PLUGIN.rglob("*.py")}
    assert sources | {f"geoseg_qgis/{name}" for name in ("metadata.txt", "icon.svg", "core/catalogue.json")} <= names
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


def test_the_metadata_is_what_qgis_reads() -> None:
    read = configparser.ConfigParser()
    read.read(PLUGIN / "metadata.txt", encoding="utf-8")
    general = read["general"]
    assert general["version"] == geoseg.__version__
    assert general["hasProcessingProvider"] == "yes"  # else qgis_process does not load it
    assert general["qgisMinimumVersion"] == "3.22"
    assert (PLUGIN / general["icon"]).is_file()
    assert all(general[key] for key in ("name", "description", "about", "author"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert general["license"] == project["license"]


def modules() -> list[Path]:
    return sorted(PLUGIN.rglob("*.py"))


@pytest.mark.parametrize("path", modules(), ids=[path.relative_to(PLUGIN).as_posix() for path in modules()])
def test_the_plugin_imports_neither_geoseg_nor_what_qgis_may_lack(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))  # the Python of QGIS 3.22 on Windows
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    foreign = {str(name).partition(".")[0] for name in names} - sys.stdlib_module_names - {"geoseg_qgis"}
    core = "core" in path.parts
    assert foreign <= (set() if core else {"qgis", "processing"})
    if core:
        assert not [name for name in names if str(name).startswith("geoseg_qgis.") and ".core" not in str(name)]
