"""What happened to a job, out of the log that its process writes: see ``job/account/eventlog.py``."""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from turnout.job.folder.directory import EVENTS
from turnout.messages import JobEvent
from turnout.storage.rotation import older

EVENTS_READ_MAX = 1000  #: At once.
EVENTS_SHOWN_MAX = 10_000  #: The newest of a job's history.

_decoder = msgspec.json.Decoder(JobEvent)


class Place(NamedTuple):
    """Where in the log an event ends: the part, by its inode, and the offset in it."""

    part: int
    offset: int

    def __str__(self) -> str:
        return f"{self.part}-{self.offset}"


def parse_place(text: str) -> Place | None:
    """A place as a watcher sends it back; None when it is none, which means the beginning."""
    match = re.fullmatch(r"([0-9]{1,20})-([0-9]{1,20})", text)
    return None if match is None else Place(int(match[1]), int(match[2]))


def read_after(directory: Path, after: Place | None) -> list[tuple[Place, JobEvent]]:
    """The next events after a place, oldest first; from the beginning when that place does not exist any more."""
    path = directory / EVENTS
    with ExitStack() as files:
        now = _open(path, files)  # first: should it become the older part meanwhile, it is found twice, not missed
        before = _open(older(path), files)
        if now is not None and before is not None and os.path.sameopenfile(now.fileno(), before.fileno()):
            before = None
        parts = [part for part in (before, now) if part is not None]
        begin = 0
        for i, part in enumerate(parts):
            if after is not None and _is_in(part, after):
                parts, begin = parts[i:], after.offset
                break
        following = (found for i, part in enumerate(parts) for found in _events(part, 0 if i else begin))
        return list(islice(following, EVENTS_READ_MAX))


def read_all(directory: Path, since: float) -> tuple[list[JobEvent], str]:
    """The newest events later than ``since``, and the place to continue from.

    Of a version that was published again after a restart, the first time is kept.
    """
    events: list[JobEvent] = []
    place: Place | None = None
    while batch := read_after(directory, place):
        place = batch[-1][0]
        events += [event for _, event in batch]
    wanted = [event for event in _first_published(events) if event.at > since]
    return wanted[-EVENTS_SHOWN_MAX:], str(place or "")


def _first_published(events: Iterable[JobEvent]) -> Iterator[JobEvent]:
    seen: set[int] = set()
    for event in events:
        if event.kind == "published":
            if event.version in seen:
                continue
            seen.add(event.version)
        yield event


def _open(path: Path, files: ExitStack) -> BinaryIO | None:
    try:
        return files.enter_context(path.open("rb"))
    except FileNotFoundError:
        return None


def _is_in(part: BinaryIO, place: Place) -> bool:
    """Whether an event of this part ends at this place."""
    if os.fstat(part.fileno()).st_ino != place.part or place.offset < 1:
        return False
    part.seek(place.offset - 1)
    return part.read(1) == b"\n"


def _events(part: BinaryIO, begin: int) -> Iterator[tuple[Place, JobEvent]]:
    """The whole lines from an offset on. What cannot be read is left out: a crash may leave half a line."""
    inode = os.fstat(part.fileno()).st_ino
    part.seek(begin)
    offset = begin
    for line in part:
        if not line.endswith(b"\n"):
            return
        offset += len(line)
        try:
            yield Place(inode, offset), _decoder.decode(line)
        except (msgspec.DecodeError, msgspec.ValidationError):
            continue
