"""Files that a job writes for people, in a thread of their own: a disk that takes its time holds up no request."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from turnout.job.account.eventlog import EventLog
from turnout.job.journal import damage
from turnout.job.journal.recorder import Published
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
        self._newest: Published | None = None  # that is not noted yet
        self._publishing = False  # a version is being noted, or was a moment ago
        noted = damage.published(directory)
        self._named: tuple[str, ...] = (noted.sha256,) if noted is not None else ()  # surely or perhaps by the note
        self._waiting = 0
        self._loop = asyncio.get_running_loop()

    def event(self, kind: str, **fields: object) -> None:
        """Something happened; ``fields`` as in JobEvent."""
        self._later(partial(self._events.add, kind, **fields))

    def published(self, newest: Published) -> None:
        """Note the newest version durably; at once, or a moment after the last."""
        self._newest = newest
        if not self._publishing:
            self._note_newest()

    def names(self) -> tuple[str, ...]:
        """The models that the note of the newest version may name: they must not be removed yet."""
        return self._named

    def _note_newest(self) -> None:
        """And again a moment later, if there is a newer one by then."""
        newest, self._newest = self._newest, None
        self._publishing = newest is not None
        if newest is not None:
            self._named = (*self._named, newest.sha256)
            writing = self._loop.run_in_executor(self._thread, damage.note_published, self._directory, newest)
            writing.add_done_callback(partial(self._noted, newest))

    def _noted(self, newest: Published, writing: asyncio.Future[bool]) -> None:
        written = writing.result()  # an exception here is a bug
        self._named = (newest.sha256,) if written else (self._named[0], newest.sha256)
        self._loop.call_later(PUBLISHED_EVERY_S, self._note_newest)

    def final(self, status: JobStatus, done: Callable[[OSError | None], None]) -> None:
        """Write the job's last account of itself; call ``done`` once it is durable, or cannot be."""

        def write() -> OSError | None:
            try:
                write_final(self._directory, status)
            except OSError as error:
                return error
            return None

        self._loop.run_in_executor(self._thread, write).add_done_callback(lambda written: done(written.result()))

    def close(self) -> None:
        """Write the newest version, and wait until everything given is written. Not on the loop."""
        newest, self._newest = self._newest, None
        if newest is not None:
            self._thread.submit(damage.note_published, self._directory, newest)
        self._thread.shutdown()

    def _later(self, work: Callable[[], None]) -> None:
        if self._waiting >= WAITING_MAX:
            return
        self._waiting += 1
        self._loop.run_in_executor(self._thread, work).add_done_callback(self._done)

    def _done(self, written: asyncio.Future[None]) -> None:
        self._waiting -= 1
        written.result()  # an exception here is a bug
