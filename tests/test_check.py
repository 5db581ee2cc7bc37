"""Every kind of trouble with an ortho gives a finding of its own, and a sound ortho gives none."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from scipy.ndimage import convolve, gaussian_filter, uniform_filter1d

from geoseg.errors import GeosegError, GeosegWarning
from geoseg.finding import Finding
from geoseg.models.card import GsdRange, ModelCard, Tiling
from geoseg.needs import Estimate, estimate, room
from geoseg.ortho import Ortho, OrthoConfig
from geoseg.ortho.looks import Looks, detail, look_at, streaks
from geoseg.preflight import Preflight, _exposure, _sharpness, from_error, preflight
from geoseg.windows import windows
from rasters import FINE, noise, write
from test_boundary import saved

CARD = ModelCard(
    name="test",
    version="1",
    description="none",
    architecture="none",
    mean=(0, 0, 0),
    std=(1, 1, 1),
    gsd=GsdRange(train_m=0.005, min_m=0.0025, max_m=0.008),
    tiling=Tiling(write_px=256, margin_px=32, stride_px=32),
    licence="CC0-1.0",
)
SHAPE = (700, 900)


def check(path: Path, config: OrthoConfig | None = None, boundary: Path | None = None) -> tuple[Finding, ...]:
    """All findings, those that keep the ortho from being opened too."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", GeosegWarning)
            return preflight(Ortho.open(path, config, CARD.bands), CARD, boundary)
    except GeosegError as error:
        return (from_error(error),)


