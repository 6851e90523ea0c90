"""What the API's answers hold, beside what jobs and gateways say of themselves."""

from enum import StrEnum
from typing import Annotated

import msgspec

from turnout.control.samples import Sample
from turnout.control.store import JobState
from turnout.messages import FleetGroup, JobEvent, JobStatus, Message


class Scope(StrEnum):
    """What a token is good for; each includes those before it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


class JobView(Message, frozen=True):
    """What control knows of a job. Times are seconds since 1970.

    ``reason`` says why it ended or, while it should run, why it cannot for now: its disk is full, say.
    ``fresh``: the job has just said ``status`` itself, or has ended; else ``status`` is the last one known.
    """

    job_id: str
    name: str
    state: JobState
    submitted_at: float
    finished_at: float | None = None
    reason: str = ""
    status: JobStatus | None = None
    fresh: bool = False


class History(Message, frozen=True, omit_defaults=False):
    """What happened to a job, oldest first; ``samples`` are of the last hour at most, one a second.

    ``last_event_id`` is what to follow the stream of events from.
    """

    events: tuple[JobEvent, ...]
    samples: tuple[Sample, ...]
    last_event_id: str


class Fleet(Message, frozen=True, omit_defaults=False):
    """The devices of a job, counted by platform and app version; never one by one.

    ``never_counted``: of these groups devices have asked or trained, and no result was ever counted.
    """

    groups: tuple[FleetGroup, ...]
    never_counted: tuple[FleetGroup, ...]


class Health(Message, frozen=True, omit_defaults=False):
    """Control lives."""

    status: str
    jobs_running: int
    gateways: int


class Readiness(Message, frozen=True, omit_defaults=False):
    """Whether devices and people are served: each check, and whether it passes."""

    ready: bool
    checks: dict[str, bool]


class NewToken(Message, frozen=True, forbid_unknown_fields=True):
    """What a token shall be. ``scope``: read, write (and read), or admin (and both)."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")]
    scope: Scope


class TokenView(Message, frozen=True):
    """A token as it is listed. ``token`` is there once, in the answer that made it."""

    token_id: str
    name: str
    scope: Scope
    created_at: float
    token: str = ""


class ProblemDetails(Message, frozen=True, omit_defaults=False):
    """RFC 9457: ``detail`` says in one line what was wrong and what to do."""

    title: str
    status: int
    detail: str
