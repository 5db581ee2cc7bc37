"""The label check: every flaw that is planted is found where it is, and clean labels give nothing."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import geopandas as gpd
import numpy as np
import pytest
import shapely
from click.testing import CliRunner
from scipy import ndimage

import geoseg.models
from geoseg.cli import main
from geoseg.errors import GeosegWarning, LabelError
from geoseg.export.labels import SUSPICIOUS, write_suspicious
from geoseg.legend import CROP, NODATA, WEED
from geoseg.models import GsdRange, Tiling
from geoseg.train.labelcheck import COLUMNS, KINDS, LabelCheckConfig, check_labels, count_kinds
from geoseg.train.labelfiles import LabelConfig
from geoseg.train.labelpass import SOIL_BINS, seam_edges, soil_end
from geoseg.train.labelseams import class_edges, find_seams
from geoseg.train.labelshift import best_shift, covariance
from rasters import FINE, UTM, write

SHAPE = (1100, 1300)
SPACING = 62  # the plants of row and column 16 lie on the border of two blocks of the pass


def field(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(3, H, W) soil with round plants on a lattice, and their true classes."""
    random = np.random.default_rng(seed)
    soil = np.array([130, 110, 80])[:, None, None] + random.normal(0, 6, (3, *SHAPE))
    classes = np.zeros(SHAPE, np.uint8)
    rows, cols = np.mgrid[:24, :24]
    for number, (row, col) in enumerate(
        (row, col) for row in range(30, SHAPE[0] - 30, SPACING) for col in range(30, SHAPE[1] - 30, SPACING)
    ):
        disc = (rows - 11.5) ** 2 + (cols - 11.5) ** 2 <= random.uniform(7, 11) ** 2
        classes[row : row + 24, col : col + 24][disc] = WEED if number % 5 == 0 else CROP
    green = ndimage.gaussian_filter((classes > 0).astype(float), 0.7)
    leaf = np.array([70, 130, 50])[:, None, None] + random.normal(0, 8, (3, *SHAPE))
    return np.clip(soil * (1 - green) + leaf * green, 0, 255).astype(np.uint8), classes


IMAGE, TRUTH = field()


def checked(folder: Path, labels: np.ndarray, **options: object) -> gpd.GeoDataFrame:
    ortho = write(folder / "ortho.tif", IMAGE)
    return check_labels(ortho, write(folder / "labels.tif", labels[None]), **options)


def place(row: int, col: int) -> shapely.Point:
    return shapely.Point(FINE @ (col + 0.5, row + 0.5))


def plant(row: int, col: int) -> tuple[slice, slice]:
    """The square of the plant in a row and column of the lattice."""
    return np.s_[30 + SPACING * row : 54 + SPACING * row, 30 + SPACING * col : 54 + SPACING * col]


def only(findings: gpd.GeoDataFrame, kind: str) -> gpd.GeoDataFrame:
    """The findings, which must all be of one kind."""
    assert set(findings["kind"]) <= {kind}, findings[["kind", "text"]]
    return findings


def test_right_labels_are_not_suspicious(tmp_path):
    findings = checked(tmp_path, TRUTH)
    assert len(findings) == 0
    assert list(findings.columns) == [*COLUMNS, "geometry"]
    assert set(count_kinds(findings)) == set(KINDS)


def test_plants_without_a_label_are_found(tmp_path):
    labels = TRUTH.copy()
    for row, col in ((0, 0), (9, 16), (16, 19)):
        labels[plant(row, col)] = 0
    findings = only(checked(tmp_path, labels), "unlabelled")
    assert len(findings) == 3
    for row, col in ((0, 0), (9, 16), (16, 19)):
        hit = findings[findings.contains(place(41 + SPACING * row, 41 + SPACING * col))]
        assert hit["area_px"].item() == pytest.approx((TRUTH[plant(row, col)] > 0).sum(), rel=0.25)
    labels[TRUTH > 0] = NODATA  # what is left out of training is not missing
    assert "unlabelled" not in set(checked(tmp_path, labels)["kind"])


def test_a_crack_in_the_soil_is_no_plant_and_a_plant_in_shadow_is_one(tmp_path):
    image, labels = IMAGE.copy(), TRUTH.copy()
    image[:, 57:63, 100:400] = np.array([20, 22, 15])[:, None, None]  # as green as a leaf by its index alone
    dark = plant(5, 5)
    image[(slice(None), *dark)] = image[(slice(None), *dark)] * 0.35
    labels[dark] = 0
    ortho = write(tmp_path / "ortho.tif", image)
    findings = only(check_labels(ortho, write(tmp_path / "labels.tif", labels[None])), "unlabelled")
    assert len(findings) == 1
    assert findings.contains(place(dark[0].start + 12, dark[1].start + 12)).all()


