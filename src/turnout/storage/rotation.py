"""A file that is appended to, and begins anew when it is full; one older part is kept beside it."""

import os
from pathlib import Path

from turnout.storage import private


def append(path: Path, line: bytes, bytes_max: int) -> None:
    """Append, in a new file when this one is full. Does not wait for the disk. Raises OSError."""
    fd = private.create(path, os.O_WRONLY | os.O_APPEND)
    try:
        if os.fstat(fd).st_size + len(line) > bytes_max:
            path.replace(older(path))
            os.close(fd)
            fd = private.create(path, os.O_WRONLY | os.O_APPEND)
        os.write(fd, line)
    finally:
        os.close(fd)


def older(path: Path) -> Path:
    """Where the part is that came before."""
    return path.with_suffix(f".older{path.suffix}")
