"""Spaces and letters beyond ASCII in every path at once, from the flight to the file on the stick, by the commands."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from click.testing import CliRunner, Result

from geoseg.cli import main
from geoseg.models.card import model_folder
from geoseg.spray.machine import machine_text

NAME = "Käse & Brötchen 50 % – поле №7 圃場"  # noqa: RUF001 - that is the point
SHAPE = (640, 800)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that a run is given, all of it named so."""
    folder = tmp_path_factory.mktemp("odd") / NAME
    folder.mkdir()
    (folder / "tmp ü").mkdir()
    random = np.random.default_rng(0)
    image = np.array([140, 115, 90])[:, None, None] + random.integers(-20, 20, (3, *SHAPE))
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]]
    image[:, ((rows % 160 - 80) ** 2 + (cols % 130 - 65) ** 2) < 25**2] = np.array([60, 150, 40])[:, None]
    transform = Affine(0.004, 0, 600000, 0, -0.004, 5500000)
    shape = {"count": 3, "height": SHAPE[0], "width": SHAPE[1], "dtype": "uint8", "photometric": "RGB"}
    with rasterio.open(
        folder / f"Flug {NAME}.tif", "w", driver="GTiff", crs="EPSG:32632", transform=transform, tiled=True, **shape
    ) as raster:
        raster.write(image.clip(0, 255).astype(np.uint8))
    square = shapely.box(600000.2, 5500000 - 2.4, 600003, 5500000 - 0.2)
    frame = gpd.GeoDataFrame({"name": [NAME]}, geometry=[square], crs=32632)
    frame.to_file(folder / f"Grenze {NAME}.gpkg", layer="Grenze ß")
    pond = shapely.box(600001, 5500001 - 2, 600001.4, 5500001 - 1.6)
    gpd.GeoDataFrame(geometry=[pond], crs=32632).to_file(folder / f"Teich {NAME}.geojson")
    (folder / f"Spritze {NAME}.yaml").write_text(machine_text("boom_24m_sections"), encoding="utf-8")
    config = {
        "model": str(folder / f"Modell {NAME}"),
        "segment": {"write_px": 256, "margin_px": 64},
        "spray": {
            "machine": str(folder / f"Spritze {NAME}.yaml"),
            "exclusions": str(folder / f"Teich {NAME}.geojson"),
        },
        "plants": {"panoptic": True},
        "profiles": ["generic", "deere", "isoxml_zones", "dji", "gpkg", "kml", "geotiff"],
    }
    (folder / f"Regel {NAME}.yaml").write_text(json.dumps(config, ensure_ascii=False), encoding="utf-8")
    shutil.copytree(model_folder("default"), folder / f"Modell {NAME}")
    return folder


def geoseg(place: Path, *words: object, code: int = 0) -> Result:
    """A command, called from that folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    """A finished run, in a process of its own whose temporary files lie there too."""
    out = place / f"Lauf {NAME}"
    command = [
        *(sys.executable, "-m", "geoseg", "run", place / f"Flug {NAME}.tif", "--out", out),
        *("--boundary", place / f"Grenze {NAME}.gpkg", "--config", place / f"Regel {NAME}.yaml"),
        *("--set", "spray.heading_deg=20"),
        *("--events", place / f"Ereignisse {NAME}.jsonl", "--profile", place / f"Spur {NAME}.json"),
    ]
    env = os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(place / "tmp ü")) | {"PYTHONUTF8": "1"}
    done = subprocess.run(command, env=env, cwd=place, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_a_run_makes_all_of_its_files(run: Path, place: Path) -> None:
    names = {path.name for path in run.iterdir()}
    assert {"classes.tif", "confidence.tif", "field.gpkg", "quicklook.png", "summary.json", "panoptic.tif"} <= names
    assert not [name for name in names if name.startswith(".") and name != ".lock"]
    assert len(list((run / "prescription").iterdir())) == 7
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    assert summary["prescription"]["field_ha"] * 1e4 == pytest.approx(2.8 * 2.2, rel=1e-3)
    assert {"plants", "weeds", "prescription", "boundary"} <= set(gpd.list_layers(run / "field.gpkg").name)
    assert "run_finished" in (place / f"Ereignisse {NAME}.jsonl").read_text(encoding="utf-8")
    assert json.loads((place / f"Spur {NAME}.json").read_text(encoding="utf-8"))
    assert not list((place / "tmp ü").iterdir())


def test_what_was_written_is_found_again(run: Path, place: Path) -> None:
    again = geoseg(
        *(place, "run", place / f"Flug {NAME}.tif", "--out", run, "--boundary", place / f"Grenze {NAME}.gpkg"),
        *("--config", place / f"Regel {NAME}.yaml", "--set", "spray.heading_deg=20"),
    )
    assert "everything is in" in again.stderr
    for profile in (run / "prescription").iterdir():
        geoseg(place, "export", "check", profile, "--run", run, "--profile", profile.name)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["check", "ORTHO", "--boundary", "FIELD", "--config", "RULE"], "a run takes about"),
        (["config", "check", "RULE"], "can be used by `geoseg run`"),
        (["config", "schema", "--out", "OUT/schéma.json"], "schéma.json"),
        (["models", "show", "MODEL"], "resolution"),
        (["machines", "MACHINE"], "Boom of 24 m"),
        (["count", "RUN"], "crop plants"),
        (["simulate", "RUN", "--thresholds", "", "--sections", ""], "simulation"),
        (["evaluate", "RUN/classes.tif", "RUN/classes.tif", "--out", "OUT/Güte"], "mIoU"),
        (["labels", "convert", "RUN", "--ortho", "ORTHO", "--out", "OUT/Etikett ß.gpkg"], "labels in"),
        (["plants", "RUN", "--coco-panoptic", "OUT/tiles ñ", "--tile-px", "256"], "tiles in"),
        (["export", "write", "RUN", "--profile", "csv", "--out", "OUT/Stick É"], "read back as planned"),
        (["doctor", "--quick"], "geoseg"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_every_command_takes_such_names(place: Path, run: Path, words: list[str], expected: str) -> None:
    given = {
        "ORTHO": place / f"Flug {NAME}.tif",
        "FIELD": place / f"Grenze {NAME}.gpkg",
        "RULE": place / f"Regel {NAME}.yaml",
        "MODEL": place / f"Modell {NAME}",
        "MACHINE": place / f"Spritze {NAME}.yaml",
        "RUN": run,
        "OUT": place,
    }
    filled = [str(given[word]) if word in given else _put(word, given) for word in words]
    assert expected in geoseg(place, *filled).stdout


def _put(word: str, given: dict[str, Path]) -> str:
    head, _, rest = word.partition("/")
    return str(given[head] / rest) if head in given and rest else word


def test_errors_name_such_files_as_they_are(place: Path) -> None:
    missing = geoseg(place, "run", f"nicht da {NAME}.tif", code=2)
    assert f"nicht da {NAME}.tif" in missing.stderr
    assert missing.stderr.count("\n") == 1
