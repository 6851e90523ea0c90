"""Files that a job writes for people, in a thread of their own: a disk that takes its time holds up no request."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from turnout.job import damage
from turnout.job.eventlog import EventLog
from turnout.job.remade import write_final
from turnout.messages import JobStatus

WAITING_MAX = 1000  #: Notes that wait for the disk; beyond it new ones are dropped.
PUBLISHED_EVERY_S = 1.0  #: Each note of a version takes two syncs of the disk, for which commits wait too.


class Notes:
    """One writer of one job's directory; what is given to it is written in its order."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._events = EventLog(directory)
        self._thread = ThreadPoolExecutor(1, "notes")
        self._newest: damage.Published | None = None
        self._publishing: asyncio.TimerHandle | None = None  # a version was noted a moment ago
        self._waiting = 0
        self._loop = asyncio.get_running_loop()

    def event(self, kind: str, **fields: object) -> None:
        """Something happened; ``fields`` as in JobEvent."""
        self._later(partial(self._events.add, kind, **fields))

    def published(self, version: int, sha256: str) -> None:
        """Note the newest version durably; at once, or a moment after the last."""
        self._newest = damage.Published(version, sha256)
        if self._publishing is None:
            self._note_newest()

    def _note_newest(self) -> None:
        """And again a moment later, if there is a newer one by then."""
        self._publishing = None
        if self._newest is not None:
            self._later(partial(damage.note_published, self._directory, self._newest))
            self._newest = None
            self._publishing = self._loop.call_later(PUBLISHED_EVERY_S, self._note_newest)

    async def final(self, status: JobStatus) -> None:
        """Write the job's last account of itself; durable when this returns."""
        await self._loop.run_in_executor(self._thread, write_final, self._directory, status)

    def close(self) -> None:
        """Write the newest version, and wait until everything given is written. Not on the loop."""
        if self._newest is not None:
            self._thread.submit(damage.note_published, self._directory, self._newest)
            self._newest = None
        self._thread.shutdown()

    def _later(self, work: Callable[[], None]) -> None:
        if self._waiting >= WAITING_MAX:
            return
        self._waiting += 1
        self._loop.run_in_executor(self._thread, work).add_done_callback(self._done)

    def _done(self, written: asyncio.Future[None]) -> None:
        self._waiting -= 1
        written.result()  # they raise nothing but by our mistake