@pytest.mark.parametrize("black", [False, True])
def test_a_photograph_of_almost_bare_soil(black, tmp_path):
    """Three plants on noisy soil are too few for a threshold halfway to leaves, which would cut the soil in two."""
    random = np.random.default_rng(3)
    image = np.array([130, 112, 84])[:, None, None] + random.normal(0, 14, (3, *SHAPE))
    labels = np.zeros(SHAPE, np.uint8)
    for row, col in ((200, 300), (600, 690), (900, 400)):
        image[:, row : row + 24, col : col + 24] = np.array([70, 130, 50])[:, None, None]
        labels[row : row + 24, col : col + 24] = CROP
    labels[600:624, 690:714] = 0
    image = np.clip(image, 0, 255).astype(np.uint8)
    if black:
        image[:, :, 720:] = image[:, 950:] = 0  # a mosaic that does not say where it ends: half of it is black
    ortho = write(tmp_path / "ortho.tif", image)
    findings = only(check_labels(ortho, write(tmp_path / "labels.tif", labels[None])), "unlabelled")
    assert len(findings) == 1
    assert findings.contains(place(612, 702)).all()
    labels[100:124, 600:624] = WEED
    findings = check_labels(ortho, write(tmp_path / "labels.tif", labels[None]))
    assert sorted(findings["kind"]) == ["no_green", "unlabelled"]


def pixels(*humps: tuple[int, float, float]) -> np.ndarray:
    """Counts of pixels by excess green, of populations with a number, mean and standard deviation."""
    middles = (SOIL_BINS[1:] + SOIL_BINS[:-1]) / 2
    shapes = [(n, np.exp(-(((middles - mean) / sd) ** 2) / 2)) for n, mean, sd in humps]
    return np.rint(sum(n * shape / shape.sum() for n, shape in shapes)).astype(int)


@pytest.mark.parametrize("leaves", [0, 50, 500, 30_000, 100_000, 300_000])
def test_where_soil_ends(leaves):
    end, faint = soil_end(pixels((100_000, 0.01, 0.02), (leaves, 0.25, 0.05)), 7.0)
    assert 0.10 <= end <= 0.16
    assert 0.06 <= faint <= 0.08


def test_a_closed_canopy_has_no_soil():
    assert soil_end(pixels((100_000, 0.3, 0.06)), 7.0) == (0.1, 0.1)


def test_nothing_is_told_of_places_that_were_not_labelled(tmp_path):
    labels = TRUTH.copy()
    for row, col in ((0, 0), (9, 16)):
        labels[plant(row, col)] = 0
    rows, cols = plant(9, 16)
    labels[480, 880] = CROP  # a sliver inside
    left, top = cols.start - SPACING * 4 + 18, rows.start - SPACING * 4  # the edge runs through a column of plants
    area = shapely.transform(
        shapely.box(left, top, left + 300, top + 300), lambda at: np.stack(FINE * (at[:, 0], at[:, 1]), axis=1)
    )
    gpd.GeoDataFrame(geometry=[area], crs=UTM).to_file(tmp_path / "area.gpkg")
    findings = checked(tmp_path, labels, label=LabelConfig(labelled_area=str(tmp_path / "area.gpkg")))
    assert sorted(findings["kind"]) == ["sliver", "unlabelled"]
    assert findings.within(area.buffer(0.01)).all()


def test_labels_on_bare_soil_are_found(tmp_path):
    labels = TRUTH.copy()
    labels[57:70, 60:75] = WEED
    labels[75, 300:330] = CROP
    findings = checked(tmp_path, labels)
    assert sorted(findings["kind"]) == ["no_green", "sliver"]
    bare = findings[findings["kind"] == "no_green"].iloc[0]
    assert bare.geometry.contains(place(63, 67))
    assert (bare["class"], bare["area_px"]) == ("weed", 13 * 15)


