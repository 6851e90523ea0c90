"""The log of a job's events as it is read: whole, in order, and to go on from anywhere."""

import os
from pathlib import Path

import msgspec

from turnout.control.history import Place, parse_place, read_after, read_all
from turnout.messages import JobEvent


def line(version: int, kind: str = "published") -> bytes:
    return msgspec.json.encode(JobEvent(float(version), kind, version)) + b"\n"


def write(directory: Path, older: bytes | None, now: bytes | None) -> None:
    for name, content in (("events.older.jsonl", older), ("events.jsonl", now)):
        if content is not None:
            (directory / name).write_bytes(content)


def versions(directory: Path, after: Place | None = None) -> list[int]:
    return [event.version for _, event in read_after(directory, after)]


def test_a_job_without_a_log_has_no_events(tmp_path: Path) -> None:
    assert read_all(tmp_path, 0.0) == ([], "")


def test_both_parts_are_read_in_their_order(tmp_path: Path) -> None:
    write(tmp_path, line(1) + line(2), line(3))
    assert versions(tmp_path) == [1, 2, 3]


def test_reading_goes_on_after_each_event_whichever_part_it_is_in(tmp_path: Path) -> None:
    write(tmp_path, line(1) + line(2), line(3))
    places = [place for place, _ in read_after(tmp_path, None)]
    assert [versions(tmp_path, parse_place(str(place))) for place in places] == [[2, 3], [3], []]


def test_reading_goes_on_in_a_part_that_was_given_its_other_name(tmp_path: Path) -> None:
    write(tmp_path, None, line(1) + line(2))
    (first, _), _ = read_after(tmp_path, None)
    os.rename(tmp_path / "events.jsonl", tmp_path / "events.older.jsonl")
    write(tmp_path, None, line(3))
    assert versions(tmp_path, first) == [2, 3]


def test_a_place_that_is_no_more_means_the_beginning(tmp_path: Path) -> None:
    write(tmp_path, None, line(1) + line(2))
    inode = (tmp_path / "events.jsonl").stat().st_ino
    for place in (Place(1, 10), Place(inode, 3), Place(inode, 10**6), parse_place("rubbish"), parse_place("1-2-3")):
        assert versions(tmp_path, place) == [1, 2]


def test_half_a_line_is_left_for_later_and_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, None, line(1) + b"\x00\x00\n" + line(2) + line(3)[:-5])
    assert versions(tmp_path) == [1, 2]


def test_of_a_version_published_again_after_a_restart_the_first_time_is_kept(tmp_path: Path) -> None:
    again = msgspec.json.encode(JobEvent(9.0, "published", 2)) + b"\n"
    write(tmp_path, None, line(1) + line(2) + again + line(2, "evaluated"))
    events, place = read_all(tmp_path, 1.5)
    assert [(event.at, event.kind) for event in events] == [(2.0, "published"), (2.0, "evaluated")]
    assert versions(tmp_path, parse_place(place)) == []
