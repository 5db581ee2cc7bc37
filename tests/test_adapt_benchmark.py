"""The comparison on fields with labels: what a tilted camera sees, and how objects are counted."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from geoseg.legend import CROP, SOIL, WEED
from geoseg.train.evaluate_objects import ObjectPass, match_objects
from geoseg.train.fieldspec import FieldSpec
from geoseg.train.synthetic import PLANT, SyntheticField


@pytest.fixture(scope="module")
def benchmark_module() -> Iterator[ModuleType]:
    path = Path(__file__).resolve().parents[1] / "benchmarks" / "adaptation.py"
    spec = importlib.util.spec_from_file_location("benchmark_of_adaptation", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def ramps(height: int, width: int) -> SyntheticField:
    """A field whose red is its column and whose green is its row."""
    down, right = np.mgrid[0:height, 0:width]
    image = np.stack([right, down, 0 * down]).astype(np.uint8)
    labels = np.where(right < width // 2, CROP, WEED).astype(np.uint8)
    spec = FieldSpec(height_px=height, width_px=width)
    return SyntheticField(image, labels < 255, labels, labels.astype(np.int32), np.zeros(0, PLANT), spec)


def test_a_tilted_camera_sees_the_lower_edge_larger(benchmark_module):
    """Against the pinhole: the lower edge is nearer by (1 - t) / (1 + t), so that much less ground is seen there."""
    field, tilt = ramps(200, 240), 0.2
    found = benchmark_module.tilted(field, tilt)
    assert found.image[0, 0].tolist() == pytest.approx(list(range(240)), abs=1.5)
    assert (found.image[1, 0] <= 1).all()
    shown = float(found.image[0, -1, -1]) - float(found.image[0, -1, 0])
    assert shown == pytest.approx(239 * (1 - tilt) / (1 + tilt), abs=2.5)
    assert (found.labels[:, :119] == CROP).all()
    assert (found.labels[:, 121:] == WEED).all()
    rows = found.image[1, :, 120].astype(float)
    assert (np.diff(rows) >= 0).all()  # no fold
    assert benchmark_module.tilted(field, 0.0).image == pytest.approx(field.image)


def test_objects_are_counted_by_class(benchmark_module):
    truth = np.zeros((60, 60), np.uint8)
    truth[5:15, 5:15] = truth[5:15, 30:40] = CROP
    truth[40:44, 5:9] = truth[40:44, 30:34] = truth[50:54, 50:54] = WEED
    found = truth.copy()
    found[40:44, 30:34] = CROP  # a weed taken for crop
    found[50:54, 50:54] = SOIL  # and one that is not seen
    objects = ObjectPass()
    objects.add(0, truth, found)
    matches = match_objects(*objects.finish(4.0), 1.0)
    assert benchmark_module._object_f1(matches, CROP) == pytest.approx(2 * 2 / (2 + 3))
    assert benchmark_module._object_f1(matches, WEED) == pytest.approx(2 * 1 / (3 + 1))
