"""Field boundaries: what is read from files, what is seen in the ortho, and which pixels lie inside."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.features import geometry_mask

from geoseg.errors import BoundaryError, GeosegWarning, OrthoError
from geoseg.ortho import Ortho
from geoseg.ortho.boundary import PixelMask, read_boundary
from geoseg.windows import Rect
from rasters import FINE, UTM, Gsd, noise, write

SHAPE = (300, 400)  # 1.5 m x 2 m
X, Y = FINE.c, FINE.f
FIELD = shapely.Polygon([(X + 0.1, Y - 0.1), (X + 1.9, Y - 0.2), (X + 1.5, Y - 1.4), (X + 0.2, Y - 1.2)])


@pytest.fixture(scope="module")
def ortho(tmp_path_factory: pytest.TempPathFactory) -> Ortho:
    return Ortho.open(write(tmp_path_factory.mktemp("ortho") / "ortho.tif", noise(SHAPE)))


def saved(path: Path, *shapes: shapely.Geometry, crs: str | None = UTM, to: str | None = None, **options: str) -> Path:
    frame = gpd.GeoDataFrame(geometry=list(shapes), crs=crs)
    (frame if to is None else frame.to_crs(to)).to_file(path, **options)
    return path


# --- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["field.gpkg", "field.shp", "field.geojson", "Feld Nr. 7 äöü.gpkg"])
@pytest.mark.parametrize("to", [UTM, "EPSG:4326", "EPSG:3857", "EPSG:31468"])
def test_any_file_in_any_crs(tmp_path: Path, ortho: Ortho, name: str, to: str) -> None:
    if name.endswith("geojson") and to != "EPSG:4326":
        to = "EPSG:4326"  # GeoJSON has no other
    path = saved(tmp_path / name, FIELD, to=to)
    field = ortho.boundary(path, ortho.geobox)
    assert field.is_valid
    # the detour over another datum (EPSG:31468) comes back to where it was to a few millimetres
    assert field.hausdorff_distance(FIELD) < 0.005
    assert field.area == pytest.approx(FIELD.area, rel=1e-3)


def test_features_are_dissolved(tmp_path: Path, ortho: Ortho) -> None:
    left, right = shapely.box(X, Y - 1, X + 0.8, Y), shapely.box(X + 0.8, Y - 1, X + 1.4, Y)
    apart = shapely.box(X + 1.6, Y - 1, X + 1.8, Y)
    field = ortho.boundary(saved(tmp_path / "f.gpkg", left, right, apart), ortho.geobox)
    assert field.geom_type == "MultiPolygon"
    assert len(field.geoms) == 2
    assert field.area == pytest.approx(1.6)


def test_long_edges_stay_where_they_were_drawn(tmp_path: Path) -> None:
    # two kilometres along a parallel: straight in degrees, bent by metres in UTM
    edge = shapely.Polygon([(11.0, 48.0), (11.03, 48.0), (11.03, 48.001), (11.0, 48.001)])
    field = read_boundary(saved(tmp_path / "f.gpkg", edge, crs="EPSG:4326"), pyproj.CRS(UTM))
    middle = pyproj.Transformer.from_crs("EPSG:4326", UTM, always_xy=True).transform(11.015, 48.0)
    assert field.exterior.distance(shapely.Point(middle)) < 0.001


def test_invalid_polygons_are_repaired_with_a_warning(tmp_path: Path, ortho: Ortho) -> None:
    bow = shapely.Polygon([(X, Y), (X + 1, Y - 1), (X + 1, Y), (X, Y - 1)])
    with pytest.warns(GeosegWarning, match=r"f.gpkg: 1 polygons were repaired \(Self-intersection"):
        field = ortho.boundary(saved(tmp_path / "f.gpkg", bow), ortho.geobox)
    assert field.is_valid
    assert field.area == pytest.approx(0.5)


def test_the_layer_named_boundary_is_taken(tmp_path: Path, ortho: Ortho) -> None:
    path = saved(tmp_path / "f.gpkg", shapely.box(X, Y - 1, X + 1, Y), layer="cells")
    saved(path, shapely.box(X, Y - 1, X + 0.1, Y), layer="weeds")
    with pytest.raises(
        BoundaryError, match=r"f.gpkg has the layers cells, weeds; name the one of the field 'boundary'"
    ):
        ortho.boundary(path, ortho.geobox)
    saved(path, FIELD, layer="boundary")
    saved(path, shapely.Point(X, Y), layer="plants")
    assert ortho.boundary(path, ortho.geobox).equals(FIELD)


@pytest.mark.parametrize(
    ("shapes", "crs", "message"),
    [
        ([shapely.LineString([(X, Y), (X + 1, Y)])], UTM, "f.gpkg has only LineString; expected polygons"),
        ([shapely.Point(X, Y)], UTM, "f.gpkg has only Point; expected polygons"),
        ([], UTM, "f.gpkg has no features; expected polygons"),
        ([shapely.Polygon()], UTM, "f.gpkg has .*; expected polygons"),
        ([FIELD], None, "f.gpkg has no CRS; add the .prj file"),
        (
            [shapely.box(X + 100, Y - 1, X + 101, Y)],
            UTM,
            r"f.gpkg lies 98 m from the ortho: the boundary spans 690100, ",
        ),
    ],
)
def test_what_is_no_boundary_is_refused(
    tmp_path: Path, ortho: Ortho, shapes: list[shapely.Geometry], crs: str | None, message: str
) -> None:
    options = {} if shapes else {"geometry_type": "Polygon"}
    path = tmp_path / "f.gpkg"
    if crs is None:
        with pytest.warns(UserWarning, match="'crs' was not provided"):
            saved(path, *shapes, crs=crs)
    else:
        saved(path, *shapes, crs=crs, **options)
    with pytest.raises(BoundaryError, match=message):
        ortho.boundary(path, ortho.geobox)


def test_other_files_are_refused_in_one_line(tmp_path: Path, ortho: Ortho) -> None:
    (tmp_path / "notes.geojson").write_text("nothing")
    (tmp_path / "empty.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": []}))
    for name in ("notes.geojson", "empty.geojson", "missing.gpkg"):
        with pytest.raises(BoundaryError, match=rf"^{name} [^\n]*$"):
            ortho.boundary(tmp_path / name, ortho.geobox)


def test_a_field_that_lies_half_beside_the_ortho_is_told(tmp_path: Path, ortho: Ortho) -> None:
    path = saved(tmp_path / "f.gpkg", shapely.box(X - 1, Y - 1, X + 1, Y))
    with pytest.warns(GeosegWarning, match="only 50% of the field lies on the ortho"):
        field = ortho.boundary(path, ortho.geobox)
    assert field.area == pytest.approx(2)
    with ortho.reader(ortho.geobox, field) as reader:
        assert reader.valid(Rect(0, 0, *SHAPE)).sum() == 200 * 200


def test_a_real_field(fields: Path) -> None:
    path = fields / "references" / "ohio_field" / "boundary.gpkg"
    utm = pyproj.CRS("EPSG:32617")
    assert read_boundary(path, utm).area == pytest.approx(gpd.read_file(path).to_crs(utm).area.sum(), rel=1e-4)


# --- the outline of the ortho ---------------------------------------------------------------------------------------


def test_without_holes_the_outline_is_the_rectangle(tmp_path: Path, ortho: Ortho) -> None:
    rectangle = shapely.box(X, Y - 1.5, X + 2, Y)
    assert ortho.boundary(None, ortho.geobox).equals(rectangle)
    full = Ortho.open(write(tmp_path / "ortho.tif", noise(SHAPE), alpha=np.full(SHAPE, 255)))
    assert full.boundary(None, full.geobox).equals(rectangle)


@pytest.mark.parametrize("way", ["alpha", "mask", "nodata"])
def test_the_outline_follows_the_valid_pixels(tmp_path: Path, way: str) -> None:
    affine = Affine(0.05, 0, X, 0, -0.05, Y)
    row, col = np.mgrid[: SHAPE[0], : SHAPE[1]]
    valid = (row - 140) ** 2 + (col - 190) ** 2 < 130**2
    speck, hole, pond = np.zeros((3, *SHAPE), bool)
    speck[5:10, 5:10] = hole[100:105, 150:160] = pond[150:190, 150:190] = True
    image = np.maximum(noise(SHAPE), 1) * ((valid | speck) & ~hole & ~pond)
    seen = image.any(axis=0)
    options = {"alpha": {"alpha": seen * 255}, "mask": {"mask": seen}, "nodata": {"nodata": 0}}[way]
    found = Ortho.open(write(tmp_path / "o.tif", image, transform=affine, **options))
    grid = found.working_grid(Gsd(min_m=0.01, max_m=0.1))
    field = found.boundary(None, grid)
    disc = shapely.Point(X + 190.5 * 0.05, Y - 140.5 * 0.05).buffer(130 * 0.05)
    assert field.geom_type == "Polygon"
    assert len(field.interiors) == 1  # the pond stays, the small hole is closed, the speck is gone
    assert field.area == pytest.approx(disc.area - 4, rel=0.01)
    assert shapely.Polygon(field.exterior).hausdorff_distance(disc) < 2 * 0.05


def test_the_outline_of_a_turned_ortho_is_in_the_grid(tmp_path: Path) -> None:
    turned = Affine(0.004, 0.003, X, 0.003, -0.004, Y)
    found = Ortho.open(write(tmp_path / "o.tif", noise(SHAPE), transform=turned))
    field = found.boundary(None, found.working_grid(Gsd()))
    assert field.area == pytest.approx(SHAPE[0] * SHAPE[1] * 0.005**2)


def test_an_ortho_without_valid_pixels_is_refused(tmp_path: Path) -> None:
    empty = Ortho.open(write(tmp_path / "o.tif", noise(SHAPE), alpha=np.zeros(SHAPE)))
    with pytest.raises(OrthoError, match=r"o.tif has no valid pixel"):
        empty.boundary(None, empty.geobox)


# --- pixels ---------------------------------------------------------------------------------------------------------

GRID = GeoBox((60, 80), Affine(0.5, 0, 1000, 0, -0.5, 2000), UTM)
coordinates = st.tuples(st.integers(-40, 360), st.integers(-40, 280)).map(lambda p: (1000 + p[0] / 8, 2000 - p[1] / 8))


def polygons() -> st.SearchStrategy[shapely.Geometry]:
    ring = st.lists(coordinates, min_size=3, max_size=9, unique=True).map(
        lambda points: shapely.Polygon(points).buffer(0)
    )
    return st.lists(ring, min_size=1, max_size=3).map(shapely.union_all).filter(lambda shape: shape.area > 0)


@settings(max_examples=80, deadline=None)
@given(polygons())
def test_pixels_whose_centre_is_inside(field: shapely.Geometry) -> None:
    rows, cols = np.mgrid[:60, :80] + 0.5
    x, y = 1000 + cols * 0.5, 2000 - rows * 0.5
    pixels = PixelMask(field, GRID).pixels(Rect(0, 0, 60, 80))
    on_edge = shapely.dwithin(field.boundary, shapely.points(x, y), 1e-9)
    np.testing.assert_array_equal(pixels[~on_edge], shapely.contains_xy(field, x, y)[~on_edge])
    burnt = geometry_mask([field], (60, 80), GRID.affine, invert=True)
    np.testing.assert_array_equal(pixels[~on_edge], burnt[~on_edge])


@settings(max_examples=80, deadline=None)
@given(polygons(), st.integers(0, 59), st.integers(0, 79), st.integers(1, 30), st.integers(1, 30))
def test_the_mask_of_a_window_is_part_of_the_whole(field: shapely.Geometry, row: int, col: int, h: int, w: int) -> None:
    mask = PixelMask(field, GRID)
    rect = Rect(row, col, min(60, row + h), min(80, col + w))
    part = mask.pixels(rect)
    np.testing.assert_array_equal(part, mask.pixels(Rect(0, 0, 60, 80))[rect.slices])
    state = mask.state(rect)
    assert state is None or (part == state).all()


def test_neighbours_share_no_pixel_and_leave_none() -> None:
    # the common edge runs through pixel centres
    left, right = shapely.box(1000, 1970, 1020.25, 2000), shapely.box(1020.25, 1970, 1040, 2000)
    rect = Rect(0, 0, 60, 80)
    assert (PixelMask(left, GRID).pixels(rect) ^ PixelMask(right, GRID).pixels(rect)).all()
