"""Scores against figures worked out by hand, and points matched by eye."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import LabelError
from geoseg.train.evaluate import confusion, evaluate_raster, match_points, scores
from geoseg.windows import Rect

LABELS = np.array([[0, 0, 1, 1], [2, 2, 255, 0]], np.uint8)
FOUND = np.array([[0, 1, 1, 1], [2, 0, 2, 255]], np.uint8)


def test_confusion_counts_pairs_and_leaves_255_out():
    wanted = np.zeros((3, 3), int)
    wanted[0, 0], wanted[0, 1], wanted[1, 1], wanted[2, 2], wanted[2, 0] = 1, 1, 2, 1, 1
    np.testing.assert_array_equal(confusion(LABELS, FOUND), wanted)


def test_scores_by_hand():
    found = scores(confusion(LABELS, FOUND))
    np.testing.assert_allclose(found.iou, [1 / 3, 2 / 3, 1 / 2])
    np.testing.assert_allclose(found.precision, [1 / 2, 2 / 3, 1])
    np.testing.assert_allclose(found.recall, [1 / 2, 1, 1 / 2])
    np.testing.assert_allclose(found.f1, [1 / 2, 4 / 5, 2 / 3])
    assert found.miou == pytest.approx(1 / 2)
    assert found.to_dict()["classes"]["crop"]["iou"] == 0.6667


def test_a_class_that_is_nowhere_does_not_count():
    found = scores(np.array([[5, 1, 0], [1, 3, 0], [0, 0, 0]]))
    assert np.isnan(found.iou[2])
    assert found.miou == pytest.approx((5 / 7 + 3 / 5) / 2)
    assert found.to_dict()["classes"]["weed"]["iou"] is None


@pytest.mark.parametrize("bad", [np.zeros((2, 3), np.uint8), np.full((2, 4), 7, np.uint8)])
def test_labels_that_do_not_fit_are_refused(bad):
    with pytest.raises(LabelError, match="shape|code is 7"):
        confusion(bad, FOUND)


def write(path, pixels, origin=0.0):
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint8", count=1, height=pixels.shape[0], width=pixels.shape[1],
        crs="EPSG:32632", transform=Affine(1, 0, origin, 0, -1, 100), nodata=255,
    ) as raster:  # fmt: skip
        raster.write(pixels, 1)
    return path


@given(block=st.integers(1, 40), part=st.tuples(*[st.integers(0, 30)] * 2))
def test_rasters_in_blocks_score_as_arrays_at_once(tmp_path_factory, block, part):
    random = np.random.default_rng(1)
    labels, classes = (random.choice(np.array([0, 1, 2, 255], np.uint8), (31, 37)) for _ in range(2))
    folder = tmp_path_factory.mktemp("scores")
    files = write(folder / "classes.tif", classes), write(folder / "labels.tif", labels)
    rect = Rect(*part, 31, 37)
    wanted = confusion(labels[rect.slices], classes[rect.slices])
    np.testing.assert_array_equal(evaluate_raster(*files, rect, block).matrix, wanted)


def test_rasters_on_other_grids_are_refused(tmp_path):
    one, two = write(tmp_path / "a.tif", LABELS), write(tmp_path / "b.tif", LABELS, origin=1)
    with pytest.raises(LabelError, match="b.tif does not lie on the grid"):
        evaluate_raster(one, two)
    with pytest.raises(LabelError, match="cannot be read"):
        evaluate_raster(one, tmp_path / "c.tif")


def test_each_point_matches_once_and_the_nearest_first():
    truth = np.array([[0.0, 0], [10, 0], [50, 50]])
    found = np.array([[1.0, 0], [2, 0], [11, 0], [90, 90]])
    assert match_points(found, truth, 3) == (2, 2, 1)
    assert match_points(found, truth, np.array([3, 0.5, 3])) == (1, 3, 2)
    assert match_points(found[:0], truth, 3) == (0, 0, 3)
