"""Polygons of class rasters, against GDAL's polygonizer, scipy's labels and GEOS's coverage checks."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rasterio import features
from rasterio.io import MemoryFile
from scipy import ndimage

from geoseg.errors import InputError
from geoseg.vectors import batches, components, outlines, polygonize, runs, simplify, stream
from geoseg.windows import Rect

UTM = Affine(0.01, 0, 690_000, 0, -0.01, 5_360_000)
TURNED = Affine.translation(690_000, 5_360_000) * Affine.rotation(33) * Affine.scale(0.01, -0.02)
MIRRORED = Affine(2, 0, 10, 0, 2, 20)

rasters = st.integers(1, 4).flatmap(
    lambda size: hnp.arrays(
        np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=16), elements=st.sampled_from([0, 1, 2, 255])
    ).map(lambda small: np.kron(small, np.ones((size, size), np.uint8)))
)


@contextmanager
def raster(values: np.ndarray, transform: Affine = UTM, **profile: object) -> Iterator[str]:
    profile = {"dtype": values.dtype, "count": 1, "crs": "EPSG:32632", "transform": transform} | profile
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", height=values.shape[0], width=values.shape[1], **profile) as target:
            target.write(values, 1)
        yield memory.name


def spiral(size: int) -> np.ndarray:
    """One arm, one pixel wide, with one pixel of soil between its turns."""
    values = np.zeros((size, size), np.uint8)
    row, col, step = 0, 0, (0, 1)
    values[0, 0] = 1
    while True:
        for _ in range(2):
            ahead = [(row + step[0] * n, col + step[1] * n) for n in (1, 2)]
            inside = [0 <= r < size and 0 <= c < size for r, c in ahead]
            if inside[0] and not values[ahead[0]] and not (inside[1] and values[ahead[1]]):
                row, col = ahead[0]
                values[row, col] = 1
                break
            step = (step[1], -step[0])
        else:
            return values


def ring_area_px(polygon: shapely.Polygon) -> float:
    """Area by the shoelace formula in whole numbers; for lattice coordinates it is exact."""
    total = 0
    for ring in (polygon.exterior, *polygon.interiors):
        points = [(round(x), round(y)) for x, y in ring.coords]
        assert [tuple(point) for point in ring.coords] == points
        total += sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairwise(points))
    return abs(total) / 2


def gdal_polygons(values: np.ndarray, mask: np.ndarray, transform: Affine) -> list[tuple[int, shapely.Polygon]]:
    found = features.shapes(values.astype(np.int32), mask=mask, connectivity=4, transform=transform)
    return [(int(value), shapely.geometry.shape(shape)) for shape, value in found]


def assert_same_sets(got: list[tuple[int, shapely.Polygon]], expected: list[tuple[int, shapely.Polygon]]) -> None:
    """Each polygon has exactly one equal partner; partners are found by a point inside."""
    assert len(got) == len(expected)
    tree = shapely.STRtree([polygon for _, polygon in expected])
    partners = set()
    for value, polygon in got:
        near = tree.query(polygon.representative_point(), predicate="within")
        (partner,) = [index for index in near if expected[index][1].equals(polygon)]
        assert expected[partner][0] == value
        partners.add(partner)
    assert len(partners) == len(got)


# ---- arrays


@given(rasters, st.sampled_from([Affine.identity(), UTM, MIRRORED]))
def test_polygonize_gives_what_gdal_gives(values: np.ndarray, transform: Affine) -> None:
    got = polygonize(values, transform, mask=values != 255)
    assert_same_sets(got, gdal_polygons(values, values != 255, transform))


@given(rasters, st.sampled_from([Affine.identity(), TURNED, MIRRORED]))
def test_polygons_are_valid_oriented_and_hold_corners_only(values: np.ndarray, transform: Affine) -> None:
    for _, polygon in polygonize(values, transform):
        assert polygon.is_valid
        assert polygon.exterior.is_ccw
        assert not any(hole.is_ccw for hole in polygon.interiors)
        for ring in (polygon.exterior, *polygon.interiors):
            points = np.array(ring.coords)
            before, after = np.diff(points, axis=0), np.diff(np.vstack([points[1:], points[1:2]]), axis=0)
            cosine = (before * after).sum(axis=1) / np.hypot(*before.T) / np.hypot(*after.T)
            assert np.abs(cosine).max() < 1e-6, "every corner turns by a right angle"


@given(rasters)
def test_area_and_corners_are_exact(values: np.ndarray) -> None:
    regions = polygonize(values, Affine.identity())
    for code in np.unique(values):
        areas = [ring_area_px(polygon) for value, polygon in regions if value == code]
        assert sum(areas) == np.count_nonzero(values == code)


@given(rasters, st.floats(-180, 180), st.floats(0.001, 10))
def test_rotated_grids_keep_area(values: np.ndarray, degrees: float, size: float) -> None:
    transform = Affine.rotation(degrees) * Affine.scale(size, -size * 1.5)
    regions = polygonize(values, transform)
    total = math.fsum(polygon.area for _, polygon in regions)
    assert total == pytest.approx(values.size * size * size * 1.5, rel=1e-9)


def test_all_values_make_regions_in_the_order_of_their_first_pixels() -> None:
    labels = np.array([[-5, -5, 7], [0, 7, 7], [0, 0, -5]])
    assert [value for value, _ in polygonize(labels, UTM)] == [-5, 7, 0, -5]
    mask = labels != 0
    assert [value for value, _ in polygonize(labels, UTM, mask=mask)] == [-5, 7, -5]


def test_rings_begin_and_run_as_documented() -> None:
    values = np.ones((3, 3), np.uint8)
    values[1, 1] = 0
    ((_, polygon),) = polygonize(values, UTM, mask=values == 1)
    left, top = 690_000, 5_360_000
    near = [[round((x - left) * 100), round((y - top) * 100)] for x, y in polygon.exterior.coords]
    assert near == [[0, 0], [0, -3], [3, -3], [3, 0], [0, 0]]
    near = [[round((x - left) * 100), round((y - top) * 100)] for x, y in polygon.interiors[0].coords]
    assert near == [[1, -2], [1, -1], [2, -1], [2, -2], [1, -2]]


def test_a_ring_that_closes_over_a_corner_has_a_hole_and_no_self_touch() -> None:
    values = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], np.uint8)
    ((_, polygon),) = polygonize(values, Affine.identity(), mask=values == 1)
    assert polygon.is_valid
    assert len(polygon.interiors) == 1
    assert len(set(polygon.exterior.coords)) == len(polygon.exterior.coords) - 1


def test_two_background_pixels_that_meet_at_a_corner_are_two_holes() -> None:
    values = np.ones((4, 4), np.uint8)
    values[1, 1] = values[2, 2] = 0
    ((_, polygon),) = polygonize(values, Affine.identity(), mask=values == 1)
    assert polygon.is_valid
    assert [hole.bounds for hole in polygon.interiors] == [(1, 1, 2, 2), (2, 2, 3, 3)]


def test_regions_inside_holes_are_their_own() -> None:
    values = np.array([[min(r, c, 8 - r, 8 - c) % 2 for c in range(9)] for r in range(9)], np.uint8)
    assert_same_sets(polygonize(values, UTM), gdal_polygons(values, values < 255, UTM))
    assert len(polygonize(values, UTM)) == 5


@pytest.mark.parametrize("labels", [np.zeros((2, 2, 2), int), np.zeros((2, 2)), np.zeros(3, int)])
def test_polygonize_refuses_other_arrays(labels: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected \(H, W\) integers"):
        polygonize(labels, UTM)


def test_polygonize_refuses_a_mask_of_another_shape_and_takes_an_empty_array() -> None:
    with pytest.raises(ValueError, match="the mask is"):
        polygonize(np.zeros((2, 3), int), UTM, mask=np.ones((3, 2), bool))
    assert polygonize(np.zeros((0, 3), int), UTM) == []
    assert polygonize(np.zeros((2, 3), int), UTM, mask=np.zeros((2, 3), bool)) == []


# ---- files


def everything(path: str, **options: object) -> dict[int, tuple]:
    """All that is known of each component, geometry as bytes."""
    found = {}
    for components_ in components(path, **options):
        assert [c.id for c in components_] == sorted(c.id for c in components_)
        for c in components_:
            assert c.id not in found
            found[c.id] = (c.code, c.area_px, c.centroid, c.bbox, repr(c.confidence), shapely.to_wkb(c.geometry))
    return found


@settings(max_examples=40)
@given(rasters, st.integers(1, 20), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_block_size_changes_nothing(values: np.ndarray, block_px: int, many: int, seed: int) -> None:
    confidence = np.random.default_rng(seed).integers(0, 101, values.shape).astype(np.uint8)
    before = stream.STRIP_RUNS, outlines.MANY
    try:
        with raster(values) as path, raster(confidence) as weights:
            whole = everything(path, confidence=weights)
            # Small limits, so that strips are cut within and corners are set aside.
            stream.STRIP_RUNS, outlines.MANY = many, many
            assert everything(path, confidence=weights, block_px=block_px) == whole
    finally:
        stream.STRIP_RUNS, outlines.MANY = before


@contextmanager
def stacks(where: str) -> Iterator[None]:
    """Stacks of runs looked for everywhere or nowhere, and not only where they save time."""
    before = runs.DENSE, runs.STEADY
    runs.DENSE, runs.STEADY = {"everywhere": (2**40, 0), "nowhere": (0, 1)}[where]
    try:
        yield
    finally:
        runs.DENSE, runs.STEADY = before


@settings(max_examples=60)
@given(rasters, st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_runs_that_are_stacked_change_nothing(values: np.ndarray, block_px: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random(values.shape) > 0.1
    found = {}
    with raster(values) as path:
        for where in ("everywhere", "nowhere"):
            with stacks(where):
                regions = [(code, polygon.wkb) for code, polygon in polygonize(values, UTM, mask=mask)]
                found[where] = everything(path, block_px=block_px), regions
    assert found["everywhere"] == found["nowhere"]


def test_teeth_are_stacked_though_some_are_not_straight(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, cols = np.indices((256, 200))
    comb = np.where((cols % 2 == 0) | (rows == 255), 1, 2).astype(np.uint8)
    comb[[40, 90, 91], [7, 60, 199]] = 1
    sizes, feed = [], outlines.Sweep.feed
    monkeypatch.setattr(outlines.Sweep, "feed", lambda self, *fed: sizes.append(fed[0].start.size) or feed(self, *fed))
    found = polygonize(comb, UTM)
    assert sum(sizes) < 0.02 * 255 * 200
    assert_same_sets(found, gdal_polygons(comb, comb > 0, UTM))


@settings(max_examples=40)
@given(rasters, st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_numbers_are_those_of_scipy(values: np.ndarray, block_px: int, seed: int) -> None:
    confidence = np.random.default_rng(seed).integers(0, 101, values.shape).astype(np.uint8)
    with raster(values) as path, raster(confidence) as weights:
        found = [c for list_ in components(path, confidence=weights, block_px=block_px) for c in list_]
    for code in (1, 2):
        label, count = ndimage.label(values == code)
        of_code = [c for c in found if c.code == code]
        assert len(of_code) == count
        for c in of_code:
            mask = label == label[divmod(c.id, values.shape[1])]
            assert c.id == np.flatnonzero(mask)[0]
            assert c.area_px == np.count_nonzero(mask)
            assert c.centroid == pytest.approx(ndimage.center_of_mass(mask), abs=1e-12)
            rows, cols = ndimage.find_objects(mask.astype(int))[0]
            assert c.bbox == Rect(rows.start, cols.start, rows.stop, cols.stop)
            assert c.confidence == pytest.approx(confidence[mask].mean(), rel=1e-12)
            assert c.geometry.area == pytest.approx(c.area_px * 1e-4, rel=1e-5)
    assert len(found) == sum(c.code in (1, 2) for c in found)


@pytest.mark.parametrize("block_px", [1, 7, 16, 41, 1000])
@pytest.mark.parametrize("name", ["spiral", "full", "checkerboard", "holes", "pixels", "comb", "noise"])
def test_shapes_that_cross_many_seams(name: str, block_px: int) -> None:
    size = 41
    rows, cols = np.indices((size, size))
    values = {
        "spiral": spiral(size),
        "full": np.ones((size, size)),
        "checkerboard": (rows + cols) % 2 + 1,
        "holes": 1 - (rows % 4 > 1) * (cols % 4 > 1),
        "pixels": (rows % 2) * (cols % 2) * 2,
        "comb": np.where((cols % 2 == 0) | (rows == size - 1), 1, 2),
        "noise": np.random.default_rng(0).integers(0, 3, (size, size)),
    }[name].astype(np.uint8)
    with raster(values) as path:
        found = [c for list_ in components(path, block_px=block_px) for c in list_]
        assert_same_sets([(c.code, c.geometry) for c in found], gdal_polygons(values, values > 0, UTM))
    assert shapely.is_valid([c.geometry for c in found]).all()
    count = {"spiral": 1, "full": 1, "checkerboard": size * size, "holes": 1, "pixels": 400, "comb": 21}.get(name)
    assert count is None or len(found) == count


def test_a_rotated_raster_gives_the_same_pixels_elsewhere() -> None:
    values = np.random.default_rng(1).integers(0, 3, (30, 40)).astype(np.uint8)
    with raster(values, TURNED) as path:
        found = [(c.code, c.geometry) for list_ in components(path, block_px=11) for c in list_]
    assert_same_sets(
        [(code, shapely.transform(g, lambda xy: np.round(np.column_stack(~TURNED * xy.T)))) for code, g in found],
        gdal_polygons(values, values > 0, Affine.identity()),
    )


def test_only_the_codes_that_were_asked_for() -> None:
    values = np.array([[0, 1, 2, 3, 255]], np.uint8)
    with raster(values) as path:
        assert {c.code for list_ in components(path) for c in list_} == {1, 2}
        assert {c.code for list_ in components(path, codes=(0, 3)) for c in list_} == {0, 3}


def test_confidence_leaves_out_pixels_without_one() -> None:
    values, confidence = np.array([[1, 1, 1, 0, 2]], np.uint8), np.array([[40, 255, 60, 90, 255]], np.uint8)
    with raster(values) as path, raster(confidence) as weights:
        first, second = (c for list_ in components(path, confidence=weights) for c in list_)
    assert first.confidence == 50
    assert math.isnan(second.confidence)
    with raster(values) as path:
        assert all(math.isnan(c.confidence) for list_ in components(path) for c in list_)


def test_a_batch_is_the_list_as_columns() -> None:
    values = np.random.default_rng(2).integers(0, 3, (30, 40)).astype(np.uint8)
    with raster(values) as path:
        columns = list(batches(path, block_px=8, confidence=path))
        lists = list(components(path, block_px=8, confidence=path))
    assert [list(batch) for batch in columns] == lists
    assert [len(batch) for batch in columns] == [len(list_) for list_ in lists]
    chosen = columns[0].select(columns[0].code == 2)
    assert set(chosen.code) == {2}


def test_the_real_field_is_what_gdal_makes_of_it(fields: Path) -> None:
    path = fields / "potato" / "labels.tif"
    with rasterio.open(path) as source:
        window = rasterio.windows.Window(2000, 1000, 3000, 2500)
        values, transform = source.read(1, window=window), source.window_transform(window)
    expected = gdal_polygons(values, (values == 1) | (values == 2), transform)
    with raster(values, transform, tiled=True, blockxsize=512, blockysize=512) as cut:
        found = [c for list_ in components(cut, block_px=512) for c in list_]
    assert_same_sets([(c.code, c.geometry) for c in found], expected)
    assert sum(c.area_px for c in found) == np.count_nonzero((values == 1) | (values == 2))


def test_the_whole_real_field_conserves_pixels(fields: Path) -> None:
    path = fields / "potato" / "labels.tif"
    with rasterio.open(path) as source:
        values = source.read(1)
        counts = [np.count_nonzero(values == code) for code in range(3)]
        pixel = abs(source.transform.determinant)
    area, total, wkb = np.zeros(3), np.zeros(3, int), {}
    for batch in batches(path):
        assert shapely.is_valid(batch.geometry).all()
        np.add.at(area, batch.code, shapely.area(batch.geometry))
        np.add.at(total, batch.code, batch.area_px)
        wkb |= dict(zip(batch.id.tolist(), shapely.to_wkb(batch.geometry).tolist(), strict=True))
    assert total.tolist() == [0, *counts[1:]]
    assert area[1:] == pytest.approx([count * pixel for count in counts[1:]], rel=1e-9)
    again = {}
    for batch in batches(path, block_px=700):
        again |= dict(zip(batch.id.tolist(), shapely.to_wkb(batch.geometry).tolist(), strict=True))
    assert again == wkb


def test_memory_does_not_grow_with_the_raster(tmp_path: Path) -> None:
    def peak(height: int) -> int:
        path = tmp_path / f"{height}.tif"
        rng = np.random.default_rng(3)
        with rasterio.open(
            path, "w", driver="GTiff", height=height, width=512, count=1, dtype="uint8", transform=UTM, crs=32632
        ) as target:
            for row in range(0, height, 256):
                rows = (ndimage.uniform_filter(rng.random((256, 512)), 5) > 0.55).astype(np.uint8)
                target.write(rows, 1, window=rasterio.windows.Window(0, row, 512, 256))
        tracemalloc.start()
        for _ in batches(path, block_px=256):
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(256)  # imports and caches
    assert peak(8192) < 1.1 * peak(1024)


# ---- what cannot be used


def test_rasters_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be opened as a raster"):
        next(components(tmp_path / "missing.tif"))
    with raster(np.zeros((4, 4), np.uint16)) as path, pytest.raises(InputError, match="holds uint16; expected uint8"):
        next(components(path))
    with raster(np.zeros((4, 4), np.uint8)) as path:
        with pytest.raises(InputError, match="block_px is 0"):
            next(components(path, block_px=0))
        with pytest.raises(InputError, match="codes are"):
            next(components(path, codes=(1, 300)))
        with (
            raster(np.zeros((4, 5), np.uint8)) as other,
            pytest.raises(InputError, match=r"\(4 x 5\) is not on the grid of .* \(4 x 4\)"),
        ):
            next(components(path, confidence=other))
        with (
            raster(np.zeros((4, 4), np.uint8), TURNED) as other,
            pytest.raises(InputError, match="is not on the grid of"),
        ):
            next(components(path, confidence=other))


def test_a_truncated_raster_names_the_place(tmp_path: Path) -> None:
    path = tmp_path / "classes.tif"
    values = np.random.default_rng(4).integers(0, 3, (512, 512)).astype(np.uint8)
    tiles = {"tiled": True, "blockxsize": 128, "blockysize": 128, "compress": "deflate", "transform": UTM}
    with rasterio.open(path, "w", driver="GTiff", height=512, width=512, count=1, dtype="uint8", **tiles) as target:
        target.write(values, 1)
    path.write_bytes(path.read_bytes()[:-20_000])
    with pytest.raises(InputError, match="cannot be read at row"):
        list(components(path, block_px=128))


# ---- simplified together


@settings(max_examples=40, deadline=None)
@given(rasters, st.sampled_from([Affine.identity(), UTM, TURNED]), st.floats(0, 3))
def test_simplified_neighbours_keep_their_shared_edges(values: np.ndarray, transform: Affine, pixels: float) -> None:
    whole = [polygon for _, polygon in polygonize(values, transform)]
    simple = simplify(whole, pixels * math.sqrt(abs(transform.determinant)))
    assert len(simple) == len(whole)
    assert shapely.coverage_is_valid(simple)
    assert shapely.is_valid(simple).all()
    union = shapely.union_all(simple)
    assert sum(polygon.area for polygon in simple) == pytest.approx(union.area, rel=1e-6), "no overlaps"
    assert union.geom_type == "Polygon"
    assert not union.interiors, "no gaps"


def test_simplifying_takes_corners_and_little_area(fields: Path) -> None:
    first = next(batches(fields / "potato" / "labels.tif"))
    found = first.geometry[:200]
    simple = simplify(found, 0.005)
    assert shapely.coverage_is_valid(simple)
    assert shapely.get_num_coordinates(simple).sum() < 0.5 * shapely.get_num_coordinates(found).sum()
    assert shapely.area(simple).sum() == pytest.approx(shapely.area(found).sum(), rel=0.005)


def test_simplify_takes_nothing_and_refuses_nonsense() -> None:
    assert simplify([], 1.0) == []
    with pytest.raises(ValueError, match="expected 0 or more"):
        simplify([shapely.box(0, 0, 1, 1)], -1)
    with pytest.raises(ValueError, match="expected 0 or more"):
        simplify([shapely.box(0, 0, 1, 1)], math.nan)
