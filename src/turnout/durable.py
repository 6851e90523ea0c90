"""Making files outlast a power failure: what is in them, and that they are there. All of it blocks for the disk."""

import os
from pathlib import Path

from turnout import private


def sync(path: Path) -> None:
    """Put what is in a file on the disk; or the names that are in a folder."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write(path: Path, data: bytes | memoryview) -> None:
    """Write a file that is whole, or not there, whenever somebody looks; durable when this returns, and private."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    with open(private.create(unfinished), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    sync(path.parent)


def sync_tree(folder: Path) -> None:
    """Put all that is in a folder on the disk: files first, then the folders that name them."""
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync(Path(place, name))
        sync(Path(place))
