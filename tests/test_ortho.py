"""Opening, reading and resampling orthos, against rasterio and numpy."""

from __future__ import annotations

import copy
import os
import pickle
import shutil
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.warp import reproject
from rasterio.windows import Window as RasterWindow

from geoseg.errors import GeosegWarning, GsdError, OrthoError
from geoseg.ortho import Ortho, OrthoConfig, Reader
from geoseg.ortho.reader import reflect
from geoseg.windows import Rect
from rasters import FINE, UTM, Gsd, noise, write

COARSER = Gsd(min_m=0.0075, max_m=0.02)  # the working grid is 1.5 times as coarse as FINE
FINER = Gsd(min_m=0.001, max_m=0.004)
SHAPE = (310, 420)

rects = st.builds(
    lambda row, col, height, width: Rect(row, col, row + height, col + width),
    st.integers(-90, 330),
    st.integers(-90, 440),
    st.integers(1, 130),
    st.integers(1, 130),
)


def whole(reader: Reader) -> tuple[np.ndarray, np.ndarray]:
    return reader.read(Rect(0, 0, *reader.grid.shape))


def resampled(ortho: Ortho, gsd: Gsd) -> GeoBox:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeosegWarning)
        return ortho.working_grid(gsd)


# --- bands, data types, scale ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "bands", "chosen"),
    [
        ({}, None, (1, 2, 3)),
        ({"names": ["Blue", "Green", "Red", "NIR", "x"]}, None, (3, 2, 1)),
        ({"names": ["Blue-475", "Green-560", "Red-668", "Red edge-717", "NIR-842"]}, None, (3, 2, 1)),
        ({"names": ["475 nm", "560 nm", "668 nm", "717 nm", "842 nm"]}, None, (3, 2, 1)),
        ({"names": ["nir", "red", "green", "blue", ""]}, None, (2, 3, 4)),
        ({"colours": ["blue", "green", "red", "undefined", "undefined"]}, None, (3, 2, 1)),
        ({}, (5, 1, 2), (5, 1, 2)),
        ({}, ("5", 1, 2), (5, 1, 2)),
        ({"names": ["Blue", "Green", "Red", "Red Edge", "NIR"]}, ("nir", "rededge", "GREEN"), (5, 4, 2)),
        ({"names": ["a", "b", "c", "d", "foo"]}, ("foo", 1, "c"), (5, 1, 3)),
    ],
)
def test_bands_are_found_by_number_or_name(tmp_path: Path, options: dict, bands: tuple | None, chosen: tuple) -> None:
    image = noise((40, 50), 5)
    ortho = Ortho.open(write(tmp_path / "ortho.tif", image, **options), OrthoConfig(bands=bands))
    assert ortho.bands == chosen
    with ortho.reader(ortho.geobox) as reader:
        np.testing.assert_array_equal(whole(reader)[0], image[[band - 1 for band in chosen]])


@pytest.mark.parametrize(
    ("count", "options", "bands", "message"),
    [
        (2, {}, None, r"the model needs 3 bands \(red, green, blue\); ortho.tif has 2 .* ortho.bands"),
        (5, {"names": ["nir", "red", "green", "x", "y"]}, None, r"needs 3 bands .* has 5 \(1 nir, 2 red"),
        (3, {}, (1, 2), r"2 bands are given for ortho.tif; the model needs 3 .* has 3"),
        (3, {}, (1, 2, 4), r"no band 4: ortho.tif has 3"),
        (3, {}, (1, 2, 0), r"no band 0: ortho.tif has 3"),
        (3, {"names": ["r", "g", "b"]}, (1, 2, "nir"), r"no band 'nir': ortho.tif has 3 \(1 r, 2 g, 3 b\)"),
    ],
)
def test_a_wrong_band_names_what_the_file_has(
    tmp_path: Path, count: int, options: dict, bands: tuple | None, message: str
) -> None:
    path = write(tmp_path / "ortho.tif", noise((40, 50), count), **options)
    with pytest.raises(OrthoError, match=message):
        Ortho.open(path, OrthoConfig(bands=bands))


