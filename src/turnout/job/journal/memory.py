"""A journal that forgets with its process: for the simulation, for tests, and to measure what durability costs."""

import secrets
from copy import copy
from dataclasses import dataclass
from typing import Self

from turnout.job.journal.journal import KEY_BYTES, Fenced, Snapshot


@dataclass(slots=True)
class _Memory:
    """What the handles of one MemoryJournal share."""

    incarnation: int = 1
    snapshot: Snapshot | None = None


class MemoryJournal:
    """Each process of a job has a handle of its own; that of the newest may commit."""

    durable = False

    def __init__(self) -> None:
        self.key = secrets.token_bytes(KEY_BYTES)
        self.incarnation = 1
        self._memory = _Memory()

    def take_over(self) -> Self:
        """The handle of the next process; this one is fenced from now on."""
        newer = copy(self)
        self._memory.incarnation += 1
        newer.incarnation = self._memory.incarnation
        return newer

    def load(self) -> Snapshot | None:
        self._check_incarnation()
        return self._memory.snapshot

    def commit(self, snapshot: Snapshot) -> None:
        self._check_incarnation()
        last = self._memory.snapshot
        assert snapshot.commit == (last.commit if last else 0) + 1, "commits are numbered without gaps"
        self._memory.snapshot = snapshot.after(last)

    def _check_incarnation(self) -> None:
        if self._memory.incarnation != self.incarnation:
            raise Fenced(f"incarnation {self._memory.incarnation} of this job has taken over from {self.incarnation}")

    def close(self) -> None:
        pass
