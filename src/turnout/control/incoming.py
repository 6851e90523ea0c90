"""Where uploads are put until they are known to be good, and what is on its way out."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

from starlette.requests import Request

from turnout.control.problems import Problem

UPLOADS_MAX = 2  #: Uploads being read and checked at once.
BACKUPS_MAX = 2  #: Copies of journals being made at once.
SPARE_BYTES = 64 << 20  #: Left free, so that a copy does not keep jobs from saving results.


def free_bytes(folder: Path) -> int:
    """What the disk of a folder has left."""
    return shutil.disk_usage(folder).free


class Incoming:
    """One folder on the disk of the jobs, emptied at each start of control. ``free`` tells a folder's room."""

    def __init__(self, data: Path, free: Callable[[Path], int] = free_bytes) -> None:
        self.folder = data / "incoming"
        self._free = free
        shutil.rmtree(self.folder, ignore_errors=True)  # what a control that was killed had not finished
        self.folder.mkdir()
        self._uploads = asyncio.Semaphore(UPLOADS_MAX)
        self._backups = asyncio.Semaphore(BACKUPS_MAX)
        self._copying = 0  # bytes that the backups being made may need

    @asynccontextmanager
    async def upload(self) -> AsyncIterator[Path]:
        """A folder for one upload, removed afterwards. Raises Problem while too many are being read."""
        if self._uploads.locked():
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"{UPLOADS_MAX} uploads are being read; try again soon")
        async with self._uploads:
            with tempfile.TemporaryDirectory(dir=self.folder) as place:
                yield Path(place)

    async def receive(self, request: Request, target: BinaryIO, bytes_max: int, what: str, copies: int = 1) -> int:
        """Write the body of a request to a file; its size. Raises Problem beyond the bound, or when there is no room.

        The bound is judged by what really comes. There must be room for that many ``copies``; when there is none, what
        comes is read all the same: who is still sending does not read a refusal.
        """
        said = request.headers.get("content-length", "")
        said_bytes = int(said) if said.isascii() and said.isdigit() else 0
        refusal = self._no_room(copies * said_bytes, what)
        num_bytes = 0
        async for chunk in request.stream():
            num_bytes += len(chunk)
            if num_bytes > bytes_max:
                raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{what} may have {bytes_max} bytes")
            if refusal is None and num_bytes > said_bytes:
                refusal = self._no_room(copies * num_bytes, what)
            if refusal is None:
                target.write(chunk)
        if refusal is not None:
            raise refusal
        return num_bytes

    @asynccontextmanager
    async def backup(self, num_bytes: int) -> AsyncIterator[Path]:
        """A folder for one copy of that many bytes, removed afterwards. Raises Problem when there is no room for it."""
        if self._backups.locked():
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"{BACKUPS_MAX} backups are being made; try again soon")
        async with self._backups:
            self.check_room(num_bytes, "a backup")
            place = Path(tempfile.mkdtemp(dir=self.folder))
            self._copying += num_bytes
            try:
                yield place
            finally:
                self._copying -= num_bytes
                await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)

    def check_room(self, num_bytes: int, what: str = "the unpacked job folder") -> None:
        """Raises Problem when that many more bytes do not fit on the disk."""
        refusal = self._no_room(num_bytes, what)
        if refusal is not None:
            raise refusal

    def _no_room(self, num_bytes: int, what: str) -> Problem | None:
        """What to answer when that many bytes do not fit on the disk."""
        free = self._free(self.folder) - self._copying
        if free >= num_bytes + SPARE_BYTES:
            return None
        return Problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"not enough disk space for {what}: it may need {num_bytes:,} bytes and {SPARE_BYTES:,} must stay free, "
            f"but the server's disk has {free:,}; make room, and try again",
        )
