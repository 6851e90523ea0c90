"""The same job behind every journal: the suite knows them only as a ``World``. A new journal gets one of its own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from turnout.job.folder.directory import LOCK
from turnout.job.journal.journal import Journal, Snapshot
from turnout.job.journal.memory import MemoryJournal
from turnout.job.journal.sqlite import SqliteJournal

BYTES_MAX = 300_000


class World(Protocol):
    """One job. A commit of more than ``BYTES_MAX`` bytes finds no room."""

    def next_process(self) -> Journal:
        """Take the job over from the process that had it, which may live on."""
        ...

    def close(self) -> None: ...


class _SmallMemory(MemoryJournal):
    def commit(self, snapshot: Snapshot) -> None:
        if sum(vector.nbytes for vector in snapshot.vectors.values()) > BYTES_MAX:
            raise OSError(28, "No space left on device")
        super().commit(snapshot)


class _InMemory:
    def __init__(self) -> None:
        self._newest: _SmallMemory | None = None

    def next_process(self) -> Journal:
        self._newest = self._newest.take_over() if self._newest is not None else _SmallMemory()
        return self._newest

    def close(self) -> None:
        pass


class _OnDisk:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._journals: list[SqliteJournal] = []

    def next_process(self) -> Journal:
        (self._folder / LOCK).unlink(missing_ok=True)  # as on a file system without locks
        self._journals.append(SqliteJournal(self._folder, "job-1", bytes_max=BYTES_MAX, lock_patience_s=0))
        return self._journals[-1]

    def close(self) -> None:
        for journal in self._journals:
            journal.close()


@pytest.fixture(params=["memory", "sqlite"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    made: World = _InMemory() if request.param == "memory" else _OnDisk(tmp_path)
    yield made
    made.close()


@pytest.fixture
def journal(world: World) -> Journal:
    """Of the job's first process."""
    return world.next_process()
