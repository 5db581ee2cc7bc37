"""Plants of a raster: the same to the last one however it is read, and those that a brute force finds."""

from __future__ import annotations

import math
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize
from rasterio.io import MemoryFile
from scipy import ndimage

from geoseg.errors import InputError
from geoseg.segment import instances
from geoseg.segment.instances import components_of, split_of, votes_of
from geoseg.segment.plantbatch import GroupStats, Rasters
from geoseg.segment.splitting import Splitting, split_regions
from geoseg.segment.voting import Voting, group_votes

PIXEL = Affine(1, 0, 100, 0, -1, 0)
VOTING = Voting(sigma_px=1.0, separation=0.6, longest_px=7, reach_px=5)


def plants(seed: int, noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Discs at random places, crop and weed, with offsets to their centres: classes, confidence, offsets."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(5, 70, 2)
    truth = np.zeros((height, width), np.int64)
    row, col = np.mgrid[:height, :width]
    centres = [(0.0, 0.0)]
    for number in range(1, rng.integers(2, 30)):
        at, radius = rng.uniform((-3, -3), (height + 3, width + 3)), rng.uniform(1, 8)
        truth[np.hypot(row - at[0], col - at[1]) <= radius] = number
        centres.append((at[0], at[1]))
    kinds = np.append(0, rng.integers(1, 3, len(centres) - 1))
    classes = kinds[truth].astype(np.uint8)
    classes[rng.random(classes.shape) < 0.02] = rng.integers(0, 3)
    half = math.ceil(height / 2), math.ceil(width / 2)
    which = np.zeros(half, np.int64)
    for down in (0, 1):
        for right in (0, 1):
            part = truth[down::2, right::2]
            which[: part.shape[0], : part.shape[1]] = np.maximum(which[: part.shape[0], : part.shape[1]], part)
    middle = np.stack(np.mgrid[: half[0], : half[1]]) * 2 + 0.5
    offsets = (np.array(centres)[which].transpose(2, 0, 1) - middle) / 2 + rng.normal(0, noise, (2, *half))
    offsets = np.where(which > 0, offsets, rng.integers(-3, 4, (2, *half)))
    confidence = rng.integers(0, 101, classes.shape).astype(np.uint8)
    return classes, confidence, np.clip(np.rint(offsets), -127, 127).astype(np.int8)


def memory(stack: ExitStack, values: np.ndarray, transform: Affine = PIXEL) -> str:
    bands = values if values.ndim == 3 else values[None]
    file = stack.enter_context(MemoryFile())
    with file.open(
        driver="GTiff", count=len(bands), height=bands.shape[1], width=bands.shape[2], dtype=bands.dtype.name,
        crs="EPSG:32632", transform=transform,
    ) as raster:  # fmt: skip
        raster.write(bands)
    return str(file.name)


def table(batches: Any) -> dict[int, tuple[Any, ...]]:
    """All that is said of each plant, by id."""
    found: dict[int, tuple[Any, ...]] = {}
    for batch in batches:
        assert (np.diff(batch.id) > 0).all()
        columns = (batch.area_px, batch.crop_px, batch.centroid, batch.bbox, batch.confidence)
        for number, id_ in enumerate(batch.id.tolist()):
            assert id_ not in found, "a plant that is counted twice"
            found[id_] = (batch.geometry[number].wkb_hex, *(column[number].tolist() for column in columns))
    return found


def labels_of(batches: Any, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) id of each pixel's plant plus one, burnt from the outlines with rasterio."""
    shapes = [(shape_, id_ + 1) for batch in batches for id_, shape_ in zip(batch.id, batch.geometry, strict=True)]
    if not shapes:
        return np.zeros(shape, np.int64)
    return rasterize(shapes, out_shape=shape, transform=PIXEL, dtype="int64")


def same_partition(one: np.ndarray, other: np.ndarray) -> bool:
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1)
    return len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1] and ((one > 0) == (other > 0)).all()


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.7, 3.0]), st.integers(3, 40))
def test_votes_give_the_same_plants_however_the_raster_is_cut(seed: int, noise: float, half_block: int) -> None:
    classes, confidence, offsets = plants(seed, noise)
    with ExitStack() as stack:
        rasters = Rasters(*(memory(stack, values) for values in (classes, confidence)), memory(stack, offsets))
        whole, parts = GroupStats(), GroupStats()
        expected = table(votes_of(rasters, whole, VOTING, 10_000))
        assert table(votes_of(rasters, parts, VOTING, 2 * half_block)) == expected
        assert whole == parts
        found = labels_of(votes_of(rasters, GroupStats(), VOTING, 2 * half_block), classes.shape)
    oracle = brute_votes(classes, offsets, VOTING)
    assert same_partition(found, oracle)
    vegetation = np.isin(classes, (1, 2))
    assert whole.unclaimed_px == np.count_nonzero(vegetation) - np.count_nonzero(oracle)
    assert whole.plants == len(expected) == len(np.unique(oracle)) - (oracle == 0).any()
    assert whole.regions == ndimage.label(oracle > 0)[1]
    for id_, (_, area, crop, centroid, bbox, confident) in expected.items():
        own = found == id_ + 1
        row, col = np.nonzero(own)
        assert (row[0] * classes.shape[1] + col[0], own.sum(), (classes[own] == 1).sum()) == (id_, area, crop)
        assert [row.mean(), col.mean()] == pytest.approx(centroid)
        assert [row.min(), col.min(), row.max() + 1, col.max() + 1] == bbox
        assert confidence[own].mean() == pytest.approx(confident)


