"""The picture of a run: what it shows, read back from its pixels."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from matplotlib.figure import Figure
from matplotlib.image import imread
from rasterio.enums import ColorInterp
from rasterio.transform import from_origin

from geoseg.legend import LEGEND
from geoseg.report.cover import FAINTEST, class_cover, coarser, cover_image
from geoseg.report.figure import Key, Panel, compose, draw_polygons, nice_length, rate_colors
from geoseg.report.quicklook import _class_keys, _headline, _rate_keys, quicklook

WEST, NORTH, CRS = 500_000.0, 5_500_000.0, "EPSG:32632"
TREATED = (8, 80, 155)


def write_field(folder: Path, shape: tuple[int, int], gsd_m: float) -> tuple[Path, Path, shapely.Polygon]:
    """An RGBA preview and a class raster with a nodata strip on the left, and the field without that strip."""
    height, width = shape
    classes = np.zeros(shape, np.uint8)
    classes[:, ::10] = 1
    classes[height // 2, width // 2] = 2
    classes[:, : width // 10] = 255
    preview = np.stack([np.full(shape, value, np.uint8) for value in (140, 110, 80, 255)])
    preview[3, classes == 255] = 0
    profile = {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "dtype": "uint8",
        "crs": CRS,
        "transform": from_origin(WEST, NORTH, gsd_m, gsd_m),
    }
    with rasterio.open(folder / "preview.tif", "w", count=4, **profile) as sink:
        sink.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
        sink.write(preview)
    with rasterio.open(folder / "classes.tif", "w", count=1, nodata=255, **profile) as sink:
        sink.write(classes, 1)
    field = shapely.box(WEST + width // 10 * gsd_m, NORTH - height * gsd_m, WEST + width * gsd_m, NORTH)
    return folder / "preview.tif", folder / "classes.tif", field


def zones_of(field: shapely.Polygon) -> gpd.GeoDataFrame:
    """The left half sprayed, the right half not."""
    left, bottom, right, top = field.bounds
    halves = [shapely.box(left, bottom, (left + right) / 2, top), shapely.box((left + right) / 2, bottom, right, top)]
    return gpd.GeoDataFrame({"rate_l_ha": [200.0, 0.0]}, geometry=halves, crs=CRS)


def count(image: np.ndarray, rgb: tuple[int, int, int]) -> int:
    return int((np.abs(image[..., :3] * 255 - rgb).max(axis=-1) < 1.5).sum())


@pytest.mark.parametrize(
    "shape", [(400, 500), (1500, 120), (120, 1500), (12, 20)], ids=["square", "tall", "wide", "tiny"]
)
def test_the_picture_shows_all_three_maps(tmp_path: Path, shape: tuple[int, int]) -> None:
    preview, classes, field = write_field(tmp_path, shape, 0.05)
    totals = {"field_ha": 1.0, "treated_ha": 0.5, "litres": 100.0, "broadcast_litres": 200.0, "saved_percent": 50.0}
    found = quicklook(preview, classes, zones_of(field), field, tmp_path / "quicklook.png", totals, "$a_b$ field")
    image = imread(found)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["classes.tif", "preview.tif", "quicklook.png"]
    assert max(image.shape) < 5200
    soil, ground, treated = (count(image, rgb) for rgb in (LEGEND["soil"].rgb, (140, 110, 80), TREATED))
    assert min(soil, ground, treated) > 20_000
    assert treated == pytest.approx(ground / 2, rel=0.06)  # half the field, at the same scale


def test_without_zones_there_are_two_maps(tmp_path: Path) -> None:
    preview, classes, field = write_field(tmp_path, (200, 200), 0.05)
    image = imread(quicklook(preview, classes, None, field, tmp_path / "quicklook.png", {}, "field"))
    assert count(image, TREATED) == 0
    assert count(image, (140, 110, 80)) > 20_000


def test_zones_in_degrees_land_on_the_field(tmp_path: Path) -> None:
    preview, classes, field = write_field(tmp_path, (200, 200), 0.05)
    metric = imread(quicklook(preview, classes, zones_of(field), field, tmp_path / "a.png", {}, "x"))
    degrees = imread(quicklook(preview, classes, zones_of(field).to_crs(4326), field, tmp_path / "b.png", {}, "x"))
    assert np.abs(metric - degrees).mean() < 1e-3


def test_one_weed_pixel_in_a_large_field_is_seen(tmp_path: Path) -> None:
    _, classes, field = write_field(tmp_path, (4000, 5000), 0.005)
    _, cover = coarser(*class_cover(classes, field.bounds), 2)
    assert cover.shape[1] < 1000
    image = cover_image(cover)
    weedy = cover[2] > 0
    assert weedy.sum() == 1
    cover[2] = 0
    assert image[weedy][0, 0] > cover_image(cover)[weedy][0, 0] + 20  # clearly redder than without it


def test_the_faintest_trace_has_a_third_of_the_colour() -> None:
    cover = np.zeros((4, 1, 1), np.float32)
    cover[:, 0, 0] = (0.9999, 0.0, 0.0001, 1.0)
    soil, weed = (np.array(LEGEND[name].rgb) for name in ("soil", "weed"))
    assert np.abs(cover_image(cover)[0, 0, :3] - (soil + FAINTEST * (weed - soil))).max() <= 1


def test_cover_counts_every_pixel_once(tmp_path: Path) -> None:
    _, classes, field = write_field(tmp_path, (1003, 2011), 0.01)
    grid, cover = class_cover(classes, field.buffer(100).bounds)
    with rasterio.open(classes) as source:
        pixels = source.read(1)
    factor = round(grid.resolution.x / 0.01)
    assert factor > 1
    for by in (1, 3, 7):
        _, larger = coarser(grid, cover, by)
        for code in range(3):
            counted = (larger[code] * (by * factor) ** 2).sum()
            assert counted == pytest.approx((pixels == code).sum(), rel=1e-4)


def test_a_class_raster_that_changed_is_read_again(tmp_path: Path) -> None:
    _, classes, field = write_field(tmp_path, (300, 400), 0.05)
    before = class_cover(classes, field.bounds)[1].copy()
    with rasterio.open(classes, "r+") as target:
        target.write(np.full((1, 300, 400), 2, np.uint8))
    assert not np.array_equal(class_cover(classes, field.bounds)[1], before)


def test_the_view_is_the_field_and_not_the_whole_raster(tmp_path: Path) -> None:
    _, classes, _ = write_field(tmp_path, (1000, 1000), 0.1)
    small = shapely.box(WEST + 40, NORTH - 60, WEST + 60, NORTH - 40)
    grid, cover = class_cover(classes, small.bounds)
    box = grid.boundingbox
    assert (box.left, box.bottom, box.right, box.top) == pytest.approx(
        (WEST + 39.6, NORTH - 60.4, WEST + 60.4, NORTH - 39.6), abs=0.11
    )
    assert cover.shape[1:] == (208, 208)


def test_nodata_is_transparent() -> None:
    cover = np.zeros((4, 1, 2), np.float32)
    cover[:, 0, 0] = (0.5, 0.0, 0.0, 0.5)
    assert cover_image(cover)[0, :, 3].tolist() == [255, 0]
    assert tuple(cover_image(cover)[0, 0, :3]) == LEGEND["soil"].rgb


def test_holes_stay_open() -> None:
    ring, hole = shapely.box(0, 0, 10, 10).exterior, shapely.box(4, 4, 6, 6).exterior
    for polygon in (shapely.Polygon(ring, [hole]), shapely.Polygon(ring, [hole.reverse()])):
        draw = partial(draw_polygons, polygons=[polygon], tolerance=0, facecolor="#0000ff", linewidth=0)
        figure = compose([Panel("", draw)], [Key("a", ["#ffffff"])], (0, 0, 10, 10), ("", ""))
        assert blue_share(figure) == pytest.approx(0.96, abs=0.01)


def blue_share(figure: Figure) -> float:
    figure.canvas.draw()
    image = np.asarray(figure.canvas.buffer_rgba())  # type: ignore[attr-defined]
    x0, y0, x1, y1 = map(int, figure.axes[0].get_window_extent().extents)
    panel = image[image.shape[0] - y1 : image.shape[0] - y0, x0:x1]
    return float((panel[..., :3] == (0, 0, 255)).all(axis=-1).mean())


@pytest.mark.parametrize("longest", [0.003, 0.99, 1.0, 4.2, 5.0, 700.0])
def test_scale_bars_are_round_and_fit(longest: float) -> None:
    length = nice_length(longest)
    assert longest / 2.5 < length <= longest
    assert f"{length:e}"[0] in "125"


def test_rates_get_darker_with_the_dose() -> None:
    colors = rate_colors([0.0, 200.0, 50.0, 100.0])
    assert list(colors) == [0.0, 50.0, 100.0, 200.0]
    light = [sum(int(color[i : i + 2], 16) for i in (1, 3, 5)) for color in colors.values()]
    assert light == sorted(light, reverse=True)


def test_the_legend_fits_on_the_figure() -> None:
    keys = [*_class_keys(), *_rate_keys(rate_colors([0.0, 125.5, 150.5, 175.5, 1200.5]))]
    figure = compose([Panel("", lambda axes: None)] * 3, keys, (0, 0, 10, 200), ("title", "line"))
    figure.canvas.draw()
    right = max(text.get_window_extent().x1 for text in figure.axes[-1].texts)
    assert right <= figure.bbox.x1


def test_a_field_without_weeds_has_one_colour():
    assert rate_colors([0.0, 0.0]) == {0.0: "#ececec"}


def test_the_headline_says_what_is_known_in_fitting_units() -> None:
    field = shapely.box(0, 0, 300, 200)
    assert _headline({}, field) == "6 ha"
    small = {"field_ha": 0.0448, "treated_ha": 0.0199, "litres": 4.0, "broadcast_litres": 9.0, "saved_percent": 55.55}
    assert _headline(small, field) == "448 m²  ·  199 m² treated  ·  4 L instead of 9 L  ·  55.5 % saved"


def test_a_preview_of_sixteen_bits_is_stretched(tmp_path: Path) -> None:
    _, classes, field = write_field(tmp_path, (200, 200), 0.05)
    profile = {"driver": "GTiff", "height": 100, "width": 100, "count": 4, "dtype": "uint16", "crs": CRS}
    with rasterio.open(
        tmp_path / "dark.tif",
        "w",
        **profile,
        transform=from_origin(WEST, NORTH, 0.1, 0.1),
        photometric="RGB",
        alpha="yes",
    ) as sink:
        ramp = np.broadcast_to(np.linspace(3000, 5000, 100).astype(np.uint16), (3, 100, 100))
        sink.write(np.concatenate([ramp, np.full((1, 100, 100), 65535, np.uint16)]))
    image = imread(quicklook(tmp_path / "dark.tif", classes, None, field, tmp_path / "quicklook.png", {}, "x"))
    row = image[image.shape[0] // 2, : image.shape[1] // 2, 0]
    assert row.min() == 0
    assert len(np.unique(row)) > 80
