"""What survives a crash of the job process: one snapshot, replaced whole by each commit.

``MemoryJournal`` keeps it in memory and so survives only within one process: for the simulation, for tests, and for
runs that may be lost. A durable journal has the same two methods.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnout.job.leases import Lease


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a job must not forget, as of one commit. Arrays are never changed after they are put here."""

    commit: int  #: Counts the commits of this job, from 1.
    version: int
    model: NDArray[np.float32]
    total: NDArray[np.float64]  #: The accumulator's sum of w * update over the counted tasks of the open buffer.
    total_weight: float
    buffered: int  #: Updates in ``total``.
    counted: tuple[tuple[int, int, float, bytes], ...]  #: (version, first task, keep until, bitmap) of each version.
    leases: tuple[Lease, ...]  #: The live ones.
    reserved_until: int  #: Task numbers below this may have been given out; the next start begins here.
    workflow: dict[str, Any]  #: Round, deadline and so on, of ``rounds`` or ``buffered``.
    optimizer: tuple[NDArray[np.float64], ...]
    rng: tuple[Any, ...]
    job_time: float
    pacing: float
    durations: tuple[float, ...]
    tally: dict[str, Any]  #: Counts shown to people.