def brute_votes(classes: np.ndarray, offsets: np.ndarray, voting: Voting) -> np.ndarray:
    """(H, W) number of each pixel's centre, by the definition and with loops over one large canvas."""
    border = voting.halo_px
    height, width = offsets.shape[1:]
    weight = np.zeros((height, width))
    for row, col in zip(*np.nonzero(np.isin(classes, (1, 2))), strict=True):
        weight[row // 2, col // 2] += 1
    votes, scaled = np.zeros((2, height + 2 * border, width + 2 * border))
    target = {}
    for row, col in zip(*np.nonzero(weight), strict=True):
        down, right = (int(v) for v in offsets[:, row, col])
        length = math.hypot(down, right)
        if length > voting.longest_px:
            down, right = (int(np.rint(v * (voting.longest_px / length))) for v in (down, right))
            length = voting.longest_px
        target[row, col] = (row + down + border, col + right + border)
        votes[target[row, col]] += weight[row, col]
        scaled[target[row, col]] += weight[row, col] * round(length)
    steps = np.arange(-voting.smooth_px, voting.smooth_px + 1)
    kernel = np.exp(-0.5 * (steps / voting.sigma_px) ** 2)
    kernel = np.rint(kernel / kernel.sum() * 1024)
    density, weighted = (
        ndimage.convolve(values, np.outer(kernel, kernel), mode="constant") for values in (votes, scaled)
    )
    peaks = [
        (row, col, density[row, col], weighted[row, col] / density[row, col])
        for row, col in zip(*np.nonzero(density), strict=True)
        if density[row, col] == density[row - 1 : row + 2, col - 1 : col + 2].max()
    ]
    centres = []
    for one in peaks:
        beaten = False
        for other in peaks:
            distance = math.hypot(one[0] - other[0], one[1] - other[1])
            stronger = (-other[2], *other[:2]) < (-one[2], *one[:2])
            beaten |= stronger and distance < max(voting.separation * max(one[3], other[3]), 1.5)
        if not beaten:
            centres.append(one)
    label = np.zeros(weight.shape, np.int64)
    for (row, col), (to_row, to_col) in target.items():
        far = [(c[0] - to_row) ** 2 + (c[1] - to_col) ** 2 for c in centres]
        if min(far, default=math.inf) <= voting.reach_px**2:
            label[row, col] = int(np.argmin(far)) + 1
    full = np.kron(label, np.ones((2, 2), np.int64))[: classes.shape[0], : classes.shape[1]]
    return np.where(np.isin(classes, (1, 2)), full, 0)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 70), st.sampled_from([3.0, 6.0, 12.0]), st.sampled_from([0.1, 0.5]))
def test_cutting_gives_the_same_plants_however_the_raster_is_read(
    seed: int, block_px: int, apart_px: float, depth: float
) -> None:
    classes, confidence, _ = plants(seed, 0)
    splitting = Splitting(depth, apart_px)
    with ExitStack() as stack:
        rasters = Rasters(*(memory(stack, values) for values in (classes, confidence)))
        whole, parts = GroupStats(), GroupStats()
        expected = table(split_of(rasters, whole, splitting))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(instances, "_GROUP_PX", 11)
            assert table(split_of(rasters, parts, splitting, block_px)) == expected
        assert whole == parts
        found = labels_of(split_of(rasters, GroupStats(), splitting, block_px), classes.shape)
    region, count = ndimage.label(np.isin(classes, (1, 2)))
    oracle = np.zeros(classes.shape, np.int64)
    for number in range(1, count + 1):  # every region alone on an empty raster
        alone = region == number
        first = tuple(part[:1] for part in np.nonzero(alone))
        label = split_regions(alone, first, splitting)
        oracle[alone] = label[alone] + oracle.max()
    assert same_partition(found, oracle)
    assert whole.regions == count


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 70))
def test_components_are_those_of_scipy(seed: int, block_px: int) -> None:
    classes, confidence, _ = plants(seed, 0)
    with ExitStack() as stack:
        rasters = Rasters(*(memory(stack, values) for values in (classes, confidence)))
        stats = GroupStats()
        found = labels_of(components_of(rasters, stats, block_px), classes.shape)
        assert table(components_of(rasters, GroupStats(), block_px)) == table(components_of(rasters, GroupStats()))
    region, count = ndimage.label(np.isin(classes, (1, 2)))
    assert same_partition(found, region)
    assert (stats.regions, stats.pieces, stats.plants) == (count, count, count)


