"""The journal of one job on disk: one SQLite file in the job's directory, one transaction a commit.

SQLite's write-ahead log with ``synchronous=FULL`` makes a transaction durable when ``COMMIT`` returns. What SQLite does
not promise is checked when a snapshot is read: every part has a CRC-32 in the state, and the state one of its own, so
damage and parts of different commits show. An error leaves open whether a commit happened; then the file is opened
anew and read.
"""

import errno
import os
import secrets
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from turnout.blobs.base import BlobRef
from turnout.job.folder.directory import JOURNAL, LOCK
from turnout.job.journal import task_rows
from turnout.job.journal.form import State
from turnout.job.journal.journal import KEY_BYTES, DiskError, Fenced, JournalDamaged, JournalUnusable, Snapshot
from turnout.job.places import counted
from turnout.job.places.counted import CountedVersion
from turnout.storage import migrations, private
from turnout.storage.durable import sync
from turnout.storage.lock import lock

LOCK_PATIENCE_S = 12.0  #: The processes of a server that was killed end within their grace; until then they hold locks.
BUSY_TIMEOUT_S = 5.0  #: A backup may hold the file for a moment.
PACKAGE = "turnout.job.journal"  #: Whose migrations make the schema.
OTHER_RELEASE = (
    "{} was written by another release of turnout, and this one cannot read it: {}; go back to that release, or update"
)
GIVEN_SCHEMA = 2  #: Since this one leases and taken tasks have rows of their own.
PAGE_BYTES = 8192  #: Half the overflow pages of SQLite's default, for little more in a small commit.
#: The log is folded into the file at 16 MB, or an eighth of what the file may have: seldom for small models, at each
#: commit for huge ones.
WAL_PAGES = 2048
WAL_BYTES_KEPT = 64 * 2**20  #: A longer log is cut to this when it begins anew.
BYTES_MAX = 2**40
MODEL, TOTAL, OPTIMIZER = "model", "total", "optimizer {}"  #: Names of vectors.


_state_encoder = msgspec.msgpack.Encoder()
_state_decoder = msgspec.msgpack.Decoder(State)


