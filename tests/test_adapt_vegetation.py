"""Vegetation without labels: indices, thresholds, uneven light, and that windows do not show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage, stats

import rasters
from adaptfields import rendered
from geoseg.adapt.cut import BINS, find_cut, histogram
from geoseg.adapt.field import open_field
from geoseg.adapt.indices import INDICES, candidates, vegetation_index
from geoseg.adapt.vegetation import Ground, find_vegetation
from geoseg.errors import OrthoError
from geoseg.windows import Rect, windows

RGB = ("red", "green", "blue")


@pytest.mark.parametrize("name", sorted(INDICES))
def test_leaves_are_higher_than_soil(name):
    bands = ("nir", *RGB)
    leaf, soil = np.array([180, 60, 120, 40], np.uint8), np.array([110, 120, 100, 80], np.uint8)
    image = np.stack([leaf, soil], axis=1)[:, None]
    values = vegetation_index(name, image, bands)[0]
    assert values[0] > values[1] + 0.02
    as_shares = vegetation_index(name, image.astype(np.float32) / 255, bands)[0]
    assert as_shares == pytest.approx(values)


def test_ndvi_is_the_formula_but_for_the_dark():
    image = np.array([0.8, 0.2], np.float32).reshape(2, 1, 1)
    assert vegetation_index("ndvi", image, ("nir", "red"))[0, 0] == pytest.approx(0.6 / 1.04)
    assert vegetation_index("ndvi", image * 0, ("nir", "red"))[0, 0] == 0


def test_bands_decide_which_indices_there_are():
    assert candidates(RGB) == ["exg", "exgr", "cive"]
    assert set(candidates(("nir", *RGB))) == set(INDICES)
    with pytest.raises(OrthoError, match="needs the bands nir, red"):
        vegetation_index("ndvi", np.zeros((3, 2, 2), np.uint8), RGB)


def counts_of(parts: list[tuple[float, float, float]], pixels: int = 1_000_000) -> np.ndarray:
    """Expected counts of a mixture of normal distributions (share, mean, deviation), exactly."""
    total = np.zeros(len(BINS) - 1)
    for share, mean, deviation in parts:
        total += share * np.diff(stats.norm(mean, deviation).cdf(BINS))
    return np.rint(total * pixels).astype(np.int64)


@pytest.mark.parametrize("share", [0.001, 0.005, 0.02, 0.035])
def test_few_leaves_are_cut_in_the_middle(share):
    cut = find_cut(counts_of([(1 - share, 0.0, 0.02), (share, 0.3, 0.05)]))
    assert cut.way == "tail"
    assert cut.value == pytest.approx(0.15, abs=0.012)
    assert cut.cover == pytest.approx(share, rel=0.02)
    assert cut.soil < cut.seed <= cut.value
    soil_above_seed = (1 - share) * stats.norm(0, 0.02).sf(cut.seed)
    assert soil_above_seed <= 0.015 * (soil_above_seed + share)


def test_two_hills_are_cut_in_their_valley_and_not_above_the_larger():
    cut = find_cut(counts_of([(0.4, 0.0, 0.03), (0.6, 0.4, 0.06)]))
    assert cut.way == "hills"
    assert 0.08 < cut.value < 0.25
    assert cut.cover == pytest.approx(0.6, abs=0.01)


def test_bare_soil_has_no_cut():
    assert find_cut(counts_of([(1.0, 0.0, 0.03)])) is None
    assert find_cut(np.zeros(len(BINS) - 1, np.int64)) is None


def test_histogram_is_numpys():
    values = np.random.default_rng(0).normal(0, 1.2, 5000)
    inside = np.clip(values, BINS[0], np.nextafter(BINS[-1], 0))
    assert np.abs(histogram(values) - np.histogram(inside, BINS)[0]).max() <= 1  # a value on an edge


def test_ground_is_bilinear_whatever_the_rectangle():
    values = np.random.default_rng(1).random((4, 5))
    ground = Ground(values, 7.3)
    whole = ground.over(Rect(0, 0, 29, 36))
    rows, cols = np.meshgrid((np.arange(29) + 0.5) / 7.3 - 0.5, (np.arange(36) + 0.5) / 7.3 - 0.5, indexing="ij")
    expected = ndimage.map_coordinates(values, [rows, cols], order=1, mode="nearest")
    assert whole == pytest.approx(expected, abs=1e-6)
    part = Rect(5, 9, 17, 30)
    assert np.array_equal(ground.over(part), whole[part.slices])


def test_green_of_a_rendered_field_is_found_and_windows_do_not_show():
    field = open_field(rendered().ortho)
    rule = find_vegetation(field)
    with field.source.reader(field.grid, field.outline) as reader:
        around = Rect(0, 0, *field.shape).grow(rule.reach_px)
        inner = slice(rule.reach_px, -rule.reach_px)
        whole = rule.greenness(reader.read(around)[0], around)[inner, inner]
        for window in list(windows(field.shape, 333, rule.reach_px))[::5]:
            found = rule.greenness(reader.read(window.read)[0], window.read)
            assert np.array_equal(found[window.crop.slices], whole[window.write.slices])
    truth = rendered().field.labels > 0
    green = whole > 0.5
    assert 2 * np.count_nonzero(green & truth) / (green.sum() + truth.sum()) > 0.85


def test_uneven_light_and_soil_are_taken_off(tmp_path: Path):
    image = rendered().field.image.astype(np.float32)
    slope = np.linspace(-0.07, 0.07, image.shape[2])[None]
    image[0] *= 1 - slope
    image[1] *= 1 + slope
    ortho = rasters.write(tmp_path / "ortho.tif", np.clip(image, 0, 255).astype(np.uint8))
    field = open_field(ortho)
    rule = find_vegetation(field)
    with field.source.reader(field.grid, field.outline) as reader:
        green = rule.greenness(reader.read(Rect(0, 0, *field.shape))[0], Rect(0, 0, *field.shape)) > 0.5
    truth = rendered().field.labels > 0
    for part in (slice(0, 400), slice(1000, 1400)):
        both = np.count_nonzero(green[:, part] & truth[:, part])
        assert 2 * both / (green[:, part].sum() + truth[:, part].sum()) > 0.8


def test_near_infrared_is_used_where_the_file_names_it(tmp_path: Path):
    field = rendered().field
    green = field.labels > 0
    random = np.random.default_rng(2)
    nir = np.where(green, 170, 90) + random.normal(0, 5, green.shape)
    image = np.stack([nir, np.where(green, 60, 100), np.where(green, 80, 90)]).clip(0, 255).astype(np.uint8)
    ortho = rasters.write(tmp_path / "cir.tif", image, names=("NIR", "Red", "Green"))
    opened = open_field(ortho)
    assert opened.bands == ("nir", "red", "green")
    assert find_vegetation(opened).index in ("ndvi", "gndvi")


def test_bare_soil_is_said_to_be_bare(tmp_path: Path):
    grey = np.random.default_rng(0).normal(100, 8, (3, 900, 900)).clip(0, 255).astype(np.uint8)
    with pytest.raises(OrthoError, match=r"nothing green stands out|not told apart"):
        find_vegetation(open_field(rasters.write(tmp_path / "bare.tif", grey)))
