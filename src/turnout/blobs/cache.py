"""Models as bytes, kept by the gateway: an LRU of open blobs, bounded in bytes.

A large file of this machine is mapped, so that what 200 slow readers hold are views of the system's page cache. Whoever
still reads a blob that was dropped from the LRU keeps it open until it is done.
"""

import asyncio
import hashlib
import mmap
from collections.abc import Callable

from turnout.blobs.base import BUSY, SUFFIX, BlobName, BlobSource, Busy, OpenBlob

ENTRY_BYTES = 4096  #: What an open blob costs beside its size.


SourceOf = Callable[[str], BlobSource | None]  #: Where the models of a job are read, by its id.
Done = Callable[[memoryview | Busy | None], None]


class Blobs:
    """Reads blobs from the source of their job, and keeps them open.

    Keeps ``bytes_max`` bytes, and the newest however large it is; opens ``loads_max`` at once. With another ``suffix``
    they are what was made of models, under the names of these.
    """

    def __init__(self, source_of: SourceOf, bytes_max: int, loads_max: int, suffix: str = SUFFIX) -> None:
        self._source_of = source_of
        self._suffix = suffix
        self._bytes_max = bytes_max
        self._loads_max = loads_max
        self._kept: dict[BlobName, memoryview] = {}
        self._bytes = 0
        self._waiting: dict[BlobName, list[Done]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def fetch(self, name: BlobName, done: Done) -> None:
        """Call ``done`` with the blob, None when there is none, or BUSY; at once when that is known."""
        blob = self._kept.pop(name, None)
        if blob is not None:
            self._kept[name] = blob  # to the end: used last
            done(blob)
        elif name in self._waiting:
            self._waiting[name].append(done)
        elif len(self._waiting) >= self._loads_max:
            done(BUSY)
        else:
            self._waiting[name] = [done]
            task = asyncio.get_running_loop().create_task(self._load(name))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def forget_unless(self, runs: Callable[[str], bool]) -> None:
        """Drop those of jobs that ended; a reader of one reads on."""
        for name in [name for name in self._kept if not runs(name.job_id)]:
            self._bytes -= len(self._kept.pop(name)) + ENTRY_BYTES

    async def _load(self, name: BlobName) -> None:
        blob = None
        try:
            if (source := self._source_of(name.job_id)) is not None:
                blob = await asyncio.to_thread(_read, source, name.sha256, self._suffix)
        except OSError:
            pass  # the job is gone, or the file: those that wait are told that there is none
        finally:
            waiting = self._waiting.pop(name)
        if blob is not None:
            self._keep(name, blob)
        for done in waiting:
            done(blob)

    def _keep(self, name: BlobName, blob: memoryview) -> None:
        self._kept[name] = blob
        self._bytes += len(blob) + ENTRY_BYTES
        while self._bytes > self._bytes_max and len(self._kept) > 1:
            oldest = next(iter(self._kept))
            self._bytes -= len(self._kept.pop(oldest)) + ENTRY_BYTES


def _read(source: BlobSource, sha256: str, suffix: str) -> memoryview | None:
    """The bytes of a blob; None when they are not all there, or a model does not have this hash."""
    opened = source.open(sha256, suffix)
    blob = next(opened.chunks, memoryview(b""))
    if len(blob) < opened.num_bytes:
        blob = _gathered(blob, opened)
    whole = len(blob) == opened.num_bytes
    return blob if whole and (suffix != SUFFIX or hashlib.sha256(blob).hexdigest() == sha256) else None


def _gathered(first: memoryview, opened: OpenBlob) -> memoryview:
    """All chunks one after the other, in memory that goes back to the system when nobody holds it."""
    gathered = mmap.mmap(-1, opened.num_bytes)
    gathered.write(first)
    for chunk in opened.chunks:
        if gathered.tell() + len(chunk) > opened.num_bytes:
            raise OSError("a blob is larger than its store says")
        gathered.write(chunk)
    return memoryview(gathered)[: gathered.tell()].toreadonly()
