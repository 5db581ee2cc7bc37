"""Training: losses by hand, augmentation that keeps labels, learning on a few tiles, the same weights for a seed."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from geoseg.config import load_as
from geoseg.errors import ConfigError, LabelError
from geoseg.models import ModelCard, load
from geoseg.models.card import GsdRange
from geoseg.train.augment import AugmentConfig, Placing, change_looks, sample_crop
from geoseg.train.crops import CropConfig, Crops, offset_targets
from geoseg.train.fit import SetShare, TrainConfig, fit
from geoseg.train.losses import cross_entropy_dice, dice_loss
from geoseg.train.sets import TileSet
from geoseg.train.tileinstances import centres
from geoseg.train.tiles import Tile

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def config(monkeypatch):
    monkeypatch.chdir(ROOT)
    return load_as(TrainConfig, Path("configs/train_tiny.yaml"))


def test_dice_by_hand():
    scores = torch.tensor([[0.0, 0, 0], [9, -9, 9]]).log_softmax(0)[None, :, None]  # class 0 or 1 at three pixels
    scores = torch.cat([scores, torch.full((1, 1, 1, 3), -99.0)], dim=1)
    labels = torch.tensor([[[1, 0, 255]]])
    p = scores.softmax(1)[0, 1, 0]
    wanted = 1 - (2 * p[0] + 1) / (p[0] + p[1] + 1 + 1)
    torch.testing.assert_close(dice_loss(scores, labels, classes=(1,)), wanted)


def test_cross_entropy_leaves_255_out():
    scores = torch.randn(1, 3, 4, 4)
    labels = torch.randint(0, 3, (1, 4, 4))
    masked = labels.clone()
    masked[0, 0] = 255
    other = scores.clone()
    other[:, :, 0] += 5 * torch.randn(1, 3, 4)
    torch.testing.assert_close(cross_entropy_dice(scores, masked), cross_entropy_dice(other, masked))
    plain = -scores.log_softmax(1).gather(1, labels[:, None]).mean()
    torch.testing.assert_close(cross_entropy_dice(scores, labels, dice=0), plain)


def test_a_batch_without_labels_has_a_loss_without_nan():
    loss = cross_entropy_dice(torch.randn(1, 3, 4, 4), torch.full((1, 4, 4), 255))
    assert math.isfinite(float(loss))


@pytest.mark.parametrize("angle", [0, 90, 180, 270])
def test_a_crop_turned_by_quarters_is_the_array_turned(angle):
    image = torch.rand(3, 9, 9)
    labels = torch.randint(0, 3, (9, 9), dtype=torch.uint8)
    crop, (classes,) = sample_crop(image, labels[None], [255], Placing((4, 4), 1.0, angle, 9))
    turns = {0: 0, 90: 1, 180: 2, 270: 3}[angle]
    turned = min((-turns, turns), key=lambda k: float((torch.rot90(image, k, (1, 2)) - crop).abs().max()))
    torch.testing.assert_close(crop, torch.rot90(image, turned, (1, 2)), atol=1e-5, rtol=0)
    assert (classes == torch.rot90(labels, turned, (0, 1))).all()


def test_image_and_labels_of_a_crop_stay_together():
    labels = torch.zeros(64, 64, dtype=torch.uint8)
    labels[20:40, 25:50] = 1
    image = labels.float().expand(3, 64, 64)
    crop, (classes,) = sample_crop(image, labels[None], [255], Placing((30.5, 33.2), 1.4, 37, 48))
    seen = classes != 255
    assert ((crop[0] > 0.5).long() == classes)[seen].float().mean() > 0.985  # pixels on the edge may fall either way
    assert (~seen).any()


def test_a_scale_of_two_halves_lengths():
    labels = torch.zeros(64, 64, dtype=torch.uint8)
    labels[16:48, 16:48] = 1
    _, (classes,) = sample_crop(labels.float()[None], labels[None], [255], Placing((31.5, 31.5), 2.0, 0, 32))
    assert int((classes == 1).sum()) == 16 * 16


def _disc(side, centre, radius):
    rows, cols = np.mgrid[:side, :side]
    return (rows - centre[0]) ** 2 + (cols - centre[1]) ** 2 <= radius**2


def _plants_tile(name="field_0"):
    ids = np.zeros((96, 96), np.uint16)
    for number, (centre, radius) in enumerate((((30, 40), 11), ((60, 58), 9), ((3, 80), 8)), start=1):
        ids[_disc(96, centre, radius)] = number
    image = np.repeat((ids[None] > 0) * np.uint8(200), 3, axis=0)
    labels = np.array([0, 1, 2, 1], np.uint8)[ids]
    return Tile(name, "train", "field", 0, 0, 0.003, image, labels, {}, ids)


def test_plants_are_pointed_at_their_centres_however_the_crop_is_turned_scaled_and_mirrored():
    still = AugmentConfig(brightness=0, channel=0, contrast=0, gamma=1, noise=0, blur=0, shadow=0)
    gsd = GsdRange(train_m=0.003, min_m=0.002, max_m=0.005)
    config = CropConfig(count=6, batch=4, size_px=128, weedy=0.9, seed=3, augment=still)
    seen = 0
    for batch in Crops([TileSet([_plants_tile()])], [1.0], gsd, config):
        steps = torch.stack(torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij"))
        for labels, offsets, weights in zip(batch.labels, batch.offsets, batch.weights, strict=True):
            weed = labels == 2  # one plant: its centre of gravity in the crop, found without any geometry
            border = torch.cat([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
            if not weed.any() or (border == 2).any():
                continue
            centre = torch.nonzero(weed).float().mean(dim=0)
            on = (weights > 0) & (labels[0::2, 0::2] == 2)
            found = (steps + offsets)[:, on] * 2 + 0.5
            assert float((found - centre[:, None]).abs().max()) < 0.6
            seen += int(on.sum())
    assert seen > 500


def test_two_sets_may_call_their_tiles_the_same():
    """Each tile's plants are its own; other places would be other offsets, or none."""
    one, two = _plants_tile(), _plants_tile()
    ids = np.where(two.instances.T == 2, np.uint16(1), np.uint16(0))
    two = replace(
        two, image=two.image.transpose(0, 2, 1).copy(), labels=np.where(ids > 0, 2, 0).astype(np.uint8), instances=ids
    )
    gsd = GsdRange(train_m=0.003, min_m=0.002, max_m=0.005)
    config = CropConfig(count=8, batch=4, size_px=128, weedy=0.9, seed=1, augment=AugmentConfig())

    def offsets(*tiles):
        sets = [TileSet([tile]) for tile in tiles]
        return [batch.offsets for batch in Crops(sets, [1.0] * len(sets), gsd, config)]

    other = replace(two, name="another")
    for ours, theirs in zip(offsets(one, two), offsets(one, other), strict=True):
        assert torch.equal(ours, theirs)


