"""The store of jobs: one row per job, one end per job."""

import sqlite3
from pathlib import Path

import msgspec
import pytest

from turnout.client.view import JobState
from turnout.control.store import Store
from turnout.errors import TurnoutError
from turnout.messages import Eligibility, RunningJob
from turnout.storage import migrations

DIGITS = RunningJob(
    job_id="digits-1",
    name="digits",
    meta={"edge_method": "numpy"},
    device_config={"rate": 0.5},
    eligibility=Eligibility(platforms=("android",)),
    address="/tmp/x",
    blobs="/tmp/y",
)


@pytest.fixture
def store() -> Store:
    return Store(":memory:")


def test_a_submitted_job_is_running_and_keeps_what_gateways_must_know_but_no_paths(store: Store) -> None:
    store.add(DIGITS, now=100.0)
    job = store.get("digits-1")
    assert job is not None
    assert (job.state, job.submitted_at, job.finished_at, job.reason) == (JobState.RUNNING, 100.0, None, "")
    assert job.announcement == RunningJob(
        "digits-1", "digits", {"edge_method": "numpy"}, {"rate": 0.5}, Eligibility(platforms=("android",))
    )


def test_an_unknown_job_is_none(store: Store) -> None:
    assert store.get("nothing") is None


def test_the_first_end_of_a_job_stays(store: Store) -> None:
    store.add(DIGITS, now=100.0)
    store.finish("digits-1", JobState.COMPLETED, "version 20", now=160.0)
    store.finish("digits-1", JobState.FAILED, "too late", now=170.0)
    job = store.get("digits-1")
    assert job is not None
    assert (job.state, job.reason, job.finished_at) == (JobState.COMPLETED, "version 20", 160.0)
    assert store.unfinished() == []


def test_a_job_that_a_person_ends_is_unfinished_until_its_process_has_ended(store: Store) -> None:
    store.add(DIGITS, now=100.0)
    store.cancelling("digits-1")
    assert [job.state for job in store.unfinished()] == [JobState.CANCELLING]
    store.finish("digits-1", JobState.CANCELLED, "", now=101.0)
    store.cancelling("digits-1")
    assert store.unfinished() == []


def test_the_newest_jobs_come_first(store: Store) -> None:
    for number in range(3):
        store.add(RunningJob(f"digits-{number}", "digits"), now=float(number))
    assert [job.job_id for job in store.jobs(limit=2)] == ["digits-2", "digits-1"]


def test_jobs_survive_in_the_file(tmp_path: Path) -> None:
    store = Store(tmp_path / "control.sqlite")
    store.add(DIGITS, now=1.0)
    store.close()
    again = Store(tmp_path / "control.sqlite")
    assert [job.job_id for job in again.unfinished()] == ["digits-1"]
    again.close()


def test_a_file_of_a_newer_turnout_is_refused_with_a_way_out(tmp_path: Path) -> None:
    path = tmp_path / "control.sqlite"
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    before = path.read_bytes()
    with pytest.raises(TurnoutError, match=r"newer turnout \(schema 99, .*nothing was changed: .*--data"):
        Store(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_newer_file_with_a_log_beside_it_is_left_as_it_is(tmp_path: Path) -> None:
    Store(tmp_path / "made.sqlite").close()
    writer = sqlite3.connect(tmp_path / "made.sqlite", isolation_level=None)
    writer.execute("PRAGMA user_version = 99")
    path = tmp_path / "control.sqlite"
    for suffix in ("", "-wal"):
        (tmp_path / f"control.sqlite{suffix}").write_bytes((tmp_path / f"made.sqlite{suffix}").read_bytes())
    writer.close()
    before = path.read_bytes(), (tmp_path / "control.sqlite-wal").read_bytes()
    with pytest.raises(TurnoutError, match="newer turnout"):
        Store(path)
    assert (path.read_bytes(), (tmp_path / "control.sqlite-wal").read_bytes()) == before


def test_old_aborted_jobs_have_failed_and_all_else_of_them_stays(tmp_path: Path) -> None:
    path = tmp_path / "control.sqlite"
    db = sqlite3.connect(path, isolation_level=None)
    migrations.migrate(db, migrations.scripts("turnout.control")[:3])
    said = msgspec.json.encode(RunningJob("digits-1", "digits"))
    for job_id, state, end in (
        ("digits-1", "aborted", 9.0),
        ("digits-2", "cancelled", 8.0),
        ("digits-3", "running", None),
    ):
        db.execute("INSERT INTO job VALUES (?, 'digits', ?, 7.0, ?, 'why', ?)", (job_id, state, end, said))
    db.close()
    store = Store(path)
    assert [(job.job_id, job.state, job.submitted_at, job.finished_at, job.reason) for job in store.jobs(10)] == [
        ("digits-1", JobState.FAILED, 7.0, 9.0, "why"),
        ("digits-2", JobState.CANCELLED, 7.0, 8.0, "why"),
        ("digits-3", JobState.RUNNING, 7.0, None, "why"),
    ]
    assert [job.job_id for job in store.unfinished()] == ["digits-3"]
    store.close()


def test_the_scopes_of_old_tokens_become_those_of_now(tmp_path: Path) -> None:
    path = tmp_path / "control.sqlite"
    db = sqlite3.connect(path, isolation_level=None)
    migrations.migrate(db, migrations.scripts("turnout.control")[:2])
    for number, scope in enumerate(("read", "write", "admin")):
        db.execute("INSERT INTO token VALUES (?, ?, ?, ?, ?)", (scope, "a name", scope, bytes([number] * 32), number))
    db.close()
    store = Store(path)
    assert [(token.token_id, token.scope) for token in store.tokens()] == [
        ("read", "view"),
        ("write", "submit"),
        ("admin", "admin"),
    ]
    assert [(token.name, token.sha256, token.created_at) for token in store.tokens()] == [
        ("a name", bytes([number] * 32), number) for number in range(3)
    ]
    store.close()


def test_a_link_is_opened_once_and_forgotten_when_its_code_has_expired(store: Store) -> None:
    assert store.open_link("one", expires_at=10.0, now=5.0)
    assert not store.open_link("one", expires_at=10.0, now=6.0)
    assert store.open_link("two", expires_at=30.0, now=20.0)
    assert store.open_link("one", expires_at=10.0, now=20.0)  # whose code nobody takes any more
