"""A job folder as a zip: how it is packed, and how it is unpacked by somebody who does not trust it.

Nothing in the zip decides where a file is written: names are matched against what is allowed, one by one; links,
absolute names and ``..`` are not allowed; the number and the size of files are bounded before anything is read.
"""

import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from turnout.errors import JobFolderError

PACKED_BYTES_MAX = 512 << 20
UNPACKED_BYTES_MAX = 2 << 30
FILES_MAX = 1000
DEPTH_MAX = 4
RATIO_MAX = 100  #: Unpacked bytes per packed byte, over the whole zip.
RATIO_FREE_BYTES = 8 << 20  #: Small folders may compress as well as they like.
_CHUNK_BYTES = 1 << 20
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}")
_ALLOWED = "letters, digits, _ - . (not first), at most 100 per part and 4 parts"
_SKIPPED = {"__pycache__"}


Progress = Callable[[int, int], None]  #: Is told the bytes done so far, and how many there are in all.


def no_progress(done: int, total: int) -> None:
    """Nobody looks."""


def pack(folder: Path, target: BinaryIO, progress: Progress = no_progress) -> None:
    """Write the zip of a job folder; hidden files and ``__pycache__`` stay out. Raises JobFolderError."""
    if not folder.is_dir():
        raise JobFolderError(f"{folder}: no such folder; a job folder holds job.toml and a model")
    if not (folder / "job.toml").is_file():
        raise JobFolderError(f"{folder} has no job.toml, so it is not a job folder")
    try:
        files = dict(_files(folder))
        done, total = 0, sum(path.stat().st_size for path in files.values())
        with zipfile.ZipFile(target, "w") as archive:
            for name, path in files.items():
                entry = zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)
                entry.compress_type = zipfile.ZIP_DEFLATED
                with path.open("rb") as source, archive.open(entry, "w") as packed:
                    while chunk := source.read(_CHUNK_BYTES):
                        packed.write(chunk)
                        done += len(chunk)
                        progress(done, total)
    except OSError as error:
        raise JobFolderError(f"{error.filename or folder} cannot be packed: {error.strerror}") from error


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """What is packed, by its name in the zip. Raises JobFolderError."""
    count = 0
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if any(part.startswith(".") or part in _SKIPPED for part in parts) or path.is_dir():
            continue
        name = "/".join(parts)
        _check_name(name)
        count += 1
        if count > FILES_MAX:
            raise JobFolderError(f"{folder} has more than {FILES_MAX} files; keep data sets elsewhere")
        yield name, path


def unpack(source: BinaryIO, packed_bytes: int, folder: Path) -> None:
    """Write the files of a zip into ``folder``, which must be new. Raises JobFolderError on anything unusual."""
    try:
        with zipfile.ZipFile(source) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            _check(entries, packed_bytes)
            folder.mkdir()
            for entry in entries:
                _write(archive, entry, folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError, ValueError) as error:
        raise JobFolderError(f"the upload is not a zip file that can be read: {error}") from error


def _check(entries: list[zipfile.ZipInfo], packed_bytes: int) -> None:
    if len(entries) > FILES_MAX:
        raise JobFolderError(f"the zip has {len(entries)} files; at most {FILES_MAX} are taken")
    names = [entry.filename for entry in entries]
    for entry in entries:
        _check_name(entry.filename)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise JobFolderError(f'"{entry.filename}" is a link or a device; only files are taken')
        if entry.flag_bits & 1:
            raise JobFolderError(f'"{entry.filename}" is encrypted; encrypted files are not taken')
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise JobFolderError(f'"{entry.filename}" is compressed in an unusual way; use deflate')
    if len({name.lower() for name in names}) < len(names):
        raise JobFolderError("the zip has two files of one name")
    if "job.toml" not in names:
        raise JobFolderError("the zip has no job.toml at its top: zip what is in the job folder, not the folder itself")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > UNPACKED_BYTES_MAX:
        raise JobFolderError(f"the zip unpacks to {unpacked} bytes; at most {UNPACKED_BYTES_MAX} are taken")
    if unpacked > RATIO_FREE_BYTES + RATIO_MAX * packed_bytes:
        raise JobFolderError(f"the zip unpacks to more than {RATIO_MAX} times its size, as only a bomb does")


def _check_name(name: str) -> None:
    parts = name.split("/")
    if len(parts) > DEPTH_MAX or not all(_PART.fullmatch(part) for part in parts):
        raise JobFolderError(f"{name!r} is not a file name that a job folder may have: {_ALLOWED}")


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    """Write one file, never more bytes than it declares: the declared sizes are what was checked."""
    target = folder.joinpath(*entry.filename.split("/"))
    target.parent.mkdir(parents=True, exist_ok=True)
    left = entry.file_size
    with archive.open(entry) as packed, target.open("xb") as unpacked:
        while chunk := packed.read(_CHUNK_BYTES):
            left -= len(chunk)
            if left < 0:
                raise JobFolderError(f'"{entry.filename}" is larger than the zip says')
            unpacked.write(chunk)
