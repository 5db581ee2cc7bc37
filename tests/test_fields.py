"""The default model on real fields, on the parts that it was not trained on; figures go to the test's output."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window
from rasterio.windows import transform as window_transform

from geoseg import job
from geoseg.config import load_config
from geoseg.models import load
from geoseg.train.evaluate import evaluate_raster

VALIDATION = Window(8320, 0, 1280, 2560)
MARGIN = 64


@pytest.fixture(scope="module")
def potato(fields, tmp_path_factory):
    """A run on validation columns of the potato field, with the labels of the same pixels."""
    folder = tmp_path_factory.mktemp("potato")
    for name in ("ortho", "labels"):
        with rasterio.open(fields / "potato" / f"{name}.tif") as source:
            profile = {
                "driver": "GTiff", "dtype": "uint8", "count": source.count, "crs": source.crs, "tiled": True,
                "height": VALIDATION.height, "width": VALIDATION.width, "compress": "deflate",
                "transform": window_transform(VALIDATION, source.transform),
            }  # fmt: skip
            with rasterio.open(folder / f"{name}.tif", "w", **profile) as part:
                part.write(source.read(window=VALIDATION))
    return folder, job.run(folder / "ortho.tif", folder / "run")


def test_the_default_model_finds_crop_and_weed(potato, capsys):
    folder, done = potato
    found = evaluate_raster(done.path / "classes.tif", folder / "labels.tif")
    with capsys.disabled():
        print("", *found.lines(), sep="\n")  # noqa: T201 - the figures are the point
    assert found.iou[0] > 0.98
    assert found.iou[1] > 0.7
    assert found.iou[2] > 0.25


def test_windows_are_nearly_invisible_with_the_default_network(potato, capsys):
    """Invariant 1 for a real network: its sight has a long tail, so the share is measured and bounded."""
    folder, _ = potato
    segmenter = load("default", "openvino-f32")
    with rasterio.open(folder / "ortho.tif") as source:
        image = np.pad(source.read(), ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)), mode="reflect")
    whole = segmenter(image[None])[0].argmax(axis=0)[MARGIN:-MARGIN, MARGIN:-MARGIN]
    small = load_config(None, ["segment.write_px=512", "backend=openvino-f32"])
    windowed = job.segment(folder / "ortho.tif", folder / "windowed", config=small)
    with rasterio.open(windowed.path / "classes.tif") as raster:
        same = float((raster.read(1) == whole).mean())
    with capsys.disabled():
        print(f"\nwindows of 512 px against the whole image at once: {same:.5%} of pixels have the same class")  # noqa: T201
    assert same > 0.9998


def test_the_prescription_of_a_real_field_is_whole(potato):
    _, done = potato
    totals = done.summary["prescription"]
    zones = done.prescription
    assert zones.area.sum() == pytest.approx(done.layer("boundary").area.sum(), rel=1e-9)
    assert totals["litres"] == pytest.approx((zones.area / 1e4 * zones.rate_l_ha).sum(), rel=1e-9)
    assert zones[zones.rate_l_ha > 0].union_all().intersects(done.weeds.union_all())
