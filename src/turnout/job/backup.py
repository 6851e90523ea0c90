"""A copy of a job's journal taken while it runs, and a journal made of such a copy.

A backup is a file of SQLite's own online backup: the state of one commit, whole in itself, model included. A restored
job goes back to it: what was acknowledged later is not in the model any more. So that no task given out later is taken
for one of the restored job, the restored journal seals its leases with another key, and ends those that lived.
"""

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from turnout.errors import TurnoutError
from turnout.job import sqlite_journal
from turnout.job.directory import FINAL, JOURNAL, LOCK, PUBLISHED, RECORDER
from turnout.job.journal import Snapshot
from turnout.job.sqlite_journal import JournalUnusable

BUSY_TIMEOUT_S = 5.0
REPLACED = "replaced"  #: Suffix of the journal that a restored one took the place of; kept for whoever wants to look.
LOCK_PATIENCE_S = 2.0  #: A process that was told to end may need a moment.


class NothingToBackUp(TurnoutError):
    """The job has not committed anything yet."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a backup holds."""

    job_id: str
    commit: int
    version: int
    buffered: int  #: Results in the open buffer.


def backup(directory: Path, target: Path) -> Contents:
    """Copy the journal of the job in ``directory``, which may be running, and read the copy as a check.

    Raises JournalDamaged, NothingToBackUp, or OSError. ``target`` must not exist.
    """
    path = directory / JOURNAL
    if not path.exists():
        raise NothingToBackUp(f"there is no journal in {directory} yet; try again when the job runs")
    with sqlite_journal.disk_errors(path), closing(sqlite3.connect(target)) as copy:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S)) as db:
            db.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file that needs no log beside it
    return contents(target)[0]


def contents(path: Path) -> tuple[Contents, Snapshot]:
    """What is in a backup. Raises JournalDamaged, JournalUnusable, NothingToBackUp, or OSError."""
    with closing(sqlite_journal.open_file(path, read_only=True)) as db, sqlite_journal.disk_errors(path):
        row = db.execute("SELECT id FROM job").fetchone()
    snapshot = sqlite_journal.read_snapshot(path)
    if row is None or snapshot is None:
        raise NothingToBackUp(f"{path} holds no commit")
    return Contents(row[0], snapshot.commit, snapshot.version, snapshot.buffered), snapshot


def restore(path: Path, directory: Path) -> Contents:
    """Put a backup in the place of the journal in ``directory``; no process may run the job, and none may begin to.

    The directory's name is the job's id. Raises JobLocked, JournalDamaged, JournalUnusable, or OSError; then nothing
    has changed.
    """
    found, snapshot = contents(path)
    if found.job_id != directory.name:
        raise JournalUnusable(f"{path} is a backup of job {found.job_id}, not of {directory.name}")
    lock = sqlite_journal.lock(directory / LOCK, LOCK_PATIENCE_S)
    try:
        made = directory / f"{JOURNAL}.restored"
        incarnation = max(_incarnation(path), _incarnation(directory / JOURNAL))
        goes_on = replace(snapshot, leases=(), blobs=())
        sqlite_journal.create(made, found.job_id, incarnation, goes_on)
        for name in (JOURNAL, f"{JOURNAL}-wal", f"{JOURNAL}-shm"):
            old = directory / name
            if old.exists():
                old.replace(directory / f"{name}.{REPLACED}")
        for name in (RECORDER, PUBLISHED, FINAL):  # they tell of the journal that was replaced
            (directory / name).unlink(missing_ok=True)
        made.replace(directory / JOURNAL)
        sqlite_journal.sync_folder(directory)
    finally:
        os.close(lock)
    return found


def _incarnation(path: Path) -> int:
    """Of a journal that may be damaged or gone."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            row = db.execute("SELECT incarnation FROM job").fetchone()
    except sqlite3.Error:
        return 0
    return int(row[0]) if row and isinstance(row[0], int) else 0
