"""The journal on disk: what it gives back, what it refuses, and how it shows damage."""

import random
import shutil
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.unit.job.journal.snapshots import VERSIONS, assert_same, leases, said_of, snapshot, versions, whole
from turnout.aggregator.mean import TOTAL
from turnout.job.folder.directory import JOURNAL
from turnout.job.journal.form import head_crc
from turnout.job.journal.journal import MODEL, DiskError, Fenced, JournalDamaged, JournalUnusable
from turnout.job.journal.sqlite import SqliteJournal, disk_errors, read_snapshot
from turnout.job.places.counted import COUNTED, SavedCounted
from turnout.job.places.leases import LEASES, Lease, device_hash
from turnout.job.places.rows import Rows
from turnout.storage.lock import JobLocked
from turnout.storage.migrations import scripts

TOO_LARGE = {MODEL: np.zeros(100_000, np.float32)}


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
    later = snapshot(2, said_of(VERSIONS[1]), tables={COUNTED: versions(VERSIONS[1])}, vectors={TOTAL: np.array([7.0])})
    later = replace(later, vectors={name: vector for name, vector in later.vectors.items() if name != "optimizer 0"})
    journal.commit(later)
    assert_same(journal.load(), later)


def test_what_did_not_change_is_not_written_again(journal: SqliteJournal, tmp_path: Path) -> None:
    model = np.zeros(1_000_000, np.float32)
    same = snapshot(vectors={MODEL: model})
    journal.commit(same)
    before = (tmp_path / f"{JOURNAL}-wal").stat().st_size
    changed = {TOTAL: np.array([1.0, 1.0])}
    journal.commit(replace(same, commit=2).but(vectors=changed))
    written = (tmp_path / f"{JOURNAL}-wal").stat().st_size - before
    assert 0 < written < 100_000, "the model's four megabytes are not among them"
    loaded = journal.load()
    assert loaded is not None
    journal.commit(replace(loaded, commit=3))
    assert_same(journal.load(), replace(same, commit=3).but(vectors=changed))


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
    with pytest.raises(JournalUnusable, match=r"written by a newer turnout \(journal schema 99; this one knows 3"):
        opened(tmp_path)


@pytest.mark.parametrize("clean", [True, False], ids=["alone", "with its log"])
@pytest.mark.parametrize("newer", ["schema", "form"])
def test_what_a_newer_turnout_has_written_is_not_changed_by_a_byte(tmp_path: Path, newer: str, clean: bool) -> None:
    """By an older one that finds it, whether SQLite has folded the log into the file or not."""
    made = tmp_path / "made"
    made.mkdir()
    opened(made).close()
    writer = sqlite3.connect(made / JOURNAL, isolation_level=None)
    if newer == "schema":
        writer.execute("PRAGMA user_version = 99")
    else:
        sums = b'{"a_field_of_the_future":1}'
        crc = head_crc(1, 0, sums)
        writer.execute("INSERT INTO snapshot VALUES (1, 1, 0, 3, ?, ?)", (sums.decode(), crc))
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
        journal.commit(snapshot(2, vectors=TOO_LARGE))
    assert_same(journal.load(), snapshot())
    journal.commit(snapshot(2))
    assert_same(journal.load(), snapshot(2))
    journal.close()


def test_a_commit_after_an_error_that_nobody_looked_into_still_fits_the_file(tmp_path: Path) -> None:
    journal = opened(tmp_path, bytes_max=200_000)
    journal.commit(snapshot())
    with pytest.raises(DiskError):
        journal.commit(snapshot(2, vectors=TOO_LARGE))
    journal.commit(snapshot(2, said_of(), tables={COUNTED: versions()}))
    assert_same(journal.load(), snapshot(2, said_of(), tables={COUNTED: versions()}))
    journal.close()


# --- damage -------------------------------------------------------------------------------------------------------


def committed(folder: Path, *sections: msgspec.Struct) -> Path:
    journal = opened(folder)
    journal.commit(snapshot(1, *sections))
    journal.close()
    return folder / JOURNAL


