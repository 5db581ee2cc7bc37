"""To other programs: an ONNX file that Deepness understands and that agrees with torch, and a valid STAC item."""

from __future__ import annotations

import json
import math
import struct

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from geoseg.cli import main
from geoseg.errors import ModelError
from geoseg.models.card import CARD, ModelCard, shipped_models
from geoseg.models.stac import MLM, parameter_count, stac_item, write_stac
from geoseg.models.storage import WEIGHTS, load, load_module
from rasters import FINE, noise, write
from test_operating_point import BIAS, model

SIZE = 64


@pytest.fixture(scope="module")
def onnx_module():
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from geoseg.models import onnx

    return onnx


@pytest.fixture(scope="module")
def exported(onnx_module, tmp_path_factory):
    """A model with an operating point, its ONNX file and windows."""
    folder = model(tmp_path_factory.mktemp("model"), logit_bias=BIAS)
    card, module = load_module(folder)
    images = [noise((SIZE, SIZE), seed=seed) for seed in range(2)]
    parity = onnx_module.export_onnx(card, module, images, folder / "model.onnx", SIZE)
    return folder, card, images, parity


class Deepness:
    """What the plugin's ModelBase and Segmentor do with a file, by its description."""

    def __init__(self, path):
        import onnxruntime

        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (self.input,), (self.output,) = self.session.get_inputs(), self.session.get_outputs()
        self.meta = {key: json.loads(text) for key, text in self.session.get_modelmeta().custom_metadata_map.items()}

    def classes(self, tile):
        """(H, W) classes of an (H, W, C) uint8 tile."""
        pixels = np.float32(tile[None] * 1.0 / 255.0)
        pixels = (pixels - self.meta["standardization_mean"]) / self.meta["standardization_std"]
        pixels = np.transpose(pixels, (0, 3, 1, 2)).astype(np.float32)
        (found,) = self.session.run(None, {self.input.name: pixels})
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
        return found[0].argmax(axis=0)


def test_deepness_sees_what_geoseg_sees(exported):
    folder, card, images, parity = exported
    plugin = Deepness(folder / "model.onnx")
    assert plugin.input.shape == [1, 3, SIZE, SIZE]
    assert plugin.output.shape == [1, 3, SIZE, SIZE]
    same = [
        (plugin.classes(np.moveaxis(one, 0, -1)) == load(folder, "torch-cpu")(one[None])[0].argmax(axis=0))
        for one in images
    ]
    assert np.mean(same) == pytest.approx(parity) == pytest.approx(1, abs=1e-3)
    plain = load_module(folder)[1](torch.from_numpy((images[0][None] / np.float32(255) - 0.4) / 0.2)).argmax(dim=1)
    assert (plain[0].numpy() != plugin.classes(np.moveaxis(images[0], 0, -1))).any()  # the operating point is in it
    assert plugin.meta["model_type"].capitalize() == "Segmentor"
    assert [name for _, name in sorted(plugin.meta["class_names"].items(), key=lambda pair: int(pair[0]))] == list(
        card.classes
    )
    assert plugin.meta["resolution"] == pytest.approx(0.4)
    assert plugin.meta["tile_size"] == plugin.meta["tiles_size"] == SIZE
    assert plugin.meta["tiles_overlap"] * SIZE / 100 >= 2 * card.tiling.margin_px
    assert ModelCard.model_validate(plugin.meta["geoseg_card"]) == card


def test_a_file_that_disagrees_is_not_written(onnx_module, tmp_path, monkeypatch):
    card, module = load_module(model(tmp_path / "model"))
    monkeypatch.setattr(onnx_module, "standardised", lambda card, image: np.zeros((1, *image.shape), np.float32))
    (tmp_path / "model.onnx").write_text("the last one")
    with pytest.raises(ModelError, match="expected 99.9% or more, so it was not written"):
        onnx_module.export_onnx(card, module, [noise((SIZE, SIZE))], tmp_path / "model.onnx", SIZE)
    assert (tmp_path / "model.onnx").read_text() == "the last one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "model.onnx"]


