"""Plants and weed patches: what counts, what is dropped, and who owns it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rasterio.io import MemoryFile
from scipy import ndimage

from geoseg.errors import ConfigError, InputError
from geoseg.export.columns import LAYERS
from geoseg.export.geopackage import FieldPackage
from geoseg.segment.plants import InstanceStats, PlantConfig, collect, owner_block
from geoseg.vectors import components
from geoseg.windows import blocks

UTM = Affine(0.5, 0, 690_000, 0, -0.5, 5_360_000)
ALL = PlantConfig(min_plant_m2=0)


class Memory:
    """A sink that keeps everything in lists."""

    def __init__(self) -> None:
        self.layers: dict[str, list[dict[str, Any]]] = {"plants": [], "plant_outlines": [], "weeds": []}

    def append(self, layer: str, columns: Mapping[str, Any], geometry: Any) -> None:
        assert set(columns) == set(LAYERS[layer].required)
        for number, shape in enumerate(geometry):
            row = {name: values[number] for name, values in columns.items()}
            self.layers[layer].append(row | {"geometry": shape})

    def table(self, layer: str, key: str) -> dict[int, dict[str, Any]]:
        rows = {int(row[key]): row | {"geometry": row["geometry"].wkb_hex} for row in self.layers[layer]}
        assert len(rows) == len(self.layers[layer])
        return rows


@pytest.fixture
def scene(tmp_path: Path) -> tuple[Path, Path]:
    """Two plants of 4 and 1 pixels, two patches of 3 and 1 pixels; a pixel is a quarter of a square metre."""
    classes = np.array(
        [
            [1, 1, 0, 0, 2, 255],
            [1, 1, 0, 2, 2, 255],
            [0, 0, 1, 0, 0, 255],
            [2, 0, 0, 0, 0, 255],
        ],
        np.uint8,
    )
    confidence = np.where(classes == 1, 80, 60).astype(np.uint8)
    confidence[0, 0] = 40
    return save(tmp_path / "classes.tif", classes), save(tmp_path / "confidence.tif", confidence)


def save(path: Path, values: np.ndarray, crs: str | None = "EPSG:32632", transform: Affine = UTM) -> Path:
    height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=1, dtype="uint8", crs=crs, transform=transform
    ) as target:
        target.write(values, 1)
    return path


def test_every_region_becomes_a_feature_with_its_numbers(scene: tuple[Path, Path]) -> None:
    sink = Memory()
    stats = collect(*scene, ALL, sink)
    first, second = sink.layers["plants"]
    assert first == {
        "plant_id": 0,
        "class": "crop",
        "x": 690_000.5,
        "y": 5_359_999.5,
        "area_m2": 1.0,
        "diameter_m": pytest.approx(2 / math.sqrt(math.pi)),
        "confidence": 70.0,
        "geometry": shapely.Point(690_000.5, 5_359_999.5),
    }
    assert (second["plant_id"], second["x"], second["y"]) == (14, 690_001.25, 5_359_998.75)
    outline = sink.layers["plant_outlines"][0]
    assert outline["geometry"].equals(shapely.box(690_000, 5_359_999, 690_001, 5_360_000))
    assert {row["patch_id"]: row["area_m2"] for row in sink.layers["weeds"]} == {4: 0.75, 18: 0.25}
    assert asdict(stats.plants) == {
        "candidates": 2, "kept": 2, "dropped_small": 0, "area_m2": 1.25, "dropped_area_m2": 0.0
    }  # fmt: skip
    assert stats.weeds == InstanceStats(2, 2, 0, 1.0, 0.0)
    assert (stats.mean_plant_m2, stats.gsd_m) == (0.625, 0.5)


def test_what_is_too_small_is_counted_and_left_out(scene: tuple[Path, Path]) -> None:
    sink = Memory()
    stats = collect(*scene, PlantConfig(min_plant_m2=0.26, min_patch_m2=0.75), sink)
    assert [row["plant_id"] for row in sink.layers["plants"]] == [0]
    assert [row["plant_id"] for row in sink.layers["plant_outlines"]] == [0]
    assert [row["patch_id"] for row in sink.layers["weeds"]] == [4], "exactly the smallest area counts"
    assert stats.plants == InstanceStats(2, 1, 1, 1.0, 0.25)
    assert stats.weeds == InstanceStats(2, 1, 1, 0.75, 0.25)
    assert collect(*scene, PlantConfig(min_plant_m2=9, min_patch_m2=9), Memory()).mean_plant_m2 is None


def test_without_confidence_it_is_unknown(scene: tuple[Path, Path]) -> None:
    sink = Memory()
    collect(scene[0], None, ALL, sink)
    assert all(math.isnan(row["confidence"]) for rows in sink.layers.values() for row in rows)


def test_the_smallest_area_is_met_whatever_the_pixel(tmp_path: Path) -> None:
    """Seven pixels of 5 mm are exactly the limit, although the limit over a pixel's area is a float above 7."""
    size = 0.005
    limit = 7 * size * size
    assert limit / (size * size) > 7
    values = np.array([[1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1]], np.uint8)
    path = save(tmp_path / "classes.tif", values, transform=Affine.scale(size, -size))
    stats = collect(path, None, PlantConfig(min_plant_m2=limit), Memory())
    assert (stats.plants.kept, stats.plants.dropped_small) == (1, 1)


rasters = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=24), elements=st.sampled_from([0, 0, 1, 1, 1, 2, 255])
)


