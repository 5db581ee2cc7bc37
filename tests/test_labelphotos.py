"""Photographs without georeference: what a run made of one, outlines drawn on it and findings lie on its pixels."""

from __future__ import annotations

import warnings
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from click.testing import CliRunner

from geoseg.cli import main
from geoseg.errors import LabelError
from geoseg.legend import CROP, WEED
from geoseg.ortho import Ortho, OrthoConfig
from geoseg.train.evaluate_pairs import raster_pair
from geoseg.train.labelcheck import check_labels
from geoseg.train.labels import image_grid, open_labels
from geoseg.windows import Rect
from rasters import write

SHAPE = (300, 400)
WHOLE = Rect(0, 0, *SHAPE)
PLANTS = {(40, 52): CROP, (100, 200): WEED, (180, 120): CROP, (220, 300): WEED}
GSD = OrthoConfig(gsd_m=0.003)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Soil with four square plants of 20 px."""
    random = np.random.default_rng(0)
    image = np.array([130, 110, 80])[:, None, None] + random.normal(0, 6, (3, *SHAPE))
    for row, col in PLANTS:
        image[:, row : row + 20, col : col + 20] = np.array([70, 130, 50])[:, None, None]
    return write(tmp_path / "photo.tif", np.clip(image, 0, 255).astype(np.uint8), crs=None, transform=None)


def truth(without: tuple[int, int] | None = None) -> np.ndarray:
    classes = np.zeros(SHAPE, np.uint8)
    for (row, col), code in PLANTS.items():
        classes[row : row + 20, col : col + 20] = 0 if (row, col) == without else code
    return classes


def outlines(path: Path, *, up: bool, without: tuple[int, int] | None = None, points: bool = False) -> Path:
    """Outlines as QGIS draws them, with rows below 0, or with rows counted down."""
    rows = [(place, code) for place, code in PLANTS.items() if place != without]
    boxes = [shapely.box(col, row, col + 20, row + 20) for (row, col), _ in rows]
    frame = gpd.GeoDataFrame({"class": ["crop" if code == CROP else "weed" for _, code in rows]}, geometry=boxes)
    if up:
        frame = frame.set_geometry(frame.scale(1, -1, origin=(0, 0)))
    if points:
        frame = frame.set_geometry(frame.centroid).assign(radius_m=10 * 0.003)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no CRS
        frame.to_file(path)
    return path


def invented(folder: Path, classes: np.ndarray) -> Path:
    """A class raster where a run puts the photograph."""
    grid = Ortho.open(folder / "photo.tif", GSD).geobox
    (folder / "run").mkdir(exist_ok=True)
    write(folder / "run" / "classes.tif", classes[None], crs=grid.crs.to_wkt(), transform=grid.affine)
    return folder / "run"


@pytest.mark.parametrize("kind", ["below", "down", "points", "mask", "run"])
def test_findings_lie_over_the_photograph_as_qgis_draws_it(kind, photo, tmp_path):
    missing = (100, 200)
    labels = {
        "below": lambda: outlines(tmp_path / "l.gpkg", up=True, without=missing),
        "down": lambda: outlines(tmp_path / "l.gpkg", up=False, without=missing),
        "points": lambda: outlines(tmp_path / "l.gpkg", up=True, without=missing, points=True),
        "mask": lambda: write(tmp_path / "l.tif", truth(missing)[None], crs=None, transform=None),
        "run": lambda: invented(tmp_path, truth(missing)),
    }[kind]()
    findings = check_labels(photo, labels, image=GSD)
    assert findings["kind"].tolist() == ["unlabelled"]
    assert findings.crs is None
    np.testing.assert_allclose(findings.total_bounds, [200, -120, 220, -100], atol=1.01)


def test_what_a_run_made_of_a_photograph_is_corrected_on_its_pixels(photo, tmp_path):
    run, out = invented(tmp_path, truth()), tmp_path / "labels.gpkg"
    done = CliRunner().invoke(main, ["labels", "convert", str(run), "--ortho", str(photo), "--out", str(out)])
    assert done.exit_code == 0, done.output
    frame = gpd.read_file(out, layer="labels")
    assert frame.total_bounds.tolist() == [52, -240, 320, -40]
    for given in (run, out):
        with open_labels(given, image_grid(photo)) as labels:
            np.testing.assert_array_equal(labels.read(WHOLE), truth())


def test_outlines_go_to_where_a_run_lies_when_a_gsd_is_given(photo, tmp_path):
    """Back and forth between the pixels and the place that runs invent."""
    drawn, there = outlines(tmp_path / "l.gpkg", up=True), tmp_path / "there.gpkg"
    words = ["labels", "convert", str(drawn), "--ortho", str(photo), "--gsd", "0.003", "--out", str(there)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    grid = Ortho.open(photo, GSD).geobox
    assert gpd.read_file(there, layer="labels").crs == grid.crs.proj
    with open_labels(there, grid) as labels:
        np.testing.assert_array_equal(labels.read(WHOLE), truth())


@pytest.mark.parametrize("gsd_m", [0.003, 0.0015])
def test_a_run_is_scored_by_outlines_on_the_pixels_of_its_photograph(gsd_m, photo, tmp_path):
    """Also where the run resampled it, and with the photograph in the picture of the worst places."""
    drawn = outlines(tmp_path / "l.gpkg", up=True)
    done = CliRunner().invoke(main, ["segment", str(photo), "--gsd", str(gsd_m), "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    pair = raster_pair(tmp_path / "run", drawn)
    assert pair.shape == (SHAPE if gsd_m == 0.003 else (225, 300))
    with pair.open() as opened:
        whole = Rect(0, 0, *pair.shape)
        patch, image = opened.read(whole), opened.image(whole)
    centres = [(np.arange(size) + 0.5) * side / size for size, side in zip(pair.shape, SHAPE, strict=True)]
    np.testing.assert_array_equal(patch.labels, truth()[np.ix_(*(one.astype(int) for one in centres))])
    assert image is not None
    green = image[1].astype(int) - image[0]
    assert green[patch.labels > 0].min() > 20 > green[patch.labels == 0].max()


def test_an_outline_beyond_the_upper_edge_does_not_turn_the_others_round(photo, tmp_path):
    for name, sign in (("below", -1), ("down", 1)):
        boxes = [shapely.box(10, sign * -3, 30, sign * 17), shapely.box(50, sign * 40, 70, sign * 60)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # no CRS
            gpd.GeoDataFrame({"class": ["crop", "crop"]}, geometry=boxes).to_file(tmp_path / f"{name}.gpkg")
        wanted = np.zeros(SHAPE, np.uint8)
        wanted[:17, 10:30] = wanted[40:60, 50:70] = CROP
        with open_labels(tmp_path / f"{name}.gpkg", image_grid(photo)) as labels:
            np.testing.assert_array_equal(labels.read(WHOLE), wanted)


def test_a_raster_elsewhere_is_no_run_of_the_photograph(photo, tmp_path):
    run = invented(tmp_path, truth())
    grid = Ortho.open(photo, GSD).geobox
    moved = grid.affine.translation(1, 0) * grid.affine
    write(run / "classes.tif", truth()[None], crs=grid.crs.to_wkt(), transform=moved)
    with pytest.raises(LabelError, match="does not lie on the grid"):
        open_labels(run, image_grid(photo))
