from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from shapely import affinity

from geoseg.spray.grid import field_share, heading_of, lattice
from geoseg.spray.zones import SLIVER_SHARE, partition
from spray_helpers import EAST, NORTH, UTM, cell_polygons, fields_of_any_shape, rectangle


def cut(field, cell, heading, seed=0, *, levels=2, density=0.3, split_holes=False):
    box = lattice(field, UTM, cell, heading)
    share, edge = field_share(field, box)
    rng = np.random.default_rng(seed)
    level = np.where(rng.random(box.shape) < density, rng.integers(2, levels + 1, box.shape), 1).astype(np.uint8)
    polygons, found = partition(level, share, edge, box, field, split_holes=split_holes)
    return box, share, level, polygons, found


def is_partition(polygons, field):
    assert all(polygon.geom_type == "Polygon" for polygon in polygons)
    assert shapely.is_valid(polygons).all()
    assert shapely.coverage_is_valid(polygons)
    assert abs(shapely.area(polygons).sum() - field.area) <= 1e-9 * field.area
    assert shapely.coverage_union_all(polygons).symmetric_difference(field).area <= 1e-6 * field.area


@settings(max_examples=60, deadline=None)
@given(
    fields_of_any_shape(),
    st.floats(0, 359.9),
    st.sampled_from([0.4, 1.0, 2.5, 60.0]),
    st.integers(0, 1000),
    st.integers(2, 5),
)
def test_zones_partition_any_field_exactly(field, heading, size, seed, levels):
    box, share, level, polygons, found = cut(field, (size, size), heading, seed, levels=levels)
    is_partition(polygons, field)
    cells, whole = cell_polygons(box), share >= SLIVER_SHARE
    for value in range(1, levels + 1):
        sprayed = shapely.union_all(polygons[found == value])
        planned = shapely.area(shapely.intersection(cells[whole & (level == value)], field)).sum()
        slivers = shapely.area(shapely.intersection(cells[~whole], field)).sum()
        assert abs(sprayed.area - planned) <= slivers + 1e-6


@settings(max_examples=25, deadline=None)
@given(fields_of_any_shape(), st.floats(0, 359.9), st.integers(0, 1000))
def test_zones_still_share_their_edges_in_longitude_and_latitude(field, heading, seed):
    _, _, _, polygons, _ = cut(field, (0.7, 1.1), heading, seed)
    move = Transformer.from_crs(UTM, 4326, always_xy=True).transform
    moved = shapely.transform(polygons, lambda points: np.stack(move(points[:, 0], points[:, 1]), 1))
    assert shapely.coverage_is_valid(moved)


@pytest.mark.parametrize("turn", [0.0, 27.0, 89.999999, 33.333333333])
@pytest.mark.parametrize("size", [(20, 30), (20.0000000004, 30.0000000004), (20.0000001, 29.9999999), (19.75, 29.6)])
def test_a_field_whose_sides_lie_on_the_lattice(turn, size):
    field = affinity.rotate(rectangle(*size), -turn, origin=(EAST, NORTH))
    _, share, level, polygons, found = cut(field, (0.5, 0.5), heading_of(field), 1)
    is_partition(polygons, field)
    sprayed = (share * (level == 2)).sum(dtype=float) * 0.25
    assert shapely.area(polygons[found == 2]).sum() == pytest.approx(sprayed, abs=1e-4)


@pytest.mark.parametrize("size", [(20.003, 30), (20, 30.003), (20.003, 30.003)])
def test_a_strip_that_no_machine_can_do_follows_the_cells_beside_it(size):
    field = rectangle(*size)
    _, _, _, polygons, found = cut(field, (0.5, 0.5), 0, 1, density=0.1)
    is_partition(polygons, field)
    assert shapely.area(polygons).min() > 0.2
    assert (found == 2).any()


