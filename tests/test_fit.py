"""Long trainings: killed ones go on to the same weights, validation stops and chooses, and logs are left."""

from __future__ import annotations

import csv
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from geoseg.cli import main
from geoseg.config import load_as
from geoseg.errors import ConfigError, LabelError
from geoseg.models import load
from geoseg.train import fit as fitting
from geoseg.train.checkpoint import CHECKPOINT
from geoseg.train.fit import SetShare, TrainConfig, fit

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def config(monkeypatch):
    """The teaching network, with everything random that a training can have, and without the slow last look."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(fitting, "measure_parity", lambda *_: {})
    tiny = load_as(TrainConfig, Path("configs/train_tiny.yaml"))
    return replace(tiny, steps=9, batch=2, crop_px=32, save_every=2, device="cpu", paste=0.5)


class Killed(BaseException):
    """As an interruption: no handler for errors catches it."""


@pytest.fixture
def dies_at(monkeypatch):
    """Makes a training die when so many updates are done."""
    update = fitting._update

    def die(step):
        def counted(training, *rest):
            if training.step == step:
                raise Killed
            return update(training, *rest)

        monkeypatch.setattr(fitting, "_update", counted)

    return die


def with_dropout(bands=3, classes=3):
    """A network that uses torch's own chance while it learns."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(bands, 8, 3, padding=1), torch.nn.Dropout(0.5), torch.nn.Conv2d(8, classes, 1)
    )


