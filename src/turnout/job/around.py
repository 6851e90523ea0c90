"""What a job's shell needs around it: a loop, a thread, files, people to tell, and the job's own code."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from turnout.blobs.base import BlobRef
from turnout.errors import TurnoutError
from turnout.job.core.events import Evaluated
from turnout.job.hooks.choices import Chances, Weights
from turnout.job.journal.journal import Journal
from turnout.job.journal.recorder import Moment, Phase, Published
from turnout.job.workflow.evaluation import Evaluate
from turnout.messages import JobStatus

T = TypeVar("T")


class Timer(Protocol):
    def cancel(self) -> object: ...


class Loop(Protocol):
    """Runs one call after the other. Event loops of asyncio are such; that of the simulation is virtual."""

    def time(self) -> float: ...
    def call_soon(self, act: Callable[..., object], /, *arguments: Any) -> object: ...
    def call_later(self, delay_s: float, act: Callable[..., object], /, *arguments: Any) -> object: ...
    def call_at(self, when: float, act: Callable[..., object], /, *arguments: Any) -> Timer: ...


class Thread(Protocol):
    """Where work is done that would hold up the loop."""

    def __call__(self, work: Callable[[], T], done: Callable[[T, float], object]) -> None:
        """Do ``work`` there. Then, on the loop, call ``done`` with what it returned and how many seconds it took."""
        ...


class Blobs(Protocol):
    """Models as immutable files. Called in the thread."""

    def put(self, data: bytes, allow: Callable[[int], None]) -> BlobRef:
        """Store a model durably. ``allow`` is asked before that many bytes are added, and raises OSError if not."""
        ...

    def read(self, ref: BlobRef) -> bytes: ...
    def drop(self, ref: BlobRef) -> None: ...
    def keep_only(self, wanted: Collection[str]) -> None: ...


class Notes(Protocol):
    """What is written for people, without waiting for the disk."""

    def event(self, kind: str, **fields: object) -> None: ...
    def published(self, newest: Published) -> None: ...
    def names(self) -> Collection[str]:
        """The models that the durable note of the newest version may name: they are not to be removed yet."""
        ...

    def final(self, status: JobStatus, done: Callable[[OSError | None], None]) -> None:
        """Write the last account; call ``done`` on the loop once it is durable, or cannot be."""


class Recorder(Protocol):
    """What the process is doing, for inspection after a crash; see ``journal/recorder.py``."""

    before: Moment | None

    def note(self, phase: Phase, staged: int, commit: int, version: int, closing: bool = False) -> None: ...
    def published(self, newest: Published) -> None: ...


class Exports(Protocol):
    def want(self, models: Iterable[tuple[int, BlobRef]]) -> None: ...
    def forget(self, blob: BlobRef) -> None: ...


@dataclass(frozen=True, slots=True)
class Ended:
    """This process has nothing more to do; ``error`` says why, where the job's last account does not."""

    exit_code: int
    error: TurnoutError | None = None


@dataclass(frozen=True, slots=True)
class Around:
    """All that a shell needs beside its core. The hooks are None where the job has none."""

    loop: Loop
    thread: Thread
    journal: Journal
    blobs: Blobs
    allow: Callable[[int], None]  #: Raises OSError when the job may not take that many bytes more of the disk.
    notes: Notes
    recorder: Recorder
    wall_clock: Callable[[], float]  #: Seconds since 1970, to show people.
    progressed: Callable[[], None]  #: A result was counted, or a version made.
    ended: Callable[[Ended], None]
    named_before: Collection[str] = ()  #: The models that the notes of the last process name.
    evaluate: Callable[[Evaluate, Callable[[Evaluated], None]], None] | None = None
    chances: Chances | None = None
    weights: Weights | None = None
    exports: Exports | None = None
