"""Models from elsewhere: a checkpoint gives the same scores here; what is unknown or unsafe is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from geoseg.errors import ModelError
from geoseg.models.imports import Known, import_model
from geoseg.models.storage import load
from geoseg.models.zoo import build

KNOWN = Known("away", (0.0,) * 3, (1.0,) * 3, (0.002, 0.003, 0.005), "MIT")


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (1, 3, 64, 64)).astype(np.uint8)


def task(**changes):
    trainers = pytest.importorskip("torchgeo.trainers")
    torch.manual_seed(0)
    return trainers.SemanticSegmentationTask(
        **({"model": "unet", "backbone": "resnet18", "in_channels": 3, "num_classes": 3, "loss": "ce"} | changes)
    )


def checkpoint(one, path):
    """What Lightning writes, by Lightning."""
    lightning = pytest.importorskip("lightning.pytorch")
    trainer = lightning.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", barebones=False)
    trainer.strategy.connect(one)
    trainer.save_checkpoint(path, weights_only=True)
    return path


@pytest.mark.filterwarnings("ignore")  # torchgeo and Lightning warn about themselves
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"class_weights": [1.0, 2.0, 4.0]},
        {"model": "deeplabv3+", "backbone": "mobilenet_v2"},
        {"model": "fcn", "num_filters": 5},
        {"model": "dpt", "backbone": "tu-vit_tiny_patch16_224"},
    ],
)
def test_a_torchgeo_checkpoint_gives_the_same_scores(tmp_path, image, changes):
    if changes.get("model") == "dpt":  # torchgeo's takes this size only
        image = np.random.default_rng(0).integers(0, 256, (1, 3, 224, 224)).astype(np.uint8)
    if "class_weights" in changes:
        changes = changes | {"class_weights": torch.tensor(changes["class_weights"])}
    one = task(**changes)
    path = checkpoint(one, tmp_path / "last.ckpt")
    card = import_model(path, tmp_path / "model", KNOWN)
    with torch.inference_mode():
        wanted = one.eval()(torch.from_numpy(image / np.float32(255))).softmax(dim=1).numpy()
    np.testing.assert_allclose(load(tmp_path / "model", "torch-cpu")(image), wanted, atol=1e-4)
    assert (card.licence, card.classes, card.gsd.train_m) == ("MIT", ("soil", "crop", "weed"), 0.003)


@pytest.mark.filterwarnings("ignore")
def test_a_transformer_gets_windows_of_the_size_that_it_was_made_for(tmp_path):
    path = checkpoint(task(model="dpt", backbone="tu-vit_tiny_patch16_224"), tmp_path / "last.ckpt")
    tiling = import_model(path, tmp_path / "model", KNOWN).tiling
    assert (tiling.write_px + 2 * tiling.margin_px, tiling.exact) == (224, False)
    assert tiling.margin_px % tiling.stride_px == tiling.write_px % tiling.stride_px == 0 < tiling.margin_px
    wide = np.zeros((1, 3, 256, 288), np.uint8)
    assert load(tmp_path / "model", "torch-cpu")(wide).shape == (1, 3, 256, 288)  # at the edge of a small ortho


@pytest.mark.parametrize(
    ("labels", "fine"),
    [
        (["soil", "Crop", "weed"], True),
        (["background", "crop", "weed"], True),
        (None, True),
        (["weed", "crop", "soil"], False),
        (["crop", "weed", "soil"], False),
    ],
)
def test_classes_that_a_checkpoint_names_are_not_swapped(tmp_path, labels, fine):
    content = {"state_dict": build("tiny", {}, 3, 3).state_dict(), "hyper_parameters": {"labels": labels}}
    torch.save(content, tmp_path / "last.ckpt")
    known = replace(KNOWN, architecture="tiny")
    if fine:
        import_model(tmp_path / "last.ckpt", tmp_path / "model", known)
        return
    with pytest.raises(ModelError, match="says that its classes are .*; geoseg needs soil, crop, weed in this order"):
        import_model(tmp_path / "last.ckpt", tmp_path / "model", known)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_classes": 4}, "multiclass task of 4 classes; expected a multiclass task of 3"),
        ({"task": "multilabel", "num_classes": None, "num_labels": 3, "loss": "bce"}, "multilabel task of 3"),
        ({"in_channels": 5}, "takes 5 bands; name as many"),
    ],
)
def test_a_torchgeo_task_that_does_not_fit_is_refused(tmp_path, changes, message):
    path = checkpoint(task(**changes), tmp_path / "last.ckpt")
    with pytest.raises(ModelError, match=message):
        import_model(path, tmp_path / "model", KNOWN)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("kind", ["plain", "prefixed", "nested", "safetensors"])
def test_plain_weights_with_the_architecture_named(tmp_path, image, kind):
    torch.manual_seed(1)
    network = build("tiny", {}, 3, 3).eval()
    state = network.state_dict()
    path = tmp_path / ("weights.safetensors" if kind == "safetensors" else "weights.pt")
    if kind == "safetensors":
        save_file(state, path)
    else:
        if kind != "plain":
            state = {f"module.{name}": value for name, value in state.items()}
        torch.save({"state_dict": state, "epoch": 3} if kind == "nested" else state, path)
    card = import_model(path, tmp_path / "model", replace(KNOWN, architecture="tiny"))
    with torch.inference_mode():
        wanted = network(torch.from_numpy(image / np.float32(255))).softmax(dim=1).numpy()
    np.testing.assert_allclose(load(tmp_path / "model", "torch-cpu")(image), wanted, atol=1e-6)
    assert card.tiling.exact
    assert card.tiling.margin_px >= card.tiling.reach_px == 3


class Evil:
    def __reduce__(self):
        return print, ("this ran",)


def test_a_file_that_would_run_code_is_refused(tmp_path, capsys):
    torch.save({"state_dict": build("tiny", {}, 3, 3).state_dict(), "hook": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ModelError, match="could run code: .*print; save its state_dict"):
        import_model(tmp_path / "evil.pt", tmp_path / "model", replace(KNOWN, architecture="tiny"))
    assert "this ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "does not say its architecture; give --architecture"),
        ({"architecture": "nobody"}, "is not known"),
        ({"architecture": "unet"}, "are not those of unet: of .* are missing"),
        ({"architecture": "tiny", "bands": ("nir",), "mean": (0.0,), "std": (1.0,)}, "has shape .* needs"),
        ({"architecture": "tiny", "mean": (0.0,)}, "make no card: .*differ in length"),
        ({"architecture": "tiny", "gsd_m": (0.005, 0.003, 0.002)}, "min_m <= train_m <= max_m"),
        ({"architecture": "tiny", "classes": ("weed", "crop", "soil")}, "needs soil, crop, weed in this order"),
    ],
)
def test_what_is_missing_or_wrong_is_said(tmp_path, change, message):
    torch.save(build("tiny", {}, 3, 3).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ModelError, match=message):
        import_model(tmp_path / "weights.pt", tmp_path / "model", replace(KNOWN, **change))
    assert not (tmp_path / "model").exists()


def test_files_that_hold_no_weights_are_refused(tmp_path):
    (tmp_path / "text.pt").write_text("no weights")
    torch.save({"epoch": 3}, tmp_path / "empty.pt")
    torch.save([torch.ones(2)], tmp_path / "list.pt")
    whole = (tmp_path / "list.pt").read_bytes()
    known = replace(KNOWN, architecture="tiny")
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.pt").write_bytes(whole[:length])
        with pytest.raises(ModelError, match=r"cut.pt is no whole file of weights.* copy it again"):
            import_model(tmp_path / "cut.pt", tmp_path / "model", known)
    for name in ("text.pt", "empty.pt", "list.pt", "missing.pt", "missing.safetensors"):
        with pytest.raises(ModelError, match=name):
            import_model(tmp_path / name, tmp_path / "model", known)
    torch.save(build("tiny", {}, 3, 3).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ModelError, match="is there already"):
        import_model(tmp_path / "weights.pt", tmp_path, known)