def test_a_plant_that_is_cut_by_its_tile_points_nowhere():
    ids = torch.from_numpy(_plants_tile().instances.astype(np.int64))
    middle, area, whole = centres(ids.numpy())
    assert whole.tolist() == [False, True, True, False]
    assert area.tolist() == [0, *(int((ids == number).sum()) for number in (1, 2, 3))]
    np.testing.assert_allclose(middle[1], (30, 40), atol=1e-9)
    offsets, weights = offset_targets(ids, torch.from_numpy(middle).float(), torch.tensor([0.0, 11.0, 9.0, 0.0]))
    assert float(weights[2, 40]) == 0
    assert float(weights[15, 20]) > 0
    assert offsets[:, 15, 20].tolist() == [pytest.approx(-0.25), pytest.approx(-0.25)]


@pytest.mark.parametrize(("scale", "off"), [(1.0, 1e-5), (1.25, 0.16), (1.5, 0.14), (2.0, 1e-5), (3.0, 1e-5)])
def test_a_coarser_crop_is_the_mean_of_what_its_pixels_cover(scale, off):
    side, size = 120, int(120 / scale)
    image = torch.rand(3, side, side, generator=torch.Generator().manual_seed(0))
    middle = (side - 1) / 2, (side - 1) / 2
    crop, _ = sample_crop(image, torch.zeros(1, side, side), (0,), Placing(middle, scale, 0, size))
    edges, pixels = torch.linspace(0, side, size + 1), torch.arange(side)
    covered = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
    share = covered.clamp(min=0) / scale
    wanted = torch.einsum("ia,cab,jb->cij", share, image, share)
    assert float((crop - wanted)[:, 2:-2, 2:-2].abs().max()) <= off
    assert 0.85 < float(crop.std() / wanted.std()) < 1.01