@settings(max_examples=40)
@given(rasters, st.integers(1, 30), st.integers(0, 9))
def test_counts_and_areas_are_those_of_scipy_for_any_block(values: np.ndarray, block_px: int, smallest: int) -> None:
    config = PlantConfig(min_plant_m2=smallest * 0.25, min_patch_m2=smallest * 0.25)
    sink = Memory()
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", height=values.shape[0], width=values.shape[1], count=1, dtype="uint8",
            crs="EPSG:32632", transform=UTM,
        ) as target:  # fmt: skip
            target.write(values, 1)
        stats = collect(memory.name, None, config, sink, block_px=block_px)
        whole = Memory()
        assert collect(memory.name, None, config, whole) == stats
    for layer, key in (("plants", "plant_id"), ("plant_outlines", "plant_id"), ("weeds", "patch_id")):
        assert repr(sorted(sink.table(layer, key).items())) == repr(sorted(whole.table(layer, key).items()))
    for code, found in ((1, stats.plants), (2, stats.weeds)):
        label, count = ndimage.label(values == code)
        sizes = np.bincount(label.ravel(), minlength=1)[1:]
        large = sizes >= smallest
        assert found == InstanceStats(
            count, large.sum(), (~large).sum(), sizes[large].sum() * 0.25, sizes[~large].sum() * 0.25
        )


@settings(max_examples=40)
@given(rasters, st.integers(1, 30))
def test_each_component_has_exactly_one_owner(values: np.ndarray, block_px: int) -> None:
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", height=values.shape[0], width=values.shape[1], count=1, dtype="uint8", transform=UTM
        ) as target:
            target.write(values, 1)
        found = [c for list_ in components(memory.name) for c in list_]
    grid = list(blocks(values.shape, block_px))
    for component in found:
        row, col = component.centre
        owners = [b for b in grid if b.row0 <= row < b.row1 and b.col0 <= col < b.col1]
        assert len(owners) == 1
        assert (owners[0].row0 // block_px, owners[0].col0 // block_px) == owner_block(component, block_px)
        assert abs(row - component.centroid[0]) <= 0.5
        assert abs(col - component.centroid[1]) <= 0.5
    with pytest.raises(ValueError, match="block_px is 0"):
        owner_block(found[0], 0) if found else owner_block(None, 0)


def test_square_metres_whatever_the_unit_of_the_crs(tmp_path: Path) -> None:
    values = np.ones((2, 2), np.uint8)
    feet = save(tmp_path / "feet.tif", values, "EPSG:2229", Affine(1, 0, 6_500_000, 0, -1, 1_800_000))
    stats = collect(feet, None, ALL, Memory())
    assert stats.plants.area_m2 == pytest.approx(4 * (1200 / 3937) ** 2, rel=1e-9)
    none = save(tmp_path / "none.tif", values, None)
    assert collect(none, None, ALL, Memory()).plants.area_m2 == 1.0
    turned = save(tmp_path / "turned.tif", values, "EPSG:32632", UTM * Affine.rotation(30))
    sink = Memory()
    assert collect(turned, None, ALL, sink).plants.area_m2 == pytest.approx(1.0, rel=1e-9)
    assert sink.layers["plant_outlines"][0]["geometry"].area == pytest.approx(1.0, rel=1e-6)
    assert sink.layers["plant_outlines"][0]["geometry"].centroid.distance(sink.layers["plants"][0]["geometry"]) < 1e-6


def test_rasters_that_cannot_be_used(tmp_path: Path) -> None:
    degrees = save(tmp_path / "d.tif", np.ones((2, 2), np.uint8), "EPSG:4326", Affine(1e-8, 0, 11, 0, -1e-8, 48))
    with pytest.raises(InputError, match="in degrees; expected a class raster in metres"):
        collect(degrees, None, ALL, Memory())
    with pytest.raises(InputError, match="cannot be opened as a raster"):
        collect(tmp_path / "missing.tif", None, ALL, Memory())


@pytest.mark.parametrize("change", [{"min_plant_m2": -1.0}, {"min_patch_m2": math.nan}, {"min_plant_m2": math.inf}])
def test_config_refuses_nonsense(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"plants.{next(iter(change))} is .*expected square metres"):
        PlantConfig(**change)


def test_the_real_field_into_a_geopackage(fields: Path, tmp_path: Path) -> None:
    path = tmp_path / "field.gpkg"
    with FieldPackage(path, "EPSG:32632") as package:
        stats = collect(fields / "potato" / "labels.tif", None, PlantConfig(), package)
    with rasterio.open(fields / "potato" / "labels.tif") as source:
        values, pixel = source.read(1), abs(source.transform.determinant)
    counts = [np.count_nonzero(values == code) for code in range(3)]
    assert stats.plants.area_m2 + stats.plants.dropped_area_m2 == pytest.approx(counts[1] * pixel, rel=1e-12)
    assert stats.weeds.area_m2 == pytest.approx(counts[2] * pixel, rel=1e-12)
    points, outlines = gpd.read_file(path, layer="plants"), gpd.read_file(path, layer="plant_outlines")
    weeds = gpd.read_file(path, layer="weeds")
    assert (len(points), len(outlines), len(weeds)) == (stats.plants.kept, stats.plants.kept, stats.weeds.kept)
    assert points.plant_id.tolist() == outlines.plant_id.tolist()
    assert points.plant_id.is_unique
    assert weeds.area.sum() == pytest.approx(stats.weeds.area_m2, rel=1e-6)
    np.testing.assert_allclose(points.geometry.x, outlines.centroid.x, atol=1e-6)
    np.testing.assert_allclose(points.geometry.y, outlines.centroid.y, atol=1e-6)
    hand = gpd.read_file(fields / "potato" / "plants.gpkg")
    pairs = outlines.sjoin(hand[hand["class"] == "crop"], predicate="intersects")
    assert pairs.plant_id_left.nunique() >= 0.97 * len(outlines)