def sharp(seed: int = 0, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    return (noise(shape, seed=seed) * 0.8 + 20).astype(np.uint8)


def blurred() -> np.ndarray:
    coarse = noise((SHAPE[0] // 20, SHAPE[1] // 20), dtype="float64")
    rows = np.linspace(0, coarse.shape[1] - 1, SHAPE[0])
    cols = np.linspace(0, coarse.shape[2] - 1, SHAPE[1])
    tall = np.stack([[np.interp(rows, np.arange(len(line)), line) for line in band.T] for band in coarse]).transpose(
        0, 2, 1
    )
    wide = np.stack([[np.interp(cols, np.arange(len(line)), line) for line in band] for band in tall])
    return (wide * 200 + 20).astype(np.uint8)


def placed(step: float, turn: float) -> Affine:
    return Affine(step, turn, FINE.c, turn, -step, FINE.f)


def bright() -> np.ndarray:
    return np.minimum(sharp().astype(int) * 2, 255).astype(np.uint8)


def smeared() -> np.ndarray:
    return uniform_filter1d(sharp(), 9, axis=2)


def soft() -> np.ndarray:
    """White noise through a Gaussian: its detail is (1 - exp(-1 / 4s²)) / (1 - exp(-16 / 4s²)), 0.118 for s = 1.6."""
    grey = gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), 1.6)
    return np.broadcast_to(np.clip(120 + grey * 200, 20, 240), (3, *SHAPE)).astype(np.uint8)


def with_spots(share: float) -> np.ndarray:
    image = sharp()
    image[0][np.random.default_rng(1).random(SHAPE) < share] = 255
    return image


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


FAULTS: dict[str, tuple[str, str, str, Callable[[Path], Any]]] = {
    "two bands": ("error", "ortho", "has 2 ", lambda p: write(p, sharp()[:2])),
    "no CRS": ("error", "ortho", "no CRS; pass --crs", lambda p: write(p, sharp(), crs=None)),
    "no place": ("error", "ortho", "pass --gsd", lambda p: write(p, sharp(), crs=None, transform=None)),
    "wrong CRS": ("error", "ortho", "cannot lie in", lambda p: write(p, sharp(), crs="EPSG:4326")),
    "12 bit": ("error", "ortho", "value_max=4095", lambda p: write(p, sharp().astype(np.uint16) * 16)),
    "cut off": ("error", "ortho", "is cut off", lambda p: cut(write(p, sharp()))),
    "no raster": ("error", "ortho", "cannot be opened", lambda p: p.write_text("nothing")),
    "too coarse": ("error", "resolution", "50 mm", lambda p: write(p, sharp(), transform=placed(0.05, 0))),
    "coarse": ("warning", "resolution", "10 mm", lambda p: write(p, sharp(), transform=placed(0.01, 0))),
    "turned": ("note", "georeference", "north-up", lambda p: write(p, sharp(), transform=placed(0.004, 0.003))),
    "empty": ("error", "valid area", "no valid pixel", lambda p: write(p, sharp(), alpha=np.zeros(SHAPE))),
    "strips": ("note", "tiling", "strips of", lambda p: write(p, sharp(shape=(300, 2500)))),
    "no overviews": ("note", "overviews", "none", lambda p: write(p, sharp(shape=(100, 5000)), tiled=True)),
    "smeared": ("warning", "sharpness", "smeared", lambda p: write(p, smeared())),
    "soft": ("note", "sharpness", "rather soft", lambda p: write(p, soft())),
    "bright": ("note", "exposure", "1.0% of the pixels are saturated", lambda p: write(p, with_spots(0.01))),
    "dim": ("warning", "exposure", "dark: 0%", lambda p: write(p, sharp() // 5 + 8)),
    "blurred": ("warning", "sharpness", "blurred", lambda p: write(p, blurred())),
    "overexposed": ("warning", "exposure", "saturated", lambda p: write(p, bright())),
    "dark": ("warning", "exposure", "black", lambda p: write(p, sharp() // 40)),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_has_its_finding(tmp_path: Path, fault: str) -> None:
    level, topic, text, make = FAULTS[fault]
    path = tmp_path / "ortho.tif"
    make(path)
    findings = check(path)
    hits = [f for f in findings if f.topic == topic and text in f"{f.text}; {f.remedy}"]
    assert [f.level for f in hits] == [level], findings


def test_a_sound_ortho_has_none(tmp_path: Path) -> None:
    path = write(tmp_path / "ortho.tif", sharp(), tiled=True, overviews=[2, 4])
    findings = check(path)
    assert {f.level for f in findings} == {"ok"}, findings
    assert [f.topic for f in findings] == [
        *("bands", "resolution", "georeference", "valid area", "size", "tiling", "overviews", "sharpness", "exposure"),
    ]


@pytest.mark.parametrize(("seedlings_m", "level"), [(None, "ok"), (0.005, "ok"), (0.0049, "ok"), (0.003, "note")])
def test_an_ortho_too_coarse_for_seedlings_is_told(tmp_path: Path, seedlings_m: float | None, level: str) -> None:
    path = write(tmp_path / "ortho.tif", sharp(), tiled=True, overviews=[2, 4])
    card = CARD.model_copy(update={"gsd": CARD.gsd.model_copy(update={"seedlings_m": seedlings_m})})
    found = {f.topic: f for f in preflight(Ortho.open(path, None, CARD.bands), card)}["resolution"]
    assert found.level == level
    assert found.text.startswith("5 mm per pixel; the model takes 2.5 to 8 mm")
    assert (seedlings_m is None) == ("seedlings" not in found.text)
    assert ("fly lower" in found.remedy) == (level == "note")


def test_an_invented_place_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "ortho.tif", sharp(), crs=None, transform=None)
    found = {f.topic: f for f in check(path, OrthoConfig(gsd_m=0.005))}
    assert found["georeference"].level == "warning"
    assert "send nothing of this to a machine" in found["georeference"].remedy


def test_the_boundary_is_looked_at(tmp_path: Path) -> None:
    path = write(tmp_path / "ortho.tif", sharp())
    x, y = FINE.c, FINE.f
    field = saved(tmp_path / "field.gpkg", shapely.box(x, y - 2, x + 2, y))
    far = saved(tmp_path / "far.gpkg", shapely.box(x + 50, y - 2, x + 52, y))
    half = saved(tmp_path / "half.gpkg", shapely.box(x - 2, y - 2, x + 2, y))
    assert [(f.level, f.text) for f in check(path, boundary=field) if f.topic == "boundary"] == [
        ("ok", "0.0004 ha, 25% of the raster")
    ]
    assert [f.level for f in check(path, boundary=far) if f.topic == "boundary"] == ["error"]
    assert [f.level for f in check(path, boundary=half) if f.topic == "boundary"] == ["warning", "ok"]


def test_the_estimate_grows_with_the_field_only(tmp_path: Path) -> None:
    ortho = Ortho.open(write(tmp_path / "ortho.tif", sharp()))
    grid = ortho.working_grid(CARD.gsd)
    whole = ortho.boundary(None, grid)
    full = estimate(ortho, CARD.tiling, whole, grid, mpx_per_s=0.5)
    left, bottom, right, top = whole.bounds
    half = estimate(ortho, CARD.tiling, shapely.box(left, bottom, (left + right) / 2, top), grid, mpx_per_s=0.5)
    assert full.pixels == SHAPE[0] * SHAPE[1]
    assert full.hectares == pytest.approx(SHAPE[0] * SHAPE[1] * 0.005**2 / 1e4)
    read = sum(window.read.size for window in windows(SHAPE, 256, 32, 32))
    assert full.forwarded_pixels == read
    network_s = full.seconds - estimate(ortho, CARD.tiling, whole, grid, mpx_per_s=1e12).seconds
    assert network_s == pytest.approx(read / 1e6 / 0.5)
    assert (half.pixels, half.memory_mb) == (full.pixels / 2, full.memory_mb)


@pytest.mark.parametrize(
    ("backend", "peak_mb"), [("openvino-int8", 1643), ("openvino-bf16", 2093), ("openvino-f32", 2931)]
)
def test_the_estimate_of_the_real_field_is_what_a_run_took(fields: Path, backend: str, peak_mb: int) -> None:
    ortho = Ortho.open(fields / "potato" / "ortho.tif")
    tiling = Tiling(write_px=1920, margin_px=64, stride_px=16)
    grid = ortho.working_grid(GsdRange(train_m=0.0027, min_m=0.002, max_m=0.005))
    found = estimate(ortho, tiling, ortho.boundary(None, grid), grid, 1.0, backend)
    assert found.forwarded_pixels == 70_778_880
    assert found.memory_mb == pytest.approx(peak_mb, rel=0.1)
    assert found.disk_mb == pytest.approx(52, rel=0.25)


def test_what_there_is_not_room_for_is_told() -> None:
    needs = Estimate(pixels=10**9, hectares=4, forwarded_pixels=10**9, seconds=900, memory_mb=2200, disk_mb=900)
    roomy = [(finding.level, finding.topic) for finding in room(needs, 8000, 50_000)]
    assert roomy == [("ok", "memory"), ("ok", "disk")]
    tight = list(room(needs, 1000, 500))
    assert [(finding.level, finding.topic) for finding in tight] == [("warning", "memory"), ("error", "disk")]
    assert "segment.write_px=512" in tight[0].remedy
    assert "--out" in tight[1].remedy
    assert next(iter(room(needs, None, 50_000))).level == "ok"


def real_windows(fields: Path) -> list[np.ndarray]:
    with rasterio.open(fields / "potato" / "ortho.tif") as ortho:
        return [
            ortho.read(window=((row, row + 256), (col, col + 256))) / np.float32(255)
            for row in (900, 2900, 4900)
            for col in (1000, 4000, 7000)
        ]


def looks_of(images: list[np.ndarray]) -> Looks:
    found = look_at((np.clip(image, 0, 1).astype(np.float32), np.ones(image.shape[1:], bool)) for image in images)
    assert found is not None
    return found


def test_copies_of_the_real_field_are_told_from_it(fields: Path) -> None:
    images = real_windows(fields)
    assert _sharpness(looks_of(images)).level == "ok"
    assert _exposure(looks_of(images)).level == "ok"
    assert _sharpness(looks_of([gaussian_filter(image, (0, 1, 1)) for image in images])).level == "note"
    assert _sharpness(looks_of([gaussian_filter(image, (0, 1.5, 1.5)) for image in images])).level == "warning"
    smeared_text = _sharpness(looks_of([uniform_filter1d(image, 9, axis=2) for image in images])).text
    assert smeared_text.startswith("smeared")
    assert [_exposure(looks_of([image * gain for image in images])).level for gain in (1.3, 1.6, 0.2)] == [
        "note",
        "warning",
        "warning",
    ]


@pytest.mark.parametrize("gain", [0.5, 0.8])
def test_detail_depends_neither_on_contrast_nor_on_brightness(gain: float) -> None:
    image, valid = np.random.default_rng(0).random((3, 64, 64)), np.ones((64, 64), bool)
    assert detail(image * gain + 0.1, valid) == pytest.approx(detail(image, valid))
    assert detail(image, valid) == pytest.approx(1, abs=0.1)  # white noise
    assert detail(soft() / np.float32(255), np.ones(SHAPE, bool)) == pytest.approx(0.118, abs=0.004)
    slope = np.broadcast_to(np.linspace(0, 1, 64), (3, 64, 64))
    assert detail(slope, valid) == pytest.approx(1 / 16)


def test_streaks_find_every_direction_of_a_grid() -> None:
    image, valid = np.random.default_rng(0).random((1, 96, 96)), np.ones((96, 96), bool)
    assert streaks(image, valid) == pytest.approx(1, abs=0.1)
    for kernel in (np.ones((1, 7)), np.ones((7, 1)), np.eye(7), np.eye(7)[::-1]):
        assert streaks(convolve(image, kernel[None] / kernel.sum()), valid) > 3


def test_what_is_not_valid_does_not_count() -> None:
    image, valid = np.random.default_rng(0).random((3, 64, 64)), np.ones((64, 64), bool)
    holed, holes = image.copy(), valid.copy()
    holed[:, 20:30, 20:40], holes[20:30, 20:40] = 5, False
    assert detail(holed, holes) == pytest.approx(detail(image, valid), abs=0.02)
    assert look_at([]) is None


def test_a_preflight_reads_well(tmp_path: Path) -> None:
    remedy = "rio overview --build auto --resampling average ortho.tif"
    findings = (Finding("ok", "bands", "red"), Finding("note", "overviews", "none; " * 30, remedy))
    needs = Estimate(pixels=10**9, hectares=4, forwarded_pixels=10**9, seconds=900, memory_mb=2200, disk_mb=900)
    shown = Preflight("ortho.tif", "default 2", findings, needs)
    lines = str(shown).splitlines()
    assert lines[0] == "ortho.tif, for the model default 2"
    assert max(len(line) for line in lines) <= 110
    assert any(line.strip() == f"-> {remedy}" for line in lines)
    assert "a run takes about 15 min on this machine: 4 ha, 1,000 Mpx" in lines
    assert lines[-1].startswith("ready")
    assert (shown.level, shown.to_dict()["findings"][1]["remedy"]) == ("note", remedy)
    assert "&rarr; rio overview" in shown._repr_html_()


def test_the_real_field(fields: Path) -> None:
    found = {f.topic: f for f in check(fields / "potato" / "ortho.tif")}
    assert {f.level for f in found.values()} == {"ok", "note"}
    assert found["overviews"].level == "note"
