"""Where simulated processes keep their journal: in memory or, in some worlds, in the real files of a folder.

Both fail when told to. The files fail for real: the system lets them grow to some length only, and when a process dies
in the middle of a commit, the log is what it was up to some byte, and what it would have been before that.
"""

import errno
import resource
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from typing import Protocol

from turnout.job.folder.directory import JOURNAL, LOCK
from turnout.job.journal.journal import DiskError, Journal, Snapshot
from turnout.job.journal.memory import MemoryJournal
from turnout.job.journal.sqlite import SqliteJournal, create, read_snapshot

LOG = f"{JOURNAL}-wal"
SHORT_MAX = 60_000  #: Bytes that a write which fails may still write, at most.


class Kept(Journal, Protocol):
    """One process's handle, as its disk has it."""

    def fail(self, snapshot: Snapshot, rng: Random) -> None:
        """Commit and fail. Returns if it happened all the same."""

    def die(self, snapshot: Snapshot, rng: Random) -> Snapshot | None:
        """Begin to commit; what is known to be durable then, None: nothing new, or what the next process finds."""
        ...

    def shown(self) -> Snapshot | None:
        """What anybody else reads there now; None where that is the very same object."""
        ...

    def leave(self) -> None:
        """Its process is dead."""


class Store(Protocol):
    """All that survives a process."""

    def take_over(self) -> Kept:
        """The handle of the next process. If the last is not dead, it is fenced from now on."""
        ...

    def close(self) -> None: ...


class Memory:
    """A handle of a MemoryJournal."""

    def __init__(self, journal: MemoryJournal) -> None:
        self._journal = journal
        self.durable = journal.durable
        self.key, self.incarnation = journal.key, journal.incarnation
        self.load, self.commit, self.close = journal.load, journal.commit, journal.close

    def fail(self, snapshot: Snapshot, rng: Random) -> None:
        raise DiskError(errno.ENOSPC, "simulated")

    def die(self, snapshot: Snapshot, rng: Random) -> Snapshot | None:
        if rng.random() < 0.5:
            return None
        self._journal.commit(snapshot)
        return snapshot

    def shown(self) -> Snapshot | None:
        return None

    def leave(self) -> None:
        pass


class MemoryStore:
    """``kind`` is broken in some tests."""

    def __init__(self, kind: type[MemoryJournal], key: bytes) -> None:
        self._journal = kind()
        self._journal.key = key

    def take_over(self) -> Memory:
        self._journal = self._journal.take_over()
        return Memory(self._journal)

    def close(self) -> None:
        pass


class Files:
    """A handle of the real journal."""

    def __init__(self, folder: Path, job_id: str) -> None:
        self._folder = folder
        self._journal = SqliteJournal(folder, job_id, lock_patience_s=0)
        self.durable = self._journal.durable
        self.key, self.incarnation = self._journal.key, self._journal.incarnation
        self.load, self.commit, self.close = self._journal.load, self._journal.commit, self._journal.close
        self.lives = True
        self.cut: bytes | None = None  #: The log, where the process died while it was written.

    def fail(self, snapshot: Snapshot, rng: Random) -> None:
        begin = rng.choice((0, len(_bytes(self._folder / LOG))))  # a log that begins anew is written from its start
        with files_up_to(begin + rng.randrange(SHORT_MAX)):
            self._journal.commit(snapshot)

    def die(self, snapshot: Snapshot, rng: Random) -> Snapshot | None:
        before = _bytes(self._folder / JOURNAL), _bytes(self._folder / LOG)
        self._journal.commit(snapshot)
        file, log = _bytes(self._folder / JOURNAL), _bytes(self._folder / LOG)
        if file == before[0]:  # else the log was folded into it, and was whole before
            begin = next((at for at, pair in enumerate(zip(before[1], log, strict=False)) if pair[0] != pair[1]), None)
            end = rng.randint(min(len(before[1]), len(log)) if begin is None else begin, len(log))
            self.cut = log[:end] + before[1][end:]
        return None

    def shown(self) -> Snapshot | None:
        found = read_snapshot(self._folder / JOURNAL)
        assert found is not None
        return found

    def leave(self) -> None:
        self.lives = False


class FileStore:
    """A new folder for each process whose predecessors are all dead: what these left is copied as it is."""

    def __init__(self, root: Path, job_id: str, key: bytes) -> None:
        self._root, self._job_id = root, job_id
        self._folder = root / "0"
        self._folder.mkdir()
        self._handles: list[Files] = []
        create(self._folder / JOURNAL, job_id)
        with closing(sqlite3.connect(self._folder / JOURNAL)) as db, db:
            db.execute("UPDATE job SET key = ?", (key,))

    def take_over(self) -> Files:
        if any(handle.lives for handle in self._handles):  # and hangs
            (self._folder / LOCK).unlink()  # as on a file system without locks
        elif self._handles:
            self._crash()
        handle = Files(self._folder, self._job_id)
        self._handles.append(handle)
        return handle

    def _crash(self) -> None:
        folder, cut = self._root / str(int(self._folder.name) + 1), self._handles[-1].cut
        folder.mkdir()
        shutil.copy(self._folder / JOURNAL, folder / JOURNAL)
        (folder / LOG).write_bytes(_bytes(self._folder / LOG) if cut is None else cut)
        self.close()
        shutil.rmtree(self._folder)
        self._folder = folder

    def close(self) -> None:
        for handle in self._handles:
            handle.close()
        self._handles = []


@contextmanager
def files_up_to(num_bytes: int) -> Iterator[None]:
    """No file of this process may be written beyond this length; Python turns the signal for it into an error."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""
