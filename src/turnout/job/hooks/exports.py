"""What ExecuTorch devices load, made of every model that they may get: the hook ``export`` of the job's ``server.py``.

One at a time, the newest version first; where that fails it is tried again, ever more seldom, and devices are told to
wait. A file that is there is not made again, whichever process made it.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial

from turnout.blobs.base import BlobRef
from turnout.blobs.folder import BlobStore
from turnout.errors import TurnoutError
from turnout.job.folder.folder import EXPORT
from turnout.job.hooks.runner import HookRunner
from turnout.process.loops import tell_failure
from turnout.wire.model_files import Arrays, with_carried

EXPORT_TIMEOUT_S = 300.0
RETRY_MIN_S = 1.0  #: After the first failure; twice as long after each further one,
RETRY_MAX_S = 60.0  #: but no longer.

logger = logging.getLogger("turnout.job")


class Exports:
    """Owns the exported files beside the models of ``blobs``. Belongs to one event loop.

    ``allow`` is asked before that many bytes are added to the disk; ``warn`` tells people, once for each version.
    """

    def __init__(
        self,
        runner: HookRunner,
        blobs: BlobStore,
        allow: Callable[[int], None],
        warn: Callable[[str], None],
        retry_min_s: float = RETRY_MIN_S,
        carried: Arrays | None = None,
    ) -> None:
        self._blobs = blobs
        self._allow = allow
        self._warn = warn
        self._carried = carried or {}
        self._retry_min_s = retry_min_s
        self._runner = runner
        self._wanted: dict[str, int] = {}  # versions, by the model's sha256
        self._made: set[str] = set()
        self._failed: set[str] = set()  # that people know of
        self._failures = 0  # in a row
        self._more = asyncio.Event()
        self._working: asyncio.Task[None] | None = None

    def want(self, models: Iterable[tuple[int, BlobRef]]) -> None:
        """From now on exactly these models, by version, need a file."""
        self._wanted = {blob.sha256: version for version, blob in models}
        self._made &= self._wanted.keys()
        self._failed &= self._wanted.keys()
        self._more.set()
        if self._working is None:
            self._working = asyncio.get_running_loop().create_task(self._work())
            self._working.add_done_callback(partial(tell_failure, message="models are not exported any more"))

    def forget(self, blob: BlobRef) -> None:
        """No device needs this model any more; its file goes with it (``BlobStore.drop``)."""
        self._wanted.pop(blob.sha256, None)
        self._made.discard(blob.sha256)

    async def close(self) -> None:
        """Stop; what is half made is made by the next process."""
        if self._working is not None:
            self._working.cancel()
        if self._working is not None:
            await asyncio.gather(self._working, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            self._more.clear()
            missing = self._wanted.keys() - self._made
            if not missing:
                await self._more.wait()
                continue
            sha256 = max(missing, key=self._wanted.__getitem__)
            if not await self._make(sha256, self._wanted[sha256]):
                await self._pause()

    async def _pause(self) -> None:
        """After a failure; a new version may do better, so it does not wait."""
        try:
            async with asyncio.timeout(min(RETRY_MAX_S, self._retry_min_s * 2 ** min(self._failures - 1, 20))):
                await self._more.wait()
        except TimeoutError:
            pass

    async def _make(self, sha256: str, version: int) -> bool:
        """Have the file of one model; whether it is there, or not needed any more."""
        try:
            if not await asyncio.to_thread(self._blobs.has_export, sha256):
                model = await asyncio.to_thread(self._blobs.path(sha256).read_bytes)
                whole = await asyncio.to_thread(with_carried, model, self._carried)
                made = await self._runner.run(EXPORT, whole, EXPORT_TIMEOUT_S)
                await asyncio.to_thread(self._blobs.put_export, sha256, made, self._allow)
        except (TurnoutError, OSError) as error:
            if sha256 not in self._wanted:
                return True
            self._note(sha256, version, str(error))
            return False
        if sha256 in self._wanted:
            self._made.add(sha256)
        else:  # it went while its file was written
            await asyncio.to_thread(self._blobs.drop_export, sha256)
        self._failures = 0
        return True

    def _note(self, sha256: str, version: int, error: str) -> None:
        self._failures += 1
        text = f"exporting version {version} failed, and devices wait for it: {error}"
        logger.warning("%s", text)
        if sha256 not in self._failed:
            self._failed.add(sha256)
            self._warn(text)