def touching(distance: float, radius: float = 20.0) -> np.ndarray:
    row, col = np.mgrid[:60, :120]
    return (np.hypot(row - 30, col - 30) <= radius) | (np.hypot(row - 30, col - 30 - distance) <= radius)


def test_two_discs_are_parted_along_their_common_chord() -> None:
    both = touching(34)
    label = split_regions(both, (np.array([30]), np.array([30])), Splitting(0.3, 12))
    assert len(np.unique(label)) == 3
    assert (label[:, :47][both[:, :47]] == label[30, 30]).all()
    assert (label[:, 48:][both[:, 48:]] == label[30, 64]).all()
    assert len(np.unique(split_regions(both, (np.array([30]), np.array([30])), Splitting(0.3, 36)))) == 2
    shallow = touching(14)
    assert len(np.unique(split_regions(shallow, (np.array([30]), np.array([30])), Splitting(0.3, 5)))) == 2


def test_regions_that_were_not_asked_for_are_left_out() -> None:
    vegetation = np.zeros((20, 40), bool)
    vegetation[5:10, 5:10] = vegetation[5:10, 20:30] = True
    label = split_regions(vegetation, (np.array([5]), np.array([20])), Splitting(0.3, 4))
    assert (label[5:10, 20:30] == label[5, 20]).all()
    assert label[5, 20] > 0
    assert np.count_nonzero(label) == 50


@pytest.mark.parametrize(("apart", "expected"), [(9, 2), (4, 1)])
def test_peaks_too_near_for_their_size_are_one(apart: int, expected: int) -> None:
    """A disc of radius 12 whose two halves point to two centres; its offsets are 8 long on the average."""
    row, col = np.mgrid[:40, :40]
    disc = np.hypot(row - 20, col - 20) <= 12
    target = np.where(col < 20, 20 - apart // 2, 20 + (apart + 1) // 2)
    offsets = np.stack([20 - row, target - col]).astype(np.int8)
    found = group_votes(disc.view(np.uint8), offsets, Voting(1.0, 1.0, 30, 10))
    assert len(np.unique(found.label[disc])) == expected
    assert not found.long.any()


def test_offsets_that_are_too_long_vote_as_far_as_they_may_and_are_told() -> None:
    weight = np.zeros((9, 200), np.uint8)
    weight[4, 10:171] = 1
    offsets = np.zeros((2, 9, 200), np.int8)
    offsets[1] = np.clip(90 - np.arange(200), -127, 127)
    found = group_votes(weight, offsets, Voting(2.0, 0.5, 50, 40))
    assert found.long[4, 10:40].all()
    assert not found.long[4, 40:141].any()
    assert (found.label[4, 10:171] == found.label[4, 90]).all()


def test_a_plant_of_two_pieces_is_one_plant_with_both_in_its_outline() -> None:
    classes = np.zeros((20, 40), np.uint8)
    classes[4:8, 4:8], classes[4:8, 12:16], classes[14:16, 30:34] = 1, 2, 1
    offsets = np.zeros((2, 10, 20), np.int8)
    offsets[1] = 5 - np.arange(20)
    offsets[1, 6:] = 16 - np.arange(20)
    with ExitStack() as stack:
        rasters = Rasters(memory(stack, classes), None, memory(stack, offsets))
        stats = GroupStats()
        (one, two) = table(votes_of(rasters, stats, Voting(1.0, 0.5, 15, 8))).values()
    assert [geometry.bounds for geometry in shapely.from_wkb(one[0]).geoms] == [(104, -8, 108, -4), (112, -8, 116, -4)]
    assert one[1:3] == (32, 16)
    assert two[1:3] == (8, 8)
    assert (stats.regions, stats.pieces, stats.plants) == (3, 3, 2)


def test_rasters_that_do_not_belong_together() -> None:
    with ExitStack() as stack:
        classes = memory(stack, np.ones((9, 9), np.uint8))
        for wrong in (np.zeros((2, 4, 4), np.int8), np.zeros((1, 5, 5), np.int8), np.zeros((2, 5, 5), np.int16)):
            with pytest.raises(InputError, match="expected 2 of 5 x 5 int8"):
                list(votes_of(Rasters(classes, None, memory(stack, wrong)), GroupStats(), VOTING))
        with pytest.raises(InputError, match="has no offsets beside it"):
            list(votes_of(Rasters(classes), GroupStats(), VOTING))


def test_memory_is_that_of_a_strip(tmp_path: Any) -> None:
    """Plants are given away as soon as they are whole, not at the end."""
    classes, offsets = np.zeros((600, 60), np.uint8), np.zeros((2, 300, 30), np.int8)
    classes[5::20, 5:9] = 1
    path = tmp_path / "classes.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=600, width=60, dtype="uint8", transform=PIXEL, crs="EPSG:32632"
    ) as raster:
        raster.write(classes, 1)
    with ExitStack() as stack:
        rasters = Rasters(path, None, memory(stack, offsets))
        sizes = [len(batch) for batch in votes_of(rasters, GroupStats(), VOTING, 40)]
    assert sum(sizes) == 30
    assert max(sizes) <= 4
    assert all(later >= 0 for _, later in pairwise(sizes))