@pytest.mark.parametrize("size", [63, 16])
def test_tiles_that_do_not_fit_the_network_are_refused(onnx_module, tmp_path, size):
    card, module = load_module(model(tmp_path / "model"))
    with pytest.raises(ModelError, match="expected a multiple of 2, 18 or more"):
        onnx_module.export_onnx(card, module, [], tmp_path / "model.onnx", size)


def test_what_onnx_cannot_express_is_said(onnx_module, tmp_path):
    class Odd(torch.nn.Module):
        def forward(self, x):
            return x if float(x.sum()) > 0 else x[:, :2]

    card, _ = load_module(model(tmp_path / "model"))
    with pytest.raises(ModelError, match="cannot be expressed in ONNX"):
        onnx_module.export_onnx(card, Odd(), [noise((SIZE, SIZE))], tmp_path / "model.onnx", SIZE)
    assert not list(tmp_path.glob("*.onnx"))


def test_windows_are_whole_and_from_all_over(onnx_module, tmp_path):
    card, _ = load_module(model(tmp_path / "model", gsd={"train_m": 0.005, "min_m": 0.004, "max_m": 0.006}))
    image, alpha = noise((200, 300)), np.full((200, 300), 255, np.uint8)
    alpha[:, :64] = 0
    path = write(tmp_path / "ortho.tif", image, alpha=alpha)
    found = onnx_module.real_windows(path, card, SIZE)
    assert len(found) == 4
    pieces = {
        image[:, row : row + SIZE, col : col + SIZE].tobytes()
        for row in range(0, 192, 64)
        for col in range(64, 256, 64)
    }
    assert all(window.tobytes() in pieces for window in found)
    with pytest.raises(ModelError, match="no window of 256 px without a hole"):
        onnx_module.real_windows(path, card, 256)


@pytest.mark.slow
def test_the_default_model_agrees_on_a_real_field(onnx_module, tmp_path, fields):
    out = tmp_path / "default.onnx"
    ortho = fields / "potato" / "ortho.tif"
    text = call("models", "export", "default", "--out", out, "--image", ortho, "--size", 512)
    assert out.stat().st_size < 20e6
    assert float(text.split("same class as torch on ")[1].split("%")[0]) >= 99.9


def call(*words, code=0):
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result.output


def test_the_commands(onnx_module, tmp_path):
    folder = model(tmp_path / "model", gsd={"train_m": 0.005, "min_m": 0.004, "max_m": 0.006})
    ortho = write(tmp_path / "ortho.tif", noise((200, 200)), transform=FINE)
    out = call("models", "export", folder, "--out", tmp_path / "m.onnx", "--image", ortho, "--size", SIZE)
    assert "same class as torch on" in out
    assert "needs --out" in call("models", "export", folder, code=2)
    named = ("models", "export", folder, "--image", ortho, "--size", SIZE, "--out")
    assert "does not end in .onnx" in call(*named, tmp_path / "m.bin", code=2)
    assert not (tmp_path / "m.bin").exists()
    nowhere = write(tmp_path / "nowhere.tif", noise((200, 200)), transform=None, crs=None)
    named = ("models", "export", folder, "--image", nowhere, "--size", SIZE, "--out", tmp_path / "n.onnx")
    assert "pass --gsd" in call(*named, code=2)
    call(*named, "--gsd", 0.005, "--set", "ortho.bands=[3,2,1]")
    assert "expected something of the image" in call(*named, "--set", "spray.rate_l_ha=3", code=2)
    assert "default comes with geoseg" in call("models", "export", "default", "--to", "stac", code=2)
    assert "default comes with geoseg" in call("models", "quantize", "default", tmp_path, code=2)
    assert call("models", "export", folder, "--to", "stac").strip() == str(folder / "stac.json")
    assert json.loads(call("models", "show", folder, "--stac")) == json.loads((folder / "stac.json").read_text())
    facts = (
        "--mean",
        "0.4,0.4,0.4",
        "--std",
        "0.2,0.2,0.2",
        "--gsd",
        "0.002,0.003,0.005",
        "--licence",
        "MIT",
        "--name",
        "away",
    )
    torch.save(load_module(folder)[1].state_dict(), tmp_path / "weights.pt")
    call("models", "import", tmp_path / "weights.pt", "--out", tmp_path / "away", "--architecture", "tiny", *facts)
    assert ModelCard.read(tmp_path / "away" / CARD).licence == "MIT"
    bad = ("models", "import", tmp_path / "weights.pt", "--out", tmp_path / "b", "--architecture", "smp_unet", *facts)
    assert "does not take" in call(*bad, "--param", "encoder=nobody", code=2)
    assert "expected numbers" in call(*bad, "--mean", "a,b", code=2)


