"""The jobs of a server as lines of text."""

import time
from collections.abc import Iterable

from turnout.client.client import ControlClient
from turnout.client.view import UNFINISHED, JobView
from turnout.messages import JobStatus, PausedBy
from turnout.text.ages import ago
from turnout.text.printable import printable

PAUSED = {
    PausedBy.PERSON: "paused by a person",
    PausedBy.ROUNDS: "paused below quorum",
    PausedBy.DIVERGENCE: "paused after divergence",
}
COLUMNS = ("JOB", "NAME", "STATE", "SINCE", "VERSION", "")


def asked(client: ControlClient) -> list[JobView]:
    """All jobs, newest first; those that have not ended are asked how they do."""
    return [client.job(job.job_id) if job.state in UNFINISHED else job for job in client.jobs()]


def table(jobs: list[JobView]) -> list[str]:
    """A line for each, below a heading."""
    if not jobs:
        return ["no jobs yet; hand one in with: turnout submit JOB_FOLDER"]
    return columns(COLUMNS, [_row(job, time.time()) for job in jobs])


def columns(heading: tuple[str, ...], below: Iterable[tuple[str, ...]]) -> list[str]:
    """A table as lines, each column as wide as it must be."""
    rows = [tuple(map(printable, row)) for row in (heading, *below)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heading))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def state_of(view: JobView) -> str:
    """The state that control stores, or the job's own where that says more: paused and by whom, full."""
    inner = own_state(view.status) if view.status is not None and view.state in UNFINISHED else ""
    return inner if inner.startswith("paused") or inner == "full" else view.state.value


def own_state(status: JobStatus) -> str:
    """The job's own state in words: if it is paused, by whom."""
    state = status.state.lower()
    return PAUSED[status.paused_by] if status.paused_by is not None and state == "paused" else state


def _row(job: JobView, now: float) -> tuple[str, ...]:
    status = job.status
    fails = status.warnings[-1] if status is not None and status.evaluation_fails is not None else ""
    waits = job.reason or (status.waiting_for if status else "") or ("starting" if job.state in UNFINISHED else "")
    words = "; ".join(filter(None, (fails, waits)))
    version = str(status.version) if status else "-"
    return job.job_id, job.name, state_of(job), ago(now - (job.finished_at or job.submitted_at)), version, words
