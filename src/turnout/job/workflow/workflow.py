"""What a workflow decides: how many places a version has, and when the version closes."""

from enum import Enum
from typing import Protocol

import msgspec


class Verdict(Enum):
    """What is to be done about the open version."""

    WAIT = "wait"
    CLOSE = "close"  #: Enough results: make the next version.
    EXTEND = "extend"  #: The deadline passed below quorum: it was moved, and places were added.
    PAUSE = "pause"  #: The deadline passed for the last time: no more tasks until a person resumes the job.


WAIT, CLOSE, PAUSE = Verdict.WAIT, Verdict.CLOSE, Verdict.PAUSE  #: Asked for at each event; a look-up takes 0.2 µs.


class SavedWorkflow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The open round, as of a commit; a workflow without rounds has nothing to save."""

    asked: int = 0
    closes_at: float | None = None
    extensions: int = 0


class Workflow(Protocol):
    """``rounds.py`` or ``buffered.py``. Times are job time without its pauses, in seconds."""

    name: str
    goal: int  #: Results that close a version.
    least: int  #: No version is made of fewer, not even the last of a job.
    staleness_max: int  #: A result trained from a version older than this is refused.

    @property
    def paused(self) -> bool:
        """Whether it waits for a person to resume the job."""
        ...

    def opened(self, now: float) -> None:
        """A new version begins."""

    def places(self, buffered: int) -> int:
        """How many leases may live now, with ``buffered`` results in."""
        ...

    def verdict(self, buffered: int, live: int, now: float) -> Verdict: ...

    def deadline(self) -> float | None:
        """When to ask for a verdict again though nothing happened."""
        ...

    def resume(self, now: float) -> None:
        """A person resumes the job."""

    def save(self) -> SavedWorkflow: ...
    def load(self, saved: SavedWorkflow) -> None: ...

    def words(self, buffered: int, live: int, version: int, now: float) -> str:
        """What the job waits for, for a person."""
        ...