@pytest.mark.parametrize("name", [card.name for card in shipped_models()])
def test_the_item_is_valid_stac(name):
    """Against the schema of STAC 1.1 that pystac brings, and the MLM package of the extension's authors."""
    jsonschema, pystac = pytest.importorskip("jsonschema"), pytest.importorskip("pystac")
    stac_model = pytest.importorskip("stac_model.schema")
    item = json.loads(json.dumps(stac_item(name)))
    from pystac.validation.local_validator import get_local_schema_cache
    from referencing import Registry, Resource

    schemas = get_local_schema_cache()
    registry = Registry().with_resources([(uri, Resource.from_contents(one)) for uri, one in schemas.items()])
    core = schemas["https://schemas.stacspec.org/v1.1.0/item-spec/json-schema/item.json"]
    validator = jsonschema.Draft7Validator(core, registry=registry)
    validator.validate(item)
    broken = item | {"properties": {key: value for key, value in item["properties"].items() if key != "datetime"}}
    assert not validator.is_valid(broken)
    assert stac_model.SCHEMA_URI == MLM in item["stac_extensions"]
    known = {key: value for key, value in item["properties"].items() if key.startswith("mlm:")}
    checked = stac_model.MLModelProperties(**known)
    assert checked.total_parameters == known["mlm:total_parameters"]
    assert set(known) <= {field.alias for field in stac_model.MLModelProperties.model_fields.values()}
    assert pystac.Item.from_dict(item).assets["weights"].roles[0] == "mlm:model"


def test_the_item_keeps_the_rules_of_the_extension():
    """Rules of the published schema of MLM 1.6.0 that go beyond single fields."""
    item = stac_item("default")
    properties, assets = item["properties"], item["assets"]
    for one in properties["mlm:input"]:
        assert len(one["input"]["shape"]) == len(one["input"]["dim_order"]) == len(set(one["input"]["dim_order"]))
        assert ("bands" in one["input"]["dim_order"]) == bool(one["bands"])
        assert len(one["value_scaling"]) == len(one["bands"])
        assert {band["name"] for band in properties["bands"]} >= set(one["bands"])
    for one in properties["mlm:output"]:
        assert "bands" not in one["result"]["dim_order"]
        assert all(len(entry["color_hint"]) == 6 for entry in one["classification:classes"])
    for asset in assets.values():
        assert ("mlm:model" in asset["roles"]) == ("mlm:artifact_type" in asset)
    assert properties["mlm:pretrained"] == (properties["mlm:pretrained_source"] is not None)
    assert {"mlm:name", "mlm:architecture", "mlm:tasks", "mlm:input", "mlm:output"} <= set(properties)


def test_parameters_are_counted_from_the_header(tmp_path):
    folder = model(tmp_path)
    wanted = sum(math.prod(value.shape) for value in load_module(folder)[1].state_dict().values())
    assert parameter_count(folder / WEIGHTS) == wanted
    assert stac_item(folder)["properties"]["mlm:total_parameters"] == wanted


@pytest.mark.parametrize("content", [b"", b"123", struct.pack("<Q", 5) + b"12345", struct.pack("<Q", 2**60) + b"{}"])
def test_weights_that_are_none(tmp_path, content):
    folder = model(tmp_path)
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(ModelError, match="is no safetensors file"):
        stac_item(folder)


def test_an_item_is_written_whole_or_not(tmp_path):
    folder = model(tmp_path / "model")
    assert write_stac(folder).name == "stac.json"
    with pytest.raises(ModelError, match="cannot be written"):
        write_stac(folder, tmp_path / "nowhere" / "item.json")
