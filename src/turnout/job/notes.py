"""Files that a job writes for people, in a thread of their own: a disk that takes its time holds up no request."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import msgspec

from turnout.job import damage
from turnout.job.directory import FINAL
from turnout.job.eventlog import EventLog
from turnout.messages import JobStatus

WAITING_MAX = 1000  #: Notes that wait for the disk; beyond it new ones are dropped.


class Notes:
    """One writer of one job's directory; what is given to it is written in its order."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._events = EventLog(directory)
        self._thread = ThreadPoolExecutor(1, "notes")
        self._waiting = 0
        self._loop = asyncio.get_running_loop()

    def event(self, kind: str, **fields: object) -> None:
        """Something happened; ``fields`` as in JobEvent."""
        self._later(partial(self._events.add, kind, **fields))

    def published(self, version: int, sha256: str) -> None:
        self._later(partial(damage.note_published, self._directory, damage.Published(version, sha256)))

    async def final(self, status: JobStatus) -> None:
        """Write the job's last account of itself; it is there, whole, when this returns."""
        await self._loop.run_in_executor(self._thread, self._write_final, status)

    def close(self) -> None:
        """Everything given is written."""
        self._thread.shutdown()

    def _later(self, work: Callable[[], None]) -> None:
        if self._waiting >= WAITING_MAX:
            return
        self._waiting += 1
        self._loop.run_in_executor(self._thread, work).add_done_callback(self._done)

    def _done(self, written: asyncio.Future[None]) -> None:
        self._waiting -= 1
        written.result()  # they raise nothing but by our mistake

    def _write_final(self, status: JobStatus) -> None:
        final = self._directory / FINAL
        unfinished = final.with_suffix(".unfinished")
        unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(status)))
        unfinished.replace(final)
