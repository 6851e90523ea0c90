"""The log of what happened to a job."""

from pathlib import Path

import msgspec

from turnout.job.account import eventlog
from turnout.job.account.eventlog import EventLog
from turnout.job.folder.directory import EVENTS
from turnout.messages import JobEvent
from turnout.storage.rotation import older


def events(path: Path) -> list[JobEvent]:
    return [msgspec.json.decode(line, type=JobEvent) for line in path.read_bytes().splitlines()]


def test_events_are_read_back_in_their_order(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.add("published", version=3, counted=48, took_s=1.5)
    EventLog(tmp_path).add("evaluated", version=3, metrics={"accuracy": 0.9})
    first, second = events(tmp_path / EVENTS)
    assert (first.kind, first.version, first.counted, first.took_s) == ("published", 3, 48, 1.5)
    assert (second.kind, second.metrics) == ("evaluated", {"accuracy": 0.9})
    assert first.at <= second.at


def test_a_log_that_has_grown_begins_anew_and_keeps_one_older_part(tmp_path: Path) -> None:
    (tmp_path / EVENTS).write_bytes(b"x" * eventlog.BYTES_MAX)
    log = EventLog(tmp_path)
    log.add("warning", text="first")
    log.add("warning", text="second")
    assert [event.text for event in events(tmp_path / EVENTS)] == ["first", "second"]
    assert older(tmp_path / EVENTS).read_bytes() == b"x" * eventlog.BYTES_MAX


def test_a_log_that_cannot_be_written_hurts_nobody(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "nowhere")
    log.add("warning", text="lost")
    log.add("warning", text="lost too")


def test_an_event_too_long_to_tell_is_told_shortly(tmp_path: Path) -> None:
    EventLog(tmp_path).add("warning", text="x" * eventlog.LINE_BYTES_MAX)
    (event,) = events(tmp_path / EVENTS)
    assert (event.kind, event.text) == ("warning", "too long to tell")
