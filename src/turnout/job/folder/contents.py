"""What of a folder belongs to the job: the files that a server is handed, and why others are not.

People keep notes, data and environments beside what turnout reads. All of that is taken, or left out with a reason;
nothing is refused for it. ``.turnoutignore`` says what else to leave out, as ``.gitignore`` does.
"""

import os
import stat
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from turnout.job.folder.ignore import Ignore
from turnout.text.files import read_text
from turnout.text.printable import printable

IGNORE_FILE = ".turnoutignore"
#: Left out unless a line of ``.turnoutignore`` takes it back.
USUAL = {"an editor's backup": "*~\n\\#*#\n", "an environment": "venv/\nnode_modules/\n"}
ENVIRONMENT = "pyvenv.cfg"  #: A folder that holds it is a Python environment, whatever its name.
CACHES = frozenset({"__pycache__", "__MACOSX"})  #: Left out without a word, as is what begins with a dot.
PART_BYTES_MAX = 255
PATH_BYTES_MAX = 1000
DEPTH_MAX = 32
SHOWN_MAX = 3  #: Paths told for one reason.
_UNFIT_KINDS = frozenset({"Cc", "Cs", "Zl", "Zp"})  #: Of characters: controls, undecodable bytes, ends of lines.


@dataclass(slots=True)
class Contents:
    """The files of a job folder by their path in it, with ``/``; and what is left out, by reason."""

    files: dict[str, Path] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def lines(self) -> tuple[str, ...]:
        """What is left out and why, a line for each reason."""
        return tuple(f"{_some(paths)}: {reason}" for reason, paths in self.left_out.items())


def contents_of(folder: Path) -> Contents:
    """Look through a folder. Raises JobFolderError when its ``.turnoutignore`` cannot be read."""
    found, rules = Contents(), _Rules(folder)

    def unreadable(error: OSError) -> None:
        path = Path(error.filename).relative_to(folder).as_posix()
        found.left_out.setdefault(f"cannot be read: {error.strerror}", []).append(f"{path}/")

    for place, folders, names in os.walk(folder, onerror=unreadable):
        above = Path(place).relative_to(folder)
        for name in sorted(folders):
            path = (above / name).as_posix()
            reason = "" if is_cache(path) else rules.folder(Path(place, name), path)
            if reason:
                found.left_out.setdefault(reason, []).append(f"{path}/")
            if reason or is_cache(path):
                folders.remove(name)
        folders.sort()
        for name in sorted(names):
            path = (above / name).as_posix()
            if is_cache(path):
                continue
            if reason := rules.file(Path(place, name), path):
                found.left_out.setdefault(reason, []).append(path)
            else:
                found.files[path] = Path(place, name)
    return found


def is_cache(path: str) -> bool:
    """Whether a path is of what tools keep for themselves: it is never part of a job."""
    return path.endswith(".pyc") or any(part.startswith(".") or part in CACHES for part in path.split("/"))


def unfit(path: str) -> str:
    """Why a file of this path cannot be handed on; empty when it can."""
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "not a path inside the folder"
    if "\\" in path or any(unicodedata.category(char) in _UNFIT_KINDS for char in path):
        return "a backslash or a character that cannot be printed in its name"
    if len(path.encode()) > PATH_BYTES_MAX or any(len(part.encode()) > PART_BYTES_MAX for part in parts):
        return f"a name of more than {PART_BYTES_MAX} bytes, or a path of more than {PATH_BYTES_MAX}"
    return f"more than {DEPTH_MAX} levels deep" if len(parts) > DEPTH_MAX else ""


class _Rules:
    """Why a path is left out, or an empty text."""

    def __init__(self, folder: Path) -> None:
        own = read_text(folder, IGNORE_FILE) if (folder / IGNORE_FILE).is_file() else ""
        self._usual = {reason: Ignore(patterns) for reason, patterns in USUAL.items()}
        self._all = Ignore("".join(USUAL.values()) + own)

    def folder(self, place: Path, path: str) -> str:
        if place.is_symlink():
            return "a link to a folder"
        if (place / ENVIRONMENT).is_file():
            return "an environment"
        return self._named(path, is_folder=True) or unfit(path)

    def file(self, place: Path, path: str) -> str:
        if reason := self._named(path, is_folder=False):
            return reason
        try:
            mode = place.stat().st_mode
        except OSError:
            return "a link to nothing" if place.is_symlink() else "cannot be read"
        if not stat.S_ISREG(mode):
            return "not a file"
        return unfit(path) or ("" if os.access(place, os.R_OK) else "cannot be read")

    def _named(self, path: str, *, is_folder: bool) -> str:
        if not self._all.names(path, is_folder):
            return ""
        return next((why for why, usual in self._usual.items() if usual.names(path, is_folder)), IGNORE_FILE)


def _some(paths: list[str]) -> str:
    shown = ", ".join(map(printable, paths[:SHOWN_MAX]))
    return shown if len(paths) <= SHOWN_MAX else f"{shown} and {len(paths) - SHOWN_MAX:,} more"
