"""The results in Python: frames and lazy rasters against plain readers, what is printed, what a notebook shows."""

from __future__ import annotations

import base64
import re
import warnings
from dataclasses import replace
from pathlib import Path

import dask.array
import geopandas as gpd
import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

import geoseg
from geoseg import job
from geoseg.config import Config, load_config, with_overrides
from geoseg.errors import ConfigError, InputError
from test_job import CONFIG, ColourSegmenter, field  # noqa: F401 - a fixture


@pytest.fixture(scope="module")
def done(field, tmp_path_factory) -> geoseg.Run:  # noqa: F811 - pytest hands the fixture over
    """A finished run, opened anew."""
    out = tmp_path_factory.mktemp("results") / "field 7"
    return geoseg.open_run(geoseg.run(field[0], out, config=load_config(None, CONFIG), model=ColourSegmenter()).path)


@pytest.mark.parametrize("name", ["classes", "confidence"])
def test_rasters_are_lazy_and_those_of_the_files(done: geoseg.Run, name: str) -> None:
    found = getattr(done, name)
    assert isinstance(found.data, dask.array.Array)
    with rasterio.open(done.path / f"{name}.tif") as raster:
        np.testing.assert_array_equal(found.values, raster.read(1))
        assert found.rio.crs == raster.crs
        assert found.rio.transform() == raster.transform
    assert found.dims == ("y", "x")


def test_classes_say_what_their_codes_mean(done: geoseg.Run) -> None:
    attributes = done.classes.attrs
    assert dict(zip(attributes["flag_meanings"].split(), attributes["flag_values"], strict=True)) == {
        "soil": 0,
        "crop": 1,
        "weed": 2,
    }


@pytest.mark.parametrize("name", ["boundary", "plants", "weeds", "rows", "gaps", "prescription"])
def test_frames_are_the_layers_of_the_file(done: geoseg.Run, name: str) -> None:
    frame = getattr(done, name)
    plain = gpd.read_file(done.path / "field.gpkg", layer=name, engine="pyogrio")
    assert frame.crs == plain.crs
    assert frame.equals(plain)
    assert name in done.layers


def test_what_is_not_there_is_said_with_what_is(done: geoseg.Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no layer 'plant'; it has .*plants"):
        done.layer("plant")
    with pytest.raises(InputError, match=r"no panoptic\.tif; .*geoseg plants"):
        _ = done.panoptic
    with pytest.raises(InputError, match="no run directory.*geoseg run"):
        geoseg.open_run(tmp_path)
    assert replace(done, path=tmp_path).layers == ()


def test_a_run_prints_as_the_command_does(done: geoseg.Run) -> None:
    assert "crop plants" in str(done)
    assert "prescription" in str(done)
    assert repr(done).startswith("<geoseg.Run ")
    assert "field 7" in repr(done)
    assert "\n" not in repr(done)


def test_a_notebook_shows_a_small_picture_and_the_answers(done: geoseg.Run, tmp_path: Path) -> None:
    shown = done._repr_html_()
    picture = base64.b64decode(re.findall(r"base64,([^\"]+)\"", shown)[0])
    (tmp_path / "small.jpg").write_bytes(picture)
    warnings.simplefilter("ignore", NotGeoreferencedWarning)  # pytest puts it back
    with rasterio.open(tmp_path / "small.jpg") as small, rasterio.open(done.path / "quicklook.png") as whole:
        assert small.width <= 1200
        assert small.width / small.height == pytest.approx(whole.width / whole.height, rel=0.01)
        assert abs(small.read().mean() - whole.read((1, 2, 3)).mean()) < 3
    assert len(picture) < 250_000
    assert "crop plants" in shown
    assert 'alt="' in shown
    assert "<img" not in replace(done, path=tmp_path)._repr_html_()


def test_the_stages_are_functions_of_the_package(done: geoseg.Run) -> None:
    for name in ("run", "vectorize", "prescribe", "check"):
        assert getattr(geoseg, name) is getattr(job, name)
    config = load_config(None, [*CONFIG, "spray.rate_l_ha=100"])
    assert geoseg.prescribe(done.path, config=config).prescription.rate_l_ha.max() == 100


def test_a_configuration_can_be_given_as_a_mapping(tmp_path: Path) -> None:
    path = tmp_path / "rule.yaml"
    path.write_text("spray: {rate_l_ha: 150}\n")
    keys = {"spray.buffer_m": 1, "profiles": ["generic", "dji"], "ortho.crs": "EPSG:32632"}
    found = load_config(str(path), keys)
    assert found == load_config(path, ["spray.buffer_m=1", "profiles=[generic, dji]", "ortho.crs=EPSG:32632"])
    assert with_overrides(Config(), {"spray.rate_l_ha": 150}).spray.rate_l_ha == 150
    with pytest.raises(ConfigError, match=r"did you mean spray\.buffer_m"):
        load_config(None, {"spray.bufer_m": 1})
    with pytest.raises(ConfigError, match=r"'spray' is a value"):
        load_config(None, {"spray": 1, "spray.buffer_m": 1})
