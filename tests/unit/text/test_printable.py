"""What devices and a job's own code say reaches a terminal, a log or a label with its control characters escaped."""

import ast
import io
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from tests.unit.cli.fakes import FakeClient, status, view
from turnout.cli import base, jobs, watch_view, watching
from turnout.cli.showing import LABEL_WIDTH, described
from turnout.client.listing import table
from turnout.client.view import JobState
from turnout.control import metrics
from turnout.device.counters import FleetCounters
from turnout.fleet.process import for_people
from turnout.job.account.eventlog import EventLog
from turnout.job.account.groups import Groups
from turnout.job.folder.directory import EVENTS, FINAL
from turnout.job.remade import read_final, write_final
from turnout.local import view as demo_view
from turnout.local.picture import Picture
from turnout.local.screen import PlainScreen
from turnout.messages import DeviceInfo, FleetGroup, JobEvent
from turnout.process.streams import tell
from turnout.supervisor.joblog import JobLogs
from turnout.text.printable import label, printable, printable_json

SRC = Path(__file__).parents[3] / "src" / "turnout"
CLIPBOARD = "\x1b]52;c;cm0gLXJmIH4=\x07"  #: OSC 52: a terminal puts "rm -rf ~" into the clipboard.
HOSTILE = f"{CLIPBOARD}\x1b]0;title\x07\x1b[2J\njob digits-9 completed\r\x85\x9b31m\u202e\u2066\u2028\x7f[red]"
OURS = ("job", "state", "since", "ended", "because", "waits for", "model", "metrics", "devices", "buffer", "results",
        "journal", "fleet", "", "warning")  # fmt: skip
JOB = msgspec.structs.replace(
    status(3),
    state=HOSTILE,
    workflow=HOSTILE,
    metrics={HOSTILE: 0.5},
    metrics_version=3,
    waiting_for=HOSTILE,
    warnings=(HOSTILE,),
    refused={HOSTILE: 2},
    journal=HOSTILE,
    fleet=(FleetGroup(HOSTILE, HOSTILE, asked=3),),
)
VIEW = view("digits-1", name=HOSTILE, status=JOB, reason=HOSTILE, fresh=True)
ENDED = view("digits-1", name=HOSTILE, status=JOB, reason=HOSTILE, state=JobState.FAILED)


def picture() -> Picture:
    made = Picture(HOSTILE, 5, 0.0)
    made.saw_job(VIEW, 1.0)
    made.measured(2, {HOSTILE: 0.1})
    made.said(HOSTILE, 1.0)
    return made


