"""The package as a whole: what importing it costs, what it offers, what its wheel holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zipfile
from importlib import import_module
from pathlib import Path

import pytest

import geoseg

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"torch", "rasterio", "geopandas", "shapely", "pyogrio", "pandas", "matplotlib", "scipy", "xarray", "pydantic"}


def imported_by(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after `statement`."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    return set(json.loads(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout))


def test_the_probe_sees_what_is_imported() -> None:
    assert "shapely" in imported_by("import shapely")


def test_importing_geoseg_is_light() -> None:
    assert not imported_by("import geoseg") & (HEAVY | {"numpy", "click"})


def test_loading_a_network_needs_no_raster_library() -> None:
    assert not imported_by("import geoseg.models.storage") & {"rasterio", "odc", "shapely", "geopandas"}


def test_help_is_fast_and_light() -> None:
    assert not imported_by("import geoseg.cli") & HEAVY
    seconds = []
    for _ in range(3):  # the machine may be busy: the best of three says what the program costs
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "geoseg", "--help"], check=True, capture_output=True, text=True)
        seconds.append(time.perf_counter() - started)
        assert "Usage" in done.stdout
    assert min(seconds) < 1.0


def test_version_is_the_installed_one() -> None:
    assert geoseg.__version__.count(".") == 2


def test_public_names_are_complete_and_exist() -> None:
    assert sorted(geoseg.__all__) == sorted([*geoseg._LAZY, "__version__"])
    for name in geoseg.__all__:
        assert getattr(geoseg, name) is not None
        assert name in dir(geoseg)


def test_public_names_come_from_where_they_are_said_to() -> None:
    for name, place in geoseg._LAZY.items():
        module, _, there = place.partition(":")
        assert getattr(import_module(module), there or name) is getattr(geoseg, name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = geoseg.no_such_name


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Paths in the wheel, built from the checkout without network."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, env=os.environ | {"SOURCE_DATE_EPOCH": "1"})
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_carries_the_machines(wheel_names: set[str]) -> None:
    machines = {path.name for path in (ROOT / "geoseg" / "spray" / "machines").glob("*.yaml")}
    assert machines
    assert {f"geoseg/spray/machines/{name}" for name in machines} <= wheel_names


def test_the_wheel_has_one_top_level_name(wheel_names: set[str]) -> None:
    assert {name.partition("/")[0] for name in wheel_names if ".dist-info" not in name} == {"geoseg"}


def test_the_wheel_holds_every_file_of_the_package(wheel_names: set[str]) -> None:
    files = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "geoseg").rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".tmp") and "__pycache__" not in path.parts
    }
    assert "geoseg/py.typed" in files
    assert files <= wheel_names
