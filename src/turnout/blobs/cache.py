"""Models as bytes, kept by the gateway: an LRU of open files, bounded in bytes.

A large file is mapped, so that what 200 slow readers hold are views of the system's page cache. Whoever still reads a
blob that was dropped from the LRU keeps it open until it is done.
"""

import asyncio
import hashlib
import mmap
from collections.abc import Awaitable, Callable
from pathlib import Path

from turnout.blobs.base import BUSY, BlobName, Busy

MAPPED_BYTES_MIN = 1024 * 1024  #: Smaller files are read: a mapping costs a descriptor.
ENTRY_BYTES = 4096  #: What an open blob costs beside its size.


FindFile = Callable[[str, str], Awaitable[Path]]
Done = Callable[[memoryview | Busy | None], None]


class Blobs:
    """Finds blobs by ``find`` (job id, sha256), which raises FileNotFoundError, and keeps them open.

    Keeps ``bytes_max`` bytes, and the newest however large it is; opens ``loads_max`` at once. Not
    ``named_by_content``: the sha256 is that of another file, from which this one was made.
    """

    def __init__(self, find: FindFile, bytes_max: int, loads_max: int, named_by_content: bool = True) -> None:
        self._find = find
        self._named_by_content = named_by_content
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
            path = await self._find(name.job_id, name.sha256)
            blob = await asyncio.to_thread(_open, path, name.sha256 if self._named_by_content else None)
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


def _open(path: Path, sha256: str | None) -> memoryview | None:
    """The bytes of a file; None when they do not have this hash, if one is given."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        small = size < MAPPED_BYTES_MIN
        blob = memoryview(file.read() if small else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    return blob if sha256 is None or hashlib.sha256(blob).hexdigest() == sha256 else None