def shows(text: str, rows: int | None = None) -> None:
    """It holds the words, and nothing that a terminal would take for more; on so many rows."""
    lines = text.removesuffix("\n").split("\n")
    assert all(line.isprintable() for line in lines), text
    assert r"\x1b]52" in text.replace("\n", "") or r"\u001b]52" in text
    assert rows is None or len(lines) == rows, text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Größe 1,5 µs · 模型 🚃", "Größe 1,5 µs · 模型 🚃"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\nb\r\tc\x00\x7f", r"a\nb\r\tc\x00\x7f"),
        ("\x85\x9b31m\x90", r"\x85\x9b31m\x90"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_is_not_printable_is_spelled_out(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown


def test_nothing_changes_the_direction_of_text() -> None:
    directions = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    marks = [chr(code) for code in range(0x110000) if unicodedata.bidirectional(chr(code)) in directions]
    marks += ["\u200e", "\u200f", "\u061c"]
    assert len(marks) == len(directions) + 3
    assert printable("".join(marks)) == "".join(f"\\u{ord(mark):04x}" for mark in marks)


def test_json_means_the_same_and_is_printable() -> None:
    encoded = msgspec.json.format(msgspec.json.encode({"said": HOSTILE + "\U000e0001"}))
    shown = printable_json(encoded)
    assert json.loads(shown) == {"said": HOSTILE + "\U000e0001"}
    shows(shown, rows=3)


def test_a_name_that_becomes_a_label_has_an_alphabet() -> None:
    assert label("android") == "android"
    assert label("1.5.0-beta (build 7)") == "1.5.0-beta (build 7)"
    assert label("a\x1b]52;c\x07\u202eé") == "a??52?c???"
    assert label("x" * 100) == "x" * 64
    groups = Groups()
    groups.asked(DeviceInfo("d", platform="ios\n", app_version="<b>1</b>"))
    assert groups.shown() == (FleetGroup("ios?", "?b?1?/b?", asked=1),)


@pytest.mark.parametrize("now", [VIEW, ENDED])
def test_show_and_jobs_have_a_row_for_each_thing(now: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(now, type(VIEW))
    base.answer(now, described(now, 2000.0), as_json=False)
    shown = capsys.readouterr().out
    shows(shown)
    labels = [line[:LABEL_WIDTH].strip() for line in shown.splitlines()]
    assert labels == [label for label in labels if label in OURS]
    assert labels.count("job") == labels.count("state") == 1
    base.answer([now], table([now]), as_json=False)
    shows(capsys.readouterr().out, rows=2)
    base.answer(now, [], as_json=True)
    shows(capsys.readouterr().out, rows=1)


def test_logs_print_a_row_for_each_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    client = FakeClient(ENDED)
    client.log = [[HOSTILE], [HOSTILE]]
    monkeypatch.setattr(base.Remote, "client", lambda self: client)
    for as_json in (False, True):
        jobs.logs("digits-1", json=as_json)
        shows(capsys.readouterr().out, rows=1)


@pytest.mark.parametrize("as_json", [False, True])
def test_watch_prints_a_row_for_each_thing(as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    watching.follow(FakeClient(), ENDED, as_json)
    shows(capsys.readouterr().out, rows=1 if as_json else 2)
    watching.PlainScreen().said(picture(), HOSTILE)
    shows(capsys.readouterr().out, rows=1)


@pytest.mark.parametrize("draw", [watch_view.panel, demo_view.panel])
def test_a_panel_shows_words_and_no_markup(draw: Callable[[Picture, int], object]) -> None:
    console = Console(file=io.StringIO(), width=200, force_terminal=False)
    console.print(draw(picture(), 60))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    shows(shown)
    assert "[red]" in shown


def test_a_run_without_a_terminal_prints_a_row_for_each_moment() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    PlainScreen(console).said(picture(), HOSTILE + ":smile:")
    PlainScreen(console).show(picture())
    assert isinstance(console.file, io.StringIO)
    shows(console.file.getvalue(), rows=2)
    assert ":smile:" in console.file.getvalue()


def test_a_fleet_prints_a_row_for_each_second(capsys: pytest.CaptureFixture[str]) -> None:
    for line in for_people(FleetCounters(devices=2, trainings_failed={HOSTILE[:50]: 2}, missing=HOSTILE)):
        tell(line)
    shows(capsys.readouterr().out, rows=1)


def test_what_is_kept_on_disk_can_be_looked_at_with_cat(tmp_path: Path) -> None:
    logs = JobLogs()
    logs.add(tmp_path / "log.txt", HOSTILE)
    logs.close(patience_s=10.0)
    shows((tmp_path / "log.txt").read_text(), rows=1)
    EventLog(tmp_path).add("warning", text=HOSTILE)
    line = (tmp_path / EVENTS).read_text()
    shows(line, rows=1)
    assert msgspec.json.decode(line, type=JobEvent).text == HOSTILE


def test_the_last_account_of_a_job_can_be_shown_by_cat_and_says_the_same(tmp_path: Path) -> None:
    write_final(tmp_path, JOB)
    shows((tmp_path / FINAL).read_text())
    assert read_final(tmp_path) == JOB


def test_metrics_are_a_page_that_prometheus_can_read() -> None:
    """Also where two names make one label: a page with two lines of one name and labels is refused as a whole."""
    two = {CLIPBOARD: 0.5, printable(CLIPBOARD): 0.25}
    text = metrics.render({}, {"digits-1": msgspec.structs.replace(JOB, metrics=two)}, [])
    assert all(line.isprintable() for line in text.split("\n"))
    (family,) = [found for found in text_string_to_metric_families(text) if found.name == "turnout_model_metric"]
    assert [(sample.labels["metric"], sample.value) for sample in family.samples] == [(printable(CLIPBOARD), 0.5)]


#: What else prints: answers that a process of ours reads from a pipe, and last words that the supervisor passes on.
PRINTS = {
    "process/streams.py",
    "api/capture.py",
    "cli/checking.py",
    "control/check.py",
    "demo/central.py",
    "job/process.py",
}


def test_nothing_is_printed_but_by_the_functions_that_escape() -> None:
    found = {
        path.relative_to(SRC).as_posix()
        for path in SRC.rglob("*.py")
        if path.parts[-2] not in ("sim", "template")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        if not all(isinstance(argument, ast.Constant) for argument in node.args)
    }
    assert found <= PRINTS
