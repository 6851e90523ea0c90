"""What is measured: the rows of the tables."""

from dataclasses import dataclass
from typing import Literal

from bench import traffic
from bench.load import Requests


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of request to one server."""

    name: str
    server: Literal["nginx", "echo", "starlette", "turnout"]
    requests: Requests
    expect: str = traffic.OK
    keeps_device: bool = False

    @property
    def full(self) -> bool:
        """Asks the job whose only place is taken."""
        return self.requests == "refused"

    @property
    def leased(self) -> bool:
        """Needs devices that have tasks."""
        return self.server == "turnout" and self.requests in ("task", "refused", "result")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows that are compared with one another: the same client, and requests of one size. The first is nginx."""

    title: str
    client: Literal["own", "wrk"]
    rows: tuple[Row, ...]


NGINX = "nginx, static"
ECHO = "httptools echo"
STARLETTE = "uvicorn and Starlette"
JOB = "job"
TASK = "task (granted again)"
TASK_KEPT = "task (granted again), a device per connection"
REFUSED = "task (refused)"
SELECTION = "selection"
RESULT = "result, 1k float32, until committed"

_NGINX = Row(NGINX, "nginx", "job")
_ECHO = Row(ECHO, "echo", "job")
_STARLETTE = Row(STARLETTE, "starlette", "job")
_JOB = Row(JOB, "turnout", "job")
_TASK = Row(TASK, "turnout", "task")
_TASK_KEPT = Row(TASK_KEPT, "turnout", "task", keeps_device=True)
_REFUSED = Row(REFUSED, "turnout", "refused", traffic.RETRY)
_SELECTION = Row(SELECTION, "turnout", "selection")

SMALL = Table(
    "Job, task and selection requests",
    "own",
    (_NGINX, _ECHO, _STARLETTE, _JOB, _TASK, _TASK_KEPT, _REFUSED, _SELECTION),
)
RESULTS = Table(
    "Results",
    "own",
    (
        Row(NGINX, "nginx", "result", traffic.COUNTED),
        Row(ECHO, "echo", "result", traffic.COUNTED),
        Row(STARLETTE, "starlette", "result", traffic.COUNTED),
        Row(RESULT, "turnout", "result", traffic.COUNTED),
    ),
)
BY_WRK = Table("The same job and task requests, sent by wrk", "wrk", (_NGINX, _ECHO, _JOB, _TASK, _REFUSED))
