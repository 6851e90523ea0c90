"""Files and folders that only their owner may open: the one place that sees to it, whatever the umask.

The first process of a server calls ``by_default`` before it makes anything, and all others inherit its umask: what a
server makes is private by construction. What is made in a process whose umask is not ours to set, such as a notebook,
goes through ``create``.
"""

import errno
import glob
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

OTHERS = 0o077  #: What group and others might do.
UNFINISHED = ".unfinished"  #: How a file is named until it is whole.
NAME_CHARS_MAX = 56  #: Of the name that it will have: a file system takes 255 bytes, and a character may be four.
_CHANCE_CHARS = 8  # that tempfile draws
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)  # not on Windows
_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
#: What a data folder holds. Nothing else in it is ours to close: somebody may have put one beside files of their own.
OURS = ("lock", "owner.token", "control.sqlite", "control.sqlite-wal", "control.sqlite-shm", "incoming", "jobs", "run")


def by_default() -> None:
    """Let this process and its children make nothing that others may open."""
    os.umask(OTHERS)


def create(path: Path, flags: int = os.O_WRONLY | os.O_TRUNC) -> int:
    """Open a file, making it if it is not there; nobody else may open it from now on. Raises OSError.

    What another account has put there, a file or a link, is not written to: it would read what we write.
    """
    fd = os.open(path, flags & ~os.O_TRUNC | os.O_CREAT | _NOFOLLOW | _CLOEXEC, 0o600)
    try:
        found = os.fstat(fd)
        if hasattr(os, "geteuid") and found.st_uid != os.geteuid() and not stat.S_ISCHR(found.st_mode):  # a terminal
            raise PermissionError(errno.EPERM, "it belongs to another account", str(path))
        if stat.S_ISREG(found.st_mode):
            if found.st_mode & OTHERS and hasattr(os, "fchmod"):  # it was there; Windows has other means
                os.fchmod(fd, 0o600)
            if flags & os.O_TRUNC:
                os.ftruncate(fd, 0)
    except BaseException:
        os.close(fd)
        raise
    return fd


def unfinished(path: Path) -> tuple[int, Path]:
    """A new file beside ``path``, to be given that name once it is whole; its descriptor and its own name, which nobody
    can have taken before. Raises OSError.
    """
    fd, name = tempfile.mkstemp(UNFINISHED, f"{path.name[:NAME_CHARS_MAX]}.", path.parent)
    return fd, Path(name)


def discard_unfinished(folder: Path, name: str = "") -> None:
    """Remove what killed processes have not finished there, of any file or of one. For who alone writes it."""
    one = f"{glob.escape(name[:NAME_CHARS_MAX])}.{'?' * _CHANCE_CHARS}"
    for file in folder.glob(f"{one if name else '*'}{UNFINISHED}"):
        file.unlink(missing_ok=True)


def touch(path: Path) -> None:
    """Make an empty file, unless it is there. SQLite gives the files beside a database the rights of the database."""
    os.close(create(path, os.O_WRONLY))


def is_open(path: Path) -> bool:
    """Whether others may open this file or folder; False when it is not there."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return not stat.S_ISLNK(found.st_mode) and bool(found.st_mode & OTHERS)


def open_parts(data: Path) -> list[Path]:
    """What others may open of a data folder: those entries of it that are ours, and the folder when it holds nothing
    else. What is deeper is closed with them.
    """
    found = [path for name in OURS if is_open(path := data / name)]
    return [data, *found] if is_open(data) and _holds_only_ours(data) else found


def close(data: Path) -> int:
    """Close what is open of a data folder, all the way down; how many files and folders were open.

    What belongs to another account stays as it is.
    """
    closed = 0
    for part in open_parts(data):
        closed += sum(map(_closed, [part] if part == data else [part, *_below(part)]))
    return closed


def _closed(path: Path) -> bool:
    if not is_open(path):
        return False
    try:
        path.chmod(path.stat().st_mode & 0o700)
    except OSError:
        return False
    return True


def _below(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        yield from (Path(place, name) for name in (*folders, *files))


def _holds_only_ours(data: Path) -> bool:
    try:
        return {entry.name for entry in data.iterdir()} <= set(OURS)
    except OSError:
        return False
