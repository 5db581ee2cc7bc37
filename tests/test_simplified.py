"""Simplified outlines, streamed: no gaps, no overlaps, the same for any block size, few held at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import ndimage

from geoseg.vectors import batches, simplified, simplify
from test_vectors import MIRRORED, TURNED, UTM, raster, rasters

ALL = (0, 1, 2, 255)


def outlines(path, tolerance, **options):
    return {
        key: shape
        for batch in simplified(path, tolerance, **options)
        for key, shape in zip(batch.id, batch.geometry, strict=True)
    }


def blobs(shape, seed=0, share=0.53):
    """Blobs of two classes that touch."""
    random = np.random.default_rng(seed)
    green = ndimage.gaussian_filter(random.random(shape), 3)
    kind = ndimage.gaussian_filter(random.random(shape), 5) > 0.5
    return np.where(green > np.quantile(green, share), 1 + kind, 0).astype(np.uint8)


@given(rasters, st.sampled_from([MIRRORED, UTM, TURNED]), st.floats(0, 3), st.integers(1, 20))
@example(np.array([[2, 2, 2], [2, 2, 2], [2, 2, 2], [2, 2, 0], [2, 2, 1]], np.uint8), TURNED, 0.0, 1)
@example(np.array([[2, 2, 2], [2, 2, 2], [2, 2, 2], [0, 2, 2], [1, 2, 2]], np.uint8), TURNED, 0.0, 1)
def test_nothing_opens_or_overlaps_whatever_the_blocks(values, transform, pixels, block_px):
    tolerance = pixels * math.sqrt(abs(transform.determinant))
    with raster(values, transform) as path:
        found = outlines(path, tolerance, codes=ALL)
        assert {key: shape.wkb for key, shape in outlines(path, tolerance, codes=ALL, block_px=block_px).items()} == {
            key: shape.wkb for key, shape in found.items()
        }
    shapes = list(found.values())
    union = shapely.union_all(shapes)
    assert shapely.coverage_is_valid(shapes)
    assert sum(shape.area for shape in shapes) == pytest.approx(union.area, rel=1e-6), "no overlaps"
    assert union.geom_type == "Polygon"
    assert not union.interiors, "no gaps"


@pytest.mark.parametrize("pixels", [1.0, 2.5])
def test_touching_classes_keep_their_shared_edges(pixels):
    values = blobs((400, 300))
    with raster(values, UTM) as path:
        whole = {key: shape for batch in batches(path) for key, shape in zip(batch.id, batch.geometry, strict=True)}
        found = outlines(path, pixels * 0.01, block_px=64)
        assert {key: shape.wkb for key, shape in found.items()} == {
            key: shape.wkb for key, shape in outlines(path, pixels * 0.01).items()
        }
    assert found.keys() == whole.keys()
    shapes = np.array([found[key] for key in whole])
    exact = np.array(list(whole.values()))
    assert shapely.is_valid(shapes).all()
    assert shapely.coverage_is_valid(shapes)
    overlap = shapely.area(shapes).sum() - shapely.union_all(shapes).area
    assert overlap == pytest.approx(0, abs=1e-9 * shapely.area(exact).sum())
    before, after = (shapely.area(shapely.union_all(shapely.buffer(kind, 0))) for kind in (exact, shapes))
    assert after == pytest.approx(before, rel=0.05)
    assert shapely.get_num_coordinates(shapes).sum() < 0.6 * shapely.get_num_coordinates(exact).sum()
    first, second = shapely.STRtree(exact).query(exact, predicate="intersects")
    shared = shapely.length(shapely.intersection(exact[first], exact[second])) > 0
    pairs = shared & (first < second)
    assert pairs.sum() > 20
    kept = shapely.length(shapely.intersection(shapes[first[pairs]], shapes[second[pairs]]))
    assert (kept > 0).all(), "neighbours are still neighbours"


def test_few_are_held_at_a_time(monkeypatch):
    """A field sixteen times as long holds no more."""
    most = []
    for times in (1, 16):
        values = np.tile(blobs((256, 256), share=0.85), (times, 1))
        sizes = []
        tree = shapely.STRtree

        def counted(geometries, *args, tree=tree, sizes=sizes):
            sizes.append(len(geometries))
            return tree(geometries, *args)

        with monkeypatch.context() as patch, raster(values, UTM, blockxsize=256, blockysize=64, tiled=True) as path:
            patch.setattr(shapely, "STRtree", counted)
            found = outlines(path, 0.01, block_px=64)
        most.append(max(sizes) / len(found))
    assert most[1] < 0.2 * most[0]


def test_tolerances_that_mean_nothing_are_refused():
    with raster(np.ones((4, 4), np.uint8)) as path:
        assert next(iter(outlines(path, 0).values())).equals(
            simplify([shapely.box(690000, 5359999.96, 690000.04, 5360000)], 0)[0]
        )
        for tolerance in (-1, math.nan, math.inf):
            with pytest.raises(ValueError, match="expected 0 or more"):
                next(simplified(path, tolerance))
