from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod, Transformer
from shapely import affinity

from geoseg.errors import PrescriptionError
from geoseg.spray import grid
from spray_helpers import EAST, NORTH, UTM, cell_polygons, fields_of_any_shape, rectangle


def corner(box, col, row):
    a = box.affine
    return np.array([a.a * col + a.b * row + a.c, a.d * col + a.e * row + a.f])


def test_heading_zero_is_a_north_up_grid():
    box = grid.lattice(rectangle(10, 20), UTM, (0.5, 1.0), 0)
    assert box.shape == (20, 20)
    assert corner(box, 0, 0) == pytest.approx((EAST, NORTH + 20))
    assert corner(box, 1, 1) == pytest.approx((EAST + 0.5, NORTH + 19))


@pytest.mark.parametrize("heading", [0, 27, 90, 133.7, 180, 270, 341])
def test_rows_run_along_the_heading_and_columns_to_the_right_of_it(heading):
    box = grid.lattice(rectangle(30, 20), UTM, (0.5, 2.0), heading)
    along = corner(box, 0, 0) - corner(box, 0, 1)
    across = corner(box, 1, 0) - corner(box, 0, 0)
    angle = np.radians(heading)
    assert along == pytest.approx(2.0 * np.array((np.sin(angle), np.cos(angle))), abs=1e-8)
    assert across == pytest.approx(0.5 * np.array((np.cos(angle), -np.sin(angle))), abs=1e-8)


def test_a_line_of_cells_has_the_true_heading_on_the_ground():
    box = grid.lattice(rectangle(200, 300), UTM, (0.5, 0.5), 27)
    to_degrees = Transformer.from_crs(UTM, 4326, always_xy=True)
    (lon0, lat0), (lon1, lat1) = (to_degrees.transform(*corner(box, 100, row)) for row in (500, 100))
    azimuth, _, length = Geod(ellps="WGS84").inv(lon0, lat0, lon1, lat1)
    assert azimuth == pytest.approx(grid.true_heading(box, 27), abs=2e-3)
    assert azimuth - 27 == pytest.approx(1.9, abs=0.2)  # the meridian convergence there
    assert length == pytest.approx(200, rel=1e-3)


@settings(max_examples=40, deadline=None)
@given(fields_of_any_shape(), st.floats(0, 359), st.floats(0.3, 3), st.floats(0.3, 3))
def test_the_lattice_covers_the_field_with_no_row_or_column_to_spare(field, heading, width, length):
    box = grid.lattice(field, UTM, (width, length), heading)
    share, _ = grid.field_share(field, box)
    assert share.sum(dtype=float) * width * length == pytest.approx(field.area, rel=1e-5)
    whole = shapely.Polygon(
        [corner(box, c, r) for c, r in ((0, 0), (box.shape[1], 0), box.shape[::-1], (0, box.shape[0]))]
    )
    assert field.difference(whole.buffer(1e-6)).is_empty
    points = shapely.get_coordinates(field) @ np.array([[np.cos(np.radians(heading))], [-np.sin(np.radians(heading))]])
    assert box.shape[1] * width < np.ptp(points) + width + 1e-6


@settings(max_examples=40, deadline=None)
@given(fields_of_any_shape(), st.sampled_from([0, 27.0, 45.0, 90.0, 211.3]), st.sampled_from([0.5, 0.73, 3.0, 40.0]))
def test_field_share_is_the_area_of_the_intersection(field, heading, size):
    box = grid.lattice(field, UTM, (size, size * 0.9), heading)
    share, edge = grid.field_share(field, box)
    cells = cell_polygons(box)
    truth = shapely.area(shapely.intersection(cells, field)) / shapely.area(cells)
    assert share == pytest.approx(truth, abs=2e-6)
    assert edge[(truth > 1e-6) & (truth < 1 - 1e-6)].all()


@pytest.mark.parametrize("heading", [0.0, 27.0, 63.4, 90.0, 151.2])
def test_heading_is_that_of_the_longest_side(heading):
    field = affinity.rotate(rectangle(10, 80), -heading, origin=(EAST, NORTH))
    assert grid.heading_of(field) == pytest.approx(heading, abs=1e-6)
    assert grid.heading_of(shapely.reverse(field)) == pytest.approx(heading, abs=1e-6)


def test_a_square_has_one_heading_whatever_its_first_corner():
    square = rectangle(10, 10)
    points = shapely.get_coordinates(square)[:-1]
    assert {grid.heading_of(shapely.Polygon(np.roll(points, n, axis=0))) for n in range(4)} == {0.0}


def test_an_empty_field_and_too_many_cells_are_refused():
    with pytest.raises(PrescriptionError, match="boundary is empty"):
        grid.lattice(shapely.Polygon(), UTM, (0.5, 0.5), 0)
    with pytest.raises(PrescriptionError, match=r"lattice of 10,000,000,000 cells .* at most 50,000,000"):
        grid.lattice(rectangle(1000, 1000), UTM, (0.01, 0.01), 0)
