"""Configuration: strict, by the rules of YAML 1.2, with messages that name the key."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.adapt.adaptation import AdaptConfig
from geoseg.config import Config, load_as, load_config, load_yaml, to_dict
from geoseg.errors import ConfigError, PrescriptionError
from geoseg.train.evaluate_settings import EvaluateConfig


def write(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_defaults_need_no_file():
    assert load_config() == Config()


def test_a_file_and_overrides_reach_the_sections(tmp_path):
    path = write(tmp_path, "spray:\n  rate_l_ha: 150\n  buffer_m: 1.5\n")
    config = load_config(path, ["spray.buffer_m=0.25", "segment.batch=2", "ortho.bands=[red, 2, 3]"])
    assert (config.spray.rate_l_ha, config.spray.buffer_m, config.segment.batch) == (150.0, 0.25, 2)
    assert config.ortho.bands == ("red", 2, 3)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 0.001), ("012", 12), ("0.5", 0.5), (".5", 0.5), ("3", 3), ("-2E+2", -200.0), ("+7", 7)],
)
def test_numbers_are_read_as_people_write_them(tmp_path, text, value):
    assert load_yaml(write(tmp_path, f"key: {text}\n")) == {"key": value}


@pytest.mark.parametrize("word", ["no", "yes", "on", "off", "12:30", "2024-05-01", "1_000", "0x1f"])
def test_words_stay_words(tmp_path, word):
    assert load_yaml(write(tmp_path, f"key: {word}\n")) == {"key": word}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("spray:\n  rate: 3\n", r"spray\.rate: .*expected one of .*rate_l_ha"),
        ("spay: {}\n", r"spay: .*expected one of .*spray"),
        ("spray:\n  rate_l_ha: fast\n", r"spray\.rate_l_ha.*number"),
        ("spray:\n  rate_l_ha: true\n", r"spray\.rate_l_ha.*number"),
        ("segment:\n  batch: 1.5\n", r"segment\.batch.*integer"),
        ("- a\n", "expected sections"),
        ("a: 1\na: 2\n", "given twice"),
        ("a: [1\n", "is no YAML"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load_config(write(tmp_path, text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="nothing.yaml cannot be read"):
        load_config(tmp_path / "nothing.yaml")


@pytest.mark.parametrize("override", ["spray.rate_l_ha", "=3", "model.name=3", "spray.rate_l_ha=[", "nonsense=1"])
def test_overrides_that_cannot_be_used_are_named(override):
    with pytest.raises(ConfigError, match=r"--set|nonsense"):
        load_config(None, ["model=default", override])


def test_a_value_that_its_section_refuses_keeps_the_section_s_own_error():
    with pytest.raises(PrescriptionError, match="rate_l_ha"):
        load_config(None, ["spray.rate_l_ha=-1"])


@given(st.floats(0.1, 1000), st.floats(0, 30), st.integers(1, 9))
def test_a_configuration_survives_its_own_dictionary(rate, buffer, batch):
    config = load_config(None, [f"spray.rate_l_ha={rate!r}", f"spray.buffer_m={buffer!r}", f"segment.batch={batch}"])
    again = load_config(None, [f"{section}={value!r}" for section, value in []])
    assert dataclasses.replace(again, spray=config.spray, segment=config.segment) == config
    assert to_dict(config)["spray"]["rate_l_ha"] == rate


@pytest.mark.parametrize(
    ("kind", "key", "value"), [(EvaluateConfig, "spray.rate_l_ha", 200.0), (AdaptConfig, "tune.augment.noise", 0.03)]
)
def test_a_key_that_says_the_default_changes_nothing(kind, key, value, tmp_path):
    """Both classes have other defaults of a section than the section's own class."""
    default, text = kind(), str(value)
    for part in key.split("."):
        default = getattr(default, part)
    assert default == value
    assert load_as(kind, None, [f"{key}={value}"]) == kind()
    for part in reversed(key.split(".")):
        text = f"{{{part}: {text}}}"
    assert load_as(kind, write(tmp_path, text)) == kind()
