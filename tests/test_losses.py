"""Losses against closed forms and brute force; pixels of 255 never count in any of them."""

from __future__ import annotations

import itertools
import math
import sys

import numpy as np
import pytest
import torch

from geoseg.errors import ConfigError
from geoseg.train.losses import (
    LOSSES,
    balanced_weights,
    cross_entropy,
    focal_loss,
    lovasz_loss,
    ohem_loss,
    pixel_loss,
    tversky_loss,
)

WEIGHTS = torch.tensor([0.5, 2.0, 7.0])


def scores_of(probabilities):
    """(1, K, 1, n) scores of n pixels with these probabilities."""
    return torch.tensor(probabilities).log().T[None, :, None]


def labels_of(*codes):
    return torch.tensor(codes)[None, None]


def loss_of(name):
    if name == "lovasz":
        pytest.importorskip("segmentation_models_pytorch", reason="the zoo extra is not installed")
    return pixel_loss(name, WEIGHTS)


@pytest.mark.parametrize("name", LOSSES)
def test_pixels_that_are_left_out_do_not_count(name):
    loss = loss_of(name)
    torch.manual_seed(0)
    scores, labels = torch.randn(2, 3, 8, 8), torch.randint(0, 3, (2, 8, 8))
    labels[:, :3] = 255
    other = scores.clone()
    other[:, :, :3] += 5 * torch.randn(2, 3, 3, 8)
    torch.testing.assert_close(loss(scores, labels), loss(other, labels))
    other.requires_grad_()
    loss(other, labels).backward()
    assert float(other.grad[:, :, :3].abs().max()) == 0
    assert float(other.grad[:, :, 3:].abs().max()) > 0


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_without_labels_has_a_loss_and_a_gradient(name):
    scores = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = loss_of(name)(scores, torch.full((1, 4, 4), 255))
    loss.backward()
    assert math.isfinite(float(loss.detach()))
    assert float(scores.grad.abs().max()) == 0


@pytest.mark.parametrize("name", LOSSES)
def test_what_is_right_costs_less_than_what_is_wrong(name):
    labels = torch.randint(0, 3, (1, 8, 8), generator=torch.Generator().manual_seed(0))
    right = 9.0 * torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2)
    assert float(loss_of(name)(right, labels)) < 0.05 < float(loss_of(name)(-right, labels))


def test_weighted_cross_entropy_is_sklearn_s_closed_form():
    p = [[0.7, 0.2, 0.1], [0.3, 0.5, 0.2], [0.1, 0.1, 0.8]]
    found = cross_entropy(scores_of(p), labels_of(0, 1, 2), WEIGHTS)
    wanted = -(0.5 * math.log(0.7) + 2 * math.log(0.5) + 7 * math.log(0.8)) / (0.5 + 2 + 7)
    assert float(found) == pytest.approx(wanted, rel=1e-5)


def test_balanced_weights_give_every_class_the_same_say():
    pixels = torch.tensor([900.0, 90.0, 10.0])
    weights = balanced_weights(pixels)
    np.testing.assert_allclose((weights * pixels).numpy(), 1000 / 3, rtol=1e-6)
    assert balanced_weights(torch.tensor([900.0, 100.0, 0.0]))[2] == 1


def test_focal_loss_in_closed_form():
    found = focal_loss(scores_of([[0.7, 0.2, 0.1], [0.3, 0.5, 0.2]]), labels_of(0, 1))
    assert float(found) == pytest.approx(-(0.3**2 * math.log(0.7) + 0.5**2 * math.log(0.5)) / 2, rel=1e-5)
    torch.manual_seed(0)
    scores, labels = torch.randn(1, 3, 4, 4), torch.randint(0, 3, (1, 4, 4))
    torch.testing.assert_close(focal_loss(scores, labels, gamma=0), cross_entropy(scores, labels))


def test_only_the_hardest_pixels_count():
    p = [[0.9, 0.05, 0.05], [0.8, 0.1, 0.1], [0.2, 0.4, 0.4], [0.6, 0.2, 0.2], [0.1, 0.8, 0.1]]
    found = ohem_loss(scores_of(p), labels_of(0, 0, 0, 0, 255), share=0.5)
    assert float(found) == pytest.approx(-(math.log(0.2) + math.log(0.6)) / 2, rel=1e-5)


def test_tversky_by_hand():
    p = [[0.1, 0.8, 0.1], [0.5, 0.3, 0.2], [0.2, 0.6, 0.2]]
    hit, invented, missed = 0.8 + 0.3, 0.6, 0.2 + 0.7
    wanted = 1 - (hit + 0.5) / (hit + 0.3 * invented + 0.7 * missed + 0.5)
    found = tversky_loss(scores_of(p), labels_of(1, 1, 0), classes=(1,))
    assert float(found) == pytest.approx(wanted, rel=1e-5)


def test_lovasz_is_the_extension_of_the_jaccard_loss():
    """On hard predictions it is 1 - IoU, mean over the classes that are there."""
    loss_of("lovasz")
    for truth in itertools.product((0, 1), repeat=4):
        for guess in itertools.product((0, 1), repeat=4):
            hard = torch.nn.functional.one_hot(torch.tensor(guess), 3).T[None, :, None].float() * 200
            ious = []
            for code in set(truth):
                both = sum(t == code and g == code for t, g in zip(truth, guess, strict=True))
                either = sum(t == code or g == code for t, g in zip(truth, guess, strict=True))
                ious.append(both / either)
            found = float(lovasz_loss(hard, labels_of(*truth)))
            assert found == pytest.approx(1 - np.mean(ious), abs=1e-5)


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch.losses", None)
    with pytest.raises(ConfigError, match=r"lovasz needs pip install 'geoseg\[zoo\]'"):
        lovasz_loss(torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64))
