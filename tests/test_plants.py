"""Plants and weed patches: what counts and what is dropped."""

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
from geoseg.segment.plantbatch import Rasters
from geoseg.segment.plants import InstanceStats, PlantConfig, collect

UTM = Affine(0.5, 0, 690_000, 0, -0.5, 5_360_000)
ALL = PlantConfig(method="components", min_plant_m2=0)


class Memory:
    """A sink that keeps everything in lists."""

    def __init__(self) -> None:
        self.layers: dict[str, list[dict[str, Any]]] = {
            "plants": [], "weed_plants": [], "plant_outlines": [], "weeds": []
        }  # fmt: skip

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
    stats = collect(Rasters(*scene), ALL, sink)
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
    assert [row["plant_id"] for row in sink.layers["weed_plants"]] == [4, 18]
    assert [row["class"] for row in sink.layers["plant_outlines"]] == ["crop", "weed", "crop", "weed"]
    outline = sink.layers["plant_outlines"][0]
    assert outline["geometry"].equals(shapely.box(690_000, 5_359_999, 690_001, 5_360_000))
    assert {row["patch_id"]: row["area_m2"] for row in sink.layers["weeds"]} == {4: 0.75, 18: 0.25}
    assert asdict(stats.plants) == {
        "candidates": 2, "kept": 2, "dropped_small": 0, "area_m2": 1.25, "dropped_area_m2": 0.0
    }  # fmt: skip
    assert stats.weeds == stats.weed_plants == InstanceStats(2, 2, 0, 1.0, 0.0)
    assert (stats.grouping.regions, stats.grouping.plants, stats.grouping.notes) == (4, 4, [])
    assert (stats.mean_plant_m2, stats.gsd_m) == (0.625, 0.5)


def test_what_is_too_small_is_counted_and_left_out(scene: tuple[Path, Path]) -> None:
    sink = Memory()
    stats = collect(Rasters(*scene), PlantConfig(method="components", min_plant_m2=0.26, min_patch_m2=0.75), sink)
    assert [row["plant_id"] for row in sink.layers["plants"]] == [0]
    assert [row["plant_id"] for row in sink.layers["weed_plants"]] == [4]
    assert [row["plant_id"] for row in sink.layers["plant_outlines"]] == [0, 4]
    assert [row["patch_id"] for row in sink.layers["weeds"]] == [4], "exactly the smallest area counts"
    assert stats.plants == InstanceStats(2, 1, 1, 1.0, 0.25)
    assert stats.weeds == InstanceStats(2, 1, 1, 0.75, 0.25)
    assert (
        collect(
            Rasters(*scene), PlantConfig(method="components", min_plant_m2=9, min_patch_m2=9), Memory()
        ).mean_plant_m2
        is None
    )


def test_without_confidence_it_is_unknown(scene: tuple[Path, Path]) -> None:
    sink = Memory()
    collect(Rasters(scene[0]), ALL, sink)
    assert all(math.isnan(row["confidence"]) for rows in sink.layers.values() for row in rows)


def test_the_smallest_area_is_met_whatever_the_pixel(tmp_path: Path) -> None:
    """Seven pixels of 5 mm are exactly the limit, although the limit over a pixel's area is a float above 7."""
    size = 0.005
    limit = 7 * size * size
    assert limit / (size * size) > 7
    values = np.array([[1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1]], np.uint8)
    path = save(tmp_path / "classes.tif", values, transform=Affine.scale(size, -size))
    stats = collect(Rasters(path), PlantConfig(method="components", min_plant_m2=limit), Memory())
    assert (stats.plants.kept, stats.plants.dropped_small) == (1, 1)


rasters = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=24), elements=st.sampled_from([0, 0, 1, 1, 1, 2, 255])
)


