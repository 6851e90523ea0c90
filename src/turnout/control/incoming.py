"""Where uploads are put until they are known to be good, and what is on its way out."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

from turnout.control.problems import Problem

UPLOADS_MAX = 2  #: Uploads being read and checked at once.
BACKUPS_MAX = 2  #: Copies of journals being made at once.
SPARE_BYTES = 64 << 20  #: Left free, so that a copy does not keep jobs from saving results.


class Incoming:
    """One folder on the disk of the jobs, emptied at each start of control."""

    def __init__(self, data: Path) -> None:
        self.folder = data / "incoming"
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

    @asynccontextmanager
    async def backup(self, num_bytes: int) -> AsyncIterator[Path]:
        """A folder for one copy of so many bytes, removed afterwards. Raises Problem when there is no room for it."""
        if self._backups.locked():
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"{BACKUPS_MAX} backups are being made; try again soon")
        async with self._backups:
            free = shutil.disk_usage(self.folder).free - self._copying
            if free < num_bytes + SPARE_BYTES:
                raise Problem(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    f"no backup could be made: it may need {num_bytes:,} bytes and {SPARE_BYTES:,} must stay free, but "
                    f"the disk of {self.folder} has {free:,}",
                )
            place = Path(tempfile.mkdtemp(dir=self.folder))
            self._copying += num_bytes
            try:
                yield place
            finally:
                self._copying -= num_bytes
                await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)