@pytest.mark.parametrize("kills", [(1,), (4,), (5,), (3, 8)])
def test_a_killed_training_goes_on_to_the_same_weights(config, tmp_path, monkeypatch, dies_at, kills):
    from geoseg.models.zoo import ARCHITECTURES

    monkeypatch.setitem(ARCHITECTURES, "tiny", replace(ARCHITECTURES["tiny"], builder=with_dropout))
    config = replace(config, validate_every=3)
    dies_at(-1)
    whole = fit(config, tmp_path / "whole")
    for step in kills:
        dies_at(step)
        with pytest.raises(Killed):
            fit(config, tmp_path / "killed")
    dies_at(-1)
    again = fit(config, tmp_path / "killed")
    assert again.weights_sha256 == whole.weights_sha256
    for name in ("log.csv", "validation.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / "killed" / CHECKPOINT).exists()


def test_a_checkpoint_is_really_used(config, tmp_path, dies_at, monkeypatch):
    dies_at(5)
    with pytest.raises(Killed):
        fit(config, tmp_path)
    seen = []
    monkeypatch.setattr(fitting, "_update", lambda training, *rest: seen.append(training.step) or 0.0)
    fit(config, tmp_path)
    assert seen[0] == 4


def test_a_checkpoint_of_other_settings_is_refused(config, tmp_path, dies_at):
    dies_at(5)
    with pytest.raises(Killed):
        fit(config, tmp_path)
    with pytest.raises(ConfigError, match="of a training with other settings or on other data; remove it"):
        fit(replace(config, rate=0.5), tmp_path)
    dies_at(-1)
    fit(replace(config, save_every=3), tmp_path)  # how often is no such setting


def test_a_checkpoint_of_other_data_is_refused(config, tmp_path, dies_at):
    """The tile set was cut anew between a kill and the next try."""
    shutil.copytree(ROOT / "tiles", tmp_path / "set")
    mine = replace(config, sets=(SetShare(str(tmp_path / "set")),))
    dies_at(5)
    with pytest.raises(Killed):
        fit(mine, tmp_path / "out")
    index = tmp_path / "set" / "index.csv"
    index.write_text("".join(index.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(ConfigError, match="on other data"):
        fit(mine, tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"nothing", b"PK\x03\x04 half"])
def test_a_broken_checkpoint_is_named(config, tmp_path, content):
    (tmp_path / CHECKPOINT).write_bytes(content)
    with pytest.raises(ConfigError, match="is no whole checkpoint; remove it to begin anew"):
        fit(config, tmp_path)


def test_a_checkpoint_runs_no_code(config, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (exec, ("raise SystemExit('code ran')",))

    torch.save({"key": Bomb(), "state": {}}, tmp_path / CHECKPOINT)
    with pytest.raises(ConfigError, match="is no whole checkpoint"):
        fit(config, tmp_path)


def scripted(monkeypatch, *values):
    """Validation gives these mean IoUs in turn."""
    left = iter(values)
    monkeypatch.setattr(
        fitting, "plain_scores", lambda _: {"field": dict.fromkeys(("miou", "soil", "crop", "weed"), next(left))}
    )


def test_training_ends_when_validation_stays_the_same_and_keeps_the_best(config, tmp_path, monkeypatch):
    scripted(monkeypatch, 0.5, 0.7, 0.6, 0.6, 0.9)
    card = fit(replace(config, steps=60, validate_every=2, patience=2), tmp_path / "early")
    assert (card.training["stopped_at"], card.training["kept_step"]) == (8, 4)
    with (tmp_path / "early" / "validation.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["step"], line["miou"]) for line in lines] == [
        ("2", "0.5000"),
        ("4", "0.7000"),
        ("6", "0.6000"),
        ("8", "0.6000"),
    ]


def test_the_weights_that_are_kept_are_those_of_the_best_validation(config, tmp_path, monkeypatch):
    kept = {}
    validate = fitting._validate

    def spy(training, course):
        validate(training, course)
        kept[training.step] = {name: value.clone() for name, value in training.average.state_dict().items()}

    monkeypatch.setattr(fitting, "_validate", spy)
    scripted(monkeypatch, 0.5, 0.7, 0.6, 0.6)
    fit(replace(config, steps=8, validate_every=2), tmp_path)
    found = load(tmp_path).module.state_dict()
    for name, value in kept[4].items():
        torch.testing.assert_close(found[name], value, atol=1e-3, rtol=1e-2)  # stored in 16 bits
    assert any(not torch.allclose(found[name], value, atol=1e-3, rtol=1e-2) for name, value in kept[8].items())


def test_the_curves_show_validation(config, tmp_path):
    fit(replace(config, validate_every=3), tmp_path / "with")
    fit(config, tmp_path / "without")
    sizes = [(tmp_path / name / "curves.png").stat().st_size for name in ("with", "without")]
    assert sizes[0] > sizes[1] > 5000
    assert not (tmp_path / "without" / "validation.csv").exists()
    with (tmp_path / "with" / "log.csv").open(newline="") as file:
        rates = [float(line["rate"]) for line in csv.DictReader(file)]
    assert rates[:3] == pytest.approx([config.rate * (step + 1) / config.warmup for step in range(3)], rel=1e-3)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_log_for_tensorboard_holds_the_same_numbers(config, tmp_path):
    pytest.importorskip("tensorboard", reason="the tensorboard extra is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fit(replace(config, tensorboard=True, validate_every=3), tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    with (tmp_path / "log.csv").open(newline="") as file:
        losses = [float(line["loss"]) for line in csv.DictReader(file)]
    np.testing.assert_allclose([one.value for one in events.Scalars("loss")], losses, atol=1e-4)
    with (tmp_path / "validation.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    source = lines[0]["source"]
    wanted = [(int(line["step"]), float(line["miou"])) for line in lines if line["source"] == source]
    found = [(one.step, one.value) for one in events.Scalars(f"miou/{source}")]
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert [step for step, _ in found] == [3, 6, 9]


def test_tensorboard_that_is_absent_is_named(config, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"pip install 'geoseg\[tensorboard\]'"):
        fit(replace(config, tensorboard=True), tmp_path)


@pytest.mark.parametrize("loss", ["weighted_ce", "focal", "tversky", "ohem"])
def test_a_training_takes_a_loss_by_name(config, tmp_path, loss):
    card = fit(replace(config, steps=3, loss=loss), tmp_path)
    assert card.training["loss"] == loss


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "hinge"}, "expected one of ce_dice, ce, weighted_ce"),
        ({"patience": 2}, "set validate_every too"),
        ({"rate": -1.0}, "rate is -1.0; expected more than 0"),
        ({"weedy": 3.0}, "weedy is 3.0; expected a share"),
        (
            {"card": {"classes": ["soil", "weed", "crop"]}},
            "soil, weed, crop; geoseg needs soil, crop, weed in this",
        ),
        ({"validate_every": -1}, "must not be negative"),
        ({"crop_px": 33}, "a crop_px that is a multiple of stride_px"),
        ({"card": {"instances": "offsets"}}, "instances is offsets; tiny with these params gives none"),
        ({"card": {"tiling": {"write_px": 63, "margin_px": 9, "stride_px": 3}}}, "a multiple of 2"),
    ],
)
def test_settings_that_do_not_fit_are_named(config, tmp_path, changes, message):
    if "card" in changes:
        changes = {"card": config.card | changes["card"]}
    with pytest.raises(ConfigError, match=message):
        fit(replace(config, **changes), tmp_path)


def test_validation_needs_something_to_validate_on(config, tmp_path):
    shutil.copytree(ROOT / "tiles", tmp_path / "set")
    index = tmp_path / "set" / "index.csv"
    index.write_text(index.read_text().replace(",validation,", ",train,"))
    wanted = replace(config, sets=(SetShare(str(tmp_path / "set")),), validate_every=3)
    with pytest.raises(ConfigError, match="none of the sets holds anything back"):
        fit(wanted, tmp_path / "out")
    assert fit(replace(wanted, validate_every=0, steps=2), tmp_path / "out").scores == {}


def test_a_training_that_goes_astray_leaves_no_model(config, tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "_update", lambda training, *_: float("nan") if training.step == 3 else 1.0)
    with pytest.raises(ConfigError, match="the loss of step 4 is no number.* lower rate"):
        fit(config, tmp_path)
    assert not (tmp_path / "card.json").exists()


def test_a_model_that_is_done_is_not_written_over(config, tmp_path):
    short = replace(config, steps=2)
    fit(short, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ConfigError, match="holds a trained model already; choose another --out"):
        fit(short, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_network_that_learns_plants_wants_plants(config, tmp_path):
    pytest.importorskip("torchvision", reason="the zoo extra is not installed")
    (tmp_path / "set").mkdir()
    for part in ("images", "labels", "index.csv"):
        (tmp_path / "set" / part).symlink_to(ROOT / "tiles" / part)
    mask_rcnn = load_as(TrainConfig, Path("configs/train_mask_rcnn.yaml"))
    wanted = replace(mask_rcnn, encoder="random", sets=(SetShare(str(tmp_path / "set")),))
    with pytest.raises(LabelError, match="does not know single plants, which mask_rcnn learns from"):
        fit(wanted, tmp_path / "out")


def test_a_training_that_is_stopped_says_how_to_go_on(config, tmp_path, monkeypatch):
    update = fitting._update

    def stopped(training, *rest):
        if training.step == 3:
            raise KeyboardInterrupt
        return update(training, *rest)

    words = ["train", "configs/train_tiny.yaml", "--out", str(tmp_path / "m"), "--device", "cpu", "--set", "steps=4"]
    words += ["--set", "save_every=2"]
    with monkeypatch.context() as patch:
        patch.setattr(fitting, "_update", stopped)
        found = CliRunner().invoke(main, words)
    assert found.exit_code == 1
    assert "stopped; the same command goes on" in found.stderr
    found = CliRunner().invoke(main, words)
    assert "use it with" in found.stdout
