"""How much of the disk one job may take, so that no job can stop all others by filling it."""

import errno
from pathlib import Path

from turnout.job.folder.directory import FOLDER, JOURNAL


class BudgetUsedUp(OSError):
    """A disk that is full for one job; its words are for people and go without a number."""

    def __str__(self) -> str:
        return str(self.strerror)


class DiskBudget:
    """Counts a job's journal and its models. The journal's log and the files for people have bounds of their own."""

    def __init__(self, directory: Path, blobs: Path, bytes_max: int) -> None:
        self._journal, self._blobs = directory / JOURNAL, blobs
        self.bytes_max = bytes_max

    def used(self) -> int:
        """Bytes; a handful of files are looked at."""
        return sum(_size(file) for file in (self._journal, *self._blobs.iterdir()))

    def check(self, adding: int) -> None:
        """Raise BudgetUsedUp (EDQUOT) when this many more bytes would exceed the budget."""
        used = self.used()
        if used + adding > self.bytes_max:
            directory = self._journal.parent
            raise BudgetUsedUp(
                errno.EDQUOT,
                f"the job's disk budget is used up: {used:,} bytes and {adding:,} more exceed {self.bytes_max:,}; "
                f"raise bytes_max under [disk] in {directory / FOLDER / 'job.toml'} and restart the server or, when it "
                f"has failed by then, start it again with: turnout start {directory.name}",
            )


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:  # not there yet, or just removed
        return 0