def test_changed_looks_stay_in_range_and_depend_on_the_seed_alone():
    images = torch.rand(4, 3, 32, 32)
    one, two, three = (change_looks(images, AugmentConfig(), torch.Generator().manual_seed(n)) for n in (0, 0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, three)
    assert 0 <= float(one.min()) <= float(one.max()) <= 1


def test_no_change_changes_nothing():
    still = AugmentConfig(brightness=0, channel=0, contrast=0, gamma=1, noise=0, blur=0, shadow=0)
    images = torch.rand(2, 3, 16, 16) * 0.9 + 0.05
    torch.testing.assert_close(change_looks(images, still, torch.Generator()), images)


def test_a_share_of_the_images_keeps_its_looks():
    images = torch.rand(400, 3, 8, 8) * 0.5 + 0.2
    all_changed, some_changed = (
        change_looks(images, AugmentConfig(share=share), torch.Generator().manual_seed(0)) for share in (1.0, 0.25)
    )
    kept = (some_changed == images).flatten(1).all(dim=1)
    assert 0.65 < float(kept.float().mean()) < 0.85
    assert torch.equal(some_changed[~kept], all_changed[~kept])


def test_the_teaching_network_learns_to_tell_green_from_brown(config, tmp_path):
    card = fit(config, tmp_path / "tiny")
    soil = [found["classes"]["soil"]["iou"] for found in card.scores.values()]
    assert min(soil) > 0.9
    assert (tmp_path / "tiny" / "curves.png").stat().st_size > 5000
    with (tmp_path / "tiny" / "log.csv").open(newline="") as file:
        losses = [float(line["loss"]) for line in csv.DictReader(file)]
    assert len(losses) == config.steps
    assert np.mean(losses[-20:]) < 0.8 * np.mean(losses[:5])
    assert card.parity["openvino-f32"] > 0.999
    assert load(tmp_path / "tiny").card == card


def test_the_same_seed_gives_the_same_weights(config, tmp_path):
    short = replace(config, steps=5, device="cpu")
    hashes = {
        name: fit(replace(short, seed=seed), tmp_path / name).weights_sha256
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    }
    assert hashes["a"] == hashes["b"] != hashes["c"]


def test_the_default_network_trains_from_random_weights(config, tmp_path):
    tiling = {"write_px": 128, "margin_px": 32, "stride_px": 16}
    unet = replace(config, card=config.card | {"architecture": "unet", "tiling": tiling}, steps=2, crop_px=64)
    card = fit(unet, tmp_path)
    assert isinstance(card, ModelCard)
    assert card.architecture == "unet"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": "resnet"}, "expected imagenet or random"),
        ({"steps": 0}, "must be positive"),
        ({"sets": ()}, "at least one tile set"),
        ({"card": {"name": "x"}}, "train.card"),
        ({"encoder": "imagenet"}, "has no ImageNet encoder"),
    ],
)
def test_what_cannot_be_trained_is_named(config, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        fit(replace(config, **changes), tmp_path)


def test_a_folder_that_is_no_tile_set_is_named(config, tmp_path):
    with pytest.raises(LabelError, match="is no tile set"):
        fit(replace(config, sets=(SetShare(str(tmp_path)),)), tmp_path / "out")
