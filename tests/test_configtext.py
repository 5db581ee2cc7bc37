"""Configurations for people: what `config show` prints loads again, the schema agrees, typos are named."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from geoseg.cli import main
from geoseg.config import Config, load_as, load_config, load_yaml, to_dict
from geoseg.configkeys import keys_of, nearest, sections_of
from geoseg.configtext import KINDS, check_config, config_kind, kind_of_file, schema_for, yaml_lines
from geoseg.errors import ConfigError, InputError, ModelError, OrthoError, PrescriptionError
from geoseg.stages.ahead import look_ahead

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
SCHEMAS = {command: schema_for(command) for command in KINDS}


def command_of(path: Path) -> str:
    """The command of a shipped file, by its name."""
    return {"train": "train", "tiles": "tile", "adapt": "adapt"}.get(path.stem.partition("_")[0], "run")


def call(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize("command", ["run", "adapt", "tile", "evaluate", "labels"])
def test_what_is_shown_is_a_file_that_says_the_defaults(tmp_path: Path, command: str) -> None:
    path = tmp_path / "all.yaml"
    path.write_text("\n".join(yaml_lines(command)), encoding="utf-8")
    kind = config_kind(command)
    assert load_as(kind, path) == kind()
    assert yaml.safe_load(path.read_text(encoding="utf-8")) == to_dict(kind())  # every key is there, by another reader


@pytest.mark.parametrize("command", KINDS)
def test_every_key_has_a_note_and_a_kind(command: str) -> None:
    keys = list(keys_of(config_kind(command)))
    assert keys
    assert not [key.name for key in keys if len(key.note) < 8 or not key.kind or "<" in key.kind]


def test_what_a_training_must_be_told_is_said() -> None:
    lines = list(yaml_lines("train"))
    assert any(line.startswith("#card:") and "has to be given" in line for line in lines)
    assert any("ortho: Instead of a tile set" in line for line in lines)


def test_a_part_is_shown_by_its_beginning() -> None:
    assert yaml.safe_load("\n".join(yaml_lines("run", "spray.rates.m"))) == {
        "spray": {"rates": {"method": "jenks", "min_zone_m2": 0.0, "min_l_ha": 0.0, "max_l_ha": None}}
    }
    with pytest.raises(ConfigError, match=r"did you mean spray\.buffer_m\?"):
        list(yaml_lines("run", "spray.bufer"))


def test_a_file_s_own_values_are_shown() -> None:
    shown = call("config", "show", "spray.rat", "--config", ROOT / "configs" / "weed_zones.yaml").stdout
    assert yaml.safe_load(shown)["spray"]["rates"]["rule"] == "zones"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("rate_l_ha", "spray.rate_l_ha"),
        ("spray.rate", "spray.rate_l_ha"),
        ("spary.buffer_m", "spray.buffer_m"),
        ("spray.treshold", "spray.threshold_cover"),
        ("plants.metod", "plants.method"),
        ("profile", "profiles"),
        ("sprai", "spray"),
    ],
)
def test_a_typo_names_the_key_that_was_meant(given: str, meant: str) -> None:
    assert meant in nearest(Config, given)
    with pytest.raises(ConfigError, match=r"no such key.*did you mean .*" + meant.partition(".")[0]):
        load_config(None, [f"{given}=3"])


def test_what_is_like_nothing_gets_no_advice() -> None:
    assert nearest(Config, "xyzzy") == ()


def test_both_sources_are_named_when_both_are_there(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("model: default\n")
    with pytest.raises(ConfigError, match=r"my\.yaml and --set: bufer: there is no such key"):
        load_config(path, ["bufer=3"])


def test_numbers_are_no_keys(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("spray: {1: 2}\n")
    with pytest.raises(ConfigError, match=r"spray\.1: there is no such key"):
        load_config(path)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_files_pass_the_check_and_the_schema(path: Path) -> None:
    assert kind_of_file(path) == command_of(path)
    assert check_config(path)[0] == command_of(path)
    jsonschema.Draft202012Validator(SCHEMAS[command_of(path)]).validate(load_yaml(path))


@pytest.mark.parametrize(
    "document",
    [
        {"spray": {"rate": 3}},
        {"spary": {}},
        {"spray": {"rate_l_ha": "fast"}},
        {"profiles": ["deer"]},
        {"spray": {"rates": {"rule": "stops"}}},
        {"model": 3},
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(tmp_path: Path, document: dict) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputError):
        check_config(path, "run")
    assert not jsonschema.Draft202012Validator(SCHEMAS["run"]).is_valid(document)


@pytest.mark.parametrize("command", KINDS)
def test_schemas_are_schemas_and_describe_every_key(command: str) -> None:
    schema = SCHEMAS[command]
    jsonschema.Draft202012Validator.check_schema(schema)
    parts = [schema, *schema.get("$defs", {}).values()]
    assert len(parts) == len({kind.__name__ for kind in sections_of(config_kind(command)).values()})
    for part in parts:
        assert part["additionalProperties"] is False
        assert all(entry["description"] for entry in part["properties"].values())


@pytest.mark.parametrize(
    ("override", "error", "message"),
    [
        ("model=nothing", ModelError, "neither a model directory"),
        ("profiles=[generic, deer]", PrescriptionError, "no export profile 'deer'"),
        ("spray.machine=nothing", PrescriptionError, "nothing"),
        ("spray.exclusions=no.gpkg", ConfigError, r"spray\.exclusions is no\.gpkg, which is not there"),
        ("spray.ab_line=no.kml", ConfigError, r"spray\.ab_line is no\.kml, which is not there"),
    ],
)
def test_names_are_looked_up_before_a_run_begins(tmp_path: Path, override: str, error: type, message: str) -> None:
    from geoseg import job

    config = load_config(None, [override])
    with pytest.raises(error, match=message):
        look_ahead(config)
    with pytest.raises(error, match=message):  # before what is given as ortho is opened
        job.run(ROOT / "README.md", tmp_path / "run", config=config)
    assert not (tmp_path / "run").exists()


def test_a_file_that_is_not_there_is_said_at_once_with_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "ortho_7.tif").touch()
    for given, message in (
        (tmp_path / "orto_7.tif", r"there is no file .*orto_7\.tif; did you mean ortho_7\.tif\?"),
        (tmp_path / "no" / "x.tif", r"nor a folder .*no; check the path"),
        (tmp_path / "field.gpkg", r"field\.gpkg; check the path"),
    ):
        with pytest.raises(OrthoError, match=message):
            look_ahead(Config(), given)
    look_ahead(Config(), tmp_path / "ortho_7.tif", None, "s3://bucket/x.tif", "/vsicurl/https://x.tif", "GPKG:x.gpkg:t")


def test_what_only_gdal_can_find_is_left_to_it() -> None:
    config = Config(spray=dataclasses.replace(Config().spray, exclusions="/vsizip/paths.zip/paths.shp"))
    look_ahead(config)


def test_config_check_is_one_line_and_an_exit_code(tmp_path: Path) -> None:
    good = call("config", "check", ROOT / "configs" / "spot_spray.yaml")
    assert (good.exit_code, good.stdout.count("\n")) == (0, 1)
    assert "can be used by `geoseg run`" in good.stdout
    (tmp_path / "wrong.yaml").write_text("sparay: {}\n")
    wrong = call("config", "check", tmp_path / "wrong.yaml")
    assert (wrong.exit_code, wrong.stderr.count("\n")) == (2, 1)
    assert "did you mean spray" in wrong.stderr


def test_the_schema_can_be_written_for_an_editor(tmp_path: Path) -> None:
    out = tmp_path / "geoseg.schema.json"
    assert "# yaml-language-server: $schema=" in call("config", "schema", "--out", out).stdout
    assert json.loads(out.read_text(encoding="utf-8")) == json.loads(call("config", "schema").stdout)
    assert call("config", "schema", "--out", tmp_path / "no" / "x.json").exit_code == 2


def offered(words: list[str], incomplete: str) -> set[str]:
    """What click offers, whatever the shell."""
    from click.shell_completion import ShellComplete

    found = ShellComplete(main, {}, "geoseg", "_GEOSEG_COMPLETE").get_completions(words, incomplete)
    return {item.value for item in found}


@pytest.mark.parametrize(
    ("words", "incomplete", "expected"),
    [
        ([], "che", {"check"}),
        (["run", "--set"], "spray.buf", {"spray.buffer_m="}),
        (["train", "x.yaml", "--set"], "encoder", {"encoder=", "encoder_rate="}),
        (["run", "--model"], "def", {"default"}),
        (["run", "--model"], "./mo", {"./mo"}),
        (["prescribe", "run", "--machine"], "boom", {"boom_24m_sections", "boom_36m_sections"}),
        (["export", "write", "run", "--profile"], "isoxml_z", {"isoxml_zip", "isoxml_zones", "isoxml_zones_v3"}),
        (["config", "show"], "rows.min", {"rows.min_spacing_m", "rows.min_plants"}),
        (["config", "show", "--for", "tile"], "tile", {"tile_px"}),
        (["models"], "def", {"default"}),
    ],
)
def test_names_and_keys_are_completed(words: list[str], incomplete: str, expected: set[str]) -> None:
    found = offered(words, incomplete)
    assert found
    assert found == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell: str) -> None:
    script = call("completion", shell)
    assert script.exit_code == 0
    assert "_GEOSEG_COMPLETE" in script.stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_a_real_bash_completes_a_key_without_a_space_behind_it() -> None:
    program = """
        eval "$SCRIPT"
        compopt() { echo "compopt $*"; }
        COMP_WORDS=(geoseg run --set spray.buf) COMP_CWORD=3
        _geoseg_complete geoseg
        echo "${COMPREPLY[@]}"
        complete -p geoseg
    """
    script = call("completion", "bash").stdout.replace("$1", '"$PYTHON" -m geoseg')
    env = os.environ | {"PYTHON": sys.executable, "SCRIPT": script}
    done = subprocess.run(["bash", "-c", program], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[:2] == ["compopt -o nospace", "spray.buffer_m="], done.stderr
    assert "-F _geoseg_complete geoseg" in done.stdout