@pytest.mark.parametrize("dtype", ["int32", "uint32", "complex64"])
def test_other_data_types_are_refused(tmp_path: Path, dtype: str) -> None:
    with pytest.raises(OrthoError, match=f"{dtype}; expected one of uint8, uint16"):
        Ortho.open(write(tmp_path / "ortho.tif", np.ones((3, 20, 20), dtype)))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
def test_each_data_type_has_its_full_scale(tmp_path: Path, dtype: str) -> None:
    image = noise((40, 50), dtype=dtype)
    ortho = Ortho.open(write(tmp_path / "ortho.tif", image))
    full = 1.0 if dtype.startswith("float") else np.iinfo(dtype).max
    assert ortho.value_max == full
    with ortho.reader(ortho.geobox) as reader:
        read, _ = whole(reader)
    if dtype == "uint8":
        np.testing.assert_array_equal(read, image)
    else:
        assert read.dtype == np.float32
        np.testing.assert_allclose(read, image / full, rtol=1e-6)


def test_eight_bits_in_sixteen_are_the_same_picture(tmp_path: Path) -> None:
    image = noise((60, 80))
    eight = Ortho.open(write(tmp_path / "8.tif", image))
    sixteen = Ortho.open(write(tmp_path / "16.tif", image.astype(np.uint16) * 257))
    with eight.reader(eight.geobox) as a, sixteen.reader(sixteen.geobox) as b:
        np.testing.assert_array_equal(whole(a)[0].astype(np.float32) / np.float32(255), whole(b)[0])


@pytest.mark.parametrize(
    ("dtype", "brightest", "suggestion"),
    [("uint16", 4095, "4095"), ("uint16", 255, "255"), ("uint16", 1000, "1023"), ("int16", 255, "255"),
     ("float32", 255, "255"), ("float32", 0.02, "0.02"), ("float64", 65000, "65535")],
)  # fmt: skip
def test_numbers_that_do_not_fill_their_scale_are_refused(
    tmp_path: Path, dtype: str, brightest: float, suggestion: str
) -> None:
    path = write(tmp_path / "ortho.tif", (noise((90, 90), dtype="float64") * brightest).astype(dtype))
    with pytest.raises(OrthoError, match=rf"pass --set ortho.value_max={suggestion}$"):
        Ortho.open(path)
    ortho = Ortho.open(path, OrthoConfig(value_max=brightest))
    with ortho.reader(ortho.geobox) as reader:
        assert whole(reader)[0].max() == pytest.approx(1, abs=0.05)


def test_fourteen_bits_in_sixteen_are_worth_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path / "ortho.tif", (noise((90, 90), dtype="float64") * 16383).astype(np.uint16))
    with pytest.warns(GeosegWarning, match=r"value_max=16383 if that is too dark"):
        Ortho.open(path)