@pytest.mark.parametrize("turned", [False, True])
def test_seams_are_found_and_touching_plants_are_not(tmp_path, turned):
    labels = TRUTH.copy()
    for row in (2, 4):  # one straight line through two plants of column 7
        labels[:, 30 + SPACING * 7 + 12 :][plant(row, 0)[0], :12] *= WEED
    halves = labels[plant(8, 8)]
    rows, cols = np.mgrid[:24, :24]
    ragged = cols > 12 + 3 * np.sin(rows) + np.random.default_rng(1).integers(-2, 3, 24)[:, None]
    halves[(halves > 0) & ragged] = CROP
    halves[(halves > 0) & ~ragged] = WEED
    across, down = class_edges(labels.T if turned else labels)
    seams = [seam for seam in find_seams(across, down) if seam.straight > 0.6]
    assert {(seam.down, seam.line, seam.others) for seam in seams} == {(not turned, 30 + SPACING * 7 + 12, 1)}
    assert len(seams) == 2
    findings = checked(tmp_path, labels)
    assert (findings["kind"] == "two_classes").sum() == 2
    assert findings.iloc[:2]["kind"].tolist() == ["two_classes"] * 2, "the surest come first"


def test_edges_of_strips_are_those_of_the_whole(tmp_path):
    labels = np.random.default_rng(0).integers(0, 3, (1100, 30)).astype(np.uint8)  # three strips
    whole, parts = class_edges(labels), seam_edges(write(tmp_path / "labels.tif", labels[None]))
    for one, two in zip(whole, parts, strict=True):
        assert len(one) == len(two)
        assert set(map(tuple, one.tolist())) == set(map(tuple, two.tolist()))
    for row, col in whole[0]:
        assert {labels[row, col], labels[row - 1, col]} == {CROP, WEED}


def test_overlaps_of_vectors_are_found(tmp_path):
    discs = shapely.buffer([place(41, 101), place(41, 108), place(341, 341)], 11 * 0.005)
    frame = gpd.GeoDataFrame({"class": ["crop", "weed", "crop"]}, geometry=discs, crs=UTM)
    frame.to_file(tmp_path / "labels.gpkg")
    findings = check_labels(write(tmp_path / "ortho.tif", IMAGE), tmp_path / "labels.gpkg")
    overlap = findings[findings["kind"] == "overlap"]
    assert len(overlap) == 1
    common = discs[0].intersection(discs[1])
    assert overlap.geometry.iloc[0].symmetric_difference(common).area < 0.2 * common.area


@pytest.mark.parametrize(("down", "right"), [(1, 0), (0, -2), (3, 2)])
def test_shifted_labels_are_found(tmp_path, down, right):
    findings = checked(tmp_path, np.roll(TRUTH, (down, right), (0, 1)))
    shifts = findings[findings["kind"] == "shift"]
    assert len(shifts) >= 1
    text = shifts[shifts["text"].str.startswith("all")]["text"].item()
    for by, one, two in ((-down, "down", "up"), (-right, "right", "left")):
        if by:
            assert f"{abs(by)}.0 px {one if by > 0 else two}" in text or f"{abs(by) - 0.1:.1f} px" in text, text


@pytest.mark.parametrize(("down", "right"), [(0, 0), (2, -3), (-4, 1)])
def test_shift_of_arrays(down, right):
    index = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(80, 90)), 3)
    mask = np.roll(index > 0.02, (-down, -right), (0, 1))[8:-8, 8:-8]
    found = best_shift(covariance(mask, index))
    assert (found.down, found.right) == pytest.approx((down, right), abs=0.3)
    assert found.there >= found.here


def test_a_sure_model_that_disagrees(tmp_path, monkeypatch):
    """The model sees the truth wherever it is green, as weed; it is sure in the left half only."""

    def segment(images: np.ndarray) -> np.ndarray:
        red, green, _ = images[0].astype(float)
        plant = ndimage.uniform_filter(green - red, 5) > 10
        scores = np.stack([~plant * 0.9 + 0.05, np.full(plant.shape, 0.01), plant * 0.9 + 0.04])
        scores = scores / scores.sum(axis=0)
        return scores[None].astype(np.float32)

    class Model:
        card = SimpleNamespace(
            name="stand-in", bands=("red", "green", "blue"), mean=(0.5, 0.4, 0.3), scaling="fixed",
            gsd=GsdRange(train_m=0.005, min_m=0.004, max_m=0.006),
            tiling=Tiling(write_px=512, margin_px=16, stride_px=16),
        )  # fmt: skip

        def __call__(self, images: np.ndarray) -> np.ndarray:
            return segment(images)

    monkeypatch.setattr(geoseg.models, "load", lambda name: Model(), raising=False)
    findings = checked(tmp_path, np.where(TRUTH > 0, WEED, 0).astype(np.uint8), model="m")
    assert (findings["kind"] == "model").sum() == 0
    findings = checked(tmp_path, TRUTH, model="m", config=LabelCheckConfig(min_confidence=90))
    model = findings[findings["kind"] == "model"]
    assert len(model) == ndimage.label(TRUTH == CROP)[1]
    assert model["text"].str.contains("labelled crop; the model sees weed").all()
    Model.card.gsd = GsdRange(train_m=0.003, min_m=0.003, max_m=0.004)
    with pytest.warns(GeosegWarning, match="resampled"), pytest.raises(LabelError, match="would be resampled"):
        checked(tmp_path, TRUTH, model="m")


