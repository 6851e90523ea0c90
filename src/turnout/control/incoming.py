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


class Incoming:
    """One folder on the disk of the jobs, emptied at each start of control."""

    def __init__(self, data: Path) -> None:
        self.folder = data / "incoming"
        shutil.rmtree(self.folder, ignore_errors=True)  # what a control that was killed had not finished
        self.folder.mkdir()
        self._uploads = asyncio.Semaphore(UPLOADS_MAX)

    @asynccontextmanager
    async def upload(self) -> AsyncIterator[Path]:
        """A folder for one upload, removed afterwards. Raises Problem while too many are being read."""
        if self._uploads.locked():
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"{UPLOADS_MAX} uploads are being read; try again soon")
        async with self._uploads:
            with tempfile.TemporaryDirectory(dir=self.folder) as place:
                yield Path(place)