def test_a_dark_field_in_eight_bits_is_just_dark(tmp_path: Path) -> None:
    Ortho.open(write(tmp_path / "ortho.tif", noise((90, 90)) // 25))


def test_a_given_scale_that_saturates_half_the_field_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "ortho.tif", noise((90, 90), dtype="uint16"))
    with pytest.raises(OrthoError, match=r"half of ortho.tif is at .* ortho.value_max=65535"):
        Ortho.open(path, OrthoConfig(value_max=255))
    with pytest.raises(OrthoError, match="expected a number above 0"):
        Ortho.open(path, OrthoConfig(value_max=0))


# --- valid pixels ---------------------------------------------------------------------------------------------------


def holes(shape: tuple[int, int] = SHAPE) -> np.ndarray:
    valid = np.ones(shape, bool)
    valid[40:90, 100:170] = False
    valid[:, 380:] = False
    valid[200:210, 200:203] = False
    return valid


def masked(path: Path, way: str, valid: np.ndarray) -> Path:
    """One file in which the same pixels are valid, said in one of many ways."""
    dtype = "float32" if way in ("nan", "inf", "float nodata") else "uint16" if way == "alpha 16" else "uint8"
    image = noise(valid.shape, dtype=dtype)
    if dtype == "uint8":
        image = np.maximum(image, 1)
    fill = {"nan": np.nan, "inf": np.inf, "float nodata": -10000, "nodata 255": 255}.get(way, 0)
    if way == "nodata 255":
        image = np.minimum(image, 254)
    if "alpha" not in way and way != "mask":
        image[:, ~valid] = fill
    if way == "one band nan":
        image[1, ~valid] = np.nan
    options: dict = {
        "alpha": {"alpha": valid * 255},
        "alpha 16": {"alpha": valid * 65535},
        "mask": {"mask": valid},
        "nodata 0": {"nodata": 0},
        "nodata 255": {"nodata": 255},
        "float nodata": {"nodata": -10000},
        "alpha and nodata": {"alpha": valid * 255, "nodata": 77},
    }.get(way, {})
    return write(path, image, **options)


WAYS = ["alpha", "alpha 16", "mask", "nodata 0", "nodata 255", "float nodata", "nan", "inf", "alpha and nodata"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("gsd", [Gsd(), COARSER])
def test_every_way_to_say_no_data_is_understood(tmp_path: Path, way: str, gsd: Gsd) -> None:
    valid = holes()
    ortho = Ortho.open(masked(tmp_path / "ortho.tif", way, valid))
    grid = resampled(ortho, gsd)
    with ortho.reader(grid) as reader:
        image, seen = whole(reader)
        np.testing.assert_array_equal(reader.valid(Rect(0, 0, *grid.shape)), seen)
    assert np.isfinite(image).all()
    if gsd is COARSER:
        share = np.zeros(grid.shape, np.float32)
        reproject(valid.astype(np.float32), share, src_transform=FINE, src_crs=UTM, dst_transform=grid.affine,
                  dst_crs=UTM, resampling=Resampling.average)  # fmt: skip
        clear = abs(share - 0.5) > 0.01
        np.testing.assert_array_equal(seen[clear], (share > 0.5)[clear])
    else:
        np.testing.assert_array_equal(seen, valid)


def test_nodata_in_one_band_only_is_a_dark_pixel(tmp_path: Path) -> None:
    image = np.maximum(noise((30, 30)), 1)
    image[0, 4, 5] = 0
    image[:, 6, 7] = 0
    ortho = Ortho.open(write(tmp_path / "ortho.tif", image, nodata=0))
    with ortho.reader(ortho.geobox) as reader:
        valid = whole(reader)[1]
    assert valid[4, 5]
    assert not valid[6, 7]


def test_black_pixels_under_full_alpha_are_data(tmp_path: Path) -> None:
    image = noise((30, 30))
    image[:, 5:9] = 0
    ortho = Ortho.open(write(tmp_path / "ortho.tif", image, alpha=np.full((30, 30), 255)))
    with ortho.reader(ortho.geobox) as reader:
        assert whole(reader)[1].all()


@pytest.mark.parametrize("way", ["alpha", "mask", "nodata 0", "float nodata", "nan"])
@pytest.mark.parametrize("gsd", [COARSER, FINER])
def test_nodata_does_not_bleed_into_colours(tmp_path: Path, way: str, gsd: Gsd) -> None:
    valid = holes()
    ortho = Ortho.open(masked(tmp_path / "ortho.tif", way, valid))
    flat = 0.6 if "float" in ortho.dtype else 153
    with rasterio.open(ortho.path, "r+") as file:
        image = file.read([1, 2, 3])
        image[:, valid] = flat
        file.write(image, [1, 2, 3])
    with ortho.reader(resampled(ortho, gsd)) as reader:
        read, seen = whole(reader)
    np.testing.assert_allclose(read[:, seen], flat, rtol=1e-5)
    assert 0.8 < seen.mean() / valid.mean() < 1.2


# --- reading --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> list[Reader]:
    """One reader for each way to get at pixels: as they are, coarser, finer, from overviews, turned, in degrees."""
    folder = tmp_path_factory.mktemp("readers")
    valid, found = holes(), []
    turned = Affine(0.004, 0.003, 690000, 0.003, -0.004, 5360000)
    degrees = Affine(6.7e-8, 0, 11.0, 0, -4.5e-8, 48.0)
    for name, options, gsd in (
        ("own", {}, Gsd()),
        ("tiled", {"tiled": True, "blockxsize": 64, "blockysize": 64}, Gsd()),
        ("coarser", {}, COARSER),
        ("finer", {}, FINER),
        ("overviews", {"overviews": [2, 4]}, Gsd(min_m=0.0105, max_m=0.02)),
        ("turned", {"transform": turned}, Gsd()),
        ("degrees", {"transform": degrees, "crs": "EPSG:4326"}, Gsd()),
    ):
        path = write(folder / f"{name}.tif", noise(SHAPE), alpha=valid * 255, **options)
        ortho = Ortho.open(path, OrthoConfig(force=True))
        grid = resampled(ortho, gsd)
        field = ortho.boundary(None, grid).buffer(-0.1)
        found.append(ortho.reader(grid, field))
    return found


NAMES = ["own", "tiled", "coarser", "finer", "overviews", "turned", "degrees"]


@pytest.mark.parametrize("which", range(len(NAMES)), ids=NAMES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rect=rects)
def test_a_read_does_not_depend_on_the_window(readers: list[Reader], which: int, rect: Rect) -> None:
    reader = readers[which]
    height, width = (int(size) for size in reader.grid.shape)
    image, valid = whole(reader)
    reader.close()
    part, part_valid = reader.read(rect)
    pad = [(400, 400), (400, 400)]
    np.testing.assert_array_equal(part, window_of(np.pad(image, [(0, 0), *pad], mode="reflect"), rect))
    np.testing.assert_array_equal(part_valid, window_of(np.pad(valid, pad, constant_values=False), rect))
    np.testing.assert_array_equal(reader.valid(rect), part_valid)
    assert (height, width) == image.shape[1:]


def window_of(padded: np.ndarray, rect: Rect) -> np.ndarray:
    """The part of an array that was padded by 400 pixels; nothing beyond."""
    rows = np.clip(np.arange(rect.row0, rect.row1) + 400, 0, padded.shape[-2] - 1)
    cols = np.clip(np.arange(rect.col0, rect.col1) + 400, 0, padded.shape[-1] - 1)
    return padded[..., rows[:, None], cols[None, :]]


@pytest.mark.parametrize(
    ("transform", "crs", "gsd", "resampling"),
    [
        (FINE, UTM, COARSER, Resampling.average),
        (FINE, UTM, FINER, Resampling.cubic),
        (Affine(0.004, 0.003, 690000, 0.003, -0.004, 5360000), UTM, Gsd(), Resampling.cubic),
        (Affine(6.7e-8, 0, 11.0, 0, -4.5e-8, 48.0), "EPSG:4326", Gsd(), Resampling.cubic),
    ],
)
def test_chunks_leave_no_seams(tmp_path: Path, transform: Affine, crs: str, gsd: Gsd, resampling: Resampling) -> None:
    image = noise((600, 800), dtype="float32")
    ortho = Ortho.open(write(tmp_path / "ortho.tif", image, transform=transform, crs=crs))
    grid = resampled(ortho, gsd)
    with ortho.reader(grid) as reader:
        read, valid = whole(reader)
    at_once = np.zeros_like(read)
    reproject(image, at_once, src_transform=transform, src_crs=crs, dst_transform=grid.affine, dst_crs=str(grid.crs),
              resampling=resampling, tolerance=0, XSCALE=1, YSCALE=1)  # fmt: skip
    inside = np.pad(valid, 6)  # away from the rim of the data
    for axis in (0, 1):
        inside = np.min([np.roll(inside, shift, axis) for shift in range(-6, 7)], axis=0)
    inside = inside[6:-6, 6:-6]
    assert inside.mean() > 0.3
    np.testing.assert_allclose(read[:, inside], at_once[:, inside].clip(0, 1), atol=2e-4)


@given(st.integers(1, 7), st.integers(-40, 40), st.integers(0, 60))
def test_reflection_is_numpys(size: int, start: int, length: int) -> None:
    padded = np.pad(np.arange(size), 100, mode="reflect")
    np.testing.assert_array_equal(reflect(start, start + length, size), padded[100 + start : 100 + start + length])


def test_coarser_pixels_are_means_over_their_area(tmp_path: Path) -> None:
    image = noise((300, 400), dtype="float32")
    ortho = Ortho.open(write(tmp_path / "ortho.tif", image))
    with ortho.reader(GeoBox((100, 200), Affine(0.01, 0, 690000, 0, -0.015, 5360000), UTM)) as reader:
        np.testing.assert_allclose(whole(reader)[0], image.reshape(3, 100, 3, 200, 2).mean(axis=(2, 4)), atol=1e-5)


def test_overviews_are_read_where_they_are_fine_enough(tmp_path: Path) -> None:
    path = write(tmp_path / "ortho.tif", np.full((3, 400, 400), 50, np.uint8), overviews=[2, 4], tiled=True)
    with rasterio.open(path, "r+", OVERVIEW_LEVEL=0) as file:
        assert file.shape == (200, 200)
    ortho = Ortho.open(path, OrthoConfig(force=True))
    for step, level in ((0.009, 400), (0.0101, 200), (0.0199, 200), (0.02, 100), (0.2, 100)):
        with ortho.reader(resampled(ortho, Gsd(min_m=step, max_m=step * 1.001))) as reader:
            image, valid = whole(reader)
            assert (image[:, valid] == 50).all()
            assert reader._pixels.source.shape == (level, level)


def test_memory_stays_small_when_the_grid_is_very_coarse(tmp_path: Path) -> None:
    path = write(tmp_path / "ortho.tif", np.tile(noise((200, 260)), (1, 10, 10)), tiled=True)
    ortho = Ortho.open(path)
    grid = GeoBox((20, 26), Affine(0.5, 0, 690000, 0, -0.5, 5360000), UTM)
    with ortho.reader(grid) as reader:
        read, valid = whole(reader)
        assert reader._pixels._side < 64
    with rasterio.open(path) as file:
        expected = file.read(out_shape=(3, 20, 26), resampling=Resampling.average)
    assert valid.all()
    np.testing.assert_allclose(read, expected, atol=1)


def test_missing_data_is_filled_on_request(tmp_path: Path) -> None:
    valid = holes()
    ortho = Ortho.open(write(tmp_path / "ortho.tif", noise(SHAPE), alpha=valid * 255))
    rect = Rect(-20, 350, 60, 430)  # over the rim of the grid: what is mirrored is not filled, what is missing is
    with ortho.reader(ortho.geobox) as reader:
        plain, _ = reader.read(rect)
        filled, _ = reader.read(rect, fill=(0.2, 0.4, 0.6))
    missing = ~np.pad(valid, 100, mode="reflect")[80:160, 450:530]
    np.testing.assert_array_equal(filled[:, missing], np.array([[51], [102], [153]]).repeat(missing.sum(), axis=1))
    np.testing.assert_array_equal(filled[:, ~missing], plain[:, ~missing])


def test_readers_in_threads_see_the_same(readers: list[Reader]) -> None:
    for reader in readers:
        reader.close()
    expected = [whole(reader) for reader in readers]

    def again(which: int) -> bool:
        fresh = copy.copy(readers[which])
        fresh._opened = None
        with fresh:
            image, valid = whole(fresh)
        return bool((image == expected[which][0]).all() and (valid == expected[which][1]).all())

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(again, [*range(len(readers))] * 3))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are listed in /proc on Linux only")
def test_nothing_stays_open(tmp_path: Path) -> None:
    path = write(tmp_path / "ortho.tif", noise(SHAPE), overviews=[2])

    def handles() -> int:
        links = (os.path.realpath(link) for link in Path("/proc/self/fd").iterdir())
        return sum(str(path) in link for link in links)

    ortho = Ortho.open(path, OrthoConfig(force=True))
    ortho.boundary(None, ortho.geobox)
    assert handles() == 0
    for grid in (ortho.geobox, resampled(ortho, Gsd(min_m=0.0105, max_m=0.02))):
        reader = ortho.reader(grid)
        assert handles() == 0
        whole(reader)
        assert handles() == 1
        reader.close()
        assert handles() == 0


def test_orthos_travel_between_processes(tmp_path: Path) -> None:
    ortho = Ortho.open(write(tmp_path / "ortho.tif", noise(SHAPE)))
    assert pickle.loads(pickle.dumps(ortho)) == ortho  # noqa: S301  # our own bytes


def test_lazy_arrays_hold_the_same_pixels(tmp_path: Path) -> None:
    valid = holes()
    ortho = Ortho.open(write(tmp_path / "ortho.tif", noise(SHAPE), alpha=valid * 255))
    grid = resampled(ortho, COARSER)
    lazy = ortho.lazy(grid, chunk_px=100)
    assert lazy.dims == ("band", "y", "x")
    assert lazy.odc.geobox == grid
    with ortho.reader(grid) as reader:
        image, seen = whole(reader)
    np.testing.assert_array_equal(lazy.compute(scheduler="synchronous"), image * seen)


# --- working grid ---------------------------------------------------------------------------------------------------


def test_the_own_grid_is_kept_where_it_can_be(tmp_path: Path) -> None:
    ortho = Ortho.open(write(tmp_path / "ortho.tif", noise((40, 50))))
    assert ortho.working_grid(Gsd()) == ortho.geobox
    coarser = resampled(ortho, COARSER)
    assert coarser.crs == ortho.geobox.crs
    assert (coarser.affine.a, coarser.affine.c, coarser.affine.f) == (0.0075, FINE.c, FINE.f)
    assert coarser.shape == (27, 34)


@pytest.mark.parametrize(
    ("step", "verdict"),
    [(0.0081, "warn"), (0.0159, "warn"), (0.0024, "warn"), (0.021, "refuse"), (0.001, "refuse"), (0.008, "take")],
)
def test_a_gsd_outside_the_range(tmp_path: Path, step: float, verdict: str) -> None:
    path = write(tmp_path / "ortho.tif", noise((60, 60)), transform=Affine(step, 0, 690000, 0, -step, 5360000))
    if verdict == "take":
        Ortho.open(path).working_grid(Gsd())
    elif verdict == "warn":
        with pytest.warns(GeosegWarning, match=rf"ortho.tif is {step * 1e3:.3g} mm per pixel; .* 2.5 to 8; it is"):
            Ortho.open(path).working_grid(Gsd())
    else:
        with pytest.raises(GsdError, match=rf"is {step * 1e3:.3g} mm .* 2.5 to 8; pass --force, or another --model"):
            Ortho.open(path).working_grid(Gsd())
        with pytest.warns(GeosegWarning, match="resampled"):
            grid = Ortho.open(path, OrthoConfig(force=True)).working_grid(Gsd())
        assert grid.affine.a == (0.008 if step > 0.008 else 0.0025)


# --- what cannot be opened ------------------------------------------------------------------------------------------


def test_no_crs_names_the_option_which_then_works(tmp_path: Path) -> None:
    path = write(tmp_path / "ortho.tif", noise((40, 50)), crs=None)
    with pytest.raises(OrthoError, match=r"ortho.tif has no CRS; pass --crs"):
        Ortho.open(path)
    with pytest.raises(OrthoError, match="--crs nonsense is not a CRS"):
        Ortho.open(path, OrthoConfig(crs="nonsense"))
    ortho = Ortho.open(path, OrthoConfig(crs="EPSG:32633"))
    assert (ortho.geobox.crs.epsg, ortho.nominal) == (32633, False)


def test_no_georeference_names_the_options_which_then_work(tmp_path: Path) -> None:
    path = write(tmp_path / "ortho.tif", noise((40, 50)), transform=None, crs=None)
    for config in (OrthoConfig(), OrthoConfig(crs="EPSG:32633")):
        with pytest.raises(OrthoError, match=r"has no georeference; pass --gsd .*--crs"):
            Ortho.open(path, config)
    for code in ("EPSG:4326", "EPSG:3417"):
        with pytest.raises(OrthoError, match="needs a CRS in metres"):
            Ortho.open(path, OrthoConfig(gsd_m=0.005, crs=code))
    with pytest.raises(OrthoError, match="--gsd is -1"):
        Ortho.open(path, OrthoConfig(gsd_m=-1))
    ortho = Ortho.open(path, OrthoConfig(gsd_m=0.005, crs="EPSG:32733"))
    assert (ortho.geobox.crs.epsg, ortho.nominal, ortho.gsd_m) == (32733, True, 0.005)
    assert ortho.geobox.affine.c == pytest.approx(500000, abs=1)


def test_what_the_file_knows_itself_is_not_overruled(tmp_path: Path) -> None:
    path = write(tmp_path / "ortho.tif", noise((40, 50)))
    with pytest.raises(OrthoError, match=r"has its own CRS, WGS 84 / UTM zone 32N; leave out --crs EPSG:32633"):
        Ortho.open(path, OrthoConfig(crs="EPSG:32633"))
    with pytest.raises(OrthoError, match=r"has a georeference of its own; leave out --gsd 0.01"):
        Ortho.open(path, OrthoConfig(gsd_m=0.01))
    assert Ortho.open(path, OrthoConfig(crs="EPSG:32632")).geobox.crs.epsg == 32632


def test_a_local_crs_counts_as_none(tmp_path: Path) -> None:
    path = write(tmp_path / "ortho.tif", noise((40, 50)), crs='LOCAL_CS["Local Coordinates (m)",UNIT["metre",1]]')
    with pytest.raises(OrthoError, match=r"has no CRS; pass --crs"):
        Ortho.open(path)


def test_a_compound_crs_is_used_by_its_horizontal_part(tmp_path: Path) -> None:
    ortho = Ortho.open(write(tmp_path / "ortho.tif", noise((40, 50)), crs="EPSG:25832+7837"))
    assert ortho.geobox.crs.epsg == 25832


def test_rpcs_and_palettes_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "rpc.tif", noise((40, 50)), transform=None, crs=None)
    terms = " ".join(["0"] * 20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        file = rasterio.open(path, "r+")
    with file:
        file.update_tags(ns="RPC", ERR_BIAS=0, ERR_RAND=0, LINE_OFF=1, SAMP_OFF=1, LAT_OFF=1, LONG_OFF=1, HEIGHT_OFF=1,
                         LINE_SCALE=1, SAMP_SCALE=1,
                         LAT_SCALE=1, LONG_SCALE=1, HEIGHT_SCALE=1, LINE_NUM_COEFF=terms, LINE_DEN_COEFF=terms,
                         SAMP_NUM_COEFF=terms, SAMP_DEN_COEFF=terms)  # fmt: skip
    with pytest.raises(OrthoError, match="RPCs"):
        Ortho.open(path)
    path = write(tmp_path / "palette.tif", noise((40, 50), 1), photometric="palette")
    with pytest.raises(OrthoError, match=r"palette image; .* gdal_translate -expand rgb"):
        Ortho.open(path)


@pytest.mark.parametrize("keep", [0.99, 0.7, 0.3, 0.01])
@pytest.mark.parametrize("options", [{}, {"tiled": True, "compress": "deflate"}, {"interleave": "band", "tiled": True}])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, keep: float, options: dict) -> None:
    path = write(tmp_path / "ortho.tif", noise((600, 700)), **options)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(OrthoError, match=r"ortho.tif (is cut off|cannot be opened|cannot be read)"):
        Ortho.open(path)


