"""Models of any bands: an ortho's own statistics, the same for every window, and independent of its units."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

from fakes import LatticeSegmenter
from geoseg import job
from geoseg.config import load_as, load_config
from geoseg.errors import ConfigError, ModelError, OrthoError
from geoseg.legend import CROP
from geoseg.models import load
from geoseg.models.card import ModelCard
from geoseg.models.onnx import card_for, standardised
from geoseg.ortho import Ortho, OrthoConfig
from geoseg.ortho.bands import BandFacts, choose_bands
from geoseg.ortho.levels import SPREAD, apply_levels, find_levels
from geoseg.preflight import preflight
from geoseg.train import fit as fitting
from geoseg.train.augment import AugmentConfig, change_looks
from geoseg.train.fit import TrainConfig, fit
from geoseg.train.levelled import level_bands, mixing, model_image, moments_of
from geoseg.train.synthetic import FieldSpec, infrared_spec, render
from geoseg.train.tiles import Tile
from geoseg.windows import Rect
from rasters import FINE, noise, write

ANY = ("any", "any", "any")
SHAPE = (330, 410)


def image_of(seed: int = 0, kind: str = "uint8") -> np.ndarray:
    """(3, H, W): bands of different means and spreads."""
    plain = noise(SHAPE, dtype="float64", seed=seed)
    return (np.array([60, 120, 30])[:, None, None] + np.array([90, 20, 50])[:, None, None] * plain).astype(kind)


def levelled(path: Path, **config: object) -> tuple[Ortho, np.ndarray]:
    ortho = Ortho.open(path, OrthoConfig(**config), ANY, "ortho")  # type: ignore[arg-type]
    with ortho.reader(ortho.geobox) as reader:
        return ortho, reader.read(Rect(0, 0, *SHAPE))[0]


# --- levels ---------------------------------------------------------------------------------------------------------


def test_levels_are_five_standard_deviations_to_either_side_of_the_mean() -> None:
    values = np.random.default_rng(0).normal([[100], [2000]], [[3], [500]], (2, 100_000))
    (low, high), (low2, high2) = find_levels("x", values)
    assert (low + high) / 2 == pytest.approx(100, abs=0.05)
    assert (high2 - low2) / 2 == pytest.approx(SPREAD * 500, rel=0.02)
    seen = apply_levels(values, ((low, high), (low2, high2)))
    assert seen.dtype == np.uint8
    np.testing.assert_allclose(seen.mean(axis=1), 127.5, atol=0.3)
    np.testing.assert_allclose(seen.std(axis=1), 25.5, rtol=0.02)


def test_a_few_wild_values_decide_nothing() -> None:
    values = np.random.default_rng(0).normal(0.2, 0.03, (1, 100_000))
    wild = values.copy()
    wild[0, :50] = 1e6
    assert find_levels("x", wild)[0] == pytest.approx(find_levels("x", values)[0], abs=0.01)


def test_tables_for_8_bits_give_what_arithmetic_gives() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(1, -1)
    levels = ((33.3, 180.9),)
    np.testing.assert_array_equal(apply_levels(values, levels), apply_levels(values.astype(np.float32), levels))


def test_bands_without_a_spread_and_orthos_without_a_pixel_are_refused(tmp_path: Path) -> None:
    image = image_of()
    image[1] = 7
    with pytest.raises(OrthoError, match=r"the 2\. band that is read of flat\.tif is 7 everywhere; choose others"):
        levelled(write(tmp_path / "flat.tif", image))
    with pytest.raises(OrthoError, match="no valid pixel"):
        levelled(write(tmp_path / "none.tif", image_of(), alpha=np.zeros(SHAPE, np.uint8)))


# --- the ortho ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("uint8", lambda x: x),
        ("uint16", lambda x: 40 * x + 300),
        ("uint16", lambda x: x),  # 8 bits in 16, which a model of fixed scale refuses
        ("float32", lambda x: x * 0.003 - 0.1),
        ("float32", lambda x: x * np.array([5, 0.1, 900])[:, None, None]),
    ],
)
def test_units_and_data_types_do_not_matter(
    tmp_path: Path, kind: str, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    _, plain = levelled(write(tmp_path / "plain.tif", image_of()))
    _, other = levelled(write(tmp_path / "other.tif", change(image_of().astype("float64")).astype(kind)))
    assert other.dtype == np.uint8
    assert np.abs(plain.astype(int) - other).max() <= 1


def test_statistics_are_of_the_valid_pixels_of_the_whole_ortho(tmp_path: Path) -> None:
    alpha = np.full(SHAPE, 255, np.uint8)
    alpha[:, 300:] = 0
    image = image_of()
    image[:, :, 300:] = 255
    ortho, seen = levelled(write(tmp_path / "ortho.tif", image, alpha=alpha))
    assert ortho.levels is not None
    inside = seen[:, :, :300].reshape(3, -1)
    np.testing.assert_allclose(inside.mean(axis=1), 127.5, atol=2)
    np.testing.assert_allclose(inside.std(axis=1), 25.5, rtol=0.03)


def test_every_window_in_every_process_has_the_scale_of_the_ortho(tmp_path: Path) -> None:
    image = image_of()
    image[:, :100] = (image[:, :100] * 0.2).astype(np.uint8)  # a window's own statistics would differ
    ortho, seen = levelled(write(tmp_path / "ortho.tif", image))
    elsewhere = pickle.loads(pickle.dumps(ortho))  # noqa: S301  # our own bytes
    with elsewhere.reader(elsewhere.geobox) as reader:
        for rect in (Rect(0, 0, 64, 64), Rect(90, 200, 170, 410), Rect(329, 409, 330, 410)):
            np.testing.assert_array_equal(reader.read(rect)[0], seen[(slice(None), *rect.slices)])
    np.testing.assert_array_equal(
        np.asarray(ortho.lazy(ortho.geobox, 128)), seen.astype(ortho.lazy(ortho.geobox).dtype)
    )


def test_overviews_change_nothing(tmp_path: Path) -> None:
    without, _ = levelled(write(tmp_path / "without.tif", image_of()))
    with_them, _ = levelled(write(tmp_path / "with.tif", image_of(), overviews=(2, 4, 8)))
    assert with_them.levels == without.levels


class AnySegmenter(LatticeSegmenter):
    def __init__(self) -> None:
        super().__init__(bands=ANY, scaling="ortho", mean=(0.5,) * 3, std=(0.4,) * 3)


@pytest.mark.parametrize("how", ["segment.write_px=128", "segment.batch=3", "segment.readers=1"])
def test_a_run_is_the_same_however_it_is_cut_and_says_its_scale(tmp_path: Path, how: str) -> None:
    path = write(tmp_path / "ortho.tif", image_of(kind="uint16") * 7, transform=FINE)
    found = []
    for name, settings in (("one", ()), ("two", (how,))):
        run = job.segment(path, tmp_path / name, config=load_config(overrides=settings), model=AnySegmenter())
        with rasterio.open(run.path / "classes.tif") as raster:
            found.append(raster.read())
    np.testing.assert_array_equal(found[0], found[1])
    assert len(np.unique(found[0])) > 1
    record = (tmp_path / "one" / "run.json").read_text()
    assert '"levels"' in record


# --- bands ----------------------------------------------------------------------------------------------------------


def facts(*names: str) -> list[BandFacts]:
    return [BandFacts(name, "alpha" if name == "alpha" else "undefined", "uint16") for name in names]


@pytest.mark.parametrize(
    ("names", "wanted", "chosen"),
    [
        (("blue", "green", "red", "red edge", "nir"), None, (5, 3, 2)),
        (("red", "green", "blue", "alpha"), None, (1, 2, 3)),
        (("nir", "green", "blue"), None, (1, 2, 3)),
        (("", "", "", "alpha"), None, (1, 2, 3)),
        (("green", "red", "red edge", "nir"), None, (4, 2, 1)),
        (("red edge", "nir", "red"), None, (1, 2, 3)),
        (("blue", "green", "red", "red edge", "nir"), ("red edge", 3, "nir"), (4, 3, 5)),
    ],
)
def test_which_of_the_bands(
    names: tuple[str, ...], wanted: tuple[int | str, ...] | None, chosen: tuple[int, ...]
) -> None:
    assert choose_bands("x.tif", facts(*names), wanted, ANY) == chosen


def test_two_bands_are_too_few() -> None:
    with pytest.raises(OrthoError, match=r"the model needs 3 bands \(any, any, any\); x\.tif has 2 \(1 nir, 2 red\)"):
        choose_bands("x.tif", facts("nir", "red"), None, ANY)


def test_the_check_names_the_bands_and_asks_no_scale(tmp_path: Path) -> None:
    path = write(tmp_path / "ortho.tif", image_of(kind="uint16"), names=("green", "red", "nir"))
    card = AnySegmenter().card
    found = preflight(Ortho.open(path, None, card.bands, card.scaling), card)
    assert next(one.text for one in found if one.topic == "bands") == (
        "nir from 3, red from 2, green from 1; uint16, each by its own mean and spread over the ortho"
    )
    assert not [one for one in found if one.topic == "exposure"]


# --- the card -------------------------------------------------------------------------------------------------------


def test_a_card_of_any_bands_is_read_as_written_and_old_cards_have_a_fixed_scale(tmp_path: Path) -> None:
    card = AnySegmenter().card
    card.write(tmp_path / "card.json")
    assert ModelCard.read(tmp_path / "card.json") == card
    text = (tmp_path / "card.json").read_text().replace('  "scaling": "ortho",\n', "").replace('"any"', '"x"')
    (tmp_path / "card.json").write_text(text)
    assert ModelCard.read(tmp_path / "card.json").scaling == "fixed"


def test_either_all_bands_are_any_or_none_is() -> None:
    with pytest.raises(ValueError, match="either all bands are 'any' or none is"):
        LatticeSegmenter(bands=("nir", "any", "any"))


def test_an_onnx_file_is_scaled_for_one_ortho(tmp_path: Path) -> None:
    path = write(tmp_path / "ortho.tif", image_of())
    _, seen = levelled(path)
    card = AnySegmenter().card
    fixed = card_for(card, path)
    assert (fixed.scaling, card_for(fixed, path)) == ("fixed", fixed)
    there, here = standardised(fixed, image_of()), standardised(card, seen)
    assert np.abs(there - here)[:, (seen > 0) & (seen < 255)].max() < 0.01
    with pytest.raises(ModelError, match="orthos of 8 bits only"):
        card_for(card, write(tmp_path / "16.tif", image_of(kind="uint16")))


# --- training -------------------------------------------------------------------------------------------------------


def tile_of(image: np.ndarray) -> Tile:
    return Tile("t", "train", "s", 0, 0, 0.003, image, np.zeros(image.shape[1:], np.uint8))


def test_tiles_look_as_their_ortho_would(tmp_path: Path) -> None:
    card: ModelCard = AnySegmenter().card
    _, seen = levelled(write(tmp_path / "ortho.tif", image_of()))
    assert np.abs(model_image(tile_of(image_of()), card).astype(int) - seen).max() <= 2
    assert (
        model_image(tile_of(image_of()), card.model_copy(update={"scaling": "fixed"})).tolist() == image_of().tolist()
    )


def test_mixed_bands_have_the_mean_and_spread_of_the_scale() -> None:
    random = np.random.default_rng(3)
    image = image_of().astype(np.float32) / 255
    matrices = [mixing(3, 1.0, random) for _ in range(200)]
    for matrix in matrices[:20]:
        mixed = level_bands(torch.from_numpy(image), moments_of(image_of()), matrix).numpy().reshape(3, -1)
        np.testing.assert_allclose(mixed.mean(axis=1), 0.5, atol=1e-3)
        np.testing.assert_allclose(mixed.std(axis=1), 0.5 / SPREAD, rtol=1e-2)
    np.testing.assert_allclose([matrix.sum(axis=1) for matrix in matrices], 1, atol=1e-9)
    orders = {tuple(matrix.argmax(axis=1)) for matrix in matrices if set(np.unique(matrix)) == {0.0, 1.0}}
    assert len(orders) == 6
    assert (mixing(3, 0.0, random) == np.eye(3)).all()


def test_misaligned_bands_are_moved_by_up_to_a_pixel() -> None:
    still = AugmentConfig(brightness=0, channel=0, contrast=0, gamma=1, noise=0, blur=0, shadow=0)
    ramp = torch.arange(40.0).repeat(40, 1)[None, None].repeat(1, 2, 1, 1) / 100 + 0.2
    random = torch.Generator().manual_seed(1)
    moved = change_looks(ramp, replace(still, misaligned=1.0), random)
    shift = (moved - ramp)[0, :, 2:-2, 2:-2] * 100
    assert (shift.amax(dim=(1, 2)) - shift.amin(dim=(1, 2))).max() < 1e-3
    assert 0.05 < shift.abs().max() <= 1
    assert (shift[0] - shift[1]).abs().min() > 0.01
    assert (change_looks(ramp, still, random) - ramp).abs().max() < 1e-6


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    monkeypatch.chdir(Path(__file__).resolve().parents[1])
    monkeypatch.setattr(fitting, "measure_parity", lambda *_: {})
    config = load_as(TrainConfig, Path("configs/train_tiny.yaml"))
    return replace(config, steps=3, batch=2, crop_px=32, save_every=0, device="cpu", augment=AugmentConfig(mix=0.8))


def test_a_training_goes_on_from_a_model_and_its_card_says_so(tiny: TrainConfig, tmp_path: Path) -> None:
    card = tiny.card | {"bands": list(ANY), "scaling": "ortho", "mean": [0.5] * 3, "std": [0.4] * 3}
    first = fit(replace(tiny, card=card), tmp_path / "first")
    assert (first.bands, first.scaling) == (ANY, "ortho")
    still = replace(tiny, card=card, rate=1e-12, weight_decay=0.0, start=str(tmp_path / "first"))
    again = fit(still, tmp_path / "again")
    assert again.training["encoder"] == f"all weights from {first.name} {first.version}"
    one, other = (torch_weights(tmp_path / name) for name in ("first", "again"))
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=0, atol=1e-3)
    with pytest.raises(ConfigError, match=r"train\.start: default is"):
        fit(replace(still, start="default"), tmp_path / "other")


def torch_weights(folder: Path) -> dict[str, torch.Tensor]:
    from geoseg.models.storage import load_module

    return dict(load_module(folder)[1].state_dict())


# --- the shipped model ----------------------------------------------------------------------------------------------


def test_the_shipped_model_sees_plants_in_any_order_of_the_bands() -> None:
    spec = FieldSpec(seed=77, height_px=256, width_px=256, margin_share=0, weeds_per_m2=25, plant_diameter_m=0.12)
    field = render(infrared_spec(spec))
    segmenter = load("any_three_bands", "torch-cpu")
    seen = []
    for order in ([0, 1, 2], [2, 0, 1]):
        tile = replace(tile_of(field.image[order]), labels=field.labels)
        seen.append(segmenter(model_image(tile, segmenter.card)[None]).argmax(axis=1)[0])
        crop = (seen[-1] == CROP) & (field.labels == CROP)
        either = (seen[-1] == CROP) | (field.labels == CROP)
        assert crop.sum() > 0.5 * either.sum()  # of what the default model sees there nothing is left
    assert (seen[0] == seen[1]).mean() > 0.985
    assert segmenter.card.bands == ANY
