"""Watching a job: what is new as it comes, until the job has ended or the server is away for too long."""

from collections.abc import Iterator

import msgspec
import pytest
from rich.console import Console

from tests.unit.cli.fakes import FakeClient, status, view
from turnout.cli import watch_view, watching
from turnout.client.client import StreamedEvent, streamed
from turnout.client.view import JobState
from turnout.local.picture import Picture
from turnout.messages import JobEvent, PausedBy
from turnout.process.exits import EXIT_DONE, EXIT_NOT_COMPLETED

RUNNING = view("digits-1", status=status(1), fresh=True)
COMPLETED = view("digits-1", state=JobState.COMPLETED, status=status(2), reason="version 2 is the last")
CANCELLED = view("digits-1", state=JobState.CANCELLED, status=status(1), reason="cancelled by a person")
SAMPLE = StreamedEvent("sample", b"{}", "")


def test_events_are_told_and_the_job_is_asked_at_every_sample() -> None:
    published = JobEvent(1.0, "published", version=2, counted=16, took_s=1.25)
    client = FakeClient(
        views=(RUNNING, COMPLETED),
        events=(
            StreamedEvent("event", msgspec.json.encode(published), "7-1"),
            SAMPLE,
            StreamedEvent("end", b"{}", ""),
        ),
    )
    assert list(watching.moments(client, RUNNING, "7-0")) == [published, RUNNING, COMPLETED]
    assert client.asked_after == ["7-0"]


def test_a_job_that_has_ended_has_no_more_moments() -> None:
    assert list(watching.moments(FakeClient(), COMPLETED, "")) == []


@pytest.mark.parametrize(("last", "code"), [(COMPLETED, EXIT_DONE), (CANCELLED, EXIT_NOT_COMPLETED)])
def test_the_exit_code_says_how_the_job_ended(last: object, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(last, type(RUNNING))
    client = FakeClient(views=(last,), events=(SAMPLE,))
    assert watching.follow(client, RUNNING, as_json=False) == code
    first, ended, advice = capsys.readouterr().out.splitlines()
    assert first.endswith("version 1  0 training, about 0 waiting  0 counted, 0 refused")
    assert ended.endswith(last.reason)
    assert advice == "get its model: turnout model digits-1"


def test_json_is_a_line_each_time_the_job_has_changed(capsys: pytest.CaptureFixture[str]) -> None:
    client = FakeClient(views=(RUNNING, RUNNING, COMPLETED), events=(SAMPLE, SAMPLE, SAMPLE))
    watching.follow(client, RUNNING, as_json=True)
    lines = [msgspec.json.decode(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["state"] for line in lines] == ["running", "completed"]
    assert lines[0]["status"]["version"] == 1


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (JobEvent(1.0, "started", version=3), "the job's process began at version 3"),
        (JobEvent(1.0, "started", version=3, text="a crash"), "the job's process began at version 3: a crash"),
        (JobEvent(1.0, "published"), "version 0, the initial model"),
        (JobEvent(1.0, "published", version=2, counted=16, took_s=1.25), "version 2 after 1.2 s, of 16 results so far"),
        (JobEvent(1.0, "evaluated", version=3, metrics={"loss": 0.25}), "version 3: loss 0.25"),
        (
            JobEvent(1.0, "evaluation_failed", version=4, text="KeyError: 'x'"),
            "evaluation fails since version 4: KeyError: 'x'",
        ),
        (JobEvent(1.0, "state", text="PAUSED"), "the job is paused"),
        (JobEvent(1.0, "finished", text="the target is reached"), "finished: the target is reached"),
        (JobEvent(1.0, "warning", text="the disk is slow"), "warning: the disk is slow"),
    ],
)
def test_every_kind_of_event_has_words(said: JobEvent, words: str) -> None:
    assert watch_view.words(said) == words


def test_the_panel_shows_what_the_job_waits_for_and_what_happened() -> None:
    picture = Picture("digits-1", 0, 0.0)
    for version in (1, 2):
        metrics = {"accuracy": version / 4}
        waiting = status(version, metrics=metrics, metrics_version=version, waiting_for="3 of 16 updates", goal=16)
        picture.saw_job(view("digits-1", status=waiting), 1.0)
    picture.said("version 2: 16 results", 1.0)
    for height in (20, 50):
        console = Console(width=80, record=True, file=None, force_terminal=False, quiet=False)
        with console.capture() as drawn:
            console.print(watch_view.panel(picture, height))
        shown = drawn.get()
        for words in ("version 2", "accuracy 0.5", "3 of 16 updates", "version 2: 16 results", "Ctrl-C stops watching"):
            assert words in shown


@pytest.mark.parametrize(
    ("paused_by", "words"),
    [
        (PausedBy.PERSON, "buffered, paused by a person"),
        (PausedBy.ROUNDS, "buffered, paused below quorum"),
        (PausedBy.DIVERGENCE, "buffered, paused after divergence"),
    ],
)
def test_the_panel_says_who_paused_the_job(paused_by: PausedBy, words: str) -> None:
    picture = Picture("digits-1", 0, 0.0)
    picture.saw_job(
        view("digits-1", status=msgspec.structs.replace(status(1), state="PAUSED", paused_by=paused_by)), 1.0
    )
    console = Console(width=80, force_terminal=False)
    with console.capture() as drawn:
        console.print(watch_view.panel(picture))
    assert words in drawn.get()


def lines() -> Iterator[bytes]:
    yield from (b": hello\n", b"\n", b"event: event\n", b"id: 7-12\n", b'data: {"a":1}\n', b"\n")
    yield from (b"event: sample\r\n", b"data: 2\r\n", b"\r\n", b"event: end\n", b"data: {}\n", b"\n", b"event: cut")


def test_a_stream_is_read_event_by_event() -> None:
    assert list(streamed(lines())) == [
        StreamedEvent("event", b'{"a":1}', "7-12"),
        StreamedEvent("sample", b"2", "7-12"),
        StreamedEvent("end", b"{}", "7-12"),
    ]


def test_a_line_says_why_a_job_cannot_run_for_now_instead_of_what_it_waited_for_before() -> None:
    picture = Picture("digits-1", 0, 0.0)
    picture.saw_job(view("digits-1", reason="the disk is full", status=status(3, waiting_for="devices")), 1.0)
    assert watch_view.line(picture).endswith("  the disk is full")
