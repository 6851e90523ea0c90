"""What a model is called: by the job that has it, and by the sha256 of its bytes. Pure."""

from dataclasses import dataclass


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