@settings(max_examples=30)
@given(rasters, st.integers(1, 30), st.integers(0, 9))
def test_counts_and_areas_are_those_of_scipy_for_any_block(values: np.ndarray, block_px: int, smallest: int) -> None:
    config = PlantConfig(method="components", min_plant_m2=smallest * 0.25, min_patch_m2=smallest * 0.25)
    sink = Memory()
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", height=values.shape[0], width=values.shape[1], count=1, dtype="uint8",
            crs="EPSG:32632", transform=UTM,
        ) as target:  # fmt: skip
            target.write(values, 1)
        stats = collect(Rasters(memory.name), config, sink, block_px=block_px)
        whole = Memory()
        assert collect(Rasters(memory.name), config, whole) == stats
    keys = {"plants": "plant_id", "weed_plants": "plant_id", "plant_outlines": "plant_id", "weeds": "patch_id"}
    for layer, key in keys.items():
        assert repr(sorted(sink.table(layer, key).items())) == repr(sorted(whole.table(layer, key).items()))
    label, count = ndimage.label(np.isin(values, (1, 2)))
    crop = ndimage.sum_labels(values == 1, label, np.arange(1, count + 1))
    sizes = np.bincount(label.ravel(), minlength=count + 1)[1:]
    assert_counted(stats.plants, sizes[2 * crop >= sizes], smallest)
    assert_counted(stats.weed_plants, sizes[2 * crop < sizes], smallest)
    assert_counted(stats.weeds, np.bincount(ndimage.label(values == 2)[0].ravel())[1:], smallest)


def assert_counted(found: InstanceStats, sizes: np.ndarray, smallest: int) -> None:
    large = sizes >= smallest
    assert found == InstanceStats(
        len(sizes), large.sum(), (~large).sum(), sizes[large].sum() * 0.25, sizes[~large].sum() * 0.25
    )


@pytest.mark.parametrize(("method", "offsets", "expected"), [
    ("auto", True, "offsets"), ("auto", False, "watershed"), ("components", True, "components"),
])  # fmt: skip
def test_the_method_is_chosen_by_what_there_is(tmp_path: Path, method: Any, offsets: bool, expected: str) -> None:
    """Two crop discs that touch, offsets that part them, and a weed that points to the first."""
    row, col = np.mgrid[:60, :120]
    first, second = np.hypot(row - 30, col - 30) <= 20, np.hypot(row - 30, col - 68) <= 20
    values = (first | second).astype(np.uint8)
    values[2:4, 30:33] = 2
    path = save(tmp_path / "classes.tif", values, transform=Affine(0.005, 0, 690_000, 0, -0.005, 5_360_000))
    pointing = np.stack([15 - row[:30, :60], np.where(col[:30, :60] < 25, 15, 34) - col[:30, :60]]).astype(np.int8)
    with rasterio.open(
        tmp_path / "offsets.tif", "w", driver="GTiff", count=2, height=30, width=60, dtype="int8", crs="EPSG:32632",
        transform=Affine(0.01, 0, 690_000, 0, -0.01, 5_360_000),
    ) as target:  # fmt: skip
        target.write(pointing)
    rasters = Rasters(path, None, tmp_path / "offsets.tif" if offsets else None)
    sink = Memory()
    stats = collect(rasters, PlantConfig(method=method, min_plant_m2=0), sink)
    counts = {"offsets": (2, 0), "watershed": (2, 1), "components": (1, 1)}[expected]
    assert stats.grouping.method == expected
    assert (stats.plants.kept, stats.weed_plants.kept, stats.weeds.kept) == (*counts, 1)
    assert shapely.union_all([row["geometry"] for row in sink.layers["plant_outlines"]]).area == pytest.approx(
        np.count_nonzero(values) * 0.005**2
    )


def test_a_plant_that_is_too_large_is_told_with_its_size_and_what_to_set(tmp_path: Path) -> None:
    values = np.zeros((20, 300), np.uint8)
    values[8:12, 10:290] = 1
    path = save(tmp_path / "classes.tif", values, transform=Affine(0.01, 0, 690_000, 0, -0.01, 5_360_000))
    with rasterio.open(
        tmp_path / "offsets.tif", "w", driver="GTiff", count=2, height=10, width=150, dtype="int8", crs="EPSG:32632",
        transform=Affine(0.02, 0, 690_000, 0, -0.02, 5_360_000),
    ) as target:  # fmt: skip
        target.write(np.stack([np.zeros((10, 150)), np.tile(75 - np.arange(150), (10, 1))]).astype(np.int8))
    rasters = Rasters(path, None, tmp_path / "offsets.tif")
    (note,) = collect(rasters, PlantConfig(max_plant_m=2.0), Memory()).grouping.notes
    assert "half of 2.00 m (the longest is" in note
    assert note.endswith("raise plants.max_plant_m")
    assert collect(rasters, PlantConfig(max_plant_m=3.0), Memory()).grouping.notes == []


