"""Making files outlast a power failure: what is in them, and that they are there. All of it blocks for the disk."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from turnout.storage import private


def sync(path: Path) -> None:
    """Put what is in a file on the disk; or the names that are in a folder."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write(path: Path, data: bytes | memoryview) -> None:
    """Write a file that is whole, or not there, whenever somebody looks; durable when this returns, and private."""
    with whole(path) as file:
        file.write(data)


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write; it gets its name once it is whole and on the disk, or is removed when that fails."""
    fd, unfinished = private.unfinished(path)
    try:
        with open(fd, "wb") as file:
            yield file
            file.flush()
            os.fsync(fd)
        unfinished.replace(path)
    except BaseException:  # Ctrl-C is one
        unfinished.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync_tree(folder: Path) -> None:
    """Put all that is in a folder on the disk: files first, then the folders that name them."""
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync(Path(place, name))
        sync(Path(place))
