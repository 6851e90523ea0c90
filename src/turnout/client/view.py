"""What the API's answers hold, beside what jobs and gateways say of themselves."""

from enum import StrEnum
from typing import Annotated

import msgspec

from turnout.messages import FleetGroup, JobEvent, JobStatus, Message, PausedBy


class JobState(StrEnum):
    """Where a job is in its life."""

    RUNNING = "running"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @classmethod
    def _missing_(cls, value: object) -> "JobState | None":
        """Servers of 0.1 call a failed job aborted; they are understood for one release."""
        return cls.FAILED if value == "aborted" else None


UNFINISHED = (JobState.RUNNING, JobState.CANCELLING)


class Scope(StrEnum):
    """What a token may do; each includes those before it."""

    VIEW = "view"  #: Look: jobs, their models, what they print, metrics.
    OPERATE = "operate"  #: Pause, resume, cancel, start again and delete jobs.
    SUBMIT = "submit"  #: Hand in jobs. Their code runs as the server's account, and can do all that it can.
    ADMIN = "admin"  #: Make tokens, and take and restore backups.


class JobView(Message, frozen=True):
    """What control knows of a job. Times are seconds since 1970.

    ``reason`` says why it ended or, while it should run, why it cannot for now: its disk is full, say.
    ``edge_method`` is how devices train, as its ``job.toml`` says.
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
    edge_method: str = ""


class Sample(msgspec.Struct, frozen=True):
    """One second of a job, for charts. Every field is always there.

    ``at`` is seconds since 1970. Counts are since the job's first start, as in its status. ``requests_per_s``,
    ``latency_ms`` and bytes are of all gateways, whichever job they served; bytes since control was started.
    ``waiting`` is about how many devices were told to come back later, and will.
    """

    at: float
    state: str
    version: int
    buffered: int
    goal: int
    places: int
    training: int
    waiting: int
    lost: int
    counted: int
    duplicates: int
    refused: dict[str, int]
    staleness: dict[int, int]
    requests_per_s: float
    latency_ms: dict[str, float] | None
    ack_ms: dict[str, float]
    bytes_in: int
    bytes_out: int
    waiting_for: str
    paused_by: PausedBy | None


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


class Alive(Message, frozen=True, omit_defaults=False):
    """Control lives."""

    status: str


class Readiness(Message, frozen=True, omit_defaults=False):
    """Whether devices and people are served."""

    ready: bool


class Health(Message, frozen=True, omit_defaults=False):
    """Whether devices and people are served: each check, and whether it passes; and how much there is to serve."""

    ready: bool
    checks: dict[str, bool]
    jobs_running: int
    gateways: int


class NewLink(Message, frozen=True):
    """What begins a session of the dashboard, once: open ``/#/login/CODE``. Expires at these seconds since 1970."""

    code: str
    expires_at: float


class LinkOpened(Message, frozen=True, forbid_unknown_fields=True):
    """The ``code`` of a link; without one, the request comes with a token."""

    code: Annotated[str, msgspec.Meta(max_length=200)] = ""


class NewSession(Message, frozen=True):
    """The page's half of a session, to be sent as ``X-Turnout-Session``; the other half is the cookie."""

    page: str
    expires_at: float


class NewToken(Message, frozen=True, forbid_unknown_fields=True):
    """What a token shall be. ``scope``: view, operate, submit or admin; each includes those before it."""

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
