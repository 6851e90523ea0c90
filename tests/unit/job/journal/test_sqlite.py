"""The journal on disk: what it gives back, what it refuses, and how it shows damage."""

import random
import shutil
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from turnout.blobs.base import BlobRef
from turnout.job.account.groups import Counts
from turnout.job.folder.directory import JOURNAL
from turnout.job.journal.journal import DiskError, Fenced, JournalDamaged, JournalUnusable, Snapshot
from turnout.job.journal.sqlite import SqliteJournal, disk_errors, read_snapshot
from turnout.job.places import counted
from turnout.job.places.changes import Changes
from turnout.job.places.leases import Lease, device_hash
from turnout.job.workflow.federated import Sum
from turnout.messages import FailingEvaluation, Warned
from turnout.storage.lock import JobLocked
from turnout.storage.migrations import scripts

COUNTED = ((3, 0, 50.0, b"\x05"), (4, 65_536, 9.5, b"\x00\x80"))  # tasks 0, 2 and 65536 + 15


def snapshot(commit: int = 1, **changes: Any) -> Snapshot:
    tasks, checksum = counted.keys(COUNTED)
    made = Snapshot(
        commit=commit,
        version=4,
        model=np.array([1.0, 2.5], np.float32),
        total=np.array([0.1, 1e300]),
        total_weight=3.0,
        buffered=3,
        counted=COUNTED,
        tasks=tasks,
        checksum=checksum,
        leases=(Lease(4, 65_540, b"d" * 16, 10.0, 1.0, 61.0),),
        taken={b"d" * 16: 65_540},
        reserved_until=131_072,
        blobs=((3, BlobRef("a" * 64, 88)),),
        workflow={"asked": 5, "closes_at": None},
        optimizer=(np.array([0.5, -0.5]),),
        rng=random.Random(7).getstate(),
        job_time=12.5,
        next_appointment=13.0,
        durations=(1.0, 2.0),
        tally={"counted": 3, "staleness": {0: 3}, "refused": {}},
    )
    return replace(made, **changes)


def assert_same(one: Snapshot | None, other: Snapshot) -> None:
    assert one is not None
    for field in fields(Snapshot):
        if field.name == "changes":  # says how it was to be written, and is not read back
            continue
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        np.testing.assert_equal(mine, theirs, field.name)


def test_what_people_were_told_is_kept(tmp_path: Path) -> None:
    written = snapshot(
        warned=(Warned("the disk is slow", 2, 100.0, 130.5),),
        evaluation_fails=FailingEvaluation(3, 4, 2, "KeyError: 'loss'"),
    )
    journal = opened(tmp_path)
    journal.commit(written)
    assert_same(written, journal.load())
    journal.close()


def opened(folder: Path, job_id: str = "job-1", **settings: int) -> SqliteJournal:
    return SqliteJournal(folder, job_id, lock_patience_s=0, **settings)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    made = opened(tmp_path)
    yield made
    made.close()


def test_a_new_journal_is_empty_and_has_a_key(journal: SqliteJournal) -> None:
    assert journal.load() is None
    assert len(journal.key) == 32
    assert journal.incarnation == 1


def test_a_snapshot_comes_back_as_it_was(journal: SqliteJournal, tmp_path: Path) -> None:
    journal.commit(snapshot())
    assert_same(journal.load(), snapshot())
    assert_same(read_snapshot(tmp_path / JOURNAL), snapshot())


def test_what_earlier_releases_did_not_write_comes_back_too(journal: SqliteJournal) -> None:
    written = snapshot(
        pause=(5.0, 2.0),
        groups=((("android", "1.4"), Counts(5, 4, 3, 1, 0)),),
        best=(3, 0.9),
        measured={3: {"accuracy": 0.9}},
        ending="enough",
        federated={4: {"accuracy": Sum(0.9, 2.0)}},
        leases=(Lease(4, 65_541, b"e" * 16, 10.0, 1.0, 61.0, validate=True),),
    )
    journal.commit(written)
    assert_same(journal.load(), written)


