"""Teaching with wrong labels, and `geoseg adapt` from an ortho to a model directory that a run can use."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import shapely
import torch
import torch.nn.functional as F
from click.testing import CliRunner

import rasters
from adaptfields import rendered
from geoseg.adapt.adaptation import HELD_OUT, AdaptConfig, adapt
from geoseg.adapt.field import open_field
from geoseg.adapt.fieldrule import survey
from geoseg.adapt.netgreen import choose_green
from geoseg.adapt.pseudo import PseudoConfig
from geoseg.adapt.segmenter import load_rule
from geoseg.adapt.tune import TuneConfig, class_weights, generalised_cross_entropy
from geoseg.cli import main
from geoseg.cli.adapt import adapted
from geoseg.config import Config, load_as
from geoseg.errors import ConfigError, InputError, OrthoError
from geoseg.models.card import CARD, ModelCard
from geoseg.models.storage import load, save
from geoseg.models.zoo import build
from geoseg.train.tiles import read_index
from test_adapt_labels import write_hints

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def example(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    scores = torch.randn((2, 3, 5, 6), generator=random)
    labels = torch.randint(0, 3, (2, 5, 6), generator=random)
    labels[:, 0] = 255
    return scores, labels


def test_without_robustness_it_is_cross_entropy():
    scores, labels = example()
    expected = float(F.cross_entropy(scores, labels, ignore_index=255))
    assert float(generalised_cross_entropy(scores, labels, 0)) == pytest.approx(expected, rel=1e-5)


def test_with_all_robustness_it_is_mean_absolute_error():
    scores, labels = example()
    p = scores.softmax(dim=1).gather(1, labels.clamp(max=2)[:, None])[:, 0]
    expected = float((1 - p)[labels != 255].mean())
    assert float(generalised_cross_entropy(scores, labels, 1)) == pytest.approx(expected, rel=1e-5)


def test_balance_makes_the_rare_class_count():
    """Against torch's own weights: with q = 0 and one image it is the weighted cross-entropy."""
    scores, labels = example()
    counts = np.array([900, 90, 10])
    weights = class_weights([SimpleNamespace(pixels=counts)], 0.5)
    assert weights.tolist() == pytest.approx([1, 10**0.5, 90**0.5])
    assert class_weights([SimpleNamespace(pixels=counts)], 0).tolist() == [1, 1, 1]
    one = scores[:1], labels[:1]
    expected = float(F.cross_entropy(*one, weights, ignore_index=255))
    assert float(generalised_cross_entropy(*one, 0, weights)) == pytest.approx(expected, rel=1e-5)


