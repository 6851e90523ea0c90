"""The last lines of what a job's process printed: see ``supervisor/joblog.py``."""

from pathlib import Path

from turnout.job.folder.directory import LOG
from turnout.storage.rotation import older

LINES_MAX = 10_000
LINES_SHOWN = 200  #: Unless asked for more or fewer.


def tail(directory: Path, lines: int) -> str:
    """At most this many lines, each with its end; nothing when nothing was printed yet."""
    path = directory / LOG
    found: list[bytes] = []
    for part in (path, older(path)):
        try:
            found = part.read_bytes().splitlines(keepends=True)[-lines:] + found
        except FileNotFoundError:
            continue
        if len(found) >= lines:
            break
    return b"".join(found[-lines:]).decode("utf-8", "replace")
