"""The journal of one job on disk: one SQLite file in the job's directory, one transaction a commit.

SQLite's write-ahead log with ``synchronous=FULL`` makes a transaction durable when ``COMMIT`` returns. What SQLite does
not promise, that what is read is what was written, is checked by the sums of ``form.py``. An error leaves open whether
a commit happened; then the file is opened anew and read.
"""

import errno
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from turnout.job.folder.directory import JOURNAL, LOCK
from turnout.job.journal import earlier, form
from turnout.job.journal.form import Head, Image, Stored, TableWrites, Writes
from turnout.job.journal.journal import KEY_BYTES, DiskError, Fenced, JournalDamaged, JournalUnusable, Snapshot
from turnout.job.places.rows import Row, Table
from turnout.storage import migrations, private
from turnout.storage.durable import sync
from turnout.storage.lock import lock

LOCK_PATIENCE_S = 12.0  #: The processes of a server that was killed end within their grace; until then they hold locks.
BUSY_TIMEOUT_S = 5.0  #: A backup may hold the file for a moment.
PACKAGE = "turnout.job.journal"  #: Whose migrations make the schema.
PAGE_BYTES = 8192  #: Half the overflow pages of SQLite's default, for little more in a small commit.
#: The log is folded into the file at 16 MB, or an eighth of what the file may have: seldom for small models, at each
#: commit for huge ones.
WAL_PAGES = 2048
WAL_BYTES_KEPT = 64 * 2**20  #: A longer log is cut to this when it begins anew.
BYTES_MAX = 2**40
FORM = 3  #: Of what is written; it came with the schema of this number.


class SqliteJournal:
    """The journal of ``job_id`` in ``folder``, held by this process until ``close`` or its end."""

    durable = True

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
        self._image = form.Image()
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
            snapshot, image = _read(self._db, self._path)
            with disk_errors(self._path):
                self._check_incarnation(self._db)  # after reading: who takes over later did not write what was read
        except BaseException:
            self._disconnect()  # what the file holds is not known: the next commit reads it first
            raise
        self._image = image
        return snapshot

    def commit(self, snapshot: Snapshot) -> None:
        """One transaction."""
        try:
            if self._db is None:
                self.load()  # what an error left in the file is not known
            assert self._db is not None
            with disk_errors(self._path), _transaction(self._db):
                self._check_incarnation(self._db)
                _write(self._db, self._image.writes(snapshot))
        except OSError:
            self._doubtful = True
            self._disconnect()
            raise

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


def _write(db: sqlite3.Connection, writes: Writes) -> None:
    for table, rows in writes.tables.items():
        _write_rows(db, table, rows)
    for name, data in writes.vectors:
        _write_vector(db, name, data)
    for name in writes.lost_vectors:
        db.execute("DELETE FROM vector WHERE name = ?", (name,))
    db.executemany(
        "INSERT INTO section VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET data = excluded.data", writes.sections
    )
    head = writes.head
    db.execute(
        "INSERT OR REPLACE INTO snapshot VALUES (1, ?, ?, ?, ?, ?)",
        (head.commit, head.version, FORM, head.sums.decode(), head.crc),
    )


def _write_rows(db: sqlite3.Connection, table: Table[Any, Any], rows: TableWrites) -> None:
    name, key = table.name, table.columns[0]
    if rows.clear:
        db.execute(f"DELETE FROM {name}")
    if rows.went:
        db.executemany(f"DELETE FROM {name} WHERE {key} = ?", [(each,) for each in rows.went])
    if rows.came:
        places = ", ".join("?" for _ in table.columns)
        db.executemany(f"INSERT OR REPLACE INTO {name} VALUES ({places})", rows.came)


def _write_vector(db: sqlite3.Connection, name: str, data: memoryview) -> None:
    """In place where it fits: a row that is replaced gives up its pages and takes others, at three times the cost."""
    row = db.execute("SELECT id, length(data) FROM vector WHERE name = ?", (name,)).fetchone()
    if row is None or row[1] != data.nbytes:
        db.execute("INSERT OR REPLACE INTO vector (name, data) VALUES (?, ?)", (name, data))
        return
    with db.blobopen("vector", "data", row[0]) as blob:
        blob.write(data)


def read_snapshot(path: Path) -> Snapshot | None:
    """The last commit in a journal that others may be writing to. Raises JournalDamaged or OSError."""
    with closing(open_file(path, read_only=True)) as db:
        return _read(db, path)[0]


def _settle(db: sqlite3.Connection, path: Path) -> None:
    """Make durable what the log shows, or raise DiskError: after a write that failed it may be in memory only.

    All of the log goes into the file, and both are synced on the way.
    """
    with disk_errors(path):
        busy, _, _ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise DiskError(errno.EBUSY, "another program reads the journal; what it holds is not sure yet", str(path))


def _read(db: sqlite3.Connection, path: Path) -> tuple[Snapshot | None, Image]:
    """In one read transaction, so that all parts are of one commit."""
    with disk_errors(path, reading=True), _transaction(db, "DEFERRED"):
        found = _read_head(db)
        if found is None:
            return None, Image()
        head, written_in = found
        present = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        stored = Stored(
            head,
            dict(db.execute("SELECT name, data FROM section")) if "section" in present else {},
            dict(db.execute("SELECT name, data FROM vector")),
            {table.name: _read_rows(db, table) for table in form.TABLES if table.name in present},
        )
    if written_in <= earlier.FORM_MAX:
        return earlier.restored(str(path), stored), Image.over(stored)
    return form.restored(str(path), stored)


def _read_head(db: sqlite3.Connection) -> tuple[Head, int] | None:
    """What stands for the last commit, and in which form it was written."""
    named = "state, 2" if migrations.done(db) < FORM else "sums, form"
    row = db.execute(f"SELECT commit_no, version, crc, {named} FROM snapshot").fetchone()
    if row is None:
        return None
    commit, version, crc, sums, written_in = row
    if not isinstance(sums, str | bytes):
        raise JournalDamaged("the journal is damaged: its list of checksums is not text")
    return Head(commit, version, sums.encode() if isinstance(sums, str) else sums, crc), written_in


def _read_rows(db: sqlite3.Connection, table: Table[Any, Any]) -> list[Row]:
    return list(db.execute(f"SELECT {', '.join(table.columns)} FROM {table.name}"))


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
                _write(db, Image().writes(snapshot))
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
        found = _read_head(db)
        if found is None:
            return
        head, written_in = found
        if written_in <= earlier.FORM_MAX:
            earlier.check_release(str(path), head)
        else:
            form.check_release(str(path), head, dict(db.execute("SELECT name, data FROM section")))


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
        if code is None:  # not an error of the database: ours, or text in it that is none
            if not reading or not isinstance(error, sqlite3.OperationalError):
                raise
            raise JournalDamaged(f"{path} is damaged: {error}") from error
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
