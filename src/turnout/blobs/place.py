"""Where the models of a job lie: the one place that knows what kinds of stores there are."""

import mmap
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from turnout.blobs.base import SUFFIX, BlobSource, OpenBlob
from turnout.messages import RunningJob

MAPPED_BYTES_MIN: Final = 1024 * 1024  #: Smaller files are read: a mapping costs a descriptor.
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def sources_of(jobs: Mapping[str, RunningJob]) -> Callable[[str], BlobSource | None]:
    """What finds the source of a job's models by its id, among ``jobs`` as they are then."""

    def find(job_id: str) -> BlobSource | None:
        job = jobs.get(job_id)
        return None if job is None else source_of(job.blobs)

    return find


def source_of(blobs: str) -> BlobSource | None:
    """What reads the models of a job, by the ``blobs`` of its announcement; None when that is empty."""
    return FolderSource(blobs) if blobs else None


class FolderSource:
    """A folder of this machine. A file gives itself as one chunk; a large one is mapped."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def open(self, sha256: str, suffix: str = SUFFIX) -> OpenBlob:
        """Raises FileNotFoundError."""
        with blob_file(self._folder, sha256, suffix).open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            if size < MAPPED_BYTES_MIN:
                return OpenBlob(size, _one(memoryview(file.read())))
            return OpenBlob(size, _one(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))))


def _one(chunk: memoryview) -> Iterator[memoryview]:
    yield chunk


def blob_file(folder: str, sha256: str, suffix: str = SUFFIX) -> Path:
    """The file of a blob. Raises FileNotFoundError unless the name is a sha256 in lower-case hex that has a file."""
    if _SHA256.fullmatch(sha256) is None:
        raise FileNotFoundError("a model blob is named by 64 lower-case hex digits")
    path = Path(folder, f"{sha256}{suffix}")
    if not folder or not path.is_file():
        raise FileNotFoundError(f"no model blob {sha256}")
    return path