def test_a_label_that_cannot_be_explained_pulls_less():
    scores = torch.tensor([[8.0, 0.0, 0.0]]).reshape(1, 3, 1, 1).requires_grad_()
    wrong = torch.ones((1, 1, 1), dtype=torch.int64)
    pulls = [
        float(torch.autograd.grad(generalised_cross_entropy(scores, wrong, q), scores)[0].abs().sum())
        for q in (0, 0.5, 1)
    ]
    assert pulls[0] > 10 * pulls[1] > 100 * pulls[2] / 10
    nothing = torch.full((1, 1, 1), 255)
    assert float(generalised_cross_entropy(scores.detach(), nothing, 0.5)) == 0


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A model directory of the smallest network, untaught."""
    torch.manual_seed(0)
    card = ModelCard(
        name="base", version="1", description="Knows nothing.", architecture="tiny", licence="Apache-2.0",
        mean=(0.45, 0.45, 0.4), std=(0.2, 0.2, 0.2), gsd={"train_m": 0.005, "min_m": 0.002, "max_m": 0.007},
        tiling={"write_px": 256, "margin_px": 16, "stride_px": 2},
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("models") / "base"
    save(folder, card, build("tiny", {}, 3, 3))
    return folder


@pytest.fixture(autouse=True)
def surveyed_once(monkeypatch):
    """The field is looked over once for all tests."""
    monkeypatch.setattr("geoseg.adapt.adaptation.survey", lambda where, _: found_in(where.source.path))


@functools.cache
def found_in(path: str):
    return survey(open_field(path))


def settings(base: Path, **tune: object) -> AdaptConfig:
    values = {"steps": 6, "batch": 2, "crop_px": 64, "validate_every": 3} | tune
    return AdaptConfig(model=str(base), labels=PseudoConfig(tiles=30, tile_px=200), tune=TuneConfig(**values))


def test_a_field_is_adapted_to_and_the_better_one_kept(base, tmp_path: Path):
    found = adapt(rendered().ortho, tmp_path / "My Field", settings(base))
    card = ModelCard.read(tmp_path / "My Field" / CARD)
    assert card.name == "my-field"
    assert found.kept == "row_rule"  # three layers and six steps teach nothing
    assert found.scores["row_rule"].f1.mean() > found.scores["model"].f1.mean()
    assert any("teaching made nothing better" in line for line in found.lines())
    assert card.scores[HELD_OUT]["classes"]["crop"]["f1"] > 0.8
    assert 0 <= card.training["label_noise"]["weed_among_crop_labels"] < 0.2
    assert card.training["green"]["green_by"] == "index"
    assert [step for step, _ in card.training["looks"]] == [0, 3, 6]
    assert card.training["step"] in (0, 3, 6)
    assert len(read_index(tmp_path / "My Field" / "tiles")) == len(
        list((tmp_path / "My Field" / "tiles/images").iterdir())
    )
    assert load_rule(str(tmp_path / "My Field")) is not None
    assert not list(tmp_path.glob(".My*"))


def test_the_taught_network_is_kept_where_it_is_better(base, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("geoseg.adapt.adaptation._value", lambda found: -float(found.f1[1]))  # the worst wins
    hints = write_hints(tmp_path / "hints.gpkg", [("weed", shapely.box(690001, 5359997, 690003, 5359999))])
    found = adapt(rendered().ortho, tmp_path / "model", settings(base), hints=hints)
    assert found.kept in ("adapted", "model")
    segmenter = load(tmp_path / "model", "torch-cpu")
    assert segmenter.card.gsd.train_m == pytest.approx(0.006)
    assert segmenter(np.zeros((1, 3, 64, 64), np.uint8)).shape == (1, 3, 64, 64)
    assert segmenter.card.training["hints"] >= 1
    assert {"source", "split"} <= set(read_index(tmp_path / "model" / "tiles")[0])


def test_nothing_is_left_of_what_fails(base, tmp_path: Path):
    grey = np.random.default_rng(0).normal(100, 8, (3, 900, 900)).clip(0, 255).astype(np.uint8)
    ortho = rasters.write(tmp_path / "bare.tif", grey)
    with pytest.raises(OrthoError):
        adapt(ortho, tmp_path / "model", settings(base))
    assert [path.name for path in tmp_path.iterdir()] == ["bare.tif"]
    (tmp_path / "there").mkdir()
    with pytest.raises(InputError, match="exists already"):
        adapt(ortho, tmp_path / "there", settings(base))


def test_a_network_that_knows_nothing_does_not_say_what_is_green(base):
    where = open_field(rendered().ortho)
    look, figures = choose_green(where, found_in(where.source.path), load(base, "torch-cpu"))
    assert look is None
    assert figures["green_by"] == "index"


@dataclass
class Colour:
    """A network that sees as green what is greener than red and blue by some steps."""

    card: ModelCard
    steps: int

    def __call__(self, images: np.ndarray) -> np.ndarray:
        red, green, blue = images.astype(int).transpose(1, 0, 2, 3)
        plant = 2 * green - red - blue > self.steps
        return np.stack([~plant, plant, 0 * plant], axis=1).astype(np.float32)


def test_a_network_helps_if_it_sees_the_leaves_and_little_else(base):
    where, card = open_field(rendered().ortho), ModelCard.read(base / CARD)
    rule = found_in(where.source.path)
    look, figures = choose_green(where, rule, Colour(card, 45))
    assert look is not None, figures
    assert figures["green_by"] == "index and network"
    for blind in (-10, 120):  # sees plants in bare soil; sees hardly any
        assert choose_green(where, rule, Colour(card, blind))[0] is None


def test_the_shipped_configuration_is_understood():
    config = load_as(AdaptConfig, CONFIGS / "adapt.yaml", ["tune.steps=7"])
    assert config.tune.steps == 7
    with pytest.raises(ConfigError, match="robustness"):
        load_as(AdaptConfig, CONFIGS / "adapt.yaml", ["tune.robustness=2"])
    with pytest.raises(ConfigError, match="balance"):
        load_as(AdaptConfig, CONFIGS / "adapt.yaml", ["tune.balance=2"])


def test_a_run_finds_what_was_taught_on_the_way(base, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("geoseg.adapt.adaptation.AdaptConfig", lambda **given: settings(base))
    config = adapted(str(rendered().ortho), tmp_path / "run", Config(), None)
    assert config.model == str(tmp_path / "run" / "model")
    assert (tmp_path / "run" / "model" / CARD).is_file()
    monkeypatch.setattr("geoseg.adapt.adaptation.adapt", None)  # a second time nothing is taught
    assert adapted(str(rendered().ortho), tmp_path / "run", Config(), None) == config


def test_several_orthos_are_not_adapted_to_at_once(tmp_path: Path):
    result = CliRunner().invoke(main, ["run", "a.tif", "b.tif", "--adapt", "-o", str(tmp_path / "two")])
    assert result.exit_code == 2
    assert "one field" in result.output
