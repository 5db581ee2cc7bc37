"""Every configuration that is shipped runs: the job's on a small field, the trainer's for a few steps."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from geoseg import job
from geoseg.config import load_as, load_config
from geoseg.models.zoo import ARCHITECTURES
from geoseg.train.fit import SetShare, TrainConfig, fit
from geoseg.train.tilecutting import TileConfig, make_tiles
from test_job import ColourSegmenter, field  # noqa: F401 - a fixture

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
JOBS = sorted(path for path in CONFIGS.glob("*.yaml") if not path.name.startswith(("train_", "tiles_", "adapt")))
TRAININGS = sorted(CONFIGS.glob("train_*.yaml"))


@pytest.fixture(scope="module")
def segmented(field, tmp_path_factory):  # noqa: F811 - pytest hands the fixture over
    """A run directory with everything that does not depend on the rule."""
    return job.segment(field[0], tmp_path_factory.mktemp("configs") / "run", model=ColourSegmenter()).path


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_a_job_s_configuration_gives_a_prescription(segmented, tmp_path, path):
    shutil.copytree(segmented, tmp_path / "run")
    done = job.prescribe(tmp_path / "run", config=load_config(path))
    assert 0 < done.summary["prescription"]["treated_ha"] <= done.summary["prescription"]["field_ha"]


LIBRARIES = {
    "zoo": "segmentation_models_pytorch",
    "torchgeo": "torchgeo",
    "transformers": "transformers",
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("path", TRAININGS, ids=lambda path: path.stem)
def test_a_training_s_configuration_trains(tmp_path, monkeypatch, path):
    config = load_as(TrainConfig, path)
    entry = ARCHITECTURES[config.card["architecture"]]
    if entry.extra:
        pytest.importorskip(LIBRARIES[entry.extra], reason="this architecture's extra is not installed")
        monkeypatch.setattr("geoseg.train.fit.measure_parity", lambda *_: {})  # takes longer than all the rest
    tiles = str(CONFIGS.parent / "tiles")
    crop_px = 128 if config.card["architecture"] == "smp_pan" else 64  # it pools three times below its stride
    small = replace(config, sets=(SetShare(tiles),), encoder="random", steps=2, batch=2, crop_px=crop_px, save_every=0)
    card = fit(small, tmp_path / "model")
    assert card.name == config.card["name"]
    if "# the margin is its reach: exact" in path.read_text():
        assert card.tiling.exact
    if "# it looks at the whole window" in path.read_text():
        assert (card.tiling.exact, card.tiling.reach_px) == (False, None)


def test_every_architecture_has_a_configuration():
    named = {load_as(TrainConfig, path).card["architecture"] for path in TRAININGS}
    assert named == set(ARCHITECTURES)


def test_the_default_tile_sets_can_be_cut(fields, tmp_path, monkeypatch):
    monkeypatch.chdir(CONFIGS.parent)
    config = load_as(TileConfig, CONFIGS / "tiles_default.yaml")
    maize = tuple(source for source in config.sources if source.name == "maize")
    assert make_tiles(replace(config, sources=maize), tmp_path / "set") == 16