def test_a_cut_that_spares_the_corners_is_seen_too(tmp_path: Path) -> None:
    path, image = tmp_path / "ortho.tif", noise((640, 640))
    options = {"tiled": True, "blockxsize": 128, "blockysize": 128, "compress": "deflate", "sparse_ok": True}
    order = sorted(np.ndindex(5, 5), key=lambda block: block not in ((0, 0), (0, 4), (4, 0), (4, 4), (2, 2)))
    profile = {"driver": "GTiff", "width": 640, "height": 640, "count": 3, "dtype": "uint8", "crs": UTM}
    for mode, part, profile_of in (("w", order[:5], profile | options | {"transform": FINE}), ("r+", order[5:], {})):
        with rasterio.open(path, mode, **profile_of) as file:
            for row, col in part:
                block = image[:, row * 128 : row * 128 + 128, col * 128 : col * 128 + 128]
                file.write(block, window=RasterWindow(col * 128, row * 128, 128, 128))
    data = path.read_bytes()
    path.write_bytes(data[:-40])
    with pytest.raises(
        OrthoError, match=rf"ortho.tif is cut off: {len(data) - 40} bytes of at least {len(data)}; copy"
    ):
        Ortho.open(path)


def test_damage_in_the_middle_is_reported_with_its_place(tmp_path: Path) -> None:
    options = {"tiled": True, "blockxsize": 128, "blockysize": 128, "compress": "deflate"}
    path = write(tmp_path / "ortho.tif", np.tile(noise((320, 320)), (1, 8, 8)), **options)
    with rasterio.open(path) as file:
        start, size = (int(file.get_tag_item(f"BLOCK_{what}_2_2", "TIFF", bidx=1)) for what in ("OFFSET", "SIZE"))
    data = bytearray(path.read_bytes())
    data[start : start + size] = b"\xff" * size
    path.write_bytes(data)
    ortho = Ortho.open(path)
    with ortho.reader(ortho.geobox) as reader:
        reader.read(Rect(128, 128, 256, 256))
        with pytest.raises(OrthoError, match=r"ortho.tif cannot be read at rows 200 to 300, columns 200 to 300"):
            reader.read(Rect(200, 200, 300, 300))


