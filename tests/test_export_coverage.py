from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.export.coverage import coverage_union


def squares(*corners, size=1.0):
    return np.array([shapely.box(x, y, x + size, y + size) for x, y in corners])


@pytest.mark.parametrize(
    ("polygons", "clean"),
    [
        (squares((0, 0), (1, 0), (0, 1)), True),
        (squares((0, 0), (5, 5)), True),
        (squares((0, 0), (1, 1)), True),
        (squares((0, 0), (0.5, 0.5)), False),
        (squares((0, 0), (0, 0)), False),
        (squares((0, 0), (1, 0.5)), False),
        (np.array([shapely.box(0, 0, 3, 3), shapely.box(1, 1, 2, 2)]), False),
        (np.array([shapely.box(0, 0, 3, 3).difference(shapely.box(1, 1, 2, 2)), shapely.box(1, 1, 2, 2)]), True),
        (np.array([shapely.box(0, 0, 3, 3).difference(shapely.box(1, 1, 2, 2))]), True),
    ],
    ids=["beside", "apart", "corner", "overlap", "twice", "unshared edge", "inside", "hole filled", "hole"],
)
def test_a_coverage_is_told_from_what_is_none(polygons, clean):
    union = coverage_union(polygons)
    assert (union is not None) == clean
    if clean:
        assert union.symmetric_difference(shapely.union_all(polygons)).area == pytest.approx(0, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["none", "shift", "drop", "double", "grow"]))
def test_it_agrees_with_geos(seed, change):
    rng = np.random.default_rng(seed)
    points = shapely.multipoints(rng.random((12, 2)))
    polygons = np.asarray(shapely.get_parts(shapely.voronoi_polygons(points)))
    polygons = polygons[shapely.is_valid(polygons)]
    if change == "shift":
        polygons[0] = shapely.transform(polygons[0], lambda p: p + 0.01)
    elif change == "drop":
        polygons = polygons[1:]
    elif change == "double":
        polygons = np.append(polygons, polygons[0])
    elif change == "grow":
        polygons[0] = shapely.buffer(polygons[0], 0.01)
    assert (coverage_union(polygons) is not None) == bool(shapely.coverage_is_valid(polygons))
