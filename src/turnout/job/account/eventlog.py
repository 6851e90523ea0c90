"""What happened to a job, for people: lines of JSON in ``events.jsonl``, which control passes on to those who watch.

Written without waiting for the disk: nothing is decided by it, and the last lines may be lost with the machine.
"""

import logging
import time
from pathlib import Path

import msgspec

from turnout.job.folder.directory import EVENTS
from turnout.messages import JobEvent
from turnout.storage import rotation
from turnout.text.printable import printable_json

BYTES_MAX = 8 * 2**20  #: At this size the log begins anew; one older part is kept beside it.
LINE_BYTES_MAX = 64 * 2**10

logger = logging.getLogger("turnout.job")


class EventLog:
    """Appends to the log of one job's directory."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / EVENTS
        self._complained = False

    def add(self, kind: str, **fields: object) -> None:
        """``fields`` are those of a JobEvent, without the time."""
        event = JobEvent(at=wall_clock(), kind=kind, **fields)  # type: ignore[arg-type]
        line = _line(event)
        if len(line) > LINE_BYTES_MAX:
            line = _line(JobEvent(at=event.at, kind=kind, text="too long to tell"))
        try:
            rotation.append(self._path, line, BYTES_MAX)
        except OSError as error:
            if not self._complained:
                logger.warning("cannot write %s: %s", self._path, error)
            self._complained = True


def wall_clock() -> float:
    """Now in seconds since 1970, to show people."""
    return time.time()


def _line(event: JobEvent) -> bytes:
    return f"{printable_json(msgspec.json.encode(event))}\n".encode()
