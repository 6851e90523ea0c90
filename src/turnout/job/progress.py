"""How far the job got, in a small file beside its blobs: what a restart with a journal in memory has lost."""

import logging
from pathlib import Path

import msgspec

FILE = "progress.json"

logger = logging.getLogger("turnout.job")


class Progress(msgspec.Struct, frozen=True):
    """As of the newest published version."""

    version: int
    counted: int


class ProgressFile:
    """Written at each published version, without waiting for the disk: it informs people, nothing is decided by it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self.before = self._read()

    def _read(self) -> Progress | None:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Progress)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None

    def published(self, version: int, counted: int) -> None:
        unfinished = self._path.with_suffix(".unfinished")
        try:
            unfinished.write_bytes(msgspec.json.encode(Progress(version, counted)))
            unfinished.replace(self._path)
        except OSError as error:
            logger.warning("cannot note the progress of the job in %s: %s", self._path, error)