def test_the_next_process_has_the_same_key_and_snapshot_and_the_next_incarnation(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.commit(snapshot())
    first.close()
    second = opened(tmp_path)
    assert second.key == first.key
    assert second.incarnation == 2
    assert_same(second.load(), snapshot())
    second.close()


def test_each_commit_replaces_the_last_as_a_whole(journal: SqliteJournal) -> None:
    journal.commit(snapshot())
    later = snapshot(2, counted=COUNTED[1:], total=np.array([7.0, 8.0]), optimizer=())
    tasks, checksum = counted.keys(later.counted)
    later = replace(later, tasks=tasks, checksum=checksum)
    journal.commit(later)
    assert_same(journal.load(), later)


def test_what_did_not_change_is_not_written_again(journal: SqliteJournal, tmp_path: Path) -> None:
    model = np.zeros(1_000_000, np.float32)
    same = snapshot(model=model)
    journal.commit(same)
    before = (tmp_path / f"{JOURNAL}-wal").stat().st_size
    journal.commit(replace(same, commit=2, total=np.array([1.0, 1.0])))
    written = (tmp_path / f"{JOURNAL}-wal").stat().st_size - before
    assert 0 < written < 100_000, "the model's four megabytes are not among them"
    loaded = journal.load()
    assert loaded is not None
    journal.commit(replace(loaded, commit=3))
    assert_same(journal.load(), replace(same, commit=3, total=np.array([1.0, 1.0])))


def test_a_second_process_on_the_same_job_is_refused(journal: SqliteJournal, tmp_path: Path) -> None:
    with pytest.raises(JobLocked, match=r"another process \(pid \d+\) runs the job"):
        opened(tmp_path)


def test_a_stale_incarnation_cannot_commit(journal: SqliteJournal, tmp_path: Path) -> None:
    journal.commit(snapshot())
    (tmp_path / "journal.lock").unlink()  # as on a file system without locks
    newer = opened(tmp_path)
    newer.commit(snapshot(2))
    with pytest.raises(Fenced, match="incarnation 2 of this job has taken over from 1"):
        journal.commit(snapshot(2, version=9))
    assert_same(newer.load(), snapshot(2))
    newer.close()


def test_the_journal_of_another_job_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).close()
    with pytest.raises(JournalUnusable, match="is the journal of job job-1, not of job-2"):
        opened(tmp_path, "job-2")


def test_a_journal_of_a_newer_turnout_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / JOURNAL)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalUnusable, match=r"written by a newer turnout \(journal schema 99; this one knows 2"):
        opened(tmp_path)


@pytest.mark.parametrize("clean", [True, False], ids=["alone", "with its log"])
@pytest.mark.parametrize("newer", ["schema", "state"])
def test_what_a_newer_turnout_has_written_is_not_changed_by_a_byte(tmp_path: Path, newer: str, clean: bool) -> None:
    """By an older one that finds it, whether SQLite has folded the log into the file or not."""
    made = tmp_path / "made"
    made.mkdir()
    opened(made).close()
    writer = sqlite3.connect(made / JOURNAL, isolation_level=None)
    if newer == "schema":
        writer.execute("PRAGMA user_version = 99")
    else:
        state = msgspec.msgpack.encode({"a_field_of_the_future": 1})
        crc = zlib.crc32(state, zlib.crc32(b"1 0"))
        writer.execute(
            "INSERT INTO snapshot (one, commit_no, version, state, crc) VALUES (1, 1, 0, ?, ?)", (state, crc)
        )
    if clean:
        writer.close()
    found = tmp_path / "found"
    found.mkdir()
    names = [name for name in (JOURNAL, f"{JOURNAL}-wal") if (made / name).exists()]
    for name in names:
        (found / name).write_bytes((made / name).read_bytes())
    writer.close()
    before = {name: (found / name).read_bytes() for name in names}
    assert len(names) == (1 if clean else 2)
    with pytest.raises(JournalUnusable, match="update"):
        opened(found)
    assert {name: (found / name).read_bytes() for name in names} == before


