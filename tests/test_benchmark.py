"""The benchmark measures what it says: size, speed, hectares, memory of one model alone, and scores of the card."""

from __future__ import annotations

import csv
import json

import pytest
from click.testing import CliRunner

from geoseg.cli import main
from geoseg.errors import ModelError, RunError
from geoseg.models.storage import load_module
from geoseg.train import benchmark as module
from geoseg.train.benchmark import Row, benchmark, measure, rows_as_csv, table_lines, write_benchmark
from test_operating_point import model

SCORES = {
    "validation of a": {"miou": 0.7, "classes": {"weed": {"iou": 0.5}}},
    "validation of b": {"miou": 0.6, "classes": {"weed": {"iou": 0.4}}},
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return model(tmp_path_factory.mktemp("model"), scores=SCORES)


def test_a_row_of_a_model_in_a_process_of_its_own(tiny):
    (row,) = benchmark([tiny], "torch-cpu", 128, "of b")
    _, network = load_module(tiny)
    assert row.params_m * 1e6 == pytest.approx(sum(value.numel() for value in network.parameters()))
    assert (row.model, row.backend) == ("tiny 1", "torch-cpu")
    assert (row.scored_on, row.miou, row.weed_iou) == ("validation of b", 0.6, 0.4)
    assert 50 < row.memory_mb < 3000
    # write 256, margin 8, 4 mm: what a second of pixels covers, less the margins
    assert row.ha_h == pytest.approx(row.mpx_s * 1e6 / (272 / 256) ** 2 * 0.004**2 * 3600 / 1e4)


def test_speed_is_the_median_of_the_rounds(tiny, monkeypatch):
    ticks = iter([0, 1, 10, 12, 20, 24, 30, 30.5, 40, 49])
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(ticks))
    found = measure(str(tiny), "torch-cpu", 65)
    assert found["mpx_s"] == pytest.approx(64**2 / 1e6 / 2)


def test_models_that_cannot_be_measured(tiny, monkeypatch):
    with pytest.raises(ModelError, match="neither a model directory"):
        benchmark(["nobody"])
    with pytest.raises(ModelError, match="backend 'abacus' is not known"):
        benchmark([tiny], "abacus")
    monkeypatch.setattr(module.sys, "executable", "/bin/false")
    with pytest.raises(RunError, match="could not be measured"):
        benchmark([tiny])


ROWS = [
    Row("a 1", "torch-cpu", "CPU", 5.2, 3.5, 9.1, 812.4, "x", 0.8, 0.5),
    Row("b 1", "torch-cpu", "CPU", 1, 9, 20, 300),
]


def test_the_same_rows_in_every_form(tmp_path):
    lines = list(table_lines(ROWS))
    assert lines[0].split()[:3] == ["model", "backend", "params_m"]
    assert lines[1].split() == ["a", "1", "torch-cpu", "5.20", "3.50", "9.10", "812", "0.800", "0.500", "x"]
    assert lines[2].split()[-3:] == ["-", "-", "-"]
    read = list(csv.DictReader(rows_as_csv(ROWS).splitlines()))
    assert [row["ha_h"] for row in read] == ["9.1", "20"]
    assert read[1]["miou"] == ""
    names = sorted(path.name for path in write_benchmark(ROWS, tmp_path))
    assert names == ["benchmark.csv", "benchmark.json", "benchmark.png"] == sorted(p.name for p in tmp_path.iterdir())
    assert json.loads((tmp_path / "benchmark.json").read_text())[0]["miou"] == 0.8
    assert (tmp_path / "benchmark.png").stat().st_size > 5000


def test_the_command(tiny, tmp_path):
    words = ["benchmark", str(tiny), "--backend", "torch-cpu", "--side", "64"]
    result = CliRunner().invoke(main, [*words, "--json", "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)[0]["scored_on"] == "validation of a"
    assert (tmp_path / "out" / "benchmark.csv").is_file()
    small = CliRunner().invoke(main, [*words[:-1], "8"])
    assert (small.exit_code, "expected 64 pixels or more" in small.output) == (2, True)
