"""Orthos that lie elsewhere, read piece by piece through GDAL; run directories that do not are refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio._env import get_gdal_config

from geoseg import job
from geoseg.config import load_config
from geoseg.errors import InputError, OrthoError
from geoseg.ortho import Ortho
from geoseg.ortho.source import CACHE_MB, environment
from rasters import noise, write
from test_job import CONFIG, ColourSegmenter, field

__all__ = ["field"]


@pytest.fixture(scope="module")
def server(field, tmp_path_factory):
    """Address of a server of a folder in which the ortho's folder can stand for a bucket."""
    root = tmp_path_factory.mktemp("server")
    (root / "bucket").mkdir()
    shutil.copy(field[0], root / "bucket" / "flight.tif")
    write(root / "bucket" / "large.tif", noise((1024, 1024)), tiled=True)
    script = Path(__file__).with_name("ranged.py")
    with subprocess.Popen([sys.executable, str(script), str(root)], stdout=subprocess.PIPE, text=True) as process:
        yield f"127.0.0.1:{process.stdout.readline().strip()}"
        process.kill()


def bytes_sent(server):
    with urllib.request.urlopen(f"http://{server}/sent") as answer:
        return int(answer.read())


@pytest.fixture
def addresses(server, monkeypatch):
    """The same ortho by every kind of name."""
    for name, value in {
        "AWS_S3_ENDPOINT": server, "AWS_HTTPS": "NO", "AWS_VIRTUAL_HOSTING": "FALSE", "AWS_NO_SIGN_REQUEST": "YES",
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    return {
        "http": f"http://{server}/bucket/flight.tif",
        "vsicurl": f"/vsicurl/http://{server}/bucket/flight.tif",
        "vsis3": "/vsis3/bucket/flight.tif",
        "s3": "s3://bucket/flight.tif",
    }


def pixels(path):
    with rasterio.open(path) as raster:
        return raster.read(1)


@pytest.mark.parametrize("kind", ["http", "s3"])
def test_an_ortho_elsewhere_gives_the_same_map(addresses, kind, field, tmp_path):
    done = job.run(addresses[kind], tmp_path / "run", config=load_config(None, CONFIG), model=ColourSegmenter())
    np.testing.assert_array_equal(pixels(done.path / "classes.tif"), field[1])
    assert done.summary["ortho"] == addresses[kind]
    assert (done.path / "quicklook.png").exists()


@pytest.mark.parametrize("kind", ["vsicurl", "vsis3"])
def test_the_names_that_gdal_uses_are_read_too(addresses, kind, field):
    assert tuple(Ortho.open(addresses[kind]).geobox.shape) == field[1].shape


def test_only_what_is_needed_travels(server):
    before = bytes_sent(server)
    with environment(), rasterio.open(f"http://{server}/bucket/large.tif") as raster:
        raster.read(1, window=rasterio.windows.Window(0, 0, 256, 256))
    assert 3 * 256**2 <= bytes_sent(server) - before < 1024**2


def test_an_address_where_nothing_is_gets_a_clear_error(server, tmp_path):
    with pytest.raises(OrthoError, match=r"nothing\.tif cannot be opened as a raster"):
        job.run(f"http://{server}/nothing.tif", tmp_path / "run", model=ColourSegmenter())


@pytest.mark.parametrize("out", ["s3://bucket/run", "/vsis3/bucket/run", "gs://bucket/run", "https://host/run"])
def test_a_run_directory_elsewhere_is_refused(field, out):
    with pytest.raises(InputError, match="not a folder of a file system"):
        job.run(field[0], out, config=load_config(None, CONFIG), model=ColourSegmenter())


def test_the_block_cache_is_as_large_as_it_says() -> None:
    with environment():
        assert get_gdal_config("GDAL_CACHEMAX") == CACHE_MB * 2**20
