"""The doctor: what is broken is found and named with a remedy, and nothing that is broken breaks the doctor."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from geoseg import doctor, host
from geoseg.cli import main
from geoseg.doctor import PROBES, examine, probe
from geoseg.finding import Finding, worst

BROKEN = {
    "torch": "raise OSError('[WinError 126] c10.dll could not be found')",
    "openvino": "raise ImportError('libopenvino.so: cannot open shared object file')",
    "rasterio": "import os; os.abort()",
    "geopandas": "raise AttributeError('module numpy has no attribute bool8')",
    "numpy": "raise ImportError('numpy.core.multiarray failed to import')",
}


def run_doctor(*options: str, **variables: str) -> tuple[int, dict[str, Finding], str]:
    """The real command: exit code, findings by topic, stderr."""
    command = [sys.executable, "-m", "geoseg", "doctor", "--json", *options]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    found = [Finding(**fields) for fields in report["findings"]]
    assert report["level"] == worst(found)
    return done.returncode, {finding.topic: finding for finding in found}, done.stderr


def test_libraries_that_do_not_load_are_findings(tmp_path: Path) -> None:
    for name, code in BROKEN.items():
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
    code, found, stderr = run_doctor(PYTHONPATH=str(tmp_path))
    assert (code, stderr) == (1, "")
    assert [found[name].level for name in PROBES] == ["error", "warning", "error", "error", "error"]
    assert "c10.dll could not be found" in found["torch"].text
    assert "Visual C++" in found["torch"].remedy
    assert "backend=torch-cpu" in found["openvino"].remedy
    assert "the process ended with" in found["rasterio"].text
    assert found["geoseg"].level == "ok"
    assert all(finding.remedy for finding in found.values() if finding.level in ("warning", "error"))


@pytest.mark.parametrize("name", ["rasterio", "vectors"])
def test_what_works_is_ok_with_its_versions(name: str) -> None:
    import rasterio

    found = list(probe(name))
    assert worst(found) == "ok", found
    version = rasterio.__gdal_version__ if name == "rasterio" else "GeoPackage"
    assert any(version in finding.text for finding in found)


def old_proj(folder: Path) -> Path:
    """A folder with the PROJ database of another age."""
    folder.mkdir()
    with sqlite3.connect(folder / "proj.db") as database:
        database.execute("CREATE TABLE metadata (key TEXT, value TEXT)")
        rows = [("DATABASE.LAYOUT.VERSION.MAJOR", "1"), ("DATABASE.LAYOUT.VERSION.MINOR", "0")]
        database.executemany("INSERT INTO metadata VALUES (?, ?)", rows)
    database.close()
    return folder


def test_another_program_s_proj_is_found_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(old_proj(tmp_path / "pröj älter"))
    for name in ("PROJ_LIB", "PROJ_DATA"):
        monkeypatch.setenv(name, folder)
    named = {finding.topic: finding for finding in doctor._variables()}
    assert "layout 1.0" in named["PROJ_LIB"].text
    assert "unset PROJ_LIB" in named["PROJ_LIB"].remedy
    broken = [finding for finding in probe("rasterio") if finding.level == "error"]
    assert broken
    assert broken[0].topic == "PROJ"
    assert "unset PROJ_LIB, PROJ_DATA" in broken[0].remedy


def test_a_variable_that_leads_nowhere_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROJ_DATA", str(tmp_path))
    monkeypatch.setenv("GDAL_DATA", str(tmp_path / "nowhere"))
    levels = {finding.topic: finding.level for finding in doctor._variables()}
    assert (levels["PROJ_DATA"], levels["GDAL_DATA"]) == ("warning", "warning")


def test_a_package_that_is_missing_or_too_old_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["numpy>=1", "shapely>=99", "nosuchpackage>=2", 'nosuchextra>=1; extra == "zoo"']
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda name: wanted)
    (found,) = doctor._packages()
    assert found.level == "error"
    assert "shapely>=99, but " in found.text
    assert found.remedy == "pip install 'shapely>=99' 'nosuchpackage>=2'"
    assert "nosuchextra" not in found.text


def test_folders_that_cannot_be_written_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    found = {finding.topic: finding for finding in doctor._disk()}
    assert found["temporary"].level == "error"
    assert "TMPDIR" in found["temporary"].remedy
    assert found["folder"].level in ("ok", "warning")


@pytest.mark.parametrize(
    ("total", "free", "level"), [(16000, 8000, "ok"), (2000, 1500, "warning"), (None, None, "note")]
)
def test_memory(monkeypatch: pytest.MonkeyPatch, total: float | None, free: float | None, level: str) -> None:
    monkeypatch.setattr(host, "memory_mb", lambda: total)
    monkeypatch.setattr(host, "free_memory_mb", lambda: free)
    assert [finding.level for finding in doctor._memory()] == [level]


def test_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(host, "cores", lambda: 8)
    monkeypatch.setattr(host, "cpu_quota", lambda: None)
    monkeypatch.setattr(host, "cpu_flags", lambda: frozenset({"avx2", "amx_bf16"}))
    (found,) = doctor._processor()
    assert (found.level, "8 processors, AVX2, AMX" in found.text) == ("ok", True)
    monkeypatch.setattr(host, "cpu_flags", lambda: frozenset({"sse2"}))
    assert next(doctor._processor()).level == "warning"
    monkeypatch.setattr(host, "cpu_quota", lambda: 1.5)
    assert "OMP_NUM_THREADS=2" in next(doctor._processor()).remedy


def test_a_probe_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch.py").write_text("import time; time.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (found,) = probe("torch", patience_s=3)
    assert (found.level, found.text) == ("error", "no answer in 3 s")


def test_quick_loads_nothing_and_people_can_read_it() -> None:
    assert not {finding.topic for finding in examine(quick=True)} & set(PROBES)
    shown = CliRunner().invoke(main, ["doctor", "--quick"])
    assert shown.exit_code == 0
    assert "geoseg" in shown.stdout
    assert shown.stdout.strip().splitlines()[-1] in doctor.VERDICTS.values()