def test_square_metres_whatever_the_unit_of_the_crs(tmp_path: Path) -> None:
    values = np.ones((2, 2), np.uint8)
    feet = save(tmp_path / "feet.tif", values, "EPSG:2229", Affine(1, 0, 6_500_000, 0, -1, 1_800_000))
    stats = collect(Rasters(feet), ALL, Memory())
    assert stats.plants.area_m2 == pytest.approx(4 * (1200 / 3937) ** 2, rel=1e-9)
    none = save(tmp_path / "none.tif", values, None)
    assert collect(Rasters(none), ALL, Memory()).plants.area_m2 == 1.0
    turned = save(tmp_path / "turned.tif", values, "EPSG:32632", UTM * Affine.rotation(30))
    sink = Memory()
    assert collect(Rasters(turned), ALL, sink).plants.area_m2 == pytest.approx(1.0, rel=1e-9)
    assert sink.layers["plant_outlines"][0]["geometry"].area == pytest.approx(1.0, rel=1e-6)
    assert sink.layers["plant_outlines"][0]["geometry"].centroid.distance(sink.layers["plants"][0]["geometry"]) < 1e-6


def test_rasters_that_cannot_be_used(tmp_path: Path) -> None:
    degrees = save(tmp_path / "d.tif", np.ones((2, 2), np.uint8), "EPSG:4326", Affine(1e-8, 0, 11, 0, -1e-8, 48))
    with pytest.raises(InputError, match="in degrees; expected a class raster in metres"):
        collect(Rasters(degrees), ALL, Memory())
    with pytest.raises(InputError, match="cannot be opened as a raster"):
        collect(Rasters(tmp_path / "missing.tif"), ALL, Memory())


@pytest.mark.parametrize(
    "change", [{"max_plant_m": 0.0}, {"separation": 3.0}, {"scatter_m": math.nan}, {"apart_m": 0.0}]
)
def test_config_refuses_lengths_that_make_no_sense(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"plants.{next(iter(change))} is .*expected"):
        PlantConfig(**change)


@pytest.mark.parametrize(
    "change", [{"min_plant_m2": -1.0}, {"min_weed_m2": -1.0}, {"min_patch_m2": math.nan}, {"min_plant_m2": math.inf}]
)
def test_config_refuses_nonsense(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"plants.{next(iter(change))} is .*expected square metres"):
        PlantConfig(**change)


def test_the_real_field_into_a_geopackage(fields: Path, tmp_path: Path) -> None:
    path = tmp_path / "field.gpkg"
    with FieldPackage(path, "EPSG:32632") as package:
        stats = collect(Rasters(fields / "potato" / "labels.tif"), PlantConfig(method="components"), package)
    with rasterio.open(fields / "potato" / "labels.tif") as source:
        values, pixel = source.read(1), abs(source.transform.determinant)
    counts = [np.count_nonzero(values == code) for code in range(3)]
    found = stats.plants, stats.weed_plants
    assert sum(kind.area_m2 + kind.dropped_area_m2 for kind in found) == pytest.approx(
        sum(counts[1:]) * pixel, rel=1e-12
    )
    assert stats.weeds.area_m2 == pytest.approx(counts[2] * pixel, rel=1e-12)
    points, outlines = gpd.read_file(path, layer="plants"), gpd.read_file(path, layer="plant_outlines")
    assert len(gpd.read_file(path, layer="weed_plants")) == stats.weed_plants.kept
    outlines = outlines[outlines["class"] == "crop"]
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


def test_weeds_may_be_smaller_than_crop_plants(scene: tuple[Path, Path]) -> None:
    """Crop plants of 1.0 and 0.25 m², weeds of 0.75 and 0.25 m²."""
    sink = Memory()
    config = PlantConfig(method="components", min_plant_m2=0.26, min_weed_m2=0.25)
    stats = collect(Rasters(*scene), config, sink)
    assert (stats.plants.kept, stats.weed_plants.kept) == (1, 2)
    assert sorted(row["class"] for row in sink.layers["plant_outlines"]) == ["crop", "weed", "weed"]
