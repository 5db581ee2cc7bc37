"""Scores in plots: what a plot holds is what other libraries find in its polygon."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import geopandas as gpd
import numpy as np
import pytest
import shapely
from click.testing import CliRunner
from odc.geo.geobox import GeoBox
from rasterio.features import geometry_mask
from scipy.ndimage import center_of_mass, label
from shapely import affinity
from sklearn.metrics import jaccard_score, mean_absolute_error, r2_score

from geoseg.cli import main
from geoseg.errors import LabelError
from geoseg.legend import CROP, WEED
from geoseg.train.evaluate_ground import Plots, Squares, read_plots
from geoseg.train.evaluate_pairs import raster_pair
from geoseg.train.evaluate_report import evaluate_pairs
from geoseg.train.evaluate_scores import score_tables
from geoseg.train.evaluate_tables import count_pair
from geoseg.windows import Rect
from test_evaluate_files import CONFIG, PLACE, run, write
from test_evaluate_scores import CONFIG as SCORES
from test_evaluate_scores import field, known

__all__ = ["run"]

GRID = GeoBox((150, 130), PLACE, "EPSG:32632")


def turned(count=12, degrees=14):
    """Plots in pixels, in a turned lattice with alleys between them."""
    boxes = [
        shapely.box(col, row, col + 26, row + 33)
        for row in (8, 45, 82, 119)
        for col in (5, 45, 85)
    ]  # fmt: skip
    return np.array([affinity.rotate(box, degrees, origin=(65, 75)) for box in boxes[:count]])


def on_the_ground(shapes, names=None):
    """The same plots as a frame on the grid."""
    world = shapely.transform(shapes, lambda corner: np.stack(PLACE * tuple(corner.T), axis=1))
    columns = {"plot": names or [f"P{number}" for number in range(len(shapes))]}
    return gpd.GeoDataFrame(columns, geometry=world, crs="EPSG:32632")


def joined(pair, shapes, code):
    """Labelled and counted objects in each plot, by a spatial join of their centres."""
    both, _, _ = known(pair)
    counts = []
    for raster in (pair.patch.labels, pair.patch.classes):
        marks, number = label((raster == code) & both)
        centres = np.array(center_of_mass(marks > 0, marks, range(1, number + 1)))
        points = gpd.GeoDataFrame(geometry=gpd.points_from_xy(centres[:, 1] + 0.5, centres[:, 0] + 0.5))
        inside = gpd.sjoin(points, gpd.GeoDataFrame(geometry=shapes), predicate="within")
        counts.append(np.bincount(inside["index_right"], minlength=len(shapes)))
    return counts


def test_counts_over_plots_are_those_of_a_spatial_join():
    pair, shapes = field(3, unknown=0), turned()
    tables = count_pair(pair, SCORES, plots=Plots(tuple("abcdefghijkl"), shapes))
    found = score_tables(tables, replace(SCORES, resamples=20))
    for code, name in ((CROP, "crop"), (WEED, "weed")):
        truth, guess = joined(pair, shapes, code)
        assert tables.counts[:, code].astype(int).T.tolist() == [truth.tolist(), guess.tolist()]
        assert found.scores[f"counts.{name}.mae"] == pytest.approx(mean_absolute_error(truth, guess))
        assert found.scores[f"counts.{name}.r2"] == pytest.approx(r2_score(truth, guess))
        assert found.scores[f"counts.{name}.bias"] == pytest.approx((guess - truth).mean())
    assert tables.names == tuple("abcdefghijkl")
    assert found.intervals["counts.crop.mae"][0] <= found.scores["counts.crop.mae"]
    assert found.to_dict()["intervals"]["of_what"] == "plots"


@pytest.mark.parametrize("part", [None, Rect(10, 15, 130, 120)])
def test_pixels_outside_all_plots_do_not_count(part):
    pair, shapes = field(4), turned()
    found = score_tables(count_pair(pair, SCORES, part, Plots(tuple("abcdefghijkl"), shapes)), SCORES).scores
    both, _, _ = known(pair)
    inside = ~geometry_mask(shapes, both.shape, GRID.affine.identity()) & both
    chosen = np.zeros_like(inside)
    chosen[(part or Rect(0, 0, 150, 130)).slices] = True
    chosen &= inside
    labels, classes = pair.patch.labels[chosen], pair.patch.classes[chosen]
    assert found["classes.weed.iou"] == pytest.approx(jaccard_score(labels == WEED, classes == WEED))
    assert found["spraying.weed_m2"] == pytest.approx((labels == WEED).sum() * 1e-4)


def test_a_plot_over_everything_scores_as_everything():
    pair = field(5)
    plots = Plots(("all",), np.array([shapely.box(-5, -5, 200, 200)]))
    one, other = (score_tables(count_pair(pair, SCORES, plots=which), SCORES).scores for which in (plots, None))
    same = [name for name in one if not name.startswith("counts")]
    assert {name: one[name] for name in same} == pytest.approx({name: other[name] for name in same}, nan_ok=True)


def test_strips_of_squares_are_their_pixels():
    squares = Squares((50, 70), 16.3)
    whole = squares.of(*np.indices((50, 70)))
    assert (squares.pixels(20, (30, 70)) == whole[20:]).all()
    for block in range(len(squares)):
        rows, cols = squares.rect(block).slices
        assert (whole[rows, cols] == block).all()
        assert (whole == block).sum() == squares.rect(block).size


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:4326"])
def test_the_command_counts_in_the_plots_of_a_file(run, tmp_path, crs):
    folder, labels, pair = run
    shapes = turned()
    on_the_ground(shapes).to_crs(crs).to_file(tmp_path / "trial.gpkg", layer="plots")
    settings = ["--set", "min_object_m2=0", "--set", "resamples=20"]
    words = ["evaluate", str(folder), str(labels), "--plots", str(tmp_path / "trial.gpkg"), *settings]
    result = CliRunner().invoke(main, [*words, "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "in each of 12 plots" in result.output
    with (tmp_path / "out" / "blocks.csv").open() as file:
        lines = list(csv.DictReader(file))
    truth, guess = joined(pair, shapes, WEED)
    assert [line["block"] for line in lines] == [f"P{number}" for number in range(12)]
    assert [int(line["weed_labelled"]) for line in lines] == truth.tolist()
    assert [int(line["weed_counted"]) for line in lines] == guess.tolist()
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text())["intervals"]["of_what"] == "plots"


def test_plants_of_a_run_are_those_of_its_outlines(run):
    folder, labels, _ = run
    outlines = [
        shapely.box(500000.1, 5399999.1, 500000.5, 5399999.6),
        shapely.box(500000.5, 5399999.1, 500000.9, 5399999.6),
    ]
    frame = gpd.GeoDataFrame({"class": ["crop", "crop"]}, geometry=outlines, crs="EPSG:32632")
    frame.to_file(folder / "field.gpkg", layer="plant_outlines")
    classes = np.zeros(GRID.shape, np.uint8)
    classes[40:90, 10:90] = CROP  # one region, two plants
    write(folder / "classes.tif", classes)
    found = evaluate_pairs([raster_pair(folder, labels)], CONFIG)["all"].scores
    assert found["counts.crop.predicted"] == 2
    (folder / "field.gpkg").unlink()
    assert evaluate_pairs([raster_pair(folder, labels)], CONFIG)["all"].scores["counts.crop.predicted"] == 1


def test_plots_are_named_by_their_columns(tmp_path):
    frame = on_the_ground(turned(3))
    for columns, names in (
        ({"Plot_ID": [7, 8, 9]}, ("7", "8", "9")),
        ({"plot": ["a", "a", "b"], "name": ["x", "y", "z"]}, ("x", "y", "z")),
        ({"treatment": ["t", "t", "u"]}, ("1", "2", "3")),
    ):
        path = tmp_path / f"{'_'.join(columns)}.geojson"
        gpd.GeoDataFrame(columns, geometry=frame.geometry).to_crs("EPSG:4326").to_file(path)
        assert read_plots(path, GRID).names == names


def test_plots_that_cannot_be_used_are_refused(run, tmp_path):
    folder, labels, _ = run
    shapes = turned(2)
    far = shapely.transform(shapes, lambda corner: corner + 10000)
    files = {
        "overlap": on_the_ground(np.array([shapes[0], affinity.translate(shapes[0], 10, 0)])),
        "lies on": on_the_ground(far),
        "no polygons": on_the_ground(shapely.centroid(shapes)),
    }
    for message, frame in files.items():
        path = tmp_path / f"{message.replace(' ', '_')}.gpkg"
        frame.to_file(path)
        with pytest.raises(LabelError, match=message):
            read_plots(path, GRID)
    on_the_ground(shapes).to_file(tmp_path / "two.gpkg", layer="a")
    on_the_ground(shapes).to_file(tmp_path / "two.gpkg", layer="b")
    with pytest.raises(LabelError, match="layers a, b"):
        read_plots(tmp_path / "two.gpkg", GRID)
    with pytest.raises(LabelError, match="cannot be read"):
        read_plots(tmp_path / "nothing.gpkg", GRID)
    with pytest.raises(LabelError, match="no CRS"):
        read_plots(tmp_path / "overlap.gpkg", GeoBox((150, 130), PLACE, None))
    wrong = CliRunner().invoke(main, ["evaluate", str(folder), str(labels), "--plots", str(tmp_path / "two.gpkg")])
    assert wrong.exit_code == 2