def test_a_commit_beyond_the_bytes_allowed_fails_and_changes_nothing(tmp_path: Path) -> None:
    journal = opened(tmp_path, bytes_max=200_000)
    journal.commit(snapshot())
    with pytest.raises(DiskError, match="full"):
        journal.commit(snapshot(2, model=np.zeros(100_000, np.float32)))
    assert_same(journal.load(), snapshot())
    journal.commit(snapshot(2))
    assert_same(journal.load(), snapshot(2))
    journal.close()


def test_a_commit_after_an_error_that_nobody_looked_into_still_fits_the_file(tmp_path: Path) -> None:
    journal = opened(tmp_path, bytes_max=200_000)
    journal.commit(snapshot())
    with pytest.raises(DiskError):
        journal.commit(snapshot(2, model=np.zeros(100_000, np.float32)))
    journal.commit(snapshot(2, counted=(), tasks=0, checksum=0))
    assert_same(journal.load(), snapshot(2, counted=(), tasks=0, checksum=0))
    journal.close()


# --- damage -------------------------------------------------------------------------------------------------------


def committed(folder: Path, **changes: Any) -> Path:
    journal = opened(folder)
    journal.commit(snapshot(**changes))
    journal.close()
    return folder / JOURNAL


@pytest.mark.parametrize(
    ("sql", "part"),
    [
        ("UPDATE vector SET data = x'0000803f00002041' WHERE name = 'model'", "model"),
        ("UPDATE vector SET data = substr(data, 1, 8) WHERE name = 'total'", "total"),
        ("DELETE FROM vector WHERE name = 'optimizer 0'", "list of vectors"),
        ("UPDATE counted SET bits = x'04' WHERE version = 3", "record of counted tasks"),
        ("UPDATE counted SET first_task = 8 WHERE version = 3", "record of counted tasks"),
        ("DELETE FROM counted WHERE version = 4", "record of counted tasks"),
        ("UPDATE snapshot SET state = substr(state, 1, length(state) - 1)", "state"),
        ("UPDATE snapshot SET commit_no = 2", "state"),
        ("UPDATE snapshot SET version = 5", "state"),
    ],
)
def test_a_part_that_is_not_as_written_is_found(tmp_path: Path, sql: str, part: str) -> None:
    path = committed(tmp_path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(sql)
    with pytest.raises(JournalDamaged, match=f"the {part} of its last commit"):
        opened(tmp_path)


def test_a_sum_without_its_bitmaps_is_found(tmp_path: Path) -> None:
    """All CRCs are right: the writer itself was wrong."""
    committed(tmp_path, tasks=4)
    with pytest.raises(JournalDamaged, match="number or checksum of counted tasks"):
        opened(tmp_path)


@pytest.mark.parametrize("size", [0, 1, 1000, 8192, 20_000])
def test_a_truncated_file_is_damage_and_not_a_new_journal(tmp_path: Path, size: int) -> None:
    path = committed(tmp_path)
    with path.open("r+b") as file:
        file.truncate(size)
    with pytest.raises(JournalDamaged, match="is damaged"):
        opened(tmp_path)
    assert path.stat().st_size == size, "left as it was"


def test_no_byte_of_the_file_can_change_unseen(tmp_path: Path) -> None:
    """What is read back after any one byte was changed is what was committed, or damage."""
    path = committed(tmp_path)
    whole = path.read_bytes()
    rng = random.Random(1)
    found = 0
    for _ in range(300):
        at = rng.randrange(len(whole))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :])
        try:
            again = read_snapshot(path)
        except (JournalDamaged, JournalUnusable, DiskError):
            found += 1
        else:
            assert_same(again, snapshot())
    assert found > 0


def test_a_copy_of_the_files_of_a_killed_process_is_whole(journal: SqliteJournal, tmp_path: Path) -> None:
    """The log was not folded into the file yet: both are needed, and enough."""
    journal.commit(snapshot())
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in (JOURNAL, f"{JOURNAL}-wal"):
        shutil.copy(tmp_path / file, copy / file)
    again = opened(copy)
    assert_same(again.load(), snapshot())
    again.close()


