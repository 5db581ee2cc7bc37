"""Every score against another library, a brute force or a sum by hand; strips and blocks change nothing."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label
from scipy.spatial.distance import cdist
from sklearn.metrics import f1_score, jaccard_score, mean_absolute_error, precision_score, r2_score, recall_score
from torchmetrics.classification import BinaryCalibrationError

import geoseg.train.evaluate_ground as ground_module
import geoseg.train.evaluate_tables as tables_module
from geoseg.errors import ConfigError
from geoseg.legend import CROP, LEGEND, NODATA, WEED
from geoseg.spray.rules import Seen, SprayConfig, decide
from geoseg.train.evaluate_cells import SPRAY, savings_curve
from geoseg.train.evaluate_report import evaluate_pairs
from geoseg.train.evaluate_scores import reliability, score_tables
from geoseg.train.evaluate_settings import EvaluateConfig, Patch
from geoseg.train.evaluate_tables import count_pair, join_tables, sized
from geoseg.train.panoptic_quality import panoptic_quality
from geoseg.windows import Rect

CONFIG = EvaluateConfig(block_m=0.4, tolerance_m=0.03, min_object_m2=0, resamples=0, spray=SprayConfig(
    section_m=0.25, length_m=0.25, buffer_m=0, threshold_cover=0.01, threshold_over_m2=None, unseen="skip",
))  # fmt: skip


@dataclass(frozen=True)
class Arrays:
    """Labels and prediction in memory."""

    patch: Patch
    gsd_m: float = 0.01
    name: str = "arrays"
    source: str = "arrays"

    @property
    def shape(self):
        return self.patch.labels.shape

    @contextmanager
    def open(self):
        yield self

    def read(self, rect):
        names = ("labels", "classes", "confidence", "truth_ids", "found_ids")
        parts = (getattr(self.patch, name) for name in names)
        return Patch(*(None if part is None else part[rect.slices] for part in parts))

    def image(self, rect):
        return None


def field(seed=0, shape=(150, 130), unknown=0.02):
    """Discs of crop and weed, and a prediction that misses, shifts and invents some; confidence of its own."""
    random = np.random.default_rng(seed)
    rows, cols = np.indices(shape)
    labels, classes = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    for _ in range(45):
        row, col, radius = random.uniform(0, shape[0]), random.uniform(0, shape[1]), random.uniform(1, 6)
        code = random.choice([CROP, WEED])
        labels[np.hypot(rows - row, cols - col) < radius] = code
        if random.random() < 0.8:
            guess = code if random.random() < 0.9 else CROP + WEED - code
            row, col, radius = row + random.normal(), col + random.normal(), radius * random.uniform(0.8, 1.2)
            classes[np.hypot(rows - row, cols - col) < radius] = guess
    classes[random.random(shape) < 0.01] = WEED
    labels[random.random(shape) < unknown] = NODATA
    classes[:7, :20] = NODATA
    confidence = random.integers(34, 101, shape).astype(np.uint8)
    return Arrays(Patch(labels, classes, confidence))


def evaluated(pair, config=CONFIG, part=None):
    return score_tables(count_pair(pair, config, part), config)


def known(pair):
    both = (pair.patch.labels != NODATA) & (pair.patch.classes != NODATA)
    return both, pair.patch.labels[both], pair.patch.classes[both]


def test_pixel_scores_are_those_of_scikit_learn():
    pair = field()
    found = evaluated(pair).scores
    _, labels, classes = known(pair)
    for code, name in enumerate(LEGEND.names):
        for key, score in (
            ("iou", jaccard_score),
            ("precision", precision_score),
            ("recall", recall_score),
            ("f1", f1_score),
        ):
            assert found[f"classes.{name}.{key}"] == pytest.approx(score(labels == code, classes == code))
    assert found["miou"] == pytest.approx(jaccard_score(labels, classes, average="macro"))
    assert found["accuracy"] == pytest.approx((labels == classes).mean())


def brute_edges(mask, both):
    edge = []
    for row, col in np.argwhere(mask & both):
        for step in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            at = row + step[0], col + step[1]
            if 0 <= at[0] < mask.shape[0] and 0 <= at[1] < mask.shape[1] and both[at] and not mask[at]:
                edge.append((row, col))
                break
    return np.array(edge)


def test_boundary_f1_by_all_distances():
    pair = field(1)
    both, _, _ = known(pair)
    found = evaluated(pair).scores
    for code, name in enumerate(LEGEND.names):
        here, there = (brute_edges(raster == code, both) for raster in (pair.patch.classes, pair.patch.labels))
        distance = cdist(here, there)
        precision, recall = (distance.min(axis=1) <= 3).mean(), (distance.min(axis=0) <= 3).mean()
        assert found[f"classes.{name}.boundary_f1"] == pytest.approx(2 * precision * recall / (precision + recall))


@pytest.mark.parametrize("guess", [None, (70, 70)])
def test_edges_that_are_all_wrong_score_nothing(guess):
    """As IoU and F1 do: a draw of the bootstrap must not lose them."""
    labels, classes = np.zeros((100, 100), np.uint8), np.zeros((100, 100), np.uint8)
    labels[10:30, 10:30] = WEED
    if guess is not None:
        classes[guess[0] : guess[0] + 20, guess[1] : guess[1] + 20] = WEED
    found = evaluated(Arrays(Patch(labels, classes))).scores
    assert found["classes.weed.boundary_f1"] == found["classes.weed.f1"] == 0
    assert np.isnan(found["classes.crop.boundary_f1"])


def with_void(seed):
    """A field with places that nobody labelled, beside single pixels."""
    pair = field(seed)
    pair.patch.labels[40:62, 30:52] = pair.patch.labels[90:120, 70:75] = NODATA
    return pair


def brute_objects(raster, both, code):
    """Regions of a class, and the centre of each, from the whole array at once."""
    regions, count = label((raster == code) & both)
    masks = [regions == number for number in range(1, count + 1)]
    return masks, np.array([np.argwhere(mask).mean(axis=0) for mask in masks])


def brute_guesses(pair, code):
    """Predicted regions that are not void alone: the part that counts, its centre, and whether most of it counts."""
    regions, count = label(pair.patch.classes == code)
    void = pair.patch.labels == NODATA
    wholes = [regions == number for number in range(1, count + 1)]
    wholes = [whole for whole in wholes if (whole & ~void).any()]
    parts = [whole & ~void for whole in wholes]
    judged = np.array([2 * part.sum() >= whole.sum() for part, whole in zip(parts, wholes, strict=True)])
    return parts, np.array([np.argwhere(part).mean(axis=0) for part in parts]), judged


def test_objects_by_overlap_are_those_of_a_brute_force():
    pair = with_void(2)
    both, _, _ = known(pair)
    found = evaluated(pair).scores
    unjudged = 0
    for code in (CROP, WEED):
        truth, _ = brute_objects(pair.patch.labels, both, code)
        guess, _, judged = brute_guesses(pair, code)
        overlaps = np.array([[(a & b).sum() / (a | b).sum() for b in guess] for a in truth])
        good = overlaps[overlaps > 0.5]
        name = LEGEND[code].name
        held = judged | (overlaps > 0.5).any(axis=0)
        below = (len(truth) + held.sum()) / 2
        unjudged += (~held).sum()
        assert len(good) > 3
        assert found[f"objects.{name}.f1_iou50"] == pytest.approx(len(good) / below)
        assert found[f"objects.{name}.rq"] == pytest.approx(len(good) / below)
        assert found[f"objects.{name}.sq"] == pytest.approx(good.mean())
        assert found[f"objects.{name}.pq"] == pytest.approx(good.sum() / below)
        assert found[f"counts.{name}.labelled"] == len(truth)
    assert unjudged > 0


def test_objects_by_centre_are_those_of_a_brute_force():
    pair = with_void(3)
    both, _, _ = known(pair)
    found = evaluated(pair).scores
    for code in (CROP, WEED):
        truth, there = brute_objects(pair.patch.labels, both, code)
        _, here, judged = brute_guesses(pair, code)
        distance = cdist(there, here)
        reach = np.maximum(np.sqrt([mask.sum() / np.pi for mask in truth]), 3)
        distance[distance > reach[:, None]] = np.inf
        hits = 0
        while np.isfinite(distance).any():
            row, col = np.unravel_index(distance.argmin(), distance.shape)
            distance[row], distance[:, col], judged[col] = np.inf, np.inf, True
            hits += 1
        name = LEGEND[code].name
        assert found[f"counts.{name}.predicted"] == judged.sum()
        assert found[f"objects.{name}.precision"] == pytest.approx(hits / judged.sum())
        assert found[f"objects.{name}.recall"] == pytest.approx(hits / len(there))
        assert found[f"objects.{name}.f1"] == pytest.approx(2 * hits / (judged.sum() + len(there)))


def test_plants_of_which_only_a_rim_was_labelled_do_not_count():
    """A person draws `ignore` over weeds, a little too narrow."""
    labels, classes = np.zeros((100, 100), np.uint8), np.zeros((100, 100), np.uint8)
    for row in (10, 40, 70):
        for col in (10, 40, 70):
            classes[row : row + 16, col : col + 16] = labels[row : row + 16, col : col + 16] = WEED
            if row == 40:
                labels[row : row + 16, col : col + 16] = 0
                labels[row + 2 : row + 14, col + 2 : col + 14] = NODATA
    found = evaluated(Arrays(Patch(labels, classes))).scores
    assert (found["counts.weed.labelled"], found["counts.weed.predicted"]) == (6, 6)
    assert found["objects.weed.precision"] == found["objects.weed.pq"] == 1


def test_small_objects_are_left_out_on_both_sides():
    pair = field(4)
    both, _, _ = known(pair)
    large = evaluated(pair, replace(CONFIG, min_object_m2=20e-4)).scores
    truth, _ = brute_objects(pair.patch.labels, both, WEED)
    assert large["counts.weed.labelled"] == sum(mask.sum() >= 20 for mask in truth)


def test_given_ids_are_the_objects():
    labels = np.zeros((60, 60), np.uint8)
    labels[10:30, 10:50] = CROP
    ids = np.zeros((60, 60), np.int64)
    ids[10:30, 10:30], ids[10:30, 30:50] = 5_000_000_007, 3  # two plants that touch; ids may be anything
    pair = Arrays(Patch(labels, labels, None, ids, None))
    found = evaluated(pair).scores
    assert (found["counts.crop.labelled"], found["counts.crop.predicted"]) == (2, 1)
    assert found["objects.crop.f1_iou50"] == 0
    same = evaluated(Arrays(Patch(labels, labels, None, ids, ids))).scores
    assert same["objects.crop.pq"] == same["objects.crop.f1"] == 1


def test_counts_over_blocks_are_those_of_scikit_learn():
    pair = field(5)
    both, _, _ = known(pair)
    found = evaluated(pair).scores
    per_block = []
    _, there = brute_objects(pair.patch.labels, both, WEED)
    _, here, judged = brute_guesses(pair, WEED)
    assert judged.all()
    for centres in (there, here):
        blocks = ((centres + 0.5) // 40).astype(int)
        per_block.append(np.histogram2d(*blocks.T, bins=(range(5), range(5)))[0].ravel())
    truth, guess = per_block
    assert found["counts.weed.mae"] == pytest.approx(mean_absolute_error(truth, guess))
    assert found["counts.weed.rmse"] == pytest.approx(np.sqrt(((truth - guess) ** 2).mean()))
    assert found["counts.weed.r2"] == pytest.approx(r2_score(truth, guess))
    assert found["counts.weed.bias"] == pytest.approx((guess - truth).mean())


def test_calibration_error_is_that_of_torchmetrics():
    pair = field(6)
    both, labels, classes = known(pair)
    confidence = pair.patch.confidence[both]
    table = count_pair(pair, CONFIG)
    oracle = BinaryCalibrationError(n_bins=20, norm="l1")
    # Right or wrong, with what confidence; half a percent more keeps the values off the edges of the bins.
    shifted = np.minimum(confidence / 100 + 1e-4, 1 - 1e-4).astype(np.float32)
    wanted = float(oracle(torch.from_numpy(shifted), torch.from_numpy((labels == classes).astype(int))))
    assert score_tables(table, CONFIG).scores["calibration.ece"] == pytest.approx(wanted, abs=2e-4)
    assert reliability(table)[:, 0].sum() == both.sum()
    weeds = reliability(table, WEED)
    chosen = (confidence >= 95) & (classes == WEED)
    assert weeds[-1, 0] == chosen.sum()
    assert weeds[-1, 2] == pytest.approx((labels == WEED)[chosen].mean())


def test_without_confidence_there_is_no_calibration():
    pair = field()
    found = evaluated(Arrays(replace(pair.patch, confidence=None)))
    assert np.isnan(found.scores["calibration.ece"])
    assert found.to_dict()["calibration"]["ece"] is None


def brute_cells(pair, config):
    """Weed and seen pixels of each cell, pixel by pixel."""
    both, _, _ = known(pair)
    cells = {}
    for row, col in np.argwhere(both):
        cell = cells.setdefault((int((row + 0.5) / 25), int((col + 0.5) / 25)), [0, 0, 0])
        cell[0] += pair.patch.labels[row, col] == WEED
        cell[1] += pair.patch.classes[row, col] == WEED
        cell[2] += 1
    shape = max(row for row, _ in cells) + 1, max(col for _, col in cells) + 1
    counts = np.zeros((3, *shape), int)
    for place, values in cells.items():
        counts[(slice(None), *place)] = values
    return counts


@pytest.mark.parametrize(("buffer_m", "threshold"), [(0.0, 0.01), (0.05, 0.15)])
def test_spraying_by_cells_counted_one_by_one(buffer_m, threshold):
    pair = field(7)
    config = replace(CONFIG, spray=replace(CONFIG.spray, buffer_m=buffer_m, threshold_cover=threshold))
    found = evaluated(pair, config).scores
    truth, guess, seen = brute_cells(pair, config)
    share = np.minimum(seen / 625, 1)
    needed, treated = (decide(config.spray, Seen(weed, seen, share, 1e-4)).treated for weed in (truth, guess))
    assert 0 < treated.sum() < treated.size
    assert found["spraying.weed_m2"] == pytest.approx(truth.sum() * 1e-4)
    assert found["spraying.missed_weed_m2"] == pytest.approx(truth[~treated].sum() * 1e-4)
    assert found["spraying.over_sprayed_m2"] == pytest.approx(seen[treated & ~needed].sum() * 1e-4)
    assert found["spraying.cell_precision"] == pytest.approx((needed & treated).sum() / treated.sum())
    assert found["spraying.cell_recall"] == pytest.approx((needed & treated).sum() / needed.sum())
    assert found["spraying.litres"] == pytest.approx(seen[treated].sum() * 1e-4 * 200 / 1e4)
    assert found["spraying.saved_share"] == pytest.approx(1 - seen[treated].sum() / seen.sum())


def test_litres_saved_at_a_recall_by_trying_all_orders():
    pair = field(8)
    found = evaluated(pair).scores
    truth, guess, seen = (counts.ravel() for counts in brute_cells(pair, CONFIG))
    cover = guess / np.maximum(seen, 1)
    best = None
    for least in np.unique(cover)[::-1]:  # all cells from this cover on, down to the first that reaches enough
        chosen = cover >= least
        reached, area = truth[chosen].sum() / truth.sum(), seen[chosen].sum() / seen.sum()
        if reached >= 0.95:
            part = (0.95 - best[0]) / (reached - best[0])
            assert found["spraying.saved_at_recall"] == pytest.approx(1 - (best[1] + part * (area - best[1])))
            return
        best = reached, area
    pytest.fail("the last step treats all")


def test_savings_curve_of_ties_is_a_straight_line():
    treated, reached = savings_curve(np.zeros(4), np.array([1.0, 0, 0, 3]), np.ones(4))
    assert treated.tolist() == reached.tolist() == [0, 1]


@settings(max_examples=20)
@given(rows=st.integers(64, 200), seed=st.integers(0, 3), ids=st.booleans())
def test_strips_change_nothing(rows, seed, ids):
    pair = field(seed, shape=(200, 90))
    if ids:
        random = np.random.default_rng(seed)
        marks = np.kron(random.integers(0, 9, (20, 9)), np.ones((10, 10), int))
        pair = Arrays(replace(pair.patch, truth_ids=marks, found_ids=marks[::-1]))
    whole = evaluated(pair).scores
    before = tables_module._STRIP_PX
    try:
        tables_module._STRIP_PX = rows * 90
        strips = evaluated(pair).scores
    finally:
        tables_module._STRIP_PX = before
    assert strips == pytest.approx(whole, nan_ok=True, rel=1e-9)


def test_a_part_scores_as_that_part_alone():
    pair = field(9)
    rect = Rect(20, 30, 130, 110)
    cut = Arrays(Patch(*(part[rect.slices] for part in (pair.patch.labels, pair.patch.classes, pair.patch.confidence))))
    assert evaluated(pair, part=rect).scores == pytest.approx(evaluated(cut).scores, nan_ok=True)
    assert count_pair(pair, CONFIG, rect).where[0][1] == Rect(20, 30, 60, 70)


def test_the_bootstrap_weighs_blocks():
    config = replace(CONFIG, resamples=300)
    tables = join_tables([count_pair(field(seed), CONFIG) for seed in range(3)])
    found = score_tables(tables, config)
    low, high = found.intervals["classes.weed.iou"]
    assert low < found.scores["classes.weed.iou"] < high
    # The same draw by hand: blocks taken again and again, their tables put together.
    weights = np.random.default_rng(0).multinomial(len(tables), np.full(len(tables), 1 / len(tables)), size=300)
    values = []
    for weight in weights:
        matrix = np.repeat(tables.matrix, weight, axis=0).sum(axis=0)
        values.append(matrix[2, 2] / (matrix[2].sum() + matrix[:, 2].sum() - matrix[2, 2]))
    assert (low, high) == pytest.approx(np.quantile(values, [0.025, 0.975]))
    again = score_tables(tables, config)
    assert again.intervals == found.intervals
    assert score_tables(tables, replace(config, seed=1)).intervals != found.intervals


def test_few_blocks_tell_no_interval():
    config = replace(CONFIG, block_m=10, resamples=50)
    assert evaluated(field(), config).intervals == {}


@pytest.mark.parametrize(
    ("images", "gsd_m", "wanted"),
    [
        ([(400, 900)], 0.01, 2.0),  # 2 x 5 squares of 2 m
        ([(400, 800)], 0.01, 1.0),  # 2 x 4 of them are too few
        ([(160, 160)] * 3, 0.01, 1.0),  # images smaller than a square: 3 x 2 x 2 of 1 m
        ([(160, 160)] * 10, 0.01, 2.0),  # each is a block of its own
        ([(90, 130)], 0.01, 0.25),
        ([(2, 2)], 0.1, 0.125),  # not below a pixel
        ([], 0.01, 2.0),
    ],
)
def test_ground_too_small_for_ten_squares_has_smaller_ones(images, gsd_m, wanted):
    unset = replace(CONFIG, block_m=None)
    nothing = [Arrays(Patch(*[np.zeros(shape, np.uint8)] * 2), gsd_m=gsd_m) for shape in images]
    assert sized(unset, nothing).block_m == wanted
    assert sized(CONFIG, nothing) is CONFIG


def test_the_part_decides_how_large_squares_are_and_the_scores_say_it():
    pair, rect = Arrays(Patch(*[np.zeros((900, 900), np.uint8)] * 2), gsd_m=0.01), Rect(0, 0, 900, 100)
    unset = replace(CONFIG, block_m=None, resamples=20)
    assert sized(unset, [pair]).block_m == 2
    found = evaluate_pairs([pair], unset, rect)["all"]
    assert len(found.tables) == 18 * 2
    assert found.to_dict()["intervals"]["of_what"] == "squares of 0.5 m"  # of 1 m there are nine


def test_each_source_has_squares_of_its_own():
    large, small = (
        Arrays(Patch(*[np.zeros(shape, np.uint8)] * 2), source=str(shape)) for shape in ((900, 900), (160, 160))
    )
    found = evaluate_pairs([large, small], replace(CONFIG, block_m=None, resamples=20))
    assert {name: one.tables.blocks for name, one in found.items()} == {
        "all": "squares of 0.5 and 2 m", "(900, 900)": "squares of 2 m", "(160, 160)": "squares of 0.5 m",
    }  # fmt: skip


def test_large_ground_has_larger_blocks_and_sums_stay(monkeypatch):
    wanted = evaluated(field()).scores
    monkeypatch.setattr(ground_module, "MAX_BLOCKS", 4)
    tables = count_pair(field(), CONFIG)
    assert len(tables) <= 4
    assert tables.blocks == "squares of 0.8 m"
    assert score_tables(tables, CONFIG).scores["miou"] == wanted["miou"]


def test_a_perfect_prediction():
    patch = field(unknown=0).patch
    config = replace(CONFIG, spray=replace(CONFIG.spray, threshold_cover=0))
    found = evaluated(Arrays(Patch(patch.labels, patch.labels, np.full_like(patch.labels, 100))), config)
    for name in ("miou", "classes.weed.boundary_f1", "objects.crop.pq", "objects.weed.f1", "spraying.cell_precision"):
        assert found.scores[name] == pytest.approx(1)
    for name in ("calibration.ece", "counts.weed.mae", "spraying.missed_weed_m2", "spraying.over_sprayed_m2"):
        assert found.scores[name] == pytest.approx(0)


def test_nothing_known_gives_no_scores():
    nothing = np.full((30, 30), NODATA, np.uint8)
    found = evaluated(Arrays(Patch(nothing, nothing, nothing)))
    assert found.to_dict()["miou"] is None
    assert len(found.tables) == 0
    assert found.tables.spray.shape == (0, len(SPRAY))


@pytest.mark.parametrize(
    "change", [{"block_m": 0}, {"weed_recall": 1.0}, {"level": 0}, {"tolerance_m": -1}, {"bins": 0}, {"worst": -1}]
)
def test_settings_that_cannot_be_meant(change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        replace(CONFIG, **change)


def test_panoptic_quality_is_that_of_the_definition():
    """By the module that follows Kirillov et al. word by word, which takes ids instead of classes."""
    pair = with_void(10)
    seen = pair.patch.classes != NODATA
    ids, classes = [], []
    for raster in (pair.patch.labels, pair.patch.classes):
        marks, of = np.zeros(raster.shape, np.int64), {}
        for code in (CROP, WEED):
            regions, count = label((raster == code) & seen)
            marks[regions > 0] = regions[regions > 0] + len(of)
            of |= {len(of) + number: code for number in range(1, count + 1)}
        ids.append(marks)
        classes.append(of)
    ids[0][pair.patch.labels == NODATA] = -1
    wanted = panoptic_quality([tuple(ids)], *classes, void=-1)
    assert wanted != panoptic_quality([(np.where(ids[0] < 0, 0, ids[0]), ids[1])], *classes)
    found = evaluated(pair).scores
    for code in (CROP, WEED):
        for key in ("pq", "sq", "rq"):
            assert found[f"objects.{LEGEND[code].name}.{key}"] == pytest.approx(getattr(wanted[code], key))