def test_every_point_has_the_level_of_its_cell():
    field = affinity.rotate(rectangle(21, 17), 13).difference(shapely.Point(EAST + 9, NORTH + 8).buffer(3))
    box, share, level, polygons, found = cut(field, (0.5, 0.8), 27, 3, levels=4)
    points = np.random.default_rng(0).uniform(field.bounds[:2], field.bounds[2:], (4000, 2))
    points = points[shapely.contains_xy(field, points)]
    inverse = ~box.affine
    col = np.floor(inverse.a * points[:, 0] + inverse.b * points[:, 1] + inverse.c).astype(int)
    row = np.floor(inverse.d * points[:, 0] + inverse.e * points[:, 1] + inverse.f).astype(int)
    which, polygon = shapely.STRtree(polygons).query(shapely.points(points), predicate="within")
    solid = share[row[which], col[which]] >= SLIVER_SHARE
    assert (found[polygon] == level[row[which], col[which]])[solid].all()
    assert solid.sum() > 2000


def test_straight_sides_have_no_vertices_between_corners():
    field = rectangle(10, 10)
    box = lattice(field, UTM, (0.5, 0.5), 0)
    share, edge = field_share(field, box)
    level = np.ones(box.shape, np.uint8)
    level[4:9, 5:11] = 2
    polygons, found = partition(level, share, edge, box, field)
    (spot,) = polygons[found == 2]
    assert len(spot.exterior.coords) == 5
    assert spot.equals(rectangle(3, 2.5, at=(2.5, 5.5)))
    assert len(polygons) == 2


def test_cells_that_meet_at_a_corner_are_two_polygons():
    field = rectangle(10, 10)
    box = lattice(field, UTM, (1, 1), 0)
    share, edge = field_share(field, box)
    level = np.ones(box.shape, np.uint8)
    level[4, 4] = level[5, 5] = 2
    polygons, found = partition(level, share, edge, box, field)
    assert sorted(found.tolist()) == [1, 2, 2]
    is_partition(polygons, field)


def test_the_result_does_not_depend_on_where_the_field_begins():
    field = shapely.Point(EAST, NORTH).buffer(9, quad_segs=5)
    points = shapely.get_coordinates(field)[:-1]
    results = [cut(shapely.Polygon(np.roll(points, n, axis=0)), (0.5, 0.5), 20, 7)[3] for n in (0, 3, 11)]
    assert all(shapely.hausdorff_distance(results[0], other).max() < 1e-6 for other in results[1:])


@settings(max_examples=60, deadline=None)
@given(
    fields_of_any_shape(),
    st.floats(0, 359.9),
    st.sampled_from([0.4, 1.0, 2.5, 60.0]),
    st.integers(0, 1000),
    st.sampled_from([0.05, 0.3, 0.6]),
)
def test_split_zones_have_no_holes_and_the_same_levels(field, heading, size, seed, density):
    _, _, _, kept, before = cut(field, (size, size), heading, seed, density=density)
    _, _, _, polygons, after = cut(field, (size, size), heading, seed, density=density, split_holes=True)
    is_partition(polygons, field)
    assert not shapely.get_num_interior_rings(polygons).any()
    assert len(polygons) >= len(kept)
    for value in (1, 2):
        same = shapely.union_all(kept[before == value]), shapely.union_all(polygons[after == value])
        assert same[0].symmetric_difference(same[1]).area < 1e-6


def test_splitting_adds_few_pieces_for_each_hole():
    field = rectangle(40, 40).difference(rectangle(6.3, 2.1, at=(20.2, 11.3)))
    _, _, _, kept, _ = cut(field, (0.5, 0.5), 0, 5, density=0.05)
    _, _, _, polygons, _ = cut(field, (0.5, 0.5), 0, 5, density=0.05, split_holes=True)
    holes = shapely.get_num_interior_rings(kept).sum()
    assert holes > 100
    assert len(kept) < len(polygons) <= len(kept) + 2 * holes + 20
