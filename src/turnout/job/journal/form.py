"""How the journal of a job keeps what is small of a snapshot: one value, encoded in one row."""

from typing import Any

import msgspec

from turnout.aggregator.typical import Norms
from turnout.job.account.groups import Counts, Key
from turnout.job.journal import task_rows
from turnout.job.places.leases import Lease
from turnout.job.places.selection import Ranges
from turnout.job.workflow.federated import Sums
from turnout.job.workflow.made import Counts as MadeCounts
from turnout.messages import FailingEvaluation, Warned


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of a snapshot that is small, and what its other parts must look like.

    What an earlier release wrote must still be read: new fields have defaults. A release that does not know a field
    refuses the journal instead of forgetting what is in it.
    """

    total_weight: float
    buffered: int
    tasks: int
    checksum: int
    reserved_until: int
    blobs: tuple[tuple[int, str, int], ...]  #: (version, sha256, bytes)
    workflow: dict[str, Any]
    rng: tuple[int, tuple[int, ...], float | None]
    job_time: float
    next_appointment: float
    durations: tuple[float, ...]
    tally: dict[str, Any]
    vectors: dict[str, int]  #: The CRC of each.
    counted: dict[int, int]  #: The CRC of the row of each version.
    pause: tuple[float | None, float] = (None, 0.0)  #: What follows has defaults: earlier releases did not write it.
    groups: tuple[tuple[Key, Counts], ...] = ()
    best: tuple[int, float] | None = None
    measured: dict[int, dict[str, float]] = {}
    ending: str = ""
    federated: Sums = {}
    fleets: Ranges = ()
    bases: dict[int, float] = {}
    warned: tuple[Warned, ...] = ()
    evaluation_fails: FailingEvaluation | None = None
    typical: Norms | None = None
    given_sums: task_rows.Sums | None = None  #: Of the rows of leases and taken tasks; None: they are here.
    leases: tuple[Lease, ...] = ()
    taken: dict[bytes, int] = {}
    made: MadeCounts | None = None
    void_below: int = 0
    pause_reason: str = ""