@pytest.mark.parametrize(
    ("sql", "part"),
    [
        ("UPDATE vector SET data = x'0000803f00002041' WHERE name = 'model'", "model"),
        ("UPDATE vector SET data = substr(data, 1, 8) WHERE name = 'total'", "total"),
        ("DELETE FROM vector WHERE name = 'optimizer 0'", "list of vectors"),
        ("UPDATE counted SET bits = x'04' WHERE version = 3", "table counted"),
        ("UPDATE counted SET first_task = 8 WHERE version = 3", "table counted"),
        ("DELETE FROM counted WHERE version = 4", "table counted"),
        ("DELETE FROM lease", "table lease"),
        ("UPDATE lease SET task = task + 100", "table lease"),
        ("DELETE FROM taken", "table taken"),
        ("UPDATE taken SET task = 0", "table taken"),
        ("UPDATE section SET data = x'80' WHERE name = 'pacing'", "section pacing"),
        ("DELETE FROM section WHERE name = 'tally'", "list of sections"),
        ("UPDATE snapshot SET sums = substr(sums, 1, length(sums) - 1)", "list of checksums"),
        ("UPDATE snapshot SET commit_no = 2", "list of checksums"),
        ("UPDATE snapshot SET version = 5", "list of checksums"),
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
    committed(tmp_path, SavedCounted(4, said_of(*VERSIONS).checksum))
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


# --- rows ---------------------------------------------------------------------------------------------------------


def lease(task: int, expires_at: float = 60.0) -> Lease:
    return Lease(1, task, device_hash(f"d{task}"), 10.0, 0.5 * task, expires_at)


def test_a_commit_writes_the_rows_that_came_and_no_others(journal: SqliteJournal, tmp_path: Path) -> None:
    many = {task: lease(task) for task in range(2_000)}
    journal.commit(snapshot(tables={LEASES: whole(many)}))
    before = (tmp_path / f"{JOURNAL}-wal").stat().st_size
    journal.commit(snapshot(2, tables={LEASES: Rows({5_000: lease(5_000)}, {3})}))
    written = (tmp_path / f"{JOURNAL}-wal").stat().st_size - before
    assert 0 < written < 100_000, "of some 150 kB of leases"


def test_a_commit_after_one_that_failed_and_could_not_be_looked_at_begins_with_what_the_file_holds(
    tmp_path: Path,
) -> None:
    """The failed one had changed its idea of the rows already; a reader keeps the log from being settled."""
    journal = opened(tmp_path, bytes_max=200_000)
    with closing(sqlite3.connect(tmp_path / JOURNAL, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM snapshot").fetchall()
        journal.commit(snapshot(tables={LEASES: leases(lease(1))}))
        with pytest.raises(DiskError, match="full"):
            journal.commit(snapshot(2, tables={LEASES: Rows({2: lease(2)}, {1})}, vectors=TOO_LARGE))
        with pytest.raises(DiskError, match="another program reads"):
            journal.load()
    journal.commit(snapshot(2, tables={LEASES: Rows({3: lease(3)})}))
    found = journal.load()
    assert found is not None
    assert found.rows(LEASES) == {1: lease(1), 3: lease(3)}


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


@pytest.mark.parametrize("written", ["journal-1", "journal-2", "journal-3"])
def test_a_vector_that_is_not_needed_any_more_leaves_the_journal_of_an_earlier_release(
    tmp_path: Path, written: str
) -> None:
    """The settings of the optimizer may have changed before the job is started again."""
    with closing(sqlite3.connect(tmp_path / JOURNAL, isolation_level=None)) as db:
        db.executescript((Path(__file__).parent / "data" / f"{written}.sql").read_text())
    journal = opened(tmp_path)
    fewer = {name: vector for name, vector in snapshot(2).vectors.items() if not name.startswith("optimizer")}
    assert len(fewer) < len(snapshot(2).vectors)
    journal.commit(replace(snapshot(2), vectors=fewer))
    found = journal.load()
    assert found is not None
    assert found.vectors.keys() == fewer.keys()
    journal.close()


def test_there_is_an_example_of_every_schema() -> None:
    found = {path.stem for path in (Path(__file__).parent / "data").glob("journal-*.sql")}
    assert found == {f"journal-{number}" for number in range(1, len(scripts("turnout.job.journal")) + 1)}


FUTURE = msgspec.msgpack.encode({"of_the_future": 1})


@pytest.mark.parametrize(
    ("part", "name"),
    [("sections", "pacing"), ("sections", "of the future"), ("vectors", "mask 0"), ("tables", "mask")],
)
def test_an_earlier_release_refuses_what_it_does_not_know_instead_of_forgetting_it(
    tmp_path: Path, part: str, name: str
) -> None:
    path = committed(tmp_path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        (sums,) = db.execute("SELECT sums FROM snapshot").fetchone()
        later = msgspec.json.decode(sums)
        later[part][name] = zlib.crc32(FUTURE)
        if part == "sections":
            db.execute("INSERT OR REPLACE INTO section VALUES (?, ?)", (name, FUTURE))
        encoded = msgspec.json.encode(later)
        db.execute("UPDATE snapshot SET sums = ?, crc = ?", (encoded.decode(), head_crc(1, 4, encoded)))
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
            journal.commit(snapshot(3, vectors=TOO_LARGE))
        with pytest.raises(DiskError):
            journal.load()
        reader.execute("COMMIT")
    assert_same(journal.load(), snapshot(2))
    journal.close()