# --- rows of leases -----------------------------------------------------------------------------------------------


def rows(path: Path, table: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(f"SELECT * FROM {table}").fetchall()


def lease(task: int, expires_at: float = 60.0) -> Lease:
    return Lease(1, task, device_hash(f"d{task}"), 10.0, 0.5 * task, expires_at)


def test_a_commit_writes_the_leases_that_came_and_removes_those_that_went(
    journal: SqliteJournal, tmp_path: Path
) -> None:
    """The same task given again later is another lease. What is in no list of changes stays as it was."""
    first, second, third, other = lease(1), lease(2), lease(3), lease(9)
    journal.commit(snapshot(leases=(first, second, other)))
    again = msgspec.structs.replace(second, granted_at=9.0, expires_at=99.0)
    changes = Changes({2: again, 3: third}, {1, 77})
    journal.commit(snapshot(2, leases=(third, other, again), changes=changes))
    assert [task for task, _ in rows(tmp_path / JOURNAL, "lease")] == [2, 3, 9]
    found = journal.load()
    assert found is not None
    assert found.leases == (third, other, again)


def test_changes_that_are_not_those_since_the_last_commit_are_not_believed(journal: SqliteJournal) -> None:
    """After a failed commit nobody knows them, and what the file holds is of an earlier one."""
    journal.commit(snapshot(leases=(lease(1),)))
    journal.commit(snapshot(3, leases=(lease(2), lease(5)), taken={}, changes=Changes({5: lease(5)}, {1})))
    found = journal.load()
    assert found is not None
    assert found.leases == (lease(2), lease(5))
    assert found.taken == {}


def test_changes_that_do_not_fit_the_file_are_not_written_when_nothing_else_is_known(journal: SqliteJournal) -> None:
    journal.commit(snapshot())
    with pytest.raises(AssertionError, match="not of what the file holds"):
        journal.commit(snapshot(3, leases=(), taken={}, changes=Changes({5: lease(5)}), whole=False))
    assert_same(journal.load(), snapshot())


def test_many_commits_of_nothing_but_changes_leave_what_they_say(journal: SqliteJournal, tmp_path: Path) -> None:
    """Leases come, go and come again; devices take tasks, lose them and begin anew. The sums of all rows follow."""
    rng, leases, taken = random.Random(5), dict[int, Lease](), dict[bytes, int]()
    journal.commit(snapshot(leases=(), taken={}))
    for number in range(2, 40):
        ended = set(rng.sample(range(12), 4))
        come = {task: lease(task, expires_at=number) for task in rng.sample(range(12), 4)}
        took = {bytes([rng.randrange(9)]) * 16: rng.randrange(-2, 100) for _ in range(3)}
        all_new = rng.random() < 0.2
        leases = {task: each for task, each in leases.items() if task not in ended} | come
        taken = ({} if all_new else taken) | took
        changes = Changes(come, ended, took, all_new)
        journal.commit(snapshot(number, leases=(), taken={}, changes=changes, whole=False))
        found = read_snapshot(tmp_path / JOURNAL)
        assert found is not None
        assert {each.task: each for each in found.leases} == leases
        assert found.taken == taken


def test_what_devices_have_taken_is_what_the_last_commit_says(journal: SqliteJournal) -> None:
    one, two, three = b"a" * 16, b"b" * 16, b"c" * 16
    commits = [
        ({one: 1, two: 2}, None),
        ({one: -1, two: 2, three: 3}, Changes(taken={one: -1, three: 3})),
        ({}, Changes(all_new=True)),
        ({three: 4}, Changes(taken={three: 4})),
    ]
    for number, (taken, changes) in enumerate(commits, start=1):
        journal.commit(snapshot(number, taken=taken, leases=(), changes=changes))
        found = journal.load()
        assert found is not None
        assert found.taken == taken


def test_a_commit_after_one_that_failed_and_could_not_be_looked_at_begins_with_what_the_file_holds(
    tmp_path: Path,
) -> None:
    """The failed one had changed its idea of the rows already; a reader keeps the log from being settled."""
    journal = opened(tmp_path, bytes_max=200_000)
    with closing(sqlite3.connect(tmp_path / JOURNAL, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM snapshot").fetchall()
        journal.commit(snapshot(leases=(lease(1),)))
        too_large = np.zeros(100_000, np.float32)
        with pytest.raises(DiskError, match="full"):
            journal.commit(snapshot(2, leases=(lease(2),), changes=Changes({2: lease(2)}, {1}), model=too_large))
        with pytest.raises(DiskError, match="another program reads"):
            journal.load()
    journal.commit(snapshot(2, leases=(lease(1), lease(3)), changes=Changes({3: lease(3)})))
    found = journal.load()
    assert found is not None
    assert found.leases == (lease(1), lease(3))


DAMAGE = ("DELETE FROM lease", "UPDATE lease SET task = task + 100", "DELETE FROM taken", "UPDATE taken SET task = 0")


@pytest.mark.parametrize("damage", DAMAGE)
def test_rows_that_are_not_those_of_the_commit_are_damage(tmp_path: Path, damage: str) -> None:
    path = committed(tmp_path)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(damage)
    with pytest.raises(JournalDamaged, match="list of leases"):
        opened(tmp_path)


# --- other releases -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written", sorted((Path(__file__).parent / "data").glob("journal-*.sql")), ids=lambda p: p.stem
)
def test_the_journal_of_every_earlier_schema_is_loaded(tmp_path: Path, written: Path) -> None:
    with closing(sqlite3.connect(tmp_path / JOURNAL, isolation_level=None)) as db:
        db.executescript(written.read_text())
    journal = opened(tmp_path)
    assert_same(journal.load(), snapshot())
    journal.commit(snapshot(2))
    assert_same(journal.load(), snapshot(2))
    journal.close()


def test_there_is_an_example_of_every_schema() -> None:
    found = {path.stem for path in (Path(__file__).parent / "data").glob("journal-*.sql")}
    assert found == {f"journal-{number}" for number in range(1, len(scripts("turnout.job.journal")) + 1)}


def test_an_earlier_release_refuses_what_it_does_not_know_instead_of_forgetting_it(tmp_path: Path) -> None:
    path = committed(tmp_path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        commit_no, version, state = db.execute("SELECT commit_no, version, state FROM snapshot").fetchone()
        later = msgspec.msgpack.encode({**msgspec.msgpack.decode(state, strict=False), "of_the_future": 1})
        crc = zlib.crc32(later, zlib.crc32(f"{commit_no} {version}".encode()))
        db.execute("UPDATE snapshot SET state = ?, crc = ?", (later, crc))
    with pytest.raises(JournalUnusable, match="written by another release"):
        opened(tmp_path)


def test_our_own_mistakes_are_not_taken_for_a_bad_disk(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError), disk_errors(tmp_path), closing(sqlite3.connect(":memory:")) as db:
        db.execute("SELECT nothing FROM nowhere")
    closed = sqlite3.connect(":memory:")
    closed.close()
    with pytest.raises(sqlite3.ProgrammingError), disk_errors(tmp_path):
        closed.execute("SELECT 1")


def test_after_a_failed_write_what_the_journal_shows_is_first_made_durable(tmp_path: Path) -> None:
    """While another program reads an older state, the log cannot be folded into the file: so nothing is said yet."""
    journal = opened(tmp_path, bytes_max=200_000)
    journal.commit(snapshot())
    with closing(sqlite3.connect(tmp_path / JOURNAL, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM job").fetchone()
        journal.commit(snapshot(2))
        with pytest.raises(DiskError):
            journal.commit(snapshot(3, model=np.zeros(100_000, np.float32)))
        with pytest.raises(DiskError):
            journal.load()
        reader.execute("COMMIT")
    assert_same(journal.load(), snapshot(2))
    journal.close()
