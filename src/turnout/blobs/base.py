"""What a model is called: by the job that has it, and by the sha256 of its bytes; and how it is read. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

SUFFIX: Final = ".safetensors"  #: Of a model; what was made of one has that of its form.


@dataclass(frozen=True, slots=True)
class BlobRef:
    """A model as an immutable file: the sha256 of its bytes, and how many they are."""

    sha256: str
    num_bytes: int


@dataclass(frozen=True, slots=True)
class BlobName:
    """A model of a job."""

    job_id: str
    sha256: str


class Busy:
    """Too many blobs are being opened; ask again."""


BUSY = Busy()


@dataclass(frozen=True, slots=True)
class OpenBlob:
    """A blob that is being read: how many bytes it has, and they in chunks, each valid for as long as it is held."""

    num_bytes: int
    chunks: Iterator[memoryview]


class BlobSource(Protocol):
    """Where the models of one job are read, wherever they lie."""

    def open(self, sha256: str, suffix: str) -> OpenBlob:
        """A blob by the name of its model, and what it is. Waits for a disk or a network: not on an event loop.

        Raises FileNotFoundError when there is none (any more), OSError when it cannot be read now.
        """
        ...
