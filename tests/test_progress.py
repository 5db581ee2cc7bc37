"""Events: what a program hears of a run, and the trace."""

from __future__ import annotations

import json
import time

import pytest
from click.testing import CliRunner

from geoseg.cli import main
from geoseg.progress import bar, emit, listen, span
from test_job import CONFIG, ColourSegmenter, field

__all__ = ["field"]
SETS = [part for key in CONFIG for part in ("--set", key)]


@pytest.fixture(scope="module")
def told(field, tmp_path_factory):
    """A run with all listeners, and the same command again."""
    folder = tmp_path_factory.mktemp("told")
    arguments = ["run", str(field[0]), "--out", str(folder / "run"), *SETS, "--events", str(folder / "events")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geoseg.stages.segment.load_segmenter", lambda config: ColourSegmenter())
        first = CliRunner().invoke(main, [*arguments, "--profile", str(folder / "trace.json"), "--json-events"])
        lines = (folder / "events").read_text().splitlines()
        second = CliRunner().invoke(main, arguments)
    assert (first.exit_code, second.exit_code) == (0, 0), first.output + second.output
    return folder, [json.loads(line) for line in lines], first, second


def test_every_stage_starts_and_finishes(told):
    _, events, _, _ = told
    stages = ["segment", "vectorize", "rows", "prescribe", "picture", "qgis", "report"]
    for name in ("stage_started", "stage_finished"):
        assert [event["stage"] for event in events if event["event"] == name] == stages
    assert events[-1]["event"] == "run_finished"
    assert events[-1]["worked"] == stages


def test_progress_has_the_time_left_and_the_speed(told):
    last = [event for event in told[1] if event["event"] == "progress" and event["stage"] == "segment"][-1]
    assert last["done"] == last["total"] == 1600 * 2000
    assert last["eta_s"] == 0
    assert last["ha_h"] == pytest.approx(1600 * 2000 * 0.005**2 / 1e4 / last["seconds"] * 3600, rel=0.01)


def test_json_events_on_stderr_are_the_same_lines(told):
    assert [json.loads(line) for line in told[2].stderr.splitlines()] == told[1]


def test_the_trace_holds_stages_and_what_the_loop_did(told):
    trace = json.loads((told[0] / "trace.json").read_text())["traceEvents"]
    spans = [event for event in trace if event["ph"] == "X"]
    assert {event["name"] for event in spans} >= {"segment", "vectorize", "prescribe", "read", "forward", "write"}
    segment = next(event for event in spans if event["name"] == "segment")
    for event in spans:
        if event["name"] == "forward":
            assert segment["ts"] <= event["ts"]
            assert event["ts"] + event["dur"] <= segment["ts"] + segment["dur"] + 1
    assert len({event["tid"] for event in spans}) >= 3


def test_the_second_run_says_that_everything_is_there(told):
    assert "everything is in" in told[3].stderr
    assert "everything is in" not in told[2].stderr


def test_a_listener_hears_nothing_after_it_left():
    heard = []
    with listen(heard.append):
        emit("one")
        with span("two"), pytest.raises(ZeroDivisionError), span("three"):
            raise ZeroDivisionError
    emit("four")
    assert [event.get("name", event["event"]) for event in heard] == ["one", "three", "two"]


def test_the_time_left_follows_from_what_is_done():
    heard = []
    with listen(heard.append), bar("work", 4) as progress:
        progress.update(4)
    assert heard[0]["eta_s"] == 0
    assert (heard[0]["done"], heard[0]["total"]) == (4, 4)


def test_what_was_done_before_counts_neither_as_speed_nor_as_time():
    heard = []
    with listen(heard.append), bar("work", 8, ha_per_unit=1, initial=6) as progress:
        time.sleep(0.05)
        progress.update()
        progress.update()
    assert (heard[-1]["done"], heard[-1]["total"]) == (8, 8)
    assert heard[-1]["ha_h"] == pytest.approx(2 / heard[-1]["seconds"] * 3600, rel=0.05)


def test_without_a_terminal_there_is_a_line_a_minute(monkeypatch, capsys):
    with bar("train", 4000, "step") as progress:
        progress.update()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("geoseg.progress._LINE_EVERY_S", 0)
    with bar("train", 4000, "step") as progress:
        progress.set_postfix(loss="0.312")
        progress.update(1200)
    said = capsys.readouterr().err
    assert said.startswith("train: 1.20k of 4.00k step, 00:00 left, loss 0.312")
    with listen(lambda event: None), bar("train", 4000, "step") as progress:
        progress.update()
    assert capsys.readouterr().err == ""  # events stay whole lines of JSON


def test_events_that_cannot_be_written_are_bad_input(tmp_path):
    found = CliRunner().invoke(main, ["run", "x.tif", "--events", str(tmp_path / "no" / "events")])
    assert found.exit_code == 2
    assert "cannot be written" in found.stderr


def test_any_command_tells_events_when_asked(told):
    arguments = ["--json-events", "prescribe", str(told[0] / "run"), *SETS, "--rate", "120"]
    found = CliRunner().invoke(main, arguments)
    assert found.exit_code == 0, found.output
    events = [json.loads(line) for line in found.stderr.splitlines()]
    assert next(event["stage"] for event in events if event["event"] == "stage_finished") == "prescribe"
    assert events[-1]["event"] == "run_finished"


def test_events_asked_for_twice_are_told_once(told):
    arguments = ["--json-events", "run", str(told[0] / "nothing.tif"), "--out", str(told[0] / "none"), "--json-events"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geoseg.job.run", lambda *words, **named: emit("said"))
        found = CliRunner().invoke(main, arguments)
    assert found.stderr.count('"said"') == 1