class SqliteJournal:
    """The journal of ``job_id`` in ``folder``, held by this process until ``close`` or its end."""

    durable = True
    by_changes = True

    def __init__(
        self, folder: Path, job_id: str, *, bytes_max: int = BYTES_MAX, lock_patience_s: float = LOCK_PATIENCE_S
    ) -> None:
        """Take the lock and the next incarnation; make the file if this job has none.

        A commit that would make the file larger than ``bytes_max`` fails as on a full disk. Raises JobLocked,
        JournalDamaged, JournalUnusable, or OSError when the disk does not allow it now.
        """
        self._path = folder / JOURNAL
        self._bytes_max = bytes_max
        self._lock = lock(folder / LOCK, lock_patience_s)
        self._saved = _Saved()
        self._doubtful = False  # a write failed: what the file shows may be in the page cache only
        self._db: sqlite3.Connection | None = None
        try:
            private.discard_unfinished(folder)
            if self._path.exists():
                _check_release(self._path)
            else:
                create(self._path, job_id)
            self._db = self._connect()
            self.key, self.incarnation = self._take_over(job_id)
            self.load()
        except BaseException:
            self.close()
            raise

    def load(self) -> Snapshot | None:
        """From the file, which is opened anew: what a failed write left in a connection is not to be trusted."""
        self._disconnect()
        try:
            self._db = self._connect()
            if self._doubtful:
                _settle(self._db, self._path)
                self._doubtful = False
            found = _read(self._db, self._path)
            with disk_errors(self._path):
                self._check_incarnation(self._db)  # after reading: who takes over later did not write what was read
        except BaseException:
            self._disconnect()  # what the file holds is not known: the next commit reads it first
            raise
        self._saved = _saved(found) if found else _Saved()
        return found.snapshot if found else None

    def commit(self, snapshot: Snapshot) -> None:
        """One transaction."""
        try:
            if self._db is None:
                self.load()  # what an error left in the file is not known
            assert self._db is not None
            with disk_errors(self._path), _transaction(self._db):
                self._check_incarnation(self._db)
                saved = _write(self._db, snapshot, self._saved)
        except OSError:
            self._doubtful = True
            self._disconnect()
            raise
        self._saved = saved

    def close(self) -> None:
        """Give up the journal; its file is whole without the log."""
        self._disconnect()
        os.close(self._lock)

    def _connect(self) -> sqlite3.Connection:
        db = open_file(self._path)
        db.execute(f"PRAGMA max_page_count = {self._bytes_max // PAGE_BYTES}")
        db.execute(f"PRAGMA wal_autocheckpoint = {min(WAL_PAGES, self._bytes_max // PAGE_BYTES // 8)}")
        return db

    def _disconnect(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _take_over(self, job_id: str) -> tuple[bytes, int]:
        assert self._db is not None
        with disk_errors(self._path, reading=True), _transaction(self._db):
            row = self._db.execute("SELECT id, key FROM job").fetchone()
            if row is None:
                raise JournalDamaged(f"{self._path} is damaged: it does not say whose it is")
            own, key = row
            if own != job_id:
                raise JournalUnusable(f"{self._path} is the journal of job {own}, not of {job_id}")
            (incarnation,) = self._db.execute(
                "UPDATE job SET incarnation = incarnation + 1 RETURNING incarnation"
            ).fetchone()
        return key, incarnation

    def _check_incarnation(self, db: sqlite3.Connection) -> None:
        """Inside the transaction, so that nobody can take over between this and the commit."""
        (newest,) = db.execute("SELECT incarnation FROM job").fetchone()
        if newest != self.incarnation:
            raise Fenced(f"incarnation {newest} of this job has taken over from {self.incarnation}: this process ends")


@dataclass(frozen=True, slots=True)
class _Saved:
    """What the file holds, with CRCs: what a commit shares with it is not written again."""

    vectors: dict[str, tuple[NDArray[Any], int]] = field(default_factory=dict)
    counted: dict[int, tuple[CountedVersion, int]] = field(default_factory=dict)
    rows: task_rows.Rows | None = None  #: None: they are not what the snapshot says.
    commit: int = 0


@dataclass(frozen=True, slots=True)
class _Found:
    """``rows`` of leases and taken tasks: None from a release that kept them in the state."""

    snapshot: Snapshot
    rows: task_rows.Rows | None


def _saved(found: _Found) -> _Saved:
    snapshot = found.snapshot
    return _Saved(
        {name: (vector, zlib.crc32(_bytes(vector))) for name, vector in _vectors(snapshot)},
        {row[0]: (row, _row_crc(row)) for row in snapshot.counted},
        found.rows,
        snapshot.commit,
    )


def _write(db: sqlite3.Connection, snapshot: Snapshot, before: _Saved) -> _Saved:
    """Replace what ``before`` the file holds by ``snapshot``."""
    saved = _Saved(
        _write_vectors(db, snapshot, before.vectors),
        _write_counted(db, snapshot.counted, before.counted),
        _write_given(db, snapshot, before),
        snapshot.commit,
    )
    state = _state_encoder.encode(_state(snapshot, saved))
    db.execute(
        "INSERT OR REPLACE INTO snapshot (one, commit_no, version, state, crc) VALUES (1, ?, ?, ?, ?)",
        (snapshot.commit, snapshot.version, state, _state_crc(snapshot.commit, snapshot.version, state)),
    )
    return saved


def _write_given(db: sqlite3.Connection, snapshot: Snapshot, before: _Saved) -> task_rows.Rows:
    """By its changes, if they are those since the commit that the file holds."""
    if snapshot.changes is None or before.rows is None or snapshot.commit != before.commit + 1:
        assert snapshot.whole, "these changes are not of what the file holds"
        return task_rows.rewrite(db, snapshot.leases, snapshot.taken)
    task_rows.write(db, snapshot.changes, before.rows)
    return before.rows


def _write_vectors(
    db: sqlite3.Connection, snapshot: Snapshot, before: dict[str, tuple[NDArray[Any], int]]
) -> dict[str, tuple[NDArray[Any], int]]:
    saved = {}
    for name, vector in _vectors(snapshot):
        if name in before and before[name][0] is vector:
            saved[name] = before[name]
        else:
            data = _bytes(vector)
            _write_vector(db, name, data)
            saved[name] = (vector, zlib.crc32(data))
    db.executemany("DELETE FROM vector WHERE name = ?", [(name,) for name in before.keys() - saved.keys()])
    return saved


def _write_vector(db: sqlite3.Connection, name: str, data: memoryview) -> None:
    """In place where it fits: a row that is replaced gives up its pages and takes others, at three times the cost."""
    row = db.execute("SELECT id, length(data) FROM vector WHERE name = ?", (name,)).fetchone()
    if row is None or row[1] != data.nbytes:
        db.execute("INSERT OR REPLACE INTO vector (name, data) VALUES (?, ?)", (name, data))
        return
    with db.blobopen("vector", "data", row[0]) as blob:
        blob.write(data)


def _write_counted(
    db: sqlite3.Connection, versions: Iterable[CountedVersion], before: dict[int, tuple[CountedVersion, int]]
) -> dict[int, tuple[CountedVersion, int]]:
    saved = {}
    for row in versions:
        version = row[0]
        if version in before and before[version][0] is row:
            saved[version] = before[version]
        else:
            db.execute("INSERT OR REPLACE INTO counted VALUES (?, ?, ?, ?)", row)
            saved[version] = (row, _row_crc(row))
    db.executemany("DELETE FROM counted WHERE version = ?", [(version,) for version in before.keys() - saved.keys()])
    return saved


def read_snapshot(path: Path) -> Snapshot | None:
    """The last commit in a journal that others may be writing to. Raises JournalDamaged or OSError."""
    with closing(open_file(path, read_only=True)) as db:
        found = _read(db, path)
    return found.snapshot if found else None


def _settle(db: sqlite3.Connection, path: Path) -> None:
    """Make durable what the log shows, or raise DiskError: after a write that failed it may be in memory only.

    All of the log goes into the file, and both are synced on the way.
    """
    with disk_errors(path):
        busy, _, _ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise DiskError(errno.EBUSY, "another program reads the journal; what it holds is not sure yet", str(path))


def _read(db: sqlite3.Connection, path: Path) -> _Found | None:
    """In one read transaction, so that all parts are of one commit."""
    with disk_errors(path, reading=True), _transaction(db, "DEFERRED"):
        row = db.execute("SELECT commit_no, version, state, crc FROM snapshot").fetchone()
        vectors = dict(db.execute("SELECT name, data FROM vector"))
        counted_rows = tuple(db.execute("SELECT version, first_task, keep_until, bits FROM counted ORDER BY version"))
        rows = task_rows.read(db) if migrations.done(db) >= GIVEN_SCHEMA else ([], [])
    if row is None:
        return None
    return _checked(path, row, vectors, counted_rows, rows)


def _checked(
    path: Path,
    row: tuple[int, int, bytes, int],
    vectors: dict[str, bytes],
    counted_rows: tuple[CountedVersion, ...],
    given_rows: tuple[list[task_rows.Row], list[task_rows.TakenRow]],
) -> _Found:
    commit, version, encoded, crc = row
    _check(path, version, "state", _state_crc(commit, version, encoded) == crc)
    state = _decoded(path, encoded)
    _check(path, version, "list of vectors", vectors.keys() == state.vectors.keys())
    for name, data in vectors.items():
        _check(path, version, name, zlib.crc32(data) == state.vectors[name])
    found = {each[0]: _row_crc(each) for each in counted_rows}
    _check(path, version, "record of counted tasks", found == state.counted)
    right = counted.keys(counted_rows) == (state.tasks, state.checksum)
    _check(path, version, "number or checksum of counted tasks", right)
    snapshot = _snapshot(commit, version, state, vectors, counted_rows)
    if state.given_sums is None:
        return _Found(snapshot, None)
    leases, taken = given_rows
    rows = task_rows.rows_of(leases, taken)
    _check(path, version, "list of leases", rows.sums == state.given_sums)
    try:
        return _Found(replace(snapshot, leases=task_rows.decoded(leases), taken=dict(taken)), rows)
    except msgspec.MsgspecError as error:
        raise JournalUnusable(OTHER_RELEASE.format(path, error)) from error


def _check(path: Path, version: int, part: str, right: bool) -> None:
    if not right:
        raise JournalDamaged(
            f"{path} is damaged: the {part} of its last commit, at version {version}, is not as written"
        )


def _state(snapshot: Snapshot, saved: _Saved) -> State:
    return State(
        total_weight=snapshot.total_weight,
        buffered=snapshot.buffered,
        tasks=snapshot.tasks,
        checksum=snapshot.checksum,
        reserved_until=snapshot.reserved_until,
        blobs=tuple((version, blob.sha256, blob.num_bytes) for version, blob in snapshot.blobs),
        workflow=snapshot.workflow,
        rng=snapshot.rng,
        job_time=snapshot.job_time,
        next_appointment=snapshot.next_appointment,
        durations=snapshot.durations,
        tally=snapshot.tally,
        vectors={name: crc for name, (_, crc) in saved.vectors.items()},
        counted={version: crc for version, (_, crc) in saved.counted.items()},
        pause=snapshot.pause,
        groups=snapshot.groups,
        best=snapshot.best,
        measured=snapshot.measured,
        ending=snapshot.ending,
        federated=snapshot.federated,
        fleets=snapshot.fleets,
        bases=snapshot.bases,
        typical=snapshot.typical,
        warned=snapshot.warned,
        evaluation_fails=snapshot.evaluation_fails,
        given_sums=saved.rows.sums if saved.rows is not None else None,
        made=snapshot.made,
        void_below=snapshot.void_below,
        pause_reason=snapshot.pause_reason,
    )


def _snapshot(
    commit: int, version: int, state: State, vectors: dict[str, bytes], counted_rows: tuple[CountedVersion, ...]
) -> Snapshot:
    return Snapshot(
        commit=commit,
        version=version,
        model=np.frombuffer(vectors[MODEL], "<f4"),
        total=np.frombuffer(vectors[TOTAL], "<f8"),
        total_weight=state.total_weight,
        buffered=state.buffered,
        counted=counted_rows,
        tasks=state.tasks,
        checksum=state.checksum,
        leases=state.leases,
        taken=state.taken,
        reserved_until=state.reserved_until,
        blobs=tuple((version, BlobRef(sha256, num_bytes)) for version, sha256, num_bytes in state.blobs),
        workflow=state.workflow,
        optimizer=tuple(np.frombuffer(vectors[OPTIMIZER.format(n)], "<f8") for n in range(len(vectors) - 2)),
        rng=state.rng,
        job_time=state.job_time,
        next_appointment=state.next_appointment,
        durations=state.durations,
        tally=state.tally,
        pause=state.pause,
        groups=state.groups,
        best=state.best,
        measured=state.measured,
        ending=state.ending,
        federated=state.federated,
        fleets=state.fleets,
        bases=state.bases,
        typical=state.typical,
        warned=state.warned,
        evaluation_fails=state.evaluation_fails,
        made=state.made,
        void_below=state.void_below,
        pause_reason=state.pause_reason,
    )


def _vectors(snapshot: Snapshot) -> Iterator[tuple[str, NDArray[Any]]]:
    yield MODEL, snapshot.model
    yield TOTAL, snapshot.total
    for number, vector in enumerate(snapshot.optimizer):
        yield OPTIMIZER.format(number), vector


def _bytes(vector: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(vector, vector.dtype.newbyteorder("<")).data.cast("B")


def _row_crc(row: CountedVersion) -> int:
    version, first_task, keep_until, bits = row
    return zlib.crc32(bits, zlib.crc32(f"{version} {first_task} {keep_until!r}".encode()))


def _state_crc(commit: int, version: int, state: bytes) -> int:
    return zlib.crc32(state, zlib.crc32(f"{commit} {version}".encode()))


# --- the file -----------------------------------------------------------------------------------------------------


def create(path: Path, job_id: str, incarnation: int = 0, snapshot: Snapshot | None = None) -> None:
    """Make a journal with a key of its own, held by nobody yet.

    Under another name first: a file with the right name is whole, so an empty or half one is damage.
    """
    unfinished = path.with_suffix(private.UNFINISHED)
    unfinished.unlink(missing_ok=True)
    private.touch(unfinished)
    with disk_errors(unfinished), closing(sqlite3.connect(unfinished, isolation_level=None)) as db:
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA fullfsync = ON")
        migrations.migrate(db, migrations.scripts(PACKAGE))
        with _transaction(db):
            db.execute("INSERT INTO job VALUES (1, ?, ?, ?)", (job_id, secrets.token_bytes(KEY_BYTES), incarnation))
            if snapshot is not None:
                _write(db, snapshot, _Saved())
        db.execute("PRAGMA journal_mode = WAL")
    unfinished.replace(path)
    sync(path.parent)


def open_file(path: Path, read_only: bool = False) -> sqlite3.Connection:
    """A connection to a journal that is there. Raises JournalDamaged, JournalUnusable or OSError."""
    if path.exists() and not path.stat().st_size:
        raise JournalDamaged(f"{path} is damaged: it is empty")
    with disk_errors(path):
        db = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,  # commits run in threads, one at a time
            timeout=BUSY_TIMEOUT_S,
        )
        try:
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA fullfsync = ON")  # macOS keeps an fsync in the drive's cache without it
            db.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT}")
            _check_schema(db, path)
            if not read_only:
                migrations.migrate(db, migrations.scripts(PACKAGE))
        except BaseException:
            db.close()
            raise
    return db


