"""The states of a job as values, what leads from one to the next in one table, and the words that people see for them.

Two machines run side by side: the life of a job, and its commits. A pause is neither: it is a clock that stands still
(``pause.py``), and it outlives most states. The drawing of both in docs/ARCHITECTURE.md is made from these tables.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import ClassVar

from turnout.blobs.base import BlobRef
from turnout.job.journal.journal import Snapshot

LAST_COMMITS_MAX = 5  #: Failed commits after which a job that a person cancels ends without the last.


class Kind(StrEnum):
    """Of an end; its word is the state in the last account of the job."""

    COMPLETED = "completed"  #: A stop rule was reached.
    CANCELLED = "cancelled"  #: A person ended the job before its stop rule.
    FAILED = "failed"  #: It cannot reach its stop rule, or was given up. The core itself never ends so.


@dataclass(frozen=True, slots=True)
class End:
    """Why and how a job ends."""

    kind: Kind
    reason: str
    remembered: bool = False  #: The reason is in the snapshots: a restart could not find it out again.
    diverged: bool = False  #: The results in the open sum make no model.
    failed_commits: int = 0  #: Since this was decided.

    @property
    def hopeless(self) -> bool:
        """Whether the disk has had its chances."""
        return self.kind is Kind.CANCELLED and self.failed_commits >= LAST_COMMITS_MAX


# --- the life of a job --------------------------------------------------------------------------------------------


class Life:
    """What every state says of itself, as constants of its class."""

    __slots__ = ()
    holds: ClassVar[bool] = False  #: What comes in has to do with what is not durable yet, and waits for it.
    counts: ClassVar[bool] = False  #: Results are staged.
    drained: ClassVar[bool] = False  #: No result is counted any more.


@dataclass(frozen=True, slots=True)
class Recovering(Life):
    """From the start of a process until its first commit is durable."""

    holds = True
    end: End | None = None


@dataclass(frozen=True, slots=True)
class Open(Life):
    """Tasks are granted, and results are staged for the next version."""

    counts = True
    end: ClassVar[None] = None


@dataclass(frozen=True, slots=True)
class Closing(Life):
    """The commit that makes this version is under way."""

    holds = True
    version: int
    end: End | None = None


@dataclass(frozen=True, slots=True)
class Recalling(Life):
    """Training diverged, for ``why``; the model of this earlier version is being read."""

    holds = True
    version: int
    why: str
    end: End | None = None


@dataclass(frozen=True, slots=True)
class Draining(Life):
    """The job ends: no new task is granted; those that are out may be reported, for as long as a version may come."""

    counts = True
    end: End
    until: float  #: Job time.


@dataclass(frozen=True, slots=True)
class Settling(Life):
    """No result is counted any more, which a crash could still undo; a last version is made, if there is enough."""

    holds = drained = True
    end: End


@dataclass(frozen=True, slots=True)
class Settled(Life):
    """It is durable that no result is counted any more. An evaluation may still run, and be saved."""

    drained = True
    end: End


@dataclass(frozen=True, slots=True)
class Over(Life):
    """The end is announced."""

    drained = True
    end: End
    durable: bool  #: Not: the disk took no last commit, and a restart may count what was refused.


State = Recovering | Open | Closing | Recalling | Draining | Settling | Settled | Over


class Happened(Enum):
    """What leads from one state to the next."""

    COMMITTED = "its commit is durable"
    COMMIT_FAILED = "its commit failed"
    CLOSED = "a version closes"
    DIVERGED = "training diverged"
    RECALLED = "the model was read"
    ENDED = "its end is decided"
    DRAINED = "no result is waited for"
    GIVEN_UP = "the disk takes nothing"
    ANNOUNCED = "nothing is left to do"


TABLE: dict[tuple[type[Life], Happened], tuple[type[Life], ...]] = {
    (Recovering, Happened.COMMITTED): (Open, Draining, Settled),
    (Recovering, Happened.COMMIT_FAILED): (Recovering,),
    (Recovering, Happened.ENDED): (Recovering,),
    (Recovering, Happened.GIVEN_UP): (Over,),
    (Open, Happened.CLOSED): (Closing,),
    (Open, Happened.DIVERGED): (Recalling, Closing),
    (Open, Happened.ENDED): (Draining,),
    (Closing, Happened.COMMITTED): (Open, Draining, Settled),
    (Closing, Happened.COMMIT_FAILED): (Open, Draining),
    (Closing, Happened.ENDED): (Closing,),
    (Recalling, Happened.RECALLED): (Closing, Draining),
    (Recalling, Happened.ENDED): (Recalling,),
    (Draining, Happened.COMMIT_FAILED): (Draining,),
    (Draining, Happened.ENDED): (Draining,),
    (Draining, Happened.DRAINED): (Settling,),
    (Draining, Happened.GIVEN_UP): (Over,),
    (Settling, Happened.COMMITTED): (Settled,),
    (Settling, Happened.COMMIT_FAILED): (Settling,),
    (Settling, Happened.DIVERGED): (Settling,),
    (Settling, Happened.ENDED): (Settling,),
    (Settling, Happened.GIVEN_UP): (Over,),
    (Settled, Happened.COMMIT_FAILED): (Settled,),
    (Settled, Happened.ENDED): (Settled,),
    (Settled, Happened.GIVEN_UP): (Over,),
    (Settled, Happened.ANNOUNCED): (Over,),
}


class InvalidTransition(AssertionError):
    """A bug: no arrow of the table leads from one state to the other."""

    def __init__(self, before: object, happened: Enum, after: object) -> None:
        super().__init__(f'"{happened.value}" does not lead from {before} to {after}')


def moved(before: State, happened: Happened, after: State) -> State:
    """``after``, if the table has this arrow."""
    if type(after) not in TABLE.get((type(before), happened), ()):
        raise InvalidTransition(before, happened, after)
    return after


# --- the words ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shown:
    """What people see of a state, and what devices meet in it."""

    word: str
    tasks: str  #: What becomes of a request for a task,
    results: str  #: and of a result.
    paused: str = ""  #: The word while the job is paused; empty: the same.
    full: str = ""  #: The word while the disk does not take its commits; empty: the same.
    ending: str = ""  #: The word once the end is decided; empty: the same.


WORDS: dict[type[Life], Shown] = {
    Recovering: Shown("RECOVER", "held", "held", full="FULL", ending="ENDING"),
    Open: Shown("OPEN", "granted", "counted", paused="PAUSED", full="FULL"),
    Closing: Shown("OPEN", "held", "held", paused="PAUSED", full="FULL", ending="ENDING"),
    Recalling: Shown("OPEN", "held", "held", paused="PAUSED", full="FULL", ending="ENDING"),
    Draining: Shown("ENDING", "DONE, or the same again", "counted"),
    Settling: Shown("ENDING", "DONE", "held"),
    Settled: Shown("ENDING", "DONE", "refused"),
    Over: Shown("ENDED", "DONE", "refused"),
}
ALL_WORDS = tuple(dict.fromkeys(w for s in WORDS.values() for w in (s.word, s.paused, s.full, s.ending) if w))


def word(state: State, *, paused: bool, full: bool) -> str:
    """The state for people. ``full``: the disk does not take the job's commits."""
    shown = WORDS[type(state)]
    if state.end is not None:
        return shown.ending or shown.word
    return (full and shown.full) or (paused and shown.paused) or shown.word


