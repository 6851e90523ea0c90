"""A copy of a job's journal taken while it runs, and a journal made of such a copy.

A backup is a file of SQLite's own online backup: the state of one commit, whole in itself, model included. A restored
job goes back to it: what was acknowledged later is not in the model any more. So that no task given out later is taken
for one of the restored job, the restored journal seals its leases with another key, and ends those that lived. So a job
may also go on from the backup of another one, whose server is gone, if its model has the same size.
"""

import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from turnout.aggregator.mean import SavedSum
from turnout.blobs.base import SUFFIX
from turnout.errors import TurnoutError
from turnout.job.folder.directory import BLOBS, FINAL, JOURNAL, LOCK, PUBLISHED, RECORDER
from turnout.job.journal import sqlite
from turnout.job.journal.journal import JournalUnusable, Snapshot
from turnout.job.places.leases import LEASES
from turnout.job.places.rows import Rows
from turnout.job.workflow.published import SavedModels
from turnout.storage import durable, private
from turnout.storage.lock import lock as take_lock
from turnout.wire.tensors import read_safetensors

BUSY_TIMEOUT_S = 5.0
#: The journals that restored ones took the place of, kept for whoever wants to look; SQLite finds their logs by it.
REPLACED = "journal.replaced-{}.sqlite"
LOGS = ("-wal", "-shm")  #: What SQLite keeps beside a file, by its name.
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
    private.touch(target)
    with sqlite.disk_errors(path), closing(sqlite3.connect(target)) as copy:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S)) as db:
            db.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file that needs no log beside it
    return contents(target)[0]


def size(directory: Path) -> int:
    """How many bytes a backup of the job in ``directory`` may have: those of its journal and of the log."""
    files = (directory / f"{JOURNAL}{suffix}" for suffix in ("", "-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def contents(path: Path) -> tuple[Contents, Snapshot]:
    """What is in a backup. Raises JournalDamaged, JournalUnusable, NothingToBackUp, or OSError."""
    with closing(sqlite.open_file(path, read_only=True)) as db, sqlite.disk_errors(path):
        row = db.execute("SELECT id FROM job").fetchone()
    snapshot = sqlite.read_snapshot(path)
    if row is None or snapshot is None:
        raise NothingToBackUp(f"{path} holds no commit")
    return Contents(row[0], snapshot.commit, snapshot.version, snapshot.of(SavedSum).count), snapshot


def restore(path: Path, directory: Path, sync: Callable[[Path], None] = durable.sync) -> Contents:
    """Put a backup in the place of the journal in ``directory``; no process may run the job, and none may begin to.

    The directory's name is the job's id. Raises JobLocked, JournalDamaged, JournalUnusable, or OSError; then nothing
    has changed. ``sync`` makes the names in a folder durable.
    """
    found, snapshot = contents(path)
    if found.job_id != directory.name:
        _check_size(path, found.job_id, snapshot.model.size, directory)
    lock = take_lock(directory / LOCK, LOCK_PATIENCE_S)
    try:
        made = directory / f"{JOURNAL}.restored"
        journals = (path, directory / JOURNAL, *directory.glob(REPLACED.format("*")))
        incarnation = max(_incarnation(journal) for journal in journals)
        goes_on = snapshot.but(SavedModels(), tables={LEASES: Rows({}, whole=True)})
        sqlite.create(made, directory.name, incarnation, goes_on)
        _put_aside(directory, sync)
        made.replace(directory / JOURNAL)
        sync(directory)
        for name in (RECORDER, PUBLISHED, FINAL):  # they tell of the journal that was replaced
            (directory / name).unlink(missing_ok=True)
        sync(directory)
    finally:
        os.close(lock)
    return found


def _put_aside(directory: Path, sync: Callable[[Path], None]) -> None:
    """Keep the journal with its log under a new name. Durable when it returns: SQLite must never find the old log
    beside another journal.
    """
    numbers = [re.search(r"\d+", file.name) for file in directory.glob(REPLACED.format("*") + "*")]
    kept = REPLACED.format(1 + max((int(number[0]) for number in numbers if number), default=0))
    for suffix in ("", *LOGS):
        old = directory / f"{JOURNAL}{suffix}"
        if old.exists():
            old.replace(directory / f"{kept}{suffix}")
    sync(directory)


def _check_size(path: Path, owner: str, size: int, directory: Path) -> None:
    """Raise JournalUnusable unless the job in ``directory`` is known to have a model of this size."""
    who = f"{path} is a backup of job {owner}, not of {directory.name}"
    own = _model_size(directory)
    if own is None:
        raise JournalUnusable(
            f"{who}, and {directory.name} has no model yet that tells whether it fits: submit its folder again, let "
            "that job begin, cancel it, and restore into that"
        )
    if own != size:
        raise JournalUnusable(
            f"{who}, and it does not fit: its model has {size} numbers, that of {directory.name} {own}"
        )


def _model_size(directory: Path) -> int | None:
    """How many numbers the model of a job has, by its journal or else by its blobs; None when neither tells."""
    try:
        snapshot = sqlite.read_snapshot(directory / JOURNAL)
        if snapshot is not None:
            return int(snapshot.model.size)
    except (TurnoutError, OSError):
        pass  # damaged or gone, which is why it is restored
    for blob in (directory / BLOBS).glob(f"*{SUFFIX}"):
        try:
            return int(read_safetensors(blob.read_bytes())[0].size)
        except (TurnoutError, OSError):
            continue
    return None


def _incarnation(path: Path) -> int:
    """Of a journal that may be damaged or gone."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            row = db.execute("SELECT incarnation FROM job").fetchone()
    except sqlite3.Error:
        return 0
    return int(row[0]) if row and isinstance(row[0], int) else 0
