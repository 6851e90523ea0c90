"""What survives a crash of the job process: one snapshot, replaced whole by each commit.

``sqlite.py`` keeps it on disk, ``memory.py`` within one process only.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from turnout.aggregator.typical import Norms
from turnout.blobs.base import BlobRef
from turnout.errors import TurnoutError
from turnout.job.account.groups import Counts, Key
from turnout.job.places.changes import Changes
from turnout.job.places.counted import CountedVersion
from turnout.job.places.leases import Lease
from turnout.job.places.selection import Ranges
from turnout.job.workflow.federated import Sums
from turnout.job.workflow.made import Counts as MadeCounts
from turnout.messages import FailingEvaluation, Warned

KEY_BYTES = 32


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
    tasks: int  #: Tasks counted in ``counted``,
    checksum: int  #: and the checksum of their numbers: a sum and its bitmaps that are not of one commit show.
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
    pause: tuple[float | None, float] = (None, 0.0)  #: Job time when the present one began; how long earlier ones were.
    groups: tuple[tuple[Key, Counts], ...] = ()  #: How devices fared, by platform and app version.
    best: tuple[int, float] | None = None  #: The best version and its metric; its blob is in ``blobs``, or the newest.
    measured: dict[int, dict[str, float]] = field(default_factory=dict)  #: The metrics of each version that is kept.
    ending: str = ""  #: Why the job is over, where nothing else in here says so.
    federated: Sums = field(default_factory=dict)  #: What devices measured, as sums.
    fleets: Ranges = ()  #: Those that a simulator registered.
    bases: dict[int, float] = field(default_factory=dict)  #: The one number of the model, by version.
    warned: tuple[Warned, ...] = ()
    evaluation_fails: FailingEvaluation | None = None
    made: MadeCounts | None = None  #: Where the counted results went; None: an earlier release wrote this.
    void_below: int = 0  #: The job has ended, or diverged, since these tasks were given out.
    pause_reason: str = ""  #: Why the job paused itself.
    typical: Norms | None = None  #: Of the updates that were taken.
    #: Of ``leases`` and ``taken`` since the commit before; None when that is not known.
    changes: Changes | None = field(default=None, compare=False)
    whole: bool = field(default=True, compare=False)  #: Not: these two are empty, for ``changes`` says enough.


class JournalDamaged(TurnoutError):
    """What is on disk is not what was committed. Nothing may be trained on top of it."""


class JournalUnusable(TurnoutError):
    """This journal is whole, and not for this program or this job."""


class DiskError(OSError):
    """A commit failed in SQLite; whether it happened is open."""


class Fenced(TurnoutError):
    """A newer process has taken the job over: this one must end at once and answer nobody."""


class Journal(Protocol):
    """One job's memory, held by one incarnation of its process. Called from one thread at a time, not on the loop.

    What a commit has in common with the last, as the same object, need not be written again.
    """

    durable: bool  #: Whether a commit survives the end of the process.
    by_changes: bool  #: Whether a snapshot need not be ``whole`` when its changes are known.
    key: bytes  #: What the job seals its leases with; lives as long as the snapshots.
    incarnation: int  #: Counts the processes that have held this journal, from 1.

    def load(self) -> Snapshot | None:
        """The last committed snapshot, read from where it is kept; None before the first commit.

        Raises OSError when it cannot be read now, JournalDamaged when it never will be, and Fenced when a newer
        incarnation holds the journal: the last commit may be that one's, and says nothing about ours.
        """
        ...

    def commit(self, snapshot: Snapshot) -> None:
        """Replace the snapshot. When it raises OSError, ``load`` tells whether it happened.

        Raises Fenced when a newer incarnation holds the journal: nothing was changed.
        """
        ...

    def close(self) -> None: ...
