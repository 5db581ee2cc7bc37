from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from scipy import ndimage

from geoseg.errors import InputError
from geoseg.legend import CROP, NODATA, SOIL, WEED
from geoseg.train.leaves import CROPS, WEEDS
from geoseg.train.planting import plant
from geoseg.train.sprites import SpriteLibrary
from geoseg.train.synthetic import FieldSpec, SyntheticField, infrared_spec, random_spec, render, write

SMALL = FieldSpec(seed=3, height_px=600, width_px=900, margin_share=0.08, weeds_per_m2=12)


@pytest.fixture(scope="module")
def field() -> SyntheticField:
    return render(SMALL)


@pytest.fixture(scope="module")
def folder(field: SyntheticField, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("synthetic") / "new" / "field"
    write(field, path)
    return path


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_field() -> None:
    spec = replace(SMALL, height_px=300, width_px=340)
    once, again, other = render(spec), render(spec), render(replace(spec, seed=4))
    for name in ("image", "valid", "labels", "instances", "plants"):
        assert getattr(once, name).tobytes() == getattr(again, name).tobytes(), name
        assert getattr(once, name).tobytes() != getattr(other, name).tobytes(), name


def test_shapes_and_types(field: SyntheticField) -> None:
    assert field.image.shape == (3, 600, 900)
    assert field.valid.shape == field.labels.shape == field.instances.shape == (600, 900)
    assert (field.image.dtype, field.labels.dtype, field.valid.dtype) == (np.uint8, np.uint8, np.bool_)


def test_labels_are_nodata_exactly_outside_the_valid_area(field: SyntheticField) -> None:
    np.testing.assert_array_equal(field.labels == NODATA, ~field.valid)
    assert set(np.unique(field.labels)) == {SOIL, CROP, WEED, NODATA}
    assert not field.image[:, ~field.valid].any()
    assert field.image[:, field.valid].min() > 0
    assert ndimage.label(field.valid)[1] == 1
    assert 0.6 < field.valid.mean() < 0.95


def test_labels_and_plants_tell_the_same(field: SyntheticField) -> None:
    ids, counts = np.unique(field.instances[field.instances > 0], return_counts=True)
    np.testing.assert_array_equal(ids, field.plants["id"])
    np.testing.assert_array_equal(counts, field.plants["area_px"])
    by_id = np.concatenate([[SOIL], field.plants["class"]])
    np.testing.assert_array_equal(by_id[field.instances[field.valid]], field.labels[field.valid])


def test_every_plant_shows_its_class_within_its_radius_and_nowhere_else(field: SyntheticField) -> None:
    for one in field.plants:
        assert field.valid[int(one["row"]), int(one["col"])]
        rows, cols = np.nonzero(field.instances == one["id"])
        distance = np.hypot(rows + 0.5 - one["row"], cols + 0.5 - one["col"])
        assert distance.max() <= one["radius_px"]
        assert set(field.labels[rows, cols]) == {one["class"]}


def test_what_is_labelled_a_plant_is_green_and_the_soil_is_not(field: SyntheticField) -> None:
    red, green, blue = field.image.astype(int)
    excess = 2 * green - red - blue
    assert np.median(excess[field.labels == CROP]) > np.median(excess[field.labels == SOIL]) + 30
    assert np.median(excess[field.labels == WEED]) > np.median(excess[field.labels == SOIL]) + 10
    assert np.percentile(excess[field.labels == SOIL], 90) < np.median(excess[field.labels == CROP])


BARE = FieldSpec(
    seed=1, height_px=800, width_px=800, gsd_m=0.01, margin_share=0, plant_diameter_m=0.06, weed_diameter_m=0.03,
    clods=0, cracks=0, litter=0,
)  # fmt: skip


def test_counts_follow_from_the_densities() -> None:
    spec = replace(BARE, weeds_per_m2=2, weed_clustering=0.0, missing_share=0.2, in_row_weed_share=0.0)
    plants = render(spec).plants
    area_m2 = 64.0
    crop, weed = (int((plants["class"] == code).sum()) for code in (CROP, WEED))
    expected = area_m2 / (0.75 * 0.25) * 0.8
    assert abs(crop - expected) < 5 * np.sqrt(expected)
    assert abs(weed - 2 * area_m2) < 5 * np.sqrt(2 * area_m2)


@pytest.mark.parametrize("seed", range(20))
def test_counts_follow_from_the_densities_for_many_fields(seed: int) -> None:
    spec = replace(BARE, seed=seed, weeds_per_m2=6, missing_share=0.05 * (seed % 8), heading_deg=9.0 * seed)
    planting = plant(spec)
    for code, expected in ((CROP, 64 / (0.75 * 0.25) * (1 - spec.missing_share)), (WEED, 64 * 6)):
        assert abs(int((planting["class"] == code).sum()) - expected) < 5 * np.sqrt(expected)


@pytest.mark.parametrize("heading", [0.0, 27.0, 90.0, 143.0])
def test_rows_run_along_the_heading_at_their_spacing(heading: float) -> None:
    plants = plant(replace(BARE, heading_deg=heading, weeds_per_m2=0))
    east, north = plants["col"] * 0.01, -plants["row"] * 0.01

    def order(degrees: float, spacing: float) -> float:
        """1 where all plants lie on lines of that heading and spacing, 0 where they lie anywhere."""
        angle = np.deg2rad(degrees)
        return float(abs(np.exp(2j * np.pi * (east * np.cos(angle) - north * np.sin(angle)) / spacing).mean()))

    assert order(heading, 0.75) > 0.9
    assert order(heading, 0.66) < 0.3
    assert max(order(heading + turn, 0.75) for turn in (-20, -8, 8, 20)) < 0.3
    best = max(np.arange(0.0, 180.0, 1.0), key=lambda degrees: order(degrees, 0.75))
    assert abs((best - heading + 90) % 180 - 90) <= 1


def test_weeds_stand_in_patches_when_asked_to() -> None:
    def unevenness(clustering: float) -> float:
        plants = plant(replace(BARE, missing_share=1, weeds_per_m2=8, weed_clustering=clustering))
        counts = np.histogram2d(plants["row"], plants["col"], bins=8, range=((0, 800), (0, 800)))[0]
        return float(counts.var() / counts.mean())

    assert unevenness(0.0) < 2 < 4 < unevenness(1.0)


def test_weeds_move_into_the_rows_when_asked_to() -> None:
    def near_rows(share: float) -> float:
        plants = plant(replace(BARE, missing_share=1, weeds_per_m2=8, heading_deg=0, in_row_weed_share=share))
        return float((abs((plants["col"] + 37.5) % 75 - 37.5) < 9).mean())

    assert near_rows(0.0) < 0.4 < 0.9 < near_rows(1.0)


def test_missing_share_of_one_leaves_no_crop_and_no_weeds_means_none() -> None:
    field = render(replace(SMALL, height_px=256, width_px=256, missing_share=1, weeds_per_m2=0))
    assert len(field.plants) == 0
    assert not ((field.labels == CROP) | (field.labels == WEED)).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "seed is -1"),
        ({"height_px": 5}, "height_px is 5; expected 32"),
        ({"gsd_m": float("nan")}, "gsd_m is nan"),
        ({"crop": "rice"}, "crop is 'rice'; expected one of potato, beet, maize"),
        ({"missing_share": 1.5}, "missing_share is 1.5; expected 0 to 1"),
        ({"soil_rgb": (0.0, 10.0, 10.0)}, "soil_rgb"),
        ({"white_balance": (1.0, 1.0)}, "white_balance"),
    ],
)
def test_values_that_cannot_be_rendered(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        FieldSpec(**change)  # type: ignore[arg-type]


def test_random_specs_differ_widely_and_render() -> None:
    specs = [random_spec(seed, 160, 200) for seed in range(60)]
    assert specs[7] == random_spec(7, 160, 200)
    assert {spec.crop for spec in specs} == set(CROPS)
    gsd = [spec.gsd_m for spec in specs]
    assert 0.002 <= min(gsd) < 0.0024 < 0.0042 < max(gsd) <= 0.005
    tone = [sum(spec.soil_rgb) / 3 for spec in specs]
    assert max(tone) - min(tone) > 60
    for spec in specs[:4]:
        field = render(spec)
        assert field.valid.all()
        assert field.image.std() > 5


@pytest.mark.parametrize("kind", [*CROPS, *WEEDS])
@pytest.mark.parametrize("diameter_px", [3.0, 12.0, 70.0])
def test_a_plant_picture_has_about_the_size_asked_for(kind: str, diameter_px: float) -> None:
    library = SpriteLibrary(seed=1, blur_px=0.5)
    for choice in range(0, 32, 8):
        sprite = library.get(kind, diameter_px, choice)
        assert (sprite.alpha > 0.5).any()
        assert 0.3 * diameter_px < 2 * sprite.radius_px < 1.45 * diameter_px + 2
        edge = np.concatenate([sprite.alpha[0], sprite.alpha[-1], sprite.alpha[:, 0], sprite.alpha[:, -1]])
        assert edge.max() < 0.5  # not cut off
        np.testing.assert_array_equal(library.get(kind, diameter_px, choice + 5).alpha, sprite.turned(5).alpha)


def test_written_files_read_back_the_same(field: SyntheticField, folder: Path) -> None:
    with rasterio.open(folder / "ortho.tif") as ortho, rasterio.open(folder / "labels.tif") as labels:
        assert (ortho.crs.to_epsg(), ortho.res, ortho.block_shapes[0]) == (32632, (0.003, 0.003), (512, 512))
        assert ortho.transform == labels.transform
        assert [colour.name for colour in ortho.colorinterp] == ["red", "green", "blue", "alpha"]
        assert ortho.overviews(1)
        np.testing.assert_array_equal(ortho.read()[:3], field.image)
        np.testing.assert_array_equal(ortho.dataset_mask() > 0, field.valid)
        np.testing.assert_array_equal(labels.read(1), field.labels)
        assert labels.nodata == NODATA


def test_written_plants_and_boundary_lie_on_the_image(field: SyntheticField, folder: Path) -> None:
    import geopandas as gpd

    plants, boundary = gpd.read_file(folder / "plants.gpkg"), gpd.read_file(folder / "boundary.gpkg")
    with rasterio.open(folder / "ortho.tif") as ortho:
        cols, rows = ~ortho.transform @ (plants.geometry.x.to_numpy(), plants.geometry.y.to_numpy())
    np.testing.assert_allclose(rows, field.plants["row"], atol=1e-3)
    np.testing.assert_allclose(cols, field.plants["col"], atol=1e-3)
    assert list(plants["class"]) == [("soil", "crop", "weed")[code] for code in field.plants["class"]]
    assert plants.crs == boundary.crs == "EPSG:32632"
    assert len(boundary) == 1
    outline = boundary.geometry.iloc[0]
    assert outline.is_valid
    assert outline.geom_type == "Polygon"
    assert outline.area == pytest.approx(field.valid.sum() * 0.003**2, rel=0.005)
    assert plants.geometry.within(outline.buffer(0.01)).all()


def test_a_colour_infrared_flight_sees_the_same_field_with_bright_leaves_in_its_first_band(tmp_path: Path) -> None:
    spec = replace(SMALL, height_px=320, width_px=320)
    seen, infrared = render(spec), render(infrared_spec(spec))
    np.testing.assert_array_equal(infrared.instances, seen.instances)
    assert infrared_spec(spec) == infrared_spec(spec)
    leaf, soil = seen.labels == CROP, seen.labels == SOIL
    nir, red, _ = (float(band[leaf].mean() / band[soil].mean()) for band in infrared.image)
    assert nir > 1.1
    assert red < 0.9
    write(infrared, tmp_path)
    with rasterio.open(tmp_path / "ortho.tif") as ortho:
        assert ortho.descriptions[:3] == ("nir", "red", "green")
