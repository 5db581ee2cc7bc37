"""Eight bits: made from training tiles, kept behind the parity gate, found again, never taken for another model's."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from geoseg.cli import main
from geoseg.errors import ConfigError, LabelError, ModelError
from geoseg.models import openvino as ov
from geoseg.models.card import CARD, ModelCard, read_card
from geoseg.models.storage import INT8, MIN_PARITY, WEIGHTS, load, load_module, save
from geoseg.train import quantize as quantizing
from geoseg.train import validation
from geoseg.train.quantize import BACKEND, QuantizeConfig, quantize
from geoseg.train.tiles import VALIDATION, read_index, read_tile
from geoseg.train.validation import Comparison

TILES = Path(__file__).parents[1] / "tiles"
UNITS = pytest.mark.skipif(BACKEND[9:] not in ov.precisions(), reason="this processor has no units for bytes")
FEW = QuantizeConfig(images=12, side_px=192)


def plain(folder: Path, name: str = "default") -> Path:
    """A copy of a shipped model without its 8 bits."""
    card, module = load_module(name)
    save(folder, card, module)
    return folder


def image(number: int = 0) -> np.ndarray:
    lines = [line for line in read_index(TILES) if line["split"] == VALIDATION]
    return read_tile(TILES, lines[number]).image[None, :, :192, :192]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    pytest.importorskip("nncf", reason="NNCF makes the 8 bits; pip install 'geoseg[int8]'")
    folder = plain(tmp_path_factory.mktemp("made") / "model")
    assert not {file.name for file in folder.iterdir()} & set(INT8)
    with pytest.MonkeyPatch.context() as patch:  # few images to look at, and few to be judged by
        patch.setattr(validation, "MOST_LOST", 0.05)
        quantize(folder, [TILES], FEW)
    return folder


@pytest.fixture
def model(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))


@UNITS
def test_eight_bits_give_what_torch_gives(made):
    card = ModelCard.read(made / CARD)
    assert MIN_PARITY[BACKEND] <= card.parity[BACKEND] < 1
    assert list(card.parity)[1:] == list(read_card("default").parity)[-2:]
    ours, theirs = load(made, BACKEND), load(made, "torch-cpu")
    assert ours.backend == BACKEND
    for one, other in zip(ours.classify(image()), theirs.classify(image()), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
    same = [(ours.classify(image(n))[0] == theirs.classify(image(n))[0]).mean() for n in range(2)]
    assert min(same) > 0.98
    scores = ours(image())
    assert scores.sum(axis=1) == pytest.approx(1, abs=1e-2)
    assert np.abs(scores - theirs(image())).max() > 1e-4  # it really computes in other numbers
    from_floats = ours.classify(image().astype(np.float32) / 255)[0]
    assert (from_floats == ours.classify(image())[0]).mean() > 0.999


def test_less_than_half_of_the_numbers_bytes_are_left(made):
    assert (made / INT8[1]).stat().st_size < 0.6 * (made / WEIGHTS).stat().st_size


def test_the_first_layers_stay_as_they_are(made):
    import openvino

    operations = openvino.Core().read_model(made / INT8[0]).get_ordered_ops()
    layers = [one for one in operations if one.get_type_name() in ("Convolution", "GroupConvolution")]
    rounded = [layer.input_value(0).get_node().get_type_name() == "FakeQuantize" for layer in layers]
    assert rounded[:3] == [False] * 3
    assert sum(rounded) > 0.8 * len(layers)


@UNITS
def test_the_operating_point_holds_in_eight_bits_too(model):
    path = model / CARD
    before = load(model, BACKEND).classify(image())[0]
    path.write_text(path.read_text().replace('"logit_bias": []', '"logit_bias": [0, 0, 4]'))
    ours, theirs = (load(model, backend).classify(image())[0] for backend in (BACKEND, "torch-cpu"))
    assert (ours == 2).sum() > 1.2 * (before == 2).sum()
    assert (ours == theirs).mean() > 0.97


@pytest.mark.parametrize(
    ("able", "wanted"),
    [(("int8", "bf16", "f32"), BACKEND), (("bf16", "f32"), "openvino-bf16"), (("f32",), "openvino-f32")],
)
def test_they_are_taken_by_themselves_where_the_processor_has_units_for_them(model, monkeypatch, able, wanted):
    monkeypatch.setattr(ov, "precisions", lambda: able)
    assert load(model).backend == wanted


@pytest.mark.parametrize(
    ("flags", "there"),
    [({"avx2"}, False), ({"avx2", "avx512f", "avx512_bf16"}, False), ({"avx_vnni"}, True), ({"avx512_vnni"}, True)],
)
def test_units_for_bytes_are_known_by_the_processor_s_flags(monkeypatch, flags, there):
    monkeypatch.setattr(ov.host, "cpu_flags", lambda: frozenset(flags))
    assert ("int8" in ov.precisions()) is there
    assert ov.precisions()[-1] == "f32"


def test_where_linux_does_not_say_torch_is_asked(monkeypatch):
    import torch

    monkeypatch.setattr(ov.host, "cpu_flags", frozenset)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_vnni": True, "cpu_name": "x"}, raising=False)
    assert ov.precisions()[0] == "int8"
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert "int8" not in ov.precisions()


def test_a_directory_without_the_files_runs_as_before(model, monkeypatch):
    monkeypatch.setattr(ov, "precisions", lambda: ("int8", "f32"))
    (model / INT8[1]).unlink()
    assert load(model).backend == "openvino-f32"
    with pytest.raises(ModelError, match="models quantize"):
        load(model, BACKEND)


@pytest.mark.parametrize("name", INT8)
def test_changed_files_are_refused(model, name):
    content = bytearray((model / name).read_bytes())
    content[len(content) // 2] ^= 1
    (model / name).write_bytes(content)
    with pytest.raises(ModelError, match="not the file that its card was written for"):
        load(model, BACKEND)


def test_what_openvino_cannot_read_is_told(model):
    path = model / CARD
    (model / INT8[0]).write_text("<net name='x' version='99'></net>")
    digest = hashlib.sha256(b"".join((model / name).read_bytes() for name in INT8)).hexdigest()
    path.write_text(path.read_text().replace(ModelCard.read(path).int8_sha256, digest))
    with pytest.raises(ModelError, match=r"cannot be read by OpenVINO \d.*backend=openvino-f32"):
        load(model, BACKEND)


def test_other_weights_do_not_keep_them(model):
    card, module = load_module(model)
    again = save(model, card, module)
    assert (again.int8_sha256, again.parity.get(BACKEND)) == (None, None)
    assert not any((model / name).exists() for name in INT8)


def test_a_run_in_other_eight_bits_is_another_run(model):
    from geoseg.stages.segment import _model_identity

    card = ModelCard.read(model / CARD)
    other = card.model_copy(update={"int8_sha256": "0" * 64})
    assert _model_identity(card, BACKEND) != _model_identity(other, BACKEND)
    assert _model_identity(card, "openvino-f32") == _model_identity(other, "openvino-f32")


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Comparison(BACKEND, 0.9949, {"a": 0.001}), "99.49% of the validation pixels"),
        (Comparison(BACKEND, 0.9999, {"a": -0.001, "b": 0.0021}), r"mIoU changes by a \+0.0010, b -0.0021; .*-0.002"),
        (Comparison(BACKEND, 0.9999, {"a": float("nan")}), "a .nan"),
    ],
)
def test_what_is_not_as_good_is_not_kept(model, monkeypatch, found, text):
    before = {file.name: file.read_bytes() for file in model.iterdir()}
    monkeypatch.setattr(quantizing, "_in_8_bits", lambda graph, *_: graph)
    monkeypatch.setattr(quantizing, "compare", lambda *_: iter([found]))
    with pytest.raises(ModelError, match=text):
        quantize(model, [TILES], FEW)
    assert {file.name: file.read_bytes() for file in model.iterdir()} == before


def test_a_set_without_validation_tiles_cannot_decide(tmp_path):
    shutil.copytree(TILES, tmp_path / "tiles")
    index = tmp_path / "tiles" / "index.csv"
    index.write_text(index.read_text().replace(VALIDATION, "train"))
    with pytest.raises(LabelError, match="no tile of the split 'validation'"):
        quantize(plain(tmp_path / "model"), [tmp_path / "tiles"], FEW)


def test_without_nncf_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(ConfigError, match=r"geoseg\[int8\]"):
        quantize(plain(tmp_path / "model"), [TILES], FEW)


def test_what_does_not_run_on_openvino_is_told(tmp_path, monkeypatch):
    folder = plain(tmp_path / "model")
    known = quantizing.ARCHITECTURES["unet"]
    monkeypatch.setitem(quantizing.ARCHITECTURES, "unet", replace(known, graph=False))
    with pytest.raises(ModelError, match="does not run on OpenVINO"):
        quantize(folder, [TILES], FEW)


def test_every_source_is_looked_at_alike_and_training_tiles_only(monkeypatch):
    card = read_card("default")
    random = np.random.default_rng(0)

    class Tile:
        def __init__(self, source: str) -> None:
            self.source, self.image = source, random.integers(0, 255, (3, 100, 210), dtype=np.uint8)

    monkeypatch.setattr(quantizing, "model_image", lambda tile, card: tile.image)
    found = list(quantizing._images(card, [Tile("a"), Tile("a"), Tile("b")], QuantizeConfig(images=7, side_px=128)))
    assert [part.shape for part in found] == [(1, 3, 96, 128)] * 8
    assert all(part.dtype == np.float32 and 0 <= part.min() < part.max() <= 1 for part in found)


def test_the_command_says_the_share(model, monkeypatch):
    monkeypatch.setattr(quantizing, "compare", lambda *_: iter([Comparison(BACKEND, 0.9987654, {"a": 0.002})]))
    monkeypatch.setattr(quantizing, "_in_8_bits", lambda graph, *_: graph)
    found = CliRunner().invoke(main, ["models", "quantize", str(model), str(TILES), "--set", "images=2"])
    assert found.exit_code == 0, found.output
    assert "same class as torch on 99.8765% of the validation pixels" in found.output
    assert json.loads((model / CARD).read_text())["parity"][BACKEND] == 0.9987654


@UNITS
@pytest.mark.parametrize("name", ["default", "any_three_bands"])
def test_the_shipped_models_come_with_them(name):
    card = read_card(name)
    assert card.parity[BACKEND] >= MIN_PARITY[BACKEND]
    ours, theirs = (load(name, backend).classify(image())[0] for backend in (BACKEND, "torch-cpu"))
    assert (ours == theirs).mean() > 0.98
