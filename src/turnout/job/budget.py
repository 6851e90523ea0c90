"""How much of the disk one job may take, so that no job can stop all others by filling it."""

import errno
from pathlib import Path


class DiskBudget:
    """Counts the files of one job's directory: its journal and its models, not the folder as submitted."""

    def __init__(self, directory: Path, blobs: Path, bytes_max: int) -> None:
        self._folders = (directory, blobs)
        self.bytes_max = bytes_max

    def used(self) -> int:
        """Bytes; a handful of files are looked at."""
        return sum(_size(file) for folder in self._folders for file in folder.iterdir())

    def check(self, adding: int) -> None:
        """Raise OSError (EDQUOT) when so many bytes more would exceed the budget."""
        used = self.used()
        if used + adding > self.bytes_max:
            raise OSError(
                errno.EDQUOT,
                f"the job's disk budget is used up: {used:,} bytes and {adding:,} more exceed {self.bytes_max:,}; "
                "raise bytes_max under [disk] in its job.toml",
            )


def _size(file: Path) -> int:
    try:
        return file.stat().st_size if file.is_file() else 0
    except FileNotFoundError:  # a model that no device needs any more has just been removed
        return 0
