"""The row rule: its parts against brute force, its reasoning against drawn points, and the whole against the truth."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import shapely
from click.testing import CliRunner
from scipy import ndimage

from adaptfields import f1, rendered
from geoseg.adapt.field import open_field
from geoseg.adapt.fieldrule import survey
from geoseg.adapt.rowfield import NO_ROW, GreenCells, row_field
from geoseg.adapt.rowrule import FAR, OFF_BINS, STEPS, RuleCounts, describe, fit_rule
from geoseg.adapt.segmenter import ROW_RULE, RowRuleSegmenter, load_rule
from geoseg.cli import main
from geoseg.errors import ModelError, OrthoError
from geoseg.legend import CROP, WEED
from geoseg.segment.blocks import BlockStore
from geoseg.segment.predict import SegmentConfig, predict
from geoseg.windows import Rect


def drawn_rows(spacing: float = 0.5, heading_deg: float = 30.0, seed: int = 0) -> GreenCells:
    """Cells of green on rows, with weeds strewn between them."""
    random = np.random.default_rng(seed)
    angle = np.radians(heading_deg)
    along, row = random.uniform(-8, 8, 6000), random.integers(-14, 15, 6000)
    across = row * spacing + random.normal(0, 0.03, 6000)
    along, across = np.append(along, random.uniform(-8, 8, 400)), np.append(across, random.uniform(-7, 7, 400))
    x, y = along * np.sin(angle) + across * np.cos(angle), along * np.cos(angle) - across * np.sin(angle)
    return GreenCells(x + 690000, y + 5360000, np.full(len(x), 1e-3), 0.03)


def test_distance_from_rows_is_that_to_the_drawn_lines():
    rows = row_field(drawn_rows())
    assert rows.model.found
    assert rows.model.spacing_m == pytest.approx(0.5, abs=0.003)
    random = np.random.default_rng(1)
    x, y = random.uniform(-5, 5, (2, 400))
    across = x * np.cos(np.radians(30)) - y * np.sin(np.radians(30))
    expected = np.abs(across / 0.5 - np.rint(across / 0.5))
    found = rows.off_row(x + 690000, y + 5360000)
    assert np.median(np.abs(found - expected)) < 0.02
    assert np.quantile(np.abs(found - expected), 0.98) < 0.08


def test_far_from_all_rows_there_is_no_row():
    rows = row_field(drawn_rows())
    assert (rows.off_row(np.array([690000.0 + 40]), np.array([5360000.0])) == NO_ROW).all()


def test_plants_strewn_at_random_have_no_rows():
    random = np.random.default_rng(3)
    x, y = random.uniform(0, 16, (2, 3000))
    rows = row_field(GreenCells(x, y, np.full(3000, 1e-3), 0.03))
    assert not rows.model.found
    assert (rows.off_row(x[:5], y[:5]) == NO_ROW).all()
    assert "no row structure" in rows.facts()["reason"]


def test_size_and_place_are_sums_over_a_square():
    random = np.random.default_rng(4)
    green = random.random((40, 50)) < 0.15
    off = random.integers(0, FAR + 1, green.shape).astype(np.uint8)
    scene = describe(green, off, 3)
    mass = np.zeros(green.shape)
    place = np.zeros(green.shape)
    for row, col in np.ndindex(*green.shape):
        part = slice(max(row - 3, 0), row + 4), slice(max(col - 3, 0), col + 4)
        mass[row, col] = green[part].sum()
        place[row, col] = off[part][green[part]].sum() / max(mass[row, col], 1) / STEPS
    for row, col in np.argwhere(green):
        part = slice(max(row - 3, 0), row + 4), slice(max(col - 3, 0), col + 4)
        assert scene.size[row, col] == int(np.log2(mass[part][green[part]].max()))
        assert scene.off[row, col] == min(np.searchsorted(OFF_BINS, place[row, col], side="right") - 1, 10)
    everywhere = ndimage.maximum_filter(np.where(green, mass, 0), 7, mode="constant")
    assert (scene.size == np.log2(np.maximum(everywhere, 1)).astype(int)).all()


def test_weeds_on_the_row_are_as_dense_as_between_the_rows():
    """Small green everywhere at one density, large green only on the row: one is weed, the other crop, also on it."""
    counts = RuleCounts()
    counts.ground[:] = [1_000_000] * 10 + [0]
    counts.green[2, :10] = 1000
    counts.green[7, :3] = (9000, 6000, 2000)
    rule = fit_rule(counts, 5)
    assert rule.usable
    assert rule.off_from <= 0.25
    assert rule.weed[2, :3].min() > 0.85
    assert rule.weed[7, :3].max() < 0.1
    assert rule.weed_on_row == pytest.approx(4000 / 21000, abs=0.05)
    assert rule.row_half <= 0.15


def test_green_everywhere_is_not_usable():
    counts = RuleCounts()
    counts.ground[:] = [1_000_000] * 10 + [0]
    counts.green[5, :10] = 300_000
    assert not fit_rule(counts, 5).usable


@pytest.fixture(scope="module")
def rule():
    return survey(open_field(rendered().ortho))


def test_a_rendered_field_is_told_apart(rule):
    spec = rendered().field.spec
    assert rule.rows.model.spacing_m == pytest.approx(spec.row_spacing_m, rel=0.01)
    assert rule.rows.model.heading_deg == pytest.approx(spec.heading_deg, abs=1)
    image, truth = rendered().field.image, rendered().field.labels
    classes, percent = rule.classify(image, Rect(0, 0, *truth.shape))
    assert f1(classes, truth, CROP) > 0.85
    assert f1(classes, truth, WEED) > 0.6
    assert percent.min() >= 35
    assert percent.max() == 100


@pytest.mark.parametrize("write_px", [256, 608, 2048])
def test_windows_do_not_show(rule, write_px, tmp_path: Path):
    field = open_field(rendered().ortho)
    segmenter = RowRuleSegmenter(rule)
    config = SegmentConfig(write_px=write_px, block_windows=1)
    store = BlockStore(tmp_path / "blocks", field.shape, write_px, {})
    predict(lambda: field.source.reader(field.grid, field.outline), segmenter, store, config)
    with field.source.reader(field.grid, field.outline) as reader:
        image = reader.read(Rect(0, 0, *field.shape).grow(rule.margin_px))[0]
    whole = rule.classify(image, Rect(0, 0, *field.shape).grow(rule.margin_px))
    inner = slice(rule.margin_px, -rule.margin_px)
    for block in store:
        arrays = store.load(block)
        assert np.array_equal(arrays[0], whole[0][inner, inner][block.slices])
        assert np.array_equal(arrays[1], whole[1][inner, inner][block.slices])


def test_a_segmenter_travels_and_gives_probabilities(rule):
    segmenter = pickle.loads(pickle.dumps(RowRuleSegmenter(rule)))  # noqa: S301 - our own, a moment ago
    assert segmenter.card.weights_sha256 == RowRuleSegmenter(rule).card.weights_sha256
    images = rendered().field.image[None, :, :256, :256]
    probabilities = segmenter(images)
    assert probabilities.shape == (1, 3, 256, 256)
    assert probabilities.sum(axis=1) == pytest.approx(np.ones((1, 256, 256)), abs=1e-6)
    assert np.array_equal(probabilities[0].argmax(axis=0), segmenter.classify(images)[0][0])


def test_before_it_has_seen_a_field_it_says_so():
    with pytest.raises(ModelError, match="has not seen a field"):
        RowRuleSegmenter().classify(np.zeros((1, 3, 32, 32), np.uint8))
    assert load_rule(ROW_RULE) is not None
    assert load_rule("default") is None


def test_a_broadcast_crop_is_refused():
    ortho = rendered(side_px=900, plant_spacing_m=9.9, weeds_per_m2=40.0, weed_diameter_m=0.08).ortho
    with pytest.raises(OrthoError, match="cannot be told"):
        survey(open_field(ortho))


def test_lines_of_the_rows_run_through_the_crop(rule):
    plants = rendered().field.plants
    crop = plants[plants["class"] == CROP]
    x, y = 690000 + crop["col"] * 0.006, 5360000 - crop["row"] * 0.006
    assert np.median(rule.rows.off_row(x, y)) < 0.06
    assert shapely.points(x, y).size > 200


def test_run_with_the_row_rule(tmp_path: Path):
    out = tmp_path / "run"
    result = CliRunner().invoke(main, ["run", str(rendered().ortho), "--model", ROW_RULE, "-o", str(out), "--json"])
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["rows"]["found"]
    assert (out / "classes.tif").is_file()
