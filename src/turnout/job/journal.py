"""What survives a crash of the job process: one snapshot, replaced whole by each commit.

``MemoryJournal`` keeps it in memory and so survives only within one process: for the simulation, for tests, and for
runs that may be lost. A durable journal has the same two methods.
"""

import secrets
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from turnout.job.counted import CountedVersion
from turnout.job.leases import Lease

KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class BlobRef:
    """A model as an immutable file: the sha256 of its bytes, and how many they are."""

    sha256: str
    num_bytes: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a job must not forget, as of one commit. Nothing in it is changed after it was made."""

    commit: int  #: Counts the commits of this job, from 1.
    version: int
    model: NDArray[np.float32]
    total: NDArray[np.float64]  #: The accumulator's sum of discount * weight * update over the open buffer.
    total_weight: float
    buffered: int  #: Updates in ``total``.
    counted: tuple[CountedVersion, ...]
    leases: tuple[Lease, ...]  #: The live ones.
    taken: dict[bytes, int]  #: The task of each device that took one of this version.
    reserved_until: int  #: Task numbers below this may have been given out; the next start begins here.
    blobs: tuple[tuple[int, BlobRef], ...]  #: Of the older versions that devices may still download.
    workflow: dict[str, Any]
    optimizer: tuple[NDArray[np.float64], ...]
    rng: tuple[Any, ...]
    job_time: float
    next_appointment: float
    durations: tuple[float, ...]
    tally: dict[str, Any]


class Journal(Protocol):
    """One job's memory. Called from one thread at a time, not on the event loop."""

    durable: bool  #: Whether a commit survives the end of the process.
    key: bytes  #: What the job seals its leases with; lives as long as the snapshots.

    def load(self) -> Snapshot | None:
        """The last committed snapshot; None before the first commit."""
        ...

    def commit(self, snapshot: Snapshot) -> None:
        """Replace the snapshot. When it raises OSError, ``load`` tells whether it happened."""
        ...


class MemoryJournal:
    """A journal that forgets with its process."""

    durable = False

    def __init__(self) -> None:
        self.key = secrets.token_bytes(KEY_BYTES)
        self._snapshot: Snapshot | None = None

    def load(self) -> Snapshot | None:
        return self._snapshot

    def commit(self, snapshot: Snapshot) -> None:
        last = self._snapshot.commit if self._snapshot else 0
        assert snapshot.commit == last + 1, "commits are numbered without gaps"
        self._snapshot = snapshot
