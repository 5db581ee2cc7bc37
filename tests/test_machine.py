from __future__ import annotations

import dataclasses
import re
from importlib import resources

import pytest
import yaml

from geoseg.errors import PrescriptionError
from geoseg.spray import SprayConfig
from geoseg.spray.machine import machine_names, machine_text, read_machine
from geoseg.spray.settings import file_hashes, resolved
from geoseg.spray.totals import fill_tank

MARK = re.compile(r"^(example|V: |P: |I: )")


@pytest.mark.parametrize("name", machine_names())
def test_every_value_of_a_shipped_machine_has_its_evidence(name):
    row = yaml.safe_load(machine_text(name))
    machine = read_machine(name)
    values = set(row) - {"title", "kind", "evidence"}
    assert set(machine.evidence) == values
    assert all(MARK.match(mark) for mark in machine.evidence.values())
    assert machine.sections * machine.section_m == pytest.approx(machine.width_m)


def test_there_are_booms_spot_sprayers_and_drones():
    assert {read_machine(name).kind for name in machine_names()} == {"boom", "spot", "drone"}
    assert {"boom_24m_sections", "boom_36m_sections", "spot_24m_nozzles", "drone_40l"} == set(machine_names())


def test_a_machine_is_found_by_name_and_by_path(tmp_path):
    copy = tmp_path / "mine.yaml"
    copy.write_text(machine_text("boom_36m_sections"), encoding="utf-8")
    assert read_machine(copy) == read_machine("boom_36m_sections")
    with resources.as_file(resources.files("geoseg.spray") / "machines" / "boom_36m_sections.yaml") as place:
        assert read_machine(place) == read_machine(copy)


def test_times_become_distances_at_the_speed():
    machine = dataclasses.replace(
        read_machine("boom_24m_sections"), speed_km_h=18.0, lead_s=0.2, lead_m=0.5, lag_s=0.1, open_s=0.3, close_s=0.4
    )
    assert machine.speed_m_s == pytest.approx(5)
    assert (machine.lead_total_m, machine.lag_total_m) == pytest.approx((1.5, 0.5))
    assert (machine.open_m, machine.close_m) == pytest.approx((1.5, 2.0))
    assert machine.shortest_gap_m == pytest.approx(3.5)
    assert dataclasses.replace(machine, min_run_m=4.0).shortest_gap_m == 4.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("widht_m: 3", "key 'widht_m'; expected title, kind, width_m"),
        ("width_m: -1", "width_m is -1; expected a number more than 0"),
        ("width_m: wide", "width_m is 'wide'; expected a number"),
        ("width_m: 24.3", "no whole number of sections"),
        ("open_s: true", "open_s is True; expected a number"),
        ("kind: plane", "kind is 'plane'; expected boom or spot or drone"),
        ("buffer_m: 1", "expected metres for rtk and for sbas"),
        ("buffer_m: {rtk: 1}", "expected metres for rtk and for sbas"),
        ("buffer_m: {rtk: 1, sbas: -2}", r"buffer_m\.sbas is -2; expected 0 to 100"),
    ],
)
def test_what_is_wrong_in_a_machine_is_named(tmp_path, change, message):
    row = yaml.safe_load(machine_text("boom_24m_sections")) | yaml.safe_load(change)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(row), encoding="utf-8")
    with pytest.raises(PrescriptionError, match=message):
        read_machine(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [("[1, 2]", "holds a list"), ("a: [", "is no YAML"), ("title: x", "lacks kind, width_m, section_m")],
)
def test_a_file_that_is_no_machine_is_refused(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PrescriptionError, match=message):
        read_machine(path)


def test_an_unknown_machine_lists_those_that_exist():
    with pytest.raises(PrescriptionError, match="no machine 'tractor'; expected .* boom_24m_sections, boom_36m"):
        read_machine("tractor")


def test_the_machine_fills_in_what_is_not_said():
    config, machine = resolved(SprayConfig(machine="boom_36m_sections", positioning="sbas"))
    assert (config.section_m, config.length_m, config.buffer_m, config.min_gap_m) == pytest.approx((3, 1, 1.5, 10 / 3))
    assert machine is not None
    said, _ = resolved(SprayConfig(machine="boom_36m_sections", buffer_m=0.0, min_gap_m=0.0, length_m=2.0))
    assert (said.buffer_m, said.min_gap_m, said.length_m) == (0.0, 0.0, 2.0)


def test_other_sections_make_the_machine_a_whole_number_of_them():
    config, machine = resolved(SprayConfig(machine="boom_24m_sections", section_m=5.0))
    assert config.cell_m == (5.0, 5.0)
    assert (machine.width_m, machine.sections) == (25.0, 5)


def test_without_a_machine_everything_is_as_it_was():
    config, machine = resolved(SprayConfig())
    assert machine is None
    assert (config.cell_m, config.buffer_m, config.min_gap_m) == ((0.5, 0.5), 0.5, 0.0)


def test_headlands_in_passes_need_a_machine():
    with pytest.raises(PrescriptionError, match=r"headland_passes is 2, but no machine"):
        resolved(SprayConfig(headland_passes=2))
    assert resolved(SprayConfig(headland_passes=2, machine="boom_24m_sections"))[0].headland_m == 48
    assert resolved(SprayConfig(headland_passes=2, headland_m=60, machine="boom_24m_sections"))[0].headland_m == 60


def test_a_change_in_a_file_that_is_named_is_seen(tmp_path):
    machine = tmp_path / "mine.yaml"
    machine.write_text(machine_text("drone_40l"), encoding="utf-8")
    for name in ("lines.shp", "lines.dbf", "other.shp"):
        (tmp_path / name).write_bytes(b"1")
    config = SprayConfig(machine=str(machine), ab_line=str(tmp_path / "lines.shp"))
    first = file_hashes(config)
    (tmp_path / "other.shp").write_bytes(b"2")
    assert file_hashes(config) == first
    (tmp_path / "lines.dbf").write_bytes(b"2")
    assert file_hashes(config)["ab_line"] != first["ab_line"]
    machine.write_text(machine_text("drone_40l").replace("40", "30"), encoding="utf-8")
    assert file_hashes(config)["machine"] != first["machine"]
    assert file_hashes(SprayConfig()) == {}


@pytest.mark.parametrize(
    ("litres", "fills", "last"), [(0, 0, 0), (1, 1, 16), (3985, 1, 4000), (3986, 2, 1), (12000, 4, 15)]
)
def test_the_tank_is_filled_until_all_is_sprayed_and_the_rest_stays(litres, fills, last):
    tank = fill_tank(litres, 4000.0, 15.0)
    assert (tank.fills, tank.last_litres) == (fills, pytest.approx(last))
    if litres:
        assert (tank.fills - 1) * 4000 + tank.last_litres - tank.residual_litres == pytest.approx(litres)
