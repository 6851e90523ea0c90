"""What is printed for programs, for people, and for those who follow."""

from tests.unit.cli.fakes import FakeClient, status, view
from turnout.cli.logs import added, printed
from turnout.cli.outputs import Saved, whole
from turnout.cli.showing import described
from turnout.client.view import JobState
from turnout.messages import FleetGroup


def test_json_has_every_field_also_those_that_hold_their_default() -> None:
    found = whole(view("digits-1", status=status(3, refused={"stale": 2})))
    assert found["reason"] == ""
    assert found["finished_at"] is None
    assert found["status"]["version"] == 3
    assert found["status"]["lost"] == 0
    assert found["status"]["refused"] == {"stale": 2}
    saved = {"job_id": "a", "version": 1, "file": "f", "bytes": 2, "metrics": {}}
    assert whole([Saved("a", 1, "f", 2)]) == [saved]


def test_a_running_job_is_described_by_what_it_waits_for() -> None:
    running = status(
        7,
        metrics={"accuracy": 0.912345},
        metrics_version=6,
        training=5,
        places=8,
        buffered=2,
        goal=4,
        counted=30,
        refused={"too stale": 1, "norm": 2},
        waiting_for="2 of 4 updates",
        warnings=("the disk is slow",),
    )
    lines = described(view("digits-1", status=running, fresh=True), now=1090.0)
    assert lines[:4] == [
        "job         digits-1, named 'digits'",
        "state       running",
        "since       2 min ago",
        "waits for   2 of 4 updates",
    ]
    assert "metrics     accuracy 0.9123 (version 6)" in lines
    assert "buffer      2 of 4 results for version 8" in lines
    assert "results     30 counted, 0 sent again, 3 refused: norm 2, too stale 1" in lines
    assert lines[-1] == "warning     the disk is slow"


def test_platforms_that_send_only_zeros_or_are_never_counted_are_told_so() -> None:
    groups = (
        FleetGroup("android", "2.4", asked=9, given=8, counted=5, zeros=1),
        FleetGroup("ios", "2.3", asked=9, given=8, counted=5, zeros=5),
        FleetGroup("web", "", asked=9),
    )
    fleet = described(view("digits-1", status=status(7, fleet=groups), fresh=True), now=1090.0)[-4:]
    assert [" ".join(line.split()) for line in fleet] == [
        "fleet PLATFORM APP ASKED TASKS TRAINING COUNTED REFUSED LOST ZEROS",
        "android 2.4 9 8 0 5 0 0 1",
        "ios 2.3 9 8 0 5 0 0 5 only zeros: it does not train",
        "web - 9 0 0 0 0 0 0 never counted",
    ]


def test_an_ended_job_is_described_by_its_reason() -> None:
    ended = view("digits-1", state=JobState.FAILED, finished_at=1010.0, reason="its model is nan")
    assert described(ended, now=1070.0) == [
        "job         digits-1, named 'digits'",
        "state       failed",
        "ended       1 min ago, after 10 s",
        "because     its model is nan",
        "            it left no account of itself",
    ]


def test_of_an_ended_job_it_is_told_what_is_left_in_no_version() -> None:
    ended = view("digits-1", state=JobState.CANCELLED, finished_at=1010.0, status=status(7, buffered=3, dropped=2))
    lines = described(ended, now=1070.0)
    assert "left        3 counted results are in no version; turnout start continues with them" in lines
    assert "            2 of them were dropped where training diverged, and are in no version" in lines


def test_lines_of_a_log_that_were_seen_are_not_printed_again() -> None:
    assert added(["a", "b"], ["a", "b", "c"]) == ["c"]
    assert added(["a", "b", "c"], ["b", "c", "d"]) == ["d"]
    assert added(["x", "x"], ["x", "x", "x"]) == ["x"]
    assert added([], ["a"]) == ["a"]
    assert added(["a"], ["b"]) == ["b"]
    assert added(["a"], ["a"]) == []


def test_the_last_lines_of_an_ended_job_are_all_there_is_to_follow() -> None:
    client = FakeClient()
    client.log = [["a", "b", "c"]]
    assert list(printed(client, view("digits-1", state=JobState.COMPLETED), 2, follow=True)) == ["b", "c"]
