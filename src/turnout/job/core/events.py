"""What happens to a job (events) and what it wants done (effects). A ticket is the shell's name for who waits."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from turnout.blobs.base import BlobRef
from turnout.job.core.states import Kind
from turnout.job.journal.journal import Snapshot
from turnout.job.workflow.evaluation import Evaluate
from turnout.messages import (
    RefusedResults,
    ResultOffer,
    ResultReport,
    ResultResponse,
    SelectionRequest,
    SelectionResponse,
    TaskRequest,
    TaskResponse,
)

# --- events -------------------------------------------------------------------------------------------------------


class TaskAsked(msgspec.Struct, frozen=True):
    """``chance``: 0 to 1, that this kind of device is selected; the job's own code gives it."""

    ticket: int
    request: TaskRequest
    chance: float = 1.0


class SelectionAsked(msgspec.Struct, frozen=True):
    ticket: int
    request: SelectionRequest


class ResultOffered(msgspec.Struct, frozen=True):
    """A gateway asks before it reads a large result."""

    ticket: int
    offer: ResultOffer


class ResultsRefused(msgspec.Struct, frozen=True):
    """A gateway refused results, which nobody here will see."""

    told: RefusedResults


class Result(msgspec.Struct, frozen=True):
    """``factor``: by how much it counts more or less than it would; the job's own code gives it."""

    ticket: int
    report: ResultReport
    factor: float = 1.0


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed; due at ``JobCore.next_tick``."""


@dataclass(frozen=True, slots=True)
class Committed:
    """The snapshot of this commit is durable, and so is the blob of its model."""

    commit: int
    took_s: float
    blob: BlobRef


@dataclass(frozen=True, slots=True)
class CommitDoubtful:
    """A commit failed, and the journal cannot be read now; CommitFailed follows as soon as it can."""

    commit: int
    reason: str


@dataclass(frozen=True, slots=True)
class CommitFailed:
    """``durable`` is what the journal holds now, read again: a failed commit may have happened all the same."""

    commit: int
    reason: str
    durable: Snapshot | None
    blob: BlobRef | None


@dataclass(frozen=True, slots=True)
class Evaluated:
    """``metrics`` is None when the evaluation failed, for ``error``; as it does when some are ``not_finite``."""

    version: int
    metrics: Mapping[str, float] | None
    error: str = ""
    not_finite: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Recalled:
    """The model of an earlier version; None when it cannot be read, for ``error``."""

    version: int
    model: NDArray[np.float32] | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Paused:
    """A person wants no task to be given out for now."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """A person resumes a paused job."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A person cancels the job."""

    reason: str


Event = (
    TaskAsked
    | SelectionAsked
    | ResultOffered
    | Result
    | ResultsRefused
    | Tick
    | Committed
    | CommitDoubtful
    | CommitFailed
    | Evaluated
    | Recalled
    | Paused
    | Resumed
    | Cancelled
)

# --- effects, to be carried out in the order in which they come ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Commit:
    """Make it durable, elsewhere than on the loop; report Committed or CommitFailed. Never two at once."""

    snapshot: Snapshot


class Answer(msgspec.Struct, frozen=True):
    ticket: int
    response: TaskResponse | SelectionResponse | ResultResponse


@dataclass(frozen=True, slots=True)
class Publish:
    """This version is durable, and what devices get from now on."""

    version: int
    model: NDArray[np.float32]
    blob: BlobRef


@dataclass(frozen=True, slots=True)
class Retract:
    """No device can need this blob any more."""

    blob: BlobRef


@dataclass(frozen=True, slots=True)
class Recall:
    """Read the model of an earlier version, elsewhere; report Recalled."""

    version: int
    blob: BlobRef


@dataclass(frozen=True, slots=True)
class Finish:
    """The job has ended; every device that waited has been answered.

    ``left``: how many counted results are in no version, which ``reason`` says too.
    """

    kind: Kind
    reason: str
    left: int = 0


Effect = Commit | Answer | Publish | Retract | Evaluate | Recall | Finish