def test_other_files_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(OrthoError, match=r"there is no file .*nothing.tif"):
        Ortho.open(tmp_path / "nothing.tif")
    text = tmp_path / "notes.tif"
    text.write_text("not a raster")
    with pytest.raises(OrthoError, match=r"^notes.tif cannot be opened as a raster: [^\n]*$"):
        Ortho.open(text)


def test_odd_paths_work(tmp_path: Path) -> None:
    folder = tmp_path / "Möhren & Rüben, 3. Feld"
    folder.mkdir()
    path = write(folder / "ortho 日本.tif", noise((40, 50)))
    Ortho.open(path)
    with zipfile.ZipFile(tmp_path / "fields.zip", "w") as archive:
        archive.write(path, "ortho.tif")
    ortho = Ortho.open(f"/vsizip/{tmp_path}/fields.zip/ortho.tif")
    with ortho.reader(ortho.geobox) as reader:
        assert whole(reader)[1].all()
    shutil.copy(path, tmp_path / "ortho.dat")
    Ortho.open(str(tmp_path / "ortho.dat"))


# --- real files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "config", "gsd_m", "share"),
    [
        ("rgba_2cm_epsg32633.tif", OrthoConfig(), 0.02, 1.0),
        ("multispectral_float32_epsg32615.tif", OrthoConfig(value_max=0.15), 0.0355, 0.41),
        ("rgb_uint16.tif", OrthoConfig(gsd_m=0.01), 0.01, 0.41),
    ],
)
def test_real_rasters_open_sensibly(fields: Path, name: str, config: OrthoConfig, gsd_m: float, share: float) -> None:
    path = fields / "references" / "rasters" / name
    ortho = Ortho.open(path, config)
    assert ortho.gsd_m == pytest.approx(gsd_m, rel=2e-3)
    assert ortho.bands == (1, 2, 3)
    grid = ortho.working_grid(Gsd(min_m=0.005, max_m=0.04))
    with ortho.reader(grid, ortho.boundary(None, grid)) as reader:
        image, valid = whole(reader)
    assert valid.mean() == pytest.approx(share, abs=0.02)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        file = rasterio.open(path)
    with file:
        inside = file.dataset_mask() > 0
        mean = file.read([1, 2, 3])[:, inside].mean() / ortho.value_max
    scale = 255 if image.dtype == np.uint8 else 1
    assert image[:, valid].mean() / scale == pytest.approx(mean, rel=0.01)