# --- commits ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Idle:
    """No commit is under way, and the last one did not fail. Times are job time."""

    early_at: float = 0.0  #: The interval since the last one ends here if no more results come,
    next_at: float = 0.0  #: and here at the latest.


@dataclass(frozen=True, slots=True)
class Writing:
    """A commit is under way."""

    snapshot: Snapshot
    closes: bool  #: A version.
    retired: tuple[BlobRef, ...]  #: What no device needs once it is durable.
    since: float  #: Job time.
    error: str = ""  #: Why the one before it failed; empty: it did not.


@dataclass(frozen=True, slots=True)
class Doubtful:
    """A commit failed, and whether it happened all the same is being found out."""

    writing: Writing
    error: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The last commit did not happen."""

    error: str
    retry_at: float  #: No other begins before this job time.


CommitState = Idle | Writing | Doubtful | Failed


class CommitHappened(Enum):
    """What leads from one state of commits to the next."""

    BEGUN = "it begins"
    DURABLE = "it is durable"
    DOUBTED = "nobody knows"
    FAILED = "it did not happen"


COMMITS: dict[tuple[type[CommitState], CommitHappened], type[CommitState]] = {
    (Idle, CommitHappened.BEGUN): Writing,
    (Failed, CommitHappened.BEGUN): Writing,
    (Writing, CommitHappened.DURABLE): Idle,
    (Writing, CommitHappened.DOUBTED): Doubtful,
    (Writing, CommitHappened.FAILED): Failed,
    (Doubtful, CommitHappened.DURABLE): Idle,
    (Doubtful, CommitHappened.FAILED): Failed,
}


def commit_moved(before: CommitState, happened: CommitHappened, after: CommitState) -> CommitState:
    """``after``, if the table has this arrow."""
    if COMMITS.get((type(before), happened)) is not type(after):
        raise InvalidTransition(before, happened, after)
    return after