def test_the_layer_reads_back_sorted_and_styled(tmp_path):
    labels = TRUTH.copy()
    labels[plant(0, 0)] = labels[plant(5, 5)] = 0
    labels[57:70, 60:75] = WEED
    write(tmp_path / "ortho.tif", IMAGE)
    write(tmp_path / "labels.tif", labels[None])
    paths = [str(tmp_path / name) for name in ("ortho.tif", "labels.tif", "s.gpkg")]
    done = CliRunner().invoke(main, ["labels", "check", *paths[:2], "--out", paths[2], "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["unlabelled"] == 2
    layer = gpd.read_file(paths[2], layer="suspicious")
    assert layer["suspicion"].is_monotonic_decreasing
    assert layer["suspicion"].between(0, 1).all()
    assert layer["rank"].tolist() == [1, 2, 3]
    assert layer.crs == UTM
    with closing(sqlite3.connect(paths[2])) as database:
        style = database.execute("SELECT styleQML FROM layer_styles WHERE f_table_name = 'suspicious'").fetchone()[0]
    assert {kind for kind in KINDS if f'value="{kind}"' in style} == set(layer["kind"])


def test_an_empty_layer_can_be_written(tmp_path):
    write_suspicious(checked(tmp_path, TRUTH), tmp_path / "s.gpkg")
    assert len(gpd.read_file(tmp_path / "s.gpkg", layer="suspicious")) == 0
    assert set(SUSPICIOUS.names) == set(COLUMNS)


def test_options_that_cannot_be_meant():
    with pytest.raises(LabelError, match="seam_px is 0"):
        LabelCheckConfig(seam_px=0)


@pytest.mark.parametrize(
    ("name", "count"), [("l.tif", "crop"), ("l.gpkg", "labels in"), ("l.json", "labels in"), ("yolo", "labels in")]
)
def test_convert_on_the_command_line(tmp_path, name, count):
    ortho, labels = write(tmp_path / "ortho.tif", IMAGE), write(tmp_path / "labels.tif", TRUTH[None])
    words = ["labels", "convert", str(labels), "--ortho", str(ortho), "--out", str(tmp_path / name)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert count in done.output
    wrong = CliRunner().invoke(main, [*words[:-1], str(tmp_path / "l.xyz")])
    assert wrong.exit_code == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["labels.tif", "plants.gpkg"])
def test_known_flaws_of_the_potato_labels(fields, name):
    """19 plants change class at a seam of the source's tiles of 640 px; about 240 green blobs carry no label."""
    potato = fields / "potato"
    findings = check_labels(potato / "ortho.tif", potato / name)
    seams = findings[findings["kind"] == "two_classes"]
    line = seams["text"].str.extract(r"(?:row|column) (\d+)")[0].astype(int)
    assert (line % 640 == 0).sum() == 19
    assert seams["suspicion"][line % 640 == 0].min() > 0.7
    assert seams["suspicion"][line % 640 != 0].max() < 0.5
    assert 200 <= (findings["kind"] == "unlabelled").sum() <= 320


def test_style_shows_slivers_and_names_attributes(tmp_path: Path) -> None:
    columns = {"rank": [1], "suspicion": [0.5], "kind": ["sliver"], "text": ["a"], "class": ["crop"]}
    frame = gpd.GeoDataFrame(columns | {"area_px": [1], "done": [0]}, geometry=[shapely.box(0, 0, 1, 1)], crs=UTM)
    write_suspicious(frame, tmp_path / "s.gpkg")
    with closing(sqlite3.connect(tmp_path / "s.gpkg")) as database:
        style = database.execute("SELECT styleQML FROM layer_styles WHERE f_table_name = 'suspicious'").fetchone()[0]
    root = ElementTree.fromstring(style[style.index("<qgis") :])
    assert [one.get("value") for one in root.iter("category")] == ["sliver"]
    assert root.find(".//layer[@class='CentroidFill']/symbol[@type='marker']") is not None
    assert root.find(".//layer[@class='SimpleFill']") is None
    assert [one.get("field") for one in root.iter("alias")] == list(SUSPICIOUS.names)
    widget = root.find(".//field[@name='done']/editWidget")
    table = root.find("attributetableconfig")
    assert widget is not None
    assert widget.get("type") == "CheckBox"
    assert table is not None
    assert table.get("sortExpression") == '"rank"'