def _check_release(path: Path) -> None:
    """Raise JournalUnusable for a journal that this release cannot read, before a byte of it is changed."""
    if not path.stat().st_size:
        return  # it is damaged, as will be said
    with disk_errors(path, reading=True), migrations.untouched(path) as db:
        _check_schema(db, path)
        row = db.execute("SELECT commit_no, version, state, crc FROM snapshot").fetchone()
    if row is not None:
        commit, version, encoded, crc = row
        if _state_crc(commit, version, encoded) == crc:
            _decoded(path, encoded)


def _decoded(path: Path, encoded: bytes) -> State:
    """A state whose CRC is right: this is what was written, if perhaps not what we write."""
    try:
        return _state_decoder.decode(encoded)
    except msgspec.MsgspecError as error:
        raise JournalUnusable(OTHER_RELEASE.format(path, error)) from error


def _check_schema(db: sqlite3.Connection, path: Path) -> None:
    done, known = migrations.done(db), len(migrations.scripts(PACKAGE))
    if done > known:
        then = f"start the job again with: turnout start {path.parent.name}" if path.name == JOURNAL else "try again"
        raise JournalUnusable(
            f"{path} was written by a newer turnout (journal schema {done}; this one knows {known}): update turnout, "
            f"then {then}"
        )
    if done < 1:
        raise JournalDamaged(f"{path} is damaged: it holds no journal")


@contextmanager
def _transaction(db: sqlite3.Connection, mode: str = "IMMEDIATE") -> Iterator[None]:
    db.execute(f"BEGIN {mode}")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


@contextmanager
def disk_errors(path: Path, reading: bool = False) -> Iterator[None]:
    """SQLite's errors as what they mean to us: damage, or a disk that does not do what it should.

    SQL that does not fit the tables is damage when a file is read, and else our own mistake, which passes.
    """
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code is None:  # not an error of the database: ours
            raise
        primary = code & 0xFF
        if primary == sqlite3.SQLITE_ERROR:
            if not reading:
                raise
            raise JournalDamaged(f"{path} is damaged: its tables are not those of a journal: {error}") from error
        if primary in _DAMAGE:
            raise JournalDamaged(f"{path} is damaged: {error}") from error
        number = errno.ENOSPC if primary == sqlite3.SQLITE_FULL else errno.EIO
        name = getattr(error, "sqlite_errorname", "")
        raise DiskError(number, f"{error} ({name})", str(path)) from error
    except UnicodeDecodeError as error:  # of the text of an error of the database, which quotes what is damaged
        raise JournalDamaged(f"{path} is damaged: its tables have names that are no text") from error
