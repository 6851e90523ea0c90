"""A job folder as a zip: how it is packed, and how it is unpacked by somebody who does not trust it.

Nothing in the zip decides where a file is written, nor how much is held or written: names are judged one by one, links
are not allowed, and files, bytes and the zip's own list of them are bounded before anything is unpacked. Packing keeps
to the same bounds. How well a file compresses says nothing about it: a model may be all zeros.
"""

import errno
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

from turnout.errors import JobFolderError
from turnout.job.folder.contents import IGNORE_FILE, contents_of, is_cache, unfit

PACKED_BYTES_MAX = 512 << 20
UNPACKED_BYTES_MAX = 2 << 30  #: What it takes of the disk, and of the time that it takes to unpack.
FILES_MAX = 10_000
READ_BYTES_MAX = 4 << 20  #: In one read, such as that of the zip's list of files: it is held in memory.
_CHUNK_BYTES = 1 << 20
_JOB_TOML = "job.toml"


#: What zipfile raises for bytes that somebody made up, beside OSError for a place that no file has.
_NOT_A_ZIP = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, UnicodeError, ValueError),
    *(LookupError, OverflowError),
)

Progress = Callable[[int, int], None]  #: Is told the bytes done so far, and how many there are in all.


def no_progress(done: int, total: int) -> None:
    """Nobody looks."""


def pack(folder: Path, target: BinaryIO, progress: Progress = no_progress) -> tuple[str, ...]:
    """Write the zip of a job folder; returns what is left out and why, in lines. Raises JobFolderError."""
    if not folder.is_dir():
        raise JobFolderError(f"{folder}: no such folder; a job folder holds {_JOB_TOML} and a model")
    contents = contents_of(folder)
    files = contents.files
    if _JOB_TOML not in files:
        why = next((f": {line}" for line in contents.lines() if _JOB_TOML in line), "")
        raise JobFolderError(f"{folder} has no {_JOB_TOML}, so it is not a job folder{why}")
    try:
        sizes = {name: path.stat().st_size for name, path in files.items()}
        _check_sizes(sizes)
        done, total = 0, sum(sizes.values())
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
    end = target.tell()
    if end > PACKED_BYTES_MAX:
        raise JobFolderError(f"packed it has {end} bytes; at most {PACKED_BYTES_MAX} are taken; {_way_out(sizes)}")
    with _opened(target) as archive:
        _check(_files(archive))  # as the server will
    target.seek(end)
    return contents.lines()


def unpack(source: BinaryIO, folder: Path, make_room: Callable[[int], object] = lambda num_bytes: None) -> None:
    """Write the files of a zip into ``folder``, which must be new. Raises JobFolderError on anything unusual.

    ``make_room`` is told how many bytes they have before any is written, and may raise.
    """
    try:
        with _opened(source) as archive:
            entries = _files(archive)
            make_room(_check(entries))
            folder.mkdir()
            for entry in entries:
                _write(archive, entry, folder)
    except _NOT_A_ZIP as error:
        raise JobFolderError(f"the upload is not a zip file that can be read: {error}") from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise JobFolderError(
            "the upload is not a zip file that can be read: it names a place before its begin"
        ) from error


def _opened(source: BinaryIO) -> zipfile.ZipFile:
    return zipfile.ZipFile(cast(BinaryIO, _InPieces(source)))


class _InPieces:
    """A file that is read in bounded pieces: whatever a zip says of itself, memory is bounded."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        if size > READ_BYTES_MAX:
            raise JobFolderError(
                f"the zip's list of files has {size} bytes; at most {READ_BYTES_MAX} are taken; name what the job does "
                f"not need in {IGNORE_FILE}, or use shorter names"
            )
        return self._file.read(READ_BYTES_MAX if size < 0 else size)


def _files(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """What is part of the job, by names that are safe to write. Raises JobFolderError."""
    files = [entry for entry in archive.infolist() if not entry.filename.endswith("/")]
    for entry in files:
        if why := unfit(entry.filename):
            raise JobFolderError(f"{entry.filename!r} is not a name that a job folder's file may have: {why}")
    return [entry for entry in files if not is_cache(entry.filename)]


def _check(entries: list[zipfile.ZipInfo]) -> int:
    """How many bytes they unpack to. Raises JobFolderError."""
    for entry in entries:
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise JobFolderError(f'"{entry.filename}" is a link or a device; only files are taken')
        if entry.flag_bits & 1:
            raise JobFolderError(f'"{entry.filename}" is encrypted; encrypted files are not taken')
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise JobFolderError(f'"{entry.filename}" is compressed in an unusual way; use deflate')
    sizes = {entry.filename: entry.file_size for entry in entries}
    if len(sizes) < len(entries):
        raise JobFolderError("the zip has two files of one name")
    if _JOB_TOML not in sizes:
        raise JobFolderError(
            f"the zip has no {_JOB_TOML} at its top: zip what is in the job folder, not the folder itself"
        )
    _check_sizes(sizes)
    return sum(sizes.values())


def _check_sizes(sizes: dict[str, int]) -> None:
    """Whether files of these names and sizes are within the bounds. Raises JobFolderError."""
    if len(sizes) > FILES_MAX:
        raise JobFolderError(f"{len(sizes)} files; at most {FILES_MAX} are taken; {_way_out(sizes)}")
    if (num_bytes := sum(sizes.values())) > UNPACKED_BYTES_MAX:
        raise JobFolderError(
            f"the files have {num_bytes} bytes; at most {UNPACKED_BYTES_MAX} are taken; {_way_out(sizes)}"
        )


def _way_out(sizes: dict[str, int]) -> str:
    largest = max(sizes, key=sizes.__getitem__)
    return f"name what the job does not need in {IGNORE_FILE} (the largest is {largest!r}, {sizes[largest]} bytes)"


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    """Write one file, never more bytes than it declares: the declared sizes are what was checked."""
    target = folder.joinpath(*entry.filename.split("/"))
    left = entry.file_size
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(entry) as packed, target.open("xb") as unpacked:
            while chunk := packed.read(_CHUNK_BYTES):
                left -= len(chunk)
                if left < 0:
                    raise JobFolderError(f'"{entry.filename}" is larger than the zip says')
                unpacked.write(chunk)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise JobFolderError(f'"{entry.filename}" is there twice, or as a file and as a folder') from None
